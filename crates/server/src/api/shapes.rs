//! The objects of the API as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use tidegate_model::attempt::Attempt;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterId, StoredDeadLetter};
use tidegate_model::document::{CollectionName, Document, DocumentId, ETag};
use tidegate_model::event::{Event, HubName, Properties};
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
fn raw(json: &Bytes) -> Box<RawValue> {
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
    document: Option<SnapshotShape>,
}

#[derive(Debug, Serialize)]
struct SnapshotShape {
    collection: CollectionName,
    id: DocumentId,
    body: Option<Box<RawValue>>,
}

impl From<StoredDeadLetter> for DeadLetterShape {
    fn from(StoredDeadLetter { id, letter }: StoredDeadLetter) -> Self {
        let event = letter.event;
        Self {
            id,
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
            document: letter.document.map(|snapshot| SnapshotShape {
                collection: snapshot.collection,
                id: snapshot.id,
                body: snapshot.body.as_ref().map(raw),
            }),
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
