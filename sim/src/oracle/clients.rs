//! The promises to clients that come in by AMQP: order on a link, batches as one, and readers who miss nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_model::clock::Timestamp;
use tidegate_model::event::Event;
use tidegate_model::position::{PartitionId, SequenceNumber};

use super::sends::logged;
use super::{LoggedEvent, Oracle, Seen};

/// How long a server may take to drive a reader out. It needs no time for it, but for the work it has.
const TIME_TO_LEAVE: Duration = Duration::from_secs(1);

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// At this event, or the first that is kept.
    At(SequenceNumber),
    /// At what comes from now on; the next event has at least this number.
    End(SequenceNumber),
    /// At the first event that came later than this, or the next one; that has at least this number. What comes after the
    /// place was looked up may be of the same millisecond.
    After(Timestamp, SequenceNumber),
}

/// What is seen of clients.
#[derive(Default)]
pub(super) struct Clients {
    /// The deliveries of each link in order, with the ids of the events in them.
    deliveries: BTreeMap<String, Vec<Vec<String>>>,
    /// By number, from 0.
    readings: Vec<Reading>,
    /// What readers got before anybody else looked at the log there.
    ahead: BTreeMap<(PartitionId, SequenceNumber), LoggedEvent>,
    /// When each event was sent.
    sent_at: BTreeMap<String, Duration>,
    /// First events of readings that began after a time.
    first_after: Vec<(PartitionId, SequenceNumber, Timestamp)>,
}

/// A reader on a link.
struct Reading {
    reader: String,
    partition: PartitionId,
    epoch: Option<i64>,
    asked_at: Duration,
    attached: Option<Attached>,
    /// It has left, or was driven out, as far as it knows.
    is_over: bool,
    beginning: Beginning,
    last: Option<SequenceNumber>,
}

#[derive(Clone, Copy)]
struct Attached {
    at: Duration,
    /// The number of the next event at that time.
    tail: SequenceNumber,
}

impl Clients {
    /// Notes when an event is sent.
    pub(super) fn sent(&mut self, id: &str, at: Duration) {
        self.sent_at.entry(id.to_owned()).or_insert(at);
    }

    /// What a reader got where the log is now known to have `logged`; they have to be the same.
    pub(super) fn take_ahead(
        &mut self,
        partition: PartitionId,
        number: SequenceNumber,
    ) -> Option<LoggedEvent> {
        self.ahead.remove(&(partition, number))
    }

    /// The last event of a partition that a reader got and nobody else saw.
    pub(super) fn last_ahead(&self, partition: PartitionId) -> Option<SequenceNumber> {
        let of_partition = (partition, SequenceNumber::ZERO)..=(partition, SequenceNumber(u64::MAX));
        self.ahead.range(of_partition).next_back().map(|((_, number), _)| *number)
    }
}

impl Oracle {
    /// A producer has put these events into a delivery on a link.
    pub(crate) fn delivers(&self, link: &str, ids: Vec<String>) {
        self.seen.lock().clients.deliveries.entry(link.to_owned()).or_default().push(ids);
    }

    /// A reader asks to be attached; the number of what follows.
    pub(crate) fn asks_for(
        &self,
        reader: &str,
        partition: PartitionId,
        epoch: Option<i64>,
        beginning: Beginning,
    ) -> u64 {
        let asked_at = self.trace.now();
        let mut seen = self.seen.lock();
        let reader = reader.to_owned();
        let readings = &mut seen.clients.readings;
        let (attached, is_over, last) = (None, false, None);
        readings.push(Reading { reader, partition, epoch, asked_at, attached, is_over, beginning, last });
        readings.len() as u64 - 1
    }

    /// The server has attached a reader; the next event has at most this number.
    pub(crate) fn is_attached(&self, reading: u64, tail: SequenceNumber) {
        let at = self.trace.now();
        let mut seen = self.seen.lock();
        let reading = &mut seen.clients.readings[index(reading)];
        reading.attached = Some(Attached { at, tail });
    }

    /// A reader has lost its link or gives it up.
    pub(crate) fn has_left(&self, reading: u64) {
        self.seen.lock().clients.readings[index(reading)].is_over = true;
    }

    /// A reader is told that another one took its place, or that it cannot have the other one's.
    pub(crate) fn is_driven_out(&self, reading: u64, was_attached: bool) {
        let mut seen = self.seen.lock();
        let readings = &seen.clients.readings;
        let driven_out = &readings[index(reading)];
        let ours = driven_out.epoch;
        let others = readings
            .iter()
            .enumerate()
            .filter(|(number, other)| *number != index(reading) && other.partition == driven_out.partition);
        let is_right = others.into_iter().any(|(_, other)| match (other.epoch, was_attached) {
            (None, _) => false,
            (theirs, true) => theirs >= ours,
            (theirs, false) => theirs > ours,
        });
        if !is_right {
            let detail = format!("{} with epoch {ours:?} was driven out by nobody", driven_out.reader);
            self.violate(&mut seen, "only a higher epoch drives a reader out", detail);
        }
    }

    /// A reader has got an event.
    pub(crate) fn received(&self, reading: u64, event: &Event) {
        let mut seen = self.seen.lock();
        let number = event.sequence_number;
        let Reading { partition, ref reader, last, beginning, attached, .. } =
            seen.clients.readings[index(reading)];
        let (reader, dropped) = (reader.clone(), seen.dropped.get(&partition).copied().unwrap_or_default());
        let expected = match (last, beginning) {
            (Some(last), _) => Some(last.next()),
            (None, Beginning::At(first) | Beginning::End(first)) => Some(first),
            (None, Beginning::After(..)) => None,
        };
        if expected.is_some_and(|expected| number < expected) {
            let detail = format!("{reader} was at {expected:?} of partition {partition} and got {number}");
            self.violate(&mut seen, "a reader gets every event once and in order", detail);
        }
        let latest = match (last, beginning) {
            // It may have been attached any time until then.
            (None, Beginning::End(_)) => attached.map(|attached| attached.tail),
            _ => expected,
        };
        if latest.is_some_and(|latest| number > latest.max(dropped)) {
            let detail = format!("{reader} was at {latest:?} of partition {partition} and got {number}");
            self.violate(&mut seen, "a reader misses no event", detail);
        }
        if let (None, Beginning::After(time, tail)) = (last, beginning) {
            if event.enqueued_at <= time && number < tail {
                let detail =
                    format!("{reader} began after {time} and got event {number}, of {}", event.enqueued_at);
                self.violate(&mut seen, "a reader begins where it asked to", detail);
            }
            if number > dropped {
                seen.clients.first_after.push((partition, number, time));
            }
        }
        self.check_place(&mut seen, index(reading), event);
        seen.clients.readings[index(reading)].last = Some(number);
        self.check_bytes(&mut seen, partition, event);
    }

    /// A reader that took back what was left of its credit got all there was when it did so: what comes before `tail`.
    pub(crate) fn has_all_before(&self, reading: u64, tail: SequenceNumber) {
        let mut seen = self.seen.lock();
        let Reading { partition, ref reader, last, .. } = seen.clients.readings[index(reading)];
        let (reader, dropped) = (reader.clone(), seen.dropped.get(&partition).copied().unwrap_or_default());
        let Some(last) = last else { return };
        if last.next().max(dropped) < tail {
            let detail =
                format!("{reader} has got up to {last} of partition {partition}, which ended at {tail}");
            self.violate(&mut seen, "a reader that takes back its credit has got what there was", detail);
        }
    }

    /// Once another reader with an epoch is known to have its place, a reader gets no event that was sent later.
    fn check_place(&self, seen: &mut Seen, reading: usize, event: &Event) {
        let (_, id) = crate::event::parse(event);
        let readings = &seen.clients.readings;
        let ours = &readings[reading];
        let (Some(attached), Some(sent_at)) = (ours.attached, seen.clients.sent_at.get(&id).copied()) else {
            return;
        };
        let thief = readings.iter().find(|other| {
            other.partition == ours.partition
                && other.epoch.is_some()
                && other.asked_at > attached.at
                && other.attached.is_some_and(|theirs| theirs.at + TIME_TO_LEAVE < sent_at)
        });
        if let Some(thief) = thief {
            let detail = format!("{} took the place of {}, which got {id}", thief.reader, ours.reader);
            self.violate(seen, "a reader with an epoch is alone", detail);
        }
    }

    /// What a reader gets is what is in the log.
    fn check_bytes(&self, seen: &mut Seen, partition: PartitionId, event: &Event) {
        let (number, got) = (event.sequence_number, logged(event));
        let position = index(number.0);
        match seen.log.get(&partition).and_then(|log| log.get(position)) {
            Some(known) if *known == got => {}
            Some(known) => {
                let detail =
                    format!("event {number} of partition {partition} is {known:?}, and {got:?} came");
                self.violate(seen, "a reader gets what was stored", detail);
            }
            None => {
                let before = seen.clients.ahead.insert((partition, number), got.clone());
                if before.is_some_and(|before| before != got) {
                    let detail = format!("event {number} of partition {partition} came with other bytes");
                    self.violate(seen, "a re-read gives the same bytes", detail);
                }
            }
        }
    }

    /// Everything was read, and nothing goes wrong any more.
    pub(crate) fn check_clients(&self) {
        let mut seen = self.seen.lock();
        let mut wrong = Vec::new();
        for (link, deliveries) in &seen.clients.deliveries {
            let mut ends: BTreeMap<PartitionId, SequenceNumber> = BTreeMap::new();
            for ids in deliveries {
                let places: Vec<_> = ids.iter().filter_map(|id| seen.places.get(id).copied()).collect();
                let Some(&(partition, first)) = places.first() else { continue };
                let is_one = places.len() == ids.len()
                    && places.iter().zip(0..).all(|(place, count)| *place == (partition, first.plus(count)));
                if !is_one {
                    let detail = format!("{ids:?} on link {link} are at {places:?}");
                    wrong.push(("a batch is stored as one", detail));
                }
                let end = ends.entry(partition).or_default();
                if first < *end {
                    let detail = format!("{ids:?} on link {link} is at {first} of {partition}, before {end}");
                    wrong.push(("what is sent on a link is stored in its order", detail));
                }
                *end = first.plus(places.len() as u64);
            }
        }
        for (partition, first, time) in &seen.clients.first_after {
            let before =
                first.0.checked_sub(1).and_then(|number| seen.log.get(partition)?.get(index(number)));
            if let Some(before) = before.filter(|before| before.enqueued_at > *time) {
                let detail =
                    format!("a reader began at {first}, after {time}; event {} came later", before.id);
                wrong.push(("a reader misses no event", detail));
            }
        }
        if let Some(((partition, number), event)) = seen.clients.ahead.first_key_value() {
            let detail = format!("a reader got {} as event {number} of partition {partition}", event.id);
            wrong.push(("what was read once stays", detail));
        }
        for (promise, detail) in wrong {
            self.violate(&mut seen, promise, detail);
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
