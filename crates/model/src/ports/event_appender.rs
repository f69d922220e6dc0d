//! The port through which producers' events become durable.

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::error::{ErrorCode, ErrorKind};
use crate::event::{EventData, HubName};
use crate::position::{Incarnation, PartitionId, SequenceNumber};

/// Appends to the partitions of one hub.
///
/// # Contract
///
/// - *Acknowledged means durable.* [`append`](Self::append) returns `Ok` only after the events are on disk and a crash
///   of the machine cannot take them back. Syncs are shared between appends, never skipped.
/// - The events of one append get consecutive sequence numbers, in the order given, and become readable together.
/// - Appends to one partition take effect in some order; an append that began after another was acknowledged comes
///   after it.
/// - An append is all or nothing, also across a crash: a reader never sees a part of it.
/// - An error of kind `Transient` with [`AppendError::may_have_been_stored`] false stored nothing: sending again makes
///   no duplicate. When it is true, sending again may make one; there is no third case.
/// - Memory is bounded: when too many bytes wait for the disk, `append` waits or answers [`AppendError::Throttled`].
/// - Dropping the future takes nothing back: the append may still happen.
#[async_trait]
pub trait EventAppender: Send + Sync + 'static {
    /// The hub's name.
    fn hub(&self) -> &HubName;

    /// How many partitions the hub has, numbered from 0.
    fn partition_count(&self) -> u32;

    /// Which life of the hub this is.
    fn incarnation(&self) -> Incarnation;

    /// Stores `events` at the end of a partition. An empty list is acknowledged at once.
    ///
    /// # Errors
    /// See [`AppendError`]; [`published_size`](EventData::published_size) of each event must be at most
    /// [`MAX_EVENT_BYTES`](crate::event::MAX_EVENT_BYTES).
    async fn append(&self, partition: PartitionId, events: Vec<EventData>) -> Result<Appended, AppendError>;
}

/// The acknowledgement of an append. It exists only after the events are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The partition.
    pub partition: PartitionId,
    /// The sequence number of the first event.
    pub first: SequenceNumber,
    /// How many events there are.
    pub count: u32,
    /// The time they carry.
    pub enqueued_at: Timestamp,
}

/// Why events were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The hub has no such partition.
    #[error("the hub {hub} has no partition {partition}; it has {partition_count}, numbered from 0")]
    NoSuchPartition {
        /// The hub.
        hub: HubName,
        /// What was asked for.
        partition: PartitionId,
        /// How many there are.
        partition_count: u32,
    },
    /// An event is too large.
    #[error("event {index} is {size} bytes large; the limit is {limit}")]
    TooLarge {
        /// Its place in the append, from 0.
        index: usize,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many bytes wait for the disk.
    #[error("too many bytes wait to be written to partition {partition}; send again a little later")]
    Throttled {
        /// The partition.
        partition: PartitionId,
    },
    /// The disk is full. Nothing was stored, and the log goes on when there is room again.
    #[error("the disk is full: nothing was stored; free some space and send again ({detail})")]
    DiskFull {
        /// What the operating system said and where.
        detail: String,
    },
    /// The partition is out of service because its log is damaged.
    #[error("partition {partition} is out of service, its log is damaged: {detail}; run `tidegate fsck`")]
    Damaged {
        /// The partition.
        partition: PartitionId,
        /// The file and the place in it.
        detail: String,
    },
    /// The log stopped: a sync failed, so what is on disk is not known. It recovers by a restart.
    #[error("the log stopped because a write to disk failed: {detail}; restart to recover what is on disk")]
    Failed {
        /// What the operating system said and where.
        detail: String,
        /// True when the events of this append may be found after the restart.
        may_have_been_stored: bool,
    },
    /// The hub has been deleted. Nothing is stored.
    #[error("the hub {hub} has been deleted")]
    HubDeleted {
        /// The hub.
        hub: HubName,
    },
    /// The log is closing.
    #[error("the log is closing")]
    Closing,
}

impl AppendError {
    /// What the producer should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchPartition { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. }
            | Self::HubDeleted { .. } => ErrorKind::Permanent,
            Self::Throttled { .. } | Self::DiskFull { .. } | Self::Failed { .. } | Self::Closing => {
                ErrorKind::Transient
            }
        }
    }

    /// True when a part of the events may turn out to be stored all the same.
    pub fn may_have_been_stored(&self) -> bool {
        matches!(self, Self::Failed { may_have_been_stored: true, .. })
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchPartition { .. } | Self::HubDeleted { .. } => ErrorCode::NOT_FOUND,
            Self::TooLarge { .. } => ErrorCode::TOO_LARGE,
            Self::Throttled { .. } => ErrorCode::THROTTLED,
            Self::DiskFull { .. } => ErrorCode::DISK_FULL,
            Self::Damaged { .. } => ErrorCode::PARTITION_DAMAGED,
            Self::Failed { .. } => ErrorCode::LOG_FAILED,
            Self::Closing => ErrorCode::STOPPING,
        }
    }
}
