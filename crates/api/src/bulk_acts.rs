//! Acts on many dead letters that the server does by itself once they were asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// What is done with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkDeed {
    /// The functions process the events once more.
    Redrive,
    /// The events are given up.
    Discard,
}

/// An act on all dead letters that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkActRequest {
    /// What is to be done.
    pub act: BulkDeed,
    /// Which are meant: the conditions of the listing of dead letters, under the names that they have there. Without
    /// `until` those that are there now.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// Also quarantined ones.
    #[serde(default)]
    pub force: bool,
    /// Why; kept in the audit trail with each of them.
    #[serde(default)]
    pub reason: String,
}

/// An act on many dead letters, and how far it is. It goes on when the server is started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkAct {
    /// Its name.
    pub id: String,
    /// What is done.
    pub act: BulkDeed,
    /// Which are meant.
    pub filter: BTreeMap<String, String>,
    /// Also quarantined ones.
    pub force: bool,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub started_at: Timestamp,
    /// `running`, `stopped` by a person, `ended`, or `failed`.
    #[schema(example = "running")]
    pub state: String,
    /// When it ended; null while it runs.
    pub ended_at: Option<Timestamp>,
    /// How many there were when it began.
    pub expected: u64,
    /// On how many it was done.
    pub done: u64,
    /// On how many it was not, by why: `not-found`, `leased`, `other-incarnation`, or the status that did not allow it.
    pub refused: BTreeMap<String, u64>,
    /// How often a start of the server went on with it.
    pub resumed: u32,
    /// What ended it before it was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
