//! The promises about commits: only the owner changes anything, the checkpoint never passes an unresolved event, each
//! effect happens once and in order, attempts are not forgotten.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use tidegate_host::retry::MAX_ATTEMPTS;
use tidegate_host::settings::{AtLimit, Order};
use tidegate_model::attempt::{Attempt, FailureClass, FailureKind};
use tidegate_model::checkpoint::Lane;
use tidegate_model::commit::{Commit, LaneCommit};
use tidegate_model::dead_letter::{DeadLetter, DeadLetterFilter, DeadLetterId, StoredDeadLetter};
use tidegate_model::document::ETag;
use tidegate_model::parking::{StoredParked, Turn, UnparkedEnd};
use tidegate_model::ports::{Store, StoreError};
use tidegate_model::position::SequenceNumber;

use super::{Oracle, Seen};
use crate::event::{entries, is_repaired_entry, parse, parse_entry};
use crate::scenario::Fate;

/// What a store answers, at once.
pub(crate) fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> T {
    try_now(answer).expect("nobody reads from a machine that has stopped, and nothing else fails a read")
}

/// What a store answers, at once, if it can.
pub(crate) fn try_now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    answer.now_or_never().expect("a store of a simulation does not wait")
}

/// What the store holds of one lane.
pub(super) struct LaneContent {
    pub(super) position: SequenceNumber,
    pub(super) parked: BTreeMap<SequenceNumber, StoredParked>,
    pub(super) letters: BTreeMap<SequenceNumber, Vec<StoredDeadLetter>>,
    pub(super) attempts: BTreeMap<SequenceNumber, Vec<Attempt>>,
}

impl LaneContent {
    /// What has its say there: dead letters of events that are read again since have none.
    pub(super) fn read(store: &dyn Store, lane: &Lane, outdated: &BTreeSet<DeadLetterId>) -> Option<Self> {
        let checkpoint = now(store.checkpoint(lane))?;
        let filter = DeadLetterFilter {
            function: Some(lane.function.clone()),
            partition: Some(lane.partition),
            ..DeadLetterFilter::default()
        };
        let mut letters: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for letter in now(store.list_dead_letters(&filter, None, usize::MAX)) {
            if outdated.contains(&letter.id) {
                continue;
            }
            letters.entry(letter.letter.event.sequence_number).or_default().push(letter);
        }
        let parked: BTreeMap<_, _> = now(store.list_parked(lane, SequenceNumber::ZERO, usize::MAX))
            .into_iter()
            .map(|stored| (stored.parked.event.sequence_number, stored))
            .collect();
        let mut attempts: BTreeMap<_, _> = now(store.attempts(lane))
            .into_iter()
            .map(|event| (event.sequence_number, event.attempts))
            .collect();
        for (number, stored) in &parked {
            attempts.insert(*number, stored.parked.attempts.clone());
        }
        Some(Self { position: checkpoint.position, parked, letters, attempts })
    }
}

impl Oracle {
    /// A commit went through: `instance` asked for it, and `store` holds what came of it.
    pub(crate) fn committed(&self, instance: &str, commit: &Commit, etag: ETag, store: &dyn Store) {
        let mut seen = self.seen.lock();
        self.before_commit(&mut seen);
        seen.commits += 1;
        for step in &commit.lanes {
            match seen.owners.get(&step.lane) {
                Some((owner, epoch)) if owner == instance && *epoch == step.epoch => {}
                owner => {
                    let detail = format!(
                        "{instance} changed {} under {:?}; its owner is {owner:?}",
                        step.lane, step.epoch
                    );
                    self.violate(&mut seen, "a fenced owner changes nothing", detail);
                }
            }
        }
        let fresh = self.check_journals(&mut seen, commit, store);
        for step in &commit.lanes {
            if let Some(content) = LaneContent::read(store, &step.lane, &seen.people.outdated) {
                self.check_step(&mut seen, step, &content, &fresh);
                self.check_order(&mut seen, step, &content, &fresh);
                self.check_attempts(&mut seen, &step.lane, &content);
            }
        }
        self.after_commit(&mut seen, etag);
    }

    /// Journals only grow, by events of the commit's lanes, each once. The events that were added, with their lanes, in
    /// the order of each journal.
    fn check_journals(
        &self,
        seen: &mut Seen,
        commit: &Commit,
        store: &dyn Store,
    ) -> Vec<(Lane, SequenceNumber)> {
        let mut fresh = Vec::new();
        for write in &commit.documents {
            let ids = std::slice::from_ref(&write.id);
            let Some(document) = now(store.documents(&write.collection, ids)).pop().flatten() else {
                let detail = format!("the document {} was committed and is not there", write.id);
                self.violate(seen, "a commit happens whole", detail);
                continue;
            };
            let (journal, place) = (entries(&document.body), (write.collection.clone(), write.id.clone()));
            let before = seen.journals.insert(place, journal.clone()).unwrap_or_default();
            let Some(added) = journal.strip_prefix(&before[..]) else {
                let detail = format!("the journal {} was {before:?} and is {journal:?}", write.id);
                self.violate(seen, "no effect is lost", detail);
                continue;
            };
            for entry in added {
                let (function, id) = parse_entry(entry);
                let known = self.scenario.functions.iter().find(|known| known.name.as_str() == function);
                let (Some(function), Some(&(partition, number))) = (known, seen.places.get(id)) else {
                    self.violate(seen, "effects come from events", format!("{entry} is in {}", write.id));
                    continue;
                };
                let lane =
                    Lane { function: function.name.clone(), hub: crate::scenario::hub_name(), partition };
                if !seen.applied.insert((function.name.clone(), id.to_owned())) {
                    let detail = format!("{entry} is applied twice; the second time in {}", write.id);
                    self.violate(seen, "each effect happens once", detail);
                }
                let was_repaired = seen.people.repaired.contains(&(lane.clone(), number));
                if was_repaired != is_repaired_entry(entry) {
                    let detail = format!("{entry} is applied; it was repaired before: {was_repaired}");
                    self.violate(seen, "a redrive gives the newest revision", detail);
                }
                let step = commit.lanes.iter().find(|step| step.lane == lane);
                let belongs = step.is_some_and(|step| {
                    let is_of_step = step.advance.from <= number && number < step.advance.to;
                    is_of_step || step.unparked.iter().any(|unparked| unparked.sequence_number == number)
                });
                if !belongs {
                    let detail = format!("{entry} is applied by a commit that does not resolve it");
                    self.violate(seen, "an effect and its checkpoint are one", detail);
                }
                fresh.push((lane, number));
            }
        }
        fresh
    }

    /// Every event that the checkpoint passed, and every one that was unparked, has its place.
    fn check_step(
        &self,
        seen: &mut Seen,
        step: &LaneCommit,
        content: &LaneContent,
        fresh: &[(Lane, SequenceNumber)],
    ) {
        let lane = &step.lane;
        let before = seen.positions.insert(lane.clone(), content.position).unwrap_or(step.advance.from);
        if content.position < before {
            let detail = format!("the checkpoint of {lane} went from {before} to {}", content.position);
            self.violate(seen, "the checkpoint never moves back", detail);
        }
        let passed = (before.0..content.position.0).map(SequenceNumber);
        let unparked = step.unparked.iter().map(|unparked| unparked.sequence_number);
        for number in passed.chain(unparked) {
            let index = usize::try_from(number.0).expect("a small number");
            let Some(event) = seen.log.get(&lane.partition).and_then(|log| log.get(index)).cloned() else {
                let detail = format!("the checkpoint of {lane} is past event {number}, which nobody read");
                self.violate(seen, "the checkpoint never passes an unresolved event", detail);
                continue;
            };
            let is_filtered = Fate::of(self.scenario.seed, &lane.function, &event.id) == Fate::Filtered;
            let is_applied = fresh.iter().any(|(of, at)| of == lane && *at == number);
            let (is_parked, is_letter) =
                (content.parked.contains_key(&number), content.letters.contains_key(&number));
            if !(is_applied || is_filtered || is_parked || is_letter) {
                let detail = format!("{lane} is past event {number} ({}), which is nowhere", event.id);
                self.violate(seen, "the checkpoint never passes an unresolved event", detail);
            }
            if is_applied && is_parked {
                let detail = format!("event {number} ({}) of {lane} is applied and still parked", event.id);
                self.violate(seen, "an event has one place", detail);
            }
        }
        let of_parked = step.unparked.iter().filter_map(|unparked| match &unparked.end {
            UnparkedEnd::DeadLettered(letter) => Some(&**letter),
            UnparkedEnd::Applied | UnparkedEnd::Filtered => None,
        });
        for letter in step.dead_letters.iter().chain(of_parked) {
            self.check_letter(seen, lane, letter);
        }
    }

    /// Nothing is set aside that did not deserve it.
    fn check_letter(&self, seen: &mut Seen, lane: &Lane, letter: &DeadLetter) {
        let DeadLetter { event, class, attempts, .. } = letter;
        let Some(function) = self.scenario.function(&lane.function) else { return };
        let (_, id) = parse(event);
        let fate = Fate::of_event(self.scenario.seed, &lane.function, &event.data, &id);
        let failed = self.downstream.failures(lane.function.as_str(), &id);
        let is_right = match class {
            FailureClass::Permanent => fate == Fate::Rejected,
            FailureClass::Exhausted if function.settings.parking.at_limit == AtLimit::DeadLetter => true,
            FailureClass::Exhausted => {
                let max = function.settings.retry.max_attempts().unwrap_or(0) as usize;
                // Being asked for a pause uses up no attempt.
                let used = attempts.iter().filter(|attempt| attempt.kind != FailureKind::Throttled).count();
                // So does each end of the program while the function had the event and nothing else ran.
                let ends = attempts.iter().filter(|attempt| attempt.kind == FailureKind::Interrupted).count();
                failed as usize + ends >= max && used >= max
            }
        };
        if !is_right {
            let detail = format!(
                "{lane} set {id} aside as {} after {} attempts; it is {fate:?} and failed {failed} times",
                class.as_str(),
                attempts.len()
            );
            self.violate(seen, "only what failed is set aside", detail);
        }
    }

    /// Effects come in the order that the function declared.
    fn check_order(
        &self,
        seen: &mut Seen,
        step: &LaneCommit,
        content: &LaneContent,
        fresh: &[(Lane, SequenceNumber)],
    ) {
        let lane = &step.lane;
        let Some(function) = self.scenario.function(&lane.function) else { return };
        let order = function.settings.order;
        // An event that was set aside lost its place in the order, and one that is redriven goes where it can.
        let mut new_of_key: BTreeMap<Option<String>, BTreeSet<SequenceNumber>> = BTreeMap::new();
        for (_, number) in fresh.iter().filter(|(of, _)| of == lane) {
            if seen.people.redriven.contains(&(lane.clone(), *number)) {
                continue;
            }
            let index = usize::try_from(number.0).expect("a small number");
            let logged = seen.log.get(&lane.partition).and_then(|log| log.get(index)).cloned();
            let Some(logged) = logged else { continue };
            let key = match order {
                Order::Partition => None,
                Order::Key if logged.key.is_some() => logged.key.clone(),
                Order::Key | Order::None => continue,
            };
            let is_ordered_with = |parked: &StoredParked| {
                let parked = &parked.parked;
                order == Order::Partition || parked.event.data.partition_key.as_deref() == key.as_deref()
            };
            let waits = content.parked.range(..number).find(|(before, parked)| {
                parked.parked.redrive_of.is_none()
                    && is_ordered_with(parked)
                    && !seen.people.redriven.contains(&(lane.clone(), **before))
            });
            if let Some((before, parked)) = waits {
                let held = matches!(parked.parked.turn, Turn::Held { .. });
                let detail = format!(
                    "{lane} applied event {number} ({}) of key {key:?}, but event {before} before it is parked (held: {held})",
                    logged.id
                );
                self.violate(seen, "order is kept", detail);
            }
            // Within a journal they come in the order in which they were applied.
            let of_key = new_of_key.entry(key.clone()).or_default();
            of_key.insert(*number);
            let last = seen.last_applied.get(&(lane.clone(), key.clone())).copied();
            if last.is_some_and(|last| *number < last) {
                let detail =
                    format!("{lane} applied event {number} ({}) of key {key:?} after {last:?}", logged.id);
                self.violate(seen, "order is kept", detail);
            }
        }
        for (key, numbers) in new_of_key {
            if let Some(last) = numbers.last() {
                let known = seen.last_applied.entry((lane.clone(), key)).or_insert(*last);
                *known = (*known).max(*last);
            }
        }
        self.check_order_within_journals(seen, lane, order);
    }

    fn check_order_within_journals(&self, seen: &mut Seen, lane: &Lane, order: Order) {
        let mut broken = None;
        for (place @ (_, document), journal) in &seen.journals {
            // What was applied before a person moved the checkpoint may come again.
            let since = seen.people.since.get(lane).and_then(|since| since.get(place)).copied().unwrap_or(0);
            let mut last: BTreeMap<Option<&str>, SequenceNumber> = BTreeMap::new();
            for entry in journal.iter().skip(since) {
                let (function, id) = parse_entry(entry);
                let Some((partition, number)) = seen.places.get(id) else { continue };
                if function != lane.function.as_str()
                    || *partition != lane.partition
                    || seen.people.redriven.contains(&(lane.clone(), *number))
                {
                    continue;
                }
                let index = usize::try_from(number.0).expect("a small number");
                let key = seen
                    .log
                    .get(partition)
                    .and_then(|log| log.get(index))
                    .and_then(|event| event.key.as_deref());
                let key = match order {
                    Order::Partition => None,
                    Order::Key if key.is_some() => key,
                    Order::Key | Order::None => continue,
                };
                if let Some(before) = last.insert(key, *number).filter(|before| before > number) {
                    broken = Some(format!("{document} has event {number} of {lane} after event {before}"));
                }
            }
        }
        if let Some(detail) = broken {
            self.violate(seen, "order is kept", detail);
        }
    }

    /// Attempts at an event that is not resolved are only ever added.
    pub(super) fn check_attempts(&self, seen: &mut Seen, lane: &Lane, content: &LaneContent) {
        let known: Vec<_> = seen
            .attempts
            .iter()
            .filter(|((of, _), _)| of == lane)
            .map(|((_, number), attempts)| (*number, attempts.clone()))
            .collect();
        for (number, before) in known {
            let is_open = number >= content.position || content.parked.contains_key(&number);
            if !is_open {
                seen.attempts.remove(&(lane.clone(), number));
                continue;
            }
            let after = content.attempts.get(&number).map_or(&[][..], |attempts| &attempts[..]);
            let is_redriven = seen.people.redriven.contains(&(lane.clone(), number));
            // Of very many attempts the first and the latest are kept.
            let is_cut = before.len() >= MAX_ATTEMPTS as usize;
            if !after.starts_with(&before) && !is_redriven && !is_cut {
                let detail = format!(
                    "event {number} of {lane} had {} attempts recorded, and has {} now",
                    before.len(),
                    after.len()
                );
                self.violate(seen, "a restart does not start the count again", detail);
            }
        }
        for (number, attempts) in &content.attempts {
            seen.attempts.insert((lane.clone(), *number), attempts.clone());
        }
    }
}
