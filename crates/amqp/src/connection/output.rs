//! What is to be written: bytes in order, the small ones copied together, the large ones shared.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// From this size on, a part of a payload is shared instead of copied: below it, copying costs less than the bookkeeping
/// and one more slice in the write.
pub(super) const SHARE_FROM: usize = 4096;

/// The bytes a connection wants to write, in order.
///
/// It is a [`Buf`]: write [`chunk`](Buf::chunk) or [`chunks_vectored`](Buf::chunks_vectored), then
/// [`advance`](Buf::advance) by what the transport took.
#[derive(Debug, Default)]
pub struct Output {
    /// The bytes that were copied, frame headers above all.
    copied: BytesMut,
    /// Payloads that lie between them.
    shared: VecDeque<Shared>,
    /// How many copied bytes were taken so far: positions in `copied` never change their names.
    taken: u64,
    /// All bytes: copied and shared.
    remaining: usize,
    /// Something was taken since this was asked for.
    moved: bool,
}

#[derive(Debug)]
struct Shared {
    /// How many copied bytes come before it, counted from the start of the connection.
    after: u64,
    bytes: Bytes,
}

impl Output {
    /// How many bytes wait to be written.
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
        self.remaining += bytes.len();
    }

    pub(super) fn share(&mut self, bytes: Bytes) {
        self.remaining += bytes.len();
        self.shared.push_back(Shared { after: self.taken + self.copied.len() as u64, bytes });
    }

    /// Lets `write` append to the copied bytes. It may take away what it has appended, and nothing else.
    pub(super) fn write<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.copied.len();
        let result = write(&mut self.copied);
        self.remaining += self.copied.len() - before;
        result
    }

    /// Whether something was taken since this was called before.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self) {
        self.taken += self.copied.len() as u64;
        self.copied = BytesMut::new();
        self.shared = VecDeque::new();
        self.remaining = 0;
    }

    /// Gives back memory that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.copied.capacity() > 0 {
            self.copied = BytesMut::new();
            self.shared = VecDeque::new();
        }
    }

    /// How many copied bytes come before the next shared part.
    fn copied_first(&self) -> usize {
        match self.shared.front() {
            Some(next) => (next.after - self.taken) as usize,
            None => self.copied.len(),
        }
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match (self.copied_first(), self.shared.front()) {
            (0, Some(next)) => &next.bytes,
            (copied, _) => &self.copied[..copied],
        }
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut from = 0;
        let mut push = |slice: &'a [u8]| {
            if slice.is_empty() {
                return true;
            }
            match into.get_mut(filled) {
                Some(free) => {
                    *free = IoSlice::new(slice);
                    filled += 1;
                    true
                }
                None => false,
            }
        };
        for part in &self.shared {
            let to = (part.after - self.taken) as usize;
            if !push(&self.copied[from..to]) || !push(&part.bytes) {
                return filled;
            }
            from = to;
        }
        push(&self.copied[from..]);
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end of the output");
        self.remaining -= count;
        self.moved |= count > 0;
        while count > 0 {
            let copied = self.copied_first();
            if copied > 0 {
                let step = copied.min(count);
                self.copied.advance(step);
                self.taken += step as u64;
                count -= step;
            } else if let Some(next) = self.shared.front_mut() {
                let step = next.bytes.len().min(count);
                next.bytes.advance(step);
                count -= step;
                if next.bytes.is_empty() {
                    self.shared.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Output {
        let mut output = Output::default();
        output.copy(b"ab");
        output.share(Bytes::from_static(b"CDE"));
        output.share(Bytes::from_static(b"F"));
        output.copy(b"gh");
        output.copy(b"i");
        output
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_steps() {
        for step in 1..=9 {
            let mut output = sample();
            let mut written = Vec::new();
            while output.has_remaining() {
                let chunk = output.chunk();
                let taken = chunk.len().min(step);
                written.extend_from_slice(&chunk[..taken]);
                output.advance(taken);
            }
            assert_eq!(written, b"abCDEFghi");
        }
    }

    #[test]
    fn slices_are_in_order_and_stop_where_there_is_no_room() {
        let mut output = sample();
        output.advance(1);
        for room in 0..6 {
            let mut slices = vec![IoSlice::new(&[]); room];
            let filled = output.chunks_vectored(&mut slices);
            assert_eq!(filled, room.min(4));
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(b"bCDEFghi".starts_with(&bytes), "{bytes:?}");
        }
        output.advance(output.len());
        assert!(output.is_empty());
        assert!(output.chunk().is_empty());
    }

    #[test]
    fn an_advance_may_cross_every_border() {
        let mut output = sample();
        output.advance(7);
        assert_eq!(output.chunk(), b"hi");
        output.copy(b"jk");
        assert_eq!(output.len(), 4);
        output.advance(4);
        output.share(Bytes::from_static(b"L"));
        assert_eq!(output.chunk(), b"L");
    }
}
