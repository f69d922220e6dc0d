#![no_main]

tidegate_fuzz::target!("sasl");
