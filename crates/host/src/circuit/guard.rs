//! Keeps an outage that the circuit has not noticed yet from filling the dead letters.
//!
//! The circuit looks at the store now and then, and a second can set many events aside. So each instance also counts for
//! itself, as it decides: after as many final failures in the window as the threshold, no more events run out of attempts
//! while most of what is tried fails. They are tried again instead, until the circuit has opened or things are better.
//!
//! One that starts begins with what the store says about the window: else each life could set as many aside.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::health::HealthCounts;
use tidegate_model::ports::{Commits, StoreError};

use super::decide::total;
use super::settings::CircuitSettings;
use crate::outcome::commit::second_of;

/// What one instance counted for one function.
pub struct Guard {
    settings: CircuitSettings,
    /// By the second, the newest last.
    seconds: Mutex<VecDeque<(Timestamp, HealthCounts)>>,
}

/// The shorter windows, in seconds: how it is lately.
const LATELY: [u32; 3] = [1, 2, 5];

const SECOND: Duration = Duration::from_secs(1);

impl Guard {
    /// A guard that has counted nothing.
    pub fn new(settings: CircuitSettings) -> Self {
        Self { settings, seconds: Mutex::default() }
    }

    /// A guard that has counted what the store says about the window that ends at `now`, at all instances.
    ///
    /// # Errors
    /// The store does not say.
    pub async fn remembering<C: Commits + ?Sized>(
        store: &C,
        function: &FunctionName,
        settings: CircuitSettings,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let guard = Self::new(settings);
        let newest = second_of(now);
        let since =
            async |second: Timestamp| Ok::<_, StoreError>(total(&store.health(function, second).await?));
        // What is ahead of the clock was recorded before it went back.
        let mut younger = since(newest.plus(SECOND)).await?;
        let mut last_second = newest;
        let mut parts = Vec::new();
        let ages = LATELY.into_iter().map(|seconds| SECOND * seconds).chain([settings.window]);
        for age in ages.filter(|age| *age <= settings.window) {
            let begin = newest.minus(age);
            let all = since(begin.plus(SECOND)).await?;
            // Each part counts as if it had happened in its last second: rather too long than too short.
            parts.push((last_second, all.without(younger)));
            (younger, last_second) = (all, begin);
        }
        for (second, counts) in parts.into_iter().rev() {
            guard.record(second, counts);
        }
        Ok(guard)
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
            let lately = within(second.minus(SECOND * short));
            self.settings.is_telling(lately.failed_attempts, lately.succeeded)
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::commit::Commit;
    use tidegate_model::health::HealthRecord;
    use tidegate_model::memory::MemoryStore;

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

    #[tokio::test]
    async fn what_was_counted_before_a_restart_counts_after_it() {
        let (store, function) = (MemoryStore::new(), FunctionName::new("journal").unwrap());
        let record = async |instance: &str, at: i64, counts: HealthCounts| {
            let (circuit, instance) = (function.clone(), instance.to_owned());
            let health = vec![HealthRecord { circuit, instance, second: second(at), counts }];
            let commit = Commit { lanes: Vec::new(), documents: Vec::new(), health, at: second(at) };
            store.commit(&commit).await.unwrap();
        };
        let remembering = async |now: i64| {
            Guard::remembering(&store, &function, CircuitSettings::default(), second(now)).await.unwrap()
        };
        record("a", 100, counts(100_000, 0)).await;
        record("a", 120, counts(0, 60)).await;
        assert!(remembering(121).await.lets_fail(second(121)));
        record("b", 121, counts(0, 40)).await;
        let guard = remembering(121).await;
        assert!(!guard.lets_fail(second(121)), "of both lives together it is enough");
        assert!(guard.lets_fail(second(160)), "that is too long ago");
        assert!(remembering(160).await.lets_fail(second(160)));
        assert!(remembering(90).await.lets_fail(second(90)), "the clock went back");
    }

    #[test]
    fn a_clock_that_goes_back_begins_a_new_count() {
        let guard = Guard::new(CircuitSettings::default());
        guard.record(second(100), counts(0, 1000));
        guard.record(second(50), counts(0, 1));
        assert!(guard.lets_fail(second(50)));
    }
}
