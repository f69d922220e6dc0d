//! Events on their way through messages and back.

use tidegate_amqp::codec::message::{BatchBuilder, Header, MessageBuilder};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_PLAIN;
use tidegate_model::event::Event;
use tidegate_model::ports::EventBatch;
use tidegate_model::position::SequenceNumber;

use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::message::{Message, MessageId, Properties as Standard};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_amqp::codec::value::{Symbol, Value};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{EventData, PropertyValue};
use tidegate_model::ports::PartitionEnds;

use crate::*;

fn deliver(data: EventData) -> Message {
    let event = Event {
        sequence_number: SequenceNumber(12),
        enqueued_at: Timestamp::from_millis(1_795_289_632_768),
        data,
    };
    let ends = PartitionEnds { head: SequenceNumber(0), tail: SequenceNumber(13), last_enqueued_at: None };
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

#[test]
fn what_a_client_sends_comes_as_the_same_event() {
    let data = EventData {
        partition_key: Some("k".into()),
        properties: [("a", PropertyValue::Long(1))].into_iter().collect(),
        system_properties: [("content-type", "text/plain".into()), ("iothub-x", PropertyValue::Long(1))]
            .into_iter()
            .collect(),
        ..EventData::new("body")
    };
    let mut out = BytesMut::new();
    write_message(&mut out, &data);
    let came = one(out.freeze());
    assert_eq!(EventData { amqp: None, ..came.clone() }, data);
    let mut again = BytesMut::new();
    write_message(&mut again, &came);
    assert_eq!(one(again.freeze()), came, "the message itself is sent on");
}

#[test]
fn a_footer_before_the_body_is_put_behind_it() {
    // As rhea, the library of the JavaScript client, orders the sections.
    let whole = MessageBuilder::new().application_property("a", Value::Int(1)).encode();
    let front = Message::parse(whole.clone()).unwrap().sections().application_properties.range();
    let front = whole.slice(front);
    let footer = Bytes::from_static(b"\x00\x53\x78\xc1\x07\x02\xa3\x01f\xa1\x01v");
    for body in [
        MessageBuilder::new().data(Bytes::from_static(b"text")).encode(),
        MessageBuilder::new().value(Value::String("text".into())).encode(),
    ] {
        let sent = Bytes::from([&front[..], &footer, &body].concat());
        let event = one(sent);
        assert_eq!(&event.body[..], b"text");
        assert_eq!(event.properties.get("a"), Some(&PropertyValue::Long(1)));
        let kept = event.message().unwrap().bytes().clone();
        assert_eq!(kept, [&front[..], &body, &footer].concat());
        let delivered = deliver(event);
        assert_eq!(delivered.bytes()[delivered.sections().footer.range()], footer);
        assert!(!delivered.sections().has_footer_first());
    }
    // Twice, or between two parts of a body, it is nothing.
    let body = MessageBuilder::new().data(Bytes::from_static(b"x")).encode();
    for wrong in [[&footer[..], &footer, &body], [&footer, &body, &footer], [&body, &footer, &body]] {
        let refused = events_of(MESSAGE_FORMAT_PLAIN, Bytes::from(wrong.concat())).unwrap_err();
        assert!(matches!(refused, Unacceptable::Undecodable(_)), "{refused:?}");
    }
}
