//! Events, attempts at them, and edits of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;
use tidegate_model::event;
use tidegate_model::position::PartitionId;

use crate::Properties;

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub sequence_number: u64,
    /// Its place as clients of Event Hubs name it: opaque text.
    pub offset: String,
    /// When the log took it.
    pub enqueued_at: Timestamp,
    /// What decided its partition; null where nothing did.
    pub partition_key: Option<String>,
    /// The producer's own properties, in their order.
    #[schema(value_type = Object)]
    pub properties: Properties,
    /// What the protocol carries beside them.
    #[schema(value_type = Object)]
    pub system_properties: Properties,
    /// The body where it is text; null where it is not.
    pub body: Option<String>,
    /// The body.
    pub body_base64: String,
}

impl Event {
    /// The event of a partition.
    pub fn new(partition: PartitionId, event: event::Event) -> Self {
        Self {
            partition: partition.0,
            sequence_number: event.sequence_number.0,
            offset: event.offset().to_string(),
            enqueued_at: event.enqueued_at,
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            body: std::str::from_utf8(event.body()).ok().map(str::to_owned),
            body_base64: STANDARD.encode(event.body()),
            properties: Properties::from(&event.data.properties),
            system_properties: Properties::from(&event.data.system_properties),
        }
    }
}

/// What a producer published, or a person made of it. It is also the form of an edit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// The key.
    pub partition_key: Option<String>,
    /// The producer's own properties, in their order.
    #[schema(value_type = Object)]
    pub properties: Properties,
    /// What the protocol carries beside them.
    #[schema(value_type = Object)]
    pub system_properties: Properties,
    /// The body where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl From<&event::EventData> for EventData {
    fn from(data: &event::EventData) -> Self {
        let body = std::str::from_utf8(&data.body).ok().map(str::to_owned);
        Self {
            partition_key: data.partition_key.as_ref().map(ToString::to_string),
            properties: Properties::from(&data.properties),
            system_properties: Properties::from(&data.system_properties),
            body_base64: body.is_none().then(|| STANDARD.encode(&data.body)),
            body,
        }
    }
}

/// An event in the words of a person. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventEdit {
    /// The body, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body, whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// All of the producer's properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Properties>,
    /// All of the system properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub system_properties: Option<Properties>,
    /// The key, which cannot be changed where the event has its place already; named so that an exported event is an edit
    /// as it is.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub partition_key: Option<Option<String>>,
}

/// Tells a member that is null from one that is absent.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// One failed try at one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// What kind of failure it was: `transient`, `throttled`, `timed-out`, `panicked`, `interrupted` or `rejected`.
    #[schema(value_type = String, example = "transient")]
    pub kind: tidegate_model::attempt::FailureKind,
    /// What went wrong, for a person.
    pub error: String,
}

impl From<tidegate_model::attempt::Attempt> for Attempt {
    fn from(attempt: tidegate_model::attempt::Attempt) -> Self {
        Self { at: attempt.at, kind: attempt.kind, error: attempt.error }
    }
}
