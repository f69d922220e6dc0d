//! Many seeds.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::mutation::Mutation;
use crate::oracle::Violation;
use crate::world::run;

/// What many seeds came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Campaign {
    /// How many were run.
    pub runs: u64,
    /// How many times a task was polled.
    pub polls: u64,
    /// How many commits went through.
    pub commits: u64,
    /// Those that broke a promise, ordered by seed.
    pub failures: Vec<Failure>,
}

/// A seed that breaks a promise.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The promise.
    #[serde(flatten)]
    pub violation: Violation,
    /// What repeats it.
    pub command: String,
}

/// Runs seeds on `threads` threads, each seed on one.
pub fn campaign(seeds: Range<u64>, threads: usize) -> Campaign {
    let next = AtomicU64::new(seeds.start);
    let done = Mutex::new(Campaign { runs: 0, polls: 0, commits: 0, failures: Vec::new() });
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run(seed, None);
                    let mut done = done.lock();
                    done.runs += 1;
                    done.polls += report.polls;
                    done.commits += report.commits;
                    if let Some(violation) = report.violation {
                        done.failures.push(Failure { seed, violation, command: command(seed, None) });
                    }
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.failures.sort_by_key(|failure| failure.seed);
    done
}

/// The first of these seeds that breaks a promise with the planted defect and keeps all of them without it.
pub fn caught_by(mutation: Mutation, mut seeds: Range<u64>) -> Option<Failure> {
    seeds.find_map(|seed| {
        let violation = run(seed, Some(mutation)).violation?;
        let is_its_doing = run(seed, None).violation.is_none();
        is_its_doing.then(|| Failure { seed, violation, command: command(seed, Some(mutation)) })
    })
}

/// The command that repeats a run and shows what happened in it.
pub fn command(seed: u64, mutation: Option<Mutation>) -> String {
    match mutation {
        Some(mutation) => format!("cargo xtask sim --seed {seed} --mutation {} --trace", mutation.name()),
        None => format!("cargo xtask sim --seed {seed} --trace"),
    }
}
