//! The same seed gives the same run.

use tidegate_sim::{Mutation, StoreKind, run, run_on};

#[test]
fn a_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..20 {
        let first = run(seed, None);
        // On another thread, after other runs: nothing of the process may show.
        let second = std::thread::spawn(move || run(seed, None)).join().unwrap();
        assert!(first.trace == second.trace, "seed {seed} had two traces");
        assert_eq!((first.polls, first.commits), (second.polls, second.commits));
    }
}

#[test]
fn so_it_does_on_the_embedded_store() {
    for seed in 0..8 {
        let first = run_on(StoreKind::Embedded, seed, None);
        let second = std::thread::spawn(move || run_on(StoreKind::Embedded, seed, None)).join().unwrap();
        assert!(first.trace == second.trace, "seed {seed} had two traces");
        assert_eq!((first.polls, first.commits), (second.polls, second.commits));
    }
}

#[test]
fn a_planted_defect_is_repeated_as_well() {
    for (mutation, ..) in Mutation::ALL {
        assert!(run(3, Some(mutation)).trace == run(3, Some(mutation)).trace, "{}", mutation.name());
    }
}

#[test]
fn seeds_differ() {
    assert_ne!(run(1, None).trace, run(2, None).trace);
}
