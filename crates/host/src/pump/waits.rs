//! What a pump waits for besides events: an event that failed to be due again, the log or the store to answer.

use std::time::Duration;

use tidegate_model::attempt::Attempt;
use tidegate_model::health::HealthCounts;
use tidegate_model::position::SequenceNumber;
use tracing::warn;

use super::work::Work;
use super::{PartitionPump, Stop};
use crate::retry::OUTAGE;
use crate::status::LaneState;

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
    /// Waits until the attempt is recorded, and then for the pause.
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

        let mut progress = self.lane().progress();
        let recorded = async {
            let _ = progress.wait_for(|progress| progress.ticket >= ticket || progress.stopped).await;
        };
        self.unless_drained(recorded).await?;
        retry.due = self.clock.monotonic().saturating_add(delay);
        self.retry = Some(retry.clone());
        self.pause_until_due(&retry).await
    }

    /// Waits until an event that failed is due.
    pub(super) async fn pause_until_due(&self, retry: &Retry) -> Result<(), Stop> {
        let pause = retry.due.saturating_sub(self.clock.monotonic());
        if pause.is_zero() {
            return Ok(());
        }
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
        let still_held = tokio::select! {
            biased;
            changed = self.until_something_changes(work) => {
                changed?;
                false
            }
            () = self.clock.sleep(self.settings.circuit.window) => work.parking.held() > 0,
        };
        if still_held {
            // A lane that waits fails no more events: the circuit would forget that it is one of those that cannot go on.
            let health = HealthCounts { failed_lanes: 1, ..HealthCounts::default() };
            let decided = self.decided_parked(work, Vec::new(), Vec::new(), Vec::new(), health);
            self.submit(work, decided, Vec::new(), None).await?;
        }
        Ok(())
    }

    /// Waits until parked events have left the parking place: the next event has to be parked, and there is no room.
    pub(super) async fn wait_for_room(&self, work: &Work) -> Result<(), Stop> {
        let error = format!("{} events are parked, and there is no room for more", work.parking.events());
        self.lane().set_state(LaneState::Waiting { error });
        self.until_something_changes(work).await
    }

    async fn until_something_changes(&self, work: &Work) -> Result<(), Stop> {
        let (mut changes, mut gate) = (self.changes.clone(), self.gate.changes());
        let gate_changed = self
            .unless_drained(async {
                tokio::select! {
                    biased;
                    _ = changes.changed() => false,
                    _ = gate.changed() => true,
                    () = self.parked_turn(work) => false,
                }
            })
            .await?;
        // When a circuit closes, what was held is released.
        if gate_changed && work.parking.held() > 0 { Err(Stop::Reload) } else { Ok(()) }
    }

    /// Waits until there may be a parked event to try.
    pub(super) async fn parked_turn(&self, work: &Work) {
        let now = self.clock.now();
        match work.parking.next_turn(now) {
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

    /// Waits for something, or until the processor drains.
    pub(super) async fn unless_drained<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Stop> {
        let mut draining = self.draining.clone();
        tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => Err(Stop::Drained),
            done = awaited => Ok(done),
        }
    }
}
