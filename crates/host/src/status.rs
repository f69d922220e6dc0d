//! What can be seen of a running lane.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::position::SequenceNumber;

/// What a lane does and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneStatus {
    /// The lane.
    pub lane: Lane,
    /// What it does now.
    pub state: LaneState,
    /// The first event whose outcome is not committed.
    pub position: SequenceNumber,
    /// The number the partition's next event will get.
    pub tail: SequenceNumber,
    /// How many events are parked.
    pub parked: u64,
    /// How many keys, or events without key, wait for a person or the circuit.
    pub held: u64,
    /// When the position last moved, since the processor was started.
    pub progressed_at: Option<Timestamp>,
    /// What the watchdog did last, while the lane should move and does not.
    pub watchdog: Option<WatchdogStep>,
}

impl LaneStatus {
    /// How many events of the partition are not resolved.
    pub fn lag(&self) -> u64 {
        self.tail.distance_from(self.position)
    }
}

/// What a lane does.
#[derive(Clone, Debug, PartialEq)]
pub enum LaneState {
    /// Reads, invokes, commits, or waits for events.
    Running,
    /// Waits to try an event again.
    Retrying {
        /// The event.
        sequence_number: SequenceNumber,
        /// How often it failed.
        failures: u32,
        /// The last error.
        error: String,
        /// The pause before the next try.
        delay: Duration,
    },
    /// In partition order: waits behind events that are held for a person or the circuit.
    Held {
        /// How many.
        events: u64,
    },
    /// The circuit is open, or a person paused it.
    Gated {
        /// Why.
        why: String,
    },
    /// Waits for the log or the store, which do not answer.
    Waiting {
        /// What they said.
        error: String,
    },
    /// Another processor owns it, or will.
    Unowned,
    /// Stopped for good: needs a person.
    Stopped {
        /// Why.
        error: String,
    },
    /// Drained and released.
    Released,
}

/// What was done about a lane that should move and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogStep {
    /// What.
    pub action: WatchdogAction,
    /// When.
    pub since: Timestamp,
    /// What was wrong with the lane and what is done, for a person.
    pub what: String,
}

/// What the watchdog can do, in the order in which it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchdogAction {
    /// The lane was told to look again at what is there.
    ReadAgain,
    /// Its pump was replaced by a new one.
    Restarted,
    /// It was given up, so that another processor takes it.
    HandedOver,
    /// Nothing more can be done: a person is needed.
    Reported,
}

impl WatchdogAction {
    /// The word used in stored data and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadAgain => "read-again",
            Self::Restarted => "restarted",
            Self::HandedOver => "handed-over",
            Self::Reported => "reported",
        }
    }
}
