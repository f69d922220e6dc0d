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

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::attempt::{Attempt, EventAttempts};
use tidegate_model::checkpoint::Advance;
use tidegate_model::clock::SharedClock;
use tidegate_model::dead_letter::{DeadLetter, DocumentSnapshot};
use tidegate_model::error::ErrorKind;
use tidegate_model::event::Event;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Function, ReadLimit, Store};
use tidegate_model::position::SequenceNumber;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, warn};

use crate::batcher::{self, BatchDecision};
use crate::invoker::{Invocated, Invoker, MAX_ABANDONED, NotInvoked};
use crate::lane::{LaneIndex, OwnedLane};
use crate::outcome::decide::{Circumstances, Decision, Next, Resolution, decide};
use crate::retry::RetryPolicy;
use crate::settings::FunctionSettings;
use crate::status::LaneState;
use crate::workspace::{DecidedBatch, Generation, Rewound, Workspace};

/// Memory an event takes besides its bytes, roughly.
const EVENT_OVERHEAD: usize = 128;

/// The pauses while the log or the store does not answer.
const OUTAGE: RetryPolicy = RetryPolicy::ExponentialBackoff {
    max_attempts: None,
    min_interval: Duration::from_millis(50),
    max_interval: Duration::from_secs(2),
};

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
    /// The memory for events of all lanes, a permit a byte.
    pub event_memory: Arc<Semaphore>,
    /// The memory for uncommitted documents of all lanes, a permit a byte.
    pub document_memory: Arc<Semaphore>,
    /// How much is read at once, in bytes.
    pub read_bytes: usize,
    /// Turns true when the processor drains.
    pub draining: watch::Receiver<bool>,
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
                stop = self.process(current) => stop,
                // The workspace tells a pump that checks something in; one that waits has to be told.
                _ = generation.changed() => Stop::Rewound,
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
        let mut failures = 0;
        loop {
            let loaded = async {
                let checkpoint = self.store.checkpoint(&lane).await?;
                let attempts = self.store.attempts(&lane).await?;
                Ok((checkpoint, attempts))
            };
            let error: tidegate_model::ports::StoreError = match loaded.await {
                Ok((Some(checkpoint), attempts)) => {
                    let position = checkpoint.position;
                    self.lane().resumes_at(position);
                    let attempts = attempts.into_iter().find(|record| record.sequence_number >= position);
                    return Ok(Work {
                        generation,
                        position,
                        read_from: position,
                        buffer: VecDeque::new(),
                        memory: None,
                        oldest_since: Duration::ZERO,
                        isolate_until: position,
                        attempts,
                        tickets: self.lane().progress().borrow().ticket,
                    });
                }
                Ok((None, _)) => return Err(Stop::Failed("its checkpoint is gone".to_owned())),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Transient {
                return Err(Stop::Failed(error.to_string()));
            }
            failures += 1;
            self.wait_out(failures, &error.to_string()).await?;
        }
    }

    /// Reads what there is, and invokes the function if that makes a batch; else waits until there is more to do.
    async fn step(&mut self, work: &mut Work) -> Result<(), Stop> {
        if *self.draining.borrow() {
            return Err(Stop::Drained);
        }
        let mut tail =
            self.lane().log.tail(self.lane().lane.partition).map_err(|e| Stop::Failed(e.to_string()))?;
        let end = *tail.borrow_and_update();
        if work.buffer.len() < self.settings.max_event_batch_size && work.read_from < end {
            self.read(work).await?;
        }
        self.lane().set_state(LaneState::Running);
        if work.buffer.is_empty() && work.position < work.read_from {
            self.pass_over_lost(work)?;
        }

        let waited = self.clock.monotonic().saturating_sub(work.oldest_since);
        match batcher::decide(&self.settings, work.buffer.len(), waited) {
            BatchDecision::Take(_) if work.must_go_alone() => self.process_batch(work, 1).await,
            BatchDecision::Take(events) => self.process_batch(work, events).await,
            decision => {
                if work.read_from < end {
                    // More is there already; memory for it was short.
                    return self.process_batch(work, work.buffer.len()).await;
                }
                let enough_waited = async {
                    match decision {
                        BatchDecision::WaitAtMost(wait) => self.clock.sleep(wait).await,
                        _ => std::future::pending().await,
                    }
                };
                let mut draining = self.draining.clone();
                tokio::select! {
                    changed = tail.changed() => changed.map_err(|_| Stop::Failed("the log was closed".to_owned())),
                    () = enough_waited => Ok(()),
                    _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
                }
            }
        }
    }

    /// Reads a chunk into the buffer.
    async fn read(&mut self, work: &mut Work) -> Result<(), Stop> {
        let wanted = u32::try_from(self.read_bytes).unwrap_or(u32::MAX);
        let memory = if work.buffer.is_empty() {
            let mut draining = self.draining.clone();
            tokio::select! {
                memory = Arc::clone(&self.event_memory).acquire_many_owned(wanted) => {
                    memory.map_err(|_| Stop::Drained)?
                }
                _ = draining.wait_for(|draining| *draining) => return Err(Stop::Drained),
            }
        } else {
            // A pump that holds memory must not wait for more: all might.
            match Arc::clone(&self.event_memory).try_acquire_many_owned(wanted) {
                Ok(memory) => memory,
                Err(_) => return Ok(()),
            }
        };
        let limit = ReadLimit { events: usize::MAX, bytes: self.read_bytes };
        let mut failures = 0;
        let events = loop {
            let lane = self.lane();
            match lane.log.read(lane.lane.partition, work.read_from, limit).await {
                Ok(events) => break events,
                Err(error) if error.kind() == ErrorKind::Transient => {
                    failures += 1;
                    self.wait_out(failures, &error.to_string()).await?;
                }
                Err(error) => return Err(Stop::Failed(error.to_string())),
            }
        };
        if events.is_empty() {
            // There is nothing to read before the tail: what is left was given up by a repair of the log.
            let lane = self.lane();
            let status = lane.log.status(lane.lane.partition).map_err(|e| Stop::Failed(e.to_string()))?;
            if let Some(lost) = status.lost.iter().find(|lost| lost.contains(&work.read_from)) {
                work.read_from = lost.end;
            }
        }
        work.take_in(events, memory, self.clock.monotonic());
        Ok(())
    }

    /// Accounts for numbers at the end of what was read that a repair of the log has given up.
    fn pass_over_lost(&self, work: &mut Work) -> Result<(), Stop> {
        let lost = work.read_from.distance_from(work.position);
        work.position = work.read_from;
        let mut decided = self.decided_batch(work, Vec::new(), None);
        decided.advance.from = SequenceNumber(work.position.0 - lost);
        decided.counts.lost = lost;
        Ok(self.workspace.push(work.generation, decided)?)
    }

    /// Invokes the function with the first `events` of the buffer and does what follows from its answers.
    async fn process_batch(&mut self, work: &mut Work, events: usize) -> Result<(), Stop> {
        let events = events.min(work.buffer.len());
        let Some(last) = events.checked_sub(1) else { return Ok(()) };
        let (first, last) = (work.buffer[0].sequence_number, work.buffer[last].sequence_number);
        let invocated = self.invoke(work, events).await?;

        let prior = work.attempts.as_ref().filter(|record| record.sequence_number == first);
        let circumstances = Circumstances {
            events,
            prior_attempts: prior.map_or(&[], |record| &record.attempts),
            retry: &self.settings.retry,
            now: self.clock.now(),
            random: self.clock.random(),
        };
        let snapshot = (events == 1).then(|| self.snapshot(&invocated)).flatten();
        let Invocated { invoked, lease, .. } = invocated;
        let Decision { resolved, writes, next } = decide(invoked, circumstances);

        if let Next::Isolate { error } = &next {
            warn!(lane = %self.lane().lane, first = %first, events, error, "an invocation failed; its events are tried one by one");
            work.isolate_until = last.next();
            return Ok(());
        }

        let mut decided = self.decided_batch(work, resolved, snapshot);
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
        match lease {
            Some(lease) if !writes.is_empty() => {
                let bytes: usize = writes.iter().map(|write| write.json.len()).sum();
                decided.permits.extend(self.document_memory(bytes).await);
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
            let batch: Vec<Event> = work.buffer.iter().take(events).cloned().collect();
            let timeout = self.settings.timeout;
            let problem = match self.invoker.invoke(&self.function, batch, timeout, work.generation).await {
                Ok(invocated) => return Ok(invocated),
                Err(NotInvoked::Rewound) => return Err(Stop::Rewound),
                Err(NotInvoked::Store(error)) if error.kind() == ErrorKind::Transient => error.to_string(),
                Err(NotInvoked::Store(error)) => return Err(Stop::Failed(error.to_string())),
                Err(NotInvoked::TooManyAbandoned) => {
                    format!("{MAX_ABANDONED} invocations never returned; waiting for one to end")
                }
            };
            failures += 1;
            self.wait_out(failures, &problem).await?;
        }
    }

    /// Takes the resolved events off the buffer and makes a decided batch of them.
    fn decided_batch(
        &self,
        work: &mut Work,
        resolved: Vec<Resolution>,
        mut document: Option<DocumentSnapshot>,
    ) -> DecidedBatch {
        let lane = self.lane();
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
                dead_letters.push(DeadLetter {
                    lane: lane.lane.clone(),
                    incarnation: lane.incarnation,
                    event,
                    function_version: self.function.descriptor().version.clone(),
                    class,
                    reason,
                    attempts,
                    dead_lettered_at: self.clock.now(),
                    document: document.take(),
                });
            }
        }
        if work.attempts.as_ref().is_some_and(|record| record.sequence_number < work.position) {
            work.attempts = None;
        }
        work.tickets += 1;
        DecidedBatch {
            lane: self.index,
            advance: Advance { from, to: work.position },
            counts,
            dead_letters,
            attempts: None,
            urgent: work.buffer.is_empty() && self.has_caught_up(work),
            ticket: work.tickets,
            permits: work.release(bytes).into_iter().collect(),
        }
    }

    fn has_caught_up(&self, work: &Work) -> bool {
        let lane = self.lane();
        lane.log.tail(lane.lane.partition).map_or(true, |tail| work.read_from >= *tail.borrow())
    }

    /// The state of the document a single event was meant for.
    fn snapshot(&self, invocated: &Invocated) -> Option<DocumentSnapshot> {
        let id = invocated.documents.first()?.clone();
        let body = match invocated.lease.as_ref()?.current().first()? {
            // The function's own code writes it as JSON.
            Some(body) => Some(catch_unwind(AssertUnwindSafe(|| body.encode())).ok()?.ok()?),
            None => None,
        };
        Some(DocumentSnapshot { collection: self.function.descriptor().collection.clone(), id, body })
    }

    /// Memory for documents that wait to be committed. A batch that holds some is in the queue, so waiting ends.
    async fn document_memory(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(self.read_bytes)).unwrap_or(u32::MAX);
        Arc::clone(&self.document_memory).acquire_many_owned(bytes).await.ok()
    }

    /// Waits until the attempt is recorded, and then for the pause.
    async fn wait_to_retry(
        &mut self,
        ticket: u64,
        sequence_number: SequenceNumber,
        attempts: &[Attempt],
        delay: Duration,
    ) -> Result<(), Stop> {
        let failures = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let error = attempts.last().map(|attempt| attempt.error.clone()).unwrap_or_default();
        warn!(lane = %self.lane().lane, %sequence_number, failures, ?delay, error, "an event failed and will be tried again");
        self.lane().set_state(LaneState::Retrying { sequence_number, failures, error, delay });
        let mut progress = self.lane().progress();
        let mut draining = self.draining.clone();
        let pause = async {
            let _ = progress.wait_for(|progress| progress.ticket >= ticket || progress.stopped).await;
            self.clock.sleep(delay).await;
        };
        tokio::select! {
            () = pause => Ok(()),
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
        }
    }

    /// Waits a little for the log or the store to answer again.
    async fn wait_out(&self, failures: u32, error: &str) -> Result<(), Stop> {
        if failures == 1 {
            warn!(lane = %self.lane().lane, error, "the lane waits");
        }
        self.lane().set_state(LaneState::Waiting { error: error.to_owned() });
        let pause = OUTAGE.delay_after(failures, self.clock.random()).unwrap_or_default();
        let mut draining = self.draining.clone();
        tokio::select! {
            () = self.clock.sleep(pause) => Ok(()),
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
        }
    }

    fn lane(&self) -> &OwnedLane {
        &self.lanes[self.index]
    }
}

/// Where a pump is.
struct Work {
    generation: Generation,
    /// The first event that is not decided.
    position: SequenceNumber,
    /// The first event that is not read.
    read_from: SequenceNumber,
    /// Events that are read and not decided.
    buffer: VecDeque<Event>,
    /// The memory of the events in the buffer.
    memory: Option<OwnedSemaphorePermit>,
    /// When the oldest event in the buffer was read.
    oldest_since: Duration,
    /// Events before this one go alone: a batch they were in failed as a whole.
    isolate_until: SequenceNumber,
    /// The failed attempts at the event at `position`, if there were any.
    attempts: Option<EventAttempts>,
    /// How many batches were decided.
    tickets: u64,
}

impl Work {
    fn must_go_alone(&self) -> bool {
        self.buffer.front().is_some_and(|event| {
            event.sequence_number < self.isolate_until
                || self
                    .attempts
                    .as_ref()
                    .is_some_and(|record| record.sequence_number == event.sequence_number)
        })
    }

    fn take_in(&mut self, events: Vec<Event>, mut memory: OwnedSemaphorePermit, now: Duration) {
        let Some(last) = events.last() else { return };
        if self.buffer.is_empty() {
            self.oldest_since = now;
        }
        self.read_from = last.sequence_number.next();
        let bytes: usize = events.iter().map(memory_of).sum();
        // An event larger than what was asked for takes more than its permit; there is one of them a lane at most.
        if let Some(unused) = memory.num_permits().checked_sub(bytes).and_then(|unused| memory.split(unused))
        {
            drop(unused);
        }
        match &mut self.memory {
            Some(held) => held.merge(memory),
            None => self.memory = Some(memory),
        }
        self.buffer.extend(events);
    }

    /// The memory of events that left the buffer.
    fn release(&mut self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if self.buffer.is_empty() {
            return self.memory.take();
        }
        let memory = self.memory.as_mut()?;
        memory.split(bytes.min(memory.num_permits()))
    }
}

fn memory_of(event: &Event) -> usize {
    event.data.size() + EVENT_OVERHEAD
}
