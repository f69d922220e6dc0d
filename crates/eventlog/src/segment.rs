//! The segment: one file of a partition's log.
//!
//! A header block of 4096 bytes, then frames, then zeros written ahead of use. The file's name is the number of its first
//! event in 20 digits, so that names sort as numbers do.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tidegate_model::clock::Timestamp;
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

use crate::frame::{Cursor, segment_seed};
use crate::index::Index;
use crate::storage::{Access, DiskFile, Storage, StorageFile, read_exact_at, write_all_at};

/// The header block; the first frame begins behind it. One page, so that no write of a frame touches it.
pub(crate) const HEADER_BLOCK: u64 = 4096;

/// The format of the segments this version writes.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"TGLOGSEG";
const HEADER_BYTES: usize = 64;
const HAS_LOST: u32 = 1;
const NO_PREVIOUS: u64 = u64::MAX;

/// What the header block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) incarnation: Incarnation,
    pub(crate) partition: PartitionId,
    /// The number of the first event.
    pub(crate) base: SequenceNumber,
    /// The base of the segment before, when there was one.
    pub(crate) previous_base: Option<SequenceNumber>,
    /// When the event before the first was enqueued: times never go back, even if that event has been dropped.
    pub(crate) time_before: Timestamp,
    /// Whether there are frames that declare events lost.
    pub(crate) has_lost: bool,
}

impl SegmentHeader {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.partition.0.to_le_bytes());
        bytes[16..32].copy_from_slice(self.incarnation.0.as_bytes());
        bytes[32..40].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous_base.map_or(NO_PREVIOUS, |base| base.0).to_le_bytes());
        bytes[48..56].copy_from_slice(&self.time_before.as_millis().to_le_bytes());
        bytes[56..60].copy_from_slice(&(if self.has_lost { HAS_LOST } else { 0 }).to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, HeaderProblem> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[0..8] != MAGIC || crc32c::crc32c(&bytes[..60]) != u32_at(60) {
            return Err(HeaderProblem::Unreadable);
        }
        if u32_at(8) != FORMAT {
            return Err(HeaderProblem::OtherFormat(u32_at(8)));
        }
        let previous_base = u64_at(40);
        Ok(Self {
            incarnation: Incarnation(uuid::Uuid::from_bytes(
                bytes[16..32].try_into().expect("sixteen bytes"),
            )),
            partition: PartitionId(u32_at(12)),
            base: SequenceNumber(u64_at(32)),
            previous_base: (previous_base != NO_PREVIOUS).then_some(SequenceNumber(previous_base)),
            time_before: Timestamp::from_millis(u64_at(48).cast_signed()),
            has_lost: u32_at(56) & HAS_LOST != 0,
        })
    }

    /// The header of a file.
    pub(crate) fn read(file: &dyn StorageFile) -> io::Result<Result<Self, HeaderProblem>> {
        match read_exact_at(file, 0, HEADER_BYTES) {
            Ok(bytes) => Ok(Self::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(HeaderProblem::Unreadable)),
            Err(error) => Err(error),
        }
    }

    /// Writes the header block.
    pub(crate) fn write(&self, file: &dyn StorageFile) -> io::Result<()> {
        let mut block = vec![0; usize::try_from(HEADER_BLOCK).expect("4096")];
        block[..HEADER_BYTES].copy_from_slice(&self.encode());
        write_all_at(file, &mut [IoSlice::new(&block)], 0)
    }

    /// What the checksums of this segment's frames begin with.
    pub(crate) fn seed(&self) -> u32 {
        segment_seed(self.incarnation, self.partition, self.base)
    }

    /// The place of the first frame.
    pub(crate) fn first_cursor(&self) -> Cursor {
        Cursor { position: HEADER_BLOCK, next: self.base, previous: self.seed(), time: self.time_before }
    }
}

/// Why a header block cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderProblem {
    #[error("the segment's header is damaged")]
    Unreadable,
    #[error("the segment has format {0}")]
    OtherFormat(u32),
}

/// The path of the segment that begins with event `base`.
pub(crate) fn segment_path(dir: &Path, base: SequenceNumber) -> PathBuf {
    dir.join(format!("{:020}.seg", base.0))
}

/// The base in a segment's file name; `None` for other files.
pub(crate) fn base_of_name(name: &str) -> Option<SequenceNumber> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(SequenceNumber)
}

/// The bases of the segments in a directory, ascending.
pub(crate) fn list_bases(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<SequenceNumber>> {
    let mut bases: Vec<_> = storage
        .list(dir)?
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| base_of_name(&entry.name))
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// A segment as readers see it.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) base: SequenceNumber,
    pub(crate) time_before: Timestamp,
    pub(crate) seed: u32,
    /// Numbers in this segment whose events `fsck` declared lost.
    pub(crate) lost: Vec<Range<SequenceNumber>>,
    /// Where the frames that may be read end: for the segment in use the end of what is durable, for the others the
    /// end of the file.
    end: AtomicU64,
    file_len: AtomicU64,
    pub(crate) index: Mutex<Index>,
    file: Mutex<Weak<dyn StorageFile>>,
}

impl Segment {
    /// A segment whose frames end at `end` at the latest, in a file of `file_len` bytes.
    pub(crate) fn new(
        path: PathBuf,
        header: &SegmentHeader,
        end: u64,
        file_len: u64,
        lost: Vec<Range<SequenceNumber>>,
    ) -> Self {
        Self {
            path,
            base: header.base,
            time_before: header.time_before,
            seed: header.seed(),
            lost,
            end: AtomicU64::new(end),
            file_len: AtomicU64::new(file_len),
            index: Mutex::new(Index::new(header.first_cursor())),
            file: Mutex::new(Weak::<DiskFile>::new()),
        }
    }

    /// Where the frames that may be read end.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Moves the end; everything before it is durable.
    pub(crate) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Bytes on disk.
    pub(crate) fn file_len(&self) -> u64 {
        self.file_len.load(Ordering::Relaxed)
    }

    /// Notes a new length of the file.
    pub(crate) fn set_file_len(&self, len: u64) {
        self.file_len.store(len, Ordering::Relaxed);
    }

    /// Shares an open file with the readers for as long as somebody keeps it.
    pub(crate) fn share_file(&self, file: &Arc<dyn StorageFile>) {
        *self.file.lock() = Arc::downgrade(file);
    }

    /// The file, opened for reading unless somebody has it open. The answer is what keeps it open.
    pub(crate) fn file(&self, storage: &dyn Storage) -> io::Result<Arc<dyn StorageFile>> {
        let mut shared = self.file.lock();
        if let Some(file) = shared.upgrade() {
            return Ok(file);
        }
        let file = storage.open(&self.path, Access::Read)?;
        *shared = Arc::downgrade(&file);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::NO_TIME;

    fn header() -> SegmentHeader {
        SegmentHeader {
            incarnation: Incarnation(uuid::Uuid::from_u128(7)),
            partition: PartitionId(3),
            base: SequenceNumber(1000),
            previous_base: Some(SequenceNumber(10)),
            time_before: Timestamp::from_millis(-5),
            has_lost: true,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        let first = SegmentHeader { previous_base: None, time_before: NO_TIME, has_lost: false, ..header() };
        for header in [header(), first] {
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn every_changed_bit_of_a_header_is_noticed() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderProblem::Unreadable), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderProblem::OtherFormat(2)));
    }

    #[test]
    fn names_sort_as_numbers_do() {
        let name = |base| segment_path(Path::new("p"), SequenceNumber(base)).file_name().unwrap().to_owned();
        assert!(name(9) < name(10) && name(10) < name(u64::MAX));
        assert_eq!(base_of_name(name(u64::MAX).to_str().unwrap()), Some(SequenceNumber(u64::MAX)));
        for other in
            ["1.seg", "0000000000000000000x.seg", "00000000000000000000.tmp", "99999999999999999999.seg"]
        {
            assert_eq!(base_of_name(other), None, "{other}");
        }
    }
}
