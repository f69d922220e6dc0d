//! How a function fares: successes and failures in a sliding window, instance by instance.

use std::time::Duration;

use crate::checkpoint::FunctionName;
use crate::clock::Timestamp;

/// How wide a bucket of the window is, in milliseconds.
pub const BUCKET_MILLIS: i64 = 1000;

/// How long a store remembers a second.
pub const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What happened within a second at one instance; added to what the store has for the same second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRecord {
    /// Whose events: a function, or a dependency that functions report on.
    pub circuit: FunctionName,
    /// The instance: the id of a running program.
    pub instance: String,
    /// The beginning of the second.
    pub second: Timestamp,
    /// What happened.
    pub counts: HealthCounts,
}

/// What happened. Only failures that speak of an outage count: an event that is rejected for good says nothing about the
/// world, nor does a key that goes on failing while others succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthCounts {
    /// Events that were applied or filtered.
    pub succeeded: u64,
    /// Events that failed for the first time.
    pub failing: u64,
    /// Failed attempts, each one.
    pub failed_attempts: u64,
    /// Events whose attempts were used up: the final failures.
    pub failed: u64,
    /// Lanes that had a final failure; each is counted once in a window, so that sums are of different lanes.
    pub failed_lanes: u64,
}

impl HealthCounts {
    /// True when there is nothing to record.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These without others that are among them. No count goes below zero: two sums that are read one after the other may have
    /// changed in between.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_sub(others.succeeded),
            failing: self.failing.saturating_sub(others.failing),
            failed_attempts: self.failed_attempts.saturating_sub(others.failed_attempts),
            failed: self.failed.saturating_sub(others.failed),
            failed_lanes: self.failed_lanes.saturating_sub(others.failed_lanes),
        }
    }
}

impl std::ops::AddAssign for HealthCounts {
    fn add_assign(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failing += other.failing;
        self.failed_attempts += other.failed_attempts;
        self.failed += other.failed;
        self.failed_lanes += other.failed_lanes;
    }
}

/// What one instance had in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceHealth {
    /// The instance.
    pub instance: String,
    /// Its counts, all seconds of the window together.
    pub counts: HealthCounts,
}
