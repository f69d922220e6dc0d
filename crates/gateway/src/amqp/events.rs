//! Messages to events, and events to messages.
//!
//! An event keeps the bytes of its producer's message; what functions are given is decoded from them once, when the event
//! comes. On the way to a receiver the bytes are copied as they are, behind the broker's stamp. An event that came over
//! HTTP has no such bytes, and is put together.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tidegate_amqp::codec::error::DecodeError;
use tidegate_amqp::codec::message::{
    BodyKind, Message, MessageId, MessageWriter, PartitionRuntime, Properties as Standard, Stamp,
    encode_delivery,
};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_amqp::codec::value::{Symbol, Value};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{
    EncodedMessage, EventData, MAX_EVENT_BYTES, MAX_PARTITION_KEY_BYTES, Properties, PropertyValue,
};
use tidegate_model::ports::{EventView, PartitionEnds};

/// What a producer sent at once: events for one partition.
#[derive(Debug)]
pub(super) struct Sent {
    /// What decides the partition, if there is a key.
    pub(super) partition_key: Option<ByteString>,
    /// The events in order.
    pub(super) events: Vec<EventData>,
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unacceptable {
    /// It is no message.
    #[error("the message cannot be decoded: {0}")]
    Undecodable(#[from] DecodeError),
    /// A message of a batch is none.
    #[error("event {index} of the batch cannot be decoded: {error}")]
    UndecodableInBatch {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// An event is too large.
    #[error(
        "The received message (delivery-id:{index}, size:{size} bytes) exceeds the limit ({MAX_EVENT_BYTES} bytes) \
         currently allowed on the link."
    )]
    TooLarge {
        /// Its place, from 0.
        index: usize,
        /// Its size in bytes.
        size: usize,
    },
    /// The partition key is too long.
    #[error("the partition key has {bytes} bytes; {MAX_PARTITION_KEY_BYTES} are allowed")]
    LongKey {
        /// How long it is.
        bytes: usize,
    },
    /// A batch without events.
    #[error("the batch has no events: its body must have one data section an event")]
    EmptyBatch,
}

/// The events of a delivery.
pub(super) fn events_of(message_format: u32, payload: Bytes) -> Result<Sent, Unacceptable> {
    let outer = Message::parse(payload)?;
    let partition_key = outer.partition_key()?.filter(|key| !key.is_empty());
    if let Some(bytes) =
        partition_key.as_ref().map(|key| key.len()).filter(|len| *len > MAX_PARTITION_KEY_BYTES)
    {
        return Err(Unacceptable::LongKey { bytes });
    }
    let mut events = Vec::new();
    if message_format == MESSAGE_FORMAT_BATCH {
        if outer.sections().body_kind != BodyKind::Data {
            return Err(Unacceptable::EmptyBatch);
        }
        events.reserve(outer.sections().body_sections as usize);
        for (index, inner) in outer.data_sections().enumerate() {
            let in_batch = |error| Unacceptable::UndecodableInBatch { index, error };
            let message = Message::parse(inner).map_err(in_batch)?;
            let event = event_of(&message, partition_key.clone()).map_err(in_batch)?;
            events.push(checked(index, event)?);
        }
    } else {
        events.push(checked(0, event_of(&outer, partition_key.clone())?)?);
    }
    Ok(Sent { partition_key, events })
}

fn checked(index: usize, event: EventData) -> Result<EventData, Unacceptable> {
    let size = event.published_size();
    if size > MAX_EVENT_BYTES { Err(Unacceptable::TooLarge { index, size }) } else { Ok(event) }
}

fn event_of(message: &Message, partition_key: Option<ByteString>) -> Result<EventData, DecodeError> {
    message.check()?;
    let sections = message.sections();
    // Header and delivery annotations are for this transfer only.
    let start = sections.header.range().end.max(sections.delivery_annotations.range().end);
    let encoded = message.bytes().slice(start..);
    let body = body_range(message);
    let body = body.start.saturating_sub(start)..body.end.saturating_sub(start);
    let encoded = EncodedMessage::new(encoded, body).expect("the body lies in the message");
    let mut event = EventData::of_message(encoded);
    event.partition_key = partition_key;
    if !sections.application_properties.is_empty() {
        event.properties = properties_of(message)?;
    }
    if !sections.properties.is_empty() || !sections.message_annotations.is_empty() {
        event.system_properties = system_properties_of(message)?;
    }
    Ok(event)
}

/// Where the event's body is in a message: see [`EncodedMessage`].
fn body_range(message: &Message) -> std::ops::Range<usize> {
    let sections = message.sections();
    let inside = |part: &[u8]| {
        let start = part.as_ptr() as usize - message.bytes().as_ptr() as usize;
        start..start + part.len()
    };
    match sections.body_kind {
        BodyKind::None => sections.body.range(),
        BodyKind::Data if sections.body_sections == 1 => {
            message.data_sections().next_slice().map_or_else(|| sections.body.range(), inside)
        }
        BodyKind::Value => {
            let value = sections.body.content();
            match text_in(&message.bytes()[value.clone()]) {
                Some(text) => value.start + text.start..value.start + text.end,
                None => sections.body.range(),
            }
        }
        BodyKind::Data | BodyKind::Sequence => sections.body.range(),
    }
}

/// Where the bytes of an encoded binary, string or symbol are; `None` for a value of another type. The codes are those of
/// section 1.6 of the specification.
fn text_in(value: &[u8]) -> Option<std::ops::Range<usize>> {
    let head = match value.first()? {
        0xa0 | 0xa1 | 0xa3 => 2,
        0xb0 | 0xb1 | 0xb3 => 5,
        _ => return None,
    };
    (head <= value.len()).then_some(head..value.len())
}

fn properties_of(message: &Message) -> Result<Properties, DecodeError> {
    let mut properties = Vec::new();
    for pair in message.application_properties() {
        let (name, value) = pair?;
        properties.push((name, property_of(value)));
    }
    Ok(properties.into_iter().collect())
}

fn system_properties_of(message: &Message) -> Result<Properties, DecodeError> {
    let mut properties: Vec<(ByteString, PropertyValue)> = Vec::new();
    if let Some(standard) = message.properties()? {
        let mut put = |name: &'static str, value: Option<PropertyValue>| {
            if let Some(value) = value {
                properties.push((ByteString::from_static(name), value));
            }
        };
        let text = |text: Option<ByteString>| text.map(|text| PropertyValue::String(text.to_string()));
        let symbol =
            |symbol: Option<Symbol>| symbol.map(|symbol| PropertyValue::String(symbol.as_str().to_owned()));
        let time = |ms: Option<i64>| ms.map(|ms| PropertyValue::Timestamp(Timestamp::from_millis(ms)));
        put("message-id", standard.message_id.map(id_of));
        put("user-id", standard.user_id.map(|bytes| PropertyValue::Binary(bytes.to_vec())));
        put("to", text(standard.to));
        put("subject", text(standard.subject));
        put("reply-to", text(standard.reply_to));
        put("correlation-id", standard.correlation_id.map(id_of));
        put("content-type", symbol(standard.content_type));
        put("content-encoding", symbol(standard.content_encoding));
        put("absolute-expiry-time", time(standard.absolute_expiry_time));
        put("creation-time", time(standard.creation_time));
        put("group-id", text(standard.group_id));
        put("group-sequence", standard.group_sequence.map(|number| PropertyValue::Long(number.into())));
        put("reply-to-group-id", text(standard.reply_to_group_id));
    }
    for pair in message.message_annotations() {
        let (name, value) = pair?;
        // The broker's own are told by the event itself.
        if !is_stamp(&name) {
            properties.push((name, property_of(value)));
        }
    }
    Ok(properties.into_iter().collect())
}

fn is_stamp(name: &str) -> bool {
    ["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"].contains(&name)
}

fn id_of(id: MessageId) -> PropertyValue {
    match id {
        MessageId::Ulong(number) => number_of(number),
        MessageId::Uuid(uuid) => PropertyValue::Uuid(uuid),
        MessageId::Binary(bytes) => PropertyValue::Binary(bytes.to_vec()),
        MessageId::String(text) => PropertyValue::String(text.to_string()),
    }
}

fn number_of(number: u64) -> PropertyValue {
    i64::try_from(number).map_or_else(|_| PropertyValue::String(number.to_string()), PropertyValue::Long)
}

/// The nearest value that functions know. The exact type stays in the encoded message.
fn property_of(value: Value) -> PropertyValue {
    match value {
        Value::Null => PropertyValue::Null,
        Value::Boolean(truth) => PropertyValue::Bool(truth),
        Value::Ubyte(number) => PropertyValue::Long(number.into()),
        Value::Ushort(number) => PropertyValue::Long(number.into()),
        Value::Uint(number) => PropertyValue::Long(number.into()),
        Value::Ulong(number) => number_of(number),
        Value::Byte(number) => PropertyValue::Long(number.into()),
        Value::Short(number) => PropertyValue::Long(number.into()),
        Value::Int(number) => PropertyValue::Long(number.into()),
        Value::Long(number) => PropertyValue::Long(number),
        Value::Float(number) => PropertyValue::Double(number.into()),
        Value::Double(number) => PropertyValue::Double(number),
        Value::Timestamp(ms) => PropertyValue::Timestamp(Timestamp::from_millis(ms)),
        Value::Uuid(uuid) => PropertyValue::Uuid(uuid),
        Value::Binary(bytes) => PropertyValue::Binary(bytes.to_vec()),
        Value::String(text) => PropertyValue::String(text.to_string()),
        Value::Symbol(symbol) => PropertyValue::String(symbol.as_str().to_owned()),
        Value::Char(character) => PropertyValue::String(character.to_string()),
        // Compound values and decimals have no counterpart: functions see how they are encoded.
        other => {
            let mut encoded = BytesMut::new();
            other.encode(&mut encoded);
            PropertyValue::Binary(encoded.to_vec())
        }
    }
}

/// Appends an event as a receiver gets it. `runtime` is the state of the partition, for a receiver that asked for it.
pub(super) fn write_event(out: &mut BytesMut, event: &EventView<'_>, runtime: Option<&Runtime>) {
    let offset = event.offset().to_string();
    let stamp = Stamp {
        sequence_number: i64::try_from(event.sequence_number.0).unwrap_or(i64::MAX),
        offset: &offset,
        enqueued_time: event.enqueued_at.as_millis(),
        partition_key: event.partition_key.and_then(|key| std::str::from_utf8(key).ok()),
        runtime: runtime.map(Runtime::annotations),
    };
    // A stored message is one, since it was checked when it came; what is not is delivered by its body.
    let encoded = event.message.is_some_and(|message| encode_delivery(out, &stamp, message).is_ok());
    if !encoded {
        put_together(out, event, &stamp);
    }
}

/// The state of a partition, as it is told with each event.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    last_sequence_number: i64,
    last_offset: String,
    last_enqueued_time: i64,
    retrieved_at: i64,
}

impl Runtime {
    pub(super) fn of(ends: PartitionEnds, now: Timestamp) -> Self {
        Self {
            last_sequence_number: ends.last().map_or(-1, |last| i64::try_from(last.0).unwrap_or(i64::MAX)),
            last_offset: ends.last_offset().map_or_else(|| "-1".to_owned(), |offset| offset.to_string()),
            last_enqueued_time: ends.last_enqueued_at.map_or(0, Timestamp::as_millis),
            retrieved_at: now.as_millis(),
        }
    }

    fn annotations(&self) -> PartitionRuntime<'_> {
        PartitionRuntime {
            last_sequence_number: self.last_sequence_number,
            last_offset: &self.last_offset,
            last_enqueued_time: self.last_enqueued_time,
            retrieved_at: self.retrieved_at,
        }
    }
}

/// A message for an event that did not come over AMQP.
fn put_together(out: &mut BytesMut, event: &EventView<'_>, stamp: &Stamp<'_>) {
    let mut writer = MessageWriter::new(out);
    if let Some(runtime) = &stamp.runtime {
        writer.runtime(runtime);
    }
    let mut standard = Standard::default();
    let mut others = Vec::new();
    for (name, value) in event.system_properties.iter() {
        if !set_standard(&mut standard, name, value) {
            others.push((name, value_of(value)));
        }
    }
    writer.stamp_with(stamp, |map| {
        for (name, value) in &others {
            map.value(name, value);
        }
    });
    if standard != Standard::default() {
        writer.properties(&standard);
    }
    if !event.properties.is_empty() {
        writer.application_properties(|map| {
            for (name, value) in event.properties.iter() {
                map.value(name, &value_of(value));
            }
        });
    }
    writer.data(event.body);
}

/// Sets a standard property; false when there is none of this name, or it has another type.
fn set_standard(standard: &mut Standard, name: &str, value: &PropertyValue) -> bool {
    let text = || match value {
        PropertyValue::String(text) => Some(ByteString::from(text.as_str())),
        _ => None,
    };
    let symbol = || match value {
        PropertyValue::String(text) if text.is_ascii() => Some(Symbol::new(text)),
        _ => None,
    };
    let id = || match value {
        PropertyValue::String(text) => Some(MessageId::String(text.as_str().into())),
        PropertyValue::Uuid(uuid) => Some(MessageId::Uuid(*uuid)),
        PropertyValue::Binary(bytes) => Some(MessageId::Binary(Bytes::copy_from_slice(bytes))),
        PropertyValue::Long(number) => u64::try_from(*number).ok().map(MessageId::Ulong),
        _ => None,
    };
    let time = || match value {
        PropertyValue::Timestamp(at) => Some(at.as_millis()),
        _ => None,
    };
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            standard.$field = $value;
            standard.$field.is_some()
        }};
    }
    match name {
        "message-id" => set!(message_id, id()),
        "correlation-id" => set!(correlation_id, id()),
        "to" => set!(to, text()),
        "subject" => set!(subject, text()),
        "reply-to" => set!(reply_to, text()),
        "group-id" => set!(group_id, text()),
        "reply-to-group-id" => set!(reply_to_group_id, text()),
        "content-type" => set!(content_type, symbol()),
        "content-encoding" => set!(content_encoding, symbol()),
        "absolute-expiry-time" => set!(absolute_expiry_time, time()),
        "creation-time" => set!(creation_time, time()),
        _ => false,
    }
}

fn value_of(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Null => Value::Null,
        PropertyValue::Bool(truth) => Value::Boolean(*truth),
        PropertyValue::Long(number) => Value::Long(*number),
        PropertyValue::Double(number) => Value::Double(*number),
        PropertyValue::String(text) => Value::String(text.as_str().into()),
        PropertyValue::Timestamp(at) => Value::Timestamp(at.as_millis()),
        PropertyValue::Binary(bytes) => Value::Binary(Bytes::copy_from_slice(bytes)),
        PropertyValue::Uuid(uuid) => Value::Uuid(*uuid),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_amqp::codec::message::{BatchBuilder, Header, MessageBuilder};
    use tidegate_amqp::codec::names::MESSAGE_FORMAT_PLAIN;
    use tidegate_model::event::Event;
    use tidegate_model::ports::EventBatch;
    use tidegate_model::position::SequenceNumber;

    use super::*;

    fn deliver(data: EventData) -> Message {
        let event = Event {
            sequence_number: SequenceNumber(12),
            enqueued_at: Timestamp::from_millis(1_795_289_632_768),
            data,
        };
        let ends =
            PartitionEnds { head: SequenceNumber(0), tail: SequenceNumber(13), last_enqueued_at: None };
        let batch = EventBatch::copy_of(&[event], SequenceNumber(12), ends);
        let mut out = BytesMut::new();
        for event in batch.iter() {
            write_event(&mut out, &event, None);
        }
        Message::parse(out.freeze()).unwrap()
    }

    fn one(payload: Bytes) -> EventData {
        let mut sent = events_of(MESSAGE_FORMAT_PLAIN, payload).unwrap();
        assert_eq!(sent.events.len(), 1);
        sent.events.remove(0)
    }

    #[test]
    fn what_a_producer_encoded_reaches_the_receiver_byte_for_byte() {
        let standard = Standard {
            message_id: Some(MessageId::Ulong(7)),
            content_type: Some(Symbol::new("application/json")),
            ..Standard::default()
        };
        let payload = MessageBuilder::new()
            .header(Header::default())
            .annotation("x-opt-partition-key", Value::String("dev-1".into()))
            .annotation("mine", Value::Ushort(3))
            .properties(standard)
            .application_property("u", Value::Uint(1))
            .application_property("f", Value::Float(1.5))
            .data(Bytes::from_static(b"{}"))
            .encode();
        let event = one(payload);
        assert_eq!(event.partition_key.as_deref(), Some("dev-1"));
        assert_eq!(&event.body[..], b"{}");
        assert_eq!(event.properties.get("u"), Some(&PropertyValue::Long(1)));
        assert_eq!(event.system_properties.get("message-id"), Some(&PropertyValue::Long(7)));
        assert_eq!(event.system_properties.get("mine"), Some(&PropertyValue::Long(3)));

        let delivered = deliver(event);
        let stamp = delivered.event_stamp().unwrap();
        assert_eq!((stamp.sequence_number, stamp.offset.as_deref()), (Some(12), Some("12")));
        assert_eq!(stamp.partition_key.as_deref(), Some("dev-1"));
        assert_eq!(delivered.message_annotations().value_of("mine").unwrap(), Some(Value::Ushort(3)));
        assert_eq!(delivered.application_property("u").unwrap(), Some(Value::Uint(1)));
        assert_eq!(delivered.application_property("f").unwrap(), Some(Value::Float(1.5)));
        assert_eq!(delivered.properties().unwrap().unwrap().message_id, Some(MessageId::Ulong(7)));
        assert_eq!(delivered.data().unwrap(), "{}");
    }

    #[test]
    fn bodies_of_every_kind_are_kept() {
        for (builder, body) in [
            (MessageBuilder::new().value(Value::String("text".into())), Some(&b"text"[..])),
            (MessageBuilder::new().value(Value::Binary(Bytes::from_static(b"bin"))), Some(&b"bin"[..])),
            (MessageBuilder::new().value(Value::Int(5)), None),
            (MessageBuilder::new().value(Value::List(vec![Value::Boolean(true)])), None),
        ] {
            let payload = builder.encode();
            let event = one(payload.clone());
            assert_eq!(&event.body[..], body.unwrap_or(&payload[..]));
            assert_eq!(deliver(event).body(), Message::parse(payload).unwrap().body());
        }
    }

    #[test]
    fn a_batch_is_its_events_under_one_key() {
        let mut batch = BatchBuilder::new(Some("k"));
        for number in 0..3u8 {
            batch.add(&MessageBuilder::new().data(Bytes::from(vec![number])).encode());
        }
        let sent = events_of(MESSAGE_FORMAT_BATCH, batch.finish()).unwrap();
        assert_eq!(sent.partition_key.as_deref(), Some("k"));
        let bodies: Vec<_> = sent.events.iter().map(|event| event.body[0]).collect();
        assert_eq!(bodies, [0, 1, 2]);
        assert!(sent.events.iter().all(|event| event.partition_key.as_deref() == Some("k")));

        let mut batch = BatchBuilder::new(None);
        batch.add(b"\x00\x53\x75");
        let refused = events_of(MESSAGE_FORMAT_BATCH, batch.finish()).unwrap_err();
        assert!(matches!(refused, Unacceptable::UndecodableInBatch { index: 0, .. }), "{refused:?}");
        let empty = MessageBuilder::new().value(Value::Null).encode();
        assert_eq!(events_of(MESSAGE_FORMAT_BATCH, empty).unwrap_err(), Unacceptable::EmptyBatch);
    }

    #[test]
    fn an_event_that_came_over_http_is_a_message_too() {
        let data = EventData {
            partition_key: Some("k".into()),
            properties: [("a", PropertyValue::Bool(true))].into_iter().collect(),
            system_properties: [("content-type", "text/plain".into()), ("iothub-x", PropertyValue::Long(1))]
                .into_iter()
                .collect(),
            ..EventData::new("body")
        };
        let delivered = deliver(data);
        assert_eq!(delivered.data().unwrap(), "body");
        assert_eq!(delivered.properties().unwrap().unwrap().content_type, Some(Symbol::new("text/plain")));
        assert_eq!(delivered.application_property("a").unwrap(), Some(Value::Boolean(true)));
        assert_eq!(delivered.message_annotations().value_of("iothub-x").unwrap(), Some(Value::Long(1)));
        assert_eq!(delivered.event_stamp().unwrap().partition_key.as_deref(), Some("k"));
    }
}
