//! How much flows after a circuit closed (pure).

use std::time::Duration;

/// The largest batch at `elapsed` after the circuit closed: one event at first, doubling in even steps to `max_batch` at
/// the end of `ramp`. `None` is no limit. What was ill is not flooded with everything that waited for it.
pub fn ramp(elapsed: Duration, ramp: Duration, max_batch: usize) -> Option<usize> {
    if elapsed >= ramp || max_batch <= 1 {
        return None;
    }
    let doublings = (max_batch - 1).ilog2() + 1;
    // Less than `doublings`, because less than the whole ramp has passed.
    let done = u128::from(doublings) * elapsed.as_nanos() / ramp.as_nanos();
    Some(1 << done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_batches_double_until_the_limit_is_gone() {
        let limits: Vec<_> =
            (0..=10).map(|second| ramp(Duration::from_secs(second), Duration::from_secs(10), 100)).collect();
        let expected = [1, 1, 2, 4, 4, 8, 16, 16, 32, 64].map(Some);
        assert_eq!(limits[..10], expected);
        assert_eq!(limits[10], None);
    }

    #[test]
    fn without_a_ramp_there_is_no_limit() {
        assert_eq!(ramp(Duration::ZERO, Duration::ZERO, 100), None);
        assert_eq!(ramp(Duration::ZERO, Duration::from_secs(10), 1), None);
    }

    proptest! {
        #[test]
        fn the_limit_only_grows_and_is_smaller_than_a_batch(
            first in 0_u64..20_000, later in 0_u64..20_000, ramp_ms in 0_u64..15_000, max_batch: usize,
        ) {
            let at = |ms| ramp(Duration::from_millis(ms), Duration::from_millis(ramp_ms), max_batch);
            let (early, late) = (at(first.min(later)), at(first.max(later)));
            prop_assert!(early.is_none_or(|limit| (1..max_batch).contains(&limit)));
            prop_assert!(late.unwrap_or(usize::MAX) >= early.unwrap_or(usize::MAX));
        }
    }
}
