//! What is known of a partition.

use std::collections::VecDeque;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::Mutex;
use tidegate_messages::PartitionEnd;
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::PartitionEnds;
use tidegate_model::position::SequenceNumber;
use tokio::sync::watch;

use super::Buffered;
use super::feed::Feed;
use crate::event_hubs::client::PartitionInfo;

/// A partition of a remote hub.
pub(super) struct Partition {
    known: Mutex<Known>,
    /// Why it is not read here: somebody else does. `None` while it may be.
    taken: Mutex<Option<String>>,
    /// Which other reader of the group has it, as far as that is known.
    reader: Mutex<Option<String>>,
    /// Those who read ahead in it.
    pub(super) feeds: Mutex<Vec<Arc<Feed>>>,
}

/// How many offsets of a partition are kept.
const MAX_OFFSETS: usize = 4096;

struct Known {
    /// Offsets of events that were received, ascending: of all of the newest ones, and of ever fewer of the older ones.
    offsets: VecDeque<(SequenceNumber, ByteString)>,
    head: SequenceNumber,
    last_enqueued_at: Option<Timestamp>,
    /// `None` when the hub is gone.
    tail: Option<watch::Sender<SequenceNumber>>,
}

impl Known {
    /// Moves the tail forward.
    fn reaches(&mut self, tail: SequenceNumber, enqueued_at: Option<Timestamp>) {
        let Some(known) = &self.tail else { return };
        let moved = known.send_if_modified(|known| {
            let further = tail > *known;
            *known = tail.max(*known);
            further
        });
        if moved {
            self.last_enqueued_at = self.last_enqueued_at.max(enqueued_at);
        }
    }
}

impl Partition {
    pub(super) fn new(info: PartitionInfo) -> Self {
        let known = Known {
            offsets: VecDeque::new(),
            head: info.head,
            last_enqueued_at: info.last_enqueued_at,
            tail: Some(watch::Sender::new(info.tail)),
        };
        Self {
            known: Mutex::new(known),
            taken: Mutex::default(),
            reader: Mutex::default(),
            feeds: Mutex::default(),
        }
    }

    /// Why it is not read here, if it is not.
    pub(super) fn taken(&self) -> Option<String> {
        self.taken.lock().clone()
    }

    /// Somebody else reads it from now on. Those who read here are told with their next read.
    pub(super) fn take_away(&self, why: String) {
        let mut feeds = self.feeds.lock();
        *self.taken.lock() = Some(why);
        feeds.drain(..).for_each(|feed| feed.close());
    }

    /// It may be read here from now on.
    pub(super) fn give_back(&self) {
        *self.taken.lock() = None;
        *self.reader.lock() = None;
    }

    /// Notes which other reader of the group has it.
    pub(super) fn set_reader(&self, reader: Option<String>) {
        *self.reader.lock() = reader;
    }

    /// Which other reader of the group has it, as far as that is known.
    pub(super) fn reader(&self) -> Option<String> {
        self.reader.lock().clone()
    }

    /// Where it begins and ends; `None` when the hub is gone.
    pub(super) fn ends(&self) -> Option<PartitionEnds> {
        let known = self.known.lock();
        let tail = *known.tail.as_ref()?.borrow();
        // What the hub said of the two may be of different times.
        let head = known.head.min(tail);
        Some(PartitionEnds { head, tail, last_enqueued_at: known.last_enqueued_at })
    }

    /// The tail, to be waited for.
    pub(super) fn watch(&self) -> Option<watch::Receiver<SequenceNumber>> {
        self.known.lock().tail.as_ref().map(watch::Sender::subscribe)
    }

    /// Whether somebody waits for the tail.
    pub(super) fn is_waited_for(&self) -> bool {
        self.known.lock().tail.as_ref().is_some_and(|tail| tail.receiver_count() > 0)
    }

    /// Whether somebody waits for the tail, and nobody reads ahead, so that its moves would not be seen.
    pub(super) fn is_waited_for_in_vain(&self) -> bool {
        self.is_waited_for() && self.feeds.lock().is_empty()
    }

    /// How many bytes are held for readers, and how many of them were not read.
    pub(super) fn held(&self) -> Buffered {
        self.feeds.lock().iter().map(|feed| feed.held()).fold(Buffered::default(), |all, one| Buffered {
            bytes: all.bytes + one.bytes,
            unread_bytes: all.unread_bytes + one.unread_bytes,
            readers: all.readers + 1,
        })
    }

    /// Takes what the hub says of it.
    pub(super) fn learn(&self, info: &PartitionInfo) {
        let mut known = self.known.lock();
        known.head = known.head.max(info.head);
        known.reaches(info.tail, info.last_enqueued_at);
    }

    /// Takes what an event says: where it is, and where the partition ended when it was delivered.
    pub(super) fn saw(&self, number: SequenceNumber, enqueued_at: Timestamp, end: Option<PartitionEnd>) {
        let mut known = self.known.lock();
        known.reaches(number.next(), Some(enqueued_at));
        if let Some(end) = end {
            known.reaches(end.last.next(), Some(end.enqueued_at));
        }
    }

    /// Keeps the offset of an event that was received.
    pub(super) fn keep_offset(&self, number: SequenceNumber, offset: ByteString) {
        let offsets = &mut self.known.lock().offsets;
        // A reader that went back brings them again.
        if offsets.back().is_some_and(|(last, _)| *last >= number) {
            return;
        }
        if offsets.len() >= MAX_OFFSETS {
            let mut place = 0;
            offsets.retain(|_| {
                place += 1;
                place % 2 == 1 || place > MAX_OFFSETS / 2
            });
        }
        offsets.push_back((number, offset));
    }

    /// Drops the offsets of events before this one: nobody will ask for them.
    pub(super) fn forget_offsets_before(&self, number: SequenceNumber) {
        let offsets = &mut self.known.lock().offsets;
        let gone = offsets.partition_point(|(kept, _)| *kept < number);
        offsets.drain(..gone);
    }

    /// The offset of an event, or of the nearest one before it that is known.
    pub(super) fn offset_at(&self, number: SequenceNumber) -> Option<(SequenceNumber, String)> {
        let known = self.known.lock();
        let behind = known.offsets.partition_point(|(kept, _)| *kept <= number);
        let (number, offset) = known.offsets.get(behind.checked_sub(1)?)?;
        Some((*number, offset.to_string()))
    }

    /// The hub is gone, or nobody reads it any more.
    pub(super) fn close(&self) {
        self.known.lock().tail = None;
        for feed in self.feeds.lock().drain(..) {
            feed.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_kept_in_bounds_the_newest_best() {
        let nothing = SequenceNumber::ZERO;
        let info = PartitionInfo { head: nothing, tail: nothing, last_offset: None, last_enqueued_at: None };
        let partition = Partition::new(info);
        assert_eq!(partition.offset_at(SequenceNumber(5)), None);
        for number in 10..100_000 {
            partition.keep_offset(SequenceNumber(number), format!("o{number}").into());
        }
        partition.keep_offset(SequenceNumber(7), "again".into());
        assert!(partition.known.lock().offsets.len() <= MAX_OFFSETS);
        assert_eq!(partition.offset_at(SequenceNumber(5)), None);
        for number in 99_000..100_000 {
            let expected = Some((SequenceNumber(number), format!("o{number}")));
            assert_eq!(partition.offset_at(SequenceNumber(number)), expected);
        }
        let (before, _) = partition.offset_at(SequenceNumber(50_000)).expect("one before it");
        assert!(before <= SequenceNumber(50_000), "{before}");
        partition.forget_offsets_before(SequenceNumber(99_990));
        assert_eq!(partition.offset_at(SequenceNumber(99_989)), None);
        assert_eq!(partition.known.lock().offsets.len(), 10);
    }
}
