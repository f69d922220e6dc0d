//! What the checks commit, and all that a store tells.

use bytes::Bytes;

use crate::attempt::{Attempt, EventAttempts, FailureClass};
use crate::checkpoint::{Advance, Checkpoint, Epoch, FunctionName, Lane, Ownership};
use crate::clock::Timestamp;
use crate::commit::{Commit, DocumentWrite, LaneCommit};
use crate::dead_letter::{DeadLetter, StoredDeadLetter};
use crate::document::{CollectionName, Document, DocumentId, Precondition};
use crate::event::{Event, EventData, HubName, Properties, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::ports::{DeadLetterFilter, Store};
use crate::position::{Incarnation, PartitionId, SequenceNumber};

/// All that a store tells.
#[derive(Debug, PartialEq)]
pub(super) struct Everything {
    ownerships: Vec<Ownership>,
    checkpoints: Vec<Checkpoint>,
    attempts: Vec<Vec<EventAttempts>>,
    collections: Vec<(CollectionName, u64)>,
    documents: Vec<Vec<Document>>,
    dead_letters: Vec<StoredDeadLetter>,
    dead_letter_counts: Vec<(Lane, u64)>,
}

impl Everything {
    pub(super) async fn of(store: &impl Store) -> Self {
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

pub(super) async fn begin(store: &impl Store, partition: u32, start: u64) -> Epoch {
    begin_lane(store, &lane(partition), start).await
}

/// Claims a lane and makes its first checkpoint.
pub(super) async fn begin_lane(store: &impl Store, lane: &Lane, start: u64) -> Epoch {
    store.begin(lane, incarnation(1), SequenceNumber(start), at(0)).await.unwrap();
    store.claim(lane, "a", at(0)).await.unwrap().epoch
}

pub(super) async fn position(store: &impl Store, partition: u32) -> u64 {
    store.checkpoint(&lane(partition)).await.unwrap().expect("the lane has begun").position.0
}

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

pub(super) fn lane(partition: u32) -> Lane {
    Lane {
        function: FunctionName::new("track").unwrap(),
        hub: HubName::new("flights").unwrap(),
        partition: PartitionId(partition),
    }
}

pub(super) fn other_function(lane: Lane) -> Lane {
    Lane { function: FunctionName::new("alarm").unwrap(), ..lane }
}

pub(super) fn other_hub(lane: Lane) -> Lane {
    Lane { hub: HubName::new("drones").unwrap(), ..lane }
}

pub(super) fn incarnation(n: u128) -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(n))
}

pub(super) fn collection(name: &str) -> CollectionName {
    CollectionName::new(name).unwrap()
}

pub(super) fn id(name: &str) -> DocumentId {
    DocumentId::new(name).unwrap()
}

pub(super) fn body_of(name: &str) -> String {
    format!("{{\"name\":\"{name}\"}}")
}

pub(super) fn step(partition: u32, epoch: Epoch, from: u64, to: u64) -> Commit {
    step_of(&lane(partition), epoch, from, to)
}

/// A commit that moves one lane over events that were all applied.
pub(super) fn step_of(lane: &Lane, epoch: Epoch, from: u64, to: u64) -> Commit {
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

pub(super) fn documents_only(documents: impl IntoIterator<Item = DocumentWrite>) -> Commit {
    Commit { lanes: Vec::new(), documents: documents.into_iter().collect(), at: at(10) }
}

pub(super) fn write(name: &str, body: &str, precondition: Precondition) -> DocumentWrite {
    DocumentWrite {
        collection: collection("planes"),
        id: id(name),
        body: Bytes::copy_from_slice(body.as_bytes()),
        partition: PartitionId(3),
        sequence_number: SequenceNumber(17),
        precondition,
    }
}

pub(super) fn attempts(event: u64, count: i64) -> EventAttempts {
    EventAttempts {
        sequence_number: SequenceNumber(event),
        attempts: (0..count).map(|n| Attempt { at: at(n), error: format!("attempt {n}") }).collect(),
    }
}

pub(super) fn letter(partition: u32, event: u64) -> DeadLetter {
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
