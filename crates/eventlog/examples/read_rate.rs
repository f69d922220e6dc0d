//! How many events a second consumers can drain from this machine's log, when it is in memory.
//!
//! ```text
//! cargo run --release -p tidegate-eventlog --example read_rate -- [events] [consumers] [method]
//! ```
//!
//! The events have bodies of 200 bytes, half of them came over AMQP, and each has a key. Every consumer drains all of one
//! partition in reads of 1 MiB: `read` builds each event, `batch` sees them in place, `deliver` also copies each as a delivery
//! over AMQP would: a header of 60 bytes, then the message. Without a method all are measured.

use std::hint::black_box;
use std::sync::Arc;

use tidegate_eventlog::{HubLog, Log, LogOptions};
use tidegate_model::clock::SystemClock;
use tidegate_model::event::{EncodedMessage, EventData, HubName};
use tidegate_model::ports::{EventAppender, EventLog, ReadError, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

const P0: PartitionId = PartitionId(0);
const LIMIT: ReadLimit = ReadLimit { events: 10_000, bytes: 1 << 20 };
const APPEND: u64 = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(2_000_000), |text| text.parse())?;
    let consumers: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let method = arguments.next();

    let dir = tempfile::tempdir()?;
    let clock = SystemClock::shared();
    let log = Log::open(dir.path(), LogOptions::default(), Arc::clone(&clock))?;
    let hub = log.create_hub(&HubName::new("rate")?, 1)?;
    let batch: Vec<_> = (0..APPEND).map(event).collect();
    for _ in 0..events / APPEND {
        hub.append(P0, batch.clone()).await?;
    }

    for name in ["read", "batch", "deliver"] {
        if method.as_deref().is_some_and(|method| method != name) {
            continue;
        }
        let begin = clock.monotonic();
        let tasks: Vec<_> = (0..consumers)
            .map(|_| {
                let hub = Arc::clone(&hub);
                tokio::spawn(async move {
                    match name {
                        "read" => read(&hub).await,
                        "batch" => batches(&hub).await,
                        _ => deliver(&hub).await,
                    }
                })
            })
            .collect();
        let mut read = 0;
        for task in tasks {
            read += task.await??;
        }
        let seconds = (clock.monotonic() - begin).as_secs_f64();
        println!("{name:8} {read} events, {:.2} M events/s", read as f64 / seconds / 1e6);
    }
    Ok(())
}

fn event(number: u64) -> EventData {
    let key = format!("device-{number}");
    if number.is_multiple_of(2) {
        return EventData::new(vec![b'x'; 200]).with_key(key);
    }
    let bytes = [&[7; 40][..], &[b'x'; 200], &[7; 4]].concat();
    EventData::of_message(EncodedMessage::new(bytes.into(), 40..240).expect("the body is inside"))
        .with_key(key)
}

async fn read(hub: &HubLog) -> Result<u64, ReadError> {
    let (mut next, mut count) = (SequenceNumber::ZERO, 0);
    loop {
        let events = hub.read(P0, next, LIMIT).await?;
        let Some(last) = events.last() else { return Ok(count) };
        next = last.sequence_number.next();
        count += events.len() as u64;
    }
}

async fn batches(hub: &HubLog) -> Result<u64, ReadError> {
    let (mut next, mut count) = (SequenceNumber::ZERO, 0);
    loop {
        let batch = hub.read_batch(P0, next, LIMIT).await?;
        if batch.is_empty() {
            return Ok(count);
        }
        for event in batch.iter() {
            black_box(event);
        }
        next = batch.next();
        count += batch.len() as u64;
    }
}

async fn deliver(hub: &HubLog) -> Result<u64, ReadError> {
    let (mut next, mut count) = (SequenceNumber::ZERO, 0);
    let mut out = Vec::with_capacity(2 << 20);
    loop {
        let batch = hub.read_batch(P0, next, LIMIT).await?;
        if batch.is_empty() {
            return Ok(count);
        }
        out.clear();
        for event in batch.iter() {
            out.extend_from_slice(&[0; 60]);
            out.extend_from_slice(event.partition_key.unwrap_or_default());
            out.extend_from_slice(event.message.unwrap_or(event.body));
        }
        black_box(&out);
        next = batch.next();
        count += batch.len() as u64;
    }
}
