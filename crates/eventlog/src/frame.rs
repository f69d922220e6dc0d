//! The frame: the events of one append, stored whole or not at all.
//!
//! A frame is a header of 48 bytes and a payload of records, padded with zeros to a multiple of 8. The header's
//! checksum is seeded with the segment's identity ([`segment_seed`]), so bytes of another file, or an event body that
//! holds a copy of a log, never pass for a frame of this one. Each header also repeats the checksum of the header before
//! it: a frame left over from an abandoned write never links into the chain.
//!
//! ```text
//!  0 magic "TGf1"        16 enqueued_at ms i64      32 previous header's checksum u32
//!  4 payload length u32  24 count u32               36 kind u8, then three zeros
//!  8 first number u64    28 unsynced u32            40 payload checksum u32, 44 header checksum u32
//! ```

use tidegate_model::clock::Timestamp;
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

/// The length of a frame's header.
pub(crate) const HEADER_BYTES: usize = 48;

/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// How every frame begins. Not zero, and nothing that text or JSON begins with.
pub(crate) const MAGIC: [u8; 4] = *b"TGf1";

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The events of one append.
    Events,
    /// `fsck` declared `count` events lost; there is no payload.
    Lost,
    /// The log was closed here, with everything before it durable. No event, no payload.
    Closed,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Events),
            2 => Some(Self::Lost),
            3 => Some(Self::Closed),
            _ => None,
        }
    }

    fn as_byte(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Lost => 2,
            Self::Closed => 3,
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Bytes of records after the header, without the padding.
    pub(crate) payload_len: u32,
    /// The first event's number.
    pub(crate) first: SequenceNumber,
    /// How many numbers the frame takes.
    pub(crate) count: u32,
    /// When the log took the events.
    pub(crate) enqueued_at: Timestamp,
    /// How many of the events right before this frame were not known to be durable when it was written.
    pub(crate) unsynced: u32,
    /// The checksum of the header before this one; the segment's seed for its first frame.
    pub(crate) previous: u32,
    pub(crate) payload_checksum: u32,
}

impl FrameHeader {
    /// The header as bytes, and its checksum.
    pub(crate) fn encode(&self, seed: u32) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.enqueued_at.as_millis().to_le_bytes());
        bytes[24..28].copy_from_slice(&self.count.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.unsynced.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.previous.to_le_bytes());
        bytes[36] = self.kind.as_byte();
        bytes[40..44].copy_from_slice(&self.payload_checksum.to_le_bytes());
        let checksum = crc32c::crc32c_append(seed, &bytes[..44]);
        bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// The header in `bytes`, and its checksum, if they hold one of the segment with this seed.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES], seed: u32) -> Result<(Self, u32), FrameProblem> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[0..4] != MAGIC {
            return Err(if *bytes == [0; HEADER_BYTES] {
                FrameProblem::Unused
            } else {
                FrameProblem::NoFrame
            });
        }
        let checksum = u32_at(44);
        if crc32c::crc32c_append(seed, &bytes[..44]) != checksum {
            return Err(FrameProblem::HeaderChecksum);
        }
        let kind = FrameKind::from_byte(bytes[36]).ok_or(FrameProblem::UnknownKind(bytes[36]))?;
        let first = SequenceNumber(u64_at(8));
        let header = Self {
            kind,
            payload_len: u32_at(4),
            first,
            count: u32_at(24),
            enqueued_at: Timestamp::from_millis(u64_at(16).cast_signed()),
            unsynced: u32_at(28),
            previous: u32_at(32),
            payload_checksum: u32_at(40),
        };
        if first.0.checked_add(u64::from(header.count)).is_none() {
            return Err(FrameProblem::HeaderChecksum);
        }
        Ok((header, checksum))
    }

    /// The number after this frame's last.
    pub(crate) fn next(&self) -> SequenceNumber {
        self.first.plus(u64::from(self.count))
    }

    /// Every event before this number was durable when the frame was written.
    pub(crate) fn durable(&self) -> SequenceNumber {
        SequenceNumber(self.first.0.saturating_sub(u64::from(self.unsynced)))
    }

    /// Header, payload and padding.
    pub(crate) fn frame_len(&self) -> u64 {
        frame_len(self.payload_len as usize) as u64
    }
}

/// The length of a frame with such a payload: header, payload and padding.
pub(crate) fn frame_len(payload_len: usize) -> usize {
    (HEADER_BYTES + payload_len).next_multiple_of(ALIGNMENT)
}

/// What the header checksums of a segment begin with.
pub(crate) fn segment_seed(incarnation: Incarnation, partition: PartitionId, base: SequenceNumber) -> u32 {
    let seed = crc32c::crc32c(incarnation.0.as_bytes());
    let seed = crc32c::crc32c_append(seed, &partition.0.to_le_bytes());
    crc32c::crc32c_append(seed, &base.0.to_le_bytes())
}

/// Why bytes are not the frame that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameProblem {
    #[error("nothing was written here")]
    Unused,
    #[error("there is no frame here")]
    NoFrame,
    #[error("the checksum of the frame's header is wrong")]
    HeaderChecksum,
    #[error("the frame has the unknown kind {0}")]
    UnknownKind(u8),
    #[error("the frame begins with event {found} instead of {expected}")]
    OtherNumber { found: SequenceNumber, expected: SequenceNumber },
    #[error("the frame does not follow the one before it")]
    BrokenChain,
    #[error("the frame is older than the one before it")]
    TimeWentBack,
    #[error("the frame is cut off by the end of the file")]
    CutOff,
    #[error("the checksum of the frame's payload is wrong")]
    PayloadChecksum,
}

/// A place between two frames of a segment, with what must hold for the one that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Bytes from the beginning of the file.
    pub(crate) position: u64,
    /// The number of the event that follows.
    pub(crate) next: SequenceNumber,
    /// The checksum of the header before.
    pub(crate) previous: u32,
    /// When the event before was enqueued; [`NO_TIME`] when there was none.
    pub(crate) time: Timestamp,
}

/// The time before the first event of a partition.
pub(crate) const NO_TIME: Timestamp = Timestamp::from_millis(i64::MIN);

impl Cursor {
    /// The frame that begins here: its header, if it is the one that must follow and ends before `end`.
    pub(crate) fn check(
        &self,
        header: &[u8; HEADER_BYTES],
        seed: u32,
        end: u64,
    ) -> Result<(FrameHeader, u32), FrameProblem> {
        let (header, checksum) = FrameHeader::decode(header, seed)?;
        if header.first != self.next {
            return Err(FrameProblem::OtherNumber { found: header.first, expected: self.next });
        }
        if header.previous != self.previous {
            return Err(FrameProblem::BrokenChain);
        }
        if header.enqueued_at < self.time {
            return Err(FrameProblem::TimeWentBack);
        }
        if end.saturating_sub(self.position) < header.frame_len() {
            return Err(FrameProblem::CutOff);
        }
        Ok((header, checksum))
    }

    /// The place behind a frame that begins here.
    pub(crate) fn after(&self, header: &FrameHeader, checksum: u32) -> Self {
        Self {
            position: self.position + header.frame_len(),
            next: header.next(),
            previous: checksum,
            time: header.enqueued_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = FrameHeader> {
        let kind = prop_oneof![Just(FrameKind::Events), Just(FrameKind::Lost), Just(FrameKind::Closed)];
        (kind, any::<(u32, u32, i64, u32, u32, u32)>(), 0..u64::MAX / 2).prop_map(
            |(kind, (payload_len, count, time, unsynced, previous, payload_checksum), first)| FrameHeader {
                kind,
                payload_len,
                first: SequenceNumber(first),
                count,
                enqueued_at: Timestamp::from_millis(time),
                unsynced,
                previous,
                payload_checksum,
            },
        )
    }

    proptest! {
        #[test]
        fn headers_come_back_as_they_were(header in header(), seed: u32) {
            let (bytes, checksum) = header.encode(seed);
            prop_assert_eq!(FrameHeader::decode(&bytes, seed), Ok((header, checksum)));
        }

        #[test]
        fn every_changed_bit_is_noticed(header in header(), seed: u32, bit in 0..HEADER_BYTES * 8) {
            let (mut bytes, _) = header.encode(seed);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(FrameHeader::decode(&bytes, seed).is_err());
        }

        #[test]
        fn a_frame_of_another_segment_is_none_of_this_one(header in header(), seed: u32, other: u32) {
            prop_assume!(seed != other);
            let (bytes, _) = header.encode(other);
            prop_assert_eq!(FrameHeader::decode(&bytes, seed), Err(FrameProblem::HeaderChecksum));
        }
    }

    #[test]
    fn unused_space_is_told_from_damage() {
        let mut bytes = [0; HEADER_BYTES];
        assert_eq!(FrameHeader::decode(&bytes, 1), Err(FrameProblem::Unused));
        bytes[47] = 1;
        assert_eq!(FrameHeader::decode(&bytes, 1), Err(FrameProblem::NoFrame));
    }

    #[test]
    fn only_the_next_frame_of_the_chain_may_follow() {
        let cursor =
            Cursor { position: 4096, next: SequenceNumber(7), previous: 99, time: Timestamp::from_millis(5) };
        let good = FrameHeader {
            kind: FrameKind::Events,
            payload_len: 100,
            first: SequenceNumber(7),
            count: 2,
            enqueued_at: Timestamp::from_millis(5),
            unsynced: 0,
            previous: 99,
            payload_checksum: 0,
        };
        let check = |header: FrameHeader, end| cursor.check(&header.encode(1).0, 1, end).map(|_| ());
        let end = 4096 + good.frame_len();
        assert_eq!(check(good, end), Ok(()));
        assert_eq!(check(good, end - 1), Err(FrameProblem::CutOff));
        assert_eq!(check(FrameHeader { previous: 98, ..good }, end), Err(FrameProblem::BrokenChain));
        let earlier = FrameHeader { enqueued_at: Timestamp::from_millis(4), ..good };
        assert_eq!(check(earlier, end), Err(FrameProblem::TimeWentBack));
        for found in [6, 8].map(SequenceNumber) {
            let problem = FrameProblem::OtherNumber { found, expected: SequenceNumber(7) };
            assert_eq!(check(FrameHeader { first: found, ..good }, end), Err(problem));
        }
    }
}
