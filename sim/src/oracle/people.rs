//! What people change, and the promise about pauses.
//!
//! A person may redrive an event, and skip events or have them processed again. What was observed of such events before
//! says nothing about them any more.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_model::checkpoint::{Epoch, FunctionName, Lane};
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId, StoredDeadLetter};
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::ports::Store;
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::Register;

use super::commits::now;
use super::{Invoked, Oracle};
use crate::scenario::hub_name;

/// What people have done.
#[derive(Default)]
pub(super) struct People {
    /// Dead letters that were redriven: they come out of order.
    pub(super) redriven: BTreeSet<(Lane, SequenceNumber)>,
    /// Those of them that were repaired before.
    pub(super) repaired: BTreeSet<(Lane, SequenceNumber)>,
    /// Events that a checkpoint was moved over.
    pub(super) skipped: BTreeSet<(Lane, SequenceNumber)>,
    /// Dead letters of events that are read again since: they have no say any more.
    pub(super) outdated: BTreeSet<DeadLetterId>,
    /// How many effects are of events that are read again since.
    pub(super) repeated: usize,
    /// How long each journal was when the checkpoint of a lane was moved last.
    pub(super) since: BTreeMap<Lane, BTreeMap<(CollectionName, DocumentId), usize>>,
    /// Who owned a lane when its checkpoint was moved, until somebody claims it.
    pub(super) moved_from: BTreeMap<Lane, String>,
    /// What each instance last heard to be paused: functions and lanes.
    paused: BTreeMap<String, BTreeSet<String>>,
    /// By instance, the lanes that may still begin an invocation since it heard that they are paused.
    last_batches: BTreeSet<(String, Lane)>,
}

impl Oracle {
    /// A person redrives a dead letter.
    pub(crate) fn redriven(&self, letter: &StoredDeadLetter) {
        let place = (letter.letter.lane.clone(), letter.letter.event.sequence_number);
        let mut seen = self.seen.lock();
        if letter.edited.is_some() {
            seen.people.repaired.insert(place.clone());
        }
        seen.people.redriven.insert(place);
    }

    /// A person has moved a checkpoint: from `to` on events are new again, and those before it that were still to be read
    /// are skipped.
    pub(crate) fn sought(&self, lane: &Lane, from: SequenceNumber, to: SequenceNumber, store: &dyn Store) {
        let mut seen = self.seen.lock();
        let seen = &mut *seen;
        seen.positions.insert(lane.clone(), to);
        seen.last_applied.retain(|(of, _), _| of != lane);
        seen.attempts.retain(|(of, _), _| of != lane);
        let before = seen.applied.len();
        let places = &seen.places;
        seen.applied.retain(|(function, id)| {
            let is_again = places
                .get(id)
                .is_some_and(|(partition, number)| *partition == lane.partition && *number >= to);
            !(*function == lane.function && is_again)
        });

        let people = &mut seen.people;
        people.repeated += before - seen.applied.len();
        let is_again = |(of, number): &(Lane, SequenceNumber)| of == lane && *number >= to;
        people.redriven.retain(|place| !is_again(place));
        people.repaired.retain(|place| !is_again(place));
        people.skipped.retain(|place| !is_again(place));
        people.skipped.extend((from.0..to.0).map(|number| (lane.clone(), SequenceNumber(number))));
        let lengths = seen.journals.iter().map(|(place, journal)| (place.clone(), journal.len()));
        people.since.insert(lane.clone(), lengths.collect());
        let again = DeadLetterFilter {
            function: Some(lane.function.clone()),
            partition: Some(lane.partition),
            from_sequence_number: Some(to),
            ..DeadLetterFilter::default()
        };
        people.outdated.extend(now(store.find_dead_letters(&again, None, usize::MAX)));

        // It belongs to nobody from now on.
        let ownership = now(store.ownerships()).into_iter().find(|ownership| ownership.lane == *lane);
        let epoch = ownership.map(|ownership| ownership.epoch).unwrap_or(Epoch(0));
        if let Some((owner, _)) = seen.owners.insert(lane.clone(), (String::new(), epoch))
            && !owner.is_empty()
        {
            people.moved_from.insert(lane.clone(), owner);
        }
    }

    /// Whether an instance owned a lane whose checkpoint was moved, and nobody has claimed it since.
    pub(crate) fn was_moved_from(&self, instance: &str, lane: &Lane) -> bool {
        self.seen.lock().people.moved_from.get(lane).is_some_and(|owner| owner == instance)
    }

    /// An instance was told what is paused.
    pub(crate) fn pauses_seen(&self, instance: &str, registers: &[Register]) {
        let mut seen = self.seen.lock();
        let people = &mut seen.people;
        let paused: BTreeSet<String> = registers.iter().map(|register| register.name.clone()).collect();
        let before = people.paused.insert(instance.to_owned(), paused.clone()).unwrap_or_default();
        for function in &self.scenario.functions {
            for lane in self.lanes_of(&function.name) {
                if is_paused(&paused, &lane) && !is_paused(&before, &lane) {
                    people.last_batches.insert((instance.to_owned(), lane));
                }
            }
        }
    }

    fn lanes_of(&self, function: &FunctionName) -> Vec<Lane> {
        (0..self.scenario.partitions)
            .map(|number| Lane {
                function: function.clone(),
                hub: hub_name(),
                partition: tidegate_model::position::PartitionId(number),
            })
            .collect()
    }

    /// An invocation begins: nobody has told its instance that it is paused.
    pub(super) fn check_pause(&self, invocation: &Invoked<'_>) {
        let mut seen = self.seen.lock();
        let Invoked { instance, function, events } = invocation;
        let partition = events.first().and_then(|id| seen.places.get(id)).map(|(partition, _)| *partition);
        let Some(partition) = partition else { return };
        let lane = Lane { function: (*function).clone(), hub: hub_name(), partition };
        let is_paused = seen.people.paused.get(*instance).is_some_and(|paused| is_paused(paused, &lane));
        if is_paused && !seen.people.last_batches.remove(&((*instance).to_owned(), lane.clone())) {
            let detail =
                format!("{instance} invokes {function} with {events:?}, and knows that {lane} is paused");
            self.violate(&mut seen, "what is paused is not invoked", detail);
        }
    }
}

fn is_paused(paused: &BTreeSet<String>, lane: &Lane) -> bool {
    paused.contains(lane.function.as_str()) || paused.contains(&lane.to_string())
}
