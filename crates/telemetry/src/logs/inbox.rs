//! Lines on their way to the thread that writes them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use crate::flow::Show;

/// How many bytes of lines may wait. What comes when it is full is dropped and counted.
const MOST_BYTES: usize = 4 << 20;

/// Takes lines, also before there is a place for them. A clone is the same inbox.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    /// Lines that were dropped since the writer was told of it, and ever.
    dropped: u64,
    dropped_ever: u64,
    /// How many lines were taken in, and how many of them the writer is done with.
    taken_in: u64,
    written: u64,
    /// Which writer is in charge: a number that grows.
    writer: u64,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Collector for Inbox {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Log lines that were not kept because too many came at once";
        Show(&mut encoder).counter("tidegate_dropped_log_lines", help, self.lost())
    }
}

/// What a writer is given.
pub(super) struct Taken {
    pub(super) lines: VecDeque<String>,
    /// How many were dropped before them.
    pub(super) dropped: u64,
}

impl Inbox {
    /// Puts a line in, unless there is no room for it.
    pub fn put(&self, line: String) {
        let mut state = self.0.state.lock();
        if state.bytes + line.len() > MOST_BYTES {
            state.dropped += 1;
            state.dropped_ever += 1;
            return;
        }
        state.bytes += line.len();
        state.taken_in += 1;
        let was_empty = state.lines.is_empty();
        state.lines.push_back(line);
        drop(state);
        if was_empty {
            self.0.changed.notify_all();
        }
    }

    /// How many lines were dropped since the program started.
    pub fn lost(&self) -> u64 {
        self.0.state.lock().dropped_ever
    }

    /// Shows how many were dropped in a scrape.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Puts a new writer in charge; the one before is told to end.
    pub(super) fn new_writer(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.writer += 1;
        let writer = state.writer;
        drop(state);
        self.0.changed.notify_all();
        writer
    }

    /// Ends a writer if it is in charge.
    pub(super) fn end_writer(&self, writer: u64) {
        let mut state = self.0.state.lock();
        if state.writer == writer {
            state.writer += 1;
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits for lines and takes all of them. `None` when the writer is not in charge any more, and nothing is left if it was
    /// the last one.
    pub(super) fn take(&self, writer: u64) -> Option<Taken> {
        let mut state = self.0.state.lock();
        while state.lines.is_empty() && state.writer == writer {
            self.0.changed.wait(&mut state);
        }
        if state.lines.is_empty() || state.writer > writer + 1 {
            return None;
        }
        state.bytes = 0;
        let lines = std::mem::take(&mut state.lines);
        Some(Taken { lines, dropped: std::mem::take(&mut state.dropped) })
    }

    /// So many lines were written, or given up.
    pub(super) fn done(&self, lines: u64) {
        self.0.state.lock().written += lines;
        self.0.changed.notify_all();
    }

    /// Waits until everything that was put in before is written. Only while a writer is in charge.
    pub(super) fn flush(&self, writer: u64) {
        let mut state = self.0.state.lock();
        let until = state.taken_in;
        while state.written < until && state.writer == writer {
            self.0.changed.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_dropped_and_counted() {
        let inbox = Inbox::default();
        let line = "x".repeat(MOST_BYTES / 2);
        (0..5).for_each(|_| inbox.put(line.clone()));
        assert_eq!(inbox.lost(), 3);
        let writer = inbox.new_writer();
        let taken = inbox.take(writer).unwrap();
        assert_eq!((taken.lines.len(), taken.dropped), (2, 3));
        inbox.put("again".to_owned());
        assert_eq!(inbox.take(writer).unwrap().dropped, 0, "it is told once");
    }

    #[test]
    fn a_writer_that_ends_takes_what_is_left() {
        let inbox = Inbox::default();
        let writer = inbox.new_writer();
        inbox.put("last words".to_owned());
        inbox.end_writer(writer);
        assert_eq!(inbox.take(writer).unwrap().lines.len(), 1);
        assert!(inbox.take(writer).is_none());
    }
}
