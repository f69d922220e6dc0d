//! Opening a partition: find where its events end, and tell a torn write from damage.
//!
//! Only the segment in use is read; the others were synced before their successor was made, and are checked when they
//! are read. The rule for the first bad place in the segment in use: if a later frame says that events from there on
//! were durable when it was written, acknowledged events are damaged and the partition stays out of service; otherwise
//! a write was torn, nothing of it was acknowledged, and it is cut off.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tidegate_model::position::SequenceNumber;

use crate::commit::{Active, Writing};
use crate::error::{Damage, LogError, WriteFailure};
use crate::frame::{Cursor, FrameKind, FrameProblem, NO_TIME};
use crate::partition::{Identity, Published, Shared};
use crate::prewritten::FIRST_STEP;
use crate::scan::{Stop, Window, follow};
use crate::segment::{FORMAT, HeaderProblem, Segment, SegmentHeader, list_bases, segment_path};
use crate::storage::{Access, Storage, StorageFile, read_exact_at, write_all_at, write_zeros};

/// Makes a partition ready to be read and written.
pub(crate) fn recover(shared: &Shared, identity: &Identity) -> Result<(Writing, Published), LogError> {
    let storage = &*shared.storage;
    let dir = &identity.dir;
    remove_leftovers(storage, dir).map_err(LogError::io("clean up", dir))?;
    let bases = list_bases(storage, dir).map_err(LogError::io("list", dir))?;

    let mut damage = None;
    let mut segments = Vec::with_capacity(bases.len());
    let mut previous: Option<SegmentHeader> = None;
    for (at, base) in bases.iter().enumerate() {
        let path = segment_path(dir, *base);
        let (header, problem) = read_header(storage, identity, &path, *base, previous.as_ref())?;
        if let Some(problem) = problem {
            damage.get_or_insert(damaged(identity, &path, 0, *base, &problem));
        }
        if at + 1 < bases.len() {
            segments.push(Arc::new(sealed_segment(storage, identity, &path, &header, &mut damage)));
        }
        previous = Some(header);
    }
    let (Some(header), Some(base)) = (previous, bases.last()) else {
        let damage = damaged(identity, dir, 0, SequenceNumber::ZERO, "there is no segment");
        return Ok(shut(
            Vec::new(),
            Cursor { position: 0, next: SequenceNumber::ZERO, previous: 0, time: NO_TIME },
            damage,
        ));
    };
    recover_last(shared, identity, &segment_path(dir, *base), &header, segments, damage)
}

fn shut(segments: Vec<Arc<Segment>>, end: Cursor, damage: Damage) -> (Writing, Published) {
    tracing::error!(%damage, "a partition is out of service");
    let published = Published {
        segments: Arc::new(segments),
        tail: end.next,
        last_enqueued_at: end.time,
        damage: Some(Arc::new(damage)),
    };
    (Writing::Shut, published)
}

fn damaged(
    identity: &Identity,
    file: &Path,
    offset: u64,
    sequence_number: SequenceNumber,
    problem: &(impl ToString + ?Sized),
) -> Damage {
    let partition = identity.partition;
    Damage { partition, file: file.to_owned(), offset, sequence_number, problem: problem.to_string() }
}

/// Removes files that were meant to replace others and never did.
fn remove_leftovers(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    for entry in storage.list(dir)? {
        if !entry.is_dir && entry.name.ends_with(".tmp") {
            storage.remove_file(&dir.join(entry.name))?;
        }
    }
    Ok(())
}

/// The header of a segment, or one that takes its place and what is wrong.
pub(crate) fn read_header(
    storage: &dyn Storage,
    identity: &Identity,
    path: &Path,
    base: SequenceNumber,
    previous: Option<&SegmentHeader>,
) -> Result<(SegmentHeader, Option<String>), LogError> {
    let expected = SegmentHeader {
        incarnation: identity.incarnation,
        partition: identity.partition,
        base,
        previous_base: previous.map(|header| header.base),
        time_before: previous.map_or(NO_TIME, |header| header.time_before),
        has_lost: false,
    };
    let read = storage.open(path, Access::Read).and_then(|file| SegmentHeader::read(&*file));
    Ok(match read {
        Err(error) => (expected, Some(format!("the segment's header cannot be read: {error}"))),
        Ok(Err(HeaderProblem::OtherFormat(found))) => {
            return Err(LogError::UnknownFormat { path: path.to_owned(), found, known: FORMAT });
        }
        Ok(Err(problem @ HeaderProblem::Unreadable)) => (expected, Some(problem.to_string())),
        Ok(Ok(header)) => match header_mismatch(&header, &expected, previous.is_some()) {
            Some(problem) => (expected, Some(problem)),
            None => (header, None),
        },
    })
}

fn header_mismatch(header: &SegmentHeader, expected: &SegmentHeader, has_previous: bool) -> Option<String> {
    if header.incarnation != expected.incarnation {
        return Some(format!("the segment belongs to another life of the hub, {}", header.incarnation));
    }
    if header.partition != expected.partition {
        return Some(format!("the segment belongs to partition {}", header.partition));
    }
    if header.base != expected.base {
        return Some(format!("the segment begins with event {}, not as its name says", header.base));
    }
    // What came before the first kept segment has been dropped.
    match header.previous_base {
        Some(before) if has_previous && expected.previous_base != Some(before) => {
            Some(format!("the segment before it, which begins with event {before}, is missing"))
        }
        _ => None,
    }
}

fn sealed_segment(
    storage: &dyn Storage,
    identity: &Identity,
    path: &Path,
    header: &SegmentHeader,
    damage: &mut Option<Damage>,
) -> Segment {
    let opened = storage.open(path, Access::Read).and_then(|file| Ok((file.len()?, file)));
    let (len, file) = match opened {
        Ok((len, file)) => (len, Some(file)),
        Err(_) => (0, None),
    };
    let mut lost = Vec::new();
    if let (true, Some(file)) = (header.has_lost, file) {
        match Window::new(&*file) {
            Ok(mut window) => {
                follow(&mut window, header.first_cursor(), header.seed(), |_, frame, _| {
                    if frame.kind == FrameKind::Lost {
                        lost.push(frame.first..frame.next());
                    }
                });
            }
            Err(error) => {
                damage.get_or_insert(damaged(identity, path, 0, header.base, &error));
            }
        }
    }
    Segment::new(path.to_owned(), header, len, len, lost)
}

/// What a segment in use holds.
struct LastSegment {
    end: Cursor,
    stop: Stop,
    /// Where each frame ends, for the index.
    ends: Vec<Cursor>,
    lost: Vec<Range<SequenceNumber>>,
    /// Where the frames begin that are not known to be on the medium.
    unsynced_from: u64,
    is_marked: bool,
}

fn read_last(window: &mut Window<'_>, header: &SegmentHeader) -> LastSegment {
    let first = header.first_cursor();
    let (mut ends, mut lost, mut is_marked) = (Vec::new(), Vec::new(), false);
    // The frames since the last sync that is known of, oldest first.
    let mut unsynced: Vec<(SequenceNumber, u64)> = Vec::new();
    let (end, stop) = follow(window, first, header.seed(), |begin, frame, end| {
        ends.push(*end);
        if frame.kind == FrameKind::Lost {
            lost.push(frame.first..frame.next());
        }
        is_marked = frame.kind == FrameKind::Closed;
        unsynced.retain(|(number, _)| *number >= frame.durable());
        unsynced.push((frame.first, begin.position));
    });
    let unsynced_from = unsynced.first().map_or(end.position, |(_, position)| *position);
    LastSegment { end, stop, ends, lost, unsynced_from, is_marked }
}

fn recover_last(
    shared: &Shared,
    identity: &Identity,
    path: &Path,
    header: &SegmentHeader,
    mut segments: Vec<Arc<Segment>>,
    damage: Option<Damage>,
) -> Result<(Writing, Published), LogError> {
    let file = shared.storage.open(path, Access::ReadWrite).map_err(LogError::io("open", path))?;
    let mut window = Window::new(&*file).map_err(LogError::io("read", path))?;
    let last = read_last(&mut window, header);
    let damage = match damage {
        Some(damage) => Some(damage),
        None => judge(&mut window, &last, header)
            .map_err(LogError::io("read", path))?
            .map(|problem| damaged(identity, path, last.end.position, last.end.next, &problem)),
    };
    if damage.is_none() {
        cut_and_settle(&*file, &mut window, &last).map_err(LogError::io("repair the end of", path))?;
    }

    let end = last.end;
    let segment = Arc::new(Segment::new(path.to_owned(), header, end.position, window.file_len(), last.lost));
    {
        let mut index = segment.index.lock();
        last.ends.into_iter().for_each(|cursor| index.note(cursor));
    }
    segments.push(Arc::clone(&segment));
    if let Some(damage) = damage {
        return Ok(shut(segments, end, damage));
    }
    let mut active = Active::open(shared, segment, file, end, FIRST_STEP).map_err(|failure| {
        let (WriteFailure::DiskFull(detail) | WriteFailure::Broken(detail)) = failure;
        LogError::Io { action: "open", path: path.to_owned(), detail, disk_full: false }
    })?;
    active.is_marked = last.is_marked;
    let published =
        Published { segments: Arc::new(segments), tail: end.next, last_enqueued_at: end.time, damage: None };
    Ok((Writing::Open(active), published))
}

/// What is wrong if the end of the frames is damage; `None` if it is the end of what was acknowledged.
fn judge(window: &mut Window<'_>, last: &LastSegment, header: &SegmentHeader) -> io::Result<Option<String>> {
    match &last.stop {
        Stop::Unreadable(_) | Stop::Problem(FrameProblem::UnknownKind(_)) => {
            return Ok(Some(last.stop.to_string()));
        }
        Stop::Problem(_) => {}
    }
    let mut from = last.end.position;
    while let Some((position, later, _)) = window.find_header(from, header.seed(), last.end.next)? {
        if later.durable() > last.end.next {
            return Ok(Some(format!(
                "{}, but the frame at byte {position} says that every event before {} was durable",
                last.stop,
                later.durable(),
            )));
        }
        from = position + 1;
    }
    Ok(None)
}

/// Clears what is left of a torn write, and makes the frames before it durable.
///
/// The frames that are not known to be on the medium are written again: after a failed sync the operating system may
/// hold them in memory as if they were on disk, and then a sync alone would do nothing.
fn cut_and_settle(file: &dyn StorageFile, window: &mut Window<'_>, last: &LastSegment) -> io::Result<()> {
    let end = last.end.position;
    let torn = window.written_blocks(end)?;
    for (from, to) in &torn {
        write_zeros(file, *from, *to)?;
    }
    let mut position = last.unsynced_from;
    while position < end {
        let len = usize::try_from((end - position).min(1 << 20)).expect("at most one MiB");
        let bytes = read_exact_at(file, position, len)?;
        write_all_at(file, &mut [IoSlice::new(&bytes)], position)?;
        position += len as u64;
    }
    if last.unsynced_from < end || !torn.is_empty() {
        file.sync_data()?;
    }
    if let (Some((from, _)), Some((_, to))) = (torn.first(), torn.last()) {
        tracing::info!(from, to, "cut off a write that was torn before it was acknowledged");
    }
    Ok(())
}
