//! Retention: dropping the oldest events, a whole segment at a time.

use std::io;
use std::time::Duration;

use tidegate_model::clock::Timestamp;
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::commit::Writing;
use crate::error::{LogError, WriteFailure};
use crate::frame::NO_TIME;
use crate::hub::HubLog;
use crate::partition::{Partition, Published};

/// How long events are kept. Without a limit they are kept for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Events older than this may go.
    pub max_age: Option<Duration>,
    /// The oldest events may go while the hub takes more bytes than this; each partition has an equal share.
    pub max_bytes: Option<u64>,
}

/// What retention dropped from one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The partition.
    pub partition: PartitionId,
    /// Its head now: everything before is gone.
    pub head: SequenceNumber,
    /// How many files were deleted.
    pub segments: usize,
    /// How many bytes that freed.
    pub bytes: u64,
}

impl HubLog {
    /// Drops events that the policy lets go and that lie before the floor of their partition, the first event that
    /// somebody still needs. A partition without a floor keeps everything. Whole segments go, oldest first, so a partition
    /// keeps somewhat more than the policy asks. Returns what was dropped where. Blocks while it deletes files.
    ///
    /// # Errors
    /// A file cannot be deleted, or the disk cannot be written: the first such failure. Everything that could be dropped is
    /// dropped all the same, also in the other partitions.
    pub fn enforce_retention(
        &self,
        now: Timestamp,
        policy: RetentionPolicy,
        floors: &[SequenceNumber],
    ) -> Result<Vec<Dropped>, LogError> {
        let share = policy.max_bytes.map(|bytes| bytes / self.partitions().len().max(1) as u64);
        let rule = Rule { oldest: policy.max_age.map(|age| now.minus(age)), share };
        let (mut dropped, mut failed) = (Vec::new(), None);
        for (partition, floor) in self.partitions().iter().zip(floors) {
            match partition.retire(rule, *floor) {
                Ok(retired) => dropped.extend(retired),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(dropped), Err)
    }
}

/// The policy, as one partition sees it.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Events enqueued before this may go.
    oldest: Option<Timestamp>,
    /// The bytes a partition may have.
    share: Option<u64>,
}

impl Rule {
    /// How many of the oldest segments may go. The last one is in use and stays.
    fn expired_segments(&self, published: &Published, floor: SequenceNumber) -> usize {
        let segments = &published.segments;
        let mut bytes: u64 = segments.iter().map(|segment| segment.file_len()).sum();
        let mut expired = 0;
        for pair in segments.windows(2) {
            let (segment, next) = (&pair[0], &pair[1]);
            // The time before the next segment is the time of this one's last event.
            let too_old = self.oldest.is_some_and(|oldest| next.time_before < oldest);
            let too_many = self.share.is_some_and(|share| bytes > share);
            if next.base > floor || !(too_old || too_many) {
                break;
            }
            bytes = bytes.saturating_sub(segment.file_len());
            expired += 1;
        }
        expired
    }

    /// Whether every event of the segment in use is too old, so that it may be ended early.
    fn last_is_too_old(&self, published: &Published, floor: SequenceNumber) -> bool {
        published.segments.last().is_some_and(|last| last.base < published.tail)
            && published.tail <= floor
            && self.oldest.is_some_and(|oldest| {
                published.last_enqueued_at != NO_TIME && published.last_enqueued_at < oldest
            })
    }
}

impl Partition {
    fn retire(&self, rule: Rule, floor: SequenceNumber) -> Result<Option<Dropped>, LogError> {
        let _retiring = self.retiring.lock();
        // Nothing is deleted from a damaged partition: a person decides first. A deleted hub has no files, and its
        // directory may be another hub's.
        if self.is_deleted() || self.published().damage.is_some() {
            return Ok(None);
        }
        let ended = match rule.last_is_too_old(&self.published(), floor) {
            true => self.end_segment_in_use(),
            false => Ok(()),
        };
        // To drop what is before it is what makes room on a full disk; the next time there is some.
        if !matches!(ended, Err(LogError::Io { disk_full: true, .. })) {
            ended.clone()?;
        }
        let published = self.published();
        let expired = rule.expired_segments(&published, floor);
        let (mut segments, mut bytes) = (0, 0);
        for segment in &published.segments[..expired] {
            self.delete(&segment.path)?;
            self.publish_segments(|segments| {
                segments.remove(0);
            });
            segments += 1;
            bytes += segment.file_len();
        }
        if segments == 0 {
            return ended.map(|()| None);
        }
        self.cache.lock().clear();
        let head = self.published().head();
        tracing::debug!(hub = %self.identity.hub, partition = %self.id(), %head, segments, bytes, "dropped old events");
        Ok(Some(Dropped { partition: self.id(), head, segments, bytes }))
    }

    /// Deletes a file and makes that durable before anything later is deleted: after a crash the segments that are left
    /// have no gap between them.
    fn delete(&self, path: &std::path::Path) -> Result<(), LogError> {
        let storage = &*self.shared.storage;
        match storage.remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("remove", path)(error)),
        }
        let dir = &self.identity.dir;
        storage.sync_dir(dir).map_err(LogError::io("sync", dir))
    }

    fn end_segment_in_use(&self) -> Result<(), LogError> {
        let mut writing = self.writing.lock();
        if let Some(detail) = self.shared.fate.failure() {
            return Err(LogError::Failed { detail: detail.to_owned() });
        }
        let Writing::Open(active) = &mut *writing else { return Ok(()) };
        if active.cursor.next == active.segment.base {
            return Ok(());
        }
        self.roll(active).map_err(|failure| {
            let path = self.identity.dir.clone();
            match failure {
                WriteFailure::DiskFull(detail) => {
                    LogError::Io { action: "begin a segment in", path, detail, disk_full: true }
                }
                WriteFailure::Broken(detail) => {
                    self.shared.fate.fail(&detail);
                    LogError::Failed { detail }
                }
            }
        })
    }
}
