//! Reads lines from a file or standard input, plain or gzip, a bounded batch at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use tidegate_model::error::ErrorCode;
use tidegate_model::event::MAX_EVENT_BYTES;

use crate::failure::Failure;

/// How much is read from the file at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// The first bytes of gzip data.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Lines of an input.
pub(crate) struct Lines {
    name: String,
    input: Box<dyn BufRead + Send>,
    /// The line being looked at, from 1.
    line: u64,
    /// A line that was read and did not fit into the batch before.
    held: Vec<u8>,
    /// What ended the reading, told after the lines before it were handed out.
    deferred: Option<Failure>,
    total_bytes: Option<u64>,
}

/// Whole lines, each with its line end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The lines.
    pub(crate) bytes: Vec<u8>,
    /// How many there are, empty ones included; 0 at the end of the input.
    pub(crate) lines: u64,
}

impl Lines {
    /// Opens a file; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Self::over("standard input".to_owned(), Box::new(io::stdin()), None);
        }
        let name = path.display().to_string();
        let cannot = |error: io::Error| {
            Failure::usage(ErrorCode::BAD_REQUEST, format!("cannot read {name}: {error}"))
                .help("name a file with one event a line, plain or gzip, or `-` for standard input")
        };
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(cannot(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Self::over(name, Box::new(file), metadata.is_file().then_some(metadata.len()))
    }

    fn over(name: String, input: Box<dyn Read + Send>, size: Option<u64>) -> Result<Self, Failure> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let first = input.fill_buf().map_err(|error| unreadable(&name, 1, &error))?;
        if first.starts_with(&GZIP_MAGIC) {
            let input = Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(input)));
            return Ok(Self { name, input, line: 1, held: Vec::new(), deferred: None, total_bytes: None });
        }
        Ok(Self {
            name,
            input: Box::new(input),
            line: 1,
            held: Vec::new(),
            deferred: None,
            total_bytes: size,
        })
    }

    /// The size of all lines together, if it is known.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Leaves out `count` lines; returns how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64, Failure> {
        let mut skipped = 0;
        while skipped < count && self.next_line()? {
            self.held.clear();
            skipped += 1;
        }
        Ok(skipped)
    }

    /// The next lines: at most `most_lines`, and at most `most_bytes` unless a single line is larger.
    pub(crate) fn next_batch(&mut self, most_bytes: usize, most_lines: u64) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        if let Some(failure) = self.deferred.take() {
            return Err(failure);
        }
        while batch.lines < most_lines {
            if self.held.is_empty() {
                match self.next_line() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(failure) if batch.lines == 0 => return Err(failure),
                    Err(failure) => {
                        self.deferred = Some(failure);
                        break;
                    }
                }
            }
            if batch.lines > 0 && batch.bytes.len() + self.held.len() > most_bytes {
                break;
            }
            batch.bytes.append(&mut self.held);
            batch.lines += 1;
        }
        Ok(batch)
    }

    /// Reads a line into `held`; false at the end of the input.
    fn next_line(&mut self) -> Result<bool, Failure> {
        let line = self.read_line();
        if line.is_err() {
            self.held.clear();
        }
        line
    }

    fn read_line(&mut self) -> Result<bool, Failure> {
        let limit = MAX_EVENT_BYTES as u64 + 2;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.held);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.held.last() != Some(&b'\n') && self.held.len() as u64 == limit => {
                let message = format!(
                    "line {} of {} is longer than {MAX_EVENT_BYTES} bytes, the limit of an event",
                    self.line, self.name
                );
                Err(Failure::new(ErrorCode::TOO_LARGE, message).help("leave the line out or make it shorter"))
            }
            Ok(_) => {
                // A last line without an end gets one, so that it is a line wherever it goes.
                if self.held.last() != Some(&b'\n') {
                    self.held.push(b'\n');
                }
                self.line += 1;
                Ok(true)
            }
            Err(error) => Err(unreadable(&self.name, self.line, &error)),
        }
    }
}

fn unreadable(name: &str, line: u64, error: &io::Error) -> Failure {
    Failure::new(ErrorCode::BAD_REQUEST, format!("cannot read {name} at line {line}: {error}"))
        .help("repair the file and send the rest")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lines(bytes: &[u8]) -> Lines {
        Lines::over("test".to_owned(), Box::new(io::Cursor::new(bytes.to_vec())), None).unwrap()
    }

    fn batches(mut lines: Lines, most_bytes: usize, most_lines: u64) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        loop {
            let batch = lines.next_batch(most_bytes, most_lines).unwrap();
            if batch.lines == 0 {
                return all;
            }
            all.push((String::from_utf8(batch.bytes).unwrap(), batch.lines));
        }
    }

    fn expected(batches: &[(&str, u64)]) -> Vec<(String, u64)> {
        batches.iter().map(|(text, count)| ((*text).to_owned(), *count)).collect()
    }

    #[test]
    fn batches_have_whole_lines_and_keep_to_their_limits() {
        let text = b"one\ntwo\n\nthree four five\nsix";
        assert_eq!(
            batches(lines(text), 9, u64::MAX),
            expected(&[("one\ntwo\n\n", 3), ("three four five\n", 1), ("six\n", 1)])
        );
        assert_eq!(
            batches(lines(text), 1000, 2),
            expected(&[("one\ntwo\n", 2), ("\nthree four five\n", 2), ("six\n", 1)])
        );
        assert_eq!(batches(lines(b""), 10, 10), []);
    }

    #[test]
    fn lines_can_be_left_out() {
        let mut some = lines(b"one\ntwo\nthree\n");
        assert_eq!(some.skip(2).unwrap(), 2);
        assert_eq!(batches(some, 100, 100), expected(&[("three\n", 1)]));
        assert_eq!(lines(b"one\n").skip(5).unwrap(), 1);
    }

    #[test]
    fn gzip_is_recognised_by_its_bytes_and_may_have_several_members() {
        let packed = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let both = [packed("one\n"), packed("two\n")].concat();
        assert_eq!(batches(lines(&both), 100, 100), expected(&[("one\ntwo\n", 2)]));

        let mut cut = lines(&both[..both.len() - 12]);
        assert_eq!(cut.next_batch(100, 100).unwrap(), Batch { bytes: b"one\n".to_vec(), lines: 1 });
        let failure = cut.next_batch(100, 100).unwrap_err();
        assert!(failure.to_string().contains("cannot read test at line 2"), "{failure}");
    }

    #[test]
    fn a_line_longer_than_an_event_is_named() {
        let mut text = b"one\n".to_vec();
        text.extend(vec![b'x'; MAX_EVENT_BYTES + 10]);
        let mut long = lines(&text);
        assert_eq!(long.next_batch(usize::MAX, u64::MAX).unwrap().lines, 1);
        let failure = long.next_batch(usize::MAX, u64::MAX).unwrap_err();
        assert_eq!(failure.code(), Some(ErrorCode::TOO_LARGE));
        assert!(failure.to_string().contains("line 2 of test"), "{failure}");
    }
}
