//! Space written ahead of use.
//!
//! A sync of bytes that overwrite zeros needs no change of the file's length or extents, which halves its time and frees
//! it from the file system's journal. Zeros are written in steps that double, so that a quiet partition costs little and
//! a busy one is seldom interrupted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::WriteFailure;
use crate::segment::Segment;
use crate::storage::{Access, Storage, StorageFile, write_zeros};

/// How much a new segment gets at once, its header block included.
pub(crate) const FIRST_STEP: u64 = 256 * 1024;

/// The largest step. A sync of the segment waits for all of it that is on its way to the disk, so a larger one makes
/// the slowest appends slower.
const LAST_STEP: u64 = 2 * 1024 * 1024;

/// The written-ahead space of the segment in use.
pub(crate) struct Prewritten {
    segment: Arc<Segment>,
    /// An open file of its own: the operating system reports a failed sync once to each, so growing in the background
    /// must not swallow the error that a commit needs to see.
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    /// Growth stops here unless a single frame needs more.
    limit: u64,
    end: AtomicU64,
    step: AtomicU64,
    growing: Mutex<()>,
}

impl Prewritten {
    /// The space of a segment whose file is zeros behind its frames.
    pub(crate) fn new(
        storage: &dyn Storage,
        segment: Arc<Segment>,
        limit: u64,
        step: u64,
    ) -> Result<Self, WriteFailure> {
        let path = segment.path.clone();
        let file = storage
            .open(&path, Access::ReadWrite)
            .map_err(|error| WriteFailure::of_write(&path, "open", &error))?;
        let end = AtomicU64::new(segment.file_len());
        Ok(Self { segment, file, path, limit, end, step: AtomicU64::new(step), growing: Mutex::new(()) })
    }

    /// The step the next growth takes.
    pub(crate) fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// Whether so little is left behind `position` that growing ahead is due.
    pub(crate) fn is_short(&self, position: u64) -> bool {
        let end = self.end.load(Ordering::Acquire);
        end < self.limit && end.saturating_sub(position) < self.step() / 2
    }

    /// Grows until the space reaches `needed`.
    pub(crate) fn reach(&self, needed: u64) -> Result<(), WriteFailure> {
        while self.end.load(Ordering::Acquire) < needed {
            let _growing = self.growing.lock();
            let end = self.end.load(Ordering::Acquire);
            if end < needed {
                let wanted = (end + self.step()).min(self.limit).max(needed);
                match self.grow(end, wanted) {
                    // What is needed may fit where a whole step does not.
                    Err(WriteFailure::DiskFull(_)) if needed < wanted => self.grow(end, needed)?,
                    result => result?,
                }
            }
        }
        Ok(())
    }

    /// Grows by one step, up to the limit.
    pub(crate) fn grow_ahead(&self) -> Result<(), WriteFailure> {
        let _growing = self.growing.lock();
        let end = self.end.load(Ordering::Acquire);
        if end < self.limit { self.grow(end, (end + self.step()).min(self.limit)) } else { Ok(()) }
    }

    /// Grows no more: the segment has ended, and its file is about to be cut.
    pub(crate) fn stop(&self) {
        let _growing = self.growing.lock();
        self.end.store(u64::MAX, Ordering::Release);
    }

    fn grow(&self, from: u64, to: u64) -> Result<(), WriteFailure> {
        write_zeros(&*self.file, from, to).map_err(|error| {
            // On a full disk the last room goes back: zeros must not take it from those who have something to write,
            // such as the store. Should this fail, the zeros stay, and the next try writes over them.
            let _ = self.file.set_len(from);
            WriteFailure::of_write(&self.path, "write ahead", &error)
        })?;
        self.file.sync_data().map_err(|error| WriteFailure::of_sync(&self.path, &error))?;
        self.segment.set_file_len(to);
        self.end.store(to, Ordering::Release);
        self.step.store((self.step() * 2).min(LAST_STEP), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

    use super::*;
    use crate::frame::NO_TIME;
    use crate::segment::{HEADER_BLOCK, SegmentHeader};
    use crate::storage::faulty::FaultyStorage;

    const KIB: u64 = 1024;

    fn prewritten(storage: &FaultyStorage) -> Prewritten {
        let header = SegmentHeader {
            incarnation: Incarnation(uuid::Uuid::nil()),
            partition: PartitionId(0),
            base: SequenceNumber::ZERO,
            previous_base: None,
            time_before: NO_TIME,
            has_lost: false,
        };
        storage.create(Path::new("/segment")).unwrap();
        let segment = Segment::new("/segment".into(), &header, HEADER_BLOCK, 0, Vec::new());
        Prewritten::new(storage, Arc::new(segment), 1024 * KIB, 256 * KIB).unwrap()
    }

    #[test]
    fn steps_double_up_to_the_limit() {
        let prewritten = prewritten(&FaultyStorage::new(1));
        let mut ends = Vec::new();
        for _ in 0..4 {
            prewritten.grow_ahead().unwrap();
            ends.push(prewritten.segment.file_len() / KIB);
        }
        assert_eq!(ends, [256, 768, 1024, 1024]);
        assert!(!prewritten.is_short(1024 * KIB), "there is nothing more to write ahead");
        prewritten.reach(3000 * KIB).unwrap();
        assert_eq!(prewritten.segment.file_len(), 3000 * KIB, "one large frame may need more");
    }

    #[test]
    fn it_is_short_when_half_a_step_is_left() {
        let prewritten = prewritten(&FaultyStorage::new(1));
        prewritten.grow_ahead().unwrap();
        assert!(!prewritten.is_short(0));
        assert!(prewritten.is_short(KIB), "less than half of the next step, 512 KiB, is left");
    }

    #[test]
    fn a_segment_that_has_ended_does_not_grow() {
        let prewritten = prewritten(&FaultyStorage::new(1));
        prewritten.grow_ahead().unwrap();
        prewritten.stop();
        prewritten.grow_ahead().unwrap();
        prewritten.reach(1000 * KIB).unwrap();
        assert_eq!(prewritten.segment.file_len(), 256 * KIB);
    }

    #[test]
    fn a_disk_that_is_nearly_full_gives_what_is_needed_and_keeps_the_rest() {
        let storage = FaultyStorage::new(1);
        let prewritten = prewritten(&storage);
        prewritten.grow_ahead().unwrap();
        storage.set_space(Some(100 * KIB));
        for _ in 0..3 {
            assert!(matches!(prewritten.grow_ahead(), Err(WriteFailure::DiskFull(_))));
            assert!(matches!(prewritten.reach(400 * KIB), Err(WriteFailure::DiskFull(_))));
            assert_eq!(storage.space(), Some(100 * KIB), "zeros took the room that was left");
        }
        prewritten.reach(300 * KIB).unwrap();
        assert_eq!(prewritten.segment.file_len(), 300 * KIB);
        assert_eq!(storage.space(), Some(56 * KIB));
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let storage = FaultyStorage::new(1);
        let prewritten = prewritten(&storage);
        storage.set_space(Some(100));
        assert!(matches!(prewritten.grow_ahead(), Err(WriteFailure::DiskFull(_))));
        storage.set_space(None);
        storage.fail_sync_after(0);
        assert!(matches!(prewritten.grow_ahead(), Err(WriteFailure::Broken(_))));
        assert_eq!(prewritten.segment.file_len(), 0, "nothing is counted on that was not synced");
    }
}
