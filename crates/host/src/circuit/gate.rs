//! What a circuit lets through at this instance.

use std::collections::BTreeMap;

use tidegate_model::checkpoint::Lane;
use tidegate_model::circuit::Pause;
use tidegate_model::clock::Timestamp;
use tokio::sync::watch;

/// Where a pump learns whether events may go. It follows the circuit and the pauses.
#[derive(Clone, Debug)]
pub struct Gate {
    pub(super) state: watch::Receiver<GateState>,
}

impl Gate {
    /// What it says now.
    pub fn state(&self) -> GateState {
        self.state.borrow().clone()
    }

    /// Follows it.
    pub fn watch(&self) -> watch::Receiver<GateState> {
        self.state.clone()
    }
}

/// What may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateState {
    /// What the circuit says.
    pub flow: Flow,
    /// A person has stopped the function. Nothing may go, not even a probe.
    pub paused: Option<Pause>,
    /// Lanes that a person has stopped, by [`Lane`] as text.
    pub paused_lanes: BTreeMap<String, Pause>,
    /// This instance is sick while the others are well: its lanes of this function are to be given up. Nothing may go; see
    /// [`flow`](Self::flow).
    pub step_aside: Option<StepAside>,
}

impl GateState {
    /// Who has stopped this lane: its function or itself.
    pub fn pause_of(&self, lane: &Lane) -> Option<&Pause> {
        if self.paused.is_some() {
            return self.paused.as_ref();
        }
        // The text of a lane is only made when some lane is stopped: this is asked for every batch.
        if self.paused_lanes.is_empty() { None } else { self.paused_lanes.get(&lane.to_string()) }
    }
}

/// What the circuit says about events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They may go.
    Flowing {
        /// In batches of this size at most; `None` is no limit. It grows after the circuit closed.
        max_batch: Option<usize>,
    },
    /// They may not.
    Stopped {
        /// Why, for a person.
        why: String,
    },
    /// Only the event of the one probe may go: [`try_probe`](super::CircuitBreaker::try_probe).
    Probing {
        /// Whether an event that has never failed goes before older ones that have: the probe before this one failed, and
        /// perhaps through the fault of its event.
        untried_first: bool,
    },
}

/// An instance leaves its lanes to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepAside {
    /// Why, for a person.
    pub reason: String,
    /// Until when, about. It ends when this is gone from the gate.
    pub until: Timestamp,
}
