//! Checkpoints and ownership: how far a lane is resolved, and who may say so.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::HubName;
use crate::outcome::OutcomeCounts;
use crate::position::{Incarnation, PartitionId, SequenceNumber};

crate::name::name_type! {
    /// The name of a function.
    FunctionName, "function", 128
}

/// One function's way through one partition: the unit of order, of ownership and of progress.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The function.
    pub function: FunctionName,
    /// The hub it reads.
    pub hub: HubName,
    /// The partition of that hub.
    pub partition: PartitionId,
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.function, self.hub, self.partition)
    }
}

/// How far a lane is resolved: a watermark. Everything before [`position`](Self::position) is resolved, and the event
/// at it is not. It moves forward only, and only over resolved events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The lane.
    pub lane: Lane,
    /// The life of the hub that the position belongs to.
    pub incarnation: Incarnation,
    /// Where the lane began: nothing before it was ever its business.
    pub start: SequenceNumber,
    /// The first unresolved event.
    pub position: SequenceNumber,
    /// How the events from `start` to `position` ended; their total is the distance between the two.
    pub counts: OutcomeCounts,
    /// When it last moved.
    pub updated_at: Timestamp,
}

impl Checkpoint {
    /// The last event with everything up to it resolved, if any was.
    pub fn resolved_through(&self) -> Option<SequenceNumber> {
        if self.position == self.start { None } else { self.position.previous() }
    }
}

/// A step of a checkpoint. It names where it comes from, so that a stale writer is refused by comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The position before: must equal the stored one.
    pub from: SequenceNumber,
    /// The position after; not before `from`.
    pub to: SequenceNumber,
}

/// The term of an owner. Every claim of a lane has a higher one than all claims before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The right to process a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The lane.
    pub lane: Lane,
    /// Who owns it: the id of a running program. Empty when it was released.
    pub owner: String,
    /// The owner's term. Writes under a lower one are fenced.
    pub epoch: Epoch,
    /// When it was claimed or released.
    pub changed_at: Timestamp,
}
