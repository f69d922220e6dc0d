//! Functions: how they are set, and what they would say about an event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{EventEdit, JsonText};

/// A function on a hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Function {
    /// The function.
    pub function: String,
    /// The hub it reads.
    pub hub: String,
    /// The collection it writes; null for a function that is not configured here.
    pub collection: Option<String>,
    /// `rust` or `upsert`; null for a function that is not configured here.
    pub kind: Option<String>,
    /// Its version; null for a function that does not run here.
    pub version: Option<String>,
    /// How it is set; null for a function that is not configured here.
    pub settings: Option<FunctionSettings>,
    /// Whether it runs in this program.
    pub running: bool,
}

/// How a function is set. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionSettings {
    /// `partition`, `key` or `none`.
    pub order: String,
    /// Events in a batch at most.
    pub max_event_batch_size: u64,
    /// Events in a batch at least, unless `max_wait_time_ms` passes.
    pub min_event_batch_size: u64,
    /// How long a batch waits to become full.
    pub max_wait_time_ms: u64,
    /// How long an invocation may take.
    pub invocation_timeout_ms: u64,
    /// When a failed event is tried again.
    pub retry: RetrySettings,
    /// When its circuit opens and closes.
    pub circuit: CircuitSettings,
}

/// When a failed event is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetrySettings {
    /// `fixed-delay` or `exponential-backoff`.
    pub strategy: String,
    /// Tries in all, the first one included; null without limit.
    pub max_attempts: Option<u32>,
    /// The pause, or the first one.
    pub delay_ms: u64,
    /// The longest pause.
    pub max_delay_ms: u64,
}

/// When a circuit opens, and how it closes again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CircuitSettings {
    /// Whether it opens by itself.
    pub enabled: bool,
    /// More failures than this within the window open it.
    pub threshold: u64,
    /// The window, in seconds.
    pub window_s: u64,
    /// With fewer events in the window, their ratio says nothing.
    pub minimum_volume: u64,
    /// Which share of the events must have failed.
    pub failure_ratio: f64,
    /// `automatic` or `manual`.
    pub probe: String,
    /// How long after it opened it is probed; null where a person does it.
    pub probe_after_s: Option<u64>,
}

/// An event to be judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunRequest {
    /// The event, in the form of an edit.
    pub event: EventEdit,
}

/// What a function says about an event. Nothing is changed by asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// `applied`, `filtered`, `rejected` (it would become a dead letter at once) or `failed` (it would be tried again).
    #[schema(example = "applied")]
    pub outcome: String,
    /// The collection that the function writes.
    pub collection: String,
    /// The document that the event is about; null where the function does not name one.
    pub document_id: Option<String>,
    /// The document as it is.
    #[schema(value_type = Option<Object>)]
    pub before: Option<JsonText>,
    /// The document as it would be; null where it would not change.
    #[schema(value_type = Option<Object>)]
    pub after: Option<JsonText>,
    /// What would change, for a person.
    pub diff: Option<String>,
    /// Why the event would not be applied.
    pub reason: Option<String>,
    /// How many documents it would write; `document_id`, `before` and `after` are of the first.
    pub documents: u64,
}
