//! What a pump waits for besides events: an event that failed to be due again, the log or the store to answer.

use std::time::Duration;

use tidegate_model::attempt::Attempt;
use tidegate_model::clock::timeout;
use tidegate_model::error::ErrorKind;
use tidegate_model::ports::StoreError;
use tidegate_model::position::SequenceNumber;
use tracing::{info, warn};

use super::work::Work;
use super::{PartitionPump, Stop};
use crate::lane::Tenure;
use crate::outcome::commit::second_of;
use crate::retry::OUTAGE;
use crate::status::LaneState;
use crate::workspace::Generation;

const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// An event that failed and is to be tried again, alone.
#[derive(Clone, Debug)]
pub struct Retry {
    pub(super) sequence_number: SequenceNumber,
    /// Not before this time.
    due: Duration,
    /// What is to be seen meanwhile.
    state: LaneState,
}

impl PartitionPump {
    /// Waits until the attempt is recorded; from then on the pause counts.
    pub(super) async fn wait_to_retry(
        &mut self,
        ticket: u64,
        sequence_number: SequenceNumber,
        attempts: &[Attempt],
        delay: Duration,
    ) -> Result<(), Stop> {
        let failures = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let error = attempts.last().map(|attempt| attempt.error.clone()).unwrap_or_default();
        warn!(lane = %self.lane().lane, %sequence_number, failures, ?delay, error, "an event failed and will be tried again");
        let state = LaneState::Retrying { sequence_number, failures, error, delay };
        self.lane().set_state(state.clone());
        let due = self.clock.monotonic().saturating_add(delay);
        let mut retry = Retry { sequence_number, due, state };
        self.retry = Some(retry.clone());

        self.unless_drained(self.committed(ticket)).await?;
        retry.due = self.clock.monotonic().saturating_add(delay);
        self.retry = Some(retry);
        Ok(())
    }

    /// Whether an event that failed is to be tried again now.
    pub(super) fn is_due(&self, retry: &Retry) -> bool {
        retry.due <= self.clock.monotonic()
    }

    /// Waits until an event that failed is due.
    pub(super) async fn pause_until_due(&self, retry: &Retry) -> Result<(), Stop> {
        let pause = retry.due.saturating_sub(self.clock.monotonic());
        self.lane().set_state(retry.state.clone());
        self.unless_drained(self.clock.sleep(pause)).await
    }

    /// Waits until the decided batch with this ticket is in the store.
    pub(super) async fn committed(&self, ticket: u64) {
        let mut progress = self.lane().progress();
        let _ = progress.wait_for(|progress| progress.ticket >= ticket || progress.stopped).await;
    }

    /// Waits for the turn of a parked event, while the lane itself waits behind what is parked.
    pub(super) async fn wait_for_parked(&mut self, work: &mut Work) -> Result<(), Stop> {
        self.lane().set_state(LaneState::Held { events: work.parking.held() });
        self.until_something_changes(work).await?;
        if work.parking.held() == 0 {
            return Ok(());
        }
        let health = self.health.count_waiting(&self.settings, second_of(self.clock.now()));
        if !health.is_empty() {
            let decided = self.decided_parked(work, Vec::new(), Vec::new(), Vec::new(), health);
            self.submit(work, decided, Vec::new(), None).await?;
        }
        Ok(())
    }

    /// Waits until parked events have left the parking place: the next event has to be parked, and there is no room.
    pub(super) async fn wait_for_room(&self, work: &mut Work) -> Result<(), Stop> {
        let error = format!("{} events are parked, and there is no room for more", work.parking.events());
        self.lane().set_state(LaneState::Waiting { error });
        self.until_something_changes(work).await
    }

    /// Waits for the turn of a parked event, or for something that the next step looks at.
    async fn until_something_changes(&self, work: &mut Work) -> Result<(), Stop> {
        // Others may need the memory meanwhile.
        work.drop_buffer();
        self.wait_for_turn(work).await
    }

    /// The same, and what is read stays: it is not for long.
    pub(super) async fn wait_for_turn(&self, work: &Work) -> Result<(), Stop> {
        let (mut changes, mut gate) = (self.changes.clone(), work.gate.clone());
        self.unless_drained(async {
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = gate.changed() => {}
                () = self.parked_turn(work) => {}
            }
        })
        .await
    }

    /// Waits until there may be a parked event to try.
    pub(super) async fn parked_turn(&self, work: &Work) {
        let now = self.clock.now();
        let until_held = self.held.at.map(|at| at.saturating_sub(self.clock.monotonic()));
        let next_turn = work.parking.next_turn(now);
        if let Some(until_held) = until_held.filter(|until| next_turn.is_none_or(|turn| *until < turn)) {
            let mut progress = self.lane().progress();
            let committed = progress.borrow_and_update().ticket;
            let waits_for_commit =
                self.oldest_held(work, committed).is_none() && self.oldest_held(work, u64::MAX).is_some();
            if until_held.is_zero() && waits_for_commit {
                let _ = progress.changed().await;
            } else {
                self.clock.sleep(until_held).await;
            }
            return;
        }
        match next_turn {
            None => std::future::pending().await,
            Some(wait) if wait.is_zero() => {
                let mut progress = self.lane().progress();
                let committed = progress.borrow_and_update().ticket;
                if work.parking.due(now, committed, 1).is_empty() {
                    let _ = progress.changed().await;
                }
            }
            // Turns are times of day; that clock may jump, so a long wait is looked at again.
            Some(wait) => self.clock.sleep(wait.min(LONGEST_WAIT)).await,
        }
    }

    /// Waits a little for the log or the store to answer again.
    pub(super) async fn wait_out(&self, failures: u32, error: &str) -> Result<(), Stop> {
        if failures == 1 {
            warn!(lane = %self.lane().lane, error, "the lane waits");
        }
        self.lane().set_state(LaneState::Waiting { error: error.to_owned() });
        let pause = OUTAGE.delay_after(failures, self.clock.random()).unwrap_or_default();
        self.unless_drained(self.clock.sleep(pause)).await
    }

    /// Waits for something, or until the pump has to end what it does.
    pub(super) async fn unless_drained<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            stop = self.told_to_end() => Err(stop),
            done = awaited => Ok(done),
        }
    }

    /// Waits until the processor drains, or the lane is to be given up.
    pub(super) async fn told_to_end(&self) -> Stop {
        let (mut draining, mut tenure) = (self.draining.clone(), self.tenure.clone());
        tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => Stop::Drained,
            _ = tenure.wait_for(|tenure| matches!(tenure, Tenure::Leaving(_))) => Stop::Leave,
        }
    }

    /// Waits until the lane is owned; the term.
    pub(super) async fn until_owned(&self) -> Result<u64, Stop> {
        if !self.lane().is_owned() {
            self.lane().set_state(LaneState::Unowned);
        }
        let (mut draining, mut tenure) = (self.draining.clone(), self.tenure.clone());
        tokio::select! {
            biased;
            // What is owned is given up by draining.
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
            owned = tenure.wait_for(|tenure| !matches!(tenure, Tenure::None(_))) => match owned.as_deref() {
                Ok(tenure) => tenure.owned().ok_or(Stop::Drained),
                Err(_) => Err(Stop::Drained),
            },
        }
    }

    /// Waits until a term is over although the pump has not ended it: somebody else owns the lane or reads its partition, or
    /// giving it up takes too long.
    pub(super) fn called_off(&self, term: u64) -> impl Future<Output = Stop> + use<> {
        let (mut over, mut taken, mut leaving) =
            (self.tenure.clone(), self.tenure.clone(), self.tenure.clone());
        let (clock, leave_within) = (self.clock.clone(), self.leave_within);
        async move {
            let too_long = async {
                let _ = leaving.wait_for(|tenure| matches!(tenure, Tenure::Leaving(_))).await;
                clock.sleep(leave_within).await;
            };
            tokio::select! {
                biased;
                _ = over.wait_for(|tenure| !tenure.is_term(term)) => Stop::Lost,
                _ = taken.wait_for(|tenure| matches!(tenure, Tenure::Taken(_))) => Stop::Taken,
                () = too_long => Stop::Leave,
            }
        }
    }

    /// Gives the lane up: what is decided is committed, or taken back if that takes too long, and the lane is released.
    /// [`Stop::Leave`] when that is done.
    pub(super) async fn leave(&self, generation: Generation, term: u64) -> Stop {
        let released = async {
            self.settle(generation, term).await?;
            let lane = self.lane();
            self.end_term(term, || self.store.release(&lane.lane, lane.epoch(), self.clock.now())).await
        };
        released.await.map_or_else(|stop| stop, |()| Stop::Leave)
    }

    /// Gives the lane up that somebody else reads: what is not committed is taken back, and nothing is committed under this
    /// term any more. [`Stop::Leave`] when that is done.
    pub(super) async fn let_go(&self, term: u64) -> Stop {
        self.take_back();
        self.end_term(term, || self.fence()).await.map_or_else(|stop| stop, |()| Stop::Leave)
    }

    /// Ends the term in the store by a higher one, which nobody holds then.
    async fn fence(&self) -> Result<(), StoreError> {
        let lane = self.lane();
        let ownerships = self.store.ownerships().await?;
        let stored = ownerships.into_iter().find(|stored| stored.lane == lane.lane);
        // Somebody else may have claimed it since, who shares the store.
        let Some(stored) = stored.filter(|stored| stored.owner == self.owner) else { return Ok(()) };
        let epoch = if stored.epoch > lane.epoch() {
            stored.epoch
        } else {
            self.store.claim(&lane.lane, &self.owner, self.clock.now()).await?.epoch
        };
        self.store.release(&lane.lane, epoch, self.clock.now()).await
    }

    /// Waits until what is decided is committed, or takes it back if that takes too long.
    async fn settle(&self, generation: Generation, term: u64) -> Result<(), Stop> {
        let lane = self.lane();
        self.workspace.hurry();
        let mut generations = self.workspace.generation();
        let in_store = async {
            tokio::select! {
                biased;
                _ = generations.wait_for(|current| *current != generation) => {}
                () = self.committed(lane.submitted()) => {}
            }
        };
        let in_time = self.until_over(term, timeout(&*self.clock, self.leave_within, in_store)).await?;
        if in_time.is_none() {
            warn!(lane = %lane.lane, "what was decided is not committed in time; whoever owns the lane next decides it again");
            self.workspace.rewind();
        }
        Ok(())
    }

    /// Ends the term in the store, and here.
    async fn end_term<E>(&self, term: u64, end: impl Fn() -> E) -> Result<(), Stop>
    where
        E: Future<Output = Result<(), StoreError>>,
    {
        let lane = self.lane();
        let mut failures = 0;
        loop {
            let problem = match self.until_over(term, timeout(&*self.clock, self.leave_within, end())).await?
            {
                Some(Ok(())) => break,
                Some(Err(error)) if error.kind() != ErrorKind::Transient => {
                    warn!(lane = %lane.lane, %error, "the lane was not released");
                    break;
                }
                Some(Err(error)) => error.to_string(),
                None => "the store does not answer".to_owned(),
            };
            failures += 1;
            lane.set_state(LaneState::Waiting { error: problem });
            let pause = OUTAGE.delay_after(failures, self.clock.random()).unwrap_or_default();
            self.until_over(term, self.clock.sleep(pause)).await?;
        }
        info!(lane = %lane.lane, "the lane is given up");
        lane.lost(term);
        Ok(())
    }

    /// Waits for something while the lane is given up.
    async fn until_over<T>(&self, term: u64, awaited: impl Future<Output = T>) -> Result<T, Stop> {
        let (mut draining, mut tenure) = (self.draining.clone(), self.tenure.clone());
        tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
            _ = tenure.wait_for(|tenure| !tenure.is_term(term)) => Err(Stop::Lost),
            done = awaited => Ok(done),
        }
    }

    /// Takes back what is decided and not committed; for all lanes, since their documents may depend on it. Under another
    /// epoch of the lane it must not be committed.
    pub(super) fn take_back(&self) {
        if self.lane().submitted() > self.lane().progress().borrow().ticket {
            self.workspace.rewind();
        }
    }
}
