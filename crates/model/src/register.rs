//! Registers: small facts that all instances agree on, changed by compare-and-set.
//!
//! The state of a circuit, an incident, an alert, a pause: each is a register. A change names the version it was decided
//! on; of several instances that decide at once, one wins, and the others read what it decided.

use crate::clock::Timestamp;

/// What kind of fact a register holds, and whose: `circuit` of function `aircraft`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterKey {
    /// The kind: lower-case words joined by `-`.
    pub kind: &'static str,
    /// Whose fact it is.
    pub name: String,
}

impl RegisterKey {
    /// The register of `kind` with this name.
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for RegisterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Counts the changes of a register, from 1. It never goes back, also when the register is removed and made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Of a register that does not exist.
    pub const NONE: Self = Self(0);
}

/// A register as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Which one.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// What it holds, as JSON.
    pub value: serde_json::Value,
    /// When it was changed last.
    pub changed_at: Timestamp,
}
