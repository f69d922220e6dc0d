//! The system itself: the durable log, the host and the store, as the program wires them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use tidegate_eventlog::{HubLog, Log, LogOptions};
use tidegate_function::{Decode, Function, JsonPointer, Merge, Upsert, upsert};
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::settings::{FunctionSettings, HostOptions};
use tidegate_model::clock::{SharedClock, SystemClock};
use tidegate_model::event::{EventData, HubName};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, Documents, EventAppender};
use tidegate_model::position::PartitionId;
use tidegate_store::{SqliteStore, StoreOptions};

use super::data::{self, PARTITIONS};
use super::measure::{Measure, Taken};

/// Events in a batch, as the producers send them.
const BATCH: usize = 100;

#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) taken: Taken,
    pub(crate) events: u64,
    /// How long the producers took, in seconds.
    pub(crate) publish_s: f64,
    pub(crate) counts: OutcomeCounts,
    pub(crate) documents: u64,
}

/// The system under measurement.
pub(crate) struct System {
    pub(crate) clock: SharedClock,
    pub(crate) log: Log,
    pub(crate) hub: Arc<HubLog>,
    pub(crate) store: Arc<SqliteStore>,
}

impl System {
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let clock = SystemClock::shared();
        let log = Log::open(&dir.join("log"), LogOptions::default(), Arc::clone(&clock))?;
        let hub = log.create_hub(&HubName::new("telemetry")?, PARTITIONS)?;
        let store =
            Arc::new(SqliteStore::open(&dir.join("state.db"), &StoreOptions::default(), Arc::clone(&clock))?);
        Ok(Self { clock, log, hub, store })
    }

    pub(crate) async fn process(&self, max_event_batch_size: usize) -> anyhow::Result<Processor> {
        let key = JsonPointer::new("/deviceId")?;
        let function: Arc<dyn Function> =
            Arc::new(upsert("devices", Upsert { decode: Decode::Json, key, merge: Merge::Patch }));
        let settings = FunctionSettings { max_event_batch_size, ..FunctionSettings::default() };
        self.process_with(function, settings).await
    }

    pub(crate) async fn process_with(
        &self,
        function: Arc<dyn Function>,
        settings: FunctionSettings,
    ) -> anyhow::Result<Processor> {
        let setup = FunctionSetup { function, log: self.hub.clone(), settings };
        let options = HostOptions::default();
        Ok(Processor::start(self.store.clone(), Arc::clone(&self.clock), options, vec![setup]).await?)
    }
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Publishes everything; nothing is processed.
pub(crate) fn publish(input: &Path, dir: &Path) -> anyhow::Result<Run> {
    runtime()?.block_on(async {
        let system = System::open(dir)?;
        let measure = Measure::begin();
        let events = produce(&system.hub, input).await?;
        let taken = measure.end();
        system.log.close();
        Ok(Run { publish_s: taken.wall_s, taken, events, counts: OutcomeCounts::default(), documents: 0 })
    })
}

/// Publishes everything while it is processed, and waits for the end.
pub(crate) fn end_to_end(input: &Path, dir: &Path) -> anyhow::Result<Run> {
    runtime()?.block_on(async {
        let system = System::open(dir)?;
        let processor = system.process(512).await?;
        let measure = Measure::begin();
        let events = produce(&system.hub, input).await?;
        let publish_s = measure.end().wall_s;
        processor.caught_up().await;
        let taken = measure.end();
        processor.drain(Duration::from_secs(10)).await;

        let mut counts = OutcomeCounts::default();
        for checkpoint in system.store.checkpoints().await? {
            counts += checkpoint.counts;
        }
        let documents = system.store.collections().await?.iter().map(|(_, count)| count).sum();
        anyhow::ensure!(
            counts.total() == events,
            "{events} events were published, {} resolved",
            counts.total()
        );
        system.log.close();
        Ok(Run { taken, events, publish_s, counts, documents })
    })
}

/// Sixteen producers, each with its section of the file, in batches of 100. Returns how many events there were.
pub(crate) async fn produce(hub: &Arc<HubLog>, input: &Path) -> anyhow::Result<u64> {
    let sections = data::sections(input)?;
    let producers: Vec<_> = sections
        .windows(2)
        .enumerate()
        .map(|(producer, section)| {
            let (hub, input) = (Arc::clone(hub), input.to_owned());
            let partition = PartitionId(data::partition_of(producer));
            let section = section[0]..section[1];
            tokio::spawn(async move {
                let mut lines = Lines::open(&input, section)?;
                let mut events = 0;
                while let Some(batch) = lines.batch()? {
                    events += batch.len() as u64;
                    hub.append(partition, batch).await?;
                }
                anyhow::Ok(events)
            })
        })
        .collect();
    let mut events = 0;
    for producer in producers {
        events += producer.await.context("a producer panicked")??;
    }
    Ok(events)
}

/// A section of the file, batch by batch. Bodies are slices of the buffer that was read.
pub(crate) struct Lines {
    file: File,
    section: std::ops::Range<u64>,
    rest: Bytes,
}

impl Lines {
    pub(crate) fn open(input: &Path, section: std::ops::Range<u64>) -> anyhow::Result<Self> {
        Ok(Self { file: File::open(input)?, section, rest: Bytes::new() })
    }

    /// The next events, 100 if there are so many.
    pub(crate) fn batch(&mut self) -> anyhow::Result<Option<Vec<EventData>>> {
        let batch = self.batch_of(BATCH)?;
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// The next events, this many if there are so many.
    pub(crate) fn batch_of(&mut self, count: usize) -> anyhow::Result<Vec<EventData>> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count {
            match self.rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    batch.push(event(self.rest.split_to(end)));
                    let _ = self.rest.split_to(1);
                }
                None if self.section.is_empty() => break,
                None => self.refill()?,
            }
        }
        Ok(batch)
    }

    fn refill(&mut self) -> anyhow::Result<()> {
        let wanted = (self.section.end - self.section.start).min(64 << 10);
        let kept = self.rest.len();
        let mut buffer = BytesMut::zeroed(kept + usize::try_from(wanted)?);
        buffer[..kept].copy_from_slice(&self.rest);
        self.file.read_exact_at(&mut buffer[kept..], self.section.start)?;
        self.section.start += wanted;
        self.rest = buffer.freeze();
        Ok(())
    }
}

/// An event with its device as the key. A corrupt one may have lost it, and goes where its neighbours go.
fn event(line: Bytes) -> EventData {
    const PREFIX: &[u8] = b"{\"deviceId\":\"";
    const ID: usize = "device-0000000".len();
    let id = (line.starts_with(PREFIX) && line.len() >= PREFIX.len() + ID)
        .then(|| line.slice(PREFIX.len()..PREFIX.len() + ID));
    EventData { partition_key: id.and_then(|id| ByteString::try_from(id).ok()), ..EventData::new(line) }
}
