//! How long to wait before something is tried again.

use std::time::Duration;

use tidegate_model::clock::Clock;

/// The pause after the first failure: that of Event Hubs' clients.
const FIRST: Duration = Duration::from_millis(800);

/// The longest pause: that of Event Hubs' clients.
const LONGEST: Duration = Duration::from_secs(60);

/// Pauses that double with each failure, and are spread so that those who failed together do not come again together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure; the pause after it: from half to all of 0.8 s, 1.6 s and so on up to a minute.
    pub(crate) fn failed(&mut self, clock: &dyn Clock) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = u64::try_from(whole.as_millis() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(half + clock.random() % (half + 1))
    }

    /// Notes a success.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::{TestClock, Timestamp};

    use super::*;

    #[tokio::test]
    async fn pauses_grow_to_a_minute_and_begin_again_after_a_success() {
        let clock = TestClock::new(Timestamp::from_millis(0), 1);
        let mut backoff = Backoff::default();
        for number in 0..40_u32 {
            let most = FIRST.saturating_mul(1 << number.min(10)).min(LONGEST);
            let pause = backoff.failed(&*clock);
            assert!(pause >= most / 2 && pause <= most, "{number}: {pause:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed(&*clock) <= FIRST);
    }
}
