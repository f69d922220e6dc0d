//! What the checks commit, and all that a store tells.

use bytes::Bytes;

use crate::attempt::{Attempt, EventAttempts, FailureClass, FailureKind};
use crate::checkpoint::{Advance, Checkpoint, Epoch, FunctionName, Lane, Ownership};
use crate::clock::Timestamp;
use crate::commit::{Commit, DocumentWrite, LaneCommit};
use crate::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterId, DeadLetterStatus, StoredDeadLetter,
};
use crate::document::{CollectionName, Document, DocumentId, Precondition};
use crate::event::{Event, EventData, HubName, Properties, PropertyValue};
use crate::health::InstanceHealth;
use crate::notice::Notice;
use crate::outcome::OutcomeCounts;
use crate::parking::{ParkedEvent, ParkedVersion, ParkingPlace, StoredParked, Turn, Unparked, UnparkedEnd};
use crate::ports::{Parking, RegisterChange, Store};
use crate::position::{Incarnation, PartitionId, SequenceNumber};
use crate::register::{Register, RegisterKey, Version};
use crate::trail::{Act, NewTrailEntry, TrailEntry};

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
    dead_letter_groups: Vec<DeadLetterGroup>,
    parking_places: Vec<ParkingPlace>,
    parked: Vec<Vec<StoredParked>>,
    parked_counts: Vec<(Lane, u64)>,
    registers: Vec<Vec<Register>>,
    notices: Vec<Notice>,
    trail: Vec<TrailEntry>,
    health: Vec<InstanceHealth>,
}

impl Everything {
    pub(super) async fn of(store: &impl Store) -> Self {
        let checkpoints = store.checkpoints().await.unwrap();
        let (mut attempts, mut parking_places, mut parked) = (Vec::new(), Vec::new(), Vec::new());
        for Checkpoint { lane, .. } in &checkpoints {
            attempts.push(store.attempts(lane).await.unwrap());
            parking_places.push(without_version(store.parking_place(lane).await.unwrap()));
            parked.push(store.list_parked(lane, SequenceNumber::ZERO, usize::MAX).await.unwrap());
        }
        let mut registers = Vec::new();
        for kind in KINDS {
            registers.push(store.registers(kind).await.unwrap());
        }
        let all = DeadLetterFilter::default();
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
            dead_letters: store.list_dead_letters(&all, None, usize::MAX).await.unwrap(),
            dead_letter_counts: store.count_dead_letters().await.unwrap(),
            dead_letter_groups: store.group_dead_letters(&all).await.unwrap(),
            parking_places,
            parked,
            parked_counts: store.count_parked().await.unwrap(),
            registers,
            notices: store.recent_notices(usize::MAX).await.unwrap(),
            trail: store.trail(None, 0, usize::MAX).await.unwrap(),
            health: store.health(&lane(0).function, Timestamp::from_millis(0)).await.unwrap(),
        }
    }
}

/// A parking place apart from its version: an act that is refused may use versions up.
pub(super) fn without_version(place: ParkingPlace) -> ParkingPlace {
    ParkingPlace { version: ParkedVersion::default(), ..place }
}

pub(super) async fn begin(store: &impl Store, partition: u32, start: u64) -> Epoch {
    begin_lane(store, &lane(partition), start).await
}

/// Claims a lane and makes its first checkpoint.
pub(super) async fn begin_lane(store: &impl Store, lane: &Lane, start: u64) -> Epoch {
    store.begin(lane, incarnation(1), SequenceNumber(start), at(0)).await.unwrap();
    store.claim(lane, "a", at(0)).await.unwrap().epoch
}

/// The kinds of registers that the checks use.
pub(super) const KINDS: [&str; 2] = ["circuit", "pause"];

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
        parked: Vec::new(),
        unparked: Vec::new(),
        reparked: Vec::new(),
    };
    Commit { lanes: vec![step], documents: Vec::new(), health: Vec::new(), at: at(10) }
}

pub(super) fn documents_only(documents: impl IntoIterator<Item = DocumentWrite>) -> Commit {
    Commit { lanes: Vec::new(), documents: documents.into_iter().collect(), health: Vec::new(), at: at(10) }
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
        attempts: (0..count)
            .map(|n| Attempt { at: at(n), kind: FailureKind::Transient, error: format!("attempt {n}") })
            .collect(),
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
        attempts: vec![Attempt { at: at(1), kind: FailureKind::Transient, error: "not JSON".to_owned() }],
        dead_lettered_at: at(2),
        document: None,
    }
}

/// An event to park, due when it is parked, without failed attempts.
pub(super) fn parked(partition: u32, event: u64, key: Option<&str>) -> ParkedEvent {
    let mut data = EventData::new(format!("{{\"n\":{event}}}").into_bytes());
    data.partition_key = key.map(Into::into);
    ParkedEvent {
        lane: lane(partition),
        incarnation: incarnation(1),
        event: Event { sequence_number: SequenceNumber(event), enqueued_at: at(-5), data },
        turn: Turn::At(at(10)),
        attempts: Vec::new(),
        parked_at: at(10),
        redrive_of: None,
    }
}

/// Takes a step over as many events as there are keys, which parks each of them.
pub(super) async fn park(store: &impl Store, epoch: Epoch, from: u64, keys: &[Option<&str>]) {
    let events: Vec<_> = (from..).zip(keys).map(|(event, key)| parked(0, event, *key)).collect();
    park_events(store, epoch, from, events).await;
}

/// Takes a step over these events of lane 0, which parks them.
pub(super) async fn park_events(store: &impl Store, epoch: Epoch, from: u64, events: Vec<ParkedEvent>) {
    let mut commit = step(0, epoch, from, from + events.len() as u64);
    commit.lanes[0].counts = OutcomeCounts { parked: events.len() as u64, ..OutcomeCounts::default() };
    commit.lanes[0].parked = events;
    store.commit(&commit).await.unwrap();
}

/// Takes a step over this many events of lane 0, which sets each of them aside. Their numbers.
pub(super) async fn set_aside(store: &impl Store, epoch: Epoch, from: u64, count: u64) -> Vec<DeadLetterId> {
    set_letters_aside(store, epoch, from, (from..from + count).map(|event| letter(0, event)).collect()).await
}

/// Takes a step over the events of these dead letters. Their numbers.
pub(super) async fn set_letters_aside(
    store: &impl Store,
    epoch: Epoch,
    from: u64,
    letters: Vec<DeadLetter>,
) -> Vec<DeadLetterId> {
    let count = letters.len();
    let lane = letters[0].lane.clone();
    let mut commit = step_of(&lane, epoch, from, from + count as u64);
    commit.lanes[0].counts = OutcomeCounts { dead_lettered: count as u64, ..OutcomeCounts::default() };
    commit.lanes[0].dead_letters = letters;
    store.commit(&commit).await.unwrap();
    let filter = DeadLetterFilter {
        function: Some(lane.function),
        hub: Some(lane.hub),
        partition: Some(lane.partition),
        from_sequence_number: Some(SequenceNumber(from)),
        before_sequence_number: Some(SequenceNumber(from + count as u64)),
        ..DeadLetterFilter::default()
    };
    let ids = store.find_dead_letters(&filter, None, usize::MAX).await.unwrap();
    // The newest: an event that is replayed may have had one before.
    ids[ids.len() - count..].to_vec()
}

/// Resolves a parked event of lane 0, whose checkpoint stays at `position`.
pub(super) async fn end_parked(
    store: &impl Store,
    epoch: Epoch,
    position: u64,
    event: u64,
    end: UnparkedEnd,
) {
    let mut commit = step(0, epoch, position, position);
    commit.lanes[0].unparked = vec![unparked(event, version(store, event).await, end)];
    store.commit(&commit).await.unwrap();
}

pub(super) fn unparked(event: u64, version: ParkedVersion, end: UnparkedEnd) -> Unparked {
    Unparked { sequence_number: SequenceNumber(event), version, end }
}

/// How a dead letter comes back from its redrive.
pub(super) fn failed_again(event: u64, error: &str) -> UnparkedEnd {
    let story = DeadLetter {
        function_version: "2.0".to_owned(),
        class: FailureClass::Exhausted,
        reason: error.to_owned(),
        attempts: vec![Attempt { at: at(20), kind: FailureKind::TimedOut, error: error.to_owned() }],
        dead_lettered_at: at(21),
        ..letter(0, event)
    };
    UnparkedEnd::DeadLettered(Box::new(story))
}

/// The parked event of lane 0 with this number.
pub(super) async fn stored_parked(store: &impl Parking, event: u64) -> StoredParked {
    store.parked(&lane(0), SequenceNumber(event)).await.unwrap().expect("it is parked")
}

pub(super) async fn version(store: &impl Parking, event: u64) -> ParkedVersion {
    stored_parked(store, event).await.version
}

pub(super) async fn dead_letter(store: &impl Store, id: DeadLetterId) -> StoredDeadLetter {
    store.dead_letter(id).await.unwrap().expect("it was set aside")
}

pub(super) async fn status(store: &impl Store, id: DeadLetterId) -> DeadLetterStatus {
    dead_letter(store, id).await.status
}

/// The counts of lane 0.
pub(super) async fn counts(store: &impl Store) -> OutcomeCounts {
    store.checkpoint(&lane(0)).await.unwrap().expect("the lane has begun").counts
}

/// The lanes with a count that is not zero.
pub(super) fn not_zero(counts: Vec<(Lane, u64)>) -> Vec<(Lane, u64)> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

pub(super) fn act(by: &str, ms: i64) -> Act {
    Act { by: by.to_owned(), reason: format!("{by} has a reason"), at: at(ms) }
}

pub(super) fn line(action: &'static str, subject: &str, act: Act) -> NewTrailEntry {
    NewTrailEntry { action, subject: subject.to_owned(), act, detail: serde_json::json!({ "n": [1, null] }) }
}

/// The line that was written last, if it is the only one after the first `before` lines.
pub(super) async fn only_line_after(store: &impl Store, before: u64) -> TrailEntry {
    let mut lines = store.trail(None, before, usize::MAX).await.unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

/// How many lines the audit trail has.
pub(super) async fn trail_len(store: &impl Store) -> u64 {
    store.trail(None, 0, usize::MAX).await.unwrap().len() as u64
}

/// A change of a register that tells nobody.
pub(super) fn change(name: &str, from: Version, value: Option<serde_json::Value>) -> RegisterChange {
    RegisterChange {
        key: RegisterKey::new(KINDS[0], name),
        from,
        value,
        at: at(30),
        notices: Vec::new(),
        trail: Vec::new(),
    }
}
