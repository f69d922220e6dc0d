//! Work at a rate, and how far it is.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use tidegate_model::clock::Clock;

/// At a rate, a request has the work of at most so much time.
const STEP: Duration = Duration::from_millis(200);

/// Keeps to a number of things a second.
pub(crate) struct Pace {
    rate: u64,
    began: Duration,
    done: u64,
}

impl Pace {
    /// At most `rate` things a second, at least one.
    pub(crate) fn new(rate: u64, clock: &dyn Clock) -> Self {
        Self { rate: rate.max(1), began: clock.monotonic(), done: 0 }
    }

    /// How many things one request has at most.
    pub(crate) fn a_step(&self) -> u64 {
        let step = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
        (self.rate.saturating_mul(step) / 1000).max(1)
    }

    /// Waits until what was done so far may have been done.
    pub(crate) async fn keep(&mut self, count: u64, clock: &dyn Clock) {
        self.done += count;
        let due = self.due();
        let elapsed = clock.monotonic().saturating_sub(self.began);
        if due > elapsed {
            clock.sleep(due - elapsed).await;
        }
    }

    fn due(&self) -> Duration {
        let milliseconds = u128::from(self.done) * 1000 / u128::from(self.rate);
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
    }
}

/// A bar over `total` things; shown on a terminal only, and to a person only.
pub(crate) fn progress(total: u64, json: bool) -> ProgressBar {
    // Indicatif shows nothing where standard error is no terminal.
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(total) };
    match ProgressStyle::with_template("  {bar:32} {pos}/{len}  {per_sec}  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_due_at_its_rate() {
        let mut pace = Pace { rate: 1000, began: Duration::ZERO, done: 0 };
        assert_eq!(pace.a_step(), 200);
        pace.done = 2500;
        assert_eq!(pace.due(), Duration::from_millis(2500));
        assert_eq!(Pace { rate: 1, began: Duration::ZERO, done: 0 }.a_step(), 1);
    }
}
