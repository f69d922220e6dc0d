//! The promise to producers: acknowledged means durable, refused means not stored.

use std::collections::BTreeMap;

use tidegate_model::checkpoint::Lane;
use tidegate_model::event::{Event, EventData};
use tidegate_model::ports::Store;
use tidegate_model::position::{PartitionId, SequenceNumber};

use super::{LoggedEvent, Oracle, Seen, now};
use crate::event::parse;
use crate::scenario::hub_name;
use crate::site::Content;

/// What the producer of an event was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing, or that it may have been stored.
    Nothing,
    /// That it is stored, and where as far as that is known.
    Stored(Option<PartitionId>, Option<SequenceNumber>),
    /// That it is not stored.
    NotStored,
}

/// Every event that was sent, by id.
pub(super) type Sends = BTreeMap<String, Told>;

impl Oracle {
    /// A producer sends an event, or is told something about it.
    pub(crate) fn told(&self, id: &str, told: Told) {
        let mut seen = self.seen.lock();
        seen.clients.sent(id, self.trace.now());
        seen.sends.insert(id.to_owned(), told);
    }

    /// Somebody read events.
    pub(crate) fn read(&self, partition: PartitionId, events: &[Event]) {
        let mut seen = self.seen.lock();
        for event in events {
            self.found(&mut seen, partition, event);
        }
    }

    /// The events before this one are dropped from the log, as far as that is done.
    pub(crate) fn drops(&self, partition: PartitionId, floor: SequenceNumber, store: &dyn Store) {
        let mut seen = self.seen.lock();
        for function in &self.scenario.functions {
            let lane = Lane { function: function.name.clone(), hub: hub_name(), partition };
            let checkpoint = now(store.checkpoint(&lane));
            let position = checkpoint.map_or(SequenceNumber::ZERO, |checkpoint| checkpoint.position);
            if position < floor {
                let detail = format!("{lane} is at {position}, and what is before {floor} is dropped");
                self.violate(&mut seen, "nothing is dropped that is still needed", detail);
            }
        }
        let dropped = seen.dropped.entry(partition).or_default();
        *dropped = floor.max(*dropped);
    }

    /// The log was read as a whole.
    pub(crate) fn read_all(&self, partitions: &[Content]) {
        let mut seen = self.seen.lock();
        for content in partitions {
            let Content { partition, head, events } = content;
            for event in events {
                self.found(&mut seen, *partition, event);
            }
            let known = seen.log.entry(*partition).or_default().len() as u64;
            let of_clients = seen.clients.last_ahead(*partition).map_or(0, |last| last.next().0);
            let (known, tail) = (known.max(of_clients), content.tail().0);
            if known > tail {
                let detail = format!("partition {partition} had {known} readable events, and has {tail} now");
                self.violate(&mut seen, "what was read once stays", detail);
            }
            let dropped = seen.dropped.get(partition).copied().unwrap_or_default();
            if *head > dropped {
                let detail =
                    format!("partition {partition} begins at {head}, and was dropped up to {dropped}");
                self.violate(&mut seen, "what was read once stays", detail);
            }
        }
        self.check_sends(&mut seen);
    }

    fn found(&self, seen: &mut Seen, partition: PartitionId, event: &Event) {
        let logged = logged(event);
        let id = logged.id.clone();
        let number = event.sequence_number;
        let known = seen.log.entry(partition).or_default();
        let index = usize::try_from(number.0).expect("a small number");
        match known.get(index) {
            Some(before) if *before == logged => return,
            Some(before) => {
                let detail = format!("event {number} of partition {partition} was {} and is {id}", before.id);
                return self.violate(seen, "a re-read gives the same bytes", detail);
            }
            None if index > known.len() => {
                let detail = format!("partition {partition} goes from {} to {number}", known.len());
                return self.violate(seen, "sequence numbers have no gap", detail);
            }
            None => known.push(logged.clone()),
        }
        if let Some(got) = seen.clients.take_ahead(partition, number).filter(|got| *got != logged) {
            let detail = format!(
                "a reader got {got:?} as event {number} of partition {partition}, which is {logged:?}"
            );
            self.violate(seen, "a reader gets what was stored", detail);
        }
        match seen.sends.get(&id) {
            None => self.violate(seen, "only what was sent is stored", format!("nobody sent {id}")),
            Some(Told::NotStored) => {
                self.violate(
                    seen,
                    "refused means not stored",
                    format!("{id} was refused and is event {number}"),
                );
            }
            Some(_) => {}
        }
        if let Some((other, before)) = seen.places.insert(id.clone(), (partition, number)) {
            let detail =
                format!("{id} is event {before} of partition {other} and event {number} of {partition}");
            self.violate(seen, "an event is stored once", detail);
        }
    }

    /// Everything that was acknowledged is where it was said to be.
    fn check_sends(&self, seen: &mut Seen) {
        let missing = seen.sends.iter().find_map(|(id, told)| {
            let Told::Stored(partition, number) = told else { return None };
            let place = seen.places.get(id);
            let is_there = place.is_some_and(|(in_fact, at)| {
                partition.is_none_or(|partition| partition == *in_fact)
                    && number.is_none_or(|number| number == *at)
            });
            (!is_there).then(|| format!("{id} was acknowledged as {told:?} and is at {place:?}"))
        });
        if let Some(detail) = missing {
            self.violate(seen, "acknowledged means durable", detail);
        }
    }
}

/// An event as it is compared.
pub(super) fn logged(event: &Event) -> LoggedEvent {
    let (_, id) = parse(event);
    let EventData { partition_key, properties, body, .. } = &event.data;
    let key = partition_key.as_ref().map(ToString::to_string);
    LoggedEvent {
        id,
        key,
        body: body.clone(),
        properties: properties.clone(),
        enqueued_at: event.enqueued_at,
    }
}
