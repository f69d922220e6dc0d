//! The circuit: whether a function, or what it depends on, is fit to be given events; one truth for all instances.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The [kind](crate::register::RegisterKey::kind) of the registers that hold circuits. A register's name is the
/// function's, or the dependency's.
pub const CIRCUIT: &str = "circuit";

/// What a circuit does with events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitState {
    /// They flow.
    #[default]
    Closed,
    /// They stop.
    Open,
    /// One of them is let through, to see.
    HalfOpen,
}

impl CircuitState {
    /// The word used in stored data and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A circuit. It is the value of a register; the register's version is its epoch: whoever decides on an older one loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuit {
    /// Its state.
    pub state: CircuitState,
    /// Since when.
    pub since: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Who brought it there: `tidegate`, or a person.
    pub by: String,
    /// When the outage began that it is open for, or was last; kept through half-open.
    #[serde(default)]
    pub opened_at: Option<Timestamp>,
    /// Whether it waits for a person, and does not probe by itself.
    #[serde(default)]
    pub manual: bool,
    /// The probe that is under way while it is half-open.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// How many probes failed since it opened.
    #[serde(default)]
    pub failed_probes: u32,
}

/// What the reason of a circuit says when everything that could be tried as a probe has failed as one: whether these events
/// are at fault or what they need, only a person can tell.
pub const ONLY_FAILING: &str = "all that waits has failed as a probe";

/// Whether the reason of a circuit says so.
pub fn is_only_failing(reason: &str) -> bool {
    reason.contains(ONLY_FAILING)
}

impl Circuit {
    /// A circuit that nothing ever happened to.
    pub fn closed(since: Timestamp) -> Self {
        Self {
            state: CircuitState::Closed,
            since,
            reason: String::new(),
            by: String::new(),
            opened_at: None,
            manual: false,
            probe: None,
            failed_probes: 0,
        }
    }
}

/// The one event of the whole fleet that is let through a half-open circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The instance that makes it.
    pub holder: String,
    /// When it is given up if nothing was heard of it: its holder is gone.
    pub until: Timestamp,
}

/// The [kind](crate::register::RegisterKey::kind) of the registers that hold pauses. A register's name is a function's,
/// or a lane's.
pub const PAUSE: &str = "pause";

/// A function or lane that a person has stopped. It is the value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Who.
    pub by: String,
}
