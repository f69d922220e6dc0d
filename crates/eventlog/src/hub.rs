//! A hub of the log: the ports that producers and readers use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{Event, EventData, HubName, MAX_EVENT_BYTES};
use tidegate_model::ports::{
    AppendError, Appended, EventAppender, EventBatch, EventLog, PartitionEnds, PartitionStatus, ReadError,
    ReadLimit,
};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};

use crate::commit::{Writing, create_segment};
use crate::description::HubDescription;
use crate::error::{LogError, WriteFailure};
use crate::frame::{HEADER_BYTES, NO_TIME, frame_len};
use crate::partition::{Identity, Partition, Pending, Shared};
use crate::reader::{NotRead, Patience};
use crate::record;
use crate::recovery::recover;
use crate::segment::SegmentHeader;
use crate::settings::{self, HubSettings};

/// The most bytes that one append takes, as stored. A frame is checked as a whole, so a reader needs this much memory
/// for it.
pub const MAX_APPEND_BYTES: usize = 64 << 20;

/// One hub of a [`Log`](crate::Log). It outlives the log it came from for reading; appends are refused then.
pub struct HubLog {
    name: HubName,
    incarnation: Incarnation,
    created_at: Timestamp,
    dir: PathBuf,
    /// Held while they are written. The lock comes before those of the partitions.
    settings: Mutex<HubSettings>,
    deleted: Arc<AtomicBool>,
    partitions: Vec<Arc<Partition>>,
    shared: Arc<Shared>,
    /// One permit for each byte that may wait for the disk.
    room: Arc<Semaphore>,
    /// Bytes of appends that wait for room.
    waiting: AtomicUsize,
}

impl HubLog {
    /// Opens a hub that exists.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        dir: &Path,
        described: &HubDescription,
    ) -> Result<Self, LogError> {
        settings::remove_unfinished(&*shared.storage, dir)?;
        let settings = HubSettings::read(&*shared.storage, dir)?;
        let deleted = Arc::new(AtomicBool::new(false));
        let mut partitions = Vec::new();
        for identity in identities(dir, described) {
            let (writing, published) = recover(shared, &identity)?;
            let (shared, deleted) = (Arc::clone(shared), Arc::clone(&deleted));
            partitions.push(Arc::new(Partition::new(shared, identity, writing, published, deleted)));
        }
        Ok(Self {
            name: described.hub.clone(),
            incarnation: described.incarnation,
            created_at: described.created_at,
            dir: dir.to_owned(),
            settings: Mutex::new(settings),
            deleted,
            partitions,
            shared: Arc::clone(shared),
            room: Arc::new(Semaphore::new(shared.options.queue_bytes)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Makes the files of a new hub in `dir`.
    pub(crate) fn make(shared: &Shared, dir: &Path, described: &HubDescription) -> Result<(), LogError> {
        let storage = &*shared.storage;
        for identity in identities(dir, described) {
            storage.create_dir(&identity.dir).map_err(LogError::io("make", &identity.dir))?;
            let header = SegmentHeader {
                incarnation: identity.incarnation,
                partition: identity.partition,
                base: SequenceNumber::ZERO,
                previous_base: None,
                time_before: NO_TIME,
                has_lost: false,
            };
            create_segment(shared, &identity, &header, 0).map_err(|failure| {
                let disk_full = matches!(failure, WriteFailure::DiskFull(_));
                let (WriteFailure::DiskFull(detail) | WriteFailure::Broken(detail)) = failure;
                LogError::Io { action: "make a segment in", path: identity.dir.clone(), detail, disk_full }
            })?;
        }
        described.write(storage, dir)
    }

    /// What may change about the hub while it is in use.
    pub fn settings(&self) -> HubSettings {
        *self.settings.lock()
    }

    /// Changes the settings. They are durable when this returns; a crash in the middle leaves the old ones or these. Blocks.
    ///
    /// # Errors
    /// They cannot be written, and the old ones stay; or the hub has been deleted.
    pub fn change_settings(&self, new: HubSettings) -> Result<(), LogError> {
        let mut settings = self.settings.lock();
        // Another hub may have the name by now, and with it the directory.
        if self.deleted.load(Ordering::Acquire) {
            return Err(LogError::NoSuchHub { hub: self.name.clone() });
        }
        new.write(&*self.shared.storage, &self.dir)?;
        *settings = new;
        Ok(())
    }

    /// Ends the hub. `take_away` takes its files away while nothing is written; if it fails, the hub goes on as before.
    pub(crate) fn delete(&self, take_away: impl FnOnce() -> Result<(), LogError>) -> Result<(), LogError> {
        {
            let _settings = self.settings.lock();
            let _retiring: Vec<_> =
                self.partitions.iter().map(|partition| partition.retiring.lock()).collect();
            let mut writing: Vec<_> =
                self.partitions.iter().map(|partition| partition.writing.lock()).collect();
            take_away()?;
            self.deleted.store(true, Ordering::Release);
            for writing in &mut writing {
                if let Writing::Open(active) = &**writing {
                    active.prewritten.stop();
                }
                **writing = Writing::Shut;
            }
        }
        self.room.close();
        self.partitions.iter().for_each(|partition| partition.end_deleted());
        Ok(())
    }

    pub(crate) fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    pub(crate) fn close(&self) {
        self.room.close();
        self.partitions.iter().for_each(|partition| partition.close());
    }

    /// Why the log takes no more appends until the program is restarted, if a write to disk failed. All hubs of a log
    /// stop together.
    pub fn failure(&self) -> Option<String> {
        self.shared.fate.failure().map(str::to_owned)
    }

    /// Bytes of appends that wait for the disk now.
    pub fn queued_bytes(&self) -> usize {
        self.shared.options.queue_bytes.saturating_sub(self.room.available_permits())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("a hub has at most 1024 partitions")
    }

    fn to_read(&self, partition: PartitionId) -> Result<&Arc<Partition>, ReadError> {
        let found = self.partitions.get(partition.0 as usize).ok_or_else(|| ReadError::NoSuchPartition {
            hub: self.name.clone(),
            partition,
            partition_count: self.count(),
        })?;
        found.check_exists().map(|()| found)
    }

    /// Waits until `bytes` more may wait for the disk.
    async fn room_for(&self, target: &Partition, bytes: usize) -> Result<OwnedSemaphorePermit, AppendError> {
        // An append larger than the whole queue has it to itself.
        let permits = u32::try_from(bytes.min(self.shared.options.queue_bytes)).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(permits) {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(target.closing()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let waiting = Waiting::begin(&self.waiting, bytes);
        if waiting.before > 0 && waiting.before + bytes > self.shared.options.queue_bytes {
            return Err(AppendError::Throttled { partition: target.id() });
        }
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| target.closing())
    }
}

/// Counts bytes as waiting until it is dropped.
struct Waiting<'c> {
    counter: &'c AtomicUsize,
    bytes: usize,
    before: usize,
}

impl<'c> Waiting<'c> {
    fn begin(counter: &'c AtomicUsize, bytes: usize) -> Self {
        let before = counter.fetch_add(bytes, Ordering::Relaxed);
        Self { counter, bytes, before }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The partitions of a hub in `dir`.
pub(crate) fn identities(dir: &Path, described: &HubDescription) -> impl Iterator<Item = Identity> {
    (0..described.partitions).map(move |number| Identity {
        hub: described.hub.clone(),
        incarnation: described.incarnation,
        partition: PartitionId(number),
        dir: dir.join(number.to_string()),
    })
}

/// How many bytes the records of an append take, if each event and the whole are small enough.
fn checked_len(events: &[EventData]) -> Result<usize, AppendError> {
    let mut total = 0;
    for (index, event) in events.iter().enumerate() {
        let size = event.published_size();
        if size > MAX_EVENT_BYTES {
            return Err(AppendError::TooLarge { index, size, limit: MAX_EVENT_BYTES });
        }
        total += record::encoded_len(event);
        if total > MAX_APPEND_BYTES {
            return Err(AppendError::TooLarge { index, size: total, limit: MAX_APPEND_BYTES });
        }
    }
    Ok(total)
}

#[async_trait]
impl EventAppender for HubLog {
    fn hub(&self) -> &HubName {
        &self.name
    }

    fn partition_count(&self) -> u32 {
        self.count()
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The events of one append together take at most [`MAX_APPEND_BYTES`]; a larger append is refused with
    /// [`AppendError::TooLarge`] naming the event that passes the limit and the size up to it.
    async fn append(&self, partition: PartitionId, events: Vec<EventData>) -> Result<Appended, AppendError> {
        let Some(target) = self.partitions.get(partition.0 as usize) else {
            return Err(AppendError::NoSuchPartition {
                hub: self.name.clone(),
                partition,
                partition_count: self.count(),
            });
        };
        if let Some(refusal) = target.refusal() {
            return Err(refusal);
        }
        if events.is_empty() {
            let published = target.published();
            let enqueued_at = published.last_enqueued_at.max(self.shared.clock.now());
            return Ok(Appended { partition, first: published.tail, count: 0, enqueued_at });
        }
        let payload_len = checked_len(&events)?;
        let len = frame_len(payload_len);
        let room = self.room_for(target, len).await?;

        let mut frame = Vec::with_capacity(len);
        frame.resize(HEADER_BYTES, 0);
        events.iter().for_each(|event| record::encode(event, &mut frame));
        let payload_checksum = crc32c::crc32c(&frame[HEADER_BYTES..]);
        frame.resize(len, 0);
        let count = u32::try_from(events.len()).expect("each event takes six bytes of 64 MiB at least");
        drop(events);

        let (reply, answer) = oneshot::channel();
        target.enqueue(Pending {
            frame,
            payload_len: u32::try_from(payload_len).expect("at most 64 MiB"),
            payload_checksum,
            count,
            reply,
            room,
        })?;
        answer.await.unwrap_or_else(|_| {
            let detail = "the writer ended without an answer".to_owned();
            Err(AppendError::Failed { detail, may_have_been_stored: true })
        })
    }
}

#[async_trait]
impl EventLog for HubLog {
    fn hub(&self) -> &HubName {
        &self.name
    }

    fn partition_count(&self) -> u32 {
        self.count()
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn status(&self, partition: PartitionId) -> Result<PartitionStatus, ReadError> {
        Ok(self.to_read(partition)?.status())
    }

    fn ends(&self, partition: PartitionId) -> Result<PartitionEnds, ReadError> {
        Ok(self.to_read(partition)?.published().ends())
    }

    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        self.to_read(partition)?.watch_tail()
    }

    async fn locate(
        &self,
        partition: PartitionId,
        start: StartPosition,
    ) -> Result<SequenceNumber, ReadError> {
        let target = self.to_read(partition)?;
        quickly_or_waiting(target, move |target, patience| target.locate(start, patience)).await
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        let target = self.to_read(partition)?;
        quickly_or_waiting(target, move |target, patience| target.read(from, limit, patience)).await
    }

    async fn read_batch(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<EventBatch, ReadError> {
        let target = self.to_read(partition)?;
        quickly_or_waiting(target, move |target, patience| target.read_batch(from, limit, patience)).await
    }
}

/// Reads what is in memory right here, and leaves what must come from the medium to a thread that may block. Most reads
/// are of events that were just written: handing those to another thread would cost more than reading them.
async fn quickly_or_waiting<T: Send + 'static>(
    partition: &Arc<Partition>,
    read: impl Fn(&Partition, Patience) -> Result<T, NotRead> + Send + 'static,
) -> Result<T, ReadError> {
    match read(partition, Patience::Quick) {
        Ok(value) => return Ok(value),
        Err(NotRead::Failed(error)) => return Err(error),
        Err(NotRead::WouldWait) => {}
    }
    let id = partition.id();
    let partition = Arc::clone(partition);
    let unavailable = |detail: &str| ReadError::Unavailable { partition: id, detail: detail.to_owned() };
    match tokio::task::spawn_blocking(move || read(&partition, Patience::MayWait)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(NotRead::Failed(error))) => Err(error),
        Ok(Err(NotRead::WouldWait)) => Err(unavailable("a read that may wait did not")),
        Err(_) => Err(unavailable("the program is stopping")),
    }
}
