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

mod waits;
mod work;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tidegate_model::attempt::EventAttempts;
use tidegate_model::checkpoint::Advance;
use tidegate_model::clock::SharedClock;
use tidegate_model::dead_letter::{DeadLetter, DocumentSnapshot};
use tidegate_model::document::DocumentId;
use tidegate_model::error::ErrorKind;
use tidegate_model::event::Event;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Function, ReadError, ReadLimit, Store, StoreError};
use tidegate_model::position::SequenceNumber;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::batcher::{self, BatchDecision};
use crate::invoker::{Invocated, Invoker, MAX_ABANDONED, NotInvoked};
use crate::lane::{LaneIndex, OwnedLane};
use crate::memory::Memory;
use crate::outcome::answers::Shown;
use crate::outcome::decide::{Circumstances, Decision, Invoked, Next, Resolution, decide};
use crate::settings::FunctionSettings;
use crate::status::LaneState;
use crate::workspace::{DecidedBatch, Generation, Lease, Rewound, Workspace};

pub use waits::Retry;
use work::{EVENT_OVERHEAD, Work, memory_of, memory_of_decided};

/// One lane's pump.
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
    /// Turns true when the processor drains.
    pub draining: watch::Receiver<bool>,
    /// The event that is to be tried again. It outlives what is taken back, so that its pause is kept.
    pub retry: Option<Retry>,
}

/// Why a pump ended what it was doing.
enum Stop {
    /// The processor drains.
    Drained,
    /// What was ahead of the store was taken back: begin again at the checkpoint.
    Rewound,
    /// It cannot go on without a person.
    Failed(String),
}

impl From<Rewound> for Stop {
    fn from(_: Rewound) -> Self {
        Self::Rewound
    }
}

impl PartitionPump {
    /// Runs until the processor drains or the lane is stopped.
    pub async fn run(mut self) {
        let mut generation = self.workspace.generation();
        loop {
            if self.lane().is_stopped() {
                return;
            }
            let current = *generation.borrow_and_update();
            let stop = tokio::select! {
                biased;
                // The workspace tells a pump that checks something in; one that waits has to be told.
                _ = generation.changed() => Stop::Rewound,
                stop = self.process(current) => stop,
            };
            match stop {
                Stop::Rewound => {}
                Stop::Drained => return,
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
        loop {
            if let Err(stop) = self.step(&mut work).await {
                return stop;
            }
        }
    }

    /// Loads where the lane is.
    async fn load(&mut self, generation: Generation) -> Result<Work, Stop> {
        let lane = self.lane().lane.clone();
        let store_says = |error: StoreError| (error.kind(), error.to_string());
        let mut failures = 0;
        loop {
            let loaded = async {
                let tail = self.lane().log.tail(lane.partition).map_err(|e| (e.kind(), e.to_string()))?;
                let checkpoint = self.store.checkpoint(&lane).await.map_err(store_says)?;
                let attempts = self.store.attempts(&lane).await.map_err(store_says)?;
                Ok((tail, checkpoint, attempts))
            };
            let (kind, error) = match loaded.await {
                Ok((tail, Some(checkpoint), attempts)) => {
                    let position = checkpoint.position;
                    self.lane().resumes_at(position);
                    self.retry.take_if(|retry| retry.sequence_number < position);
                    let attempts = attempts.into_iter().find(|record| record.sequence_number >= position);
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
                        tickets: self.lane().progress().borrow().ticket,
                        last_batch: 0,
                        last_batch_at: Duration::ZERO,
                    });
                }
                Ok((_, None, _)) => return Err(Stop::Failed("its checkpoint is gone".to_owned())),
                Err(said) => said,
            };
            if kind != ErrorKind::Transient {
                return Err(Stop::Failed(error));
            }
            failures += 1;
            self.wait_out(failures, &error).await?;
        }
    }

    /// Reads what there is, and invokes the function if that makes a batch; else waits until there is more to do.
    async fn step(&mut self, work: &mut Work) -> Result<(), Stop> {
        if *self.draining.borrow() {
            return Err(Stop::Drained);
        }
        self.gather(work).await?;
        let end = *work.tail.borrow_and_update();
        if work.buffer.len() < self.settings.max_event_batch_size && work.read_from < end {
            self.read(work).await?;
        }
        let next = work.buffer.front().map(|event| event.sequence_number);
        if let Some(retry) = self.retry.clone().filter(|retry| Some(retry.sequence_number) == next) {
            self.pause_until_due(&retry).await?;
        }
        self.lane().set_state(LaneState::Running);
        if work.buffer.is_empty() && work.position < work.read_from {
            self.pass_over_lost(work)?;
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
                let mut draining = self.draining.clone();
                tokio::select! {
                    biased;
                    _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
                    changed = work.tail.changed() => {
                        changed.map_err(|_| Stop::Failed("the log was closed".to_owned()))
                    }
                    () = enough_waited => Ok(()),
                }
            }
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

    /// Reads a chunk into the buffer.
    async fn read(&mut self, work: &mut Work) -> Result<(), Stop> {
        let memory = if work.buffer.is_empty() {
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
                Err(error) => (error.kind(), error.to_string()),
            };
            if kind != ErrorKind::Transient {
                return Err(Stop::Failed(error));
            }
            failures += 1;
            self.wait_out(failures, &error).await?;
        }
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
        Ok(self.workspace.push(work.generation, decided)?)
    }

    /// Invokes the function with the first `events` of the buffer and does what follows from its answers.
    async fn process_batch(&mut self, work: &mut Work, events: usize) -> Result<(), Stop> {
        let events = events.min(work.buffer.len());
        let Some(last) = events.checked_sub(1) else { return Ok(()) };
        let (first, last) = (work.buffer[0].sequence_number, work.buffer[last].sequence_number);
        (work.last_batch, work.last_batch_at) = (events, self.clock.monotonic());
        let invocated = self.invoke(work, events).await?;

        let prior = work.attempts.as_ref().filter(|record| record.sequence_number == first);
        let circumstances = Circumstances {
            events,
            prior_attempts: prior.map_or(&[], |record| &record.attempts),
            retry: &self.settings.retry,
            now: self.clock.now(),
            random: self.clock.random(),
        };
        let Invocated { mut invoked, documents, lease } = invocated;
        let mut shown = match &mut invoked {
            Invoked::Answered(checked) => std::mem::take(&mut checked.shown),
            Invoked::Failed { .. } => Vec::new(),
        };
        let Decision { resolved, writes, next } = decide(invoked, circumstances);

        if let Next::Isolate { error } = &next {
            warn!(lane = %self.lane().lane, first = %first, events, error, "an invocation failed; its events are tried one by one");
            work.isolate_until = last.next();
            return Ok(());
        }

        if let (1, [Resolution::DeadLettered { .. }], true) = (events, &resolved[..], shown.is_empty()) {
            // Whatever became of the invocation, an event that was alone was about the document it named.
            shown.extend(show_first(&documents, lease.as_ref()).map(|document| (first, document)));
        }
        let mut decided = self.decided_batch(work, resolved, shown);
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
        let ticket = decided.ticket;
        let memory = memory_of_decided(&decided, &writes);
        decided.memory = match self.decided_memory.try_acquire(memory) {
            Some(memory) => Some(memory),
            None => {
                // What holds this memory is in the queue: waiting ends when that is committed, so it had better be.
                self.workspace.hurry();
                Some(self.decided_memory.acquire(memory).await)
            }
        };
        match lease {
            Some(lease) if !writes.is_empty() => {
                lease.check_in(decided, self.lane().lane.partition, writes)?;
            }
            lease => {
                drop(lease);
                self.workspace.push(work.generation, decided)?;
            }
        }
        match retry {
            Some((sequence_number, attempts, delay)) => {
                self.wait_to_retry(ticket, sequence_number, &attempts, delay).await
            }
            None => Ok(()),
        }
    }

    async fn invoke(&mut self, work: &Work, events: usize) -> Result<Invocated, Stop> {
        let mut failures = 0;
        loop {
            if failures > 0 {
                self.lane().set_state(LaneState::Running);
            }
            let batch: Vec<Event> = work.buffer.iter().take(events).cloned().collect();
            let timeout = self.settings.timeout;
            let problem = match self.invoker.invoke(&self.function, batch, timeout, work.generation).await {
                Ok(invocated) => return Ok(invocated),
                Err(NotInvoked::Rewound) => return Err(Stop::Rewound),
                Err(NotInvoked::Store(error)) if error.kind() == ErrorKind::Transient => error.to_string(),
                Err(NotInvoked::Store(error)) => return Err(Stop::Failed(error.to_string())),
                Err(NotInvoked::TooManyAbandoned) => {
                    format!(
                        "{MAX_ABANDONED} invocations that were given up have not returned; waiting for one to end"
                    )
                }
                Err(NotInvoked::NoThread) => {
                    format!("no thread was free to run the function for {timeout:?}")
                }
            };
            failures += 1;
            self.wait_out(failures, &problem).await?;
        }
    }

    /// Takes the resolved events off the buffer and makes a decided batch of them.
    fn decided_batch(
        &mut self,
        work: &mut Work,
        resolved: Vec<Resolution>,
        shown: Vec<(SequenceNumber, Shown)>,
    ) -> DecidedBatch {
        let lane = &self.lanes[self.index];
        let collection = &self.function.descriptor().collection;
        let mut shown: HashMap<_, _> = shown.into_iter().collect();
        let from = work.position;
        let mut counts = OutcomeCounts::default();
        let mut dead_letters = Vec::new();
        let mut bytes = 0;
        for resolution in resolved {
            let event = work.buffer.pop_front().expect("only events of the batch are resolved");
            // Numbers between two events are those that a repair of the log has given up.
            counts.lost += event.sequence_number.distance_from(work.position);
            work.position = event.sequence_number.next();
            bytes += memory_of(&event);
            counts.add(resolution.outcome());
            if let Resolution::DeadLettered { class, reason, attempts } = resolution {
                let document = shown.remove(&event.sequence_number).map(|(id, body)| DocumentSnapshot {
                    collection: collection.clone(),
                    id,
                    body,
                });
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
        work.tickets += 1;
        DecidedBatch {
            lane: self.index,
            advance: Advance { from, to: work.position },
            counts,
            dead_letters,
            attempts: None,
            urgent: work.buffer.is_empty() && work.read_from >= *work.tail.borrow(),
            ticket: work.tickets,
            memory: None,
        }
    }

    fn lane(&self) -> &OwnedLane {
        &self.lanes[self.index]
    }
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
