//! What a pump waits for besides events: an event that failed to be due again, the log or the store to answer.

use std::time::Duration;

use tidegate_model::attempt::Attempt;
use tidegate_model::position::SequenceNumber;
use tracing::warn;

use super::{PartitionPump, Stop};
use crate::retry::OUTAGE;
use crate::status::LaneState;

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
