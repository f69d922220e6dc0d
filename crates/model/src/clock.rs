//! Time and chance, passed in.
//!
//! This module is the only place of the program that reads the time or draws a random number; everything else is
//! given a [`Clock`]. That is what lets a test decide when a retry is due and a simulation run from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `ms` milliseconds after the epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This point moved forward by `duration`, held at the end of the representable range.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This point moved back by `duration`, held at the beginning of the representable range.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this point is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Self(time.as_millisecond())),
            Err(cause) => {
                Err(InvalidTimestamp { text: text.chars().take(64).collect(), cause: cause.to_string() })
            }
        }
    }
}

/// Text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time such as 2026-01-31T12:00:00Z: {cause}")]
pub struct InvalidTimestamp {
    /// The text, shortened to 64 characters.
    pub text: String,
    /// What the parser said.
    pub cause: String,
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The time, the passing of time, and chance.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may jump, also backwards: nothing is ordered by it.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back: delays and time-outs are measured with it.
    fn monotonic(&self) -> Duration;

    /// Waits until [`monotonic`](Clock::monotonic) has advanced by `duration`.
    async fn sleep(&self, duration: Duration);

    /// The next random number, uniform over all `u64`.
    fn random(&self) -> u64;
}

/// A clock as it is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// Runs `work` for at most `limit`. `None` means that the limit passed first; the work is dropped then.
pub async fn timeout<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = clock.sleep(limit) => None,
    }
}

/// Waits for as long as that; with `None` for ever.
pub async fn sleep_if(clock: &dyn Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// The machine's clock and the operating system's randomness.
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's time")]
    pub fn shared() -> SharedClock {
        Arc::new(Self { started: std::time::Instant::now() })
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits for the machine's time")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        getrandom::u64().expect("the operating system gives random numbers")
    }
}

/// A clock for tests: the time of day is set by hand, delays follow Tokio's (pausable) time, and chance comes from a
/// seed.
pub struct TestClock {
    now_ms: AtomicU64,
    origin: tokio::time::Instant,
    random_state: AtomicU64,
}

impl TestClock {
    /// A clock that starts at `now` and draws its random numbers from `seed`.
    #[expect(clippy::disallowed_methods, reason = "Tokio's time can be paused, which is what a test wants")]
    pub fn new(now: Timestamp, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            now_ms: AtomicU64::new(now.0.cast_unsigned()),
            origin: tokio::time::Instant::now(),
            random_state: AtomicU64::new(seed),
        })
    }

    /// Sets the time of day, forwards or backwards.
    pub fn set_now(&self, now: Timestamp) {
        self.now_ms.store(now.0.cast_unsigned(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::SeqCst).cast_signed()).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "Tokio's time can be paused, which is what a test wants")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): a full-period generator whose state is a counter.
        let state = self.random_state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_and_read_as_rfc_3339() {
        let time = Timestamp::from_millis(1_633_608_001_250);
        assert_eq!(time.to_string(), "2021-10-07T12:00:01.250Z");
        assert_eq!("2021-10-07T12:00:01.250Z".parse(), Ok(time));
        assert!("yesterday".parse::<Timestamp>().unwrap_err().to_string().contains("yesterday"));
    }

    #[test]
    fn time_that_went_back_has_not_passed() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
