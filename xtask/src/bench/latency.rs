//! Latency at a fixed rate: 10,000 events a second in appends of 10, due every millisecond whatever happened to those
//! before (an open loop), measured from when an append was due.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_model::ports::EventAppender;
use tidegate_model::position::{PartitionId, SequenceNumber};

use super::data::{self, PARTITIONS};
use super::pipeline::{Lines, System};

const RATE: usize = 10_000;
const APPEND: usize = 10;
const SECONDS: usize = 10;

#[derive(Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) events_per_s: usize,
    pub(crate) publish_acknowledged_ms: Percentiles,
    pub(crate) document_committed_ms: Percentiles,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

pub(crate) fn run(input: &Path, dir: &Path) -> anyhow::Result<Latency> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(input, dir))
}

async fn measure(input: &Path, dir: &Path) -> anyhow::Result<Latency> {
    let system = System::open(dir)?;
    let processor = system.process(512).await?;
    let mut batches = appends(input)?;
    let (acknowledged, acknowledgements) = mpsc::channel();
    let (committed, commits) = mpsc::channel();

    let began = Instant::now() + Duration::from_millis(100);
    for number in 0..RATE / APPEND * SECONDS {
        let due = began + Duration::from_millis(number as u64);
        tokio::time::sleep_until(due.into()).await;
        let partition = number % PARTITIONS as usize;
        let Some(batch) = batches[partition].pop() else { anyhow::bail!("too few events in the input") };
        let hub = Arc::clone(&system.hub);
        let mut progress = processor.lanes()[partition].progress();
        let (acknowledged, committed) = (acknowledged.clone(), committed.clone());
        tokio::spawn(async move {
            let partition = PartitionId(u32::try_from(partition)?);
            let appended = hub.append(partition, batch).await?;
            acknowledged.send(due.elapsed())?;
            let end = SequenceNumber(appended.first.0 + u64::from(appended.count));
            progress.wait_for(|progress| progress.position >= end).await?;
            committed.send(due.elapsed())?;
            anyhow::Ok(())
        });
    }
    drop((acknowledged, committed));
    let (acknowledgements, commits) = tokio::task::spawn_blocking(move || {
        (acknowledgements.iter().collect::<Vec<_>>(), commits.iter().collect::<Vec<_>>())
    })
    .await?;
    anyhow::ensure!(commits.len() == RATE / APPEND * SECONDS, "some appends failed");
    processor.drain(Duration::from_secs(10)).await;
    system.log.close();
    Ok(Latency {
        events_per_s: RATE,
        publish_acknowledged_ms: percentiles(acknowledgements),
        document_committed_ms: percentiles(commits),
    })
}

/// Appends for each partition, cut before the measurement.
fn appends(input: &Path) -> anyhow::Result<Vec<Vec<Vec<tidegate_model::event::EventData>>>> {
    let mut of_partition = vec![Vec::new(); PARTITIONS as usize];
    for (producer, section) in data::sections(input)?.windows(2).enumerate() {
        let mut lines = Lines::open(input, section[0]..section[1])?;
        while let Some(batch) = lines.batch()? {
            of_partition[data::partition_of(producer) as usize]
                .extend(batch.chunks_exact(APPEND).map(<[_]>::to_vec));
        }
    }
    Ok(of_partition)
}

pub(crate) fn percentiles(mut values: Vec<Duration>) -> Percentiles {
    values.sort_unstable();
    let at = |per_mille: usize| {
        values
            .get((values.len() * per_mille / 1000).min(values.len().saturating_sub(1)))
            .map_or(0.0, |value| value.as_secs_f64() * 1000.0)
    };
    Percentiles { p50: at(500), p99: at(990), p999: at(999) }
}
