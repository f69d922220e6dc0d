//! How an event can end, and counts of it.

use serde::{Deserialize, Serialize};

/// The known place an event ends in. An event is *resolved* when exactly one of these is durably recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its effect is in the documents.
    Applied,
    /// The function asked for nothing.
    Filtered,
    /// It is in the dead letters.
    DeadLettered,
    /// It waits in the store: to be tried again, or behind an earlier event of its key.
    Parked,
}

/// How many events ended where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCounts {
    /// Events whose effect is in the documents.
    pub applied: u64,
    /// Events the function asked nothing for.
    pub filtered: u64,
    /// Events in the dead letters.
    pub dead_lettered: u64,
    /// Events that are parked now.
    pub parked: u64,
    /// Dead letters that a person discarded: no outcome of processing, but accounted for.
    #[serde(default)]
    pub discarded: u64,
    /// Events that a repair of the log had given up before they were processed: no outcome, but accounted for.
    pub lost: u64,
}

impl OutcomeCounts {
    /// Counts one more event.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Applied => self.applied += 1,
            Outcome::Filtered => self.filtered += 1,
            Outcome::DeadLettered => self.dead_lettered += 1,
            Outcome::Parked => self.parked += 1,
        }
    }

    /// The events counted.
    pub fn total(&self) -> u64 {
        [self.applied, self.filtered, self.dead_lettered, self.parked, self.discarded, self.lost]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

impl std::ops::AddAssign for OutcomeCounts {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.filtered += other.filtered;
        self.dead_lettered += other.dead_lettered;
        self.parked += other.parked;
        self.discarded += other.discarded;
        self.lost += other.lost;
    }
}
