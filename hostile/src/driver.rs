//! Runs a target on changed seeds, on any compiler. It does not look at which code ran, as a fuzzer does; it is for a
//! minute on every machine, and the fuzzer is for a night.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::mutate::{Random, mutate};
use crate::targets::Target;

/// No input is longer.
const MOST_BYTES: usize = 16 * 1024;

/// How many inputs become seeds in turn, so that changes add up.
const MOST_KEPT: usize = 200;

/// An input that broke a promise.
#[derive(Debug)]
pub struct Broken {
    /// The bytes.
    pub input: Vec<u8>,
    /// What the panic said.
    pub said: String,
}

/// Runs a target while `goes_on` says so, which is asked with the number of inputs so far. Answers how many inputs there
/// were.
///
/// # Errors
/// The first input that broke a promise.
pub fn run(target: &Target, seed: u64, mut goes_on: impl FnMut(u64) -> bool) -> Result<u64, Broken> {
    let mut random = Random::new(seed);
    let seeds = (target.seeds)();
    let mut kept = seeds.clone();
    let mut inputs = 0;
    for seed in &seeds {
        once(target, seed)?;
        inputs += 1;
    }
    while goes_on(inputs) {
        let mut input = random.pick(&kept).cloned().unwrap_or_default();
        let other = random.pick(&seeds).cloned().unwrap_or_default();
        if random.once_in(50) {
            let length = random.below(300);
            input = random.bytes(length);
        }
        mutate(&mut input, &other, MOST_BYTES, &mut random);
        once(target, &input)?;
        inputs += 1;
        if random.once_in(20) {
            if kept.len() >= seeds.len() + MOST_KEPT {
                // Changes that have piled up make way for new ones.
                kept.truncate(seeds.len());
            }
            kept.push(input);
        }
    }
    Ok(inputs)
}

fn once(target: &Target, input: &[u8]) -> Result<(), Broken> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Broken { input: input.to_vec(), said: text.unwrap_or_default() }
    })
}
