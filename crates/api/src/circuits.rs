//! Circuits and pauses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::circuit;
use tidegate_model::clock::Timestamp;

/// A circuit and what it is judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Circuit {
    /// The function, or the dependency.
    pub function: String,
    /// `closed` (events flow), `open` or `half-open`.
    #[schema(example = "closed")]
    pub state: String,
    /// Since when; null when nothing ever happened to it.
    pub since: Option<Timestamp>,
    /// Why, for a person.
    pub reason: String,
    /// Who brought it there.
    pub by: String,
    /// When the outage began that it is open for, or was last.
    pub opened_at: Option<Timestamp>,
    /// Whether it waits for a person.
    pub manual: bool,
    /// When it is probed next by itself.
    pub next_probe_at: Option<Timestamp>,
    /// The probe under way.
    pub probe: Option<Probe>,
    /// How many probes failed since it opened.
    pub failed_probes: u32,
    /// Events in the window whose attempts were used up, without those of keys that go on failing while others succeed.
    pub failures_in_window: u64,
    /// Events in the window that failed for the first time.
    pub failing_in_window: u64,
    /// Events in the window that were applied or filtered.
    pub succeeded_in_window: u64,
    /// More failures than this open it; null for a function that is not configured here.
    pub threshold: Option<u64>,
    /// The window, in seconds.
    pub window_s: u64,
    /// The pause of the function.
    pub paused: Option<Stop>,
    /// The pauses of its lanes, by lane.
    pub paused_lanes: BTreeMap<String, Stop>,
}

/// The one event of the whole fleet that is let through a half-open circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// The instance that makes it.
    pub holder: String,
    /// When it is given up if nothing was heard of it.
    pub until: Timestamp,
}

impl From<circuit::Probe> for Probe {
    fn from(probe: circuit::Probe) -> Self {
        Self { holder: probe.holder, until: probe.until }
    }
}

/// Since when something is paused, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PausedBy)]
pub struct Stop {
    /// Since when.
    pub since: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Who.
    pub by: String,
}

impl From<circuit::Pause> for Stop {
    fn from(pause: circuit::Pause) -> Self {
        Self { since: pause.since, reason: pause.reason, by: pause.by }
    }
}

/// A pause of a function or a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// The function or the lane.
    pub paused: String,
    /// Since when.
    pub since: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// Why, where that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What an act on a circuit came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CircuitActed {
    /// The function.
    pub function: String,
    /// `closed`, `open` or `half-open`.
    pub state: String,
    /// Since when; null if nothing ever happened to it.
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// Whether it was like this already.
    pub unchanged: bool,
}

/// What to pause or resume, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Only this hub, where the function reads several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Only this partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What a pause or a resumption came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseResult {
    /// The function or the lane.
    pub paused: String,
    /// `paused` or `resumed`.
    pub result: String,
    /// Whether it was like this already.
    pub unchanged: bool,
}

/// What can be done with a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitAction {
    /// Events stop.
    Open,
    /// Events flow.
    Close,
    /// One event is let through, to see.
    Probe,
}

/// What can be done with a function or a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PauseAction {
    /// It stops.
    Pause,
    /// It goes on.
    Resume,
}
