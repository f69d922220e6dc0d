//! A partition at run time: what waits to be written, what is published to readers, and what is wrong with it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::event::HubName;
use tidegate_model::ports::{AppendError, Appended, PartitionEnds, PartitionStatus, ReadError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::chunk::ChunkCache;
use crate::commit::Writing;
use crate::error::{Damage, Fate};
use crate::frame::NO_TIME;
use crate::metrics::{HubMetrics, LogMetrics};
use crate::options::LogOptions;
use crate::pool::Pool;
use crate::segment::Segment;
use crate::storage::Storage;

/// What all partitions of a log share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: SharedClock,
    pub(crate) options: LogOptions,
    pub(crate) fate: Fate,
    pub(crate) pool: Pool,
    pub(crate) metrics: LogMetrics,
}

/// Which partition this is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) hub: HubName,
    pub(crate) incarnation: Incarnation,
    pub(crate) partition: PartitionId,
    /// Where its segments are.
    pub(crate) dir: PathBuf,
}

/// One partition. Locks are taken in the order `retiring`, `writing`, `queue`, `published`.
pub(crate) struct Partition {
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Identity,
    pub(crate) metrics: HubMetrics,
    /// Held while old segments are deleted.
    pub(crate) retiring: Mutex<()>,
    pub(crate) writing: Mutex<Writing>,
    queue: Mutex<Queue>,
    published: Mutex<Published>,
    /// `None` when the hub has been deleted.
    tail: Mutex<Option<watch::Sender<SequenceNumber>>>,
    /// Whether the hub has been deleted.
    deleted: Arc<AtomicBool>,
    pub(crate) cache: Mutex<ChunkCache>,
}

/// An append that waits for its turn.
pub(crate) struct Pending {
    /// The frame, with room for the header at its beginning.
    pub(crate) frame: Vec<u8>,
    pub(crate) payload_len: u32,
    pub(crate) payload_checksum: u32,
    pub(crate) count: u32,
    pub(crate) reply: oneshot::Sender<Result<Appended, AppendError>>,
    /// Gives the bytes of the queue back when it is dropped.
    pub(crate) room: OwnedSemaphorePermit,
}

impl Pending {
    /// Ends the wait. The bytes of the queue are free before the producer goes on.
    pub(crate) fn answer(self, answer: Result<Appended, AppendError>) {
        drop(self.room);
        // A producer that has gone away does not wait for it.
        let _ = self.reply.send(answer);
    }
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// True while a writer has the partition or it is in line for one.
    scheduled: bool,
    closed: bool,
}

/// How much a group may take.
pub(crate) struct Room {
    /// Bytes left in the segment.
    pub(crate) bytes: u64,
    /// Bytes beyond which a group takes no further append.
    pub(crate) group: u64,
    /// Appends.
    pub(crate) count: usize,
    /// Whether the first append is taken whatever its size.
    pub(crate) any_first: bool,
}

/// What readers see.
#[derive(Clone)]
pub(crate) struct Published {
    /// In order; the last is the one in use. Never empty unless the partition is damaged.
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    pub(crate) tail: SequenceNumber,
    /// [`NO_TIME`] when there never was an event.
    pub(crate) last_enqueued_at: Timestamp,
    pub(crate) damage: Option<Arc<Damage>>,
}

impl Published {
    pub(crate) fn ends(&self) -> PartitionEnds {
        let last_enqueued_at = (self.last_enqueued_at != NO_TIME).then_some(self.last_enqueued_at);
        PartitionEnds { head: self.head(), tail: self.tail, last_enqueued_at }
    }

    pub(crate) fn head(&self) -> SequenceNumber {
        self.segments.first().map_or(self.tail, |segment| segment.base)
    }
}

impl Partition {
    pub(crate) fn new(
        shared: Arc<Shared>,
        identity: Identity,
        writing: Writing,
        published: Published,
        deleted: Arc<AtomicBool>,
    ) -> Self {
        let tail = Mutex::new(Some(watch::Sender::new(published.tail)));
        let metrics = shared.metrics.of(&identity.hub);
        Self {
            shared,
            identity,
            metrics,
            retiring: Mutex::new(()),
            writing: Mutex::new(writing),
            queue: Mutex::default(),
            published: Mutex::new(published),
            tail,
            deleted,
            cache: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.identity.partition
    }

    /// Puts an append in line. The reply comes when it is durable or has failed.
    pub(crate) fn enqueue(self: &Arc<Self>, pending: Pending) -> Result<(), AppendError> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(self.closing());
        }
        queue.pending.push_back(pending);
        if !queue.scheduled {
            queue.scheduled = true;
            drop(queue);
            self.shared.pool.schedule(Arc::clone(self));
        }
        Ok(())
    }

    /// Takes the appends that are written next: at most `room.count` of them and as many as fit into `room.bytes`. More
    /// than one only as long as they fit into `room.group`; with `room.any_first`, the first even if nothing fits.
    pub(crate) fn take_pending(&self, room: &Room) -> Vec<Pending> {
        let mut queue = self.queue.lock();
        let (mut taken, mut used) = (0, 0_u64);
        for pending in queue.pending.iter().take(room.count) {
            used += pending.frame.len() as u64;
            let fits = if taken == 0 {
                used <= room.bytes || room.any_first
            } else {
                used <= room.bytes.min(room.group)
            };
            if !fits {
                break;
            }
            taken += 1;
        }
        queue.pending.drain(..taken).collect()
    }

    /// Takes all appends that wait.
    pub(crate) fn take_all_pending(&self) -> Vec<Pending> {
        self.queue.lock().pending.drain(..).collect()
    }

    /// Whether appends wait. When none do, the partition leaves the line.
    pub(crate) fn has_pending_or_rests(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.scheduled = !queue.pending.is_empty();
        queue.scheduled
    }

    /// True when appends wait.
    pub(crate) fn has_pending(&self) -> bool {
        !self.queue.lock().pending.is_empty()
    }

    /// Takes no more appends; those in line are still written.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// Whether the hub has been deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Answers whoever waits in a deleted hub, and lets go of what it has in memory.
    pub(crate) fn end_deleted(&self) {
        self.close();
        for pending in self.take_all_pending() {
            pending.answer(Err(self.closing()));
        }
        self.tail.lock().take();
        self.cache.lock().clear();
    }

    /// Why a partition that is closed takes no appends.
    pub(crate) fn closing(&self) -> AppendError {
        if self.is_deleted() {
            AppendError::HubDeleted { hub: self.identity.hub.clone() }
        } else {
            AppendError::Closing
        }
    }

    /// Refuses when the hub has been deleted.
    pub(crate) fn check_exists(&self) -> Result<(), ReadError> {
        if self.is_deleted() { Err(ReadError::HubDeleted { hub: self.identity.hub.clone() }) } else { Ok(()) }
    }

    /// What readers see now.
    pub(crate) fn published(&self) -> Published {
        self.published.lock().clone()
    }

    /// Makes events readable, then wakes whoever waits for them.
    pub(crate) fn publish_tail(&self, tail: SequenceNumber, last_enqueued_at: Timestamp) {
        {
            let mut published = self.published.lock();
            published.tail = tail;
            published.last_enqueued_at = last_enqueued_at;
        }
        if let Some(watched) = &*self.tail.lock() {
            watched.send_replace(tail);
        }
    }

    /// Replaces the list of segments.
    pub(crate) fn publish_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut published = self.published.lock();
        let mut segments = published.segments.to_vec();
        change(&mut segments);
        published.segments = Arc::new(segments);
    }

    /// Takes the partition out of service. The first damage found is kept.
    pub(crate) fn mark_damaged(&self, damage: Damage) -> Arc<Damage> {
        let mut published = self.published.lock();
        if let Some(known) = &published.damage {
            return Arc::clone(known);
        }
        tracing::error!(hub = %self.identity.hub, partition = %self.id(), %damage, "a partition is out of service");
        let damage = Arc::new(damage);
        published.damage = Some(Arc::clone(&damage));
        damage
    }

    /// The tail, as a value that can be waited for.
    pub(crate) fn watch_tail(&self) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        match &*self.tail.lock() {
            Some(tail) => Ok(tail.subscribe()),
            None => Err(ReadError::HubDeleted { hub: self.identity.hub.clone() }),
        }
    }

    /// What is known about the partition now.
    pub(crate) fn status(&self) -> PartitionStatus {
        let published = self.published();
        let PartitionEnds { head, tail, last_enqueued_at } = published.ends();
        PartitionStatus {
            head,
            tail,
            last_enqueued_at,
            size_bytes: published.segments.iter().map(|segment| segment.file_len()).sum(),
            damage: published.damage.map(|damage| damage.to_string()),
            lost: joined(published.segments.iter().flat_map(|segment| segment.lost.iter().cloned())),
        }
    }

    /// Why appends are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<AppendError> {
        if self.is_deleted() {
            return Some(self.closing());
        }
        if let Some(detail) = self.shared.fate.failure() {
            return Some(AppendError::Failed { detail: detail.to_owned(), may_have_been_stored: false });
        }
        let damage = self.published.lock().damage.clone()?;
        Some(AppendError::Damaged { partition: self.id(), detail: damage.to_string() })
    }
}

/// Ranges in ascending order, with those that touch made one.
pub(crate) fn joined(
    ranges: impl Iterator<Item = std::ops::Range<SequenceNumber>>,
) -> Vec<std::ops::Range<SequenceNumber>> {
    let mut all: Vec<std::ops::Range<SequenceNumber>> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => all.push(range),
        }
    }
    all
}
