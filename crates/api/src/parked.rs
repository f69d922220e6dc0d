//! Parked events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;
use tidegate_model::parking::{ParkedEvent, Turn};
use tidegate_model::position::SequenceNumber;

use crate::{Attempt, Properties};

/// A parked event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Parked {
    /// Its name: `function/hub/partition/sequence number`.
    #[schema(example = "aircraft/flights/0/1234")]
    pub id: String,
    /// The function it waits for.
    pub function: String,
    /// The hub it came from.
    pub hub: String,
    /// The life of that hub.
    #[schema(format = "uuid")]
    pub incarnation: String,
    /// The partition it came from.
    pub partition: u32,
    /// Its place in the partition.
    pub sequence_number: u64,
    /// When the log took it.
    pub enqueued_at: Timestamp,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// `held`, `behind` an earlier event of its key, or `waiting` for its time.
    #[schema(example = "waiting")]
    pub state: String,
    /// When it is tried, where it waits for that.
    pub due_at: Option<Timestamp>,
    /// Why it is held.
    pub held: Option<String>,
    /// The event it waits behind.
    pub behind: Option<u64>,
    /// Every failed attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// The dead letter that it is the redrive of.
    pub redrive_of: Option<u64>,
    /// Its key.
    pub partition_key: Option<String>,
    /// The producer's own properties.
    #[schema(value_type = Object)]
    pub properties: Properties,
    /// What the protocol carried beside them.
    #[schema(value_type = Object)]
    pub system_properties: Properties,
    /// The body where it is text.
    pub body: Option<String>,
    /// The body.
    pub body_base64: String,
}

impl Parked {
    /// A parked event; `head` is the first parked event of its key.
    pub fn new(parked: ParkedEvent, head: SequenceNumber) -> Self {
        let ParkedEvent { lane, incarnation, event, turn, attempts, parked_at, redrive_of } = parked;
        let behind = (head != event.sequence_number).then_some(head.0);
        let (state, due_at, held) = match (behind, turn) {
            (Some(_), _) => ("behind", None, None),
            (None, Turn::At(at)) => ("waiting", Some(at), None),
            (None, Turn::Held { reason }) => ("held", None, Some(reason)),
        };
        Self {
            id: format!("{lane}/{}", event.sequence_number),
            incarnation: incarnation.to_string(),
            sequence_number: event.sequence_number.0,
            enqueued_at: event.enqueued_at,
            parked_at,
            state: state.to_owned(),
            due_at,
            held,
            behind,
            attempts: attempts.into_iter().map(Attempt::from).collect(),
            redrive_of: redrive_of.map(|id| id.0),
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            body: std::str::from_utf8(event.body()).ok().map(str::to_owned),
            body_base64: STANDARD.encode(event.body()),
            properties: Properties::from(&event.data.properties),
            system_properties: Properties::from(&event.data.system_properties),
            function: lane.function.to_string(),
            hub: lane.hub.to_string(),
            partition: lane.partition.0,
        }
    }
}

/// Which parked event an act is about, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParkedRequest {
    /// Its name: `function/hub/partition/sequence number`.
    #[schema(example = "aircraft/flights/0/1234")]
    pub id: String,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What an act on a parked event came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParkedResult {
    /// Its name.
    pub id: String,
    /// `to-be-tried` or `set-aside`.
    pub result: String,
}
