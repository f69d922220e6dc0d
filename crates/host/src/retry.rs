//! When a failed event is tried again (pure).

use std::time::Duration;

use crate::settings::InvalidSettings;

/// The most tries that can be asked for. All of them are kept with a dead letter.
pub const MAX_ATTEMPTS: u32 = 100;

/// The pauses of the host itself while the log or the store does not answer.
pub(crate) const OUTAGE: RetryPolicy = RetryPolicy::ExponentialBackoff {
    max_attempts: None,
    min_interval: Duration::from_millis(50),
    max_interval: Duration::from_secs(2),
};

/// How often and when an event is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Always the same pause.
    FixedDelay {
        /// Tries in all, the first one included; `None` tries for ever.
        max_attempts: Option<u32>,
        /// The pause between two.
        delay: Duration,
    },
    /// The pause doubles with each failure and varies by a fifth either way, so that lanes that failed together do not
    /// return together.
    ExponentialBackoff {
        /// Tries in all, the first one included; `None` tries for ever.
        max_attempts: Option<u32>,
        /// The pause after the first failure.
        min_interval: Duration,
        /// The longest pause.
        max_interval: Duration,
    },
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::ExponentialBackoff {
            max_attempts: Some(5),
            min_interval: Duration::from_millis(200),
            max_interval: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The pause after the `failures`-th failure in a row, or `None` when the attempts are used up.
    ///
    /// `random` varies an exponential pause: 0 makes it the shortest, `u64::MAX` the longest.
    pub fn delay_after(&self, failures: u32, random: u64) -> Option<Duration> {
        let (Self::FixedDelay { max_attempts, .. } | Self::ExponentialBackoff { max_attempts, .. }) = self;
        if max_attempts.is_some_and(|max| failures >= max) {
            return None;
        }
        Some(match *self {
            Self::FixedDelay { delay, .. } => delay,
            Self::ExponentialBackoff { min_interval, max_interval, .. } => {
                let doublings = failures.saturating_sub(1).min(63);
                let interval = min_interval.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX));
                let jitter = 0.8 + 0.4 * (random as f64 / u64::MAX as f64);
                let interval = interval.min(max_interval).as_secs_f64() * jitter;
                Duration::try_from_secs_f64(interval)
                    .map_or(max_interval, |interval| interval.min(max_interval))
            }
        })
    }

    /// Tries in all, the first one included; `None` when there is no limit.
    pub fn max_attempts(&self) -> Option<u32> {
        let (Self::FixedDelay { max_attempts, .. } | Self::ExponentialBackoff { max_attempts, .. }) = self;
        *max_attempts
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidSettings> {
        if self.max_attempts() == Some(0) {
            return Err(InvalidSettings("max_attempts must be at least 1: the first try counts"));
        }
        if self.max_attempts().is_some_and(|max| max > MAX_ATTEMPTS) {
            return Err(InvalidSettings("max_attempts must be at most 100"));
        }
        match self {
            Self::ExponentialBackoff { min_interval, max_interval, .. } if min_interval > max_interval => {
                Err(InvalidSettings("min_interval must not be above max_interval"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_try_counts() {
        let policy = RetryPolicy::FixedDelay { max_attempts: Some(3), delay: 7 * MS };
        let delays: Vec<_> = (1..=4).map(|failures| policy.delay_after(failures, 0)).collect();
        assert_eq!(delays, [Some(7 * MS), Some(7 * MS), None, None]);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::ExponentialBackoff {
            max_attempts: None,
            min_interval: 100 * MS,
            max_interval: 1000 * MS,
        };
        let pause = |failures| policy.delay_after(failures, u64::MAX / 2).map(|delay| delay.as_millis());
        let pauses: Vec<_> = (1..=6).map(pause).collect();
        assert_eq!(pauses, [Some(100), Some(200), Some(400), Some(800), Some(1000), Some(1000)]);
    }

    #[test]
    fn the_longest_pauses_there_are_do_not_overflow() {
        let policy = RetryPolicy::ExponentialBackoff {
            max_attempts: None,
            min_interval: Duration::MAX,
            max_interval: Duration::MAX,
        };
        assert_eq!(policy.delay_after(100, u64::MAX), Some(Duration::MAX));
    }

    proptest! {
        #[test]
        fn a_pause_stays_within_a_fifth_and_the_longest(failures in 1u32..200, random: u64, min in 1u64..10_000, factor in 1u64..1000) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min * factor));
            let policy = RetryPolicy::ExponentialBackoff { max_attempts: None, min_interval: min, max_interval: max };
            let pause = policy.delay_after(failures, random).expect("no limit");
            prop_assert!(pause <= max);
            prop_assert!(pause >= min.mul_f64(0.79));
        }
    }
}
