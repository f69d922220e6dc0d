//! When a batch is ready (pure).

use std::time::Duration;

use crate::settings::FunctionSettings;

/// What to do with the events that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchDecision {
    /// Invoke the function with the first so many of them.
    Take(usize),
    /// Wait for more events, but at most this long.
    WaitAtMost(Duration),
    /// There are none: wait for events.
    WaitForEvents,
}

/// Decides for `buffered` events, the oldest of which has waited for `waited`.
pub fn decide(settings: &FunctionSettings, buffered: usize, waited: Duration) -> BatchDecision {
    if buffered == 0 {
        BatchDecision::WaitForEvents
    } else if buffered >= settings.min_event_batch_size || waited >= settings.max_wait_time {
        BatchDecision::Take(buffered.min(settings.max_event_batch_size))
    } else {
        BatchDecision::WaitAtMost(settings.max_wait_time - waited)
    }
}

/// A batch of so many events shows that a lane is busy.
const BUSY: usize = 32;

/// How long a busy lane lets events gather. Each invocation has a price that its events share.
const GATHER: Duration = Duration::from_millis(5);

/// How much longer a busy lane waits before it takes less than a full batch: its last batch had `last_batch` events and
/// was taken `since_last` ago, and `available` events are there now.
pub fn gather(
    settings: &FunctionSettings,
    available: u64,
    last_batch: usize,
    since_last: Duration,
) -> Option<Duration> {
    let is_full = available >= settings.max_event_batch_size as u64;
    (last_batch >= BUSY && !is_full).then(|| GATHER.saturating_sub(since_last)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_batch_is_ready_when_it_has_enough_or_waited_enough() {
        let settings = FunctionSettings {
            max_event_batch_size: 10,
            min_event_batch_size: 4,
            max_wait_time: 5 * SECOND,
            ..FunctionSettings::default()
        };
        let check = |buffered, waited, expected| {
            assert_eq!(decide(&settings, buffered, waited), expected, "{buffered} events after {waited:?}");
        };
        check(0, 9 * SECOND, BatchDecision::WaitForEvents);
        check(3, SECOND, BatchDecision::WaitAtMost(4 * SECOND));
        check(3, 5 * SECOND, BatchDecision::Take(3));
        check(4, Duration::ZERO, BatchDecision::Take(4));
        check(11, Duration::ZERO, BatchDecision::Take(10));
    }

    #[test]
    fn a_busy_lane_lets_events_gather_for_a_moment() {
        let settings = FunctionSettings { max_event_batch_size: 100, ..FunctionSettings::default() };
        let ms = Duration::from_millis;
        assert_eq!(gather(&settings, 10, BUSY, ms(2)), Some(GATHER - ms(2)));
        assert_eq!(gather(&settings, 10, BUSY, ms(60)), None, "long enough");
        assert_eq!(gather(&settings, 100, BUSY, ms(0)), None, "a full batch is there");
        assert_eq!(gather(&settings, 10, BUSY - 1, ms(0)), None, "the lane is quiet");
    }
}
