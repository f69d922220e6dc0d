//! Events as another hub delivers them.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_amqp::codec::error::DecodeError;
use tidegate_amqp::codec::message::Message;
use tidegate_amqp::codec::names::annotation;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::Event;
use tidegate_model::position::SequenceNumber;

use crate::incoming::event_of;

/// An event of another hub.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The event, at the place it has in its partition. Its message is kept as it was delivered.
    pub event: Event,
    /// The offset that the hub gave it: opaque text.
    pub offset: Option<ByteString>,
    /// Where the partition ended when the event was delivered, if the hub tells.
    pub end: Option<PartitionEnd>,
}

/// Where a partition of another hub ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionEnd {
    /// The number of its last event.
    pub last: SequenceNumber,
    /// When that came.
    pub enqueued_at: Timestamp,
}

/// A delivery that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// It is no message.
    #[error("the message cannot be decoded: {0}")]
    Undecodable(#[from] DecodeError),
    /// The hub does not say where the event is.
    #[error("the message has no annotation {} that is a number from 0", annotation::SEQUENCE_NUMBER)]
    NoSequenceNumber,
}

/// The event of a delivery from a partition of another hub.
///
/// # Errors
/// When it is no message, or none of a partition.
pub fn received(payload: Bytes) -> Result<Received, NotAnEvent> {
    let message = Message::parse(payload)?;
    let stamp = message.event_stamp()?;
    let number = stamp.sequence_number.and_then(|number| u64::try_from(number).ok());
    let sequence_number = SequenceNumber(number.ok_or(NotAnEvent::NoSequenceNumber)?);
    let enqueued_at = Timestamp::from_millis(stamp.enqueued_time.unwrap_or_default());
    let partition_key = stamp.partition_key.filter(|key| !key.is_empty());
    let data = event_of(&message, partition_key)?;
    Ok(Received {
        event: Event { sequence_number, enqueued_at, data },
        offset: stamp.offset,
        end: end_told_by(&message)?,
    })
}

fn end_told_by(message: &Message) -> Result<Option<PartitionEnd>, DecodeError> {
    let (mut last, mut time) = (None, None);
    for pair in message.delivery_annotations() {
        let (name, value) = pair?;
        match &*name {
            annotation::LAST_SEQUENCE_NUMBER => last = value.as_i64(),
            annotation::LAST_ENQUEUED_TIME => time = value.as_i64(),
            _ => {}
        }
    }
    let last = last.and_then(|number| u64::try_from(number).ok());
    Ok(last.map(|last| PartitionEnd {
        last: SequenceNumber(last),
        enqueued_at: Timestamp::from_millis(time.unwrap_or_default()),
    }))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tidegate_amqp::codec::message::{MessageBuilder, PartitionRuntime, Stamp};
    use tidegate_amqp::codec::value::Value;
    use tidegate_model::event::PropertyValue;

    use super::*;

    fn delivery(sequence_number: i64, runtime: bool) -> Bytes {
        let sent = MessageBuilder::new()
            .annotation("iothub-connection-device-id", Value::String("drone-1".into()))
            .annotation("iothub-enqueuedtime", Value::Timestamp(5))
            .application_property("level", Value::Int(3))
            .data(Bytes::from_static(b"{}"))
            .encode();
        let runtime = PartitionRuntime {
            last_sequence_number: 90,
            last_offset: "777",
            last_enqueued_time: 1_700_000_000_900,
            retrieved_at: 1_700_000_001_000,
        };
        let stamp = Stamp {
            sequence_number,
            offset: "4294967312",
            enqueued_time: 1_700_000_000_000,
            partition_key: Some("k"),
            runtime: told(runtime, sequence_number, sent.len()),
        };
        fn told(runtime: PartitionRuntime<'_>, _: i64, _: usize) -> Option<PartitionRuntime<'_>> {
            Some(runtime)
        }
        let stamp = if runtime_wanted(runtime_flag(runtime_of(&stamp)), runtime_len(&stamp)) { stamp } else { stamp };
        let mut out = BytesMut::new();
        tidegate_amqp::codec::message::encode_delivery(&mut out, &stamp, &sent).unwrap();
        out.freeze()
    }
}
