//! The gate before the function: the circuit, its probe, and pauses.

use std::time::Duration;

use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::ONLY_FAILING;
use tidegate_model::clock::Timestamp;
use tidegate_model::position::SequenceNumber;
use tokio::sync::watch;

use super::parking::QueueId;
use super::work::Work;
use super::{PartitionPump, Stop};
use crate::circuit::{self, CircuitBreaker, Flow, GateState, ProbeLease};
use crate::outcome::commit::second_of;
use crate::outcome::decide::{Next, Resolution, Said};
use crate::status::LaneState;

/// Whether events may go to the function: the circuits that must let them through.
#[derive(Clone)]
pub struct Gate {
    breaker: CircuitBreaker,
    /// The function's own, and those of what it needs.
    circuits: Vec<(FunctionName, circuit::Gate)>,
}

impl Gate {
    /// The gate of a function's circuit and those of its dependencies; `None` if `breaker` has no such circuit.
    pub fn new<'a>(
        breaker: &CircuitBreaker,
        circuits: impl IntoIterator<Item = &'a FunctionName>,
    ) -> Option<Self> {
        let circuits = circuits.into_iter().map(|name| Some((name.clone(), breaker.gate(name)?)));
        Some(Self { breaker: breaker.clone(), circuits: circuits.collect::<Option<_>>()? })
    }

    /// The states, as something that can be waited for.
    pub(super) fn changes(&self) -> GateChanges {
        let mut changes = GateChanges(self.circuits.iter().map(|(_, gate)| gate.watch()).collect());
        changes.mark_unchanged();
        changes
    }

    fn states(&self) -> impl Iterator<Item = (&FunctionName, GateState)> {
        self.circuits.iter().map(|(name, gate)| (name, gate.state()))
    }
}

/// Wakes when one of the circuits of a gate changes.
#[derive(Clone)]
pub(super) struct GateChanges(Vec<watch::Receiver<GateState>>);

impl GateChanges {
    pub(super) fn has_changed(&self) -> bool {
        self.0.iter().any(|circuit| circuit.has_changed().unwrap_or(false))
    }

    pub(super) fn mark_unchanged(&mut self) {
        self.0.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }

    pub(super) async fn changed(&mut self) {
        // Most functions need nothing besides.
        if let [circuit] = &mut self.0[..] {
            return changed(circuit).await;
        }
        let changes = self.0.iter_mut().map(|circuit| Box::pin(changed(circuit)));
        futures_util::future::select_all(changes).await;
    }
}

async fn changed(circuit: &mut watch::Receiver<GateState>) {
    if circuit.changed().await.is_err() {
        // Nobody looks after it any more.
        std::future::pending::<()>().await;
    }
}

/// What became of the first event of an invocation, for the probe that it may have been.
#[derive(Debug)]
pub(super) enum FirstEvent {
    /// It is resolved, once the batch with this ticket is committed.
    Processed { ticket: u64 },
    /// It failed.
    Failed { error: String },
    /// It said nothing: it was rejected for good, or not tried.
    Unknown,
}

impl FirstEvent {
    pub(super) fn of(resolved: &[Resolution], next: &Next, said: Option<&Said>, ticket: u64) -> Self {
        match (resolved.first(), next) {
            (Some(Resolution::Applied | Resolution::Filtered), _) => Self::Processed { ticket },
            (Some(Resolution::Parked { .. }), _) | (None, Next::Retry { .. } | Next::Isolate { .. }) => {
                Self::Failed { error: said.map_or_else(|| "it failed".to_owned(), |said| said.error.clone()) }
            }
            (Some(Resolution::DeadLettered { .. }), _) | (None, Next::Continue) => Self::Unknown,
        }
    }
}

impl PartitionPump {
    /// How many events may go to the function at once; `None` when none may.
    pub(super) fn allowed_batch(&self) -> Option<usize> {
        let mut allowed = usize::MAX;
        for (_, state) in self.gate.states() {
            if state.step_aside.is_some() || state.pause_of(&self.lane().lane).is_some() {
                return None;
            }
            match state.flow {
                Flow::Flowing { max_batch } => allowed = allowed.min(max_batch.unwrap_or(usize::MAX).max(1)),
                Flow::Stopped { .. } | Flow::Probing { .. } => return None,
            }
        }
        Some(allowed)
    }

    /// Whether any number of events may go to the function.
    pub(super) fn gate_is_wide_open(&self) -> bool {
        self.allowed_batch() == Some(usize::MAX)
    }

    /// Whether failures are to be put down to an outage.
    pub(super) fn is_outage(&self) -> bool {
        self.gate.states().any(|(_, state)| !matches!(state.flow, Flow::Flowing { .. }))
    }

    /// Whether no event may run out of attempts now.
    pub(super) fn spares(&self) -> bool {
        !self.guard.lets_fail(second_of(self.clock.now()))
    }

    /// Waits until the gate changes, or makes the probe if this lane has the event for it.
    pub(super) async fn wait_for_gate(&mut self, work: &mut Work) -> Result<(), Stop> {
        if self.is_outage() {
            self.runs.forget();
        }
        let (mut stopped, mut probing) = (None, None);
        for (index, (name, state)) in self.gate.states().enumerate() {
            let paused = state.pause_of(&self.lane().lane);
            let why = match (&state.step_aside, paused, &state.flow) {
                (Some(aside), _, _) => aside.reason.clone(),
                (None, Some(pause), _) => format!("paused by {}: {}", pause.by, pause.reason),
                (None, None, Flow::Stopped { why }) => why.clone(),
                (None, None, Flow::Probing { untried_first }) => {
                    probing.get_or_insert_with(|| (name.clone(), *untried_first));
                    continue;
                }
                (None, None, Flow::Flowing { .. }) => continue,
            };
            stopped.get_or_insert(if index == 0 { why } else { format!("{name}: {why}") });
        }
        // Of several that are half-open, one is probed after the other.
        let half_open = || "the circuit is half-open: one event is tried".to_owned();
        let may_probe = stopped.is_none() && probing.is_some();
        let Some(why) = stopped.or_else(|| probing.as_ref().map(|_| half_open())) else { return Ok(()) };
        self.lane().set_state(LaneState::Gated { why });
        let mut progress = self.lane().progress();
        let candidate = match probing.as_ref().filter(|_| may_probe) {
            Some((_, untried_first)) => self.probe_candidate(work, *untried_first).await?,
            None => None,
        };
        let oldest = candidate.as_ref().map(|(_, enqueued_at)| *enqueued_at);
        if candidate.is_none() {
            // Others may need the memory meanwhile.
            work.drop_buffer();
        }
        let (mut changes, mut gate, mut tail) = (self.changes.clone(), work.gate.clone(), work.tail.clone());
        let lease = self
            .unless_drained(async {
                let probe = async {
                    match (&probing, oldest) {
                        (Some((circuit, _)), Some(at)) => self.gate.breaker.probe_turn(circuit, at).await,
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    _ = changes.changed() => None,
                    lease = probe => lease,
                    // Who has no event for the probe waits for one.
                    _ = tail.changed(), if may_probe && oldest.is_none() => None,
                    // Or until one that is parked is in the store.
                    _ = progress.changed(), if may_probe && oldest.is_none() => None,
                    () = gate.changed() => None,
                }
            })
            .await?;
        match (lease, candidate) {
            (Some(lease), Some((candidate, _))) => self.probe(work, lease, candidate).await,
            _ => Ok(()),
        }
    }

    /// The event of this lane that could be tried, and when it was enqueued: the oldest, or with `untried_first` the oldest
    /// that has never failed. Those that failed as a probe come after all others, and after those of other lanes: they may
    /// be at fault themselves.
    async fn probe_candidate(
        &mut self,
        work: &mut Work,
        untried_first: bool,
    ) -> Result<Option<(Candidate, Timestamp)>, Stop> {
        let end = *work.tail.borrow_and_update();
        let committed = self.lane().progress().borrow().ticket;
        let has_not_failed = |id: &QueueId| !self.failed_probes.contains_key(&Candidate::Parked(id.clone()));
        let parked = work.parking.oldest(committed, has_not_failed);
        let parked = parked.map(|(id, at)| (Candidate::Parked(id), at));
        if parked.is_some() && !untried_first {
            return Ok(parked);
        }
        let next = if work.parking.stops_the_lane() {
            None
        } else {
            if work.buffer.is_empty() && work.read_from < end {
                self.read(work, true).await?;
            }
            let next = work.buffer.iter().find(|event| work.parking.queue_of(event).is_none());
            next.map(|event| (Candidate::Next(event.sequence_number), event.enqueued_at))
        };
        // All that have failed: each has another turn when all others had as many.
        let failed = self.failed_probes.keys().filter_map(|candidate| {
            let Candidate::Parked(id) = candidate else { return None };
            Some((candidate.clone(), work.parking.enqueued_at(id, committed)?))
        });
        let turn = |(candidate, at): &(Candidate, Timestamp)| {
            let failures = self.failed_probes.get(candidate).copied().unwrap_or_default();
            let is_untried = match candidate {
                Candidate::Next(number) => {
                    work.attempts.as_ref().is_none_or(|failed| failed.sequence_number != *number)
                }
                Candidate::Parked(_) => false,
            };
            let turns = failures.saturating_add(u32::from(untried_first && !is_untried));
            at.plus(AFTER_ALL_OTHERS.saturating_mul(turns))
        };
        let candidates = parked.into_iter().chain(next).chain(failed);
        let with_turns = candidates.map(|candidate| (turn(&candidate), candidate.0));
        Ok(with_turns.min().map(|(at, candidate)| (candidate, at)))
    }

    /// Tries one event, and tells the circuit what became of it.
    async fn probe(&mut self, work: &mut Work, lease: ProbeLease, candidate: Candidate) -> Result<(), Stop> {
        work.first_event = FirstEvent::Unknown;
        work.is_probe = true;
        if self.failed_probes.len() >= MAX_FAILED_PROBES {
            self.failed_probes.clear();
        }
        let failures = self.failed_probes.entry(candidate.clone()).or_default();
        *failures = failures.saturating_add(1);
        let times = *failures;
        let becomes = match candidate {
            Candidate::Next(number) => {
                let event = work.buffer.iter().find(|event| event.sequence_number == number);
                event.map(QueueId::of)
            }
            Candidate::Parked(_) => None,
        };
        let tried = {
            let attempt = self.try_one(work, candidate.clone());
            let out_of_time = lease.run_out();
            tokio::select! {
                biased;
                tried = attempt => Some(tried),
                () = out_of_time => None,
            }
        };
        work.is_probe = false;
        let result = match tried {
            // What the function does now nobody waits for any more: its answers are void.
            None => {
                let _ = lease.failed("the probe took too long").await;
                return Err(Stop::Reload);
            }
            Some(Err(stop)) => {
                let _ = lease.abandoned().await;
                return Err(stop);
            }
            Some(Ok(())) => std::mem::replace(&mut work.first_event, FirstEvent::Unknown),
        };
        match result {
            FirstEvent::Processed { ticket } => {
                tokio::select! {
                    biased;
                    () = self.committed(ticket) => {
                        self.failed_probes.clear();
                        let _ = lease.succeeded().await;
                    }
                    () = lease.run_out() => { let _ = lease.failed("its effect was not committed in time").await; }
                }
            }
            FirstEvent::Failed { error } => {
                if let Some(id) = becomes.filter(|id| work.parking.queue(id).is_some()) {
                    // It is the same event in another place.
                    self.failed_probes.remove(&candidate);
                    self.failed_probes.insert(Candidate::Parked(id), times);
                }
                let _ = lease.failed(&why_it_failed(&self.lane().lane, &candidate, times, &error)).await;
            }
            FirstEvent::Unknown => {
                let _ = lease.abandoned().await;
            }
        }
        Ok(())
    }

    async fn try_one(&mut self, work: &mut Work, candidate: Candidate) -> Result<(), Stop> {
        work.allowed = 1;
        match candidate {
            Candidate::Parked(id) => {
                let committed = self.lane().progress().borrow().ticket;
                self.try_queues(work, vec![id], committed).await
            }
            Candidate::Next(_) => self.process_batch(work, 1).await,
        }
    }
}

/// What a lane could try as a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Candidate {
    /// The head of a queue of parked events.
    Parked(QueueId),
    /// The next event of the log.
    Next(SequenceNumber),
}

/// What a person is told of a probe that failed.
///
/// Who fails as a probe has another turn only when nobody in the fleet has announced an event that has not. When nothing but such
/// events is left, no probe can tell whether they are at fault themselves: a person has to.
fn why_it_failed(lane: &Lane, candidate: &Candidate, times: u32, error: &str) -> String {
    if times < 2 {
        return error.to_owned();
    }
    let event = match candidate {
        Candidate::Parked(QueueId::Key(key)) => format!("the first event parked of key {key:?} in {lane}"),
        Candidate::Parked(QueueId::Alone(number)) | Candidate::Next(number) => {
            format!("event {number} of {lane}")
        }
    };
    // First, so that a long error does not cut it off.
    format!(
        "{ONLY_FAILING}; {event} did {times} times: if such events are at fault and not what they need, set them aside or \
         close the circuit. It said: {error}"
    )
}

/// Makes an event younger than any other that is announced for a probe and failed less often.
const AFTER_ALL_OTHERS: Duration = Duration::from_secs(365 * 24 * 3600);

/// How many events that failed as a probe are remembered at most.
const MAX_FAILED_PROBES: usize = 1000;
