//! The objects of the API as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use tidegate_model::attempt::Attempt;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{
    Acted, DeadLetterGroup, DeadLetterId, DeadLetterStatus, DocumentSnapshot, Lease, StoredDeadLetter,
};
use tidegate_model::document::{CollectionName, Document, DocumentId, ETag};
use tidegate_model::event::{Event, EventData, HubName, Properties};
use tidegate_model::parking::{ParkedEvent, Turn};
use tidegate_model::position::{Incarnation, Offset, PartitionId, SequenceNumber};

/// A document.
#[derive(Debug, Serialize)]
pub struct DocumentShape {
    id: DocumentId,
    document: Box<RawValue>,
    partition: PartitionId,
    sequence_number: SequenceNumber,
    etag: ETag,
    updated_at: Timestamp,
}

impl From<Document> for DocumentShape {
    fn from(document: Document) -> Self {
        Self {
            id: document.id,
            document: raw(&document.body),
            partition: document.partition,
            sequence_number: document.sequence_number,
            etag: document.etag,
            updated_at: document.updated_at,
        }
    }
}

/// JSON text as it is stored. Text that is no JSON, which a store never gives, becomes a JSON string.
pub(crate) fn raw(json: &Bytes) -> Box<RawValue> {
    let text = String::from_utf8_lossy(json);
    RawValue::from_string(text.clone().into_owned()).unwrap_or_else(|_| {
        let quoted = serde_json::Value::from(text.into_owned()).to_string();
        RawValue::from_string(quoted).expect("a quoted text is JSON")
    })
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub struct DeadLetterShape {
    id: DeadLetterId,
    status: DeadLetterStatus,
    changed_at: Timestamp,
    fingerprint: String,
    redrives: u32,
    returns: u32,
    revision: u32,
    lease: Option<LeaseShape>,
    leases: u32,
    function: FunctionName,
    function_version: String,
    hub: HubName,
    incarnation: Incarnation,
    partition: PartitionId,
    sequence_number: SequenceNumber,
    offset: Offset,
    enqueued_at: Timestamp,
    dead_lettered_at: Timestamp,
    partition_key: Option<String>,
    properties: Properties,
    system_properties: Properties,
    class: &'static str,
    reason: String,
    attempts: Vec<Attempt>,
    body_base64: String,
    /// The newest revision, once there is one.
    edited: Option<EventDataShape>,
    document: Option<SnapshotShape>,
}

/// Who works on a dead letter.
#[derive(Debug, Serialize)]
struct LeaseShape {
    holder: String,
    until: Timestamp,
}

/// What a producer published, or a person made of it. It is also the form of an edit.
#[derive(Debug, Serialize)]
pub struct EventDataShape {
    partition_key: Option<String>,
    properties: Properties,
    system_properties: Properties,
    /// The body where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl From<&EventData> for EventDataShape {
    fn from(data: &EventData) -> Self {
        let body = std::str::from_utf8(&data.body).ok().map(str::to_owned);
        Self {
            partition_key: data.partition_key.as_ref().map(ToString::to_string),
            properties: data.properties.clone(),
            system_properties: data.system_properties.clone(),
            body_base64: body.is_none().then(|| STANDARD.encode(&data.body)),
            body,
        }
    }
}

/// A document as it is or was.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotShape {
    collection: CollectionName,
    id: DocumentId,
    body: Option<Box<RawValue>>,
}

impl From<DocumentSnapshot> for SnapshotShape {
    fn from(snapshot: DocumentSnapshot) -> Self {
        let DocumentSnapshot { collection, id, body } = snapshot;
        Self { collection, id, body: body.as_ref().map(raw) }
    }
}

impl From<StoredDeadLetter> for DeadLetterShape {
    fn from(stored: StoredDeadLetter) -> Self {
        let letter = stored.letter;
        let event = letter.event;
        Self {
            id: stored.id,
            status: stored.status,
            changed_at: stored.changed_at,
            fingerprint: stored.fingerprint.to_string(),
            redrives: stored.redrives,
            returns: stored.returns,
            revision: stored.revision,
            lease: stored.lease.map(|Lease { holder, until }| LeaseShape { holder, until }),
            leases: stored.leases,
            function: letter.lane.function,
            function_version: letter.function_version,
            hub: letter.lane.hub,
            incarnation: letter.incarnation,
            partition: letter.lane.partition,
            sequence_number: event.sequence_number,
            offset: event.offset(),
            enqueued_at: event.enqueued_at,
            dead_lettered_at: letter.dead_lettered_at,
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            class: letter.class.as_str(),
            reason: letter.reason,
            attempts: letter.attempts,
            body_base64: STANDARD.encode(event.body()),
            properties: event.data.properties,
            system_properties: event.data.system_properties,
            edited: stored.edited.as_ref().map(EventDataShape::from),
            document: letter.document.map(SnapshotShape::from),
        }
    }
}

/// The causes of dead letters: those that have one together.
#[derive(Debug, Serialize)]
pub(crate) struct GroupShape {
    fingerprint: String,
    function: FunctionName,
    class: &'static str,
    reason: String,
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    /// The newest of them.
    example: DeadLetterId,
}

impl From<DeadLetterGroup> for GroupShape {
    fn from(group: DeadLetterGroup) -> Self {
        Self {
            fingerprint: group.fingerprint.to_string(),
            function: group.function,
            class: group.class.as_str(),
            reason: group.reason,
            count: group.count,
            first_at: group.first_at,
            last_at: group.last_at,
            example: group.newest,
        }
    }
}

/// What an act on one dead letter came to.
#[derive(Debug, Serialize)]
pub(crate) struct ActedShape {
    id: DeadLetterId,
    result: &'static str,
    /// The status that did not allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<DeadLetterStatus>,
}

impl ActedShape {
    /// Of the dead letter with this number.
    pub(crate) fn new(id: DeadLetterId, acted: Acted) -> Self {
        let (result, status) = match acted {
            Acted::Done => ("done", None),
            Acted::NotFound => ("not-found", None),
            Acted::WrongStatus(status) => ("wrong-status", Some(status)),
            Acted::Leased => ("leased", None),
            Acted::OtherIncarnation => ("other-incarnation", None),
            Acted::OtherRevision(_) => ("other-revision", None),
        };
        Self { id, result, status }
    }
}

/// A parked event.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedShape {
    /// Its name: function/hub/partition/sequence number.
    id: String,
    function: FunctionName,
    hub: HubName,
    incarnation: Incarnation,
    partition: PartitionId,
    sequence_number: SequenceNumber,
    enqueued_at: Timestamp,
    parked_at: Timestamp,
    /// `held`, `behind` an earlier event of its key, or `waiting` for its time.
    state: &'static str,
    /// When it is tried, where it waits for that.
    due_at: Option<Timestamp>,
    /// Why it is held.
    held: Option<String>,
    /// The event it waits behind.
    behind: Option<SequenceNumber>,
    attempts: Vec<Attempt>,
    redrive_of: Option<DeadLetterId>,
    partition_key: Option<String>,
    properties: Properties,
    system_properties: Properties,
    /// The body where it is text.
    body: Option<String>,
    body_base64: String,
}

impl ParkedShape {
    /// A parked event; `head` is the first parked event of its key.
    pub(crate) fn new(parked: ParkedEvent, head: SequenceNumber) -> Self {
        let ParkedEvent { lane, incarnation, event, turn, attempts, parked_at, redrive_of } = parked;
        let behind = (head != event.sequence_number).then_some(head);
        let (state, due_at, held) = match (behind, turn) {
            (Some(_), _) => ("behind", None, None),
            (None, Turn::At(at)) => ("waiting", Some(at), None),
            (None, Turn::Held { reason }) => ("held", None, Some(reason)),
        };
        Self {
            id: format!("{lane}/{}", event.sequence_number),
            incarnation,
            sequence_number: event.sequence_number,
            enqueued_at: event.enqueued_at,
            parked_at,
            state,
            due_at,
            held,
            behind,
            attempts,
            redrive_of,
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            body: std::str::from_utf8(event.body()).ok().map(str::to_owned),
            body_base64: STANDARD.encode(event.body()),
            properties: event.data.properties,
            system_properties: event.data.system_properties,
            function: lane.function,
            hub: lane.hub,
            partition: lane.partition,
        }
    }
}

/// An event.
#[derive(Debug, Serialize)]
pub struct EventShape {
    partition: PartitionId,
    sequence_number: SequenceNumber,
    offset: Offset,
    enqueued_at: Timestamp,
    partition_key: Option<String>,
    properties: Properties,
    system_properties: Properties,
    /// The body where it is text.
    body: Option<String>,
    body_base64: String,
}

impl EventShape {
    /// The event of a partition.
    pub(crate) fn new(partition: PartitionId, event: Event) -> Self {
        Self {
            partition,
            sequence_number: event.sequence_number,
            offset: event.offset(),
            enqueued_at: event.enqueued_at,
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            body: std::str::from_utf8(event.body()).ok().map(str::to_owned),
            body_base64: STANDARD.encode(event.body()),
            properties: event.data.properties,
            system_properties: event.data.system_properties,
        }
    }
}
