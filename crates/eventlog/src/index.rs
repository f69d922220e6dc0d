//! Where in a segment an event is: a few places to begin looking, kept in memory.

use tidegate_model::clock::Timestamp;
use tidegate_model::position::SequenceNumber;

use crate::frame::Cursor;

/// How many bytes lie between two entries at least. A reader that begins anywhere reads past at most this much (or one
/// larger frame), which is less than it reads at once anyway; a full 64 MiB segment has 512 entries, 20 KiB.
const SPACING: u64 = 128 * 1024;

/// A sparse index of the frames of one segment, from its beginning up to a frontier. Readers move the frontier as they
/// go, so a segment that nobody reads costs nothing, and one that is read in order is never read twice.
pub(crate) struct Index {
    /// Ascending; the first is the beginning of the segment.
    entries: Vec<Cursor>,
    frontier: Cursor,
}

impl Index {
    /// An index that knows only where the segment begins.
    pub(crate) fn new(first: Cursor) -> Self {
        Self { entries: vec![first], frontier: first }
    }

    /// Up to where in the file places are known.
    pub(crate) fn frontier(&self) -> u64 {
        self.frontier.position
    }

    /// Notes the place behind a checked frame. Places up to the frontier are known already.
    pub(crate) fn note(&mut self, cursor: Cursor) {
        if cursor.position <= self.frontier.position {
            return;
        }
        self.frontier = cursor;
        if self.entries.last().is_none_or(|last| cursor.position - last.position >= SPACING) {
            self.entries.push(cursor);
        }
    }

    /// A place from which the event `number` can be reached by going forward. `number` is not before the segment.
    pub(crate) fn before_number(&self, number: SequenceNumber) -> Cursor {
        if self.frontier.next <= number {
            return self.frontier;
        }
        self.entries[self.entries.partition_point(|entry| entry.next <= number).saturating_sub(1)]
    }

    /// A place with only events before it that were enqueued before `time`.
    pub(crate) fn before_time(&self, time: Timestamp) -> Cursor {
        if self.frontier.time < time {
            return self.frontier;
        }
        self.entries[self.entries.partition_point(|entry| entry.time < time).saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames of the given lengths, one event and one millisecond each.
    fn cursors(lengths: &[u64]) -> Vec<Cursor> {
        let mut position = 4096;
        (0..)
            .zip(std::iter::once(&0).chain(lengths))
            .map(|(number, length)| {
                position += length;
                let time = Timestamp::from_millis(i64::try_from(number).unwrap());
                Cursor { position, next: SequenceNumber(number), previous: 0, time }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_place_is_near_and_never_too_far(
            lengths in prop::collection::vec(8_u64..100_000, 1..200),
            wanted in any::<prop::sample::Index>(),
        ) {
            let cursors = cursors(&lengths);
            let mut index = Index::new(cursors[0]);
            for cursor in &cursors[1..] {
                index.note(*cursor);
                index.note(cursors[0]);
            }
            let wanted = cursors[wanted.index(cursors.len())];
            let found = index.before_number(wanted.next);
            prop_assert!(found.next <= wanted.next);
            prop_assert!(wanted.position - found.position < SPACING + 100_000);
            // The event `wanted.next` was enqueued one millisecond after the place before it.
            let time = wanted.time.plus(std::time::Duration::from_millis(1));
            let found = index.before_time(time);
            prop_assert!(found.next <= wanted.next);
            prop_assert!(wanted.position - found.position < SPACING + 100_000);
        }
    }
}
