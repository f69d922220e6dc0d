//! What is true in the end: every event of the log has exactly one place, for every function.

use tidegate_host::settings::OnExhausted;
use tidegate_model::checkpoint::Lane;
use tidegate_model::dead_letter::DeadLetterStatus;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::parking::Turn;
use tidegate_model::ports::Store;
use tidegate_model::position::SequenceNumber;

use super::commits::{LaneContent, now};
use super::{Oracle, Seen};
use crate::event::entries;
use crate::scenario::{Fate, hub_name};

impl Oracle {
    /// Everything was read, nothing goes wrong any more, and nothing is left to do.
    pub(crate) fn check_ending(&self, store: &dyn Store) {
        let mut seen = self.seen.lock();
        let mut entries_expected = seen.people.repeated;
        let partitions: Vec<_> = seen.log.keys().copied().collect();
        for function in &self.scenario.functions {
            for &partition in &partitions {
                let lane = Lane { function: function.name.clone(), hub: hub_name(), partition };
                let Some(content) = LaneContent::read(store, &lane, &seen.people.outdated) else {
                    self.violate(&mut seen, "every lane is processed", format!("{lane} has no checkpoint"));
                    continue;
                };
                entries_expected +=
                    self.check_lane(&mut seen, store, &lane, &content, function.settings.on_exhausted);
            }
        }
        let mut entries_found = 0;
        for (collection, _) in now(store.collections()) {
            for document in now(store.list_documents(&collection, None, usize::MAX)) {
                entries_found += entries(&document.body).len();
            }
        }
        if entries_found != entries_expected {
            let detail = format!("{entries_found} effects for {entries_expected} applied events");
            self.violate(&mut seen, "each effect happens once", detail);
        }
    }

    /// Checks the places of a lane's events; how many effects they had.
    fn check_lane(
        &self,
        seen: &mut Seen,
        store: &dyn Store,
        lane: &Lane,
        content: &LaneContent,
        on_exhausted: OnExhausted,
    ) -> usize {
        let log = seen.log.get(&lane.partition).cloned().unwrap_or_default();
        let Some(checkpoint) = now(store.checkpoint(lane)) else { return 0 };
        let (mut counts, mut effects) = (OutcomeCounts::default(), 0);
        for (index, event) in log.iter().enumerate() {
            let number = SequenceNumber(index as u64);
            let fate = Fate::of(self.scenario.seed, &lane.function, &event.id);
            let is_applied = seen.applied.contains(&(lane.function.clone(), event.id.clone()));
            let letters = content.letters.get(&number).map_or(&[][..], |letters| &letters[..]);
            let unsettled = letters.iter().filter(|letter| letter.status.is_unsettled()).count();
            let discarded =
                letters.iter().filter(|letter| letter.status == DeadLetterStatus::Discarded).count();
            let parked = content.parked.get(&number);
            let is_pending = number >= content.position;
            let places = usize::from(is_applied)
                + unsettled
                + discarded
                + usize::from(parked.is_some())
                + usize::from(is_pending);
            let is_filtered = fate == Fate::Filtered && places == 0;
            let name = format!("event {number} ({}, {fate:?}) of {lane}", event.id);
            let is_skipped = seen.people.skipped.contains(&(lane.clone(), number)) && places == 0;
            if places + usize::from(is_filtered) != 1 && !is_skipped {
                let detail = format!(
                    "{name}: applied {is_applied}, dead letters {unsettled}, discarded {discarded}, parked {}, pending {is_pending}",
                    parked.is_some()
                );
                self.violate(seen, "an event has one place", detail);
            }
            if let Some(parked) = parked {
                let held = matches!(parked.parked.turn, Turn::Held { .. });
                let may_wait = on_exhausted == OnExhausted::Hold;
                if !may_wait {
                    let detail = format!("{name} is still parked (held: {held})");
                    self.violate(seen, "everything drains", detail);
                }
            }
            effects += usize::from(is_applied);
            // A person who moves a checkpoint begins a new count.
            if number < checkpoint.start {
                continue;
            }
            counts.parked += u64::from(parked.is_some());
            counts.applied += u64::from(is_applied);
            counts.filtered += u64::from(is_filtered);
            counts.dead_lettered += unsettled as u64;
            counts.discarded += discarded as u64;
        }
        let end = SequenceNumber(log.len() as u64);
        // What is held stops a lane in partition order, or when nothing more can be parked.
        if checkpoint.position != end && on_exhausted != OnExhausted::Hold {
            let detail = format!("{lane} is at {} of {end}", checkpoint.position);
            self.violate(seen, "everything drains", detail);
        }
        if checkpoint.counts != counts {
            let detail = format!("{lane} says {:?}, but there are {counts:?}", checkpoint.counts);
            self.violate(seen, "the audit accounts for every event", detail);
        }
        effects
    }
}
