//! A clock that only the test moves, and that knows who waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_alerts::dispatcher::LOOK_EVERY;
use tidegate_model::clock::{Clock, Timestamp};
use tokio::sync::watch;

/// Sleeps that are longer are of housekeeping, and nobody waits for them to be taken up.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

pub(crate) struct ManualClock {
    start: Timestamp,
    elapsed: watch::Sender<Duration>,
    /// When each sleeper wants to be woken.
    sleepers: Mutex<BTreeMap<u64, Duration>>,
    changed: watch::Sender<()>,
    next: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Timestamp::from_millis(1_633_608_000_000),
            elapsed: watch::Sender::new(Duration::ZERO),
            sleepers: Mutex::default(),
            changed: watch::Sender::new(()),
            next: AtomicU64::new(0),
        })
    }

    /// Moves the time.
    pub(crate) fn advance(&self, duration: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += duration);
    }

    /// Waits until `lines` dispatcher lines have done all they can and wait for the next look.
    pub(crate) async fn settled(&self, lines: usize) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if self.is_settled(lines) {
                return;
            }
            changed.changed().await.expect("the clock lives");
        }
    }

    fn is_settled(&self, lines: usize) -> bool {
        let now = self.monotonic();
        let sleepers = self.sleepers.lock();
        let mut short = sleepers.values();
        short.clone().count() == lines && short.all(|until| *until > now && *until <= now + LOOK_EVERY)
    }

    /// Lets time pass in steps, each one taken up by `lines` dispatcher lines.
    pub(crate) async fn pass(&self, total: Duration, lines: usize) {
        let end = self.monotonic() + total;
        while self.monotonic() < end {
            self.settled(lines).await;
            self.advance(LOOK_EVERY);
        }
        self.settled(lines).await;
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.monotonic() + duration;
        let _sleeper = (duration <= HOUSEKEEPING).then(|| Sleeper::new(self, until));
        self.elapsed.subscribe().wait_for(|elapsed| *elapsed >= until).await.expect("the clock lives");
    }

    fn random(&self) -> u64 {
        // Always the middle: pauses are what they are without jitter.
        u64::MAX / 2
    }
}

struct Sleeper<'a> {
    clock: &'a ManualClock,
    number: u64,
}

impl<'a> Sleeper<'a> {
    fn new(clock: &'a ManualClock, until: Duration) -> Self {
        let number = clock.next.fetch_add(1, Ordering::Relaxed);
        clock.sleepers.lock().insert(number, until);
        clock.changed.send_replace(());
        Self { clock, number }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.sleepers.lock().remove(&self.number);
        self.clock.changed.send_replace(());
    }
}
