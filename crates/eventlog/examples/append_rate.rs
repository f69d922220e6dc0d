//! How many events a second this machine appends durably, and reads back.
//!
//! ```text
//! cargo run --release -p tidegate-eventlog --example append_rate -- [seconds] [producers] [partitions]
//! ```
//!
//! Each producer appends batches of 100 events of 200 bytes to one partition and waits for each acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use tidegate_eventlog::{Log, LogOptions};
use tidegate_model::clock::SystemClock;
use tidegate_model::event::{EventData, HubName};
use tidegate_model::ports::{EventAppender, EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let mut argument = |default| arguments.next().unwrap_or(Ok(default));
    let (seconds, producers, partitions) = (argument(3)?, argument(16)?, argument(8)?);

    let dir = tempfile::tempdir()?;
    let clock = SystemClock::shared();
    let log = Log::open(dir.path(), LogOptions::default(), Arc::clone(&clock))?;
    let hub = log.create_hub(&HubName::new("rate")?, partitions)?;

    let end = clock.monotonic() + Duration::from_secs(seconds.into());
    let tasks: Vec<_> = (0..producers)
        .map(|producer| {
            let (hub, clock) = (Arc::clone(&hub), Arc::clone(&clock));
            tokio::spawn(async move {
                let batch = vec![EventData::new(vec![b'x'; 200]); 100];
                let mut waits = Vec::new();
                while clock.monotonic() < end {
                    let begin = clock.monotonic();
                    hub.append(PartitionId(producer % partitions), batch.clone()).await?;
                    waits.push(clock.monotonic() - begin);
                }
                Ok::<_, tidegate_model::ports::AppendError>(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    waits.sort_unstable();
    let at = |part: f64| waits[(((waits.len() - 1) as f64) * part) as usize];
    let per_second = waits.len() as f64 * 100.0 / f64::from(seconds);
    println!("append: {per_second:.0} events/s, p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0));

    let begin = clock.monotonic();
    let mut read = 0;
    for partition in (0..partitions).map(PartitionId) {
        let mut from = SequenceNumber::ZERO;
        loop {
            let events = hub.read(partition, from, ReadLimit { events: 1000, bytes: 1 << 20 }).await?;
            let Some(last) = events.last() else { break };
            from = last.sequence_number.next();
            read += events.len();
        }
    }
    let took = clock.monotonic() - begin;
    println!("read:   {:.0} events/s", read as f64 / took.as_secs_f64());
    Ok(())
}
