//! A store that stops the caller at a chosen step: dropping the caller then is a crash at that step, and letting it go on
//! later is a process that was slow.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tidegate_model::clock::Timestamp;
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::{DeliveryState, Notice, NoticeId};
use tidegate_model::ports::{Outbox, RegisterChange, Registers, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};
use tokio::sync::watch;

/// Every call is two steps: what comes before it takes effect, and what comes after.
pub(crate) struct FrozenStore {
    inner: MemoryStore,
    steps_left: AtomicUsize,
    pub(crate) is_frozen: watch::Sender<bool>,
    thawed: watch::Sender<bool>,
}

impl FrozenStore {
    pub(crate) fn after_steps(inner: MemoryStore, steps: usize) -> Self {
        Self {
            inner,
            steps_left: AtomicUsize::new(steps),
            is_frozen: watch::Sender::new(false),
            thawed: watch::Sender::new(false),
        }
    }

    /// Lets the caller go on, and stops it no more.
    pub(crate) fn thaw(&self) {
        self.thawed.send_replace(true);
    }

    async fn step(&self) {
        let left =
            self.steps_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.is_frozen.send_replace(true);
            self.thawed.subscribe().wait_for(|thawed| *thawed).await.unwrap();
        }
    }

    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.step().await;
        let result = call.await;
        self.step().await;
        result
    }
}

#[async_trait]
impl Registers for FrozenStore {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        self.around(self.inner.register(key)).await
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        // Only housekeeping asks for this; it is not what is under test.
        self.inner.registers(kind).await
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        self.around(self.inner.change_register(change)).await
    }
}

#[async_trait]
impl Outbox for FrozenStore {
    async fn due_notices(
        &self,
        targets: &[String],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        self.around(self.inner.due_notices(targets, now, limit)).await
    }

    async fn recent_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.inner.recent_notices(limit).await
    }

    async fn record_delivery(
        &self,
        notice: NoticeId,
        target: &str,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        self.around(self.inner.record_delivery(notice, target, state, error)).await
    }

    async fn prune_notices(&self, now: Timestamp) -> Result<(), StoreError> {
        self.inner.prune_notices(now).await
    }
}
