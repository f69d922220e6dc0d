//! Checks of commits as a whole: all or nothing, once, and for good.

use bytes::Bytes;

use crate::checkpoint::Advance;
use crate::commit::Commit;
use crate::dead_letter::DeadLetterId;
use crate::document::{ETag, Precondition};
use crate::error::ErrorKind;
use crate::health::{HealthCounts, HealthRecord};
use crate::outcome::OutcomeCounts;
use crate::parking::{Reparked, Turn, UnparkedEnd};
use crate::ports::{Checkpoints, Commits, StoreError};
use crate::position::SequenceNumber;

use super::StoreFactory;
use super::samples::*;

/// A commit must come from where the checkpoint is.
pub async fn a_commit_from_another_position_is_refused<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 5).await;
    for from in [4, 6] {
        let moved = StoreError::CheckpointMoved {
            lane: lane(0),
            from: SequenceNumber(from),
            stored: SequenceNumber(5),
        };
        assert_eq!(store.commit(&step(0, epoch, from, 8)).await, Err(moved.clone()));
        assert_eq!(moved.kind(), ErrorKind::Conflict);
    }
    assert_eq!(position(&store, 0).await, 5);
}

/// A position of another life of the hub means nothing.
pub async fn a_commit_of_another_incarnation_is_refused<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut commit = step(0, epoch, 0, 1);
    commit.lanes[0].incarnation = incarnation(2);
    let refused =
        StoreError::OtherIncarnation { lane: lane(0), ours: incarnation(2), stored: incarnation(1) };
    assert_eq!(store.commit(&commit).await, Err(refused));
    assert_eq!(position(&store, 0).await, 0);
}

/// Whatever is wrong with one part of a commit, no other part is written.
pub async fn a_refused_commit_writes_nothing<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (first, second) = (begin(&store, 0, 0).await, begin(&store, 1, 0).await);
    let mut before = step(0, first, 0, 2);
    before.lanes[0].dead_letters = vec![letter(0, 1)];
    before.lanes[0].counts = OutcomeCounts { applied: 1, dead_lettered: 1, ..OutcomeCounts::default() };
    before.lanes[0].attempts = vec![attempts(2, 1)];
    before.documents = vec![write("kept", r#"{"n":1}"#, Precondition::Absent)];
    let etag = store.commit(&before).await.unwrap().etag;
    park(&store, first, 2, &[Some("a"), Some("b")]).await;
    let versions = (version(&store, 2).await, version(&store, 3).await);
    let unchanged = Everything::of(&store).await;

    // A commit that would go through, and touches everything there is to touch.
    let good = || {
        let mut commit = step(0, first, 4, 7);
        commit.lanes[0].dead_letters = vec![letter(0, 5)];
        commit.lanes[0].parked = vec![parked(0, 6, Some("a"))];
        commit.lanes[0].counts =
            OutcomeCounts { applied: 1, dead_lettered: 1, parked: 1, ..OutcomeCounts::default() };
        commit.lanes[0].attempts = vec![attempts(7, 2)];
        commit.lanes[0].unparked = vec![unparked(2, versions.0, UnparkedEnd::Applied)];
        commit.lanes[0].reparked = vec![Reparked {
            sequence_number: SequenceNumber(3),
            version: versions.1,
            turn: Turn::At(at(90)),
            attempts: attempts(3, 1).attempts,
        }];
        commit.health = vec![HealthRecord {
            circuit: lane(0).function,
            instance: "a".to_owned(),
            second: at(0),
            counts: HealthCounts { succeeded: 1, ..HealthCounts::default() },
        }];
        commit.lanes.push(step(1, second, 0, 1).lanes.remove(0));
        commit.documents = vec![
            write("a new one", r#"{"n":1}"#, Precondition::Absent),
            write("kept", r#"{"n":2}"#, Precondition::Matches(etag)),
        ];
        commit
    };
    type Breakage = fn(&mut Commit);
    let breakages: [(&str, Breakage, Option<ErrorKind>); 25] = [
        ("a stale epoch", |commit| commit.lanes[1].epoch.0 -= 1, Some(ErrorKind::Fenced)),
        ("an unknown lane", |commit| commit.lanes[1].lane = lane(9), Some(ErrorKind::Fenced)),
        ("another incarnation", |commit| commit.lanes[1].incarnation = incarnation(2), None),
        (
            "another position",
            |commit| commit.lanes[1].advance = Advance { from: SequenceNumber(1), to: SequenceNumber(2) },
            Some(ErrorKind::Conflict),
        ),
        (
            "a document that exists",
            |commit| commit.documents[1].precondition = Precondition::Absent,
            Some(ErrorKind::Conflict),
        ),
        (
            "a document of another version",
            |commit| commit.documents[1].precondition = Precondition::Matches(ETag(u64::MAX)),
            Some(ErrorKind::Conflict),
        ),
        (
            "a document that does not exist",
            |commit| commit.documents[0].precondition = Precondition::Matches(ETag(1)),
            Some(ErrorKind::Conflict),
        ),
        (
            "a document of a new collection that does not exist",
            |commit| {
                commit.documents[0].collection = collection("other");
                commit.documents[0].precondition = Precondition::Matches(ETag(1));
            },
            Some(ErrorKind::Conflict),
        ),
        (
            "a document twice",
            |commit| {
                let twice = commit.documents[0].clone();
                commit.documents.push(twice);
            },
            Some(ErrorKind::Permanent),
        ),
        (
            "a state that is no text",
            |commit| commit.documents[1].body = Bytes::from_static(b"{\"n\":\"\xff\"}"),
            Some(ErrorKind::Permanent),
        ),
        ("a lane twice", |commit| commit.lanes[1] = commit.lanes[0].clone(), Some(ErrorKind::Permanent)),
        ("a wrong count", |commit| commit.lanes[1].counts.applied += 1, Some(ErrorKind::Permanent)),
        (
            "a dead letter of another event",
            |commit| commit.lanes[0].dead_letters[0] = letter(0, 7),
            Some(ErrorKind::Permanent),
        ),
        (
            "attempts at a resolved event",
            |commit| commit.lanes[0].attempts[0] = attempts(5, 1),
            Some(ErrorKind::Permanent),
        ),
        (
            "a resolved parked event of another version",
            |commit| commit.lanes[0].unparked[0].version.0 += 100,
            Some(ErrorKind::Conflict),
        ),
        (
            "a parked event of another version that stays",
            |commit| commit.lanes[0].reparked[0].version.0 += 100,
            Some(ErrorKind::Conflict),
        ),
        (
            "a resolved parked event that is not parked",
            |commit| commit.lanes[0].unparked[0].sequence_number = SequenceNumber(1),
            Some(ErrorKind::Conflict),
        ),
        (
            "a parked event twice",
            |commit| commit.lanes[0].reparked[0].sequence_number = SequenceNumber(2),
            Some(ErrorKind::Permanent),
        ),
        (
            "a parked event that the checkpoint has not passed",
            |commit| commit.lanes[0].unparked[0].sequence_number = SequenceNumber(7),
            Some(ErrorKind::Permanent),
        ),
        (
            "a parked event set aside as another",
            |commit| {
                commit.lanes[0].unparked[0].end = UnparkedEnd::DeadLettered(Box::new(letter(0, 3)));
            },
            Some(ErrorKind::Permanent),
        ),
        (
            "a parked event that is not of the step",
            |commit| commit.lanes[0].parked[0] = parked(0, 7, None),
            Some(ErrorKind::Permanent),
        ),
        (
            "a parked event of another lane",
            |commit| commit.lanes[0].parked[0] = parked(1, 6, None),
            Some(ErrorKind::Permanent),
        ),
        (
            "a parked event that claims to be a redrive",
            |commit| commit.lanes[0].parked[0].redrive_of = Some(DeadLetterId(1)),
            Some(ErrorKind::Permanent),
        ),
        (
            "a parked event that is not counted",
            |commit| {
                commit.lanes[0].counts.parked = 0;
                commit.lanes[0].counts.applied = 2;
            },
            Some(ErrorKind::Permanent),
        ),
        (
            "a discarded event",
            |commit| {
                commit.lanes[0].counts.applied = 0;
                commit.lanes[0].counts.discarded = 1;
            },
            Some(ErrorKind::Permanent),
        ),
    ];
    for (what, break_it, kind) in breakages {
        let mut commit = good();
        break_it(&mut commit);
        let refused = store.commit(&commit).await.expect_err(what);
        assert!(kind.is_none_or(|kind| refused.kind() == kind), "{what}: {refused:?}");
        assert_eq!(Everything::of(&store).await, unchanged, "after {what}");
    }
    let store = factory.reopen(store).await;
    assert_eq!(Everything::of(&store).await, unchanged, "after reopening");
    assert!(store.commit(&good()).await.unwrap().etag > etag);
}

/// After a lost reply, the same commit again is answered with the position it had brought the checkpoint to.
pub async fn the_same_commit_again_says_that_it_happened<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut commit = step(0, epoch, 0, 3);
    commit.documents = vec![write("a", "{}", Precondition::Absent)];
    store.commit(&commit).await.unwrap();
    let happened = Everything::of(&store).await;

    let moved =
        StoreError::CheckpointMoved { lane: lane(0), from: SequenceNumber(0), stored: SequenceNumber(3) };
    assert_eq!(store.commit(&commit).await, Err(moved.clone()));
    let store = factory.reopen(store).await;
    assert_eq!(store.commit(&commit).await, Err(moved));
    assert_eq!(Everything::of(&store).await, happened);
}

/// Two writers at the same time cannot both take a step.
pub async fn of_two_commits_of_one_step_one_goes_through<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    for round in 0..20 {
        let commit = step(0, epoch, round, round + 1);
        let (one, other) = tokio::join!(store.commit(&commit), store.commit(&commit));
        assert_ne!(one.is_ok(), other.is_ok(), "round {round}: {one:?} and {other:?}");
    }
    assert_eq!(position(&store, 0).await, 20);
}

/// A commit of nothing goes through; one that moves nothing may record attempts.
pub async fn an_empty_commit_changes_nothing<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let before = Everything::of(&store).await;
    store.commit(&documents_only([])).await.unwrap();
    store.barrier().await.unwrap();
    assert_eq!(Everything::of(&store).await, before);

    let epoch = begin(&store, 0, 3).await;
    let mut commit = step(0, epoch, 3, 3);
    commit.lanes[0].attempts = vec![attempts(3, 1)];
    store.commit(&commit).await.unwrap();
    assert_eq!(store.attempts(&lane(0)).await, Ok(vec![attempts(3, 1)]));
    assert_eq!(position(&store, 0).await, 3);
}

/// What a commit wrote is there after reopening, all of it, and work goes on where it stopped.
pub async fn everything_survives_reopening<F: StoreFactory>(factory: &F) {
    let mut store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    for round in 0..5 {
        let mut commit = step(0, epoch, round * 10, round * 10 + 10);
        commit.lanes[0].dead_letters = vec![letter(0, round * 10 + 3)];
        commit.lanes[0].parked = vec![parked(0, round * 10 + 5, Some("a")), parked(0, round * 10 + 6, None)];
        commit.lanes[0].counts =
            OutcomeCounts { applied: 7, dead_lettered: 1, parked: 2, ..OutcomeCounts::default() };
        commit.health = vec![HealthRecord {
            circuit: lane(0).function,
            instance: "a".to_owned(),
            second: at(0),
            counts: HealthCounts { succeeded: 7, failed: 3, ..HealthCounts::default() },
        }];
        commit.lanes[0].attempts = vec![attempts(round * 10 + 12, 1)];
        commit.documents = vec![write(&format!("d{round}"), "{}", Precondition::Absent)];
        store.commit(&commit).await.unwrap();
        store.barrier().await.unwrap();
        let before = Everything::of(&store).await;
        store = factory.reopen(store).await;
        assert_eq!(Everything::of(&store).await, before, "round {round}");
    }
}
