//! Every target on its seeds and on some changes of them.

use tidegate_hostile::driver::run;
use tidegate_hostile::targets::{TARGETS, named};

fn runs(name: &str, inputs: u64) {
    let target = named(name).unwrap();
    if let Err(broken) = run(target, 7, |so_far| so_far < inputs) {
        panic!("{name}: {}, with the input {:02x?}", broken.said, broken.input);
    }
}

#[test]
fn the_codec() {
    for name in ["values", "performatives", "sasl", "frames", "messages"] {
        runs(name, 20_000);
    }
}

#[test]
fn the_connection() {
    runs("engine", 2000);
    runs("pair", 300);
}

#[test]
fn the_log() {
    runs("log", 150);
}

#[test]
fn the_http_door() {
    runs("http", 2000);
}

#[test]
fn a_defect_is_found_and_told() {
    let mut target = TARGETS[0];
    target.run = |bytes| assert!(bytes.len() < 100, "long");
    let broken = run(&target, 7, |inputs| inputs < 100_000).unwrap_err();
    assert!(broken.input.len() >= 100 && broken.said.contains("long"));
}
