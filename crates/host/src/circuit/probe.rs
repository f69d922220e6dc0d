//! The probe: the one event of the fleet that a half-open circuit lets through.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::Circuit;
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::StoreError;
use tracing::warn;

use super::controller::{Seen, Shared, Watched};
use super::transition::{self, TIDEGATE};
use crate::retry::OUTAGE;

/// The right to try one event. Dropping it gives it back.
///
/// It is good for [`time_left`](Self::time_left). After that another instance may probe, so the event's invocation must
/// not take longer: one that does has [failed](Self::failed).
#[must_use = "a probe that is dropped is given back"]
pub struct ProbeLease {
    pub(super) shared: Arc<Shared>,
    pub(super) name: FunctionName,
    /// The circuit as it was claimed; `None` until the claim went through.
    pub(super) claimed: Option<Seen>,
    /// When it runs out, on this instance's steady clock.
    pub(super) ends: Duration,
}

/// What became of what a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnd {
    /// The circuit changed accordingly.
    Counted,
    /// It does not count: the time was up and another instance probes, a person decided meanwhile, or the store did not
    /// answer until the time was up.
    Lost,
}

impl ProbeLease {
    /// The circuit that is probed.
    pub fn circuit(&self) -> &FunctionName {
        &self.name
    }

    /// How long the probe may still take.
    pub fn time_left(&self) -> Duration {
        self.ends.saturating_sub(self.shared.clock.monotonic())
    }

    /// Waits until the time is up.
    pub async fn run_out(&self) {
        self.shared.clock.sleep(self.time_left()).await;
    }

    /// The event went through, and its effect is committed: held events are released and the circuit closes.
    pub async fn succeeded(self) -> ProbeEnd {
        self.end(true, |circuit, now| {
            transition::closed(circuit, TIDEGATE, "the probe succeeded".to_owned(), now)
        })
        .await
    }

    /// The event failed, or did not end in time: the circuit opens again, for twice as long.
    pub async fn failed(self, error: &str) -> ProbeEnd {
        self.end(false, |circuit, now| transition::probe_failed(circuit, error, now)).await
    }

    /// Nothing was found out: there was no event to try, it was rejected for good, or the instance stops. Another instance
    /// may probe at once.
    pub async fn abandoned(self) -> ProbeEnd {
        self.end(false, |circuit, _| transition::with_probe(circuit, None)).await
    }

    async fn end(self, closes: bool, next: impl Fn(&Circuit, Timestamp) -> Circuit) -> ProbeEnd {
        let (Some(claimed), Some(watched)) = (&self.claimed, self.shared.circuits.get(&self.name)) else {
            return ProbeEnd::Lost;
        };
        // The same change each time: a try whose answer was lost is then known by its value.
        let next = next(&claimed.circuit, self.shared.clock.now());
        let mut failures = 0;
        loop {
            match self.try_end(watched, claimed, &next, closes).await {
                Ok(true) => return ProbeEnd::Counted,
                Ok(false) => return ProbeEnd::Lost,
                Err(error) if self.time_left().is_zero() => {
                    warn!(circuit = %self.name, %error, "what the probe found could not be stored in time");
                    return ProbeEnd::Lost;
                }
                Err(_) => {
                    failures += 1;
                    let delay = OUTAGE.delay_after(failures, self.shared.clock.random());
                    self.shared.clock.sleep(delay.unwrap_or_default()).await;
                }
            }
        }
    }

    async fn try_end(
        &self,
        watched: &Watched,
        claimed: &Seen,
        next: &Circuit,
        closes: bool,
    ) -> Result<bool, StoreError> {
        if closes {
            // Before it closes, so that no crash comes between.
            self.shared.release_held(watched).await?;
        }
        Ok(self.shared.transition(watched, claimed, next.clone(), None).await?.is_some())
    }
}

impl Drop for ProbeLease {
    fn drop(&mut self) {
        // If the register still names this instance, the next look at it gives the probe back.
        if let Some(watched) = self.shared.circuits.get(&self.name) {
            watched.known.lock().probe_is_out = false;
        }
        self.shared.wake.notify_one();
    }
}

impl std::fmt::Debug for ProbeLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeLease").field("circuit", &self.name).field("ends", &self.ends).finish()
    }
}
