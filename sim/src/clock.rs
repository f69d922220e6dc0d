//! The time of a simulation, as one machine sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_model::clock::{Clock, Timestamp};

use crate::executor::Executor;
use crate::random::Random;

/// The time of day at the beginning of every simulation.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The clock of one machine: all measure time alike, and each may be wrong about the time of day.
pub(crate) struct SimClock {
    executor: Executor,
    /// By how much its time of day is wrong, in milliseconds.
    wrong_by: AtomicI64,
    random: Mutex<Random>,
}

impl SimClock {
    /// A clock that is right.
    pub(crate) fn new(executor: &Executor, random: Random) -> Arc<Self> {
        let (executor, random) = (executor.clone(), Mutex::new(random));
        Arc::new(Self { executor, wrong_by: AtomicI64::new(0), random })
    }

    /// Makes its time of day jump.
    pub(crate) fn jump(&self, millis: i64) {
        self.wrong_by.fetch_add(millis, Ordering::Relaxed);
    }

    /// Makes its time of day right.
    pub(crate) fn set_right(&self) {
        self.wrong_by.store(0, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let right = BEGINNING.plus(self.executor.now());
        Timestamp::from_millis(right.as_millis() + self.wrong_by.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.executor.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.executor.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.random.lock().number()
    }
}
