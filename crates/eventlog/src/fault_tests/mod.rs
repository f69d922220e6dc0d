//! The log on a medium that fails: crashes at every step, torn and lost writes, failed syncs, a full disk, damage.

mod crash;
mod damage;
mod disk;
mod hubs;
mod ledger;

use std::path::Path;
use std::sync::Arc;

use tidegate_model::clock::{TestClock, Timestamp};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::ports::{AppendError, Appended, EventAppender, EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::storage::faulty::FaultyStorage;
use crate::{HubLog, Log, LogError, LogOptions};

const DIR: &str = "/log";
const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);
const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);
const MUCH: ReadLimit = ReadLimit { events: 100_000, bytes: 256 << 20 };

fn hub_name() -> HubName {
    HubName::new("hub").unwrap()
}

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, writer_threads: 2, queue_bytes: 1 << 20 }
}

fn open(storage: &FaultyStorage, options: &LogOptions) -> Result<Log, LogError> {
    let clock = TestClock::new(START, 1);
    Log::open_in(Arc::new(storage.clone()), Path::new(DIR), options.clone(), clock)
}

/// A log with one hub.
fn open_hub(
    storage: &FaultyStorage,
    options: &LogOptions,
    partitions: u32,
) -> Result<(Log, Arc<HubLog>), LogError> {
    let log = open(storage, options)?;
    let hub = log.create_hub(&hub_name(), partitions)?;
    Ok((log, hub))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

async fn append(hub: &HubLog, partition: PartitionId, bodies: &[&str]) -> Result<Appended, AppendError> {
    hub.append(partition, bodies.iter().map(|body| EventData::new(body.to_string())).collect()).await
}

/// All events from the head to the tail.
async fn read_all(hub: &HubLog, partition: PartitionId) -> Vec<Event> {
    let head = hub.status(partition).unwrap().head;
    read_from(hub, partition, head).await
}

async fn read_from(hub: &HubLog, partition: PartitionId, from: SequenceNumber) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let next = events.last().map_or(from, |event| event.sequence_number.next());
        let more = hub.read(partition, next, MUCH).await.unwrap();
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

fn bodies(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8(event.body().to_vec()).unwrap()).collect()
}

/// Polls a future once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
