//! The partition pump: one lane's loop, from reading to the decided batch.
//!
//! ```text
//! load the checkpoint ─► read ─► batch ─► invoke ─► decide ─► check in ─┐
//!        ▲                ▲                                             │ committed behind its back, while
//!        │                └───────────────── go on ◄────────────────────┘ the next batch is processed
//!        └── rewound: what was ahead of the store was taken back
//! ```
//!
//! The pump holds nothing that matters: wherever it is stopped, what is not committed is simply read again.

mod backlog;
mod careful;
mod concurrent;
mod gate;
mod parked;
mod parking;
mod runs;
mod waits;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tidegate_model::attempt::{Attempt, EventAttempts, FailureClass};
use tidegate_model::checkpoint::Advance;
use tidegate_model::clock::SharedClock;
use tidegate_model::dead_letter::{DeadLetter, DocumentSnapshot};
use tidegate_model::document::DocumentId;
use tidegate_model::error::ErrorKind;
use tidegate_model::event::Event;
use tidegate_model::health::HealthCounts;
use tidegate_model::observe::{DecidedEvents, EnqueuedRuns};
use tidegate_model::outcome::{Outcome, OutcomeCounts};
use tidegate_model::parking::{ParkedEvent, Turn};
use tidegate_model::ports::{Function, FunctionDescriptor, ReadError, ReadLimit, Store, StoreError};
use tidegate_model::position::SequenceNumber;
use tokio::sync::{OwnedRwLockReadGuard, watch};
use tracing::{error, warn};

use crate::batcher::{self, BatchDecision};
use crate::caution::Trying;
use crate::circuit::counted::{BatchHealth, LaneHealth};
use crate::circuit::guard::Guard;
use crate::invoker::{DocumentsTurn, Invocated, Invoker, MAX_ABANDONED, NotInvoked};
use crate::lane::{LaneIndex, OwnedLane, Tenure};
use crate::memory::Memory;
use crate::observe::{self, Observed};
use crate::outcome::answers::Shown;
use crate::outcome::commit::second_of;
use crate::outcome::decide::{
    Circumstances, Decision, Invoked, Next, Prior, Resolution, decide, was_interrupted,
};
use crate::settings::{AtLimit, FunctionSettings, Order};
use crate::status::LaneState;
use crate::workspace::{DecidedBatch, Generation, Lease, Rewound, Workspace, Write};

use backlog::Ahead;
use careful::Loaded;
use concurrent::Flights;
use gate::FirstEvent;
pub use gate::{Candidate, Gate};
pub use parked::HeldTries;
use parking::{Parking, QueueId};
pub use runs::FailingRuns;
pub use waits::Retry;
use work::{EVENT_OVERHEAD, Work, memory_of, memory_of_decided};

/// One lane's pump. A clone is another one for the same lane.
#[derive(Clone)]
pub struct PartitionPump {
    /// All lanes; the pump's own is at `index`.
    pub lanes: Arc<[OwnedLane]>,
    /// Which lane it is.
    pub index: LaneIndex,
    /// The function.
    pub function: Arc<dyn Function>,
    /// How it is run.
    pub settings: FunctionSettings,
    /// Where the checkpoint is.
    pub store: Arc<dyn Store>,
    /// What is ahead of the store.
    pub workspace: Arc<Workspace>,
    /// Runs the function.
    pub invoker: Arc<Invoker>,
    /// Time and chance.
    pub clock: SharedClock,
    /// The memory for events of all lanes.
    pub event_memory: Memory,
    /// The memory for what decided batches of all lanes hold while they wait to be committed: documents and dead
    /// letters.
    pub decided_memory: Memory,
    /// How much is read at once, in bytes.
    pub read_bytes: usize,
    /// How much memory what waits to be committed may take, over all lanes, in bytes.
    pub in_flight_bytes: usize,
    /// Who claims the lane.
    pub owner: String,
    /// Turns true when the processor drains.
    pub draining: watch::Receiver<bool>,
    /// Changes when what is parked in the lane, or its checkpoint, was changed from outside.
    pub changes: watch::Receiver<u64>,
    /// Whether the lane is owned.
    pub tenure: watch::Receiver<Tenure>,
    /// The last term of the lane that it has begun.
    pub begun: Option<u64>,
    /// The number of this pump. It ends when [another one](OwnedLane::new_pump) is in charge.
    pub number: u64,
    /// How long it may take to finish what is under way when the lane is to be given up; then that is abandoned.
    pub leave_within: Duration,
    /// Whether events may go to the function.
    pub gate: Gate,
    /// Keeps an outage from filling the dead letters.
    pub guard: Arc<Guard>,
    /// Who is told of invocations, if somebody is.
    pub observed: Option<Arc<Observed>>,
    /// What this lane counts for the circuits.
    pub health: LaneHealth,
    /// Which of its failures count.
    pub runs: FailingRuns,
    /// When a held event is tried again.
    pub held: HeldTries,
    /// What this lane tried as a probe of the circuit, and how often that failed.
    pub failed_probes: BTreeMap<Candidate, u32>,
    /// The event that is to be tried again. It outlives what is taken back, so that its pause is kept.
    pub retry: Option<Retry>,
}

/// Why a pump ended what it was doing.
enum Stop {
    /// The processor drains.
    Drained,
    /// What was ahead of the store was taken back: begin again at the checkpoint.
    Rewound,
    /// What is parked was changed from outside, or what was begun must not go on: begin again at the checkpoint, once all
    /// that is decided is in the store.
    Reload,
    /// The lane is to be given up.
    Leave,
    /// The lane has another owner.
    Lost,
    /// Another reader has its partition.
    Taken,
    /// It cannot go on without a person.
    Failed(String),
}

impl From<Rewound> for Stop {
    fn from(_: Rewound) -> Self {
        Self::Rewound
    }
}

impl PartitionPump {
    /// Runs until the processor drains, the lane is stopped, or another pump is in charge of it.
    pub async fn run(mut self) {
        let mut generation = self.workspace.generation();
        if self.lane().is_stopped() {
            return;
        }
        loop {
            let Ok(term) = self.until_owned().await else { return };
            if self.begun != Some(term) {
                self.begun = Some(term);
                // Others may have had the lane meanwhile.
                self.runs.forget();
                self.lane().log.begin_term(self.lane().lane.partition);
            }
            let current = *generation.borrow_and_update();
            let called_off = self.called_off(term);
            let stop = if self.is_to_leave() {
                Stop::Leave
            } else {
                tokio::select! {
                    biased;
                    // The workspace tells a pump that checks something in; one that waits has to be told.
                    _ = generation.changed() => Stop::Rewound,
                    stop = called_off => stop,
                    stop = self.process(current) => stop,
                }
            };
            if self.lane().is_stopped() || self.lane().pump() != self.number {
                return;
            }
            let stop = match stop {
                Stop::Leave => self.leave(current, term).await,
                Stop::Taken => self.let_go(term).await,
                stop => stop,
            };
            match stop {
                Stop::Rewound | Stop::Reload | Stop::Leave | Stop::Taken => {}
                Stop::Drained => return,
                Stop::Lost => {
                    self.take_back();
                    self.lane().lost(term);
                }
                Stop::Failed(reason) => {
                    error!(lane = %self.lane().lane, reason, "the lane is stopped");
                    self.lane().stop(reason);
                    return;
                }
            }
        }
    }

    /// Processes the lane from its checkpoint on.
    async fn process(&mut self, generation: Generation) -> Stop {
        let mut work = match self.load(generation).await {
            Ok(work) => work,
            Err(stop) => return stop,
        };
        let mut flights = Flights::default();
        loop {
            let step = if flights.is_empty() && !self.may_fly(&work) {
                self.step(&mut work).await
            } else {
                self.fly(&mut work, &mut flights).await
            };
            match step {
                Ok(()) => {}
                Err(Stop::Reload) => {
                    // What is decided has to be in the store before the lane begins again there.
                    self.workspace.hurry();
                    let in_store = self.unless_drained(self.committed(work.submitted)).await;
                    return in_store.err().unwrap_or(Stop::Reload);
                }
                Err(stop) => return stop,
            }
        }
    }

    /// Loads where the lane is.
    async fn load(&mut self, generation: Generation) -> Result<Work, Stop> {
        let lane = self.lane().lane.clone();
        let store_says = |error: StoreError| (error.kind(), error.to_string());
        self.changes.mark_unchanged();
        let mut failures = 0;
        loop {
            let loaded = async {
                if self.lane().must_claim() {
                    self.claim_again().await.map_err(store_says)?;
                }
                let tail = self.lane().log.tail(lane.partition).map_err(|e| (e.kind(), e.to_string()))?;
                let checkpoint = self.store.checkpoint(&lane).await.map_err(store_says)?;
                let attempts = self.store.attempts(&lane).await.map_err(store_says)?;
                let parked = self.store.parking_place(&lane).await.map_err(store_says)?;
                if let Some(checkpoint) = &checkpoint {
                    let (position, tail) = (checkpoint.position, *tail.borrow());
                    let loaded = Loaded { position, tail, attempts: &attempts, parked: &parked };
                    self.learn_care(&loaded).await.map_err(store_says)?;
                }
                Ok((tail, checkpoint, attempts, parked))
            };
            let (kind, error) = match loaded.await {
                Ok((tail, Some(checkpoint), attempts, parked)) => {
                    let position = checkpoint.position;
                    self.lane().resumes_at(position);
                    let tickets = self.lane().progress().borrow().ticket;
                    self.lane().set_submitted(tickets);
                    self.retry.take_if(|retry| retry.sequence_number < position);
                    let attempts = attempts.into_iter().find(|record| record.sequence_number >= position);
                    if parked.heads.last().is_some_and(|head| head.sequence_number >= position) {
                        // The two were read one after the other, and somebody went on in between.
                        continue;
                    }
                    let interrupted = self.interrupted_queue(&parked);
                    let parking = Parking::new(parked, self.settings.order, self.settings.parking);
                    self.runs.retain(&parking);
                    self.lane().set_parked(parking.events(), parking.held());
                    return Ok(Work {
                        generation,
                        tail,
                        position,
                        read_from: position,
                        buffer: VecDeque::new(),
                        memory: None,
                        oldest_since: Duration::ZERO,
                        isolate_until: position,
                        attempts,
                        parking,
                        gate: self.gate.changes(),
                        is_probe: false,
                        interrupted,
                        tried_parked: false,
                        drains: false,
                        allowed: usize::MAX,
                        first_event: FirstEvent::Unknown,
                        parked_limit: self.settings.max_event_batch_size,
                        given_limit: self.settings.max_event_batch_size,
                        tickets,
                        submitted: tickets,
                        last_batch: 0,
                        last_batch_at: Duration::ZERO,
                    });
                }
                Ok((_, None, ..)) => return Err(Stop::Failed("its checkpoint is gone".to_owned())),
                Err(said) => said,
            };
            match kind {
                ErrorKind::Transient => {}
                ErrorKind::Fenced if self.lane().is_shared() => return Err(Stop::Lost),
                _ => return Err(Stop::Failed(error)),
            }
            failures += 1;
            self.wait_out(failures, &error).await?;
        }
    }

    /// Claims a lane that nobody owns since its checkpoint was moved.
    async fn claim_again(&self) -> Result<(), StoreError> {
        let lane = &self.lane().lane;
        let ownerships = self.store.ownerships().await?;
        let other = ownerships.into_iter().find(|ownership| ownership.lane == *lane);
        if let Some(other) = other
            .filter(|other| !["", &self.owner].contains(&&*other.owner) && other.epoch > self.lane().epoch())
        {
            let ours = self.lane().epoch();
            return Err(StoreError::Fenced { lane: lane.clone(), ours, stored: Some(other.epoch) });
        }
        let ownership = self.store.claim(lane, &self.owner, self.clock.now()).await?;
        self.lane().claimed(ownership.epoch, false);
        Ok(())
    }

    /// Reads what there is, and invokes the function if that makes a batch; else waits until there is more to do.
    async fn step(&mut self, work: &mut Work) -> Result<(), Stop> {
        if *self.draining.borrow() {
            return Err(Stop::Drained);
        }
        if self.is_to_leave() {
            return Err(Stop::Leave);
        }
        if self.changes.has_changed().unwrap_or(false) {
            return Err(Stop::Reload);
        }
        if work.gate.has_changed() {
            work.gate.mark_unchanged();
            if work.parking.held() > 0 {
                // When a circuit closes, what was held is released.
                return Err(Stop::Reload);
            }
        }
        let Some(allowed) = self.allowed_batch() else { return self.wait_for_gate(work).await };
        work.allowed = allowed;
        let is_careful = self.take_care(work).await?;
        let tried = self.try_parked(work).await?;
        if tried && is_careful {
            return Ok(());
        }
        if work.parking.stops_the_lane() {
            return if tried { Ok(()) } else { self.wait_for_parked(work).await };
        }
        self.gather(work).await?;
        let end = *work.tail.borrow_and_update();
        if work.buffer.len() < self.settings.max_event_batch_size && work.read_from < end {
            self.read(work, true).await?;
        }
        let next = work.buffer.front().map(|event| event.sequence_number);
        if tried && next.is_none() {
            return Ok(());
        }
        if let Some(retry) = self.retry.clone().filter(|retry| Some(retry.sequence_number) == next) {
            if self.is_due(&retry) {
                self.lane().set_state(LaneState::Running);
            } else {
                // Others may need the memory meanwhile.
                work.drop_buffer();
                return self.pause_until_due(&retry).await;
            }
        }
        self.lane().set_state(LaneState::Running);
        if work.buffer.is_empty() && work.position < work.read_from {
            self.pass_over_lost(work)?;
        }
        if self.works_off_what_is_parked(work) {
            return if tried { Ok(()) } else { self.wait_for_turn(work).await };
        }
        if self.next_goes_alone(work) {
            return self.process_batch(work, 1).await;
        }

        let together = self.may_go_together(work);
        let waited = self.clock.monotonic().saturating_sub(work.oldest_since);
        match batcher::decide(&self.settings, work.buffer.len(), waited) {
            BatchDecision::Take(events) => self.process_batch(work, events.min(together)).await,
            decision => {
                if work.read_from < end {
                    // More is there already; memory for it was short.
                    return self.process_batch(work, together).await;
                }
                let enough_waited = async {
                    match decision {
                        BatchDecision::WaitAtMost(wait) => self.clock.sleep(wait).await,
                        _ => std::future::pending().await,
                    }
                };
                let parked_turn = self.parked_turn(work);
                let mut tail = work.tail.clone();
                let (mut draining, mut changes, mut gate) =
                    (self.draining.clone(), self.changes.clone(), work.gate.clone());
                tokio::select! {
                    biased;
                    _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
                    changed = tail.changed() => {
                        changed.map_err(|_| Stop::Failed("the log was closed".to_owned()))
                    }
                    _ = changes.changed() => Ok(()),
                    () = gate.changed() => Ok(()),
                    () = enough_waited => Ok(()),
                    () = parked_turn => Ok(()),
                }
            }
        }
    }

    /// Whether the next events of the log [wait](backlog) until more of what is parked is worked off.
    fn works_off_what_is_parked(&self, work: &Work) -> bool {
        let is_at_it = work.drains && work.parking.queues_in_the_way() >= backlog::FEW_KEYS;
        is_at_it && work.parking.is_due_by(self.clock.now()) && {
            let keys = work.buffer.iter().map(|event| event.data.partition_key.as_ref());
            Ahead::of(keys, |key| work.parking.has_key(key)).comes_after_what_is_parked()
        }
    }

    /// Lets events gather if the lane is busy: until there is a full batch, or for a moment.
    async fn gather(&self, work: &mut Work) -> Result<(), Stop> {
        let position = work.position;
        let available = work.tail.borrow().distance_from(position);
        let since_last = self.clock.monotonic().saturating_sub(work.last_batch_at);
        let Some(wait) = batcher::gather(&self.settings, available, work.last_batch, since_last) else {
            return Ok(());
        };
        let full = position.plus(self.settings.max_event_batch_size as u64);
        self.unless_drained(async {
            tokio::select! {
                biased;
                _ = work.tail.wait_for(|end| *end >= full) => {}
                () = self.clock.sleep(wait) => {}
            }
        })
        .await
    }

    /// True when the next event is known to make trouble: it failed, or a batch with it did. It waits for no others.
    fn next_goes_alone(&self, work: &Work) -> bool {
        let failed = [
            self.retry.as_ref().map(|retry| retry.sequence_number),
            work.attempts.as_ref().map(|record| record.sequence_number),
        ];
        work.buffer.front().is_some_and(|event| {
            event.sequence_number < work.isolate_until || failed.contains(&Some(event.sequence_number))
        })
    }

    /// How many of the next events may go together: those before the one that is to be tried again.
    fn may_go_together(&self, work: &Work) -> usize {
        let Some(retry) = &self.retry else { return work.buffer.len() };
        work.buffer.partition_point(|event| event.sequence_number < retry.sequence_number)
    }

    /// Reads a chunk into the buffer, if there is memory for it. A pump that holds nothing `may_wait` for memory.
    async fn read(&mut self, work: &mut Work, may_wait: bool) -> Result<(), Stop> {
        let memory = if work.buffer.is_empty() && may_wait {
            self.unless_drained(self.event_memory.acquire(self.read_bytes)).await?
        } else {
            // A pump that holds memory must not wait for more: all might.
            match self.event_memory.try_acquire(self.read_bytes) {
                Some(memory) => memory,
                None => return Ok(()),
            }
        };
        let mut failures = 0;
        loop {
            let (kind, error) = match self.read_or_skip(work.read_from).await {
                Ok(Found::Events(events)) => {
                    work.take_in(events, memory, self.clock.monotonic());
                    return Ok(());
                }
                Ok(Found::LostUpTo(end)) => {
                    work.read_from = end;
                    return Ok(());
                }
                Ok(Found::Nothing) => (ErrorKind::Transient, "the log has events, but gives none".to_owned()),
                Err(error @ ReadError::Expired { .. }) => match self.is_overtaken(work).await {
                    Ok(true) => return Err(Stop::Reload),
                    Ok(false) => (error.kind(), error.to_string()),
                    Err(unknown) => (unknown.kind(), unknown.to_string()),
                },
                Err(error @ ReadError::Fenced { .. }) => return Err(self.taken_over(&error).await),
                Err(error) => (error.kind(), error.to_string()),
            };
            if kind != ErrorKind::Transient {
                return Err(Stop::Failed(error));
            }
            failures += 1;
            self.wait_out(failures, &error).await?;
        }
    }

    /// Whether the checkpoint is further than this pump: somebody else owns the lane and went on, or moved it. Retention
    /// follows the checkpoint.
    async fn is_overtaken(&self, work: &Work) -> Result<bool, StoreError> {
        let checkpoint = self.store.checkpoint(&self.lane().lane).await?;
        Ok(checkpoint.is_some_and(|checkpoint| checkpoint.position > work.position))
    }

    /// What to do when another reader has the partition. To read on would be to fight for it.
    async fn taken_over(&self, error: &ReadError) -> Stop {
        let lane = self.lane();
        let code = error.code();
        if lane.assigned().is_some() {
            warn!(lane = %lane.lane, %code, %error, "the lane is given up");
            return Stop::Taken;
        }
        if lane.is_shared() {
            match self.store.ownerships().await {
                Ok(ownerships) => {
                    let stored = ownerships.iter().find(|stored| stored.lane == lane.lane);
                    if stored.is_some_and(|stored| stored.owner != self.owner && stored.epoch > lane.epoch())
                    {
                        return Stop::Lost;
                    }
                }
                // Giving it up finds out.
                Err(unknown) if unknown.kind() == ErrorKind::Transient => return Stop::Leave,
                Err(unknown) => return Stop::Failed(unknown.to_string()),
            }
        }
        Stop::Failed(format!(
            "{code}: {error}. Nothing is lost: what is not resolved stays unresolved. Let one of the two read in a consumer \
             group of its own, or end the other one, and restart"
        ))
    }

    async fn read_or_skip(&self, from: SequenceNumber) -> Result<Found, ReadError> {
        let lane = self.lane();
        let limit = ReadLimit { events: (self.read_bytes / EVENT_OVERHEAD).max(1), bytes: self.read_bytes };
        let events = lane.log.read(lane.lane.partition, from, limit).await?;
        if !events.is_empty() {
            return Ok(Found::Events(events));
        }
        // There is nothing to read before the tail: what is left was given up by a repair of the log.
        let lost = lane.log.status(lane.lane.partition)?.lost;
        let lost = lost.into_iter().find(|lost| lost.contains(&from));
        Ok(lost.map_or(Found::Nothing, |lost| Found::LostUpTo(lost.end)))
    }

    /// Accounts for numbers at the end of what was read that a repair of the log has given up.
    fn pass_over_lost(&mut self, work: &mut Work) -> Result<(), Stop> {
        let lost = work.read_from.distance_from(work.position);
        work.position = work.read_from;
        let mut decided = self.decided_batch(work, Vec::new(), Vec::new());
        decided.advance.from = SequenceNumber(work.position.0 - lost);
        decided.counts.lost = lost;
        let ticket = decided.ticket;
        self.workspace.push(work.generation, decided)?;
        work.submitted = ticket;
        self.lane().set_submitted(ticket);
        Ok(())
    }

    /// Invokes the function with the first of at most `events` events in the buffer and does what follows from its
    /// answers. Events that must wait behind a parked one are parked without asking the function.
    async fn process_batch(&mut self, work: &mut Work, events: usize) -> Result<(), Stop> {
        let selection = self.select(work, events.min(work.given_limit).min(work.allowed));
        if selection.given == 0 {
            if selection.fates.is_empty() {
                return if work.buffer.is_empty() { Ok(()) } else { self.wait_for_room(work).await };
            }
            let decided =
                self.decided_batch(work, selection.fates.into_iter().flatten().collect(), Vec::new());
            return self.submit(work, decided, Vec::new(), None).await;
        }
        let Selection { given: events, first, .. } = selection;
        if !work.is_probe && self.allowed_batch().is_none() {
            return Ok(());
        }
        (work.last_batch, work.last_batch_at) = (events, self.clock.monotonic());
        let prior = work.attempts.as_ref().filter(|record| record.sequence_number == first);
        let prior = prior.map_or(Vec::new(), |record| record.attempts.clone());
        let is_interrupted = events == 1 && self.is_interrupted(first, false);
        let is_suspect = events == 1 && (self.suspects_next(work.position) || was_interrupted(&prior));
        let (invocated, alone) = if is_interrupted {
            (Invocated::interrupted(), None)
        } else if is_suspect {
            let trying = Trying { sequence_number: first, attempts: prior.len() as u64, is_parked: false };
            let (invocated, alone) = self.invoke_alone(work, trying, |work| selection.events(work)).await?;
            (invocated, Some(alone))
        } else {
            (self.invoke_events(work, |work| selection.events(work)).await?, None)
        };
        let Some(Concluded { ticket, retry }) = self.conclude(work, selection, &prior, invocated).await?
        else {
            return Ok(());
        };
        if is_interrupted || alone.is_some() {
            self.is_recorded(ticket).await?;
            drop(alone);
        }
        if self.allowed_batch().is_none() {
            // The gate holds the lane; when it opens, there has been a pause.
            return Ok(());
        }
        match retry {
            Some((sequence_number, attempts, delay)) => {
                self.wait_to_retry(ticket, sequence_number, &attempts, delay).await
            }
            None => Ok(()),
        }
    }

    /// Does what follows from the answers for the first events in the buffer. `None` when the invocation failed as a whole
    /// and its events have to be tried one by one.
    async fn conclude(
        &mut self,
        work: &mut Work,
        selection: Selection,
        prior: &[Attempt],
        invocated: Invocated,
    ) -> Result<Option<Concluded>, Stop> {
        let Selection { given: events, first, last, .. } = selection;
        let prior = Prior { attempts: prior, is_redrive: false };
        let circumstances = Circumstances {
            events,
            prior: &[prior],
            retry: &self.settings.retry,
            on_exhausted: self.settings.on_exhausted,
            parks: self.settings.order != Order::Partition,
            has_room: work.parking.has_room(0),
            at_limit: self.settings.parking.at_limit,
            outage: self.is_outage(),
            spares: self.spares(),
            now: self.clock.now(),
            random: self.clock.random(),
        };
        let Invocated { mut invoked, documents, lease, took } = invocated;
        let mut shown = match &mut invoked {
            Invoked::Answered(checked) => std::mem::take(&mut checked.shown),
            Invoked::Failed { .. } => Vec::new(),
        };
        let Decision { resolved, writes, next, health, because_of, said } = decide(invoked, circumstances);
        work.first_event = FirstEvent::of(&resolved, &next, said.as_ref(), work.tickets + 1);
        let invocation = self.observed.as_ref().map(|observed| {
            let invocation = observe::Decided {
                lane: self.lane(),
                function: self.function.descriptor(),
                first,
                last,
                given: events,
                is_parked: false,
                at: self.clock.now(),
                took,
                resolved: &resolved,
                next: &next,
                said: said.as_ref(),
            };
            observed.invoked(&invocation, selection.given(work))
        });

        if let Next::Isolate { error } = &next {
            warn!(lane = %self.lane().lane, first = %first, events, error, "an invocation failed; its events are tried one by one");
            work.isolate_until = last.next();
            return Ok(None);
        }
        if let (1, [Resolution::DeadLettered { .. }], true) = (events, &resolved[..], shown.is_empty()) {
            // Whatever became of the invocation, an event that was alone was about the document it named.
            shown.extend(show_first(&documents, lease.as_ref()).map(|document| (first, document)));
        }
        // While many events fail, smaller batches waste less work on those behind them.
        let failed = resolved.iter().any(|resolution| matches!(resolution, Resolution::Parked { .. }));
        work.given_limit = if failed {
            (work.given_limit / 2).max(1)
        } else {
            (work.given_limit * 2).min(self.settings.max_event_batch_size)
        };
        self.runs.succeeded(health.succeeded);
        let parked = resolved.len().checked_sub(1).filter(|_| failed);
        let parked = parked.and_then(|last| selection.given(work).nth(last)).map(QueueId::of);
        let tells = parked.is_none_or(|id| self.tells(&id));
        let resolved = if selection.is_simple { resolved } else { interleave(selection.fates, resolved) };
        let mut decided = self.decided_batch(work, resolved, shown);
        if let Some(observed) = &mut decided.observed {
            observed.invocation = invocation;
        }
        decided.health = self.counted(health, because_of, tells);
        let ticket = decided.ticket;
        let retry = match next {
            Next::Retry { attempts, delay } => {
                let sequence_number = work
                    .buffer
                    .front()
                    .expect("the event that is tried again is the next one")
                    .sequence_number;
                decided.urgent = true;
                decided.attempts = Some(EventAttempts { sequence_number, attempts: attempts.clone() });
                work.attempts.clone_from(&decided.attempts);
                Some((sequence_number, attempts, delay))
            }
            _ => None,
        };
        self.submit(work, decided, writes, lease).await?;
        Ok(Some(Concluded { ticket, retry }))
    }

    /// Chooses at most `limit` events for the function from the front of the buffer, and says of each event up to the
    /// last of them whether it goes to the function or is parked behind another.
    fn select(&self, work: &Work, limit: usize) -> Selection {
        let mut selection = Selection {
            given: 0,
            first: work.position,
            last: work.position,
            fates: Vec::new(),
            is_simple: !work.parking.makes_events_wait(),
        };
        if selection.is_simple {
            selection.given = limit.min(work.buffer.len());
            if let Some(last) = selection.given.checked_sub(1) {
                selection.first = work.buffer[0].sequence_number;
                selection.last = work.buffer[last].sequence_number;
            }
            return selection;
        }
        let now = self.clock.now();
        let mut room = work.parking.room();
        for event in &work.buffer {
            if selection.given >= limit {
                break;
            }
            let Some(_) = work.parking.queue_of(event) else {
                if selection.given == 0 {
                    selection.first = event.sequence_number;
                }
                selection.last = event.sequence_number;
                selection.given += 1;
                selection.fates.push(None);
                continue;
            };
            // It may have been tried before what it waits behind came: by a redrive.
            let attempts = || {
                let known = work.attempts.as_ref();
                let known = known.filter(|record| record.sequence_number == event.sequence_number);
                known.map_or(Vec::new(), |record| record.attempts.clone())
            };
            selection.fates.push(Some(if room.take(event.data.size()) {
                Resolution::Parked { turn: Turn::At(now), attempts: attempts() }
            } else if work.parking.limits().at_limit == AtLimit::DeadLetter {
                let reason =
                    "an earlier event of its key waits, and there is no room to park this one".to_owned();
                Resolution::DeadLettered { class: FailureClass::Exhausted, reason, attempts: attempts() }
            } else {
                break;
            }));
        }
        selection
    }

    /// Whether the failure of a queue's head says something about the world.
    fn tells(&mut self, id: &QueueId) -> bool {
        self.is_outage() || self.runs.failed(id)
    }

    /// Counts what becomes of events, for the circuits and for the guard; the failures only if they [tell](FailingRuns)
    /// something.
    fn counted(
        &mut self,
        mut health: HealthCounts,
        mut because_of: Option<(String, HealthCounts)>,
        tells: bool,
    ) -> BatchHealth {
        let second = second_of(self.clock.now());
        if !tells {
            health = HealthCounts { succeeded: health.succeeded, ..HealthCounts::default() };
            because_of = None;
        }
        let health = self.health.count(&self.settings, health, because_of, second);
        self.guard.record(second, health.total());
        health
    }

    /// Puts a decided batch into the queue of what is to be committed.
    async fn submit(
        &mut self,
        work: &mut Work,
        mut decided: DecidedBatch,
        writes: Vec<Write>,
        lease: Option<Lease>,
    ) -> Result<(), Stop> {
        self.lane().set_parked(work.parking.events(), work.parking.held());
        let memory = memory_of_decided(&decided, &writes);
        decided.memory = match self.decided_memory.try_acquire(memory) {
            Some(memory) => Some(memory),
            None => {
                // What holds this memory is in the queue: waiting ends when that is committed, so it had better be.
                self.workspace.hurry();
                Some(self.decided_memory.acquire(memory).await)
            }
        };
        let ticket = decided.ticket;
        match lease {
            Some(lease) if !writes.is_empty() => {
                lease.check_in(decided, self.lane().lane.partition, writes)?;
            }
            lease => {
                drop(lease);
                self.workspace.push(work.generation, decided)?;
            }
        }
        work.submitted = ticket;
        self.lane().set_submitted(ticket);
        Ok(())
    }

    /// Invokes the function with what `events` makes, while others run.
    async fn invoke_events(
        &mut self,
        work: &Work,
        events: impl Fn(&Work) -> Vec<Event>,
    ) -> Result<Invocated, Stop> {
        self.invoke_until_it_can_be_done(work, events, true).await
    }

    /// Invokes the function with what `events` makes, again and again while that cannot be done.
    async fn invoke_until_it_can_be_done(
        &mut self,
        work: &Work,
        events: impl Fn(&Work) -> Vec<Event>,
        among_others: bool,
    ) -> Result<Invocated, Stop> {
        let mut failures = 0;
        loop {
            if failures > 0 {
                self.lane().set_state(LaneState::Running);
            }
            let _among_others = if among_others { Some(self.among_others().await?) } else { None };
            if !work.is_probe && self.allowed_batch().is_none() {
                // It waited, and the gate closed meanwhile.
                return Err(Stop::Reload);
            }
            let timeout = self.settings.timeout;
            let documents_turn = DocumentsTurn::after(None);
            let invoked =
                self.invoker.invoke(&self.function, events(work), timeout, work.generation, documents_turn);
            let not_invoked = match invoked.await {
                Ok(invocated) => return Ok(invocated),
                Err(not_invoked) => not_invoked,
            };
            failures += 1;
            self.wait_to_invoke(failures, not_invoked).await?;
        }
    }

    /// Waits a little until an invocation can perhaps be made.
    async fn wait_to_invoke(&self, failures: u32, not_invoked: NotInvoked) -> Result<(), Stop> {
        let problem = match not_invoked {
            NotInvoked::Rewound => return Err(Stop::Rewound),
            NotInvoked::Store(error) if error.kind() == ErrorKind::Transient => error.to_string(),
            NotInvoked::Store(error) => return Err(Stop::Failed(error.to_string())),
            NotInvoked::InUse => return Ok(()),
            NotInvoked::TooManyAbandoned => {
                format!(
                    "{MAX_ABANDONED} invocations that were given up have not returned; waiting for one to end"
                )
            }
            NotInvoked::NoThread => {
                format!("no thread was free to run the function for {:?}", self.settings.timeout)
            }
        };
        self.wait_out(failures, &problem).await
    }

    /// Takes the resolved events off the buffer and makes a decided batch of them.
    fn decided_batch(
        &mut self,
        work: &mut Work,
        resolved: Vec<Resolution>,
        shown: Vec<(SequenceNumber, Shown)>,
    ) -> DecidedBatch {
        let lane = &self.lanes[self.index];
        let mut shown: HashMap<_, _> = shown.into_iter().collect();
        let from = work.position;
        let mut counts = OutcomeCounts::default();
        let (mut dead_letters, mut parked) = (Vec::new(), Vec::new());
        let ticket = work.tickets + 1;
        let mut bytes = 0;
        let mut enqueued = self.observed.as_ref().map(|_| EnqueuedRuns::default());
        for resolution in resolved {
            let event = work.buffer.pop_front().expect("only events of the batch are resolved");
            // Numbers between two events are those that a repair of the log has given up.
            counts.lost += event.sequence_number.distance_from(work.position);
            work.position = event.sequence_number.next();
            bytes += memory_of(&event);
            counts.add(resolution.outcome());
            if let (Some(enqueued), false) = (&mut enqueued, resolution.outcome() == Outcome::Parked) {
                enqueued.add(event.enqueued_at);
            }
            if let Resolution::Parked { turn, attempts } = resolution {
                work.parking.park(&event, turn.clone(), !attempts.is_empty(), ticket);
                parked.push(ParkedEvent {
                    lane: lane.lane.clone(),
                    incarnation: lane.incarnation,
                    event,
                    turn,
                    attempts,
                    parked_at: self.clock.now(),
                    redrive_of: None,
                });
            } else if let Resolution::DeadLettered { class, reason, attempts } = resolution {
                let document = shown
                    .remove(&event.sequence_number)
                    .map(|shown| snapshot_of(self.function.descriptor(), shown));
                dead_letters.push(DeadLetter {
                    lane: lane.lane.clone(),
                    incarnation: lane.incarnation,
                    event,
                    function_version: self.function.descriptor().version.clone(),
                    class,
                    reason,
                    attempts,
                    dead_lettered_at: self.clock.now(),
                    document,
                });
            }
        }
        if work.attempts.as_ref().is_some_and(|record| record.sequence_number < work.position) {
            work.attempts = None;
        }
        self.retry.take_if(|retry| retry.sequence_number < work.position);
        work.release(bytes);
        work.tickets = ticket;
        DecidedBatch {
            lane: self.index,
            advance: Advance { from, to: work.position },
            counts,
            dead_letters,
            attempts: None,
            parked,
            unparked: Vec::new(),
            reparked: Vec::new(),
            health: BatchHealth::default(),
            observed: enqueued.map(|enqueued| DecidedEvents { invocation: None, counts, enqueued }),
            urgent: false,
            caught_up: work.buffer.is_empty() && work.read_from >= *work.tail.borrow(),
            ticket,
            memory: None,
        }
    }

    /// Waits until functions may be invoked while others are.
    async fn among_others(&self) -> Result<OwnedRwLockReadGuard<()>, Stop> {
        if let Some(among_others) = self.invoker.try_among_others() {
            return Ok(among_others);
        }
        let error = "an event that may end the program is tried while nothing else runs".to_owned();
        self.lane().set_state(LaneState::Waiting { error });
        let among_others = self.unless_drained(self.invoker.among_others()).await?;
        self.lane().set_state(LaneState::Running);
        Ok(among_others)
    }

    fn lane(&self) -> &OwnedLane {
        &self.lanes[self.index]
    }

    fn is_to_leave(&self) -> bool {
        matches!(*self.tenure.borrow(), Tenure::Leaving(_))
    }
}

/// The events that go to the function next.
struct Selection {
    /// How many.
    given: usize,
    first: SequenceNumber,
    last: SequenceNumber,
    /// Of each event up to the last one that is given, and those behind it that need not ask: what becomes of it; `None`
    /// for those that are given.
    fates: Vec<Option<Resolution>>,
    /// Whether simply the next events are given; then there are no fates.
    is_simple: bool,
}

impl Selection {
    fn events(&self, work: &Work) -> Vec<Event> {
        self.given(work).cloned().collect()
    }

    fn given<'a>(&'a self, work: &'a Work) -> impl Iterator<Item = &'a Event> + Clone {
        let fates = self.fates.iter().map(Option::is_none).chain(std::iter::repeat(self.is_simple));
        work.buffer
            .iter()
            .zip(fates)
            .filter(|(_, is_given)| *is_given)
            .map(|(event, _)| event)
            .take(self.given)
    }
}

/// What followed from the answers of an invocation.
struct Concluded {
    /// The decided batch.
    ticket: u64,
    /// The event that is to be tried again, its failed attempts, and the pause.
    retry: Option<(SequenceNumber, Vec<Attempt>, Duration)>,
}

/// How the first events of a selection end: as the function's answers say, or without it.
fn interleave(fates: Vec<Option<Resolution>>, resolved: Vec<Resolution>) -> Vec<Resolution> {
    let mut resolved = resolved.into_iter();
    fates.into_iter().map_while(|fate| fate.or_else(|| resolved.next())).collect()
}

/// A document in a dead letter.
fn snapshot_of(function: &FunctionDescriptor, (id, body): Shown) -> DocumentSnapshot {
    DocumentSnapshot { collection: function.collection.clone(), id, body }
}

/// The first of the documents that an invocation named, before it.
fn show_first(documents: &[DocumentId], lease: Option<&Lease>) -> Option<Shown> {
    let id = documents.first()?.clone();
    let json = match lease?.current().first()? {
        // The function's own code writes it as JSON.
        Some(body) => Some(catch_unwind(AssertUnwindSafe(|| body.encode())).ok()?.ok()?),
        None => None,
    };
    Some((id, json))
}

/// What a look into the log found.
enum Found {
    Events(Vec<Event>),
    /// Nothing before this number: a repair of the log has given it up.
    LostUpTo(SequenceNumber),
    Nothing,
}
