//! The files: each has lines up to its size, and all together are bounded.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What the names of segments end with. Before it is a number that grows.
const SUFFIX: &str = ".ndjson";

/// The sizes a segment may have, in bytes. A search reads one at a time.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=8 << 20;

/// A place in the lines: everything before it is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The segment.
    pub(super) segment: u64,
    /// The beginning of a line in it.
    pub(super) offset: u64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.segment, self.offset)
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (segment, offset) = text.split_once('-').ok_or(())?;
        Ok(Self { segment: segment.parse().map_err(|_| ())?, offset: offset.parse().map_err(|_| ())? })
    }
}

/// The segments of a directory as they are written.
pub(super) struct Segments {
    dir: PathBuf,
    keep: u64,
    segment_bytes: u64,
    /// The number of the newest.
    newest: u64,
    /// The file that is written, and how long it is; `None` when the next line begins a new one.
    open: Option<(File, u64)>,
}

impl Segments {
    /// Those in `dir`, which is made if it is not there. New lines begin a new segment: the last line of another life may be
    /// torn.
    pub(super) fn open(dir: &Path, keep: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let newest = numbers_in(dir)?.last().copied().unwrap_or(0);
        let segment_bytes = (keep / 16).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        let segments = Self { dir: dir.to_owned(), keep, segment_bytes, newest, open: None };
        segments.drop_oldest()?;
        Ok(segments)
    }

    /// Writes lines. After an error some of them may be there, and the next ones begin a new segment.
    pub(super) fn write<'l>(&mut self, lines: impl Iterator<Item = &'l str>) -> io::Result<()> {
        let mut buffer = Vec::new();
        for line in lines {
            buffer.extend_from_slice(line.as_bytes());
            buffer.push(b'\n');
            if buffer.len() as u64 >= self.segment_bytes / 4 {
                self.append(&buffer)?;
                buffer.clear();
            }
        }
        if buffer.is_empty() { Ok(()) } else { self.append(&buffer) }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut file, length) = match self.open.take() {
            Some(open) => open,
            None => {
                let path = path_of(&self.dir, self.newest + 1);
                let file = OpenOptions::new().append(true).create_new(true).open(path)?;
                self.newest += 1;
                (file, 0)
            }
        };
        file.write_all(bytes)?;
        let length = length + bytes.len() as u64;
        if length < self.segment_bytes {
            self.open = Some((file, length));
        }
        self.drop_oldest()
    }

    fn drop_oldest(&self) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, length)| *length > 0 && *length < self.segment_bytes / 4) {
            // It was looked at when the segment before was full.
            return Ok(());
        }
        let mut sizes = Vec::new();
        for number in numbers_in(&self.dir)? {
            let path = path_of(&self.dir, number);
            sizes.push((std::fs::metadata(&path)?.len(), path));
        }
        let mut all: u64 = sizes.iter().map(|(size, _)| size).sum();
        let spared = sizes.len().saturating_sub(1);
        for (size, path) in sizes.into_iter().take(spared) {
            // The segment that is written may yet grow to its size.
            if all + self.segment_bytes <= self.keep.max(2 * self.segment_bytes) {
                break;
            }
            std::fs::remove_file(path)?;
            all -= size;
        }
        Ok(())
    }
}

/// The numbers of the segments in a directory, ascending. What has another name is somebody else's.
pub(super) fn numbers_in(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX))
            .and_then(|stem| stem.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where a segment is.
pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}{SUFFIX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(dir: &Path) -> u64 {
        let numbers = numbers_in(dir).unwrap();
        numbers.iter().map(|number| std::fs::metadata(path_of(dir, *number)).unwrap().len()).sum()
    }

    #[test]
    fn the_oldest_segments_go_when_there_are_too_many_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let keep = 1 << 20;
        let mut segments = Segments::open(dir.path(), keep).unwrap();
        let line = "x".repeat(1000);
        for _ in 0..40 {
            segments.write(std::iter::repeat_n(line.as_str(), 100)).unwrap();
            assert!(size(dir.path()) <= keep, "{}", size(dir.path()));
        }
        let numbers = numbers_in(dir.path()).unwrap();
        assert!(numbers[0] > 1 && numbers.len() > 4, "{numbers:?}");
        assert!(size(dir.path()) > keep / 2, "not more than necessary goes");

        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        let smaller = Segments::open(dir.path(), 256 << 10).unwrap();
        assert!(size(dir.path()) <= 256 << 10 && dir.path().join("notes.txt").exists());
        assert_eq!(smaller.newest, *numbers.last().unwrap());
    }

    #[test]
    fn another_life_begins_another_segment() {
        let dir = tempfile::tempdir().unwrap();
        for life in 1..=3 {
            let mut segments = Segments::open(dir.path(), 1 << 20).unwrap();
            segments.write(["a line", "another"].into_iter()).unwrap();
            segments.write(["more"].into_iter()).unwrap();
            assert_eq!(numbers_in(dir.path()).unwrap().len(), life);
        }
    }

    #[test]
    fn a_cursor_is_written_and_read() {
        let cursor = Cursor { segment: 7, offset: 99 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert!("7".parse::<Cursor>().is_err() && "7-x".parse::<Cursor>().is_err());
    }
}
