//! Group commit: what waits for a partition is written with one positioned write and one sync, then acknowledged.
//!
//! The order of the steps is the promise: space, write, sync, publish, acknowledge. `docs/design/log-format.md` says
//! what a crash leaves at each of them.

use std::io::IoSlice;
use std::sync::Arc;

use tidegate_model::clock::Timestamp;
use tidegate_model::ports::{AppendError, Appended};
use tidegate_model::position::SequenceNumber;

use crate::error::WriteFailure;
use crate::frame::{Cursor, FrameHeader, FrameKind, HEADER_BYTES};
use crate::partition::{Identity, Partition, Pending, Room, Shared};
use crate::prewritten::{FIRST_STEP, Prewritten};
use crate::segment::{HEADER_BLOCK, Segment, SegmentHeader, segment_path};
use crate::storage::{
    MAX_WRITE_BUFFERS, StorageFile, is_out_of_space, write_all_at, write_counting, write_zeros,
};

/// How many bytes one group takes at most: beyond this a larger write makes the sync longer, not rarer.
const MAX_GROUP_BYTES: u64 = 8 << 20;

/// The side of a partition that is written. Whoever holds its lock is the only writer.
pub(crate) enum Writing {
    /// Frames go here.
    Open(Active),
    /// The partition is damaged; nothing is written.
    Shut,
}

/// The segment in use.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) prewritten: Arc<Prewritten>,
    /// The end of what is durable.
    pub(crate) cursor: Cursor,
    /// Whether the last frame says so: a [`FrameKind::Closed`].
    pub(crate) is_marked: bool,
}

impl Partition {
    /// Writes one group and answers its appends. Called by a writer that has the partition to itself.
    pub(crate) fn commit_group(&self) {
        let mut writing = self.writing.lock();
        if let Some(refusal) = self.refusal() {
            answer_all(self.take_all_pending(), &refusal);
            return;
        }
        let Writing::Open(active) = &mut *writing else {
            // Shut without a damage on record cannot be: both come from recovery. Nobody may wait for ever, though.
            answer_all(self.take_all_pending(), &AppendError::Closing);
            return;
        };
        let mut rolled = Ok(());
        let mut group = self.take_pending(&self.room(active));
        if group.is_empty() && self.has_pending() {
            rolled = self.roll(active);
            group = self.take_pending(&Room { any_first: true, ..self.room(active) });
        }
        if group.is_empty() {
            return;
        }
        let began = self.shared.clock.monotonic();
        match rolled
            .map_err(|failure| (failure, false))
            .and_then(|()| commit(&self.shared, active, &mut group))
        {
            Ok(cursor) => {
                active.segment.set_end(cursor.position);
                self.publish_tail(cursor.next, cursor.time);
                self.metrics.written(
                    cursor.next.distance_from(active.cursor.next),
                    group.iter().map(|pending| pending.frame.len() as u64).sum(),
                    group.len() as u64,
                    self.shared.clock.monotonic().saturating_sub(began),
                );
                acknowledge(self, group, active.cursor.next, cursor.time);
                active.cursor = cursor;
                active.is_marked = false;
                if active.prewritten.is_short(cursor.position) {
                    self.shared.pool.grow_ahead(Arc::clone(&active.prewritten));
                }
            }
            Err((WriteFailure::DiskFull(detail), _)) => {
                self.metrics.refused(group.len());
                tracing::warn!(hub = %self.identity.hub, partition = %self.id(), detail, "the disk is full");
                answer_all(group, &AppendError::DiskFull { detail });
            }
            Err((WriteFailure::Broken(detail), may_have_been_stored)) => {
                self.metrics.refused(group.len());
                self.shared.fate.fail(&detail);
                answer_all(group, &AppendError::Failed { detail, may_have_been_stored });
            }
        }
    }

    fn room(&self, active: &Active) -> Room {
        Room {
            bytes: self.shared.options.segment_bytes.saturating_sub(active.cursor.position),
            group: MAX_GROUP_BYTES,
            count: MAX_WRITE_BUFFERS,
            // A frame larger than a segment gets one of its own. An empty segment is never followed by another: both
            // would have the same name.
            any_first: active.cursor.next == active.segment.base,
        }
    }

    /// Ends the segment in use and begins the next one. Must hold at least one number.
    pub(crate) fn roll(&self, active: &mut Active) -> Result<(), WriteFailure> {
        let header = SegmentHeader {
            incarnation: self.identity.incarnation,
            partition: self.identity.partition,
            base: active.cursor.next,
            previous_base: Some(active.segment.base),
            time_before: active.cursor.time,
            has_lost: false,
        };
        let next = create_segment(&self.shared, &self.identity, &header, active.prewritten.step())?;
        active.prewritten.stop();
        // The space behind the last frame is not needed any more. If this fails it stays, as zeros.
        if active.file.set_len(active.cursor.position).is_ok() {
            active.segment.set_file_len(active.cursor.position);
        }
        self.publish_segments(|segments| segments.push(Arc::clone(&next.segment)));
        *active = next;
        Ok(())
    }

    /// Notes on disk that everything is durable, so that damage at the very end can be told from a torn write. Called
    /// when the log closes; failing does no harm.
    pub(crate) fn write_closing_mark(&self) {
        let mut writing = self.writing.lock();
        let Writing::Open(active) = &mut *writing else { return };
        if self.refusal().is_some() || active.is_marked || active.cursor.next == active.segment.base {
            return;
        }
        let (header, checksum) = FrameHeader {
            kind: FrameKind::Closed,
            payload_len: 0,
            first: active.cursor.next,
            count: 0,
            enqueued_at: active.cursor.time,
            unsynced: 0,
            previous: active.cursor.previous,
            payload_checksum: 0,
        }
        .encode(active.segment.seed);
        let position = active.cursor.position;
        if position + HEADER_BYTES as u64 > active.segment.file_len() {
            return;
        }
        if write_all_at(&*active.file, &mut [IoSlice::new(&header)], position).is_ok()
            && active.file.sync_data().is_ok()
        {
            active.cursor.position += HEADER_BYTES as u64;
            active.cursor.previous = checksum;
            active.segment.set_end(active.cursor.position);
            active.is_marked = true;
        }
    }
}

/// Writes and syncs a group. Returns the end of what is durable then. On failure says whether the group may be found
/// on disk after a restart all the same.
fn commit(shared: &Shared, active: &Active, group: &mut [Pending]) -> Result<Cursor, (WriteFailure, bool)> {
    let path = &active.segment.path;
    let start = active.cursor;
    let end = start.position + group.iter().map(|pending| pending.frame.len() as u64).sum::<u64>();
    active.prewritten.reach(end).map_err(|failure| (failure, false))?;

    let enqueued_at = shared.clock.now().max(start.time);
    let mut cursor = start;
    let mut index = Vec::with_capacity(group.len());
    for pending in &mut *group {
        let header = FrameHeader {
            kind: FrameKind::Events,
            payload_len: pending.payload_len,
            first: cursor.next,
            count: pending.count,
            enqueued_at,
            unsynced: u32::try_from(cursor.next.distance_from(start.next)).unwrap_or(u32::MAX),
            previous: cursor.previous,
            payload_checksum: pending.payload_checksum,
        };
        let (bytes, checksum) = header.encode(active.segment.seed);
        pending.frame[..HEADER_BYTES].copy_from_slice(&bytes);
        cursor = cursor.after(&header, checksum);
        index.push(cursor);
    }

    let mut slices: Vec<_> = group.iter().map(|pending| IoSlice::new(&pending.frame)).collect();
    if let Err((written, error)) = write_counting(&*active.file, &mut slices, start.position) {
        if is_out_of_space(&error) {
            // Some frames may have been written whole. The appends are refused, so they must not come back.
            take_back(active, start.position, written).map_err(|failure| (failure, true))?;
        }
        return Err((WriteFailure::of_write(path, "write", &error), true));
    }
    active.file.sync_data().map_err(|error| (WriteFailure::of_sync(path, &error), true))?;

    let mut known = active.segment.index.lock();
    for cursor in index {
        known.note(cursor);
    }
    Ok(cursor)
}

/// Makes sure that nothing of a refused group is found after a restart. Only what was written is cleared: those bytes
/// have their space, even where overwriting others would need more.
fn take_back(active: &Active, from: u64, written: u64) -> Result<(), WriteFailure> {
    let path = &active.segment.path;
    write_zeros(&*active.file, from, from + written)
        .map_err(|error| WriteFailure::Broken(format!("cannot clear {}: {error}", path.display())))?;
    active.file.sync_data().map_err(|error| WriteFailure::of_sync(path, &error))
}

fn acknowledge(
    partition: &Partition,
    group: Vec<Pending>,
    mut first: SequenceNumber,
    enqueued_at: Timestamp,
) {
    for pending in group {
        let appended = Appended { partition: partition.id(), first, count: pending.count, enqueued_at };
        first = first.plus(u64::from(pending.count));
        pending.answer(Ok(appended));
    }
}

fn answer_all(group: Vec<Pending>, error: &AppendError) {
    for pending in group {
        pending.answer(Err(error.clone()));
    }
}

/// Makes an empty segment, durable with its name. It gets the name when its header is durable: a segment with an
/// unreadable header is damaged, never unfinished.
pub(crate) fn create_segment(
    shared: &Shared,
    identity: &Identity,
    header: &SegmentHeader,
    next_step: u64,
) -> Result<Active, WriteFailure> {
    let storage = &*shared.storage;
    let path = segment_path(&identity.dir, header.base);
    let unfinished = path.with_extension("tmp");
    let len = FIRST_STEP.min(shared.options.segment_bytes);
    let make = || {
        let of_write = |action| {
            let path = &unfinished;
            move |error: std::io::Error| WriteFailure::of_write(path, action, &error)
        };
        let file = storage.create(&unfinished).map_err(of_write("create"))?;
        header.write(&*file).map_err(of_write("write the header of"))?;
        write_zeros(&*file, HEADER_BLOCK, len).map_err(of_write("write ahead"))?;
        file.sync_data().map_err(|error| WriteFailure::of_sync(&unfinished, &error))?;
        storage.rename(&unfinished, &path).map_err(of_write("rename"))?;
        storage.sync_dir(&identity.dir).map_err(|error| WriteFailure::of_sync(&identity.dir, &error))?;
        Ok(file)
    };
    let file = make().inspect_err(|_| {
        // If this fails too, the next attempt empties the file, and the next start removes it.
        let _ = storage.remove_file(&unfinished);
    })?;
    let segment = Arc::new(Segment::new(path, header, HEADER_BLOCK, len, Vec::new()));
    Active::open(shared, segment, file, header.first_cursor(), next_step)
}

impl Active {
    /// A segment whose frames end at `cursor`, with zeros behind.
    pub(crate) fn open(
        shared: &Shared,
        segment: Arc<Segment>,
        file: Arc<dyn StorageFile>,
        cursor: Cursor,
        next_step: u64,
    ) -> Result<Self, WriteFailure> {
        segment.share_file(&file);
        let limit = shared.options.segment_bytes;
        let prewritten = Prewritten::new(&*shared.storage, Arc::clone(&segment), limit, next_step)?;
        Ok(Self { segment, file, prewritten: Arc::new(prewritten), cursor, is_marked: false })
    }
}
