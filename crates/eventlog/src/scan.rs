//! Reading a segment from front to back, as recovery and `fsck` do.

use std::io;

use tidegate_model::position::SequenceNumber;

use crate::frame::{ALIGNMENT, Cursor, FrameHeader, FrameProblem, HEADER_BYTES, MAGIC};
use crate::storage::StorageFile;

/// How much is read at once.
const WINDOW: usize = 1024 * 1024;

/// A file seen through a window that moves forward.
pub(crate) struct Window<'f> {
    file: &'f dyn StorageFile,
    file_len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'f> Window<'f> {
    pub(crate) fn new(file: &'f dyn StorageFile) -> io::Result<Self> {
        Ok(Self { file, file_len: file.len()?, start: 0, bytes: Vec::new() })
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Up to `len` bytes from `position` on; fewer only at the end of the file.
    pub(crate) fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let wanted = len.min(usize::try_from(self.file_len.saturating_sub(position)).unwrap_or(usize::MAX));
        let inside = |start: u64, held: usize| {
            let skip = usize::try_from(position.checked_sub(start)?).ok()?;
            (skip + wanted <= held).then_some(skip)
        };
        let skip = match inside(self.start, self.bytes.len()) {
            Some(skip) => skip,
            None => {
                self.bytes.clear();
                self.file.read_at(position, wanted.max(WINDOW), &mut self.bytes)?;
                self.start = position;
                0
            }
        };
        let end = self.bytes.len().min(skip + wanted);
        Ok(&self.bytes[skip.min(end)..end])
    }

    fn header(&mut self, position: u64) -> io::Result<Option<[u8; HEADER_BYTES]>> {
        Ok(self.bytes(position, HEADER_BYTES)?.try_into().ok())
    }

    /// The payload of a frame at `position`, if it is whole.
    pub(crate) fn payload(&mut self, position: u64, header: &FrameHeader) -> io::Result<Option<&[u8]>> {
        let len = header.payload_len as usize;
        let payload = self.bytes(position + HEADER_BYTES as u64, len)?;
        Ok((payload.len() == len && crc32c::crc32c(payload) == header.payload_checksum).then_some(payload))
    }

    /// The frame that begins at `cursor`, checked with its payload.
    pub(crate) fn frame(
        &mut self,
        cursor: &Cursor,
        seed: u32,
    ) -> io::Result<Result<(FrameHeader, u32), FrameProblem>> {
        let Some(header) = self.header(cursor.position)? else { return Ok(Err(FrameProblem::CutOff)) };
        let (header, checksum) = match cursor.check(&header, seed, self.file_len) {
            Ok(checked) => checked,
            Err(problem) => return Ok(Err(problem)),
        };
        Ok(match self.payload(cursor.position, &header)? {
            Some(_) => Ok((header, checksum)),
            None => Err(FrameProblem::PayloadChecksum),
        })
    }

    /// The next place at or behind `from` where a header of this segment stands whose frame begins with event
    /// `at_least` or a later one. The search looks at every aligned place, since nothing before it can be trusted.
    pub(crate) fn find_header(
        &mut self,
        from: u64,
        seed: u32,
        at_least: SequenceNumber,
    ) -> io::Result<Option<(u64, FrameHeader, u32)>> {
        let mut position = from.next_multiple_of(ALIGNMENT as u64);
        while position + HEADER_BYTES as u64 <= self.file_len {
            let window = self.bytes(position, WINDOW)?;
            let usable = window.len().saturating_sub(HEADER_BYTES - 1);
            if usable == 0 {
                break;
            }
            for at in (0..usable).step_by(ALIGNMENT) {
                if window[at..at + 4] != MAGIC {
                    continue;
                }
                let header = window[at..at + HEADER_BYTES].try_into().expect("a header's length");
                if let Ok((header, checksum)) = FrameHeader::decode(header, seed)
                    && header.first >= at_least
                {
                    return Ok(Some((position + at as u64, header, checksum)));
                }
            }
            position += usable.next_multiple_of(ALIGNMENT) as u64;
        }
        Ok(None)
    }

    /// The ranges of 4096-byte blocks behind `from` that hold something else than zeros.
    pub(crate) fn written_blocks(&mut self, from: u64) -> io::Result<Vec<(u64, u64)>> {
        const BLOCK: usize = 4096;
        static ZEROS: [u8; BLOCK] = [0; BLOCK];
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut position = from;
        while position < self.file_len {
            // Up to the next block's beginning first, then whole blocks.
            let len = BLOCK - usize::try_from(position % BLOCK as u64).expect("below 4096");
            let block = self.bytes(position, len)?;
            if block.is_empty() {
                break;
            }
            let end = position + block.len() as u64;
            if *block != ZEROS[..block.len()] {
                match ranges.last_mut() {
                    Some(last) if last.1 == position => last.1 = end,
                    _ => ranges.push((position, end)),
                }
            }
            position = end;
        }
        Ok(ranges)
    }
}

/// Why [`follow`] went no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// There is no frame that may follow.
    #[error(transparent)]
    Problem(#[from] FrameProblem),
    /// The medium does not give the bytes.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Follows the frames from `cursor` on and tells each to `visit`, with the places where it begins and ends. Returns the
/// first place that holds no frame that may follow, and why.
pub(crate) fn follow(
    window: &mut Window<'_>,
    mut cursor: Cursor,
    seed: u32,
    mut visit: impl FnMut(&Cursor, &FrameHeader, &Cursor),
) -> (Cursor, Stop) {
    loop {
        match window.frame(&cursor, seed) {
            Ok(Ok((header, checksum))) => {
                let after = cursor.after(&header, checksum);
                visit(&cursor, &header, &after);
                cursor = after;
            }
            Ok(Err(problem)) => return (cursor, problem.into()),
            Err(error) => return (cursor, error.into()),
        }
    }
}
