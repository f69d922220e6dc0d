//! Reading everything in the log, from all partitions at once.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_amqp::connection::Event;

use super::server::{HUB, KEY, RULE, Server};
use crate::bench::data::PARTITIONS;
use crate::bench::measure::Measure;
use crate::bench::pipeline::runtime;
use tidegate_hostile::peer::Peer;

/// How many connections read; they share the partitions.
const READERS: u32 = 2;

/// What reading took.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Drained {
    pub(crate) events: u64,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) client_cpu_s: f64,
}

/// What a reader does with a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Counts transfers, so that the reader is not the limit.
    Counting,
    /// Takes every delivery through the client's state machine.
    Engine,
}

/// Reads as many events as the log has.
pub(crate) fn drain(server: &mut Server, reader: Reader) -> anyhow::Result<Drained> {
    let address = server.address;
    let runtime = runtime()?;
    let before = server.usage()?;
    let in_the_log = before.events;
    let readers = runtime.block_on(async {
        let mut readers = Vec::new();
        for number in 0..READERS {
            let mut peer = Peer::connect(address, RULE, KEY).await?;
            let mut links = Vec::new();
            for partition in (number..PARTITIONS).step_by(READERS as usize) {
                links.push(peer.receiver(HUB, partition).await?);
            }
            readers.push((peer, links));
        }
        anyhow::Ok(readers)
    })?;
    let expected: Vec<u64> = (0..READERS)
        .map(|number| {
            let of = |partition: u32| before.of_partition[partition as usize];
            (number..PARTITIONS).step_by(READERS as usize).map(of).sum()
        })
        .collect();
    let measure = Measure::begin();
    let events = runtime.block_on(async {
        let running: Vec<_> = readers
            .into_iter()
            .zip(expected)
            .map(|((peer, links), wanted)| {
                tokio::spawn(async move {
                    match reader {
                        Reader::Counting => peer.count(&links, wanted).await,
                        Reader::Engine => receive(peer, &links, wanted).await,
                    }
                })
            })
            .collect();
        let mut events = 0;
        for reader in running {
            events += reader.await.context("a reader panicked")??;
        }
        anyhow::Ok(events)
    })?;
    let taken = measure.end();
    let after = server.usage()?;
    anyhow::ensure!(events == in_the_log, "{events} events came of {in_the_log}");
    Ok(Drained { events, wall_s: taken.wall_s, cpu_s: after.cpu_s - before.cpu_s, client_cpu_s: taken.cpu_s })
}

async fn receive(
    mut peer: Peer,
    links: &[tidegate_amqp::connection::LinkId],
    wanted: u64,
) -> anyhow::Result<u64> {
    for link in links {
        peer.engine.grant_credit(*link, i32::MAX as u32)?;
    }
    let mut deliveries = 0;
    loop {
        while let Some(event) = peer.engine.next_event() {
            match event {
                Event::Delivery(_) => deliveries += 1,
                Event::Closed(ending) => anyhow::bail!("the connection ended: {ending:?}"),
                _ => {}
            }
        }
        if deliveries >= wanted {
            return Ok(deliveries);
        }
        peer.moved().await?;
    }
}
