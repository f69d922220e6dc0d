//! The port through which events are read.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::error::{ErrorCode, ErrorKind};
use crate::event::{Event, HubName};
use crate::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};

use super::{EventBatch, PartitionEnds};

/// Reads the partitions of one hub.
///
/// ```text
///        head                          tail
///          ▼                             ▼
///   dropped│ 40  41  42  43  44  45  46  │ next to be written
/// ```
///
/// # Contract
///
/// - *Head* is the oldest kept event, *tail* the number the next event will get; an empty partition has both equal.
///   Both only grow.
/// - Only durable events are readable: what a reader has seen survives a crash.
/// - Events come in the order of their sequence numbers, without a gap, and a re-read gives the same bytes. Their
///   `enqueued_at` never goes back. A gap exists only where `fsck` has declared events lost: a read skips it, the next
///   event's number is simply higher, and [`PartitionStatus::lost`] names it. Lost numbers are never given again.
/// - Any number of readers may read; they do not affect each other or the writers. A reader keeps its own position.
/// - [`tail`](Self::tail) changes after the events before it are readable, so waiting for it needs no polling.
/// - When the hub is deleted, every call answers [`ReadError::HubDeleted`], and waiting for the tail ends with an error.
/// - Where others may read a partition in our place, a read of one that they have taken is [`ReadError::Fenced`].
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// The hub's name.
    fn hub(&self) -> &HubName;

    /// How many partitions the hub has, numbered from 0.
    fn partition_count(&self) -> u32;

    /// Which life of the hub this is.
    fn incarnation(&self) -> Incarnation;

    /// When the hub was made.
    fn created_at(&self) -> Timestamp;

    /// The partitions that fall to this program, where the hub's readers share them out among themselves beyond our store;
    /// `None` where they do not, and all of them do. A lane is processed while its partition is in the set.
    fn assigned(&self) -> Option<watch::Receiver<BTreeSet<PartitionId>>> {
        None
    }

    /// Whether numbers may have gaps that mean nothing: the hub gave them to no event, or to one that it does not keep for
    /// as long as those around it. Where it is `false`, a gap is a loss.
    fn has_sparse_numbers(&self) -> bool {
        false
    }

    /// Tells that a partition is read from now on by whoever owns its lane under a new term. What became of its readers
    /// before is not held against this one.
    fn begin_term(&self, _partition: PartitionId) {}

    /// What is known about a partition now. Needs no I/O.
    fn status(&self, partition: PartitionId) -> Result<PartitionStatus, ReadError>;

    /// Where a partition begins and ends now: the part of its status that a log knows without looking around.
    ///
    /// # Errors
    /// There is no such partition, or no such hub any more.
    fn ends(&self, partition: PartitionId) -> Result<PartitionEnds, ReadError> {
        self.status(partition).map(|status| status.ends())
    }

    /// The tail, as a value that can be waited for.
    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError>;

    /// The sequence number at which reading from `start` begins: between head and tail, both included. A position
    /// before the head begins at the head, one past the tail is [`ReadError::BeyondTail`].
    async fn locate(&self, partition: PartitionId, start: StartPosition)
    -> Result<SequenceNumber, ReadError>;

    /// Events from `from` on, as many as `limit` allows, and at least one if there is any. Empty at the tail: it never
    /// waits for new ones. Also empty when only lost numbers lie between `from` and the tail: wait for the tail to change.
    ///
    /// # Errors
    /// [`ReadError::Expired`] when `from` is before the head, [`ReadError::BeyondTail`] when it is past the tail.
    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError>;

    /// As [`read`](Self::read), for whoever passes events on as they are: they are seen in place, and those that came over AMQP
    /// are not decoded. Bytes count as in [`EventBatch::bytes`]. Where only lost numbers follow, the batch is empty and
    /// [`EventBatch::next`] is behind them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn read_batch(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<EventBatch, ReadError> {
        let tail_before = self.ends(partition)?.tail;
        let events = self.read(partition, from, limit).await?;
        let mut batch = EventBatch::copy_of(&events, from, self.ends(partition)?);
        if events.is_empty() {
            batch.go_on_at(tail_before);
        }
        Ok(batch)
    }
}

/// How much one read returns at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events.
    pub events: usize,
    /// Bytes, counted as [`EventData::size`](crate::event::EventData::size); the event that passes it is the last one
    /// or left out, as the log likes.
    pub bytes: usize,
}

/// What is known about a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The oldest kept event.
    pub head: SequenceNumber,
    /// The number the next event will get.
    pub tail: SequenceNumber,
    /// When the last event came.
    pub last_enqueued_at: Option<Timestamp>,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Why the partition is out of service, with file and place, if it is.
    pub damage: Option<String>,
    /// The numbers between head and tail whose events `fsck` has declared lost: ascending, apart from each other, and
    /// empty in a log that was never damaged.
    pub lost: Vec<Range<SequenceNumber>>,
}

impl PartitionStatus {
    /// Where the partition begins and ends.
    pub fn ends(&self) -> PartitionEnds {
        PartitionEnds { head: self.head, tail: self.tail, last_enqueued_at: self.last_enqueued_at }
    }
}

/// Why events cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
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
    /// The events have been dropped by retention.
    #[error("event {from} of partition {partition} has been dropped by retention; the oldest kept is {head}")]
    Expired {
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        from: SequenceNumber,
        /// The oldest there is.
        head: SequenceNumber,
    },
    /// There never was such an event.
    #[error("partition {partition} has no event {from} yet; the next one will be {tail}")]
    BeyondTail {
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        from: SequenceNumber,
        /// The number the next event will get.
        tail: SequenceNumber,
    },
    /// The log is damaged there.
    #[error("partition {partition} is out of service, its log is damaged: {detail}; run `tidegate fsck`")]
    Damaged {
        /// The partition.
        partition: PartitionId,
        /// The file and the place in it.
        detail: String,
    },
    /// The hub has been deleted.
    #[error("the hub {hub} has been deleted")]
    HubDeleted {
        /// The hub.
        hub: HubName,
    },
    /// Somebody else reads the partition now, and this reader was sent away for it.
    #[error("partition {partition} was taken over by another reader: {detail}")]
    Fenced {
        /// The partition.
        partition: PartitionId,
        /// By whom, as far as that is known.
        detail: String,
    },
    /// The log does not answer at the moment.
    #[error("partition {partition} cannot be read at the moment: {detail}")]
    Unavailable {
        /// The partition.
        partition: PartitionId,
        /// What the operating system or the network said.
        detail: String,
    },
}

impl ReadError {
    /// What the reader should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } => ErrorKind::Transient,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::NoSuchPartition { .. }
            | Self::Expired { .. }
            | Self::BeyondTail { .. }
            | Self::Damaged { .. }
            | Self::HubDeleted { .. } => ErrorKind::Permanent,
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchPartition { .. } | Self::BeyondTail { .. } | Self::HubDeleted { .. } => {
                ErrorCode::NOT_FOUND
            }
            Self::Expired { .. } => ErrorCode::EVENTS_EXPIRED,
            Self::Damaged { .. } => ErrorCode::PARTITION_DAMAGED,
            Self::Fenced { .. } => ErrorCode::FENCED,
            Self::Unavailable { .. } => ErrorCode::DATA_DIR_IO,
        }
    }
}
