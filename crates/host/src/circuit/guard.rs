//! Keeps an outage that the circuit has not noticed yet from filling the dead letters.
//!
//! The circuit looks at the store now and then, and a second can set many events aside. So each instance also counts for
//! itself, as it decides: after as many final failures in the window as the threshold, no more events run out of attempts
//! while most of what is tried fails. They are tried again instead, until the circuit has opened or things are better.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidegate_model::clock::Timestamp;
use tidegate_model::health::HealthCounts;

use super::settings::CircuitSettings;

/// What one instance counted for one function.
pub struct Guard {
    settings: CircuitSettings,
    /// By the second, the newest last.
    seconds: Mutex<VecDeque<(Timestamp, HealthCounts)>>,
}

/// The shorter windows, in seconds: how it is lately.
const LATELY: [i64; 3] = [1, 2, 5];

impl Guard {
    /// A guard that has counted nothing.
    pub fn new(settings: CircuitSettings) -> Self {
        Self { settings, seconds: Mutex::default() }
    }

    /// Counts what was decided in the second that begins at `second`.
    pub fn record(&self, second: Timestamp, counts: HealthCounts) {
        let mut seconds = self.seconds.lock();
        match seconds.back_mut() {
            Some((newest, sum)) if *newest == second => *sum += counts,
            // A clock that went back begins a new count.
            Some((newest, _)) if *newest > second => {
                seconds.clear();
                seconds.push_back((second, counts));
            }
            _ => seconds.push_back((second, counts)),
        }
        let begin = second.minus(self.settings.window);
        while seconds.front().is_some_and(|(oldest, _)| *oldest <= begin) {
            seconds.pop_front();
        }
    }

    /// Whether an event may run out of attempts now, in the second that begins at `second`.
    pub fn lets_fail(&self, second: Timestamp) -> bool {
        if !self.settings.enabled {
            return true;
        }
        let seconds = self.seconds.lock();
        let within = |begin: Timestamp| {
            seconds.iter().filter(|(at, _)| *at > begin && *at <= second).fold(
                HealthCounts::default(),
                |mut sum, (_, counts)| {
                    sum += *counts;
                    sum
                },
            )
        };
        if within(second.minus(self.settings.window)).failed < self.settings.threshold {
            return true;
        }
        !LATELY.into_iter().any(|short| {
            let lately = within(Timestamp::from_millis(second.as_millis() - short * 1000));
            self.settings.is_telling(lately.failed_attempts, lately.succeeded)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: i64) -> Timestamp {
        Timestamp::from_millis(number * 1000)
    }

    fn counts(succeeded: u64, failed: u64) -> HealthCounts {
        HealthCounts { succeeded, failed, failed_attempts: failed, ..HealthCounts::default() }
    }

    #[test]
    fn when_most_fails_no_more_events_than_the_threshold_run_out_of_attempts() {
        let guard = Guard::new(CircuitSettings::default());
        guard.record(second(1), counts(100_000, 0));
        guard.record(second(2), counts(0, 99));
        assert!(guard.lets_fail(second(2)));
        guard.record(second(2), counts(0, 1));
        assert!(!guard.lets_fail(second(2)));
        assert!(guard.lets_fail(second(32)), "that is too long ago");
    }

    #[test]
    fn among_events_that_succeed_any_number_may_fail() {
        let guard = Guard::new(CircuitSettings::default());
        for number in 0..10 {
            guard.record(second(number), counts(1000, 50));
        }
        assert!(guard.lets_fail(second(9)));
    }

    #[test]
    fn a_clock_that_goes_back_begins_a_new_count() {
        let guard = Guard::new(CircuitSettings::default());
        guard.record(second(100), counts(0, 1000));
        guard.record(second(50), counts(0, 1));
        assert!(guard.lets_fail(second(50)));
    }
}
