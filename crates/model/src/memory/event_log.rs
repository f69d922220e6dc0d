//! The log in memory: the contract of [`EventAppender`] and [`EventLog`] without a disk.

use std::collections::VecDeque;
use std::ops::Range;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::clock::{SharedClock, Timestamp};
use crate::event::{Event, EventData, HubName, MAX_EVENT_BYTES};
use crate::ports::{AppendError, Appended, EventAppender, EventLog, PartitionStatus, ReadError, ReadLimit};
use crate::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};

/// A hub whose events live as long as this value.
pub struct MemoryLog {
    hub: HubName,
    incarnation: Incarnation,
    clock: SharedClock,
    created_at: Timestamp,
    partitions: Vec<Partition>,
}

struct Partition {
    kept: Mutex<Kept>,
}

struct Kept {
    /// `None` when the hub has been deleted.
    watched: Option<watch::Sender<SequenceNumber>>,
    lost: Vec<Range<SequenceNumber>>,
    head: SequenceNumber,
    events: VecDeque<Event>,
    last_enqueued_at: Option<Timestamp>,
}

impl Kept {
    fn tail(&self) -> SequenceNumber {
        self.head.plus(self.events.len() as u64)
    }
}

impl MemoryLog {
    /// An empty hub with partitions 0 to `partition_count - 1`.
    pub fn new(hub: HubName, partition_count: u32, clock: SharedClock) -> Self {
        let partition = || Partition {
            kept: Mutex::new(Kept {
                watched: Some(watch::Sender::new(SequenceNumber::ZERO)),
                lost: Vec::new(),
                head: SequenceNumber::ZERO,
                events: VecDeque::new(),
                last_enqueued_at: None,
            }),
        };
        let partitions = (0..partition_count).map(|_| partition()).collect();
        let (incarnation, created_at) = (Incarnation::new(&*clock), clock.now());
        Self { hub, incarnation, clock, created_at, partitions }
    }

    /// Deletes the hub with all its events.
    pub fn delete(&self) {
        for partition in &self.partitions {
            let mut kept = partition.kept.lock();
            kept.watched = None;
            kept.events = VecDeque::new();
        }
    }

    /// Drops the events of a partition that come before `head`, as retention does. Held at the tail, and never moves
    /// the head back. Returns the head, or `None` when there is no such partition.
    pub fn drop_before(&self, partition: PartitionId, head: SequenceNumber) -> Option<SequenceNumber> {
        let mut kept = self.partitions.get(partition.0 as usize)?.kept.lock();
        while kept.head < head && kept.events.pop_front().is_some() {
            kept.head = kept.head.next();
        }
        Some(kept.head)
    }

    /// Gives up events of a partition, as a repair of damage does: they are not read any more.
    pub fn give_up(&self, partition: PartitionId, lost: Range<SequenceNumber>) -> Option<()> {
        self.partitions.get(partition.0 as usize)?.kept.lock().lost.push(lost);
        Some(())
    }

    fn to_read(&self, partition: PartitionId) -> Result<MutexGuard<'_, Kept>, ReadError> {
        let Some(found) = self.partitions.get(partition.0 as usize) else {
            return Err(ReadError::NoSuchPartition {
                hub: self.hub.clone(),
                partition,
                partition_count: EventLog::partition_count(self),
            });
        };
        let kept = found.kept.lock();
        if kept.watched.is_some() { Ok(kept) } else { Err(ReadError::HubDeleted { hub: self.hub.clone() }) }
    }
}

#[async_trait]
impl EventAppender for MemoryLog {
    fn hub(&self) -> &HubName {
        &self.hub
    }

    fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("made from a u32")
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    async fn append(&self, partition: PartitionId, events: Vec<EventData>) -> Result<Appended, AppendError> {
        let Some(Partition { kept }) = self.partitions.get(partition.0 as usize) else {
            return Err(AppendError::NoSuchPartition {
                hub: self.hub.clone(),
                partition,
                partition_count: EventAppender::partition_count(self),
            });
        };
        for (index, event) in events.iter().enumerate() {
            let size = event.published_size();
            if size > MAX_EVENT_BYTES {
                return Err(AppendError::TooLarge { index, size, limit: MAX_EVENT_BYTES });
            }
        }
        let mut kept = kept.lock();
        if kept.watched.is_none() {
            return Err(AppendError::HubDeleted { hub: self.hub.clone() });
        }
        let first = kept.tail();
        let now = self.clock.now();
        let enqueued_at = kept.last_enqueued_at.map_or(now, |last| last.max(now));
        let count = u32::try_from(events.len()).expect("four thousand million events do not fit into memory");
        if count > 0 {
            for (sequence_number, data) in (first.0..).map(SequenceNumber).zip(events) {
                kept.events.push_back(Event { sequence_number, enqueued_at, data });
            }
            kept.last_enqueued_at = Some(enqueued_at);
            let end = kept.tail();
            if let Some(tail) = &kept.watched {
                tail.send_replace(end);
            }
        }
        Ok(Appended { partition, first, count, enqueued_at })
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn hub(&self) -> &HubName {
        EventAppender::hub(self)
    }

    fn partition_count(&self) -> u32 {
        EventAppender::partition_count(self)
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn status(&self, partition: PartitionId) -> Result<PartitionStatus, ReadError> {
        let kept = self.to_read(partition)?;
        Ok(PartitionStatus {
            head: kept.head,
            tail: kept.tail(),
            last_enqueued_at: kept.last_enqueued_at,
            size_bytes: kept.events.iter().map(|event| event.data.size() as u64).sum(),
            damage: None,
            lost: kept.lost.clone(),
        })
    }

    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        let kept = self.to_read(partition)?;
        Ok(kept.watched.as_ref().expect("the hub has not been deleted").subscribe())
    }

    async fn locate(
        &self,
        partition: PartitionId,
        start: StartPosition,
    ) -> Result<SequenceNumber, ReadError> {
        let kept = self.to_read(partition)?;
        let (head, tail) = (kept.head, kept.tail());
        let from = match start {
            StartPosition::Earliest => head,
            StartPosition::Latest => tail,
            StartPosition::SequenceNumber(number) => number,
            StartPosition::AfterOffset(offset) => {
                SequenceNumber(offset.sequence_number().0.saturating_add(1))
            }
            StartPosition::EnqueuedTime(time) => {
                head.plus(kept.events.partition_point(|event| event.enqueued_at < time) as u64)
            }
        };
        if from > tail { Err(ReadError::BeyondTail { partition, from, tail }) } else { Ok(from.max(head)) }
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        let kept = self.to_read(partition)?;
        let (head, tail) = (kept.head, kept.tail());
        if from < head {
            return Err(ReadError::Expired { partition, from, head });
        }
        if from > tail {
            return Err(ReadError::BeyondTail { partition, from, tail });
        }
        let skipped = usize::try_from(from.distance_from(head)).expect("it is an index into memory");
        let mut bytes = 0;
        Ok(kept
            .events
            .range(skipped..)
            .filter(|event| !kept.lost.iter().any(|lost| lost.contains(&event.sequence_number)))
            .take(limit.events.max(1))
            .take_while(|event| {
                let first_or_room = bytes == 0 || bytes < limit.bytes;
                bytes += event.data.size().max(1);
                first_or_room
            })
            .cloned()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::TestClock;
    use crate::conformance::event_log::LogUnderTest;

    struct InMemory;

    impl LogUnderTest for InMemory {
        type Log = Arc<MemoryLog>;

        async fn open(&self, hub: HubName, partition_count: u32, clock: Arc<TestClock>) -> Self::Log {
            Arc::new(MemoryLog::new(hub, partition_count, clock))
        }

        async fn reopen(&self, log: Self::Log, _clock: Arc<TestClock>) -> Self::Log {
            log
        }

        async fn expire(&self, log: &Self::Log, partition: PartitionId, head: SequenceNumber) {
            log.drop_before(partition, head).expect("the partition exists");
        }

        async fn delete(&self, log: &Self::Log) {
            log.delete();
        }
    }

    #[tokio::test]
    async fn a_batch_ends_behind_what_was_given_up() {
        let clock = TestClock::new(Timestamp::from_millis(0), 1);
        let log = MemoryLog::new(HubName::new("hub").expect("a name"), 1, clock);
        let p0 = PartitionId(0);
        log.append(p0, vec![EventData::new("x"); 5]).await.expect("an append");
        log.give_up(p0, SequenceNumber(2)..SequenceNumber(5)).expect("the partition exists");
        let much = ReadLimit { events: 10, bytes: 1000 };
        let batch = log.read_batch(p0, SequenceNumber::ZERO, much).await.expect("a read");
        assert_eq!((batch.len(), batch.next()), (2, SequenceNumber(2)));
        let nothing = log.read_batch(p0, batch.next(), much).await.expect("a read");
        assert_eq!((nothing.len(), nothing.next()), (0, SequenceNumber(5)));
    }

    crate::event_log_suite!(InMemory);
}
