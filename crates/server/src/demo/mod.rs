//! The demo: real telemetry with corrupt events in it, through the real log, processor and store.

pub(crate) mod corrupt;
pub(crate) mod data;
pub(crate) mod outage;
mod verify;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;

use tidegate_eventlog::HubLog;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::{EventData, HubName};
use tidegate_model::partitioner::{Partitioner, Route};
use tidegate_model::ports::EventAppender;
use tidegate_model::position::PartitionId;

use crate::config::{Config, FILE_NAME, Registered};
use crate::data_dir::{DataDir, IfMissing};
use crate::failure::Failure;
use crate::files;
use crate::functions::Registry;
use crate::node::{Node, NodeConfig};
use crate::wiring::System;

pub(crate) use verify::Verdict;

/// The demo's configuration, which it leaves in the data directory.
pub(crate) const CONFIG: &str = crate::config::SAMPLE;

/// The demo's hub.
const HUB: &str = "flights";

/// How many events go to a partition in one append.
const APPEND_EVENTS: usize = 500;

/// What was published and how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// All events.
    pub(crate) events: u64,
    /// The corrupt ones among them.
    pub(crate) corrupt: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// From the first append to the last acknowledgement.
    pub(crate) took: Duration,
}

/// A demo that has run, with everything still open for looking at it.
pub(crate) struct Finished {
    /// The system.
    pub(crate) system: System,
    /// What was published.
    pub(crate) published: Published,
    /// How many events were processed, those that an earlier run left included.
    pub(crate) processed: u64,
    /// How long that took.
    pub(crate) processing_took: Duration,
    /// Whether exactly the corrupt events became dead letters.
    pub(crate) verdict: Verdict,
}

/// Runs the demo in a data directory, which is made if it does not exist.
pub(crate) async fn run(
    data_dir: &Path,
    clock: &SharedClock,
    progress: &ProgressBar,
) -> Result<Finished, Failure> {
    let config = Config::parse(CONFIG, "the demo's configuration", Registered::Only(&[]))?;
    let opened = DataDir::open_when_free(data_dir, IfMissing::Create, &**clock).await?;
    leave_config(data_dir)?;
    let events = data::events()?;
    let node = Node::open(opened, NodeConfig::Declared(&config), clock.clone()).await?;
    let hub_name =
        HubName::new(HUB).map_err(|error| Failure::new(ErrorCode::CONFIG_BAD_VALUE, error.to_string()))?;
    let hub = node.hub(&hub_name)?;

    progress.set_message("publishing");
    let published = publish(&hub, events, clock, progress).await?;

    progress.set_message("processing");
    let began = clock.monotonic();
    let before = positions(&node).await?;
    let system = System::start(node, &config, &Registry::default(), None).await?;
    system.caught_up().await;
    let processing_took = clock.monotonic().saturating_sub(began);
    let lanes = (system.node.lanes.lock().as_ref()).map_or_else(Vec::new, |statuses| statuses());
    refuse_stopped(&lanes)?;
    let processed = lanes.iter().map(|lane| lane.position.0).sum::<u64>().saturating_sub(before);

    progress.set_message("checking");
    let verdict = verify::dead_letters(&hub, &*system.node.store).await?;
    Ok(Finished { system, published, processed, processing_took, verdict })
}

/// Puts the configuration where `tidegate run --data-dir` finds it. One that is there stays as it is.
fn leave_config(data_dir: &Path) -> Result<(), Failure> {
    let path = data_dir.join(FILE_NAME);
    if path.exists() {
        return Ok(());
    }
    files::write_atomically(&path, CONFIG.as_bytes(), files::Mode::Public)
        .map_err(|error| files::failure(&path, "write", error))
}

/// Publishes events, each to the partition of its key, all partitions at the same time.
async fn publish(
    hub: &Arc<HubLog>,
    events: Vec<EventData>,
    clock: &SharedClock,
    progress: &ProgressBar,
) -> Result<Published, Failure> {
    let count = EventAppender::partition_count(&**hub);
    let partitioner = Partitioner::new(count);
    let mut published = Published { events: events.len() as u64, corrupt: 0, bytes: 0, took: Duration::ZERO };
    let mut partitions: Vec<Vec<EventData>> = (0..count).map(|_| Vec::new()).collect();
    for event in events {
        published.corrupt += u64::from(data::label_of(&event.properties).is_some());
        published.bytes += event.size() as u64;
        let route = event.partition_key.as_ref().map_or(Route::Any, |key| Route::Key(key));
        let partition = partitioner.choose(route).unwrap_or(PartitionId(0));
        if let Some(events) = partitions.get_mut(partition.0 as usize) {
            events.push(event);
        }
    }
    let began = clock.monotonic();
    let mut appends = tokio::task::JoinSet::new();
    for (partition, events) in (0..).map(PartitionId).zip(partitions) {
        let (hub, progress) = (hub.clone(), progress.clone());
        appends.spawn(async move {
            for chunk in events.chunks(APPEND_EVENTS) {
                hub.append(partition, chunk.to_vec()).await?;
                progress.inc(chunk.len() as u64);
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(appended) = appends.join_next().await {
        appended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    published.took = clock.monotonic().saturating_sub(began);
    Ok(published)
}

/// The positions of all lanes together, before this run processes anything.
async fn positions(node: &Node) -> Result<u64, Failure> {
    use tidegate_model::ports::Checkpoints as _;
    let checkpoints = node.store.checkpoints().await?;
    let hub = |checkpoint: &&tidegate_model::checkpoint::Checkpoint| checkpoint.lane.hub.as_str() == HUB;
    let known: u64 = checkpoints.iter().filter(hub).map(|checkpoint| checkpoint.position.0).sum();
    Ok(known)
}

/// A lane that stopped for good never catches up, and the demo has failed.
fn refuse_stopped(lanes: &[LaneStatus]) -> Result<(), Failure> {
    for status in lanes {
        if let LaneState::Stopped { error } = &status.state {
            let message = format!("the lane {} stopped: {error}", status.lane);
            return Err(Failure::new(ErrorCode::STORE_UNAVAILABLE, message)
                .help("look at the messages above; `tidegate fsck` checks the data directory"));
        }
    }
    Ok(())
}
