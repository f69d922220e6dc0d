//! Splitting a stream of bytes into lines.

/// Finds the lines of a text that arrives in pieces of any size. A line ends with LF or CR LF, or at the end of the text;
/// its end is not part of it. Other bytes are left as they are.
pub(super) struct LineSplitter {
    limit: usize,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// True when `partial` holds a line that was handed out and is to be cleared.
    handed_out: bool,
}

/// A line is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineTooLong;

impl LineSplitter {
    /// Lines may be `limit` bytes long.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), handed_out: false }
    }

    /// The next line that ends within `input`, and how many bytes of the input it took, its end included; the next call
    /// must be given the rest. `None` when no line ends there: all of it has been taken in.
    pub(super) fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LineTooLong> {
        self.forget_handed_out();
        let Some(end) = memchr::memchr(b'\n', input) else {
            self.extend_partial(input)?;
            return Ok(None);
        };
        let head = &input[..end];
        let line = if self.partial.is_empty() {
            head
        } else {
            self.extend_partial(head)?;
            self.handed_out = true;
            &self.partial
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.limit { Err(LineTooLong) } else { Ok(Some((line, end + 1))) }
    }

    /// The last line, if the text does not end with a line end.
    pub(super) fn last(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        self.forget_handed_out();
        match self.partial.len() {
            0 => Ok(None),
            length if length > self.limit => Err(LineTooLong),
            _ => Ok(Some(&self.partial)),
        }
    }

    fn forget_handed_out(&mut self) {
        if std::mem::take(&mut self.handed_out) {
            self.partial.clear();
        }
    }

    fn extend_partial(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        // One more than the limit: it may be the CR of the line's end.
        if self.partial.len() + bytes.len() > self.limit + 1 {
            return Err(LineTooLong);
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(pieces: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut splitter = LineSplitter::new(limit);
        let mut lines = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some((line, taken)) = splitter.next(rest)? {
                lines.push(line.to_vec());
                rest = &rest[taken..];
            }
        }
        lines.extend(splitter.last()?.map(<[u8]>::to_vec));
        Ok(lines)
    }

    #[test]
    fn line_ends_are_taken_off_and_nothing_else() {
        assert_eq!(
            lines_of(&[b"a\nb\r\n\n\r\n c \r\r\nd"], 9).unwrap(),
            [&b"a"[..], b"b", b"", b"", b" c \r", b"d"]
        );
        assert_eq!(lines_of(&[b"a\n"], 9).unwrap(), [b"a"]);
        assert_eq!(lines_of(&[b"a\r"], 9).unwrap(), [b"a\r"], "half a line end belongs to the line");
        assert_eq!(lines_of(&[b""], 9).unwrap(), [b""; 0]);
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        for text in [&b"12345\n"[..], b"12345\r\n", b"12345"] {
            for at in 0..=text.len() {
                assert!(lines_of(&[&text[..at], &text[at..]], 5).is_ok(), "{text:?} cut at {at}");
                assert_eq!(
                    lines_of(&[&text[..at], &text[at..]], 4),
                    Err(LineTooLong),
                    "{text:?} cut at {at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_text_arrives(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..100),
            cuts in proptest::collection::vec(0_usize..100, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines_of(&pieces, 1000), lines_of(&[&text], 1000));
        }
    }
}
