//! Without order, several invocations of a lane are under way at once.
//!
//! ```text
//!  resolved │ head, under way │ answered │ under way │ … │ read, not given yet
//!           ▲ checkpoint      └────── at most `concurrency` of them ──┘
//! ```
//!
//! They are decided and checked in strictly in the order of their events, as if they had run one after the other; so the
//! checkpoint is what it always is, and what is ahead of it is bounded. An invocation that ends before those ahead of it
//! waits with its documents until it is its turn.
//!
//! Nobody waits for ever: invocations of a lane take their documents in the order of their events, so those that have
//! theirs never wait for one that does not. When one has to be repeated in front of others, it takes its documents at once,
//! or the others behind it are given up and made again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tidegate_model::event::Event;
use tidegate_model::position::SequenceNumber;
use tokio::sync::OwnedRwLockReadGuard;

use super::parked::{ParkedCare, TriedParked};
use super::work::Work;
use super::{Concluded, PartitionPump, Selection, Stop};
use crate::batcher::{self, BatchDecision};
use crate::invoker::{DocumentsTurn, Invocated, NotInvoked, Taken};
use crate::lane::Care;
use crate::status::LaneState;

type Answer = Result<Invocated, NotInvoked>;

/// The invocations of a lane that are under way.
#[derive(Default)]
pub(super) struct Flights {
    /// Of events of the log, in their order.
    air: VecDeque<Flight>,
    /// Of parked events. They have no place in the order.
    parked: Option<ParkedFlight>,
    /// Whether something waits that must be done while nothing is under way.
    must_land: bool,
    /// How often in a row an invocation could not be made.
    failures: u32,
}

struct Flight {
    first: SequenceNumber,
    last: SequenceNumber,
    events: usize,
    taken: Taken,
    invocation: UnderWay,
}

/// The events of an invocation that has ended.
struct Landed {
    first: SequenceNumber,
    last: SequenceNumber,
    events: usize,
}

struct ParkedFlight {
    tried: TriedParked,
    invocation: UnderWay,
}

enum UnderWay {
    Runs(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Ended(Box<Answer>),
}

impl UnderWay {
    /// Goes on with it; true when it has ended.
    fn poll(&mut self, context: &mut std::task::Context<'_>) -> bool {
        if let Self::Runs(invocation) = self
            && let Poll::Ready(answer) = invocation.as_mut().poll(context)
        {
            *self = Self::Ended(Box::new(answer));
        }
        matches!(self, Self::Ended(_))
    }
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.air.is_empty() && self.parked.is_none()
    }

    /// How many events in the buffer were given, or are before such an event.
    fn given(&self, work: &Work) -> usize {
        let given = |last: &Flight| work.buffer.partition_point(|event| event.sequence_number <= last.last);
        self.air.back().map_or(0, given)
    }

    /// Waits until the first has ended, or the parked one. All of them go on meanwhile.
    /// The first is none to wait for if it `has_gap` before it.
    async fn landed(&mut self, has_gap: bool) {
        std::future::poll_fn(|context| {
            let mut has_landed = false;
            for (index, flight) in self.air.iter_mut().enumerate() {
                has_landed |= flight.invocation.poll(context) && index == 0 && !has_gap;
            }
            has_landed |= self.parked.as_mut().is_some_and(|parked| parked.invocation.poll(context));
            if has_landed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The first, if it has ended and there is no event before it that is not resolved.
    fn take_head(&mut self, work: &Work) -> Option<(Landed, Answer)> {
        if self.gap(work) > 0 {
            return None;
        }
        if !matches!(self.air.front()?.invocation, UnderWay::Ended(_)) {
            return None;
        }
        let Flight { first, last, events, invocation, .. } = self.air.pop_front()?;
        match invocation {
            UnderWay::Ended(answer) => Some((Landed { first, last, events }, *answer)),
            UnderWay::Runs(_) => None,
        }
    }

    fn take_parked(&mut self) -> Option<(TriedParked, Answer)> {
        match self.parked.take()? {
            ParkedFlight { tried, invocation: UnderWay::Ended(answer) } => Some((tried, *answer)),
            flying => {
                self.parked = Some(flying);
                None
            }
        }
    }

    /// How many events in the buffer are before the first that is under way, and have to be given again: it was not
    /// answered for them.
    fn gap(&self, work: &Work) -> usize {
        self.air
            .front()
            .map_or(0, |head| work.buffer.partition_point(|event| event.sequence_number < head.first))
    }
}

impl PartitionPump {
    /// Whether several invocations of the lane may be under way at once now. Whenever something needs a closer look, they go
    /// one after the other.
    pub(super) fn may_fly(&self, work: &Work) -> bool {
        let is_as_ever =
            || matches!(self.lane().care(), Care::Known { caution: None, interrupted: None, .. });
        self.settings.concurrency() > 1
            && self.retry.is_none()
            && work.attempts.is_none()
            && self.gate_is_wide_open()
            && is_as_ever()
    }

    /// Decides what has ended, begins what can be begun, and waits until there is more to do.
    pub(super) async fn fly(&mut self, work: &mut Work, flights: &mut Flights) -> Result<(), Stop> {
        work.allowed = usize::MAX;
        while let Some((landed, answer)) = flights.take_head(work) {
            self.land(work, flights, landed, answer).await?;
        }
        if let Some((tried, answer)) = flights.take_parked() {
            self.land_parked(work, flights, tried, answer).await?;
        }
        if flights.must_land || !self.may_fly(work) || self.is_to_stop(work) {
            if flights.gap(work) > 0 {
                // What is before them will not be given now.
                flights.air.clear();
            }
            if flights.is_empty() {
                flights.must_land = false;
                return self.step(work).await;
            }
            flights.landed(false).await;
            return Ok(());
        }
        self.lane().set_state(LaneState::Running);
        let end = *work.tail.borrow_and_update();
        let not_given = work.buffer.len() - flights.given(work);
        if not_given < self.settings.max_event_batch_size && work.read_from < end {
            // Who holds documents must not wait for memory: who has it may wait for documents.
            self.read(work, flights.is_empty()).await?;
        }
        if work.buffer.is_empty() && work.position < work.read_from {
            self.pass_over_lost(work)?;
        }
        let parked_may_begin = self.begin_parked(work, flights).await?;
        // What is begun must be gone on with at once: the gate may be another one after each wait.
        if flights.must_land || !self.may_fly(work) {
            return Ok(());
        }
        let waits_for = self.begin_all(work, flights);
        let waits_for_others = waits_for == WaitsFor::Others || !parked_may_begin;

        let (mut tail, mut changes, mut gate) = (work.tail.clone(), self.changes.clone(), work.gate.clone());
        let has_gap = flights.gap(work) > 0;
        let is_airborne = !flights.is_empty();
        let is_parked_airborne = flights.parked.is_some();
        tokio::select! {
            biased;
            // The next look finds out which.
            _ = self.told_to_end() => Ok(()),
            () = flights.landed(has_gap), if is_airborne => Ok(()),
            _ = self.invoker.among_others(), if waits_for_others => Ok(()),
            changed = tail.changed(), if waits_for != WaitsFor::Landing => {
                changed.map_err(|_| Stop::Failed("the log was closed".to_owned()))
            }
            _ = changes.changed() => Ok(()),
            () = gate.changed() => Ok(()),
            () = self.parked_turn(work), if !is_parked_airborne && parked_may_begin => Ok(()),
            () = async {
                match waits_for {
                    WaitsFor::Time(wait) => self.clock.sleep(wait).await,
                    _ => std::future::pending().await,
                }
            } => Ok(()),
        }
    }

    /// Whether nothing more is begun because the lane is to stop, or to be read again.
    fn is_to_stop(&self, work: &mut Work) -> bool {
        if work.gate.has_changed() && work.parking.held() == 0 {
            work.gate.mark_unchanged();
        }
        *self.draining.borrow()
            || self.is_to_leave()
            || self.changes.has_changed().unwrap_or(false)
            || work.gate.has_changed()
    }

    // ---------------------------------------------------------------- what is begun

    /// Begins what can be begun with events of the log; what the rest waits for.
    fn begin_all(&mut self, work: &mut Work, flights: &mut Flights) -> WaitsFor {
        loop {
            if flights.air.len() >= self.settings.concurrency() {
                return WaitsFor::Landing;
            }
            let gap = flights.gap(work);
            let (from, until) = match gap {
                0 => (flights.given(work), work.buffer.len()),
                gap => (0, gap),
            };
            let Some(next) = work.buffer.get(from) else { return WaitsFor::Events };
            let events = if next.sequence_number < work.isolate_until {
                1
            } else if gap > 0 {
                gap.min(work.given_limit)
            } else {
                match self.batch_of(work, next.sequence_number, until - from, flights) {
                    Ok(events) => events,
                    Err(waits_for) => return waits_for,
                }
            };
            let Some(among_others) = self.invoker.try_among_others() else { return WaitsFor::Others };
            let documents_turn = match (gap, flights.air.back()) {
                (0, last) => DocumentsTurn::after(last.map(|flight| flight.taken.clone())),
                _ => DocumentsTurn::at_once(),
            };
            let taken = documents_turn.taken();
            let events: Vec<Event> = work.buffer.range(from..from + events).cloned().collect();
            let (first, last) = (events[0].sequence_number, events[events.len() - 1].sequence_number);
            let count = events.len();
            let invocation = self.begin(work, events, documents_turn, among_others);
            let flight = Flight { first, last, events: count, taken, invocation };
            if gap > 0 {
                flights.air.push_front(flight);
            } else {
                (work.last_batch, work.last_batch_at) = (count, self.clock.monotonic());
                flights.air.push_back(flight);
            }
        }
    }

    /// How many of the `available` events from `next` on go together.
    fn batch_of(
        &self,
        work: &Work,
        next: SequenceNumber,
        available: usize,
        flights: &Flights,
    ) -> Result<usize, WaitsFor> {
        let end = *work.tail.borrow();
        let since_last = self.clock.monotonic().saturating_sub(work.last_batch_at);
        let in_log = end.distance_from(next);
        if let Some(wait) = batcher::gather(&self.settings, in_log, work.last_batch, since_last) {
            return Err(WaitsFor::Time(wait));
        }
        let waited = self.clock.monotonic().saturating_sub(work.oldest_since.max(work.last_batch_at));
        match batcher::decide(&self.settings, available, waited) {
            BatchDecision::Take(events) => Ok(events.min(work.given_limit)),
            // More is there already; memory for it was short, and nothing will free any.
            _ if work.read_from < end && flights.air.is_empty() => Ok(available.min(work.given_limit)),
            BatchDecision::WaitAtMost(wait) => Err(WaitsFor::Time(wait)),
            BatchDecision::WaitForEvents => Err(WaitsFor::Events),
        }
    }

    /// Begins with parked events whose turn has come, if none are under way. False when functions must not be invoked now.
    async fn begin_parked(&mut self, work: &mut Work, flights: &mut Flights) -> Result<bool, Stop> {
        if flights.parked.is_some() {
            return Ok(true);
        }
        let committed = self.lane().progress().borrow().ticket;
        let due = work.parking.due(self.clock.now(), committed, work.parked_limit);
        if due.is_empty() {
            flights.must_land |= self.held_is_due(work);
            return Ok(true);
        }
        let Some(among_others) = self.invoker.try_among_others() else { return Ok(false) };
        let Some(tried) = self.prepare_parked(work, due, committed).await? else { return Ok(true) };
        if tried.care != ParkedCare::None {
            flights.must_land = true;
            return Ok(true);
        }
        let invocation = self.begin(work, tried.events(), DocumentsTurn::after(None), among_others);
        flights.parked = Some(ParkedFlight { tried, invocation });
        Ok(true)
    }

    fn begin(
        &self,
        work: &Work,
        events: Vec<Event>,
        documents_turn: DocumentsTurn,
        among_others: OwnedRwLockReadGuard<()>,
    ) -> UnderWay {
        let (invoker, function) = (Arc::clone(&self.invoker), Arc::clone(&self.function));
        let (timeout, generation) = (self.settings.timeout, work.generation);
        UnderWay::Runs(Box::pin(async move {
            let _among_others = among_others;
            invoker.invoke(&function, events, timeout, generation, documents_turn).await
        }))
    }

    // ---------------------------------------------------------------- what has ended

    /// Does what follows from the end of the first invocation.
    async fn land(
        &mut self,
        work: &mut Work,
        flights: &mut Flights,
        landed: Landed,
        answer: Answer,
    ) -> Result<(), Stop> {
        let Landed { first, last, events } = landed;
        match answer {
            Ok(invocated) => {
                flights.failures = 0;
                let selection = Selection { given: events, first, last, fates: Vec::new(), is_simple: true };
                let Some(Concluded { ticket, retry }) =
                    self.conclude(work, selection, &[], invocated).await?
                else {
                    return Ok(());
                };
                if let Some((sequence_number, attempts, delay)) = retry {
                    // The lane waits with this event; those behind it are given again then.
                    flights.air.clear();
                    self.wait_to_retry(ticket, sequence_number, &attempts, delay).await?;
                }
                Ok(())
            }
            Err(not_invoked) => {
                // Until it has its documents, the others must not have theirs.
                flights.air.clear();
                self.not_begun(flights, not_invoked).await
            }
        }
    }

    async fn land_parked(
        &mut self,
        work: &mut Work,
        flights: &mut Flights,
        tried: TriedParked,
        answer: Answer,
    ) -> Result<(), Stop> {
        match answer {
            Ok(invocated) => {
                flights.failures = 0;
                self.conclude_parked(work, tried, invocated).await.map(|_| ())
            }
            Err(not_invoked) => {
                // Nobody may hold documents while it is waited for what they may be needed for.
                flights.air.clear();
                self.not_begun(flights, not_invoked).await
            }
        }
    }

    async fn not_begun(&self, flights: &mut Flights, not_invoked: NotInvoked) -> Result<(), Stop> {
        if let NotInvoked::InUse = not_invoked {
            return Ok(());
        }
        flights.failures = flights.failures.saturating_add(1);
        self.wait_to_invoke(flights.failures, not_invoked).await
    }
}

/// What more can be begun waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    /// One of those under way.
    Landing,
    /// The right to invoke functions.
    Others,
    /// More events, or so much time.
    Time(Duration),
    /// More events.
    Events,
}
