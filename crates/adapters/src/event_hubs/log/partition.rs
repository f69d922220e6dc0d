//! What is known of a partition.

use std::sync::Arc;

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
    /// Those who read ahead in it.
    pub(super) feeds: Mutex<Vec<Arc<Feed>>>,
}

struct Known {
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
            head: info.head,
            last_enqueued_at: info.last_enqueued_at,
            tail: Some(watch::Sender::new(info.tail)),
        };
        Self { known: Mutex::new(known), feeds: Mutex::default() }
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

    /// The hub is gone, or nobody reads it any more.
    pub(super) fn close(&self) {
        self.known.lock().tail = None;
        for feed in self.feeds.lock().drain(..) {
            feed.close();
        }
    }
}
