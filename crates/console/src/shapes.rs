//! What the console reads of the API's answers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use tidegate_model::clock::Timestamp;

/// How everything is: `GET /api/v1/overview`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Overview {
    pub version: String,
    pub started_at: Option<Timestamp>,
    pub ready: bool,
    pub hubs: Vec<HubRates>,
    pub functions: Vec<FunctionState>,
    pub collections: Vec<CollectionSize>,
    pub alerts: Vec<Alert>,
}

impl Default for Overview {
    fn default() -> Self {
        Self {
            version: String::new(),
            started_at: None,
            ready: true,
            hubs: Vec::new(),
            functions: Vec::new(),
            collections: Vec::new(),
            alerts: Vec::new(),
        }
    }
}

/// A hub, with what comes in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct HubRates {
    pub hub: String,
    /// Whether it is somebody else's, and read from there.
    pub source: bool,
    pub partitions: u32,
    pub published: u64,
    pub incoming_per_s: Option<f64>,
    pub bytes_per_s: Option<f64>,
}

/// A function, with everything about how it is doing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct FunctionState {
    pub function: String,
    pub hub: String,
    pub collection: Option<String>,
    pub kind: Option<String>,
    pub order: Option<String>,
    pub circuit: Option<CircuitState>,
    pub paused: Value,
    pub lag_events: Option<u64>,
    pub lag_s: Option<f64>,
    pub workable: Option<u64>,
    pub parked: u64,
    pub held: u64,
    pub dead_letters: u64,
    pub oldest_unresolved_at: Option<Timestamp>,
    pub incoming_per_s: Option<f64>,
    pub processed_per_s: Option<f64>,
    pub dead_lettered_per_s: Option<f64>,
    pub failed_per_s: Option<f64>,
    pub latency_ms: Option<Latency>,
    pub lanes: Vec<LaneState>,
}

impl FunctionState {
    /// Whether it was told not to go on, as a whole or in a partition.
    pub fn is_paused(&self) -> bool {
        !matches!(&self.paused, Value::Null | Value::Bool(false))
            && self.paused.as_array().is_none_or(|pauses| !pauses.is_empty())
    }
}

/// A circuit breaker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct CircuitState {
    /// `closed`, `open` or `half-open`.
    pub state: String,
    pub since: Option<Timestamp>,
    pub reason: Option<String>,
    pub failures_in_window: Option<u64>,
    pub threshold: Option<u64>,
    pub window_s: Option<f64>,
}

/// How long events take from being published to being resolved, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are percentiles")]
pub struct Latency {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
}

/// A function on one partition.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct LaneState {
    pub partition: u32,
    pub state: Option<String>,
    pub detail: Option<String>,
    pub position: Option<u64>,
    pub tail: Option<u64>,
    pub lag: Option<u64>,
    pub parked: u64,
    pub held: u64,
    pub owner: Option<String>,
    pub epoch: Option<u64>,
    pub progressed_at: Option<Timestamp>,
    pub watchdog: Value,
}

/// A collection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct CollectionSize {
    pub collection: String,
    pub documents: Option<u64>,
}

/// Something that a person was told, and that is not over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Alert {
    pub id: Value,
    pub kind: String,
    pub subject: String,
    pub since: Option<Timestamp>,
    pub what: String,
    pub severity: Option<String>,
}

/// Values over time: `GET /api/v1/series`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct SeriesAnswer {
    pub step_s: f64,
    pub series: Vec<Series>,
}

/// One of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Series {
    pub name: String,
    pub unit: String,
    pub points: Vec<Option<f64>>,
}

impl SeriesAnswer {
    /// The values of one series; none if there is no such.
    pub fn points(&self, name: &str) -> &[Option<f64>] {
        self.series.iter().find(|series| series.name == name).map_or(&[], |series| &series.points)
    }
}

/// A hub and its partitions: `GET /api/v1/hubs/{hub}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Hub {
    pub hub: String,
    pub incarnation: Value,
    pub created_at: Option<Timestamp>,
    pub declared: bool,
    pub retention: Option<String>,
    pub retention_bytes: Option<u64>,
    pub consumer_groups: Vec<String>,
    pub functions: Vec<String>,
    pub partitions: Vec<Partition>,
}

/// A partition as the log has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Partition {
    pub partition: u32,
    pub head: u64,
    pub tail: u64,
    pub last_enqueued_at: Option<Timestamp>,
    pub size_bytes: u64,
    pub damage: Option<String>,
}

/// A checkpoint: `GET /api/v1/checkpoints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Checkpoint {
    pub function: String,
    pub hub: String,
    pub partition: u32,
    pub start: u64,
    pub position: u64,
    pub sequence_number: Option<u64>,
    pub tail: Option<u64>,
    pub lag: Option<u64>,
    pub applied: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
    pub parked: u64,
    pub updated_at: Option<Timestamp>,
    pub state: Option<String>,
    pub error: Option<String>,
}

/// An event as the log has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Event {
    pub partition: u32,
    pub sequence_number: u64,
    pub offset: Value,
    pub enqueued_at: Option<Timestamp>,
    pub partition_key: Option<String>,
    pub properties: BTreeMap<String, Value>,
    pub system_properties: BTreeMap<String, Value>,
    pub body: Option<String>,
    pub body_base64: String,
}

/// A line of the log: `GET /api/v1/logs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct LogLine {
    pub at: Option<Timestamp>,
    pub level: String,
    pub target: String,
    pub message: String,
    pub fields: BTreeMap<String, Value>,
}

/// Everything that happened to an event: `GET /api/v1/trace`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Trace {
    pub event: Option<Event>,
    pub functions: Vec<TracedFunction>,
    pub logs: Vec<LogLine>,
    pub trail: Vec<TrailEntry>,
}

/// What one function did with the event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct TracedFunction {
    pub function: String,
    /// `applied`, `filtered`, `dead-lettered`, `parked`, `pending`, `lost` or `resolved`.
    pub outcome: String,
    pub attempts: Vec<Attempt>,
    pub dead_letter: Value,
    pub parked: Value,
    pub documents: Vec<Value>,
}

/// One try.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct Attempt {
    pub number: Option<u64>,
    pub started_at: Option<Timestamp>,
    pub at: Option<Timestamp>,
    pub error: Option<String>,
}

/// An entry of the audit trail.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the API, which documents them")]
pub struct TrailEntry {
    pub at: Option<Timestamp>,
    pub by: String,
    pub action: String,
    pub subject: String,
    pub reason: String,
}
