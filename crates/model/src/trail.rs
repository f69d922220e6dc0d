//! The audit trail: who did what by hand, and why.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// An act of a person, or of a program in a person's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Who: the name of the key that authorised it, or of the user at the command line.
    pub by: String,
    /// Why, in their words. May be empty where a reason is not asked for.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailEntry {
    /// Its number, from 1, given by the store.
    pub number: u64,
    /// What was done: `dead-letter.redrive`, `circuit.open`, `checkpoint.seek` and so on.
    pub action: String,
    /// What it was done to: a dead letter's number, a function's or lane's name.
    pub subject: String,
    /// Who, why and when.
    #[serde(flatten)]
    pub act: Act,
    /// What a reader needs besides, in JSON: the diff of an edit, where a checkpoint was before.
    pub detail: serde_json::Value,
}

/// What becomes a line of the audit trail, together with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTrailEntry {
    /// What was done.
    pub action: &'static str,
    /// What it was done to.
    pub subject: String,
    /// Who, why and when.
    pub act: Act,
    /// What a reader needs besides.
    pub detail: serde_json::Value,
}

impl NewTrailEntry {
    /// The line under its number.
    pub fn numbered(self, number: u64) -> TrailEntry {
        let Self { action, subject, act, detail } = self;
        TrailEntry { number, action: action.to_owned(), subject, act, detail }
    }
}

/// What stores write to the trail themselves. The subject of a dead letter is its number, that of a parked event its
/// lane; then the detail is `{"sequence_number": 7}`.
pub mod action {
    /// A dead letter was parked again.
    pub const REDRIVE: &str = "dead-letter.redrive";
    /// A dead letter was discarded.
    pub const DISCARD: &str = "dead-letter.discard";
    /// A dead letter was leased.
    pub const LEASE: &str = "dead-letter.lease";
    /// The end of a lease was moved, or the lease given back.
    pub const EXTEND_LEASE: &str = "dead-letter.extend-lease";
    /// A parked event was made to be tried at once.
    pub const TRY_NOW: &str = "parked.try-now";
    /// A parked event was set aside.
    pub const SET_ASIDE: &str = "parked.set-aside";
}
