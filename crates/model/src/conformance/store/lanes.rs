//! Checks of ownership, checkpoints, counts and attempts.

use crate::checkpoint::{Checkpoint, Epoch, Ownership};
use crate::commit::CommitGuarantee;
use crate::error::ErrorKind;
use crate::outcome::OutcomeCounts;
use crate::ports::{Checkpoints, Commits, Ownerships, StoreError};
use crate::position::SequenceNumber;

use super::StoreFactory;
use super::samples::*;

/// Every claim has a higher epoch than all before, also across restarts and releases, and lanes do not affect each
/// other.
pub async fn a_claim_raises_the_epoch<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.guarantee(), CommitGuarantee::OneTransaction);
    assert_eq!(store.ownerships().await, Ok(Vec::new()));

    let first = store.claim(&lane(0), "a", at(1)).await.unwrap();
    assert_eq!(
        first,
        Ownership { lane: lane(0), owner: "a".to_owned(), epoch: first.epoch, changed_at: at(1) }
    );
    let second = store.claim(&lane(0), "b", at(2)).await.unwrap();
    assert!(second.epoch > first.epoch);
    store.release(&lane(0), second.epoch, at(3)).await.unwrap();
    let other = store.claim(&lane(1), "a", at(4)).await.unwrap();

    let store = factory.reopen(store).await;
    let third = store.claim(&lane(0), "a", at(5)).await.unwrap();
    assert!(third.epoch > second.epoch);
    assert_eq!(store.ownerships().await, Ok(vec![third, other]));
}

/// After a claim, commits under lower epochs are fenced; the new owner's go through.
pub async fn a_stale_owner_is_fenced<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let stale = begin(&store, 0, 0).await;
    let current = store.claim(&lane(0), "b", at(1)).await.unwrap().epoch;

    let refused = store.commit(&step(0, stale, 0, 1)).await;
    let fenced = StoreError::Fenced { lane: lane(0), ours: stale, stored: Some(current) };
    assert_eq!(refused, Err(fenced.clone()));
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    let from_the_future = store.commit(&step(0, Epoch(current.0 + 1), 0, 1)).await;
    assert!(matches!(from_the_future, Err(StoreError::Fenced { .. })), "{from_the_future:?}");

    store.commit(&step(0, current, 0, 1)).await.unwrap();
    assert_eq!(position(&store, 0).await, 1);
}

/// A release empties the owner and leaves the epoch, so that a commit under way still goes through; a release under an
/// old epoch changes nothing.
pub async fn a_release_keeps_the_epoch_and_a_stale_one_changes_nothing<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let stale = begin(&store, 0, 0).await;
    let current = store.claim(&lane(0), "b", at(1)).await.unwrap();
    store.release(&lane(0), stale, at(2)).await.unwrap();
    assert_eq!(store.ownerships().await, Ok(vec![current.clone()]));

    store.release(&lane(0), current.epoch, at(3)).await.unwrap();
    let released = Ownership { owner: String::new(), changed_at: at(3), ..current.clone() };
    assert_eq!(store.ownerships().await, Ok(vec![released]));
    store.commit(&step(0, current.epoch, 0, 1)).await.unwrap();

    store.release(&lane(9), Epoch(1), at(4)).await.unwrap();
    assert_eq!(store.ownerships().await.unwrap().len(), 1, "releasing an unknown lane makes none");
}

/// A commit needs an owner and a first checkpoint.
pub async fn a_lane_without_owner_or_checkpoint_is_fenced<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let refused = store.commit(&step(0, Epoch(1), 0, 1)).await;
    assert_eq!(refused, Err(StoreError::Fenced { lane: lane(0), ours: Epoch(1), stored: None }));

    store.begin(&lane(0), incarnation(1), SequenceNumber(0), at(0)).await.unwrap();
    let refused = store.commit(&step(0, Epoch(1), 0, 1)).await;
    assert_eq!(refused, Err(StoreError::Fenced { lane: lane(0), ours: Epoch(1), stored: None }));

    let epoch = store.claim(&lane(1), "a", at(1)).await.unwrap().epoch;
    let refused = store.commit(&step(1, epoch, 0, 1)).await;
    assert_eq!(refused, Err(StoreError::Fenced { lane: lane(1), ours: epoch, stored: Some(epoch) }));
    assert_eq!(store.checkpoint(&lane(1)).await, Ok(None));
}

/// `begin` makes the first checkpoint and never touches one that is there.
pub async fn begin_keeps_the_first_checkpoint<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.checkpoint(&lane(0)).await, Ok(None));
    let first = store.begin(&lane(0), incarnation(1), SequenceNumber(7), at(1)).await.unwrap();
    let expected = Checkpoint {
        lane: lane(0),
        incarnation: incarnation(1),
        start: SequenceNumber(7),
        position: SequenceNumber(7),
        counts: OutcomeCounts::default(),
        updated_at: at(1),
    };
    assert_eq!(first, expected);
    let again = store.begin(&lane(0), incarnation(2), SequenceNumber(9), at(2)).await.unwrap();
    assert_eq!(again, expected);

    let epoch = store.claim(&lane(0), "a", at(3)).await.unwrap().epoch;
    store.commit(&step(0, epoch, 7, 9)).await.unwrap();
    let store = factory.reopen(store).await;
    let moved = store.begin(&lane(0), incarnation(1), SequenceNumber(7), at(4)).await.unwrap();
    assert_eq!((moved.start, moved.position), (SequenceNumber(7), SequenceNumber(9)));
    assert_eq!(store.checkpoint(&lane(0)).await, Ok(Some(moved)));
}

/// Checkpoints are listed by function, hub, and partition as a number.
pub async fn checkpoints_are_ordered_by_lane<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mut lanes = vec![lane(10), lane(2), other_function(lane(3)), other_hub(lane(1)), lane(0)];
    for lane in &lanes {
        store.begin(lane, incarnation(1), SequenceNumber(0), at(0)).await.unwrap();
    }
    lanes.sort();
    let listed: Vec<_> =
        store.checkpoints().await.unwrap().into_iter().map(|checkpoint| checkpoint.lane).collect();
    assert_eq!(listed, lanes);
}

/// The counts of the commits are added up, each outcome for itself.
pub async fn counts_add_up<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 100).await;
    let mut commit = step(0, epoch, 100, 110);
    commit.lanes[0].counts =
        OutcomeCounts { applied: 4, filtered: 2, dead_lettered: 1, parked: 2, discarded: 0, lost: 1 };
    commit.lanes[0].parked = vec![parked(0, 104, Some("key")), parked(0, 107, None)];
    commit.lanes[0].dead_letters = vec![letter(0, 109)];
    store.commit(&commit).await.unwrap();
    let mut commit = step(0, epoch, 110, 113);
    commit.lanes[0].counts = OutcomeCounts { applied: 1, lost: 2, ..OutcomeCounts::default() };
    commit.at = at(77);
    store.commit(&commit).await.unwrap();

    let checkpoint = store.checkpoint(&lane(0)).await.unwrap().unwrap();
    let expected =
        OutcomeCounts { applied: 5, filtered: 2, dead_lettered: 1, parked: 2, discarded: 0, lost: 3 };
    assert_eq!(checkpoint.counts, expected);
    assert_eq!(checkpoint.counts.total(), checkpoint.position.distance_from(checkpoint.start));
    assert_eq!(checkpoint.updated_at, at(77));
}

/// One commit moves any number of lanes.
pub async fn several_lanes_progress_together<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mut commit = step(0, Epoch(0), 0, 0);
    commit.lanes.clear();
    for partition in 0..40 {
        let epoch = begin(&store, partition, 0).await;
        commit.lanes.append(&mut step(partition, epoch, 0, u64::from(partition)).lanes);
    }
    store.commit(&commit).await.unwrap();
    for partition in 0..40 {
        assert_eq!(position(&store, partition).await, u64::from(partition));
    }
}

/// Attempts at an event are replaced as a whole, go away when the checkpoint passes the event, stay otherwise, and are
/// each lane's own.
pub async fn attempts_are_replaced_and_removed<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (epoch, other) = (begin(&store, 0, 0).await, begin(&store, 1, 0).await);
    assert_eq!(store.attempts(&lane(0)).await, Ok(Vec::new()));
    let mut commit = step(0, epoch, 0, 0);
    commit.lanes[0].attempts = vec![attempts(5, 2), attempts(0, 1), attempts(10, 1)];
    commit.lanes.append(&mut step(1, other, 0, 0).lanes);
    commit.lanes[1].attempts = vec![attempts(0, 4)];
    store.commit(&commit).await.unwrap();
    assert_eq!(store.attempts(&lane(0)).await, Ok(vec![attempts(0, 1), attempts(5, 2), attempts(10, 1)]));

    let mut commit = step(0, epoch, 0, 5);
    commit.lanes[0].attempts = vec![attempts(5, 3)];
    store.commit(&commit).await.unwrap();
    let store = factory.reopen(store).await;
    assert_eq!(store.attempts(&lane(0)).await, Ok(vec![attempts(5, 3), attempts(10, 1)]));
    store.commit(&step(0, epoch, 5, 11)).await.unwrap();
    assert_eq!(store.attempts(&lane(0)).await, Ok(Vec::new()));
    assert_eq!(store.attempts(&lane(1)).await, Ok(vec![attempts(0, 4)]));
}
