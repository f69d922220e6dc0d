//! Counts lanes, not failures.

use std::time::Duration;

use tidegate_model::clock::Timestamp;

/// Remembers when a lane was last counted as one with final failures, so that it is counted once in a window however
/// often it fails: the sum of what all lanes count is then how many different lanes failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailedLane {
    counted_at: Option<Timestamp>,
}

impl FailedLane {
    /// What to add to [`failed_lanes`](tidegate_model::health::HealthCounts::failed_lanes) for final failures of this lane
    /// in the second that begins at `second`: 1 or 0.
    pub fn count(&mut self, second: Timestamp, window: Duration) -> u64 {
        let is_counted = self
            .counted_at
            // A time that is ahead is from before the clock went back.
            .is_some_and(|counted_at| counted_at <= second && second.since(counted_at) <= window);
        if !is_counted {
            self.counted_at = Some(second);
        }
        u64::from(!is_counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_counted_once_in_a_window() {
        let window = Duration::from_secs(30);
        let mut lane = FailedLane::default();
        let mut count = |second: i64| lane.count(Timestamp::from_millis(second * 1000), window);
        assert_eq!(
            [count(100), count(100), count(101), count(130), count(131), count(132)],
            [1, 0, 0, 0, 1, 0]
        );
        assert_eq!([count(50), count(51)], [1, 0], "the clock went back");
    }
}
