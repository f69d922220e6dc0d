//! One event, and everything that happened to it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Attempt, DeadLetter, DocumentState, Event, LogLine, Parked, TrailLine};

/// What is known about one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// The hub.
    pub hub: String,
    /// The partition.
    pub partition: u32,
    /// Its place in the partition.
    pub sequence_number: u64,
    /// The event; null where the log has dropped it.
    pub event: Option<Event>,
    /// What became of it, function by function.
    pub functions: Vec<FunctionTrace>,
    /// What the program logged about it, the newest first.
    pub logs: Vec<LogLine>,
    /// What people did to it, the oldest first.
    pub trail: Vec<TrailLine>,
}

/// What became of an event at one function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionTrace {
    /// The function.
    pub function: String,
    /// `resolved` (its effect is in the documents, or the function asked for nothing), `applied` where the document still
    /// names it as its last writer, `dead-lettered`, `parked`, `pending`, `lost`, or `before-start` (it is older than what
    /// the function began with).
    #[schema(example = "applied")]
    pub outcome: String,
    /// Failed attempts at it, the oldest first.
    pub attempts: Vec<Attempt>,
    /// The dead letter it became; the newest, if it became several.
    pub dead_letter: Option<DeadLetter>,
    /// How it is parked.
    pub parked: Option<Parked>,
    /// The documents that it is known to be about.
    pub documents: Vec<DocumentState>,
}
