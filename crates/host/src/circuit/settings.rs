//! When a circuit opens, and how it closes again.

use std::time::Duration;

use tidegate_model::health::{BUCKET_MILLIS, KEPT_FOR};

use crate::settings::InvalidSettings;

/// The settings of one circuit. All instances must have the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircuitSettings {
    /// Whether it opens by itself. If not, it opens only by hand; one that is open is probed and closes all the same.
    pub enabled: bool,
    /// More failures than this within [`window`](Self::window), at all instances together, open it.
    pub threshold: u64,
    /// How far back failures and successes are counted. Whole seconds, an hour at most: stores remember no
    /// more ([`KEPT_FOR`]).
    pub window: Duration,
    /// With fewer events than this in the window, successes and failures together, their ratio says nothing.
    pub minimum_volume: u64,
    /// Which share of the events in the window must have failed, above 0 and up to 1.
    pub failure_ratio: f64,
    /// Who finds out whether it can close again.
    pub probe: ProbePolicy,
    /// How long a probe may take. An instance that says nothing for that long has lost it to another.
    pub probe_timeout: Duration,
    /// How long the batches grow from one event to their full size after it closed; zero for full size at once.
    pub ramp: Duration,
    /// How long an instance that is sick alone leaves its partitions to others; zero if it never does, and the circuit
    /// opens instead when the rules say so.
    pub step_aside: Duration,
    /// How often the store is asked. What other instances decide is known here after that time at most.
    pub poll_interval: Duration,
}

/// Who finds out whether an open circuit can close again. A person can probe and close in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePolicy {
    /// The circuit by itself: some time after it opened it lets one event through.
    Automatic {
        /// How long after it opened. The time doubles with each probe that fails.
        after: Duration,
        /// The longest time between two probes.
        longest: Duration,
    },
    /// Only a person, who probes or closes it.
    Manual,
}

impl Default for ProbePolicy {
    /// A probe after 30 s, then up to 5 minutes apart.
    fn default() -> Self {
        Self::Automatic { after: Duration::from_secs(30), longest: Duration::from_secs(300) }
    }
}

impl ProbePolicy {
    /// How long a circuit stays open before its next probe when `failed_probes` have failed; `None` when it waits for a
    /// person.
    pub fn delay(&self, failed_probes: u32) -> Option<Duration> {
        match *self {
            Self::Manual => None,
            Self::Automatic { after, longest } => {
                let factor = 1_u32.checked_shl(failed_probes).unwrap_or(u32::MAX);
                Some(after.saturating_mul(factor).min(longest))
            }
        }
    }
}

impl Default for CircuitSettings {
    /// More than 100 failures within 30 s are what Azure's "reliable event processing with Azure Functions" opens at.
    fn default() -> Self {
        Self {
            enabled: true,
            threshold: 100,
            window: Duration::from_secs(30),
            minimum_volume: 20,
            failure_ratio: 0.5,
            probe: ProbePolicy::default(),
            probe_timeout: Duration::from_secs(60),
            ramp: Duration::from_secs(10),
            step_aside: Duration::from_secs(60),
            poll_interval: Duration::from_secs(1),
        }
    }
}

impl CircuitSettings {
    /// Whether so many failures among so many successes are a large share, and enough events to tell.
    pub(super) fn is_telling(&self, failures: u64, succeeded: u64) -> bool {
        failures.saturating_add(succeeded) >= self.minimum_volume && self.is_large_share(failures, succeeded)
    }

    /// Whether so many failures among so many successes are a large share.
    pub(super) fn is_large_share(&self, failures: u64, succeeded: u64) -> bool {
        failures as f64 >= self.failure_ratio * failures.saturating_add(succeeded) as f64
    }

    /// Checks what the types do not say.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        if self.threshold == 0 {
            return Err(InvalidSettings("threshold must be at least 1: a single failure says nothing"));
        }
        if self.window.is_zero() || self.window > KEPT_FOR {
            return Err(InvalidSettings("window must be longer than zero and at most an hour"));
        }
        if !self.window.as_millis().is_multiple_of(BUCKET_MILLIS.unsigned_abs().into()) {
            return Err(InvalidSettings("window must be whole seconds: failures are counted by the second"));
        }
        if self.minimum_volume == 0 {
            return Err(InvalidSettings("minimum_volume must be at least 1"));
        }
        if !(self.failure_ratio > 0.0 && self.failure_ratio <= 1.0) {
            return Err(InvalidSettings("failure_ratio must be above 0 and at most 1"));
        }
        if self.probe_timeout.is_zero() {
            return Err(InvalidSettings("probe_timeout must be longer than zero"));
        }
        if self.poll_interval.is_zero() {
            return Err(InvalidSettings("poll_interval must be longer than zero"));
        }
        match self.probe {
            ProbePolicy::Automatic { after, .. } if after.is_zero() => {
                Err(InvalidSettings("the time before the first probe must be longer than zero"))
            }
            ProbePolicy::Automatic { after, longest } if after > longest => {
                Err(InvalidSettings("the time before the first probe must not be above the longest"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_probes_doubles_up_to_the_longest() {
        let policy = ProbePolicy::default();
        let delays: Vec<_> = (0..6).map(|failed| policy.delay(failed).map(|delay| delay.as_secs())).collect();
        assert_eq!(delays, [Some(30), Some(60), Some(120), Some(240), Some(300), Some(300)]);
        assert_eq!(policy.delay(u32::MAX), Some(Duration::from_secs(300)));
        assert_eq!(ProbePolicy::Manual.delay(0), None);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let good = CircuitSettings::default();
        assert_eq!(good.validate(), Ok(()));
        let second = Duration::from_secs(1);
        let bad = [
            CircuitSettings { threshold: 0, ..good },
            CircuitSettings { window: Duration::ZERO, ..good },
            CircuitSettings { window: KEPT_FOR + second, ..good },
            CircuitSettings { window: Duration::from_millis(1500), ..good },
            CircuitSettings { minimum_volume: 0, ..good },
            CircuitSettings { failure_ratio: 0.0, ..good },
            CircuitSettings { failure_ratio: 1.1, ..good },
            CircuitSettings { failure_ratio: f64::NAN, ..good },
            CircuitSettings { probe_timeout: Duration::ZERO, ..good },
            CircuitSettings { poll_interval: Duration::ZERO, ..good },
            CircuitSettings {
                probe: ProbePolicy::Automatic { after: Duration::ZERO, longest: second },
                ..good
            },
            CircuitSettings { probe: ProbePolicy::Automatic { after: 2 * second, longest: second }, ..good },
        ];
        for settings in bad {
            assert!(settings.validate().is_err(), "{settings:?}");
        }
    }
}
