//! Reading a whole partition, and going on behind damage.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidegate_model::position::SequenceNumber;

use super::{DamageReport, PartitionReport, TornTail};
use crate::error::LogError;
use crate::frame::{Cursor, FrameHeader, FrameKind, FrameProblem, HEADER_BYTES};
use crate::partition::{Identity, joined};
use crate::record::{NEWEST_FORMAT, RecordProblem, Records};
use crate::recovery::read_header;
use crate::scan::{Stop, Window};
use crate::segment::{HEADER_BLOCK, SegmentHeader, list_bases, segment_path};
use crate::storage::{Access, Storage};

/// Everything that is known about a partition's files.
pub(super) struct PartitionSurvey {
    pub(super) identity: Identity,
    pub(super) segments: Vec<SegmentSurvey>,
}

/// Everything that is known about one file.
pub(super) struct SegmentSurvey {
    pub(super) path: PathBuf,
    pub(super) file_len: u64,
    /// The header, or what it should be.
    pub(super) header: SegmentHeader,
    /// Frames and damaged places in order.
    pub(super) pieces: Vec<Piece>,
    /// The number after the last one of this file.
    pub(super) next: SequenceNumber,
    pub(super) torn_at: Option<u64>,
    /// The format of a record that a newer version wrote, if there is one.
    newer_record: Option<u8>,
}

/// A part of a file.
pub(super) enum Piece {
    /// A frame that can be read.
    Frame { position: u64, header: FrameHeader },
    /// A place that cannot be read, and the numbers lost with it.
    Damage { from: u64, to: u64, problem: String, lost: Range<SequenceNumber> },
}

impl PartitionSurvey {
    pub(super) fn make(storage: &dyn Storage, identity: Identity) -> Result<Self, LogError> {
        let dir = &identity.dir;
        let bases = match list_bases(storage, dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bases => bases.map_err(LogError::io("list", dir))?,
        };
        let mut segments: Vec<SegmentSurvey> = Vec::new();
        for (at, base) in bases.iter().enumerate() {
            let path = segment_path(dir, *base);
            let previous = segments.last().map(|segment| &segment.header);
            let (mut header, problem) = read_header(storage, &identity, &path, *base, previous)?;
            if let (Some(_), Some(time)) = (&problem, segments.last().and_then(SegmentSurvey::last_time)) {
                header.time_before = time;
            }
            let upper = bases.get(at + 1).copied();
            let segment = SegmentSurvey::make(storage, path.clone(), header, problem, upper)
                .map_err(LogError::io("read", &path))?;
            if let Some(found) = segment.newer_record {
                let (found, known) = (found.into(), NEWEST_FORMAT.into());
                return Err(LogError::UnknownFormat { path, found, known });
            }
            segments.push(segment);
        }
        Ok(Self { identity, segments })
    }

    pub(super) fn report(&self) -> PartitionReport {
        let frames = || self.segments.iter().flat_map(|segment| segment.frames());
        let mut damage: Vec<_> = self.segments.iter().flat_map(SegmentSurvey::damage).collect();
        if self.segments.is_empty() {
            damage.push(DamageReport {
                file: self.identity.dir.clone(),
                offset: 0,
                end: 0,
                problem: "there is no segment, and nothing tells which numbers were given; restore the files from a \
                          backup, or move the hub away to begin it anew"
                    .to_owned(),
                lost: SequenceNumber::ZERO..SequenceNumber::ZERO,
            });
        }
        PartitionReport {
            partition: self.identity.partition,
            segments: self.segments.len(),
            events: frames()
                .filter(|frame| frame.kind == FrameKind::Events)
                .map(|frame| u64::from(frame.count))
                .sum(),
            bytes: self.segments.iter().map(|segment| segment.file_len).sum(),
            head: self.segments.first().map_or(SequenceNumber::ZERO, |segment| segment.header.base),
            tail: self.segments.last().map_or(SequenceNumber::ZERO, |segment| segment.next),
            lost: joined(
                frames().filter(|frame| frame.kind == FrameKind::Lost).map(|frame| frame.first..frame.next()),
            ),
            torn_tail: self.segments.last().and_then(|segment| {
                segment.torn_at.map(|offset| TornTail { file: segment.path.clone(), offset })
            }),
            damage,
        }
    }
}

impl SegmentSurvey {
    fn make(
        storage: &dyn Storage,
        path: PathBuf,
        header: SegmentHeader,
        header_problem: Option<String>,
        upper: Option<SequenceNumber>,
    ) -> io::Result<Self> {
        let file = storage.open(&path, Access::Read)?;
        let mut window = Window::new(&*file)?;
        let file_len = window.file_len();
        let mut pieces = Vec::new();
        if let Some(problem) = header_problem {
            let lost = header.base..header.base;
            pieces.push(Piece::Damage { from: 0, to: HEADER_BLOCK, problem, lost });
        }
        let mut survey =
            Self { path, file_len, header, pieces, next: header.base, torn_at: None, newer_record: None };
        survey.read(&mut window, upper);
        Ok(survey)
    }

    /// Reads the frames up to the number `upper`, at which the next segment begins; without it, to the end.
    fn read(&mut self, window: &mut Window<'_>, upper: Option<SequenceNumber>) {
        let seed = self.header.seed();
        let mut cursor = self.header.first_cursor();
        loop {
            let problem = self.read_run(window, &mut cursor, upper);
            self.next = cursor.next;
            if upper == Some(cursor.next) {
                return;
            }
            let beyond = find_beyond(window, &cursor, seed, upper);
            self.newer_record = self.newer_record.or(beyond.newer_record);
            let is_damage = upper.is_some() || beyond.proves_damage || problem.is_none();
            let problem = problem.unwrap_or_else(|| "the file cannot be read here".to_owned());
            if !is_damage {
                let rest = window.written_blocks(cursor.position).unwrap_or_default();
                self.torn_at = rest.first().map(|_| cursor.position);
                return;
            }
            let from = cursor.position;
            match beyond.readable {
                Some((position, header)) => {
                    let lost = cursor.next..header.first;
                    self.pieces.push(Piece::Damage { from, to: position, problem, lost });
                    let time = cursor.time.min(header.enqueued_at);
                    cursor = Cursor { position, next: header.first, previous: header.previous, time };
                }
                None => {
                    let end = upper.unwrap_or(beyond.known_end);
                    let to = self.file_len.max(from);
                    self.pieces.push(Piece::Damage { from, to, problem, lost: cursor.next..end });
                    self.next = end;
                    return;
                }
            }
        }
    }

    /// Follows frames that can be read. Returns why it stopped; `None` when the medium does not give the bytes.
    fn read_run(
        &mut self,
        window: &mut Window<'_>,
        cursor: &mut Cursor,
        upper: Option<SequenceNumber>,
    ) -> Option<String> {
        loop {
            if upper.is_some_and(|upper| cursor.next >= upper) {
                return Some("the segment goes on where the next one begins".to_owned());
            }
            let (header, checksum) = match window.frame(cursor, self.header.seed()) {
                Ok(Ok(frame)) => frame,
                Ok(Err(problem @ FrameProblem::UnknownKind(_))) => {
                    // Not cut off as a torn write, whatever follows.
                    tracing::warn!(file = %self.path.display(), %problem, "a frame of an unknown kind");
                    return None;
                }
                Ok(Err(problem)) => return Some(Stop::from(problem).to_string()),
                Err(_) => return None,
            };
            match unreadable_record(window, cursor.position, &header) {
                Ok(None) => {}
                Ok(Some(RecordProblem::Format(format))) => {
                    self.newer_record = Some(format);
                    return None;
                }
                Ok(Some(_)) | Err(_) => return None,
            }
            self.pieces.push(Piece::Frame { position: cursor.position, header });
            *cursor = cursor.after(&header, checksum);
        }
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &FrameHeader> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Frame { header, .. } => Some(header),
            Piece::Damage { .. } => None,
        })
    }

    pub(super) fn damage(&self) -> impl Iterator<Item = DamageReport> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Frame { .. } => None,
            Piece::Damage { from, to, problem, lost } => Some(DamageReport {
                file: self.path.clone(),
                offset: *from,
                end: *to,
                problem: problem.clone(),
                lost: lost.clone(),
            }),
        })
    }

    fn last_time(&self) -> Option<tidegate_model::clock::Timestamp> {
        self.frames().last().map(|frame| frame.enqueued_at)
    }

    /// The directory the file is in.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().expect("a segment is in the directory of its partition")
    }
}

/// What lies behind a place that cannot be read.
struct Beyond {
    /// The next frame that can be read.
    readable: Option<(u64, FrameHeader)>,
    /// Whether a frame says that events from the bad place on were durable.
    proves_damage: bool,
    /// The number after the last one that any frame speaks of.
    known_end: SequenceNumber,
    /// The format of a record that a newer version wrote, if there is one.
    newer_record: Option<u8>,
}

fn find_beyond(window: &mut Window<'_>, bad: &Cursor, seed: u32, upper: Option<SequenceNumber>) -> Beyond {
    let mut beyond = Beyond { readable: None, proves_damage: false, known_end: bad.next, newer_record: None };
    let mut from = bad.position;
    while let Ok(Some((position, header, _))) = window.find_header(from, seed, bad.next) {
        from = position + 1;
        if upper.is_some_and(|upper| header.next() > upper) {
            continue;
        }
        beyond.proves_damage |= header.durable() > bad.next;
        beyond.known_end = beyond.known_end.max(header.next());
        // The frame at the bad place itself is bad for a reason, such as a broken chain.
        let is_whole = position > bad.position
            && header.enqueued_at >= bad.time
            && matches!(window.payload(position, &header), Ok(Some(_)));
        if !is_whole {
            continue;
        }
        match unreadable_record(window, position, &header) {
            Ok(None) if beyond.readable.is_none() => beyond.readable = Some((position, header)),
            Ok(Some(RecordProblem::Format(format))) => beyond.newer_record = Some(format),
            _ => {}
        }
    }
    beyond
}

/// Why a record of a frame cannot be read, if one cannot, or there are not as many as its header says.
fn unreadable_record(
    window: &mut Window<'_>,
    position: u64,
    header: &FrameHeader,
) -> io::Result<Option<RecordProblem>> {
    if header.kind != FrameKind::Events {
        return Ok((header.payload_len != 0).then_some(RecordProblem::Long));
    }
    let payload = window.bytes(position + HEADER_BYTES as u64, header.payload_len as usize)?;
    let payload = Bytes::copy_from_slice(payload);
    let mut records = 0;
    for record in Records::new(&payload, 0..payload.len()) {
        if let Err(problem) = record {
            return Ok(Some(problem));
        }
        records += 1;
    }
    Ok((records != u64::from(header.count)).then_some(RecordProblem::Short))
}
