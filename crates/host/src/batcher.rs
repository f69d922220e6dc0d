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
}
