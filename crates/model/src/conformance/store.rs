//! The suite of the store ports, for stores with [`CommitGuarantee::OneTransaction`].
//!
//! A store runs it by implementing [`StoreFactory`] and calling `tidegate_model::store_suite!` in a test module, with an
//! expression that makes a factory of a new, empty place; every check gets its own.

#![expect(clippy::unwrap_used, reason = "a check that cannot go on has failed")]

use async_trait::async_trait;
use bytes::Bytes;

use crate::attempt::{Attempt, EventAttempts, FailureClass};
use crate::checkpoint::{Advance, Checkpoint, Epoch, FunctionName, Lane, Ownership};
use crate::clock::Timestamp;
use crate::commit::{Commit, CommitGuarantee, DocumentWrite, LaneCommit};
use crate::dead_letter::{DeadLetter, DeadLetterId, DocumentSnapshot, StoredDeadLetter};
use crate::document::{CollectionName, Document, DocumentId, ETag, MAX_DOCUMENT_BYTES, Precondition};
use crate::error::ErrorKind;
use crate::event::{Event, EventData, HubName, Properties, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::ports::{
    Checkpoints, Commits, DeadLetterFilter, DeadLetters, Documents, Ownerships, Store, StoreError,
};
use crate::position::{Incarnation, PartitionId, SequenceNumber};

/// Opens the store under test.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// The store under test.
    type Store: Store;

    /// Opens the store in this factory's place, which is empty the first time.
    async fn open(&self) -> Self::Store;

    /// Closes `store` and opens it again in the same place.
    async fn reopen(&self, store: Self::Store) -> Self::Store;
}

/// Makes one `#[tokio::test]` of each check in [`conformance::store`](crate::conformance::store). The argument is an
/// expression for a new [`StoreFactory`](crate::conformance::store::StoreFactory); it is evaluated once per check.
#[macro_export]
macro_rules! store_suite {
    ($factory:expr) => {
        $crate::store_suite!(@checks $factory;
            a_claim_raises_the_epoch,
            a_stale_owner_is_fenced,
            a_release_keeps_the_epoch_and_a_stale_one_changes_nothing,
            a_lane_without_owner_or_checkpoint_is_fenced,
            begin_keeps_the_first_checkpoint,
            checkpoints_are_ordered_by_lane,
            a_commit_from_another_position_is_refused,
            a_commit_of_another_incarnation_is_refused,
            a_refused_commit_writes_nothing,
            the_same_commit_again_says_that_it_happened,
            of_two_commits_of_one_step_one_goes_through,
            counts_add_up,
            several_lanes_progress_together,
            an_empty_commit_changes_nothing,
            documents_come_in_the_order_of_the_ids,
            many_documents_go_in_and_out,
            documents_keep_every_byte,
            preconditions_are_checked,
            each_commit_has_a_greater_etag,
            documents_are_listed_page_by_page,
            collections_are_counted,
            dead_letters_keep_every_byte,
            dead_letters_are_filtered_paged_and_counted,
            attempts_are_replaced_and_removed,
            everything_survives_reopening,
        );
    };
    (@checks $factory:expr; $($check:ident,)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                $crate::conformance::store::$check(&$factory).await;
            }
        )*
    };
}

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
    let unchanged = Everything::of(&store).await;

    // A commit that would go through, and touches everything there is to touch.
    let good = || {
        let mut commit = step(0, first, 2, 4);
        commit.lanes[0].dead_letters = vec![letter(0, 3)];
        commit.lanes[0].counts = OutcomeCounts { applied: 1, dead_lettered: 1, ..OutcomeCounts::default() };
        commit.lanes[0].attempts = vec![attempts(4, 2)];
        commit.lanes.push(step(1, second, 0, 1).lanes.remove(0));
        commit.documents = vec![
            write("a new one", r#"{"n":1}"#, Precondition::Absent),
            write("kept", r#"{"n":2}"#, Precondition::Matches(etag)),
        ];
        commit
    };
    type Breakage = fn(&mut Commit);
    let breakages: [(&str, Breakage, Option<ErrorKind>); 14] = [
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
            |commit| commit.lanes[0].dead_letters[0] = letter(0, 4),
            Some(ErrorKind::Permanent),
        ),
        (
            "attempts at a resolved event",
            |commit| commit.lanes[0].attempts[0] = attempts(3, 1),
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

/// The counts of the commits are added up, each outcome for itself.
pub async fn counts_add_up<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 100).await;
    let mut commit = step(0, epoch, 100, 110);
    commit.lanes[0].counts = OutcomeCounts { applied: 4, filtered: 3, dead_lettered: 1, parked: 2 };
    commit.lanes[0].dead_letters = vec![letter(0, 109)];
    store.commit(&commit).await.unwrap();
    let mut commit = step(0, epoch, 110, 113);
    commit.lanes[0].counts = OutcomeCounts { applied: 1, filtered: 2, dead_lettered: 0, parked: 0 };
    commit.at = at(77);
    store.commit(&commit).await.unwrap();

    let checkpoint = store.checkpoint(&lane(0)).await.unwrap().unwrap();
    let expected = OutcomeCounts { applied: 5, filtered: 5, dead_lettered: 1, parked: 2 };
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

/// A commit of nothing goes through; one that moves nothing may record attempts.
pub async fn an_empty_commit_changes_nothing<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let before = Everything::of(&store).await;
    store.commit(&Commit { lanes: Vec::new(), documents: Vec::new(), at: at(1) }).await.unwrap();
    store.barrier().await.unwrap();
    assert_eq!(Everything::of(&store).await, before);

    let epoch = begin(&store, 0, 3).await;
    let mut commit = step(0, epoch, 3, 3);
    commit.lanes[0].attempts = vec![attempts(3, 1)];
    store.commit(&commit).await.unwrap();
    assert_eq!(store.attempts(&lane(0)).await, Ok(vec![attempts(3, 1)]));
    assert_eq!(position(&store, 0).await, 3);
}

/// Documents are read in the order of the ids asked for; one that is asked for twice comes twice, one that does not
/// exist is `None`.
pub async fn documents_come_in_the_order_of_the_ids<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let commit =
        documents_only(["b", "a", "c"].map(|name| write(name, &body_of(name), Precondition::Absent)));
    let etag = store.commit(&commit).await.unwrap().etag;

    let asked: Vec<_> = ["c", "missing", "a", "c", "B"].map(id).to_vec();
    let found = store.documents(&collection("planes"), &asked).await.unwrap();
    let stored = |name: &str| {
        Some(Document {
            id: id(name),
            body: Bytes::from(body_of(name)),
            partition: PartitionId(3),
            sequence_number: SequenceNumber(17),
            etag,
            updated_at: at(10),
        })
    };
    assert_eq!(found, vec![stored("c"), None, stored("a"), stored("c"), None]);
    assert_eq!(store.documents(&collection("unknown"), &asked).await, Ok(vec![None; 5]));
    assert_eq!(store.documents(&collection("planes"), &[]).await, Ok(Vec::new()));
}

/// A commit and a read may be as large as a batch gets.
pub async fn many_documents_go_in_and_out<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let names: Vec<_> = (0..5_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    let write_all =
        |precondition| documents_only(names.iter().map(|name| write(name, &body_of(name), precondition)));
    let etag = store.commit(&write_all(Precondition::Absent)).await.unwrap().etag;
    store.commit(&write_all(Precondition::Matches(etag))).await.unwrap();
    let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
    let found = store.documents(&collection("planes"), &ids).await.unwrap();
    for (name, document) in names.iter().zip(&found) {
        assert_eq!(document.as_ref().map(|document| &document.body[..]), Some(body_of(name).as_bytes()));
    }
}

/// Ids and states come back as they were, whatever is in them, up to the greatest length.
pub async fn documents_keep_every_byte<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let long_id = "é".repeat(511);
    let large = format!("\"{}\"", "x".repeat(MAX_DOCUMENT_BYTES - 2));
    let odd = [
        ("plain", r#"{"a": 1,  "a":2, "z":1e400}"#),
        ("O'Neill \"; DROP TABLE documents; --", r#"{"nul":"\u0000","é":"日本語"}"#),
        ("%_*?[a]", " [ ] \n"),
        ("日本/语\u{10ffff}", "null"),
        ("0", "\"not an object\""),
        (&long_id, &large),
    ];
    let commit = documents_only(odd.map(|(name, body)| write(name, body, Precondition::Absent)));
    store.commit(&commit).await.unwrap();
    let store = factory.reopen(store).await;
    let found = store.documents(&collection("planes"), &odd.map(|(name, _)| id(name))).await.unwrap();
    for ((name, body), document) in odd.iter().zip(found) {
        let document = document.expect(name);
        assert_eq!(document.id.as_str(), *name);
        assert!(document.body == *body.as_bytes(), "the state of {name} was changed");
    }
}

/// `Absent` and `Matches` hold exactly when they say.
pub async fn preconditions_are_checked<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let changed = StoreError::DocumentChanged { collection: collection("planes"), id: id("a") };
    let put = |body, precondition| documents_only([write("a", body, precondition)]);

    assert_eq!(store.commit(&put("0", Precondition::Matches(ETag(1)))).await, Err(changed.clone()));
    let first = store.commit(&put("1", Precondition::Absent)).await.unwrap().etag;
    assert_eq!(store.commit(&put("2", Precondition::Absent)).await, Err(changed.clone()));
    let second = store.commit(&put("3", Precondition::Matches(first))).await.unwrap().etag;
    assert_eq!(store.commit(&put("4", Precondition::Matches(first))).await, Err(changed));
    let found = store.documents(&collection("planes"), &[id("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!((found.etag, &found.body[..]), (second, &b"3"[..]));

    // The same id in another collection is another document.
    let mut elsewhere = put("5", Precondition::Absent);
    elsewhere.documents[0].collection = collection("ships");
    store.commit(&elsewhere).await.unwrap();
    let found = store.documents(&collection("planes"), &[id("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!(found.etag, second);
}

/// All documents of a commit have its etag, and etags grow, also across restarts.
pub async fn each_commit_has_a_greater_etag<F: StoreFactory>(factory: &F) {
    let mut store = factory.open().await;
    let mut last = None;
    for round in 0..6 {
        let names = [format!("a{round}"), format!("b{round}")];
        let commit = documents_only(names.iter().map(|name| write(name, "{}", Precondition::Absent)));
        let etag = store.commit(&commit).await.unwrap().etag;
        assert!(last.is_none_or(|last| etag > last), "{etag:?} after {last:?}");
        let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
        for document in store.documents(&collection("planes"), &ids).await.unwrap() {
            assert_eq!(document.unwrap().etag, etag);
        }
        last = Some(etag);
        store = factory.reopen(store).await;
    }
}

/// Pages of a listing join without a gap or an overlap, in the byte order of the ids.
pub async fn documents_are_listed_page_by_page<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mut names: Vec<_> = (0..25).map(|n| format!("n{n}")).collect();
    names.extend(["Z", "a", "é", "\u{10ffff}", "\u{ffff}"].map(str::to_owned));
    let commit = documents_only(names.iter().map(|name| write(name, "{}", Precondition::Absent)));
    store.commit(&commit).await.unwrap();
    names.sort();

    for limit in [1, 7, 30, 1000] {
        let mut listed = Vec::new();
        loop {
            let after = listed.last();
            let page = store.list_documents(&collection("planes"), after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|document| document.id));
        }
        assert_eq!(listed.iter().map(DocumentId::as_str).collect::<Vec<_>>(), names, "pages of {limit}");
    }
    assert_eq!(store.list_documents(&collection("planes"), None, 0).await, Ok(Vec::new()));
    assert_eq!(store.list_documents(&collection("unknown"), None, 10).await, Ok(Vec::new()));
    let all = store.list_documents(&collection("planes"), None, usize::MAX).await.unwrap();
    assert_eq!(all.len(), names.len());
}

/// The collections with documents are listed by name; names that differ only in case are two.
pub async fn collections_are_counted<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.collections().await, Ok(Vec::new()));
    let mut commit = documents_only(["a", "b", "c"].map(|name| write(name, "{}", Precondition::Absent)));
    commit.documents[2].collection = collection("Planes");
    let etag = store.commit(&commit).await.unwrap().etag;
    let commit = documents_only([
        write("a", "[]", Precondition::Matches(etag)),
        write("d", "[]", Precondition::Absent),
    ]);
    store.commit(&commit).await.unwrap();

    let store = factory.reopen(store).await;
    assert_eq!(store.collections().await, Ok(vec![(collection("Planes"), 1), (collection("planes"), 3)]));
}

/// A dead letter comes back as it was: body, every type of property, attempts, document.
pub async fn dead_letters_keep_every_byte<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let every_value = [
        PropertyValue::Null,
        PropertyValue::Bool(true),
        PropertyValue::Bool(false),
        PropertyValue::Long(i64::MIN),
        PropertyValue::Long(i64::MAX),
        PropertyValue::Double(0.1),
        PropertyValue::Double(-0.0),
        PropertyValue::Double(3.0),
        PropertyValue::Double(f64::MAX),
        PropertyValue::Double(f64::MIN_POSITIVE),
        PropertyValue::Double(f64::INFINITY),
        PropertyValue::Double(f64::NEG_INFINITY),
        PropertyValue::String(String::new()),
        PropertyValue::String("2026-01-31T12:00:00Z \u{0} \"é".to_owned()),
        PropertyValue::Timestamp(Timestamp::from_millis(-1)),
        PropertyValue::Timestamp(Timestamp::from_millis(i64::MAX)),
        PropertyValue::Binary(Vec::new()),
        PropertyValue::Binary((0..=255).collect()),
        PropertyValue::Uuid(uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
    ];
    let mut full = letter(0, 0);
    full.incarnation = incarnation(1);
    full.event.enqueued_at = Timestamp::from_millis(1_234_567_890_123);
    full.event.data = EventData {
        partition_key: Some("key \u{0} é".into()),
        properties: every_value
            .iter()
            .enumerate()
            .map(|(n, value)| (format!("p{n}"), value.clone()))
            .collect(),
        system_properties: [
            ("twice", PropertyValue::Long(1)),
            ("twice", PropertyValue::Long(2)),
            ("", PropertyValue::Null),
        ]
        .into_iter()
        .collect(),
        body: (0..=255_u8).cycle().take(70_000).collect::<Vec<u8>>().into(),
    };
    full.attempts =
        vec![Attempt { at: at(3), error: "first\n".to_owned() }, Attempt { at: at(5), error: String::new() }];
    full.class = FailureClass::Exhausted;
    let snapshot = |body: Option<&'static [u8]>| DocumentSnapshot {
        collection: collection("planes"),
        id: id("plane 'x'"),
        body: body.map(Bytes::from_static),
    };
    full.document = Some(snapshot(Some(b"{\"a\":1}")));

    let mut bare = letter(0, 1);
    bare.event.data = EventData::default();
    bare.event.data.partition_key = Some("".into());
    bare.attempts = Vec::new();
    bare.reason = String::new();
    bare.function_version = String::new();
    bare.document = None;
    let mut no_document = letter(0, 2);
    no_document.document = Some(snapshot(None));
    let mut no_text = letter(0, 3);
    no_text.document = Some(snapshot(Some(b"\xff\x00 not text")));
    let mut nan = letter(0, 4);
    nan.event.data.properties = [("nan", PropertyValue::Double(f64::NAN))].into_iter().collect();

    let letters = vec![full, bare, no_document, no_text, nan];
    let mut commit = step(0, epoch, 0, letters.len() as u64);
    commit.lanes[0].counts =
        OutcomeCounts { dead_lettered: letters.len() as u64, ..OutcomeCounts::default() };
    commit.lanes[0].dead_letters = letters.clone();
    store.commit(&commit).await.unwrap();

    let store = factory.reopen(store).await;
    let listed = store.list_dead_letters(&DeadLetterFilter::default(), None, 100).await.unwrap();
    assert_eq!(listed.len(), letters.len());
    for (index, (given, kept)) in letters.iter().zip(&listed).enumerate() {
        assert_eq!(kept.id, DeadLetterId(index as u64 + 1));
        // NaN is not equal to itself; the bits of all numbers are compared by their text.
        assert_eq!(format!("{:?}", kept.letter), format!("{given:?}"));
        let one = store.dead_letter(kept.id).await.unwrap().expect("it is listed");
        assert_eq!(format!("{one:?}"), format!("{kept:?}"));
    }
    assert_eq!(store.dead_letter(DeadLetterId(0)).await, Ok(None));
    assert_eq!(store.dead_letter(DeadLetterId(99)).await, Ok(None));
    assert_eq!(store.dead_letter(DeadLetterId(u64::MAX)).await, Ok(None));
}

/// Listings of dead letters apply every condition, join page by page, and the counts are the rows'.
pub async fn dead_letters_are_filtered_paged_and_counted<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let lanes = [lane(0), lane(1), other_function(lane(0)), other_hub(lane(0))];
    let mut epochs = Vec::new();
    for lane in &lanes {
        epochs.push(begin_lane(&store, lane, 0).await);
    }
    let mut given = Vec::new();
    for round in 0..3_u64 {
        for (lane, epoch) in lanes.iter().zip(&epochs) {
            let mut commit = step_of(lane, *epoch, round * 2, round * 2 + 2);
            let letters = [0, 1].map(|n| {
                let mut letter = letter(0, round * 2 + n);
                letter.lane = lane.clone();
                letter.class = if n == 0 { FailureClass::Permanent } else { FailureClass::Exhausted };
                letter
            });
            given.extend(letters.clone());
            commit.lanes[0].dead_letters = letters.to_vec();
            commit.lanes[0].counts = OutcomeCounts { dead_lettered: 2, ..OutcomeCounts::default() };
            store.commit(&commit).await.unwrap();
        }
    }

    let functions = [None, Some(lanes[0].function.clone()), Some(lanes[2].function.clone())];
    let hubs = [None, Some(lanes[0].hub.clone()), Some(HubName::new("unknown").unwrap())];
    let classes = [None, Some(FailureClass::Permanent), Some(FailureClass::Exhausted)];
    for function in &functions {
        for hub in &hubs {
            for class in classes {
                let filter = DeadLetterFilter { function: function.clone(), hub: hub.clone(), class };
                let expected: Vec<_> = given
                    .iter()
                    .filter(|letter| {
                        function.as_ref().is_none_or(|function| letter.lane.function == *function)
                    })
                    .filter(|letter| hub.as_ref().is_none_or(|hub| letter.lane.hub == *hub))
                    .filter(|letter| class.is_none_or(|class| letter.class == class))
                    .cloned()
                    .collect();
                let mut listed: Vec<StoredDeadLetter> = Vec::new();
                loop {
                    let after = listed.last().map(|last| last.id);
                    let page = store.list_dead_letters(&filter, after, 5).await.unwrap();
                    assert!(page.len() <= 5);
                    if page.is_empty() {
                        break;
                    }
                    listed.extend(page);
                }
                assert!(listed.is_sorted_by(|one, next| one.id < next.id));
                let listed: Vec<_> = listed.into_iter().map(|stored| stored.letter).collect();
                assert_eq!(listed, expected, "{filter:?}");
            }
        }
    }
    let mut expected: Vec<_> = lanes.iter().map(|lane| (lane.clone(), 6)).collect();
    expected.sort();
    assert_eq!(store.count_dead_letters().await, Ok(expected));
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

/// What a commit wrote is there after reopening, all of it, and work goes on where it stopped.
pub async fn everything_survives_reopening<F: StoreFactory>(factory: &F) {
    let mut store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    for round in 0..5 {
        let mut commit = step(0, epoch, round * 10, round * 10 + 10);
        commit.lanes[0].dead_letters = vec![letter(0, round * 10 + 3)];
        commit.lanes[0].counts = OutcomeCounts { applied: 9, dead_lettered: 1, ..OutcomeCounts::default() };
        commit.lanes[0].attempts = vec![attempts(round * 10 + 12, 1)];
        commit.documents = vec![write(&format!("d{round}"), "{}", Precondition::Absent)];
        store.commit(&commit).await.unwrap();
        store.barrier().await.unwrap();
        let before = Everything::of(&store).await;
        store = factory.reopen(store).await;
        assert_eq!(Everything::of(&store).await, before, "round {round}");
    }
}

/// All that a store tells.
#[derive(Debug, PartialEq)]
struct Everything {
    ownerships: Vec<Ownership>,
    checkpoints: Vec<Checkpoint>,
    attempts: Vec<Vec<EventAttempts>>,
    collections: Vec<(CollectionName, u64)>,
    documents: Vec<Vec<Document>>,
    dead_letters: Vec<StoredDeadLetter>,
    dead_letter_counts: Vec<(Lane, u64)>,
}

impl Everything {
    async fn of(store: &impl Store) -> Self {
        let checkpoints = store.checkpoints().await.unwrap();
        let mut attempts = Vec::new();
        for checkpoint in &checkpoints {
            attempts.push(store.attempts(&checkpoint.lane).await.unwrap());
        }
        let collections = store.collections().await.unwrap();
        let mut documents = Vec::new();
        for (name, _) in &collections {
            documents.push(store.list_documents(name, None, usize::MAX).await.unwrap());
        }
        Self {
            ownerships: store.ownerships().await.unwrap(),
            checkpoints,
            attempts,
            collections,
            documents,
            dead_letters: store
                .list_dead_letters(&DeadLetterFilter::default(), None, usize::MAX)
                .await
                .unwrap(),
            dead_letter_counts: store.count_dead_letters().await.unwrap(),
        }
    }
}

async fn begin(store: &impl Store, partition: u32, start: u64) -> Epoch {
    begin_lane(store, &lane(partition), start).await
}

/// Claims a lane and makes its first checkpoint.
async fn begin_lane(store: &impl Store, lane: &Lane, start: u64) -> Epoch {
    store.begin(lane, incarnation(1), SequenceNumber(start), at(0)).await.unwrap();
    store.claim(lane, "a", at(0)).await.unwrap().epoch
}

async fn position(store: &impl Store, partition: u32) -> u64 {
    store.checkpoint(&lane(partition)).await.unwrap().expect("the lane has begun").position.0
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

fn lane(partition: u32) -> Lane {
    Lane {
        function: FunctionName::new("track").unwrap(),
        hub: HubName::new("flights").unwrap(),
        partition: PartitionId(partition),
    }
}

fn other_function(lane: Lane) -> Lane {
    Lane { function: FunctionName::new("alarm").unwrap(), ..lane }
}

fn other_hub(lane: Lane) -> Lane {
    Lane { hub: HubName::new("drones").unwrap(), ..lane }
}

fn incarnation(n: u128) -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(n))
}

fn collection(name: &str) -> CollectionName {
    CollectionName::new(name).unwrap()
}

fn id(name: &str) -> DocumentId {
    DocumentId::new(name).unwrap()
}

fn body_of(name: &str) -> String {
    format!("{{\"name\":\"{name}\"}}")
}

fn step(partition: u32, epoch: Epoch, from: u64, to: u64) -> Commit {
    step_of(&lane(partition), epoch, from, to)
}

/// A commit that moves one lane over events that were all applied.
fn step_of(lane: &Lane, epoch: Epoch, from: u64, to: u64) -> Commit {
    let step = LaneCommit {
        lane: lane.clone(),
        epoch,
        incarnation: incarnation(1),
        advance: Advance { from: SequenceNumber(from), to: SequenceNumber(to) },
        counts: OutcomeCounts { applied: to - from, ..OutcomeCounts::default() },
        dead_letters: Vec::new(),
        attempts: Vec::new(),
    };
    Commit { lanes: vec![step], documents: Vec::new(), at: at(10) }
}

fn documents_only(documents: impl IntoIterator<Item = DocumentWrite>) -> Commit {
    Commit { lanes: Vec::new(), documents: documents.into_iter().collect(), at: at(10) }
}

fn write(name: &str, body: &str, precondition: Precondition) -> DocumentWrite {
    DocumentWrite {
        collection: collection("planes"),
        id: id(name),
        body: Bytes::copy_from_slice(body.as_bytes()),
        partition: PartitionId(3),
        sequence_number: SequenceNumber(17),
        precondition,
    }
}

fn attempts(event: u64, count: i64) -> EventAttempts {
    EventAttempts {
        sequence_number: SequenceNumber(event),
        attempts: (0..count).map(|n| Attempt { at: at(n), error: format!("attempt {n}") }).collect(),
    }
}

fn letter(partition: u32, event: u64) -> DeadLetter {
    let properties: Properties = [("kind", PropertyValue::from("position"))].into_iter().collect();
    DeadLetter {
        lane: lane(partition),
        incarnation: incarnation(1),
        event: Event {
            sequence_number: SequenceNumber(event),
            enqueued_at: at(-5),
            data: EventData { properties, ..EventData::new(&b"{\"speed\":"[..]).with_key("key") },
        },
        function_version: "1.0".to_owned(),
        class: FailureClass::Permanent,
        reason: "not JSON".to_owned(),
        attempts: vec![Attempt { at: at(1), error: "not JSON".to_owned() }],
        dead_lettered_at: at(2),
        document: None,
    }
}
