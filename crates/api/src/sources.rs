//! Hubs of others that are read here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// A hub of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// What it is called here.
    pub source: String,
    /// How it is.
    #[serde(flatten)]
    pub status: SourceStatus,
    /// The consumer group that it is read in; null when that is not known.
    pub consumer_group: Option<String>,
    /// The functions that are configured to read it.
    pub functions: Vec<String>,
    /// Its partitions, in order; of a source that never came, those that have checkpoints.
    pub partitions: Vec<SourcePartition>,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceStatus {
    /// Whether it is there.
    pub state: SourceState,
    /// Since when, as far as this run of the program knows; null when no server runs.
    pub since: Option<Timestamp>,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

/// Whether a source is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// It answers.
    There,
    /// It is being opened.
    Opening,
    /// It cannot be reached, and is tried again.
    Away,
    /// It does not let us in, or is not what it was: a person has to do something.
    Refused,
    /// No server runs that would read it.
    NotRead,
}

impl SourceState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Opening => "opening",
            Self::Away => "away",
            Self::Refused => "refused",
            Self::NotRead => "not-read",
        }
    }
}

/// A partition of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourcePartition {
    /// Its number, from 0.
    pub partition: u32,
    /// The oldest event that the hub keeps; null when that is not known.
    pub head: Option<u64>,
    /// The number the next event will get, as it was known last; null when it never was.
    pub tail: Option<u64>,
    /// Which other reader of the consumer group has it, as far as that is known.
    pub reader: Option<String>,
    /// How far the functions are.
    pub checkpoints: Vec<SourceCheckpoint>,
}

/// How far a function is in a partition of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceCheckpoint {
    /// The function.
    pub function: String,
    /// The first event that it has not resolved.
    pub position: u64,
    /// When that last moved.
    pub updated_at: Timestamp,
}
