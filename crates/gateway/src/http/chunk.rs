//! Chunks: the lines of an upload that go to one partition in one append.

use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_model::event::EventData;

use crate::admission::EVENT_OVERHEAD_BYTES;

/// A chunk being built. The bytes of its lines lie in one buffer, so that an event costs no allocation of its own.
#[derive(Default)]
pub(super) struct Chunk {
    first_line: u64,
    bytes: Vec<u8>,
    events: Vec<Span>,
}

/// One event within a chunk: its body reaches from the end of the one before to here.
struct Span {
    end: usize,
    key: LineKey,
}

/// Where the partition key of a line is.
pub(super) enum LineKey {
    /// It has none.
    None,
    /// Within the line.
    InLine(Range<usize>),
    /// Here.
    Apart(ByteString),
}

/// What a chunk weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkSize {
    /// The number of its first line within the upload.
    pub(super) first_line: u64,
    pub(super) events: u64,
    /// The bytes of the events' bodies.
    pub(super) bytes: u64,
    /// The memory it takes.
    pub(super) held_bytes: usize,
}

impl Chunk {
    /// Adds the line with this number and returns how much more memory the chunk takes.
    pub(super) fn push(&mut self, number: u64, line: &[u8], key: LineKey) -> usize {
        if self.is_empty() {
            self.first_line = number;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line);
        let key = match key {
            LineKey::InLine(range) => LineKey::InLine(start + range.start..start + range.end),
            other => other,
        };
        self.events.push(Span { end: self.bytes.len(), key });
        held_bytes(line.len(), 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn size(&self) -> ChunkSize {
        ChunkSize {
            first_line: self.first_line,
            events: self.events.len() as u64,
            bytes: self.bytes.len() as u64,
            held_bytes: held_bytes(self.bytes.len(), self.events.len()),
        }
    }

    /// The chunk as it is appended, perhaps more than once.
    pub(super) fn seal(self) -> SealedChunk {
        SealedChunk { bytes: self.bytes.into(), events: self.events }
    }
}

fn held_bytes(bytes: usize, events: usize) -> usize {
    bytes + events * EVENT_OVERHEAD_BYTES
}

/// A chunk that takes no more lines.
pub(super) struct SealedChunk {
    bytes: Bytes,
    events: Vec<Span>,
}

impl SealedChunk {
    /// The bytes of its events, keys included.
    pub(super) fn bytes(&self) -> u64 {
        let of_key = |span: &Span| match &span.key {
            LineKey::None => 0,
            LineKey::InLine(range) => range.len(),
            LineKey::Apart(key) => key.len(),
        };
        (self.bytes.len() + self.events.iter().map(of_key).sum::<usize>()) as u64
    }

    /// How many events it has.
    pub(super) fn events_count(&self) -> u64 {
        self.events.len() as u64
    }

    /// Its events, which share its buffer.
    pub(super) fn events(&self) -> Vec<EventData> {
        let mut start = 0;
        let mut events = Vec::with_capacity(self.events.len());
        for Span { end, key } in &self.events {
            let partition_key = match key {
                LineKey::None => None,
                // It was text when the line came; were it not any more, an event without a key would be the safe way.
                LineKey::InLine(range) => ByteString::try_from(self.bytes.slice(range.clone())).ok(),
                LineKey::Apart(key) => Some(key.clone()),
            };
            let body = self.bytes.slice(start..*end);
            events.push(EventData { partition_key, body, ..EventData::default() });
            start = *end;
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_as_the_events_they_went_in() {
        let mut chunk = Chunk::default();
        assert_eq!(chunk.push(7, b"one", LineKey::None), 3 + EVENT_OVERHEAD_BYTES);
        chunk.push(9, b"[two]", LineKey::InLine(1..4));
        chunk.push(10, b"three", LineKey::Apart("drei".into()));
        let size =
            ChunkSize { first_line: 7, events: 3, bytes: 13, held_bytes: 13 + 3 * EVENT_OVERHEAD_BYTES };
        assert_eq!(chunk.size(), size);
        let chunk = chunk.seal();
        let expected = [
            EventData::new("one"),
            EventData::new("[two]").with_key("two"),
            EventData::new("three").with_key("drei"),
        ];
        assert_eq!(chunk.events(), expected);
        assert_eq!(chunk.events(), expected, "it can be appended again");
        assert_eq!(chunk.events_count(), 3);
        assert_eq!(chunk.bytes(), expected.iter().map(|event| event.size() as u64).sum::<u64>());
    }
}
