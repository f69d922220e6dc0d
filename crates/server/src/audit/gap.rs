//! What can be wrong with an account.

use std::fmt;

use serde::Serialize;

use tidegate_model::event::HubName;
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

/// A place where the numbers do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The checkpoint's counts do not add up to the events it resolved.
    Miscounted {
        /// Events between start and position.
        resolved: u64,
        /// Events the counts add up to.
        counted: u64,
    },
    /// The checkpoint is before its own start.
    BeforeStart {
        /// Where the function began.
        start: SequenceNumber,
        /// Where the checkpoint is.
        position: SequenceNumber,
    },
    /// The number of dead letters is not the one the checkpoint counts.
    DeadLetters {
        /// The checkpoint's count.
        counted: u64,
        /// The dead letters there are.
        found: u64,
    },
    /// The number of parked events is not the one the checkpoint counts.
    Parked {
        /// The checkpoint's count.
        counted: u64,
        /// The parked events there are.
        found: u64,
    },
    /// Events were dropped from the log before they were resolved.
    Dropped {
        /// The first of them.
        from: SequenceNumber,
        /// The first event that is kept.
        to: SequenceNumber,
    },
    /// The checkpoint is past the end of the log: acknowledged events are missing from it.
    BeyondTail {
        /// Where the checkpoint is.
        position: SequenceNumber,
        /// Where the log ends.
        tail: SequenceNumber,
    },
    /// A repair gave up events before they were processed, and the checkpoint has passed them.
    GivenUp {
        /// How many.
        events: u64,
    },
    /// A repair gave up these events, which are not processed.
    Lost {
        /// The first of them.
        from: SequenceNumber,
        /// The first after them.
        to: SequenceNumber,
    },
    /// The partition's log is damaged.
    Damaged {
        /// The file and the place in it.
        detail: String,
    },
    /// The checkpoint belongs to another life of the hub.
    OtherIncarnation {
        /// The log's.
        log: Incarnation,
        /// The checkpoint's.
        checkpoint: Incarnation,
    },
    /// There is a checkpoint for a partition the hub does not have.
    NoPartition {
        /// The partition.
        partition: PartitionId,
        /// Where its checkpoint is.
        position: SequenceNumber,
    },
    /// There is no such hub in the log.
    NoHub {
        /// The hub.
        hub: HubName,
    },
}

impl Gap {
    /// The word for it in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Miscounted { .. } => "miscounted",
            Self::BeforeStart { .. } => "before-start",
            Self::DeadLetters { .. } => "dead-letters",
            Self::Parked { .. } => "parked",
            Self::Dropped { .. } => "dropped",
            Self::BeyondTail { .. } => "beyond-tail",
            Self::GivenUp { .. } => "given-up",
            Self::Lost { .. } => "lost",
            Self::Damaged { .. } => "damaged",
            Self::OtherIncarnation { .. } => "other-incarnation",
            Self::NoPartition { .. } => "no-partition",
            Self::NoHub { .. } => "no-hub",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Miscounted { resolved, counted } => {
                write!(f, "{resolved} events are behind the checkpoint, but its counts add up to {counted}")
            }
            Self::BeforeStart { start, position } => {
                write!(f, "the checkpoint is at {position}, before its own start {start}")
            }
            Self::DeadLetters { counted, found } => {
                write!(f, "the checkpoint counts {counted} dead letters, but there are {found}")
            }
            Self::Parked { counted, found } => {
                write!(f, "the checkpoint counts {counted} parked events, but there are {found}")
            }
            Self::Dropped { from, to } => {
                write!(
                    f,
                    "events {from} to {} were dropped from the log before they were resolved",
                    last(*to)
                )
            }
            Self::BeyondTail { position, tail } => write!(
                f,
                "the checkpoint is at {position}, but the log ends at {tail}: acknowledged events are missing from it"
            ),
            Self::GivenUp { events } => {
                write!(f, "{events} events were given up by a repair of the log before they were processed")
            }
            Self::Lost { from, to } => {
                write!(f, "events {from} to {} were given up by a repair of the log", last(*to))
            }
            Self::Damaged { detail } => write!(f, "the log is damaged: {detail}"),
            Self::OtherIncarnation { log, checkpoint } => write!(
                f,
                "the checkpoint belongs to incarnation {checkpoint} of the hub, the log is incarnation {log}"
            ),
            Self::NoPartition { partition, position } => {
                write!(
                    f,
                    "there is a checkpoint at {position} for partition {partition}, which the hub does not have"
                )
            }
            Self::NoHub { hub } => write!(f, "the log has no hub {hub}"),
        }
    }
}

/// The last number before an exclusive end.
fn last(end: SequenceNumber) -> SequenceNumber {
    end.previous().unwrap_or(end)
}

impl Serialize for Gap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut gap = serializer.serialize_struct("Gap", 2)?;
        gap.serialize_field("kind", self.kind())?;
        gap.serialize_field("detail", &self.to_string())?;
        gap.end()
    }
}
