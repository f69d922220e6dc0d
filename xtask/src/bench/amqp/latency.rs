//! Latency at a fixed rate: 10,000 events a second in batches of 10, each due at its time whatever became of those before
//! (an open loop), measured from when a batch was due to when its acknowledgement has come.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_amqp::connection::{Outgoing, Part};

use super::publish::{Producer, accepted, producers};
use super::server::{HUB, KEY, RULE};
use crate::bench::latency::{Percentiles, percentiles};
use crate::bench::pipeline::runtime;
use tidegate_hostile::peer::Peer;

const APPEND: usize = 10;
const SECONDS: usize = 10;

/// A batch is due every millisecond, from one producer after the other.
const BATCHES_PER_S: usize = 1000;

pub(crate) fn latency(address: SocketAddr, input: &Path) -> anyhow::Result<Percentiles> {
    let producers = producers(input, APPEND)?;
    let count = producers.len();
    runtime()?.block_on(async {
        let mut connected = Vec::new();
        for producer in producers {
            let mut peer = Peer::connect(address, RULE, KEY).await?;
            let link = peer.sender(HUB, producer.partition).await?;
            connected.push((peer, link, producer));
        }
        let began = Instant::now() + Duration::from_millis(100);
        let step = Duration::from_secs(1) * u32::try_from(count)? / u32::try_from(BATCHES_PER_S)?;
        let running: Vec<_> = connected
            .into_iter()
            .enumerate()
            .map(|(number, (peer, link, producer))| {
                let first = began + Duration::from_millis(number as u64);
                let batches = BATCHES_PER_S * SECONDS / count;
                tokio::spawn(run(peer, link, producer, first, step, batches))
            })
            .collect();
        let mut all = Vec::new();
        for producer in running {
            all.extend(producer.await.context("a producer panicked")??);
        }
        Ok(percentiles(all))
    })
}

async fn run(
    mut peer: Peer,
    link: tidegate_amqp::connection::LinkId,
    producer: Producer,
    first: Instant,
    step: Duration,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let outgoing = Outgoing { message_format: MESSAGE_FORMAT_BATCH, ..Outgoing::default() };
    let mut batches = producer.batches.into_iter();
    let mut due = first;
    let mut sent = 0;
    let mut waiting = VecDeque::new();
    let mut took = Vec::with_capacity(count);
    while took.len() < count {
        while let Some(event) = peer.engine.next_event() {
            // One link sends, and one partition stores in order: what is accepted first was sent first.
            for _ in 0..accepted(&event)? {
                let since: Instant = waiting.pop_front().context("an acknowledgement of nothing")?;
                took.push(since.elapsed());
            }
        }
        while sent < count && due <= Instant::now() && peer.engine.can_send(link) {
            let (batch, _) = batches.next().context("too few events in the input")?;
            peer.engine.send(link, &outgoing, &[Part::Share(&batch)])?;
            waiting.push_back(due);
            due += step;
            sent += 1;
        }
        tokio::select! {
            moved = peer.moved() => moved?,
            () = tokio::time::sleep_until(due.into()), if sent < count => {}
        }
    }
    Ok(took)
}
