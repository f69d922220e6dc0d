//! Many seeds.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::mutation::Mutation;
use crate::oracle::Violation;
use crate::scenario::StoreKind;
use crate::world::{run, run_on};

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
///
/// On the store that each seed says, or on `store`.
pub fn campaign(seeds: Range<u64>, threads: usize, store: Option<StoreKind>) -> Campaign {
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
                    let report = match store {
                        Some(store) => run_on(store, seed, None),
                        None => run(seed, None),
                    };
                    let mut done = done.lock();
                    done.runs += 1;
                    done.polls += report.polls;
                    done.commits += report.commits;
                    if let Some(violation) = report.violation {
                        done.failures.push(Failure { seed, violation, command: command(seed, None, store) });
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
/// On `store`, or on the one that the defect needs, or on the store that each seed says.
pub fn caught_by(mutation: Mutation, mut seeds: Range<u64>, store: Option<StoreKind>) -> Option<Failure> {
    let store = store.or(mutation.store());
    let violation = |seed, mutation| match store {
        Some(store) => run_on(store, seed, mutation).violation,
        None => run(seed, mutation).violation,
    };
    seeds.find_map(|seed| {
        let caught = violation(seed, Some(mutation))?;
        let is_its_doing = violation(seed, None).is_none();
        let command = command(seed, Some(mutation), store);
        is_its_doing.then_some(Failure { seed, violation: caught, command })
    })
}

/// The command that repeats a run and shows what happened in it.
pub fn command(seed: u64, mutation: Option<Mutation>, store: Option<StoreKind>) -> String {
    let mutation = mutation.map(|mutation| format!(" --mutation {}", mutation.name())).unwrap_or_default();
    let store = store.map(|store| format!(" --store {}", store.name())).unwrap_or_default();
    format!("cargo xtask sim --seed {seed}{mutation}{store} --trace")
}
