//! What the audit looks at, read in an order that stays meaningful while a processor runs.
//!
//! Nothing stops while the facts are gathered, so they are read in this order: heads, checkpoints, dead letters and parked
//! events, checkpoints again, tails. Positions only grow. A head read first is not past a checkpoint read later unless
//! unresolved events were dropped; a tail read last is not before a checkpoint read earlier unless acknowledged events
//! are missing; and the dead letters and parked events lie between the two counts. Events are parked and unparked, and dead
//! letters redriven and set aside again, so a count may leave that range for a moment and come back: an observation that
//! shows a difference is made again.

use std::ops::Range;

use tidegate_api::SourceStatus;
use tidegate_model::checkpoint::{Checkpoint, FunctionName, Lane};
use tidegate_model::event::HubName;
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

/// Everything the audit looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The hubs of the log.
    pub hubs: Vec<HubObservation>,
    /// The hubs of others that cannot be asked, and how each is.
    pub away: Vec<(HubName, SourceStatus)>,
    /// Which functions are configured to read which hubs.
    pub configured: Vec<(FunctionName, HubName)>,
    /// The checkpoints before the dead letters were counted.
    pub checkpoints_before: Vec<Checkpoint>,
    /// The dead letters of each lane, counted one by one.
    pub dead_letters: Vec<(Lane, u64)>,
    /// The parked events of each lane, counted one by one.
    pub parked: Vec<(Lane, u64)>,
    /// Parts of these two.
    pub parts: Vec<(Lane, Parts)>,
    /// The checkpoints after that.
    pub checkpoints_after: Vec<Checkpoint>,
}

/// Parts of the dead letters and parked events of a lane that are worth knowing by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Dead letters that keep coming back.
    pub quarantined: u64,
    /// Parked events that wait for a person or the circuit.
    pub held: u64,
    /// Parked events that are redrives.
    pub redriving: u64,
}

/// What the log says about a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubObservation {
    /// The hub.
    pub name: HubName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Whether [gaps mean nothing](tidegate_model::ports::EventLog::has_sparse_numbers) there.
    pub is_sparse: bool,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionObservation>,
}

/// What the log says about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionObservation {
    /// The partition.
    pub partition: PartitionId,
    /// The oldest event kept, as it was before the checkpoints were read.
    pub head: SequenceNumber,
    /// The number the next event will get, as it was after the checkpoints were read.
    pub tail: SequenceNumber,
    /// Why the partition is out of service, if it is.
    pub damage: Option<String>,
    /// The numbers of the events that a repair gave up.
    pub lost: Vec<Range<SequenceNumber>>,
}

impl Observation {
    /// The checkpoint of a lane before the dead letters were counted.
    pub(crate) fn checkpoint_before(&self, lane: &Lane) -> Option<&Checkpoint> {
        self.checkpoints_before.iter().find(|checkpoint| checkpoint.lane == *lane)
    }

    /// The checkpoint of a lane after the dead letters were counted.
    pub(crate) fn checkpoint_after(&self, lane: &Lane) -> Option<&Checkpoint> {
        self.checkpoints_after.iter().find(|checkpoint| checkpoint.lane == *lane)
    }
}
