//! Events as a log gives them to whoever only passes them on: not built one by one, but seen in place.

use std::ops::Range;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::event::{Event, Properties};
use crate::position::{Offset, SequenceNumber};

/// What [`EventLog::read_batch`](super::EventLog::read_batch) returns: events in order, seen through [`EventView`]s that
/// point into a few large pieces of bytes. It costs no allocation and no reference count per event, but keeps the pieces in
/// memory as long as it lives.
#[derive(Clone, Debug)]
pub struct EventBatch {
    pieces: Vec<Bytes>,
    /// Each with the number of its piece.
    places: Vec<(u32, EventPlace)>,
    bytes: usize,
    next: SequenceNumber,
    ends: PartitionEnds,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionEnds {
    /// The oldest kept event.
    pub head: SequenceNumber,
    /// The number the next event will get.
    pub tail: SequenceNumber,
    /// When the last event came; `None` when there never was one.
    pub last_enqueued_at: Option<Timestamp>,
}

impl PartitionEnds {
    /// The last event that came, also when it has been dropped since; `None` when there never was one.
    pub fn last(&self) -> Option<SequenceNumber> {
        self.tail.previous()
    }

    /// The offset of the last event that came.
    pub fn last_offset(&self) -> Option<Offset> {
        self.last().map(Offset::of)
    }

    /// True when no event is kept.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }
}

/// Where in the newest piece of a batch an event is.
#[derive(Clone, Debug)]
pub struct EventPlace {
    /// Its place in the partition.
    pub sequence_number: SequenceNumber,
    /// When the log took it.
    pub enqueued_at: Timestamp,
    /// Its key, UTF-8.
    pub partition_key: Option<Range<u32>>,
    /// Its message as the producer encoded it.
    pub message: Option<Range<u32>>,
    /// Its body; inside the message when there is one.
    pub body: Range<u32>,
    /// Its properties, and its system properties; not looked at when there is a message, which has them in it.
    pub properties: (Properties, Properties),
}

impl EventPlace {
    /// An event with nothing but a body.
    pub fn new(sequence_number: SequenceNumber, enqueued_at: Timestamp, body: Range<u32>) -> Self {
        Self {
            sequence_number,
            enqueued_at,
            partition_key: None,
            message: None,
            body,
            properties: (Properties::NONE, Properties::NONE),
        }
    }
}

/// An event of a batch, seen in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventView<'b> {
    /// Its place in the partition.
    pub sequence_number: SequenceNumber,
    /// When the log took it.
    pub enqueued_at: Timestamp,
    /// Its key, UTF-8.
    pub partition_key: Option<&'b [u8]>,
    /// Its message as the producer encoded it, when it came over AMQP. All of the event but the key is in it.
    pub message: Option<&'b [u8]>,
    /// Its body.
    pub body: &'b [u8],
    /// Its properties; empty when there is a message.
    pub properties: &'b Properties,
    /// Its system properties; empty when there is a message.
    pub system_properties: &'b Properties,
}

impl EventView<'_> {
    /// The place in the partition as clients name it.
    pub fn offset(&self) -> Offset {
        Offset::of(self.sequence_number)
    }
}

impl EventBatch {
    /// No events. Reading goes on at `next`.
    pub fn new(next: SequenceNumber, ends: PartitionEnds) -> Self {
        Self { pieces: Vec::new(), places: Vec::new(), bytes: 0, next, ends }
    }

    /// A batch of events that were built already, copied.
    pub fn copy_of(events: &[Event], from: SequenceNumber, ends: PartitionEnds) -> Self {
        let mut batch = Self::new(from, ends);
        for event in events {
            let data = &event.data;
            let mut piece = Vec::with_capacity(data.held_bytes());
            let mut put = |bytes: &[u8]| {
                let start = piece.len();
                piece.extend_from_slice(bytes);
                place(start)..place(piece.len())
            };
            let partition_key = data.partition_key.as_ref().map(|key| put(key.as_bytes()));
            let message = data.message().map(|message| (put(message.bytes()), message.body_range()));
            let described = match message {
                Some(_) => (Properties::NONE, Properties::NONE),
                None => (data.properties.clone(), data.system_properties.clone()),
            };
            let body = match &message {
                Some((range, body)) => range.start + place(body.start)..range.start + place(body.end),
                None => put(&data.body),
            };
            batch.begin_piece(Bytes::from(piece));
            batch.push(EventPlace {
                partition_key,
                message: message.map(|(range, _)| range),
                properties: described,
                ..EventPlace::new(event.sequence_number, event.enqueued_at, body)
            });
        }
        batch
    }

    /// Events pushed from now on are in `piece`.
    pub fn begin_piece(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }

    /// Adds an event of the newest piece. Every range of its place must lie inside it. Returns what it counts for.
    ///
    /// # Panics
    /// There is no piece.
    #[inline]
    pub fn push(&mut self, place: EventPlace) -> usize {
        let piece = u32::try_from(self.pieces.len() - 1).expect("a batch has few pieces");
        let content = place.message.as_ref().unwrap_or(&place.body);
        let key = place.partition_key.as_ref().map_or(0, Range::len);
        let size = content.len() + key + place.properties.0.size() + place.properties.1.size();
        self.bytes += size;
        self.next = place.sequence_number.next();
        self.places.push((piece, place));
        size
    }

    /// Makes room for more events.
    pub fn reserve(&mut self, events: usize) {
        self.places.reserve(events);
    }

    /// Notes that there is nothing to read before `next`: lost numbers lie between.
    pub fn go_on_at(&mut self, next: SequenceNumber) {
        self.next = self.next.max(next);
    }

    /// Where the next read begins: behind the last event, and behind lost numbers that follow it.
    pub fn next(&self) -> SequenceNumber {
        self.next
    }

    /// Where the partition began and ended when this was read.
    pub fn ends(&self) -> PartitionEnds {
        self.ends
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What the events count for: keys, and messages, or bodies and properties.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The event at `index`, from 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<EventView<'_>> {
        self.places.get(index).map(|(piece, place)| self.view(*piece, place))
    }

    /// The events, in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventView<'_>> {
        self.places.iter().map(|(piece, place)| self.view(*piece, place))
    }

    #[inline]
    fn view<'b>(&'b self, piece: u32, place: &'b EventPlace) -> EventView<'b> {
        let piece = &self.pieces[piece as usize];
        let at = |range: &Range<u32>| &piece[range.start as usize..range.end as usize];
        EventView {
            sequence_number: place.sequence_number,
            enqueued_at: place.enqueued_at,
            partition_key: place.partition_key.as_ref().map(at),
            message: place.message.as_ref().map(at),
            body: at(&place.body),
            properties: &place.properties.0,
            system_properties: &place.properties.1,
        }
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("an event is much smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_tells_its_last_event_though_it_is_gone() {
        let ends = |head, tail| PartitionEnds {
            head: SequenceNumber(head),
            tail: SequenceNumber(tail),
            last_enqueued_at: None,
        };
        assert_eq!((ends(0, 0).last(), ends(0, 0).is_empty()), (None, true));
        assert_eq!((ends(7, 7).last(), ends(7, 7).is_empty()), (Some(SequenceNumber(6)), true));
        assert_eq!(
            (ends(3, 7).last_offset(), ends(3, 7).is_empty()),
            (Some(Offset::of(SequenceNumber(6))), false)
        );
    }
}
