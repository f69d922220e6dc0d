//! Checks of checkpoints that are moved by hand.

use crate::checkpoint::Checkpoint;
use crate::dead_letter::{Acted, DeadLetterStatus};
use crate::error::ErrorKind;
use crate::outcome::OutcomeCounts;
use crate::parking::UnparkedEnd;
use crate::ports::{Checkpoints, Commits, DeadLetters, Ownerships, Parking, Store, StoreError};
use crate::position::SequenceNumber;

use super::StoreFactory;
use super::samples::*;

/// Moved back or forward, a lane begins anew where it is moved to: position and start are there, and nothing is counted.
pub async fn a_lane_begins_anew_where_it_is_moved_to<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mut epoch = begin(&store, 0, 100).await;
    let other = begin(&store, 1, 0).await;
    let mut commit = step(1, other, 0, 3);
    commit.lanes[0].attempts = vec![attempts(3, 1)];
    store.commit(&commit).await.unwrap();
    let bystander = store.checkpoint(&lane(1)).await.unwrap();
    let mut from = 100;
    for (round, to) in (0..).zip([50, 500, 500, 0, 120]) {
        let mut commit = step(0, epoch, from, from + 10);
        commit.lanes[0].attempts = vec![attempts(from + 10, 2), attempts(from + 12, 1)];
        store.commit(&commit).await.unwrap();
        let moved = seek(&store, from + 10, to, 50 + round).await.unwrap();
        let expected = Checkpoint {
            lane: lane(0),
            incarnation: incarnation(1),
            start: SequenceNumber(to),
            position: SequenceNumber(to),
            counts: OutcomeCounts::default(),
            updated_at: at(50 + round),
        };
        assert_eq!(moved, expected);
        assert_eq!(store.checkpoint(&lane(0)).await, Ok(Some(expected)));
        assert_eq!(store.attempts(&lane(0)).await, Ok(Vec::new()), "what was tried is forgotten");
        epoch = store.claim(&lane(0), "a", at(60)).await.unwrap().epoch;
        from = to;
    }
    let store = factory.reopen(store).await;
    store.commit(&step(0, epoch, 120, 125)).await.unwrap();
    assert_eq!(counts(&store).await, OutcomeCounts { applied: 5, ..OutcomeCounts::default() });
    assert_eq!(store.checkpoint(&lane(1)).await.unwrap(), bystander);
    assert_eq!(store.attempts(&lane(1)).await, Ok(vec![attempts(3, 1)]));
}

/// Whoever processes the lane while its checkpoint is moved is fenced, also when the position is the same after, and the
/// next claim is a later term.
pub async fn moving_a_checkpoint_fences_the_owner<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    store.commit(&step(0, epoch, 0, 5)).await.unwrap();
    seek(&store, 5, 5, 50).await.unwrap();
    let store = factory.reopen(store).await;
    let refused = store.commit(&step(0, epoch, 5, 6)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced, "{refused:?}");
    assert_eq!(position(&store, 0).await, 5);
    let owners = store.ownerships().await.unwrap();
    assert!(owners[0].epoch > epoch, "{owners:?}");
    let next = store.claim(&lane(0), "b", at(60)).await.unwrap();
    assert!(next.epoch > owners[0].epoch);
    store.commit(&step(0, next.epoch, 5, 6)).await.unwrap();

    // A lane that nobody ever claimed can be moved too.
    store.begin(&lane(1), incarnation(1), SequenceNumber(3), at(0)).await.unwrap();
    let entry = line("checkpoint.seek", "a lane", act("ann", 61));
    store.seek(&lane(1), SequenceNumber(3), SequenceNumber(9), entry).await.unwrap();
    let first = store.claim(&lane(1), "b", at(62)).await.unwrap();
    store.commit(&step(1, first.epoch, 9, 10)).await.unwrap();
}

/// A checkpoint is moved only from where it was seen, and only if there is one; else nothing happens.
pub async fn a_checkpoint_is_moved_from_where_it_was_seen<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    set_aside(&store, epoch, 0, 2).await;
    park(&store, epoch, 2, &[Some("a"), None]).await;
    let unchanged = Everything::of(&store).await;
    for from in [0, 3, 5] {
        let moved = StoreError::CheckpointMoved {
            lane: lane(0),
            from: SequenceNumber(from),
            stored: SequenceNumber(4),
        };
        assert_eq!(seek(&store, from, 0, 50).await, Err(moved));
    }
    for missing in [lane(7), other_function(lane(0)), other_hub(lane(0))] {
        let entry = line("checkpoint.seek", "a lane", act("ann", 50));
        let refused = store.seek(&missing, SequenceNumber(0), SequenceNumber(0), entry).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    }
    assert_eq!(Everything::of(&store).await, unchanged);
    store.commit(&step(0, epoch, 4, 5)).await.unwrap();
}

/// Events that will be read again must not also be waiting: parked ones leave, dead letters are marked as replayed. Those
/// before, and those of other lanes, stay as they are.
pub async fn what_is_read_again_waits_no_longer<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let other = begin(&store, 1, 0).await;
    let mut elsewhere = step(1, other, 0, 9);
    elsewhere.lanes[0].counts =
        OutcomeCounts { applied: 7, parked: 1, dead_lettered: 1, ..OutcomeCounts::default() };
    elsewhere.lanes[0].parked = vec![parked(1, 7, Some("a"))];
    elsewhere.lanes[0].dead_letters = vec![letter(1, 8)];
    store.commit(&elsewhere).await.unwrap();

    // One of each kind before 7, and one from there on. The event at 7 itself is parked, and is a dead letter.
    let mut ids = set_aside(&store, epoch, 0, 4).await; // open, redriving, redriven, discarded
    park(&store, epoch, 4, &[Some("a"), None]).await;
    ids.extend(set_aside(&store, epoch, 6, 5).await); // open, redriving, redriven, discarded, quarantined
    park(&store, epoch, 11, &[Some("a"), None]).await;
    for base in [0, 4] {
        store.redrive(&ids[base + 1..base + 3], false, &act("ann", 40)).await.unwrap();
        store.discard(&ids[base + 3..base + 4], &act("ann", 40)).await.unwrap();
    }
    for event in [2, 8] {
        end_parked(&store, epoch, 13, event, UnparkedEnd::Applied).await;
    }
    for _ in 0..crate::dead_letter::MAX_RETURNS {
        store.redrive(&ids[8..], false, &act("ann", 41)).await.unwrap();
        end_parked(&store, epoch, 13, 10, failed_again(10, "timed out")).await;
    }

    seek(&store, 13, 7, 50).await.unwrap();
    let store = factory.reopen(store).await;
    let left = store.list_parked(&lane(0), SequenceNumber(0), 100).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|stored| stored.parked.event.sequence_number.0).collect();
    assert_eq!(left, [1, 4, 5], "those from 7 on are gone, and with them a redrive");
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!((place.events, place.heads.len()), (3, 3));
    use DeadLetterStatus::{Discarded, Open, Redriven, Redriving, Replayed};
    let expected = [Open, Redriving, Redriven, Discarded, Open, Replayed, Redriven, Discarded, Replayed];
    for (id, status) in ids.iter().zip(expected) {
        let stored = dead_letter(&store, *id).await;
        assert_eq!(stored.status, status, "of {id}");
        assert_eq!(stored.changed_at == at(50), status == Replayed, "of {id}");
    }
    assert_eq!(store.list_parked(&lane(1), SequenceNumber(0), 9).await.unwrap().len(), 1);
    assert_eq!(not_zero(store.count_parked().await.unwrap()), [(lane(1), 1)]);
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(1), 1)]);
}

/// Moved forward over everything, nothing is read again: what waits stays where it is.
pub async fn moving_forward_leaves_what_waits<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 2).await;
    park(&store, epoch, 2, &[Some("a"), Some("a")]).await;
    store.redrive(&ids[..1], false, &act("ann", 40)).await.unwrap();
    let waiting = store.list_parked(&lane(0), SequenceNumber(0), 10).await.unwrap();
    seek(&store, 4, 40, 50).await.unwrap();
    assert_eq!(store.list_parked(&lane(0), SequenceNumber(0), 10).await, Ok(waiting));
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Redriving);
    assert_eq!(status(&store, ids[1]).await, DeadLetterStatus::Open);
}

/// Events before the place a lane was moved to can still be resolved, redriven, set aside and discarded; none of that is
/// counted, because the lane began after them.
pub async fn events_before_the_start_are_not_counted<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 3).await;
    park(&store, epoch, 3, &[Some("a"), Some("b"), Some("c"), Some("d")]).await;
    store.redrive(&ids[..1], false, &act("ann", 40)).await.unwrap();
    seek(&store, 7, 10, 50).await.unwrap();
    let epoch = store.claim(&lane(0), "a", at(51)).await.unwrap().epoch;
    let nothing = OutcomeCounts::default();
    assert_eq!(not_zero(store.count_parked().await.unwrap()), []);
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), []);

    end_parked(&store, epoch, 10, 0, failed_again(0, "timed out")).await;
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Open);
    end_parked(&store, epoch, 10, 3, UnparkedEnd::Applied).await;
    end_parked(&store, epoch, 10, 4, UnparkedEnd::Filtered).await;
    end_parked(&store, epoch, 10, 5, UnparkedEnd::DeadLettered(Box::new(letter(0, 5)))).await;
    let aside = store.set_aside(&lane(0), SequenceNumber(6), &act("ann", 52)).await;
    assert_eq!(aside, Ok(Acted::Done));
    store.redrive(&ids[1..2], false, &act("ann", 53)).await.unwrap();
    store.discard(&ids[2..], &act("ann", 53)).await.unwrap();
    assert_eq!(counts(&store).await, nothing);
    assert_eq!(not_zero(store.count_parked().await.unwrap()), []);
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), []);

    let new = set_aside(&store, epoch, 10, 1).await;
    assert_eq!(counts(&store).await, OutcomeCounts { dead_lettered: 1, ..nothing });
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(0), 1)]);
    store.redrive(&new, false, &act("ann", 54)).await.unwrap();
    assert_eq!(counts(&store).await, OutcomeCounts { parked: 1, ..nothing });
    assert_eq!(not_zero(store.count_parked().await.unwrap()), [(lane(0), 1)]);
}

/// An event that is replayed and set aside again has a dead letter of its own; the one before stays replayed.
pub async fn a_replayed_event_that_fails_again_has_a_new_dead_letter<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let old = set_aside(&store, epoch, 0, 1).await;
    seek(&store, 1, 0, 50).await.unwrap();
    let epoch = store.claim(&lane(0), "a", at(51)).await.unwrap().epoch;
    let new = set_aside(&store, epoch, 0, 1).await;
    assert!(new[0] > old[0]);
    assert_eq!(status(&store, old[0]).await, DeadLetterStatus::Replayed);
    assert_eq!(status(&store, new[0]).await, DeadLetterStatus::Open);
    assert_eq!(store.redrive(&new, false, &act("ann", 52)).await, Ok(vec![Acted::Done]));
    assert_eq!(stored_parked(&store, 0).await.parked.redrive_of, Some(new[0]));
    assert_eq!(not_zero(store.count_parked().await.unwrap()), [(lane(0), 1)]);
}

/// The line that says who moved a checkpoint is written with it.
pub async fn moving_a_checkpoint_is_in_the_audit_trail<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    begin(&store, 0, 4).await;
    let entry = line("checkpoint.seek", "track/flights/0", act("ann", 50));
    store.seek(&lane(0), SequenceNumber(4), SequenceNumber(0), entry.clone()).await.unwrap();
    let store = factory.reopen(store).await;
    assert_eq!(store.trail(Some("track/flights/0"), 0, 10).await, Ok(vec![entry.numbered(1)]));
}

async fn seek(store: &impl Store, from: u64, to: u64, ms: i64) -> Result<Checkpoint, StoreError> {
    let entry = line("checkpoint.seek", "a lane", act("ann", ms));
    store.seek(&lane(0), SequenceNumber(from), SequenceNumber(to), entry).await
}
