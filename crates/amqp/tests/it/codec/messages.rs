//! Messages, batches and deliveries.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use proptest::prelude::*;
use tidegate_amqp::codec::DecodeProblem;
use tidegate_amqp::codec::message::{
    BatchBuilder, Body, BodyKind, EventStamp, Header, Message, MessageBuilder, MessageId, MessageWriter,
    PartitionRuntime, Properties, Stamp, encode_delivery,
};
use tidegate_amqp::codec::value::{Array, Map, Value};

use super::strategies;

fn parse(bytes: &[u8]) -> Message {
    Message::parse(Bytes::copy_from_slice(bytes)).unwrap()
}

fn stamp(partition_key: Option<&str>) -> Stamp<'_> {
    Stamp {
        sequence_number: 12,
        offset: "1476",
        enqueued_time: 1_795_289_632_768,
        partition_key,
        runtime: None,
    }
}

fn all(pairs: tidegate_amqp::codec::message::Pairs<'_>) -> Vec<(ByteString, Value)> {
    pairs.map(Result::unwrap).collect()
}

/// A plain event, as a client sends it.
const EVENT: &[u8] = b"\x00\x53\x72\xc1\x1d\x02\xa3\x13x-opt-partition-key\xa1\x05dev-1\
                       \x00\x53\x74\xc1\x09\x02\xa1\x04room\x54\x07\
                       \x00\x53\x75\xa0\x05hello";

#[test]
fn the_sections_of_an_event() {
    let event = parse(EVENT);
    assert_eq!(event.check(), Ok(()));
    assert_eq!(event.partition_key().unwrap().as_deref(), Some("dev-1"));
    assert_eq!(all(event.application_properties()), [("room".into(), Value::Int(7))]);
    assert_eq!(event.application_property("room").unwrap(), Some(Value::Int(7)));
    assert_eq!(event.application_property("door").unwrap(), None);
    assert_eq!(event.data().as_deref(), Some(&b"hello"[..]));
    assert_eq!(event.body().unwrap(), Body::Data(Bytes::from_static(b"hello")));
    assert_eq!(event.header().unwrap(), None);
    assert_eq!(event.properties().unwrap(), None);
    let sections = event.sections();
    assert_eq!((sections.body_kind, sections.body_sections), (BodyKind::Data, 1));
    assert_eq!(&EVENT[sections.body.content()], b"\xa0\x05hello");
    assert!(sections.footer.is_empty());
}

#[test]
fn payloads_are_parts_of_the_message() {
    let bytes = Bytes::from_static(EVENT);
    let payload = Message::parse(bytes.clone()).unwrap().data().unwrap();
    assert_eq!(payload.as_ptr(), bytes[bytes.len() - 5..].as_ptr());
}

#[test]
fn sections_have_an_order() {
    let problem = |bytes: &[u8]| Message::parse(Bytes::copy_from_slice(bytes)).unwrap_err().problem;
    let data = b"\x00\x53\x75\xa0\x01x";
    let header = b"\x00\x53\x70\x45";
    let value = b"\x00\x53\x77\x40";
    assert_eq!(problem(&[&data[..], header].concat()), DecodeProblem::SectionOrder);
    assert_eq!(problem(&[&header[..], header].concat()), DecodeProblem::SectionOrder);
    assert_eq!(problem(&[&data[..], value].concat()), DecodeProblem::SectionOrder);
    assert_eq!(problem(&[&value[..], value].concat()), DecodeProblem::SectionOrder);
    assert_eq!(problem(b"\x00\x53\x79\x45"), DecodeProblem::UnexpectedDescriptor(0x79));
    assert_eq!(problem(b"\x00\x53\x75\xa1\x01x"), {
        DecodeProblem::WrongType { expected: "binary", found: 0xa1 }
    });
    assert_eq!(problem(b"\x00\x53\x75\xa0\x02x"), DecodeProblem::Truncated);
    assert_eq!(problem(b"hello"), DecodeProblem::WrongType { expected: "a described value", found: b'h' });
    let parts = parse(&[&header[..], data, data].concat());
    assert_eq!(parts.data(), None);
    assert_eq!(parts.body().unwrap(), Body::Parts(vec![Bytes::from_static(b"x"); 2]));
    assert_eq!(parse(b"").body().unwrap(), Body::None);
}

#[test]
fn a_symbolic_descriptor_names_a_section_too() {
    let message = parse(b"\x00\xa3\x10amqp:data:binary\xb0\x00\x00\x00\x02hi");
    assert_eq!(message.data().as_deref(), Some(&b"hi"[..]));
}

#[test]
fn a_check_finds_what_the_scan_steps_over() {
    let wrong = |bytes: &[u8]| {
        let error = parse(bytes).check().unwrap_err();
        (error.place, error.problem)
    };
    assert_eq!(wrong(b"\x00\x53\x74\xc1\x05\x02\x54\x01\x54\x07"), {
        ("message.application-properties", DecodeProblem::WrongType { expected: "symbol", found: 0x54 })
    });
    assert_eq!(wrong(b"\x00\x53\x74\xc1\x06\x02\xa1\x01\xff\x54\x07"), {
        ("message.application-properties", DecodeProblem::NotUtf8)
    });
    assert_eq!(wrong(b"\x00\x53\x72\xc1\x02\x01\x40"), {
        ("message.message-annotations", DecodeProblem::OddMap)
    });
    assert_eq!(wrong(b"\x00\x53\x77\xc0\x03\x01\x40\x40"), ("message.amqp-value", DecodeProblem::WrongSize));
    assert_eq!(wrong(b"\x00\x53\x73\xc0\x02\x01\x41"), {
        let expected = "ulong, uuid, binary or string";
        ("properties.message-id", DecodeProblem::WrongType { expected, found: 0x41 })
    });
    assert_eq!(wrong(b"\x00\x53\x72\xc1\x18\x02\xa3\x13x-opt-partition-key\x54\x01"), {
        let expected = "a partition key that is a string";
        ("message.message-annotations", DecodeProblem::WrongType { expected, found: 0x54 })
    });
}

/// A request to `$cbs` or `$management` and its answer, with an id of each of the types that clients use.
#[test]
fn an_answer_repeats_the_type_of_the_id() {
    let ids = [
        MessageId::Uuid(uuid::Uuid::from_u128(7)),
        MessageId::from("7"),
        MessageId::from(7),
        MessageId::Binary(Bytes::from_static(b"7")),
    ];
    for id in ids {
        let request = MessageBuilder::new()
            .properties(Properties {
                message_id: Some(id.clone()),
                reply_to: Some("cbs".into()),
                ..Properties::default()
            })
            .application_property("operation", "put-token")
            .value("SharedAccessSignature sr=...")
            .encode();
        let request = parse(&request);
        assert_eq!(request.application_property("operation").unwrap(), Some("put-token".into()));
        assert_eq!(request.body().unwrap(), Body::Value("SharedAccessSignature sr=...".into()));
        let asked = request.properties().unwrap().unwrap();
        assert_eq!(asked.reply_to.as_deref(), Some("cbs"));

        let reply = MessageBuilder::new()
            .properties(Properties { correlation_id: asked.message_id, ..Properties::default() })
            .application_property("status-code", 202)
            .application_property("status-description", "Accepted")
            .encode();
        let reply = parse(&reply);
        assert_eq!(reply.check(), Ok(()));
        assert_eq!(reply.properties().unwrap().unwrap().correlation_id, Some(id));
        assert_eq!(reply.application_property("status-code").unwrap(), Some(Value::Int(202)));
        assert_eq!(reply.body().unwrap(), Body::Value(Value::Null));
    }
}

#[test]
fn a_management_reply_keeps_its_types() {
    let body = Map::new()
        .with("name", "telemetry")
        .with("created_at", Value::Timestamp(1_795_289_632_768))
        .with("partition_count", 4)
        .with("partition_ids", Array::of_strings(["0", "1", "2", "3"]));
    let reply = parse(&MessageBuilder::new().value(body.clone()).encode());
    assert_eq!(reply.body().unwrap(), Body::Value(Value::Map(body)));
}

#[test]
fn a_batch_comes_apart_as_it_was_put_together() {
    let mut batch = BatchBuilder::new(Some("dev-1"));
    assert!(batch.is_empty());
    let large = MessageBuilder::new().data(vec![b'x'; 300]).encode();
    let most = batch.size_with(large.len());
    batch.add(&large);
    assert_eq!(batch.size(), most);
    batch.add(EVENT);
    batch.add_with(|out| MessageBuilder::new().data("third").encode_into(out));
    assert_eq!(batch.len(), 3);

    let bytes = batch.finish();
    let batch = Message::parse(bytes.clone()).unwrap();
    assert_eq!(batch.check(), Ok(()));
    assert_eq!(batch.partition_key().unwrap().as_deref(), Some("dev-1"));
    assert!(batch.header().unwrap().unwrap().durable);
    let events: Vec<Bytes> = batch.data_sections().collect();
    assert_eq!(events[0], large);
    assert_eq!(events[1], EVENT);
    assert_eq!(parse(&events[2]).data().as_deref(), Some(&b"third"[..]));
    assert_eq!(batch.sections().body_sections, 3);
    assert!(events.iter().all(|event| bytes.as_ptr_range().contains(&event.as_ptr())));

    let mut slices = batch.data_sections();
    assert_eq!(slices.next_slice(), Some(&large[..]));
}

#[test]
fn a_batch_without_key_has_no_envelope() {
    let batch = parse(&BatchBuilder::new(None).finish());
    assert_eq!(batch.partition_key().unwrap(), None);
    assert_eq!(batch.data_sections().count(), 0);
}

/// A delivery, byte by byte.
#[test]
fn an_event_is_delivered_with_a_stamp() {
    let mut out = BytesMut::from(&b"before"[..]);
    encode_delivery(&mut out, &stamp(Some("dev-1")), EVENT).unwrap();
    let expected = [
        b"before\x00\x53\x72\xd1\x00\x00\x00\x72\x00\x00\x00\x08",
        &b"\xa3\x15x-opt-sequence-number\x81\x00\x00\x00\x00\x00\x00\x00\x0c"[..],
        b"\xa3\x13x-opt-enqueued-time\x83\x00\x00\x01\xa2\x00\x6d\x49\x00",
        b"\xa3\x0cx-opt-offset\xa1\x041476",
        b"\xa3\x13x-opt-partition-key\xa1\x05dev-1",
        b"\x00\x53\x74\xc1\x09\x02\xa1\x04room\x54\x07",
        b"\x00\x53\x75\xa0\x05hello",
    ]
    .concat();
    let mut expected = BytesMut::from(&expected[..]);
    // The time is spelled out by what encodes it, not by hand.
    let time_at = expected.windows(20).position(|part| part == b"x-opt-enqueued-time\x83").unwrap() + 20;
    expected[time_at..time_at + 8].copy_from_slice(&1_795_289_632_768i64.to_be_bytes());
    assert_eq!(out, expected);

    let delivered = parse(&out[6..]);
    let expected = EventStamp {
        sequence_number: Some(12),
        offset: Some("1476".into()),
        enqueued_time: Some(1_795_289_632_768),
        partition_key: Some("dev-1".into()),
    };
    assert_eq!(delivered.event_stamp().unwrap(), expected);
}

#[test]
fn a_receiver_can_ask_for_the_state_of_the_partition() {
    let runtime = PartitionRuntime {
        last_sequence_number: 99,
        last_offset: "4711",
        last_enqueued_time: 1_795_289_632_000,
        retrieved_at: 1_795_289_633_000,
    };
    let mut out = BytesMut::new();
    encode_delivery(&mut out, &Stamp { runtime: Some(runtime), ..stamp(None) }, EVENT).unwrap();
    let delivered = parse(&out);
    assert_eq!(delivered.check(), Ok(()));
    let expected: Vec<(ByteString, Value)> = vec![
        ("last_enqueued_sequence_number".into(), Value::Long(99)),
        ("last_enqueued_offset".into(), "4711".into()),
        ("last_enqueued_time_utc".into(), Value::Timestamp(1_795_289_632_000)),
        ("runtime_info_retrieval_time_utc".into(), Value::Timestamp(1_795_289_633_000)),
    ];
    assert_eq!(all(delivered.delivery_annotations()), expected);
    // Whether there is a key is the broker's word, not the message's.
    assert_eq!(delivered.partition_key().unwrap(), None);
}

#[test]
fn a_delivery_of_what_is_no_message_leaves_nothing_behind() {
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(encode_delivery(&mut out, &stamp(None), b"hello").is_err());
    let truncated_annotation = b"\x00\x53\x72\xc1\x04\x02\xa3\x09x";
    assert!(encode_delivery(&mut out, &stamp(None), truncated_annotation).is_err());
    assert_eq!(&out[..], b"before");
}

#[test]
fn an_event_in_parts_is_written_like_a_stored_one() {
    let mut written = BytesMut::new();
    MessageWriter::new(&mut written)
        .stamp(&stamp(Some("dev-1")))
        .application_properties(|map| map.int("room", 7))
        .data(b"hello");
    let mut copied = BytesMut::new();
    encode_delivery(&mut copied, &stamp(Some("dev-1")), EVENT).unwrap();
    assert_eq!(written, copied);
}

#[test]
fn a_writer_writes_all_types() {
    let mut out = BytesMut::new();
    MessageWriter::new(&mut out)
        .header(&Header::default())
        .stamp_with(&stamp(None), |map| map.string("iothub-connection-device-id", "d1"))
        .properties(&Properties { content_type: Some("application/json".into()), ..Properties::default() })
        .application_properties(|map| {
            map.string("string", "s");
            map.binary("binary", b"b");
            map.boolean("boolean", true);
            map.int("int", -1);
            map.long("long", 1 << 40);
            map.double("double", 0.5);
            map.timestamp("timestamp", 5);
            map.null("null");
            map.value("value", &Value::Ubyte(3));
        })
        .value(&"body".into());
    let message = parse(&out);
    assert_eq!(message.check(), Ok(()));
    let annotations = all(message.message_annotations());
    assert_eq!(annotations.last().unwrap(), &("iothub-connection-device-id".into(), "d1".into()));
    let values: Vec<Value> =
        all(message.application_properties()).into_iter().map(|(_, value)| value).collect();
    let expected = [
        "s".into(),
        Value::Binary(Bytes::from_static(b"b")),
        Value::Boolean(true),
        Value::Int(-1),
        Value::Long(1 << 40),
        Value::Double(0.5),
        Value::Timestamp(5),
        Value::Null,
        Value::Ubyte(3),
    ];
    assert_eq!(values, expected);
    assert_eq!(message.body().unwrap(), Body::Value("body".into()));
}

proptest! {
    #[test]
    fn messages_survive_the_round_trip(parts in strategies::parts()) {
        let message = parse(&parts.encode());
        prop_assert_eq!(message.check(), Ok(()));
        prop_assert_eq!(message.header().unwrap(), parts.header);
        prop_assert_eq!(all(message.message_annotations()), parts.annotations);
        prop_assert_eq!(message.properties().unwrap(), parts.properties);
        prop_assert_eq!(all(message.application_properties()), parts.application_properties);
        prop_assert_eq!(message.body().unwrap(), parts.body);
    }

    /// A delivery says what the stamp says, keeps the producer's other annotations in their order, and changes nothing else.
    #[test]
    fn a_delivery_changes_annotations_only(
        parts in strategies::parts(),
        sequence_number in any::<i64>(),
        offset in strategies::text(),
        enqueued_time in any::<i64>(),
        partition_key in proptest::option::of(strategies::text()),
    ) {
        let message = parts.encode();
        let stamp = Stamp {
            sequence_number,
            offset: &offset,
            enqueued_time,
            partition_key: partition_key.as_deref(),
            runtime: None,
        };
        let mut out = BytesMut::new();
        encode_delivery(&mut out, &stamp, &message).unwrap();
        let mut again = BytesMut::new();
        parse(&message).encode_delivery(&mut again, &stamp).unwrap();
        prop_assert_eq!(&out, &again);

        let delivered = parse(&out);
        prop_assert_eq!(delivered.check(), Ok(()));
        let expected = EventStamp {
            sequence_number: Some(sequence_number),
            offset: Some(offset.clone()),
            enqueued_time: Some(enqueued_time),
            partition_key: partition_key.clone(),
        };
        prop_assert_eq!(delivered.event_stamp().unwrap(), expected);
        let stamped = if partition_key.is_some() { 4 } else { 3 };
        let reserved = ["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"];
        let kept: Vec<_> =
            parts.annotations.iter().filter(|(name, _)| !reserved.contains(&&**name)).cloned().collect();
        prop_assert_eq!(&all(delivered.message_annotations())[stamped..], &kept[..]);
        prop_assert_eq!(delivered.header().unwrap(), parts.header);
        prop_assert_eq!(delivered.properties().unwrap(), parts.properties);
        prop_assert_eq!(all(delivered.application_properties()), parts.application_properties);
        prop_assert_eq!(delivered.body().unwrap(), parts.body);
    }

    #[test]
    fn batches_survive_the_round_trip(
        events in proptest::collection::vec(strategies::parts(), 0..5),
        key in proptest::option::of(strategies::text()),
    ) {
        let mut batch = BatchBuilder::new(key.as_deref());
        for (index, event) in events.iter().enumerate() {
            if index % 2 == 0 {
                batch.add(&event.encode());
            } else {
                batch.add_with(|out| out.extend_from_slice(&event.encode()));
            }
        }
        let batch = parse(&batch.finish());
        prop_assert_eq!(batch.partition_key().unwrap(), key);
        let found: Vec<Bytes> = batch.data_sections().collect();
        let expected: Vec<Bytes> = events.iter().map(strategies::Parts::encode).collect();
        prop_assert_eq!(found, expected);
    }
}
