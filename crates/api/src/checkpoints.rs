//! Checkpoints, and how they are moved by hand.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// A checkpoint, with what is left to do and what a running processor does about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// The function.
    pub function: String,
    /// The hub.
    pub hub: String,
    /// The partition.
    pub partition: u32,
    /// The life of the hub it belongs to.
    #[schema(format = "uuid")]
    pub incarnation: String,
    /// Where the function began.
    pub start: u64,
    /// The first unresolved event.
    pub position: u64,
    /// The last event with everything up to it resolved.
    pub sequence_number: Option<u64>,
    /// The number the next event will get; null when the log has no such partition.
    pub tail: Option<u64>,
    /// Events that are not resolved.
    pub lag: Option<u64>,
    /// Events whose effect is in the documents.
    pub applied: u64,
    /// Events the function asked nothing for.
    pub filtered: u64,
    /// Events in the dead letters.
    pub dead_lettered: u64,
    /// Events that are parked now.
    pub parked: u64,
    /// Dead letters that a person discarded.
    pub discarded: u64,
    /// Events that a repair of the log had given up before they were processed.
    pub lost: u64,
    /// When it moved last.
    pub updated_at: Timestamp,
    /// What a running processor does: `running`, `retrying`, `held`, `gated`, `waiting`, `unowned`, `stopped` or `released`;
    /// null when none runs.
    pub state: Option<String>,
    /// Why it waits, retries or is stopped.
    pub error: Option<String>,
    /// What the watchdog did last, while the lane should move and does not: the action, since when, the instance, and in
    /// words.
    #[schema(value_type = Option<Object>)]
    pub watchdog: Option<serde_json::Value>,
}

/// Where the checkpoints of a function are to be, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekRequest {
    /// The function.
    pub function: String,
    /// Only on this hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Only in this partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// `earliest`, `latest`, a sequence number or a time.
    #[schema(example = "earliest")]
    pub to: String,
    /// Only says what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What a seek does to a lane, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SeekResult {
    /// The function.
    pub function: String,
    /// The hub.
    pub hub: String,
    /// The partition.
    pub partition: u32,
    /// The first unresolved event so far.
    pub from: u64,
    /// The first unresolved event from then on.
    pub to: u64,
    /// Resolved events that are processed again.
    pub repeated: u64,
    /// Unresolved events that are never processed.
    pub skipped: u64,
    /// Dead letters whose events are processed again from the log: they become `replayed`.
    pub dead_letters_replayed: u64,
    /// Parked events that are processed again from the log.
    pub parked_replayed: u64,
    /// Whether it was done; false in a dry run, and where nothing was to be done.
    pub done: bool,
}
