//! Alerts: what a person should look at.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// Something a person should look at, or should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// Its name: `kind/subject@beginning`.
    pub id: String,
    /// What kind of thing: `circuit` (an outage), or the name of a rule such as `lag`.
    pub kind: String,
    /// What it is about: a function, a lane.
    pub subject: String,
    /// When it began.
    pub since: Timestamp,
    /// What is wrong, for a person.
    pub what: String,
    /// `critical` or `warning`.
    #[schema(example = "critical")]
    pub severity: String,
    /// Whether it is still so.
    pub open: bool,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far an outage is: `opened`, `notified`, `waiting`, `restarting` or `closed`.
    pub stage: Option<String>,
    /// How an outage got there, oldest first.
    pub steps: Vec<AlertStep>,
}

/// A step of an outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertStep {
    /// Where it led.
    pub stage: String,
    /// When.
    pub at: Timestamp,
    /// Who: a person, or `tidegate`.
    pub by: String,
    /// What there is to say about it; may be empty.
    pub note: String,
}

/// Something that was to be told, and how far it got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// Its number.
    pub id: u64,
    /// What happened, such as `circuit.opened`.
    #[schema(example = "circuit.opened")]
    pub kind: String,
    /// What it happened to: a function, a lane.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// How far it got with each target that it was sent to; a target that its turn has not come for is missing.
    pub deliveries: Vec<NoticeDelivery>,
}

/// How far a notice got with one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeDelivery {
    /// The target: the name in the configuration, with the address for mail.
    #[schema(example = "ops:mia@example.com")]
    pub target: String,
    /// `delivered`; `due`, if it was not taken and is tried again; or `given-up`.
    #[schema(example = "due")]
    pub state: String,
    /// When it was delivered or given up, or is tried again.
    pub at: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// What the target said, if it did not take it.
    pub error: Option<String>,
}
