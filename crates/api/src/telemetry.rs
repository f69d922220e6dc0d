//! What is measured and logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// Measured values over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// The time between two points, in seconds.
    pub step_s: u64,
    /// When the first point was.
    pub from: Timestamp,
    /// The series, in the order asked for.
    pub series: Vec<SeriesLine>,
}

/// One measured value over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesLine {
    /// Its name, such as `function.aircraft.processed`.
    pub name: String,
    /// Its unit, such as `events/s`; null for a name that is not known.
    pub unit: Option<String>,
    /// The points, the oldest first; null where nothing was measured.
    pub points: Vec<Option<f64>>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// `error`, `warn`, `info` or `debug`.
    pub level: String,
    /// Which part of the program.
    pub target: String,
    /// What it says.
    pub message: String,
    /// Its fields, such as `hub`, `partition`, `sequence_number`, `key`, `function` and `invocation`.
    pub fields: BTreeMap<String, serde_json::Value>,
}

/// How many instances there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scale {
    /// So many.
    pub desired: u64,
    /// Unresolved events that could be worked on: not those that are parked or held.
    pub workable_lag: u64,
    /// More instances than partitions have nothing to do.
    pub partitions: u64,
    /// The lag that one instance is to have.
    pub target_lag: u64,
}
