//! The ports behind the door, and the door itself, with a planted defect if there is one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tidegate_eventlog::HubLog;
use tidegate_gateway::admission::Limits;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{EventData, HubName};
use tidegate_model::ports::{AppendError, Appended, EventAppender, EventLog, ReadError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};

use crate::executor::{Executor, ProcessId};
use crate::mutation::Mutation;
use crate::random::Random;

/// What the door appends to and reads from.
pub(super) fn ports(
    log: &Arc<HubLog>,
    mutation: Option<Mutation>,
    executor: &Executor,
    process: ProcessId,
    seed: u64,
) -> (Arc<dyn EventAppender>, Arc<dyn EventLog>) {
    let has_defect = mutation.is_some_and(|mutation| {
        [
            Mutation::AckBeforeDurable,
            Mutation::SwapDeliveries,
            Mutation::SkipOnResume,
            Mutation::NoAnswerToSend,
            Mutation::NoAnswerToReader,
        ]
        .contains(&mutation)
    });
    if !has_defect {
        return (Arc::clone(log) as Arc<dyn EventAppender>, Arc::clone(log) as Arc<dyn EventLog>);
    }
    let defective = Arc::new(Defective {
        log: Arc::clone(log),
        mutation,
        executor: executor.clone(),
        process,
        random: Mutex::new(Random::of(seed, "defects of the door")),
    });
    (Arc::clone(&defective) as Arc<dyn EventAppender>, defective)
}

/// The limits of the door: the defective one waits for the log for ever.
pub(super) fn limits(mutation: Option<Mutation>) -> Limits {
    match mutation {
        Some(Mutation::NoAnswerToSend) => {
            Limits { append_wait: Duration::from_secs(7 * 86_400), ..Limits::default() }
        }
        _ => Limits::default(),
    }
}

/// A connection of the door, which the defective one ends after a while.
pub(super) async fn served(
    serving: impl Future<Output = ()>,
    mutation: Option<Mutation>,
    executor: &Executor,
    random: &Mutex<Random>,
) {
    if mutation != Some(Mutation::HangUp) {
        return serving.await;
    }
    let until = {
        let mut random = random.lock();
        random.one_in(3).then(|| Duration::from_millis(random.below(3000)))
    };
    match until {
        None => serving.await,
        Some(until) => {
            tokio::select! {
                biased;
                () = serving => {}
                () = executor.sleep(until) => {}
            }
        }
    }
}

/// A log with a defect.
struct Defective {
    log: Arc<HubLog>,
    mutation: Option<Mutation>,
    executor: Executor,
    process: ProcessId,
    random: Mutex<Random>,
}

#[async_trait]
impl EventAppender for Defective {
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
        match self.mutation {
            Some(Mutation::AckBeforeDurable) => {
                let ends = EventLog::ends(&*self.log, partition).ok();
                let first = ends.map_or(SequenceNumber::ZERO, |ends| ends.tail);
                let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
                let log = Arc::clone(&self.log);
                let mut append = Box::pin(async move { log.append(partition, events).await });
                // It is begun here, so that the order is right.
                if (&mut append).now_or_never().is_none() {
                    self.executor.spawn(self.process, append.map(drop));
                }
                Ok(Appended { partition, first, count, enqueued_at: Timestamp::default() })
            }
            Some(Mutation::SwapDeliveries) => {
                // Meanwhile a later one goes first.
                if self.random.lock().one_in(3) {
                    self.executor.sleep(Duration::from_millis(5)).await;
                }
                self.log.append(partition, events).await
            }
            Some(Mutation::NoAnswerToSend) => {
                let appended = self.log.append(partition, events).await;
                if self.random.lock().one_in(8) {
                    std::future::pending::<()>().await;
                }
                appended
            }
            _ => self.log.append(partition, events).await,
        }
    }
}

#[async_trait]
impl EventLog for Defective {
    tidegate_model::delegate_event_log!(log: status, tail, read, read_batch);

    async fn locate(
        &self,
        partition: PartitionId,
        start: StartPosition,
    ) -> Result<SequenceNumber, ReadError> {
        if self.mutation == Some(Mutation::NoAnswerToReader) && self.random.lock().one_in(8) {
            std::future::pending::<()>().await;
        }
        let place = self.log.locate(partition, start).await?;
        let tail = EventLog::ends(&*self.log, partition)?.tail;
        let skips = self.mutation == Some(Mutation::SkipOnResume) && place < tail;
        Ok(if skips && self.random.lock().one_in(3) { place.next() } else { place })
    }
}
