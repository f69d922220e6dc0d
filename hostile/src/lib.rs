//! Hostile bytes: what the fuzzers run, and an attack on a server.
//!
//! [`targets`] are functions that take any bytes and panic when a promise is broken. Two drivers run them: cargo-fuzz, from
//! the crate in `fuzz/`, and [`driver`], which needs nothing but a stable compiler (`cargo xtask fuzz TARGET`). [`attack`]
//! throws random and mutated frames at a real server, between clients that behave (`cargo xtask fuzz server`).

pub mod attack;
pub mod driver;
pub mod mutate;
pub mod peer;
pub mod seeds;
pub mod targets;
