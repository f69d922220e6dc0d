//! The audit trail.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;
use tidegate_model::trail::TrailEntry;

/// A line of the audit trail: what was done by hand, by whom, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrailLine {
    /// Its number, from 1.
    pub number: u64,
    /// What was done: `dead-letter.redrive`, `circuit.open`, `checkpoint.seek` and so on.
    #[schema(example = "dead-letter.redrive")]
    pub action: String,
    /// What it was done to: a dead letter's number, a function's or lane's name.
    pub subject: String,
    /// Who: the name of the key, with the person before it where the request named one.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// What a reader needs besides, such as the diff of an edit.
    pub detail: serde_json::Value,
}

impl From<TrailEntry> for TrailLine {
    fn from(entry: TrailEntry) -> Self {
        let TrailEntry { number, action, subject, act, detail } = entry;
        Self { number, action, subject, by: act.by, reason: act.reason, at: act.at, detail }
    }
}
