//! Trying parked events whose turn has come.
//!
//! Heads of different keys go together, and behind a head that never failed the events of its key follow in the same
//! invocation. What an invocation resolves leaves the parking place in the commit that holds its effect; the next events
//! of those keys are read when that commit is in the store.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;
use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::Advance;
use tidegate_model::dead_letter::DeadLetter;
use tidegate_model::error::ErrorKind;
use tidegate_model::event::Event;
use tidegate_model::observe::DecidedEvents;
use tidegate_model::outcome::{Outcome, OutcomeCounts};
use tidegate_model::parking::{Reparked, StoredParked, Turn, Unparked, UnparkedEnd};
use tidegate_model::ports::StoreError;
use tidegate_model::position::SequenceNumber;
use tracing::warn;

use super::gate::FirstEvent;
use super::parking::QueueId;
use super::work::Work;
use super::{PartitionPump, Stop, snapshot_of};
use crate::caution::Trying;
use crate::circuit::counted::BatchHealth;
use crate::invoker::Invocated;
use crate::observe;
use crate::outcome::answers::Shown;
use crate::outcome::decide::{
    Circumstances, Decision, Invoked, Next, Prior, Resolution, decide, is_blamed, was_interrupted,
};
use crate::workspace::DecidedBatch;

impl PartitionPump {
    /// Tries parked events whose turn has come. False when there are none.
    pub(super) async fn try_parked(&mut self, work: &mut Work) -> Result<bool, Stop> {
        let committed = self.lane().progress().borrow().ticket;
        if let Some(id) = work.interrupted.take() {
            self.try_queues(work, vec![id], committed).await?;
            return Ok(true);
        }
        let due = work.parking.due(self.clock.now(), committed, work.parked_limit.min(work.allowed));
        if due.is_empty() {
            return self.try_held(work).await;
        }
        self.try_queues(work, due, committed).await?;
        Ok(true)
    }

    /// Tries the oldest held event now and then, as often as an open circuit would be probed: what made it fail may have
    /// passed without a circuit that opened, because too few events failed. If it goes through, so may the others. And reads
    /// again what is parked: another instance may have released it.
    async fn try_held(&mut self, work: &mut Work) -> Result<bool, Stop> {
        if !self.held_is_due(work) {
            return Ok(false);
        }
        let pause = self.settings.circuit.probe.delay(self.held.tries);
        let committed = self.lane().progress().borrow().ticket;
        let Some(id) = self.oldest_held(work, committed) else {
            if self.oldest_held(work, u64::MAX).is_some() {
                return Ok(false);
            }
            self.held.at = None;
            return Err(Stop::Reload);
        };
        self.held.at = None;
        if pause.is_some() {
            work.first_event = FirstEvent::Unknown;
            self.try_queues(work, vec![id], committed).await?;
            if !matches!(work.first_event, FirstEvent::Failed { .. }) {
                self.held.tries = 0;
                work.parking.release_held(self.clock.now(), |id| !self.held.left_alone.contains(id));
                return Ok(true);
            }
            self.held.tries = self.held.tries.saturating_add(1);
        }
        Err(Stop::Reload)
    }

    /// Whether it is time to try a held event.
    pub(super) fn held_is_due(&mut self, work: &Work) -> bool {
        if work.parking.held() == 0 {
            self.held = HeldTries::default();
            return false;
        }
        let (now, probe) = (self.clock.monotonic(), self.settings.circuit.probe);
        let pause = probe.delay(self.held.tries).unwrap_or(READ_AGAIN);
        *self.held.at.get_or_insert(now.saturating_add(pause)) <= now
    }

    /// The queue with the oldest held event that may be tried.
    pub(super) fn oldest_held(&self, work: &Work, committed: u64) -> Option<QueueId> {
        work.parking.oldest_held(committed, |id| !self.held.left_alone.contains(id))
    }

    /// Tries the events at the front of queues.
    pub(super) async fn try_queues(
        &mut self,
        work: &mut Work,
        due: Vec<QueueId>,
        committed: u64,
    ) -> Result<(), Stop> {
        let Some(tried) = self.prepare_parked(work, due, committed).await? else { return Ok(()) };
        let events = |_: &Work| tried.events();
        let (invocated, alone) = match tried.care {
            ParkedCare::Interrupted => (Invocated::interrupted(), None),
            ParkedCare::Alone => {
                let (invocated, alone) = self.invoke_alone(work, tried.name(), events).await?;
                (invocated, Some(alone))
            }
            ParkedCare::Named => {
                // It is held because it failed before; and it is tried so seldom that the price does not matter.
                self.name_event(tried.name()).await?;
                (self.invoke_events(work, events).await?, None)
            }
            ParkedCare::None => (self.invoke_events(work, events).await?, None),
        };
        let care = tried.care;
        let Some(ticket) = self.conclude_parked(work, tried, invocated).await? else { return Ok(()) };
        if care != ParkedCare::None {
            self.is_recorded(ticket).await?;
        }
        drop(alone);
        Ok(())
    }

    /// Reads the events at the front of queues, and sets aside those that are too old. What is left may be tried; `None`
    /// when there is nothing.
    pub(super) async fn prepare_parked(
        &mut self,
        work: &mut Work,
        due: Vec<QueueId>,
        committed: u64,
    ) -> Result<Option<TriedParked>, Stop> {
        let mut parked = self.fetch_parked(work, due, committed).await?;
        let (now, max_age) = (self.clock.now(), self.settings.parking.max_age);
        let is_too_old = |stored: &StoredParked| {
            stored.parked.redrive_of.is_none() && stored.parked.event.enqueued_at.plus(max_age) <= now
        };
        let (too_old, mut events): (Vec<_>, Vec<_>) = parked.drain(..).partition(is_too_old);
        if !too_old.is_empty() {
            let reason = format!("it was not processed within {max_age:?}");
            let resolution = Resolution::DeadLettered {
                class: FailureClass::Exhausted,
                reason: reason.clone(),
                attempts: Vec::new(),
            };
            let resolved = too_old.iter().map(|_| resolution.clone()).collect();
            let decided = self.decided_parked(work, too_old, resolved, Vec::new(), BatchHealth::default());
            self.submit(work, decided, Vec::new(), None).await?;
        }
        if events.is_empty() {
            return Ok(None);
        }

        if !work.is_probe && self.allowed_batch().is_none() {
            return Ok(None);
        }
        let suspects_first = self.suspects_parked(work) && !std::mem::replace(&mut work.tried_parked, true);
        let is_suspect = |stored: &StoredParked| {
            work.parking.is_held(&QueueId::of(&stored.parked.event))
                || was_interrupted(&stored.parked.attempts)
                || self.is_interrupted(stored.parked.event.sequence_number, true)
        };
        // It goes alone.
        let together = events.iter().position(is_suspect).map_or(events.len(), |at| at.max(1));
        events.truncate(if suspects_first { 1 } else { together });
        let first = &events[0].parked;
        let id = QueueId::of(&first.event);
        let is_held = matches!(first.turn, Turn::Held { .. });
        if is_held && is_blamed(&first.attempts, &self.settings.retry) {
            // It would end the program once more. Only a person has it tried again.
            work.parking.repark(&id, first.turn.clone(), committed);
            self.held.left_alone.retain(|id| work.parking.is_held(id));
            self.held.left_alone.insert(id);
            let error = first.attempts.last().map(|last| last.error.clone()).unwrap_or_default();
            work.first_event = FirstEvent::Failed { error };
            return Ok(None);
        }
        self.held.left_alone.remove(&id);
        let care = if self.is_interrupted(first.event.sequence_number, true) {
            ParkedCare::Interrupted
        } else if suspects_first || was_interrupted(&first.attempts) {
            ParkedCare::Alone
        } else if work.parking.is_held(&id) {
            ParkedCare::Named
        } else {
            ParkedCare::None
        };
        Ok(Some(TriedParked { events, care }))
    }

    /// Does what follows from the answers for parked events; the decided batch. `None` when the invocation failed as a whole
    /// and they have to be tried one by one.
    pub(super) async fn conclude_parked(
        &mut self,
        work: &mut Work,
        tried: TriedParked,
        invocated: Invocated,
    ) -> Result<Option<u64>, Stop> {
        let TriedParked { events, .. } = tried;
        let Invocated { mut invoked, documents: _, lease, took } = invocated;
        let shown = match &mut invoked {
            Invoked::Answered(checked) => std::mem::take(&mut checked.shown),
            Invoked::Failed { .. } => Vec::new(),
        };
        let prior: Vec<Prior<'_>> = events
            .iter()
            .map(|stored| Prior {
                attempts: &stored.parked.attempts,
                is_redrive: stored.parked.redrive_of.is_some(),
            })
            .collect();
        let circumstances = Circumstances {
            events: events.len(),
            prior: &prior,
            retry: &self.settings.retry,
            on_exhausted: self.settings.on_exhausted,
            parks: true,
            has_room: true,
            at_limit: self.settings.parking.at_limit,
            outage: self.is_outage(),
            spares: self.spares(),
            now: self.clock.now(),
            random: self.clock.random(),
        };
        let Decision { resolved, writes, next, health, because_of, said } = decide(invoked, circumstances);
        let failed_at = resolved.len().checked_sub(1).filter(|_| said.is_some());
        work.first_event = FirstEvent::of(&resolved, &next, said.as_ref(), work.tickets + 1);
        let invocation = self.observed.as_ref().map(|observed| {
            let first = events[0].parked.event.sequence_number;
            let invocation = observe::Decided {
                lane: self.lane(),
                function: self.function.descriptor(),
                first,
                last: events.last().map_or(first, |last| last.parked.event.sequence_number),
                given: events.len(),
                is_parked: true,
                at: self.clock.now(),
                took,
                resolved: &resolved,
                next: &next,
                said: said.as_ref(),
            };
            observed.invoked(&invocation, events.iter().map(|stored| &stored.parked.event))
        });
        let ids = || events.iter().map(|stored| QueueId::of(&stored.parked.event));
        self.runs.succeeded(health.succeeded);
        for (id, resolution) in ids().zip(&resolved) {
            if matches!(resolution, Resolution::Applied | Resolution::Filtered) {
                self.runs.ended(&id);
            }
        }
        let tells = failed_at.and_then(|last| ids().nth(last)).is_none_or(|id| self.tells(&id));
        let health = self.counted(health, because_of, tells);
        if let Next::Isolate { error } = &next {
            warn!(lane = %self.lane().lane, events = events.len(), error, "an invocation failed; its parked events are tried one by one");
            work.parked_limit = 1;
            return Ok(None);
        }
        let failed = resolved.iter().any(|resolution| matches!(resolution, Resolution::Parked { .. }));
        work.parked_limit = if failed {
            (work.parked_limit / 2).max(1)
        } else {
            (work.parked_limit * 2).min(self.settings.max_event_batch_size)
        };
        let mut decided = self.decided_parked(work, events, resolved, shown, health);
        if let Some(observed) = &mut decided.observed {
            observed.invocation = invocation;
        }
        let ticket = decided.ticket;
        self.submit(work, decided, writes, lease).await?;
        Ok(Some(ticket))
    }

    /// Reads the events at the front of queues, in the order of their numbers.
    async fn fetch_parked(
        &mut self,
        work: &mut Work,
        due: Vec<QueueId>,
        committed: u64,
    ) -> Result<Vec<StoredParked>, Stop> {
        let mut failures = 0;
        loop {
            match self.read_parked(work, &due, committed).await {
                // Another owner went on, and what it parked is not this one's.
                Ok(Some(parked))
                    if parked.iter().any(|stored| stored.parked.event.sequence_number >= work.position) =>
                {
                    return Err(Stop::Reload);
                }
                Ok(Some(parked)) if parked.iter().any(|stored| work.parking.may_have_joined(stored)) => {
                    return Err(Stop::Reload);
                }
                Ok(Some(mut parked)) => {
                    parked.sort_unstable_by_key(|stored| stored.parked.event.sequence_number);
                    return Ok(parked);
                }
                // Somebody took what was there.
                Ok(None) => return Err(Stop::Reload),
                Err(error) if error.kind() == ErrorKind::Transient => {
                    failures += 1;
                    self.wait_out(failures, &error.to_string()).await?;
                }
                Err(error) => return Err(Stop::Failed(error.to_string())),
            }
        }
    }

    async fn read_parked(
        &self,
        work: &mut Work,
        due: &[QueueId],
        committed: u64,
    ) -> Result<Option<Vec<StoredParked>>, StoreError> {
        let lane = &self.lane().lane;
        let mut parked: Vec<StoredParked> = Vec::new();
        let mut room = self.read_bytes;
        for id in due {
            let most = work.parked_limit.min(work.allowed);
            if parked.len() >= most || room == 0 {
                break;
            }
            let mut found = match id {
                QueueId::Alone(number) => {
                    self.store.parked(lane, *number).await?.into_iter().collect::<Vec<_>>()
                }
                QueueId::Key(key) => {
                    let is_tried = work.parking.queue(id).is_some_and(|queue| queue.is_tried);
                    let limit = if is_tried { 1 } else { most - parked.len() };
                    self.store.parked_of_key(lane, key, SequenceNumber::ZERO, limit, room).await?
                }
            };
            if found.is_empty() && !work.parking.not_found(id, committed) {
                return Ok(None);
            }
            if found.first().is_some_and(|head| !head.parked.attempts.is_empty()) {
                found.truncate(1);
            }
            let bytes: u64 = found.iter().map(|stored| stored.parked.size()).sum();
            room = room.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
            parked.extend(found);
        }
        Ok(Some(parked))
    }

    /// What the store is told about parked events that were tried.
    pub(super) fn decided_parked(
        &mut self,
        work: &mut Work,
        parked: Vec<StoredParked>,
        resolved: Vec<Resolution>,
        shown: Vec<(SequenceNumber, Shown)>,
        health: BatchHealth,
    ) -> DecidedBatch {
        let now = self.clock.now();
        let mut shown: HashMap<_, _> = shown.into_iter().collect();
        work.tickets += 1;
        let ticket = work.tickets;
        let (mut unparked, mut reparked) = (Vec::new(), Vec::new());
        let mut left: HashMap<QueueId, (u64, u64)> = HashMap::new();
        let mut stay: Vec<(QueueId, Turn)> = Vec::new();
        let mut observed = self.observed.as_ref().map(|_| DecidedEvents::default());
        for (StoredParked { version, parked }, resolution) in parked.into_iter().zip(resolved) {
            let sequence_number = parked.event.sequence_number;
            let id = QueueId::of(&parked.event);
            if let (Some(observed), false) = (&mut observed, resolution.outcome() == Outcome::Parked) {
                observed.counts.add(resolution.outcome());
                observed.enqueued.add(parked.event.enqueued_at);
            }
            let end = match resolution {
                Resolution::Applied => UnparkedEnd::Applied,
                Resolution::Filtered => UnparkedEnd::Filtered,
                Resolution::Parked { turn, attempts } => {
                    stay.push((id, turn.clone()));
                    reparked.push(Reparked { sequence_number, version, turn, attempts });
                    continue;
                }
                Resolution::DeadLettered { class, reason, attempts } => {
                    let attempts = if attempts.is_empty() { parked.attempts.clone() } else { attempts };
                    let document = shown
                        .remove(&sequence_number)
                        .map(|shown| snapshot_of(self.function.descriptor(), shown));
                    UnparkedEnd::DeadLettered(Box::new(DeadLetter {
                        lane: parked.lane.clone(),
                        incarnation: parked.incarnation,
                        event: parked.event.clone(),
                        function_version: self.function.descriptor().version.clone(),
                        class,
                        reason,
                        attempts,
                        dead_lettered_at: now,
                        document,
                    }))
                }
            };
            let (events, bytes) = left.entry(id).or_default();
            *events += 1;
            *bytes += parked.size();
            unparked.push(Unparked { sequence_number, version, end });
        }
        if !left.is_empty() || !stay.is_empty() {
            work.drains = !left.is_empty();
        }
        for (id, (events, bytes)) in left {
            work.parking.unpark(&id, events, bytes, now, ticket);
            if work.parking.queue(&id).is_none() {
                self.runs.ended(&id);
            }
        }
        for (id, turn) in stay {
            work.parking.repark(&id, turn, ticket);
        }
        DecidedBatch {
            lane: self.index,
            advance: Advance { from: work.position, to: work.position },
            counts: OutcomeCounts::default(),
            dead_letters: Vec::new(),
            attempts: None,
            parked: Vec::new(),
            unparked,
            reparked,
            health,
            observed,
            // What follows in these queues waits for it.
            urgent: true,
            caught_up: false,
            ticket,
            memory: None,
        }
    }
}

/// Parked events that are tried together.
pub(super) struct TriedParked {
    events: Vec<StoredParked>,
    /// How carefully.
    pub(super) care: ParkedCare,
}

/// How carefully parked events are tried. With care there is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParkedCare {
    /// As ever.
    None,
    /// It is named in the store before.
    Named,
    /// It is named in the store before, and nothing else runs.
    Alone,
    /// The program ended at it. It is not tried now; that was a failed attempt.
    Interrupted,
}

impl TriedParked {
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.iter().map(|stored| stored.parked.event.clone()).collect()
    }

    /// What the store is told before the first of them is tried.
    fn name(&self) -> Trying {
        let first = &self.events[0].parked;
        Trying {
            sequence_number: first.event.sequence_number,
            attempts: first.attempts.len() as u64,
            is_parked: true,
        }
    }
}

/// When a held event is tried again.
#[derive(Clone, Debug, Default)]
pub struct HeldTries {
    /// On the steady clock.
    pub(super) at: Option<Duration>,
    /// How often that failed.
    tries: u32,
    /// Those that are not tried again by themselves.
    left_alone: BTreeSet<QueueId>,
}

/// How often what is parked is read again while events are held that only a person may try.
const READ_AGAIN: Duration = Duration::from_secs(60);
