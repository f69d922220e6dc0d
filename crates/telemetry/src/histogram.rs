//! A histogram that takes many equal values at once: plain atomics, no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in milliseconds: a millisecond is what times of events are known to, and an hour is long.
const BOUNDS_MS: [u64; 32] = [
    1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000,
    7_500, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
];

/// How many buckets there are, the last of which has no upper bound.
pub(crate) const BUCKETS: usize = BOUNDS_MS.len() + 1;

/// Durations, counted in buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts `many` events that took `duration` each.
    pub(crate) fn observe(&self, duration: Duration, many: u64) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| bound * 1000 < micros);
        self.buckets[bucket].fetch_add(many, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros.saturating_mul(many), Ordering::Relaxed);
    }

    /// What is counted so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)))
    }

    /// The sum of all durations, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6
    }
}

/// How many values are in each bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts([u64; BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Counts {
    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Upper bounds in seconds with the number of values in each bucket.
    pub(crate) fn buckets(&self) -> [(f64, u64); BUCKETS] {
        std::array::from_fn(|bucket| {
            let bound = BOUNDS_MS.get(bucket).map_or(f64::INFINITY, |ms| *ms as f64 / 1e3);
            (bound, self.0[bucket])
        })
    }

    /// What came since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|bucket| self.0[bucket].saturating_sub(earlier.0[bucket])))
    }

    /// All of both.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|bucket| self.0[bucket].saturating_add(other.0[bucket])))
    }

    /// The value in milliseconds below which the share `quantile` of all is, as near as the buckets tell. `None` without
    /// values. What is beyond the last bound is taken for that bound.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = quantile * total as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bucket, &count) in self.0.iter().enumerate() {
            let Some(upper) = BOUNDS_MS.get(bucket).map(|bound| *bound as f64) else { break };
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                return Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            lower = upper;
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations_ms: &[u64]) -> Counts {
        let histogram = Histogram::default();
        for ms in durations_ms {
            histogram.observe(Duration::from_millis(*ms), 1);
        }
        histogram.counts()
    }

    #[test]
    fn many_at_once_are_as_many_one_by_one() {
        let (once, each) = (Histogram::default(), Histogram::default());
        once.observe(Duration::from_millis(12), 3);
        (0..3).for_each(|_| each.observe(Duration::from_millis(12), 1));
        assert_eq!(once.counts(), each.counts());
        assert_eq!((once.sum(), each.sum()), (0.036, 0.036));
        assert_eq!(once.counts().since(&each.counts()).total(), 0);
    }

    #[test]
    fn quantiles_are_within_their_bucket() {
        assert_eq!(Counts::default().quantile_ms(0.5), None);
        let counts = of(&[40, 40, 40, 40]);
        let median = counts.quantile_ms(0.5).unwrap();
        assert!(median > 30.0 && median <= 50.0, "{median}");
        assert_eq!(of(&[9_999_999]).quantile_ms(0.5), Some(3_600_000.0), "beyond the last bound");
        let mixed = of(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1000]);
        assert!(mixed.quantile_ms(0.5).unwrap() <= 1.0 && mixed.quantile_ms(0.99).unwrap() > 750.0);
    }

    proptest! {
        #[test]
        fn a_quantile_never_leaves_the_buckets_of_the_values(
            durations in proptest::collection::vec(0_u64..4_000_000, 1..50),
            quantile in 0.0..=1.0_f64,
        ) {
            let (least, most) = (*durations.iter().min().unwrap(), *durations.iter().max().unwrap());
            let found = of(&durations).quantile_ms(quantile).unwrap();
            let upper = BOUNDS_MS.iter().find(|bound| **bound >= most).unwrap_or(&3_600_000);
            let lower = BOUNDS_MS.iter().rev().find(|bound| **bound < least).unwrap_or(&0);
            prop_assert!(found >= *lower as f64 && found <= *upper as f64, "{} not in {}..={}", found, lower, upper);
        }
    }
}
