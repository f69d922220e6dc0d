//! Everything at a glance.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

use crate::{Alert, FailureCause, Pause, SourceStatus};

/// The flow as it is now: hubs, functions, collections. Rates and latencies are null where nothing measures them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// The version of the program.
    pub version: String,
    /// When the program was started.
    pub started_at: Timestamp,
    /// When this was put together.
    pub now: Timestamp,
    /// Whether functions run here and none of their lanes is stopped for good.
    pub ready: bool,
    /// The hubs, ordered by name.
    pub hubs: Vec<HubOverview>,
    /// The functions, ordered by name and hub.
    pub functions: Vec<FunctionOverview>,
    /// The collections, ordered by name.
    pub collections: Vec<CollectionOverview>,
    /// What is wrong now, the newest first.
    pub alerts: Vec<Alert>,
}

/// A hub at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HubOverview {
    /// Its name.
    pub hub: String,
    /// Whether it is somebody else's, and read from there.
    pub source: bool,
    /// Whether it is a source that cannot be read now: not reached yet, not reached at the moment, or not let in. Of one that
    /// was never reached nothing else is known.
    #[serde(default)]
    pub away: bool,
    /// How a source is, since when, and what is wrong; null for a hub of this server.
    #[serde(default)]
    pub status: Option<SourceStatus>,
    /// How many partitions it has.
    pub partitions: u32,
    /// Events that were ever published.
    pub published: u64,
    /// Events that come a second: the average of the last ten seconds.
    pub incoming_per_s: Option<f64>,
    /// Bytes that come a second, likewise.
    pub bytes_per_s: Option<f64>,
}

/// A function on a hub at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionOverview {
    /// The function.
    pub function: String,
    /// The hub it reads.
    pub hub: String,
    /// The collection it writes; null for a function that is not configured here.
    pub collection: Option<String>,
    /// `rust` or `upsert`; null for a function that is not configured here.
    pub kind: Option<String>,
    /// `partition`, `key` or `none`; null for a function that is not configured here.
    pub order: Option<String>,
    /// Its circuit.
    pub circuit: FunctionCircuit,
    /// The pauses of the function and of its lanes.
    pub paused: Vec<Pause>,
    /// Events that are not resolved.
    pub lag_events: u64,
    /// How long the oldest unresolved event has been in the log, in seconds; null when there is none, or it cannot be read.
    pub lag_s: Option<f64>,
    /// Unresolved events that the function could be given now: not those that are parked or held.
    pub workable: u64,
    /// Events that are parked.
    pub parked: u64,
    /// Keys, or events without key, that wait for a person or the circuit.
    pub held: u64,
    /// Dead letters that wait for a decision.
    pub dead_letters: u64,
    /// When the oldest event that is not resolved, or is parked, was enqueued.
    pub oldest_unresolved_at: Option<Timestamp>,
    /// Events that come a second: the average of the last ten seconds, as the other rates are.
    pub incoming_per_s: Option<f64>,
    /// Events that are resolved a second.
    pub processed_per_s: Option<f64>,
    /// Events that become dead letters a second.
    pub dead_lettered_per_s: Option<f64>,
    /// Attempts that fail a second.
    pub failed_per_s: Option<f64>,
    /// How long events took from the log to the commit in the last minute; null when there was none.
    pub latency_ms: Option<Latency>,
    /// Why events failed last, in the last hour.
    #[serde(default)]
    pub failure: Option<FailureCause>,
    /// Its lanes, one a partition.
    pub lanes: Vec<LaneOverview>,
}

/// The circuit of a function at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionCircuit {
    /// `closed`, `open` or `half-open`.
    pub state: String,
    /// Since when; null when nothing ever happened to it.
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// Failures in the window.
    pub failures_in_window: u64,
    /// More than this open it.
    pub threshold: Option<u64>,
    /// The window, in seconds.
    pub window_s: u64,
}

/// Percentiles of a time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Half of the events take no longer.
    pub p50: f64,
    /// 99 of 100 events take no longer.
    pub p99: f64,
    /// 999 of 1000 events take no longer.
    pub p999: f64,
}

/// A lane at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LaneOverview {
    /// The partition.
    pub partition: u32,
    /// `running`, `retrying`, `held`, `gated`, `waiting`, `unowned`, `stopped` or `released`; null when no processor runs.
    pub state: Option<String>,
    /// Why it waits, retries or is stopped.
    pub detail: Option<String>,
    /// The first unresolved event; null where the function has not begun yet.
    pub position: Option<u64>,
    /// The number the next event will get.
    pub tail: Option<u64>,
    /// Events that are not resolved.
    pub lag: u64,
    /// Events that are parked.
    pub parked: u64,
    /// Keys, or events without key, that wait for a person or the circuit.
    pub held: u64,
    /// Which instance owns it; null when nobody does.
    pub owner: Option<String>,
    /// The term of the owner.
    pub epoch: Option<u64>,
    /// When the position moved last.
    pub progressed_at: Option<Timestamp>,
    /// What the watchdog did last, while the lane should move and does not.
    pub watchdog: Option<String>,
}

/// A collection at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectionOverview {
    /// Its name.
    pub collection: String,
    /// How many documents it has.
    pub documents: u64,
}
