//! Publishing: the same events in the same batches, once through AMQP, once by calls within the process of the log.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tidegate_amqp::codec::message::{BatchBuilder, MessageBuilder};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::connection::{Event, Outgoing, Part};
use tidegate_eventlog::{Log, LogOptions};
use tidegate_messages::events_of;
use tidegate_model::clock::SystemClock;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventAppender;
use tidegate_model::position::PartitionId;

use super::server::{HUB, KEY, RULE, Server};
use crate::bench::data::{self, PARTITIONS};
use crate::bench::measure::Measure;
use crate::bench::pipeline::{Lines, runtime};
use tidegate_hostile::peer::Peer;

/// How many batches a producer sends before the first of them is acknowledged.
pub(crate) const IN_FLIGHT: usize = 16;

/// What publishing took.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) events: u64,
    pub(crate) wall_s: f64,
    /// Of the process that has the log.
    pub(crate) cpu_s: f64,
    /// Of the process of the producers; zero if they are in the same.
    pub(crate) client_cpu_s: f64,
}

impl Published {
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.wall_s
    }

    /// Microseconds an event.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu_s / self.events as f64 * 1e6
    }

    pub(crate) fn client_cpu(&self) -> f64 {
        self.client_cpu_s / self.events as f64 * 1e6
    }
}

/// The batches of one producer, encoded before anything is measured.
pub(crate) struct Producer {
    pub(crate) partition: u32,
    pub(crate) batches: Vec<(Bytes, u64)>,
}

/// All producers of a file, with batches of this many events.
pub(crate) fn producers(input: &Path, batch: usize) -> anyhow::Result<Vec<Producer>> {
    let sections = data::sections(input)?;
    let sections = sections.windows(2).enumerate();
    sections
        .map(|(producer, section)| {
            let mut lines = Lines::open(input, section[0]..section[1])?;
            let mut batches = Vec::new();
            loop {
                let events = lines.batch_of(batch)?;
                if events.is_empty() {
                    break;
                }
                let mut builder = BatchBuilder::new(None);
                for event in &events {
                    builder.add(&MessageBuilder::new().data(event.body.clone()).encode());
                }
                batches.push((builder.finish(), events.len() as u64));
            }
            Ok(Producer { partition: data::partition_of(producer), batches })
        })
        .collect()
}

/// Publishes within the process, from tasks that each wait for [`IN_FLIGHT`] appends at a time.
pub(crate) fn in_process(input: &Path, dir: &Path, batch: usize) -> anyhow::Result<Published> {
    runtime()?.block_on(async {
        let log = Log::open(&dir.join("log"), LogOptions::default(), SystemClock::shared())?;
        let hub = log.create_hub(&HubName::new(HUB)?, PARTITIONS)?;
        let mut prepared = Vec::new();
        let mut events = 0;
        for producer in producers(input, batch)? {
            let mut batches = Vec::with_capacity(producer.batches.len());
            for (encoded, count) in producer.batches {
                events += count;
                batches.push(events_of(MESSAGE_FORMAT_BATCH, encoded)?.events);
            }
            prepared.push((PartitionId(producer.partition), batches));
        }
        let measure = Measure::begin();
        let producers: Vec<_> = prepared
            .into_iter()
            .map(|(partition, batches)| {
                let hub = Arc::clone(&hub);
                tokio::spawn(async move {
                    let mut waiting = FuturesUnordered::new();
                    for batch in batches {
                        if waiting.len() == IN_FLIGHT
                            && let Some(appended) = waiting.next().await
                        {
                            let _: tidegate_model::ports::Appended = appended?;
                        }
                        waiting.push(hub.append(partition, batch));
                    }
                    while let Some(appended) = waiting.next().await {
                        appended?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for producer in producers {
            producer.await.context("a producer panicked")??;
        }
        let taken = measure.end();
        log.close();
        Ok(Published { events, wall_s: taken.wall_s, cpu_s: taken.cpu_s, client_cpu_s: 0.0 })
    })
}

/// Publishes through AMQP: a connection a producer.
pub(crate) fn through_amqp(server: &mut Server, input: &Path, batch: usize) -> anyhow::Result<Published> {
    let address = server.address;
    let runtime = runtime()?;
    let producers = producers(input, batch)?;
    let events = producers.iter().flat_map(|producer| &producer.batches).map(|(_, count)| count).sum();
    let connected = runtime.block_on(async {
        let mut connected = Vec::new();
        for producer in producers {
            connected.push(Connected::to(address, producer).await?);
        }
        anyhow::Ok(connected)
    })?;
    let before = server.usage()?;
    let measure = Measure::begin();
    runtime.block_on(async {
        let running: Vec<_> = connected.into_iter().map(|producer| tokio::spawn(producer.run())).collect();
        for producer in running {
            producer.await.context("a producer panicked")??;
        }
        anyhow::Ok(())
    })?;
    let taken = measure.end();
    let after = server.usage()?;
    anyhow::ensure!(after.events - before.events == events, "the log has not what was acknowledged");
    Ok(Published {
        events,
        wall_s: taken.wall_s,
        cpu_s: after.cpu_s - before.cpu_s,
        client_cpu_s: taken.cpu_s,
    })
}

/// A producer whose link is attached.
struct Connected {
    peer: Peer,
    link: tidegate_amqp::connection::LinkId,
    batches: Vec<(Bytes, u64)>,
}

impl Connected {
    async fn to(address: SocketAddr, producer: Producer) -> anyhow::Result<Self> {
        let mut peer = Peer::connect(address, RULE, KEY).await?;
        let link = peer.sender(HUB, producer.partition).await?;
        Ok(Self { peer, link, batches: producer.batches })
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let outgoing = Outgoing { message_format: MESSAGE_FORMAT_BATCH, ..Outgoing::default() };
        let mut batches = self.batches.into_iter();
        let mut waiting = 0;
        loop {
            while let Some(event) = self.peer.engine.next_event() {
                waiting -= accepted(&event)?;
            }
            while waiting < IN_FLIGHT && self.peer.engine.can_send(self.link) {
                let Some((batch, _)) = batches.next() else { break };
                self.peer.engine.send(self.link, &outgoing, &[Part::Share(&batch)])?;
                waiting += 1;
            }
            if waiting == 0 {
                return Ok(());
            }
            self.peer.moved().await?;
        }
    }
}

/// How many deliveries an event tells to be accepted.
pub(crate) fn accepted(event: &Event) -> anyhow::Result<usize> {
    match event {
        Event::Settled { first, last, state: Some(DeliveryState::Accepted), .. } => {
            Ok(last.wrapping_sub(*first) as usize + 1)
        }
        Event::Settled { state, .. } => anyhow::bail!("a batch was not accepted: {state:?}"),
        Event::Detached { error, .. } => anyhow::bail!("the link was detached: {error:?}"),
        Event::Closed(ending) => anyhow::bail!("the connection ended: {ending:?}"),
        _ => Ok(0),
    }
}
