//! The demo's telemetry, at a rate that a person can follow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use tidegate_eventlog::HubLog;
use tidegate_model::clock::SharedClock;
use tidegate_model::event::EventData;
use tidegate_model::partitioner::{Partitioner, Route};
use tidegate_model::ports::EventAppender;
use tidegate_model::position::PartitionId;

use crate::failure::Failure;

/// How many reports are published at once.
const CHUNK: usize = 30;

/// The pause between two chunks: with [`CHUNK`] it makes 600 reports a second.
const PAUSE: Duration = Duration::from_millis(50);

/// How many reports are published in a second.
pub(crate) const RATE: u64 = 600;

/// Publishes `events` until `stop` says so. `acknowledged` tells how many are durable.
///
/// # Errors
/// When the log does not take them.
pub(super) async fn publish(
    hub: Arc<HubLog>,
    events: Arc<[EventData]>,
    acknowledged: watch::Sender<usize>,
    stop: watch::Receiver<bool>,
    clock: SharedClock,
) -> Result<(), Failure> {
    let partitioner = Partitioner::new(EventAppender::partition_count(&*hub));
    for chunk in events.chunks(CHUNK) {
        if *stop.borrow() {
            return Ok(());
        }
        let mut partitions: Vec<(PartitionId, Vec<EventData>)> = Vec::new();
        for event in chunk {
            let route = event.partition_key.as_ref().map_or(Route::Any, |key| Route::Key(key));
            let partition = partitioner.choose(route).unwrap_or(PartitionId(0));
            match partitions.iter_mut().find(|(known, _)| *known == partition) {
                Some((_, events)) => events.push(event.clone()),
                None => partitions.push((partition, vec![event.clone()])),
            }
        }
        let appends = partitions.into_iter().map(|(partition, events)| hub.append(partition, events));
        futures_util::future::try_join_all(appends).await?;
        acknowledged.send_modify(|count| *count += chunk.len());
        clock.sleep(PAUSE).await;
    }
    Ok(())
}
