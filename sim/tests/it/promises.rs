//! What a fixed set of seeds shows. `cargo xtask sim --many N` goes through more.

use tidegate_sim::{Mutation, StoreKind, campaign, caught_by, command, run};

/// Between them they go through every order, key and partition, circuits that open, crashes and full disks.
const SEEDS: std::ops::Range<u64> = 0..30;

#[test]
fn every_promise_is_kept() {
    let done = campaign(SEEDS, 2, None);
    assert_eq!(done.runs, SEEDS.end - SEEDS.start);
    assert!(done.failures.is_empty(), "{:#?}", done.failures);
}

#[test]
fn the_seeds_go_through_what_can_happen() {
    let traces: String = SEEDS.map(|seed| run(seed, None).trace).collect();
    for happened in [
        "the machine stops",
        "a sync will fail",
        "the disk fills up",
        "NotStored",
        "crashes",
        "drains",
        "has a new owner",
        "the reply was lost",
        "nobody answers",
        "no room",
        "a clock jumps",
        "redrives",
        "discards",
        "repairs",
        "aside: in the way",
        "tried now",
        "pauses",
        "resumes",
        "the circuit of",
        "moves the checkpoint",
        "drops partition",
        "Shared {",
        "order: Partition",
        "order: Key",
        "order: None",
        "\"state\":\"open\"",
        "\"probe\":{",
        "the probe succeeded",
        "races_for_probes: true",
        "is connected by wire",
        "r1: Stored",
        "has lost wire",
        "waits no longer",
        "amqp:link:stolen",
        "stays away",
        "CutAfter(Client",
        "CutAfter(Server",
        "Dark(Client",
        "Dark(Server",
        "Stall(",
        "the server stops and comes back",
        "is told Rejected",
        "@latest",
        "is told About",
        "takes back",
        "detaches its links",
        "amqp:unauthorized-access",
        "enqueued-time >",
    ] {
        assert!(traces.contains(happened), "nothing like {happened:?} happens in {SEEDS:?}");
    }
}

#[test]
fn every_planted_defect_is_caught_within_its_seeds() {
    for (mutation, name, seeds) in Mutation::ALL {
        assert!(caught_by(mutation, 0..seeds, None).is_some(), "{name} is not caught within {seeds} seeds");
    }
}

/// Some promises are about what never comes: that they can be broken at all is shown by name.
#[test]
fn promises_that_nothing_else_would_notice_are_caught_by_their_own_names() {
    for (mutation, promise) in [
        (Mutation::NoAnswerToSend, "who is connected gets an answer"),
        (Mutation::NoAnswerToReader, "who is connected gets an answer"),
        (Mutation::HangUp, "nothing but a fault ends a connection"),
    ] {
        let caught = caught_by(mutation, 0..mutation.seeds(), None);
        let caught = caught.map(|failure| failure.violation.promise);
        assert_eq!(caught, Some(promise), "{}", mutation.name());
    }
}

#[test]
fn what_repeats_a_failure_names_the_seed_and_the_defect() {
    assert_eq!(command(7, None, None), "cargo xtask sim --seed 7 --trace");
    let command = command(7, Some(Mutation::TwoProbes), None);
    assert_eq!(command, "cargo xtask sim --seed 7 --mutation two-probes --trace");
    let embedded = Some(StoreKind::Embedded);
    let command = tidegate_sim::command(7, None, embedded);
    assert_eq!(command, "cargo xtask sim --seed 7 --store embedded --trace");
    assert_eq!((StoreKind::named("embedded"), StoreKind::named("other")), (embedded, None));
    assert_eq!(Mutation::named("two-probes"), Some(Mutation::TwoProbes));
    assert_eq!(Mutation::named("none"), None);
}
