//! Events as another hub delivers them.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_amqp::codec::error::DecodeError;
use tidegate_amqp::codec::message::Message;
use tidegate_amqp::codec::names::annotation;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{Event, EventData, PropertyValue};
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

/// The event of a delivery from a partition of another hub. Where the hub's offsets are not sequence numbers, the event has
/// its offset among its system properties, as `x-opt-offset`.
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
    // Its place is known, so it is an event: what cannot be decoded is for the function to look at.
    let mut data =
        event_of(&message, partition_key).unwrap_or_else(|_| EventData::new(message.bytes().clone()));
    if let Some(offset) = stamp.offset.as_deref().filter(|offset| *offset != sequence_number.to_string()) {
        let offset = (ByteString::from_static(annotation::OFFSET), PropertyValue::from(offset));
        let others = data.system_properties.iter();
        let others = others.map(|(name, value)| (ByteString::from(name), value.clone()));
        data.system_properties = others.chain([offset]).collect();
    }
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
    use tidegate_amqp::codec::message::{MessageBuilder, PartitionRuntime, Stamp, encode_delivery};
    use tidegate_amqp::codec::value::Value;

    use super::*;

    fn delivered(sequence_number: i64, runtime: Option<PartitionRuntime<'_>>) -> Bytes {
        let sent = MessageBuilder::new()
            .annotation("iothub-connection-device-id", Value::String("drone-1".into()))
            .annotation("iothub-enqueuedtime", Value::Timestamp(5))
            .application_property("level", Value::Int(3))
            .data(Bytes::from_static(b"{}"))
            .encode();
        let stamp = Stamp {
            sequence_number,
            offset: "4294967312",
            enqueued_time: 1_700_000_000_000,
            partition_key: Some("k"),
            runtime,
        };
        let mut out = BytesMut::new();
        encode_delivery(&mut out, &stamp, &sent).unwrap();
        out.freeze()
    }

    #[test]
    fn an_event_comes_with_its_place_and_what_the_protocol_says_of_it() {
        let runtime = PartitionRuntime {
            last_sequence_number: 90,
            last_offset: "777",
            last_enqueued_time: 1_700_000_000_900,
            retrieved_at: 1_700_000_001_000,
        };
        let Received { event, offset, end } = received(delivered(12, Some(runtime))).unwrap();
        assert_eq!(event.sequence_number, SequenceNumber(12));
        assert_eq!(event.enqueued_at, Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(offset.as_deref(), Some("4294967312"));
        let last =
            PartitionEnd { last: SequenceNumber(90), enqueued_at: Timestamp::from_millis(1_700_000_000_900) };
        assert_eq!(end, Some(last));
        let data = event.data;
        assert_eq!((&data.body[..], data.partition_key.as_deref()), (&b"{}"[..], Some("k")));
        assert_eq!(data.properties.get("level"), Some(&PropertyValue::Long(3)));
        let system = |name: &str| data.system_properties.get(name).cloned();
        assert_eq!(system("iothub-connection-device-id"), Some("drone-1".into()));
        assert_eq!(system("x-opt-offset"), Some("4294967312".into()));
        assert_eq!(system("iothub-enqueuedtime"), Some(PropertyValue::Timestamp(Timestamp::from_millis(5))));
        let message = data.message().unwrap();
        assert_eq!(
            (message.body(), Message::parse(message.bytes().clone()).is_ok()),
            (data.body.clone(), true)
        );
        assert_eq!(received(delivered(13, None)).unwrap().end, None);
    }

    #[test]
    fn what_has_no_place_is_no_event() {
        assert_eq!(received(delivered(-1, None)), Err(NotAnEvent::NoSequenceNumber));
        let plain = MessageBuilder::new().data(Bytes::from_static(b"x")).encode();
        assert_eq!(received(plain), Err(NotAnEvent::NoSequenceNumber));
        assert!(matches!(received(Bytes::from_static(b"no message")), Err(NotAnEvent::Undecodable(_))));
    }
}
