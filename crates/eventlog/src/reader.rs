//! Reading: find the frame, read a chunk of the file, and check it.

use std::io;
use std::sync::Arc;

use tidegate_model::clock::Timestamp;
use tidegate_model::event::Event;
use tidegate_model::ports::{EventBatch, ReadError, ReadLimit};
use tidegate_model::position::{SequenceNumber, StartPosition};

use crate::chunk::{Chunk, ChunkFrame, Filling, Sink};
use crate::error::Damage;
use crate::frame::{Cursor, FrameHeader, FrameProblem, HEADER_BYTES};
use crate::partition::{Partition, Published};
use crate::segment::Segment;
use crate::storage::StorageFile;

/// How much of a file is read at once, unless one frame is larger.
const CHUNK: usize = 256 * 1024;

/// How far a reader that must not wait looks for its place; finding one further away is left to a thread that may.
const QUICK_SEARCH_BYTES: u64 = 1 << 20;

/// Whether the caller may wait for the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Only what is in memory.
    Quick,
    /// As long as it takes.
    MayWait,
}

/// Why a read did not end.
pub(crate) enum NotRead {
    /// It must wait for the medium: ask again with [`Patience::MayWait`].
    WouldWait,
    Failed(ReadError),
}

impl From<ReadError> for NotRead {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

/// Why a chunk cannot be had.
enum NoChunk {
    WouldWait,
    Io(io::Error),
    Damaged { offset: u64, number: SequenceNumber, problem: String },
}

impl From<io::Error> for NoChunk {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Partition {
    /// See [`EventLog::read`](tidegate_model::ports::EventLog::read).
    pub(crate) fn read(
        &self,
        from: SequenceNumber,
        limit: ReadLimit,
        patience: Patience,
    ) -> Result<Vec<Event>, NotRead> {
        self.fill(&self.published(), from, Filling::new(Vec::new(), limit), patience)
            .map(|(events, _)| events)
    }

    /// See [`EventLog::read_batch`](tidegate_model::ports::EventLog::read_batch).
    pub(crate) fn read_batch(
        &self,
        from: SequenceNumber,
        limit: ReadLimit,
        patience: Patience,
    ) -> Result<EventBatch, NotRead> {
        let published = self.published();
        let empty = EventBatch::new(from, published.ends());
        let (mut batch, next) = self.fill(&published, from, Filling::new(empty, limit), patience)?;
        batch.go_on_at(next);
        Ok(batch)
    }

    /// Fills a sink with events from `from` on. Returns it with the number of the first event it did not get.
    fn fill<S: Sink>(
        &self,
        published: &Published,
        from: SequenceNumber,
        mut filling: Filling<S>,
        patience: Patience,
    ) -> Result<(S, SequenceNumber), NotRead> {
        self.check_bounds(published, from)?;
        if from == published.tail {
            return match &published.damage {
                Some(damage) => Err(self.damaged(damage).into()),
                None => Ok((filling.into_sink(), from)),
            };
        }
        let mut next = from;
        while next < published.tail && filling.has_room() {
            let chunk = match self.chunk(published, next, patience) {
                Ok(chunk) => chunk,
                // What was read before the bad place is good; the next read will report it.
                Err(NotRead::Failed(_)) if !filling.is_empty() => break,
                Err(error) => return Err(error),
            };
            next = match filling.take(&chunk, next) {
                Ok(next) => next,
                Err((frame, problem)) => {
                    let error = self.found_damage(
                        segment_of(published, frame.first),
                        frame.position,
                        frame.first,
                        problem.to_string(),
                    );
                    if filling.is_empty() {
                        return Err(error.into());
                    }
                    break;
                }
            };
        }
        Ok((filling.into_sink(), next))
    }

    /// See [`EventLog::locate`](tidegate_model::ports::EventLog::locate).
    pub(crate) fn locate(&self, start: StartPosition, patience: Patience) -> Result<SequenceNumber, NotRead> {
        let published = self.published();
        let from = match start {
            StartPosition::Earliest => published.head(),
            StartPosition::Latest => published.tail,
            StartPosition::SequenceNumber(number) => number,
            StartPosition::AfterOffset(offset) => {
                SequenceNumber(offset.sequence_number().0.saturating_add(1))
            }
            StartPosition::EnqueuedTime(time) => return self.locate_time(&published, time, patience),
        };
        let from = from.max(published.head());
        self.check_bounds(&published, from)?;
        Ok(from)
    }

    fn check_bounds(&self, published: &Published, from: SequenceNumber) -> Result<(), ReadError> {
        let (partition, head, tail) = (self.id(), published.head(), published.tail);
        if from < head {
            return Err(ReadError::Expired { partition, from, head });
        }
        if from > tail {
            // Events past the damage may well exist; "there is no such event" would be a lie.
            return Err(match &published.damage {
                Some(damage) => self.damaged(damage),
                None => ReadError::BeyondTail { partition, from, tail },
            });
        }
        Ok(())
    }

    fn locate_time(
        &self,
        published: &Published,
        time: Timestamp,
        patience: Patience,
    ) -> Result<SequenceNumber, NotRead> {
        if published.last_enqueued_at < time {
            return Ok(published.tail);
        }
        // The last segment whose events may begin before `time`: all those before it hold only earlier events.
        let segments = &published.segments;
        let at = segments.partition_point(|segment| segment.time_before < time).saturating_sub(1);
        let Some(segment) = segments.get(at) else { return Ok(published.tail) };
        let upper = upper_bound(published, at);
        let start = segment.index.lock().before_time(time);
        let found = self.search(segment, start, upper, patience, &mut Window::default(), |header| {
            header.enqueued_at >= time
        });
        match found {
            Ok(Some((cursor, _))) => Ok(cursor.next.max(published.head())),
            Ok(None) => Ok(upper),
            Err(error) => Err(self.not_read(published, at, error)),
        }
    }

    /// The chunk that holds the event `number`, which is between head and tail.
    fn chunk(
        &self,
        published: &Published,
        number: SequenceNumber,
        patience: Patience,
    ) -> Result<Arc<Chunk>, NotRead> {
        let at = published.segments.partition_point(|segment| segment.base <= number).saturating_sub(1);
        let segment = &published.segments[at];
        let near = {
            let mut cache = self.cache.lock();
            if let Some(chunk) = cache.get(number) {
                return Ok(chunk);
            }
            cache.end_before(number, segment.base)
        };
        let near = near.unwrap_or_else(|| segment.index.lock().before_number(number));
        match self.load_chunk(segment, near, number, upper_bound(published, at), patience) {
            Ok(chunk) => {
                let chunk = Arc::new(chunk);
                // A deleted hub keeps nothing in memory.
                if !self.is_deleted() {
                    self.cache.lock().put(Arc::clone(&chunk));
                }
                Ok(chunk)
            }
            Err(error) => Err(self.not_read(published, at, error)),
        }
    }

    fn not_read(&self, published: &Published, at: usize, error: NoChunk) -> NotRead {
        let segment = &published.segments[at];
        match error {
            NoChunk::WouldWait => NotRead::WouldWait,
            NoChunk::Damaged { offset, number, problem } => {
                self.found_damage(segment, offset, number, problem).into()
            }
            NoChunk::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                // Retention deletes the file first and moves the head then; wait until it has.
                drop(self.retiring.lock());
                if let Err(deleted) = self.check_exists() {
                    return deleted.into();
                }
                let head = self.published().head();
                let partition = self.id();
                if segment.base < head {
                    ReadError::Expired { partition, from: segment.base, head }.into()
                } else {
                    self.found_damage(segment, 0, segment.base, "the file is missing".to_owned()).into()
                }
            }
            NoChunk::Io(error) => {
                let detail = format!("cannot read {}: {error}", segment.path.display());
                ReadError::Unavailable { partition: self.id(), detail }.into()
            }
        }
    }

    fn found_damage(
        &self,
        segment: &Segment,
        offset: u64,
        sequence_number: SequenceNumber,
        problem: String,
    ) -> ReadError {
        // The file may be another hub's by now.
        if let Err(deleted) = self.check_exists() {
            return deleted;
        }
        let file = segment.path.clone();
        let damage = Damage { partition: self.id(), file, offset, sequence_number, problem };
        let error = self.damaged(&damage);
        self.mark_damaged(damage);
        error
    }

    fn damaged(&self, damage: &Damage) -> ReadError {
        ReadError::Damaged { partition: self.id(), detail: damage.to_string() }
    }

    /// The first frame from `cursor` on that is `wanted`, with the place where it begins and its whole length. `None`
    /// when the segment ends before. `window` holds what was read last.
    fn search(
        &self,
        segment: &Segment,
        mut cursor: Cursor,
        upper: SequenceNumber,
        patience: Patience,
        window: &mut Window,
        wanted: impl Fn(&FrameHeader) -> bool,
    ) -> Result<Option<(Cursor, u64)>, NoChunk> {
        let file = segment.file(&*self.shared.storage)?;
        let end = segment.end();
        let give_up_at = cursor.position + QUICK_SEARCH_BYTES;
        while cursor.next < upper {
            if window.get(cursor.position, HEADER_BYTES).is_none() {
                // A frame that is stepped over may reach far beyond the window: only headers are needed.
                let len = wanted_len(cursor.position, end, CHUNK);
                if patience == Patience::Quick
                    && (cursor.position > give_up_at || !file.is_in_memory(cursor.position, len))
                {
                    return Err(NoChunk::WouldWait);
                }
                window.read(&*file, cursor.position, len)?;
            }
            let (header, checksum) = window
                .get(cursor.position, HEADER_BYTES)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(FrameProblem::CutOff)
                .and_then(|bytes| cursor.check(bytes, segment.seed, end))
                .map_err(|problem| damaged_at(&cursor, problem))?;
            if wanted(&header) && header.count > 0 {
                return Ok(Some((cursor, header.frame_len())));
            }
            cursor = cursor.after(&header, checksum);
            segment.index.lock().note(cursor);
        }
        Ok(None)
    }

    /// Reads and checks the frame that holds `number`, and those behind it that are read with it. `near` is a place in the
    /// segment that is not behind it.
    fn load_chunk(
        &self,
        segment: &Segment,
        near: Cursor,
        number: SequenceNumber,
        upper: SequenceNumber,
        patience: Patience,
    ) -> Result<Chunk, NoChunk> {
        let mut window = Window::default();
        let found =
            self.search(segment, near, upper, patience, &mut window, |header| header.next() > number)?;
        let Some((start, first_frame)) = found else {
            let problem = format!("the segment ends before event {number}");
            return Err(NoChunk::Damaged { offset: segment.end(), number, problem });
        };

        let end = segment.end();
        let first_frame = usize::try_from(first_frame).unwrap_or(usize::MAX);
        let file = segment.file(&*self.shared.storage)?;
        // What the search read is often enough, and all of it when somebody reads in order.
        let enough = wanted_len(start.position, end, first_frame.max(CHUNK / 2));
        if window.get(start.position, enough).is_none() {
            let len = wanted_len(start.position, end, first_frame.max(CHUNK));
            if patience == Patience::Quick && !file.is_in_memory(start.position, len) {
                return Err(NoChunk::WouldWait);
            }
            window.read(&*file, start.position, len)?;
        }
        let Window { start: window_start, bytes } = window;

        let (mut frames, mut known) = (Vec::new(), Vec::new());
        let indexed = segment.index.lock().frontier();
        let mut cursor = start;
        while cursor.next < upper {
            let at = usize::try_from(cursor.position - window_start).expect("inside the window");
            let Some(header) = bytes.get(at..at + HEADER_BYTES) else { break };
            let header = header.try_into().expect("a header's length");
            let checked = cursor.check(header, segment.seed, end).and_then(|(header, checksum)| {
                let payload = at + HEADER_BYTES..at + HEADER_BYTES + header.payload_len as usize;
                match bytes.get(payload.clone()) {
                    // The rest of the frame is in the next chunk.
                    None => Ok(None),
                    Some(content) if crc32c::crc32c(content) != header.payload_checksum => {
                        Err(FrameProblem::PayloadChecksum)
                    }
                    Some(_) => Ok(Some((header, checksum, payload))),
                }
            });
            let (header, checksum, payload) = match checked {
                Ok(Some(frame)) => frame,
                // The frames before it are good, and the next read begins here.
                Ok(None) => break,
                Err(_) if !frames.is_empty() => break,
                Err(problem) => return Err(damaged_at(&cursor, problem)),
            };
            if header.count > 0 {
                frames.push(ChunkFrame {
                    first: header.first,
                    next: header.next(),
                    kind: header.kind,
                    enqueued_at: header.enqueued_at,
                    position: cursor.position,
                    payload,
                });
            }
            cursor = cursor.after(&header, checksum);
            if cursor.position > indexed {
                known.push(cursor);
            }
        }
        if !known.is_empty() {
            let mut index = segment.index.lock();
            known.into_iter().for_each(|cursor| index.note(cursor));
        }
        if frames.is_empty() {
            return Err(damaged_at(&start, FrameProblem::CutOff));
        }
        Ok(Chunk {
            first: start.next,
            next: cursor.next,
            base: segment.base,
            end: cursor,
            frames,
            bytes: bytes.into(),
            _file: Some(file),
        })
    }
}

/// A piece of a file in memory.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Replaces it by another piece.
    fn read(&mut self, file: &dyn StorageFile, start: u64, len: usize) -> io::Result<()> {
        self.start = start;
        self.bytes.clear();
        file.read_at(start, len, &mut self.bytes)
    }

    /// Bytes of the file, if they are in it whole.
    fn get(&self, position: u64, len: usize) -> Option<&[u8]> {
        let at = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(len)?)
    }
}

fn damaged_at(cursor: &Cursor, problem: FrameProblem) -> NoChunk {
    NoChunk::Damaged { offset: cursor.position, number: cursor.next, problem: problem.to_string() }
}

fn wanted_len(position: u64, end: u64, most: usize) -> usize {
    usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX).min(most)
}

/// The number after the last of a segment.
fn upper_bound(published: &Published, at: usize) -> SequenceNumber {
    published.segments.get(at + 1).map_or(published.tail, |next| next.base)
}

fn segment_of(published: &Published, number: SequenceNumber) -> &Segment {
    let at = published.segments.partition_point(|segment| segment.base <= number).saturating_sub(1);
    &published.segments[at]
}
