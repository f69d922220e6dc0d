//! The reference store and the embedded one.

use tidegate_sim::{Mutation, StoreKind, caught_by, run, run_on};

/// Nobody can tell the stores apart: whatever the system does, each answers as the other would, to the last byte of what is
/// traced. The first line names the store.
#[test]
fn a_run_is_the_same_on_either_store() {
    for seed in 0..16 {
        let [reference, embedded] = [StoreKind::Reference, StoreKind::EmbeddedApart].map(|store| {
            let report = run_on(store, seed, None);
            assert_eq!(report.violation, None, "seed {seed} on {store:?}");
            report
        });
        let rest = |trace: &str| trace.split_once('\n').map(|(_, rest)| rest.to_owned());
        assert!(rest(&reference.trace) == rest(&embedded.trace), "seed {seed} ends differently");
        assert_eq!((reference.polls, reference.commits), (embedded.polls, embedded.commits));
    }
}

/// Between them they go through what can happen to the file.
#[test]
fn the_embedded_store_goes_through_what_can_happen_to_its_disk() {
    let mut traces = String::new();
    for seed in 0..40 {
        let report = run_on(StoreKind::Embedded, seed, None);
        assert_eq!(report.violation, None, "seed {seed}");
        traces.push_str(&report.trace);
    }
    for happened in [
        "the machine stops",
        "the program with the log is killed",
        "commits are lost",
        "the machine stops while the store is opened",
        "store.db: database or disk is full",
        "store.db: disk I/O error; whether it was done is seen when the program is started again",
        "a sync will fail, as likely as not a person's",
        "store.db: disk I/O error; nothing more is written until the program is started again",
    ] {
        assert!(traces.contains(happened), "nothing like {happened:?} happens");
    }
}

/// The store's own defects are caught on it, and so are those that every store could have, also where they take long to show.
#[test]
fn planted_defects_are_caught_on_the_embedded_store() {
    for mutation in [
        Mutation::UnsyncedCommit,
        Mutation::UnsyncedPages,
        Mutation::TornCommit,
        Mutation::KeepParked,
        Mutation::ForgetAttempts,
        Mutation::RestartCount,
        Mutation::TwoProbes,
    ] {
        let caught = caught_by(mutation, 0..mutation.seeds(), Some(StoreKind::Embedded));
        assert!(caught.is_some(), "{} is not caught", mutation.name());
    }
}

/// Some seeds have the one, some the other.
#[test]
fn a_share_of_the_seeds_has_the_embedded_store() {
    let embedded =
        (0..40).filter(|seed| run(*seed, Some(Mutation::CheckpointAhead)).trace.contains("store: Embedded"));
    let embedded = embedded.count();
    assert!((5..20).contains(&embedded), "{embedded} of 40");
}
