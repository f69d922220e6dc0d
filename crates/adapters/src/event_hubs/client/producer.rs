//! Producers: batches of events to a hub, acknowledged.

use bytes::BytesMut;
use tidegate_amqp::codec::message::BatchBuilder;
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_messages::write_message;
use tidegate_model::event::EventData;
use tidegate_model::position::PartitionId;

use super::connection::Link;
use super::{Client, ClientError, within};

/// A link to a hub or to one of its partitions. Dropping it detaches it.
pub struct Producer {
    link: Link,
}

impl Client {
    /// Attaches a producer: to a partition, or to the hub, which then chooses the partitions.
    ///
    /// # Errors
    /// When it is refused, or the hub cannot be reached.
    pub async fn producer(&self, partition: Option<PartitionId>) -> Result<Producer, ClientError> {
        let connection = self.connection().await?;
        let hub = &self.remote.hub;
        let address = match partition {
            Some(partition) => format!("{hub}/Partitions/{partition}"),
            None => hub.clone(),
        };
        let attaching = connection.attach_sender(format!("sending to {address}"), &address);
        let attached = within(&self.clock, "attaching a producer", attaching).await;
        let link = self.heard(&connection, attached).await?;
        Ok(Producer { link })
    }
}

impl Producer {
    /// Sends events as one batch, and waits until the hub has taken them. `partition_key` decides the partition of all of
    /// them when the producer is attached to the hub. Several batches may be sent at a time; each is taken as a whole or
    /// not at all.
    ///
    /// # Errors
    /// When the hub refuses the batch, or ends before it is known whether it was taken.
    pub async fn send(&self, partition_key: Option<&str>, events: &[EventData]) -> Result<(), ClientError> {
        let mut batch = BatchBuilder::new(partition_key);
        for event in events {
            batch.add_with(|out: &mut BytesMut| write_message(out, event));
        }
        let limit = self.link.max_message_size.unwrap_or(u64::MAX);
        if batch.size() as u64 > limit {
            return Err(ClientError::TooLarge { bytes: batch.size() as u64, limit });
        }
        self.link.send(MESSAGE_FORMAT_BATCH, batch.finish()).await
    }
}
