//! Appenders that do what a test wants, in front of a log in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tidegate_model::event::{EventData, HubName};
use tidegate_model::memory::MemoryLog;
use tidegate_model::ports::{AppendError, Appended, EventAppender};
use tidegate_model::position::{Incarnation, PartitionId};
use tokio::sync::Semaphore;

/// Lets an append through only when it is told to.
pub(crate) struct Gated {
    log: Arc<MemoryLog>,
    gate: Semaphore,
    under_way: Vec<AtomicUsize>,
    pub(crate) most_at_once: AtomicUsize,
    pub(crate) most_at_once_in_one_partition: AtomicUsize,
}

impl Gated {
    pub(crate) fn new(log: Arc<MemoryLog>) -> Self {
        let under_way = (0..EventAppender::partition_count(&*log)).map(|_| AtomicUsize::new(0)).collect();
        let (most_at_once, most_at_once_in_one_partition) = Default::default();
        Self { log, gate: Semaphore::new(0), under_way, most_at_once, most_at_once_in_one_partition }
    }

    /// Lets this many appends through.
    pub(crate) fn open(&self, appends: usize) {
        self.gate.add_permits(appends);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.under_way.iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

#[async_trait]
impl EventAppender for Gated {
    fn hub(&self) -> &HubName {
        EventAppender::hub(&*self.log)
    }

    fn partition_count(&self) -> u32 {
        EventAppender::partition_count(&*self.log)
    }

    fn incarnation(&self) -> Incarnation {
        EventAppender::incarnation(&*self.log)
    }

    async fn append(&self, partition: PartitionId, events: Vec<EventData>) -> Result<Appended, AppendError> {
        let count = &self.under_way[partition.0 as usize];
        let here = count.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once_in_one_partition.fetch_max(here, Ordering::SeqCst);
        self.most_at_once.fetch_max(self.waiting(), Ordering::SeqCst);
        self.gate.acquire().await.expect("the gate is never closed").forget();
        count.fetch_sub(1, Ordering::SeqCst);
        self.log.append(partition, events).await
    }
}

/// What a [`Scripted`] appender does with one append.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Stores the events.
    Store,
    /// Stores nothing.
    Refuse(AppendError),
    /// Stores the events and reports an error all the same.
    StoreAndFail(AppendError),
    /// Stores nothing and never answers.
    Hang,
}

type Script = Box<dyn Fn(usize, PartitionId) -> Step + Send + Sync>;

/// Decides by the number of the append, from 0, and its partition what to do with it.
pub(crate) struct Scripted {
    log: Arc<MemoryLog>,
    script: Script,
    appends: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(
        log: Arc<MemoryLog>,
        script: impl Fn(usize, PartitionId) -> Step + Send + Sync + 'static,
    ) -> Self {
        Self { log, script: Box::new(script), appends: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl EventAppender for Scripted {
    fn hub(&self) -> &HubName {
        EventAppender::hub(&*self.log)
    }

    fn partition_count(&self) -> u32 {
        EventAppender::partition_count(&*self.log)
    }

    fn incarnation(&self) -> Incarnation {
        EventAppender::incarnation(&*self.log)
    }

    async fn append(&self, partition: PartitionId, events: Vec<EventData>) -> Result<Appended, AppendError> {
        let number = self.appends.fetch_add(1, Ordering::SeqCst);
        // Appends of different partitions overlap, as on a disk.
        tokio::task::yield_now().await;
        match (self.script)(number, partition) {
            Step::Store => self.log.append(partition, events).await,
            Step::Refuse(error) => Err(error),
            Step::StoreAndFail(error) => {
                self.log.append(partition, events).await?;
                Err(error)
            }
            Step::Hang => std::future::pending().await,
        }
    }
}
