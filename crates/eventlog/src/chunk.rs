//! Chunks: checked pieces of a segment in memory, and the events in them. Events share the bytes of their chunk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::Event;
use tidegate_model::ports::{EventBatch, ReadLimit};
use tidegate_model::position::SequenceNumber;

use crate::frame::{Cursor, FrameKind};
use crate::record::{RecordProblem, Records};
use crate::storage::StorageFile;

/// How many chunks a partition keeps for readers that come back: a few readers, each at its own place.
const CACHED_CHUNKS: usize = 4;

/// How many bytes of chunks a partition keeps at most, apart from the newest chunk.
const CACHED_BYTES: usize = 2 << 20;

/// Checked frames of one segment, one after the other.
pub(crate) struct Chunk {
    pub(crate) first: SequenceNumber,
    pub(crate) next: SequenceNumber,
    /// The base of its segment.
    pub(crate) base: SequenceNumber,
    /// The place behind its last frame.
    pub(crate) end: Cursor,
    pub(crate) frames: Vec<ChunkFrame>,
    pub(crate) bytes: Bytes,
    /// Keeps the file open while readers are near.
    pub(crate) _file: Option<Arc<dyn StorageFile>>,
}

/// A frame in a chunk.
pub(crate) struct ChunkFrame {
    pub(crate) first: SequenceNumber,
    pub(crate) next: SequenceNumber,
    pub(crate) kind: FrameKind,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) position: u64,
    pub(crate) payload: Range<usize>,
}

/// The chunks read last, the newest at the back.
#[derive(Default)]
pub(crate) struct ChunkCache(VecDeque<Arc<Chunk>>);

impl ChunkCache {
    /// The chunk that holds an event.
    pub(crate) fn get(&mut self, number: SequenceNumber) -> Option<Arc<Chunk>> {
        let at = self.0.iter().position(|chunk| chunk.first <= number && number < chunk.next)?;
        let chunk = self.0.remove(at)?;
        self.0.push_back(Arc::clone(&chunk));
        Some(chunk)
    }

    /// The place behind a chunk of this segment that ends before an event: whoever reads in order goes on there.
    pub(crate) fn end_before(&self, number: SequenceNumber, base: SequenceNumber) -> Option<Cursor> {
        self.0.iter().find(|chunk| chunk.next == number && chunk.base == base).map(|chunk| chunk.end)
    }

    /// Keeps a chunk, and forgets others if there are too many.
    pub(crate) fn put(&mut self, chunk: Arc<Chunk>) {
        // A reader at the tail reads ever longer chunks from one place; only the longest is worth keeping.
        self.0.retain(|other| other.next <= chunk.first || other.first >= chunk.next);
        let mut bytes: usize = self.0.iter().map(|chunk| chunk.bytes.len()).sum();
        while self.0.len() >= CACHED_CHUNKS || bytes > CACHED_BYTES {
            let Some(oldest) = self.0.pop_front() else { break };
            bytes -= oldest.bytes.len();
        }
        self.0.push_back(chunk);
    }

    /// Forgets everything, so that deleted files are closed.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What a read fills with events.
pub(crate) trait Sink {
    /// The records that are taken from now on are in these bytes.
    fn begin(&mut self, bytes: &Bytes);

    /// Makes room for more events.
    fn reserve(&mut self, events: usize);

    /// Takes the next of the records, as the event with this number. Returns what it counts for.
    fn take(
        &mut self,
        records: &mut Records<'_>,
        number: SequenceNumber,
        enqueued_at: Timestamp,
    ) -> Result<usize, RecordProblem>;
}

impl Sink for Vec<Event> {
    fn begin(&mut self, _bytes: &Bytes) {}

    fn reserve(&mut self, events: usize) {
        Vec::reserve(self, events);
    }

    fn take(
        &mut self,
        records: &mut Records<'_>,
        sequence_number: SequenceNumber,
        enqueued_at: Timestamp,
    ) -> Result<usize, RecordProblem> {
        let data = records.next().unwrap_or(Err(RecordProblem::Short))?;
        let size = data.size();
        self.push(Event { sequence_number, enqueued_at, data });
        Ok(size)
    }
}

impl Sink for EventBatch {
    fn begin(&mut self, bytes: &Bytes) {
        self.begin_piece(bytes.clone());
    }

    fn reserve(&mut self, events: usize) {
        EventBatch::reserve(self, events);
    }

    fn take(
        &mut self,
        records: &mut Records<'_>,
        number: SequenceNumber,
        enqueued_at: Timestamp,
    ) -> Result<usize, RecordProblem> {
        records.next_place(number, enqueued_at).map(|place| self.push(place))
    }
}

/// Events on their way to a reader.
pub(crate) struct Filling<S> {
    sink: S,
    count: usize,
    bytes: usize,
    limit: ReadLimit,
}

impl<S: Sink> Filling<S> {
    pub(crate) fn new(sink: S, limit: ReadLimit) -> Self {
        Self { sink, count: 0, bytes: 0, limit }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn into_sink(self) -> S {
        self.sink
    }

    /// Whether the limit allows another event; the first is always allowed.
    pub(crate) fn has_room(&self) -> bool {
        self.count == 0 || (self.count < self.limit.events && self.bytes < self.limit.bytes)
    }

    /// Takes events of a chunk from `from` on, as long as there is room. Returns the number of the first event not
    /// taken, or the frame that cannot be decoded and why.
    pub(crate) fn take<'c>(
        &mut self,
        chunk: &'c Chunk,
        from: SequenceNumber,
    ) -> Result<SequenceNumber, (&'c ChunkFrame, RecordProblem)> {
        let mut next = from;
        let start = chunk.frames.partition_point(|frame| frame.next <= from);
        self.sink.begin(&chunk.bytes);
        for frame in &chunk.frames[start..] {
            if !self.has_room() {
                break;
            }
            if frame.kind == FrameKind::Events {
                next = self.take_frame(chunk, frame, next).map_err(|problem| (frame, problem))?;
            } else {
                next = frame.next;
            }
        }
        Ok(next)
    }

    fn take_frame(
        &mut self,
        chunk: &Chunk,
        frame: &ChunkFrame,
        from: SequenceNumber,
    ) -> Result<SequenceNumber, RecordProblem> {
        let mut records = Records::new(&chunk.bytes, frame.payload.clone());
        let from = from.max(frame.first);
        for _ in 0..from.distance_from(frame.first) {
            records.skip_one()?;
        }
        let mut next = from;
        let wanted = usize::try_from(frame.next.distance_from(from)).unwrap_or(usize::MAX);
        self.sink.reserve(wanted.min(self.limit.events.saturating_sub(self.count)));
        while next < frame.next && self.has_room() {
            self.bytes += self.sink.take(&mut records, next, frame.enqueued_at)?.max(1);
            self.count += 1;
            next = next.next();
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(numbers: Range<u64>, len: usize) -> Arc<Chunk> {
        let (first, next) = (SequenceNumber(numbers.start), SequenceNumber(numbers.end));
        let end = Cursor { position: numbers.end, next, previous: 0, time: Timestamp::default() };
        let (base, frames, bytes) = (SequenceNumber::ZERO, Vec::new(), Bytes::from(vec![0; len]));
        Arc::new(Chunk { first, next, base, end, frames, bytes, _file: None })
    }

    fn kept(cache: &ChunkCache) -> Vec<u64> {
        cache.0.iter().map(|chunk| chunk.first.0).collect()
    }

    #[test]
    fn the_chunk_used_longest_ago_goes_first() {
        let mut cache = ChunkCache::default();
        for first in [0, 10, 20, 30] {
            cache.put(chunk(first..first + 10, 100));
        }
        assert_eq!(cache.get(SequenceNumber(9)).map(|chunk| chunk.first), Some(SequenceNumber::ZERO));
        assert!(cache.get(SequenceNumber(40)).is_none());
        cache.put(chunk(40..50, 100));
        assert_eq!(kept(&cache), [20, 30, 0, 40]);
    }

    #[test]
    fn reading_goes_on_behind_a_chunk_of_the_same_segment() {
        let mut cache = ChunkCache::default();
        cache.put(chunk(0..10, 100));
        let end = |number, base| cache.end_before(SequenceNumber(number), SequenceNumber(base));
        assert_eq!(end(10, 0).map(|cursor| cursor.position), Some(10));
        assert_eq!(end(9, 0), None);
        assert_eq!(end(10, 10), None, "the next segment begins there");
    }

    #[test]
    fn the_bytes_kept_are_bounded() {
        let mut cache = ChunkCache::default();
        cache.put(chunk(0..10, CACHED_BYTES / 2));
        cache.put(chunk(10..20, CACHED_BYTES));
        cache.put(chunk(20..30, 10 * CACHED_BYTES));
        assert_eq!(kept(&cache), [10, 20], "the newest is kept whatever its size");
        cache.put(chunk(30..40, 1));
        assert_eq!(kept(&cache), [30]);
    }

    #[test]
    fn a_longer_chunk_replaces_those_it_covers() {
        let mut cache = ChunkCache::default();
        cache.put(chunk(0..10, 1));
        cache.put(chunk(10..12, 1));
        cache.put(chunk(10..15, 1));
        assert_eq!(kept(&cache), [0, 10]);
    }
}
