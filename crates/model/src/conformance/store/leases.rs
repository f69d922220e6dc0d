//! Checks of leases: who works on a dead letter, and until when.

use std::sync::Arc;

use crate::dead_letter::{Acted, DeadLetterFilter, DeadLetterId, DeadLetterStatus, Lease};
use crate::event::EventData;
use crate::ports::{Checkpoints, DeadLetters};
use crate::position::SequenceNumber;

use super::StoreFactory;
use super::samples::*;

/// Each dead letter is leased to one at a time, the first ones first; those that do not match or are not open are not.
pub async fn a_lease_is_given_to_one_at_a_time<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 6).await;
    store.discard(&ids[1..2], &act("eve", 40)).await.unwrap();
    store.redrive(&ids[2..3], false, &act("eve", 40)).await.unwrap();
    let filter =
        DeadLetterFilter { before_sequence_number: Some(SequenceNumber(5)), ..DeadLetterFilter::default() };
    let leased = store.lease_dead_letters(&filter, 2, at(100), &act("ann", 50)).await.unwrap();
    assert_eq!(numbers(&leased), [ids[0], ids[3]]);
    for stored in &leased {
        assert_eq!(stored.lease, Some(Lease { holder: "ann".to_owned(), until: at(100) }));
        assert_eq!((stored.status, stored.leases), (DeadLetterStatus::Open, 1));
        assert_eq!(&dead_letter(&store, stored.id).await, stored);
    }
    let store = factory.reopen(store).await;
    let leased = store.lease_dead_letters(&filter, 10, at(100), &act("bob", 51)).await.unwrap();
    assert_eq!(numbers(&leased), [ids[4]]);
    // Who holds a lease already gets no second one, and nothing is left for anybody.
    for who in ["ann", "bob", "eve"] {
        assert_eq!(store.lease_dead_letters(&filter, 10, at(100), &act(who, 52)).await, Ok(Vec::new()));
    }
    assert_eq!(
        store.lease_dead_letters(&DeadLetterFilter::default(), 0, at(100), &act("eve", 53)).await,
        Ok(vec![])
    );
    let discarded = DeadLetterFilter {
        status: vec![DeadLetterStatus::Discarded, DeadLetterStatus::Redriving],
        ..DeadLetterFilter::default()
    };
    assert_eq!(store.lease_dead_letters(&discarded, 10, at(100), &act("eve", 53)).await, Ok(Vec::new()));
    assert_eq!(dead_letter(&store, ids[5]).await.lease, None);
}

/// From its end on, a lease is nobody's: the dead letter can be leased again, and the count of leases tells how often it was.
pub async fn a_lease_runs_out<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 1).await;
    let all = DeadLetterFilter::default();
    for (round, who) in (1..).zip(["ann", "bob", "ann", "ann"]) {
        let (from, until) = (round * 100, round * 100 + 100);
        let leased = store.lease_dead_letters(&all, 1, at(until), &act(who, from)).await.unwrap();
        assert_eq!(numbers(&leased), ids, "round {round}");
        assert_eq!(leased[0].leases, u32::try_from(round).unwrap());
        let too_early = store.lease_dead_letters(&all, 1, at(until), &act("eve", until - 1)).await;
        assert_eq!(too_early, Ok(Vec::new()));
    }
    // A lease that has run out is not in anybody's way.
    assert_eq!(store.discard(&ids, &act("eve", 500)).await, Ok(vec![Acted::Done]));
}

/// Somebody else's lease is in the way of every act, until it runs out.
pub async fn a_lease_keeps_others_away<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 2).await;
    store.lease_dead_letters(&DeadLetterFilter::default(), 2, at(100), &act("ann", 50)).await.unwrap();
    let unchanged = Everything::of(&store).await;
    let data = letter(0, 0).event.data;
    let leased = || vec![Acted::Leased; 2];
    for force in [false, true] {
        assert_eq!(store.redrive(&ids, force, &act("bob", 99)).await, Ok(leased()));
    }
    assert_eq!(store.discard(&ids, &act("bob", 99)).await, Ok(leased()));
    assert_eq!(store.extend_lease(&ids, at(900), &act("bob", 99)).await, Ok(leased()));
    assert_eq!(store.extend_lease(&ids, at(0), &act("bob", 99)).await, Ok(leased()));
    let entry = |ms| line("dead-letter.edit", "1", act("bob", ms));
    assert_eq!(store.edit(ids[0], 0, &data, entry(99)).await, Ok(Acted::Leased));
    assert_eq!(Everything::of(&store).await, unchanged);

    assert_eq!(store.edit(ids[0], 0, &data, entry(100)).await, Ok(Acted::Done));
    assert_eq!(store.redrive(&ids[..1], false, &act("bob", 100)).await, Ok(vec![Acted::Done]));
    assert_eq!(store.discard(&ids[1..], &act("bob", 100)).await, Ok(vec![Acted::Done]));
}

/// Who holds a lease can act; the act ends the lease, but an edit keeps it.
pub async fn an_act_ends_the_actors_own_lease<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 2).await;
    store.lease_dead_letters(&DeadLetterFilter::default(), 2, at(100), &act("ann", 50)).await.unwrap();
    let lease = dead_letter(&store, ids[0]).await.lease;
    let edited = EventData { body: "{}".into(), ..letter(0, 0).event.data };
    let entry = line("dead-letter.edit", "1", act("ann", 51));
    assert_eq!(store.edit(ids[0], 0, &edited, entry).await, Ok(Acted::Done));
    assert_eq!(dead_letter(&store, ids[0]).await.lease, lease);

    assert_eq!(store.redrive(&ids[..1], false, &act("ann", 52)).await, Ok(vec![Acted::Done]));
    assert_eq!(store.discard(&ids[1..], &act("ann", 52)).await, Ok(vec![Acted::Done]));
    for id in &ids {
        assert_eq!(dead_letter(&store, *id).await.lease, None);
    }
    // What comes back from the redrive is anybody's.
    end_parked(&store, epoch, 2, 0, failed_again(0, "timed out")).await;
    let leased =
        store.lease_dead_letters(&DeadLetterFilter::default(), 2, at(100), &act("bob", 60)).await.unwrap();
    assert_eq!(numbers(&leased), ids[..1]);
    assert_eq!(leased[0].leases, 2);
}

/// A lease is extended, shortened or given back by its holder; nobody's cannot be.
pub async fn a_lease_is_moved_by_its_holder<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 3).await;
    let all = DeadLetterFilter::default();
    store.lease_dead_letters(&all, 2, at(100), &act("ann", 50)).await.unwrap();
    let answers = store.extend_lease(&[ids[1], DeadLetterId(99), ids[0]], at(200), &act("ann", 99)).await;
    assert_eq!(answers, Ok(vec![Acted::Done, Acted::NotFound, Acted::Done]));
    let extended = dead_letter(&store, ids[0]).await;
    assert_eq!(extended.lease, Some(Lease { holder: "ann".to_owned(), until: at(200) }));
    assert_eq!(extended.leases, 1, "it is the same lease");
    assert_eq!(store.discard(&ids[..1], &act("bob", 150)).await, Ok(vec![Acted::Leased]));

    let not_leased = store.extend_lease(&ids[2..], at(300), &act("ann", 150)).await.unwrap();
    assert_ne!(not_leased, [Acted::Done]);
    assert_eq!(dead_letter(&store, ids[2]).await.lease, None);

    // Given back, it is anybody's at once.
    assert_eq!(store.extend_lease(&ids[..1], at(160), &act("ann", 160)).await, Ok(vec![Acted::Done]));
    assert_eq!(store.discard(&ids[..1], &act("bob", 160)).await, Ok(vec![Acted::Done]));
    // Run out, its end cannot be moved any more.
    assert_ne!(store.extend_lease(&ids[1..2], at(400), &act("ann", 200)).await, Ok(vec![Acted::Done]));
    let leased = store.lease_dead_letters(&all, 10, at(400), &act("bob", 200)).await.unwrap();
    assert_eq!(numbers(&leased), ids[1..]);
}

/// Of many who lease at once, each gets dead letters of their own.
pub async fn many_lease_at_once_and_none_twice<F: StoreFactory>(factory: &F) {
    let store = Arc::new(factory.open().await);
    let epoch = begin(&*store, 0, 0).await;
    let ids = set_aside(&*store, epoch, 0, 40).await;
    let mut leasing = tokio::task::JoinSet::new();
    for worker in 0..10 {
        let (store, act) = (Arc::clone(&store), act(&format!("worker {worker}"), 50));
        leasing.spawn(async move {
            store.lease_dead_letters(&DeadLetterFilter::default(), 5, at(100), &act).await.unwrap()
        });
    }
    let mut leased: Vec<_> = leasing.join_all().await.iter().flat_map(|leased| numbers(leased)).collect();
    leased.sort();
    assert_eq!(leased, ids);
}

/// A dead letter that is replayed is nobody's any more.
pub async fn replaying_ends_a_lease<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 1).await;
    store.lease_dead_letters(&DeadLetterFilter::default(), 1, at(100), &act("ann", 50)).await.unwrap();
    let entry = line("checkpoint.seek", "a lane", act("bob", 60));
    store.seek(&lane(0), SequenceNumber(1), SequenceNumber(0), entry).await.unwrap();
    let replayed = dead_letter(&store, ids[0]).await;
    assert_eq!((replayed.status, replayed.lease), (DeadLetterStatus::Replayed, None));
}

fn numbers(letters: &[crate::dead_letter::StoredDeadLetter]) -> Vec<DeadLetterId> {
    letters.iter().map(|stored| stored.id).collect()
}
