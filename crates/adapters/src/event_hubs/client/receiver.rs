//! Receivers: the events of a partition, as they come.

use bytes::Bytes;
use tidegate_amqp::codec::performative::{Attach, Role, SenderSettleMode, Source, Target};
use tidegate_amqp::codec::value::{Map, Symbol, Value};
use tidegate_model::clock::Timestamp;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::mpsc;

use super::connection::{Inbound, Link};
use super::{Client, ClientError, within};

/// What is to be received.
#[derive(Clone, Debug)]
pub struct Receive {
    /// For which consumer group.
    pub consumer_group: String,
    /// From which partition.
    pub partition: PartitionId,
    /// From where on.
    pub start: StartAt,
    /// With an owner level, receivers of the group with a lower one or none are sent away, and those with a higher one send
    /// this one away.
    pub owner_level: Option<i64>,
}

/// Where receiving begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the event with this number, or the first one after it.
    SequenceNumber(SequenceNumber),
    /// At the first event that came at this time or later.
    EnqueuedTime(Timestamp),
    /// Behind the event that the hub gave this offset. It has no `'`.
    AfterOffset(String),
}

impl StartAt {
    /// As Event Hubs' clients write it. `>` is understood everywhere, so `>=` is not used.
    fn selector(&self) -> String {
        match self {
            Self::SequenceNumber(number) => match number.previous() {
                Some(previous) => format!("amqp.annotation.x-opt-sequence-number > '{previous}'"),
                None => "amqp.annotation.x-opt-offset > '-1'".to_owned(),
            },
            Self::EnqueuedTime(time) => {
                let before = time.as_millis().saturating_sub(1);
                format!("amqp.annotation.x-opt-enqueued-time > '{before}'")
            }
            Self::AfterOffset(offset) => format!("amqp.annotation.x-opt-offset > '{offset}'"),
        }
    }
}

/// A receiver that is attached. It gets nothing until it is granted credit. Dropping it detaches it.
pub struct Receiver {
    link: Link,
    inbox: mpsc::UnboundedReceiver<Inbound>,
}

impl Client {
    /// Attaches a receiver.
    ///
    /// # Errors
    /// When it is refused, or the hub cannot be reached.
    pub async fn receive(&self, receive: &Receive) -> Result<Receiver, ClientError> {
        let connection = self.connection().await?;
        let Receive { consumer_group, partition, start, owner_level } = receive;
        let address = format!("{}/ConsumerGroups/{consumer_group}/Partitions/{partition}", self.remote.hub);
        let mut properties =
            Map::new().with(Symbol::from_static("com.microsoft:receiver-name"), self.name.as_str());
        if let Some(level) = owner_level {
            properties.push(Symbol::from_static("com.microsoft:epoch"), Value::Long(*level));
        }
        let attach = Attach {
            role: Role::Receiver,
            snd_settle_mode: SenderSettleMode::Settled,
            source: Some(Source::at(address).with_selector(start.selector())),
            target: Some(Target::default()),
            desired_capabilities: vec![Symbol::from_static("com.microsoft:enable-receiver-runtime-metric")],
            properties,
            ..Attach::default()
        };
        let (inbox_of_link, inbox) = mpsc::unbounded_channel();
        let level = owner_level.map(|level| format!(" with owner level {level}")).unwrap_or_default();
        let what = format!(
            "receiving from partition {partition} of {} in the consumer group {consumer_group}{level}",
            self.remote.hub
        );
        let attaching = connection.attach_receiver(what, attach, inbox_of_link);
        let attached = within(&self.clock, "attaching a receiver", attaching).await;
        let link = self.heard(&connection, attached).await?;
        Ok(Receiver { link, inbox })
    }
}

impl Receiver {
    /// Lets this many more events come. How many wait here is never more than what was granted.
    pub fn grant(&self, more: u32) {
        self.link.grant(more);
    }

    /// The next message. It may be given up and asked for again.
    ///
    /// # Errors
    /// When the receiver is detached; nothing comes any more then.
    pub async fn next(&mut self) -> Result<Bytes, ClientError> {
        match self.inbox.recv().await {
            Some(Inbound::Message(message)) => Ok(message),
            Some(Inbound::TooLarge) => Err(ClientError::TooLarge {
                bytes: super::MAX_MESSAGE_BYTES + 1,
                limit: super::MAX_MESSAGE_BYTES,
            }),
            Some(Inbound::Detached(reason)) => Err(reason),
            None => Err(ClientError::Ended {
                server: "the server".to_owned(),
                detail: "the receiver was detached".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_as_clients_do() {
        for (start, selector) in [
            (StartAt::SequenceNumber(SequenceNumber(0)), "amqp.annotation.x-opt-offset > '-1'"),
            (StartAt::SequenceNumber(SequenceNumber(7)), "amqp.annotation.x-opt-sequence-number > '6'"),
            (
                StartAt::EnqueuedTime(Timestamp::from_millis(1000)),
                "amqp.annotation.x-opt-enqueued-time > '999'",
            ),
            (StartAt::AfterOffset("7:x".to_owned()), "amqp.annotation.x-opt-offset > '7:x'"),
        ] {
            assert_eq!(start.selector(), selector);
        }
    }
}
