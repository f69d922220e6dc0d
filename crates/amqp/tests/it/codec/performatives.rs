//! Performatives: what clients send, what they insist on getting, and round trips.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::codec::value::{Map, Symbol, Value};
use tidegate_amqp::codec::{DecodeError, DecodeProblem};

use super::{strategies, values};

pub(super) fn encode(performative: &impl Encode) -> Bytes {
    let mut out = BytesMut::new();
    performative.encode(&mut out);
    out.freeze()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Performative, DecodeError> {
    let mut body = Bytes::copy_from_slice(bytes);
    let performative = Performative::decode(&mut body)?;
    assert!(body.is_empty(), "bytes behind the performative");
    Ok(performative)
}

/// The items of the list within an encoded composite type.
fn list_of(bytes: &[u8]) -> Vec<Value> {
    match Value::decode(bytes).unwrap() {
        Value::Described(described) => described.value.as_items().unwrap().to_vec(),
        other => panic!("not described: {other:?}"),
    }
}

proptest! {
    #[test]
    fn performatives_survive_the_round_trip(performative in strategies::performative()) {
        prop_assert_eq!(decode(&encode(&performative)).unwrap(), performative);
    }

    /// The Python client counts on every field being there.
    #[test]
    fn all_fields_are_written(performative in strategies::performative()) {
        let expected = match &performative {
            Performative::Open(_) => 10,
            Performative::Begin(_) => 8,
            Performative::Attach(_) => 14,
            Performative::Flow(_) => 11,
            Performative::Transfer(_) => 11,
            Performative::Disposition(_) => 6,
            Performative::Detach(_) => 3,
            Performative::End(_) | Performative::Close(_) => 1,
        };
        prop_assert_eq!(list_of(&encode(&performative)).len(), expected);
    }

    /// Null fields at the end may be left out, as the JavaScript and the Rust client do.
    #[test]
    fn fields_may_be_missing_at_the_end(performative in strategies::performative()) {
        let Value::Described(mut described) = Value::decode(&encode(&performative)).unwrap() else {
            panic!("not described")
        };
        let mut items = described.value.as_items().unwrap().to_vec();
        while items.last().is_some_and(Value::is_null) {
            items.pop();
        }
        described.value = Value::List(items);
        let short = values::encode(&Value::Described(described));
        prop_assert_eq!(decode(&short).unwrap(), performative);
    }

    /// What stands behind the performative in a frame is the payload.
    #[test]
    fn the_payload_is_left(transfer in strategies::transfer(), payload in any::<[u8; 9]>()) {
        let mut body = BytesMut::new();
        transfer.encode(&mut body);
        body.extend_from_slice(&payload);
        let mut body = body.freeze();
        prop_assert_eq!(Performative::decode(&mut body).unwrap(), Performative::Transfer(transfer));
        prop_assert_eq!(&body[..], &payload[..]);
    }
}

#[test]
fn errors_and_outcomes_have_all_fields_too() {
    let error = AmqpError { condition: condition::LINK_STOLEN, description: None, info: Map::new() };
    let close = list_of(&encode(&Close { error: Some(error) }));
    let Value::Described(error) = &close[0] else { panic!("no error") };
    assert_eq!(error.value.as_items().unwrap(), [condition::LINK_STOLEN.into(), Value::Null, Value::Null]);

    let rejected =
        Disposition { state: Some(DeliveryState::Rejected { error: None }), ..Disposition::default() };
    let Value::Described(state) = &list_of(&encode(&rejected))[4] else { panic!("no state") };
    assert_eq!(state.value.as_items().unwrap(), [Value::Null]);

    let attach =
        Attach { source: Some(Source::default()), target: Some(Target::default()), ..Attach::default() };
    let fields = list_of(&encode(&attach));
    let lengths: Vec<_> = fields[5..7]
        .iter()
        .map(|terminus| match terminus {
            Value::Described(described) => described.value.as_items().unwrap().len(),
            other => panic!("not a terminus: {other:?}"),
        })
        .collect();
    assert_eq!(lengths, [11, 7]);
}

#[test]
fn a_disposition_byte_by_byte() {
    let accepted = Disposition {
        role: Role::Receiver,
        first: 3,
        last: Some(300),
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    };
    let expected =
        [0x00, 0x53, 0x15, 0xc0, 15, 6, 0x41, 0x52, 3, 0x70, 0, 0, 1, 44, 0x41, 0x00, 0x53, 0x24, 0x45, 0x42];
    assert_eq!(encode(&accepted), expected[..]);
}

#[test]
fn a_transfer_byte_by_byte() {
    let transfer = Transfer {
        handle: 0,
        delivery_id: Some(5),
        delivery_tag: DeliveryTag::new(&[0xd1, 0xd2]),
        message_format: Some(0x8001_3700),
        settled: Some(true),
        ..Transfer::default()
    };
    let expected = [
        0x00, 0x53, 0x14, 0xc0, 20, 11, 0x43, 0x52, 5, 0xa0, 2, 0xd1, 0xd2, 0x70, 0x80, 0x01, 0x37, 0x00,
        0x41, 0x42, 0x40, 0x40, 0x42, 0x42, 0x42,
    ];
    assert_eq!(encode(&transfer), expected[..]);
}

/// The open of a JavaScript client: fields by their defaults, and short.
#[test]
fn a_short_open_has_the_defaults() {
    let bytes = b"\x00\x53\x10\xc0\x0f\x05\xa1\x02id\xa1\x01h\x40\x40\x70\x00\x00\xea\x60";
    let Performative::Open(open) = decode(bytes).unwrap() else { panic!("not an open") };
    let expected = Open {
        container_id: "id".into(),
        hostname: Some("h".into()),
        max_frame_size: u32::MAX,
        channel_max: u16::MAX,
        idle_timeout: Some(60_000),
        ..Open::default()
    };
    assert_eq!(*open, expected);
}

#[test]
fn a_large_list_and_a_symbolic_descriptor_are_the_same() {
    let usual = decode(&[0x00, 0x53, 0x16, 0xc0, 3, 2, 0x43, 0x41]).unwrap();
    let large = decode(&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x16, 0xd0, 0, 0, 0, 6, 0, 0, 0, 2, 0x43, 0x41]);
    assert_eq!(large.unwrap(), usual);
    let symbolic = decode(b"\x00\xa3\x10amqp:detach:list\xc0\x03\x02\x43\x41");
    assert_eq!(symbolic.unwrap(), usual);
}

#[test]
fn a_selector_is_found_under_both_descriptors() {
    let expression = "amqp.annotation.x-opt-offset > '-1'";
    let by_number = Source::at("hub").with_selector(expression);
    assert_eq!(by_number.selector(), Some(expression));

    // The Python client describes the filter with a symbol.
    let name = Symbol::new("apache.org:selector-filter:string");
    let described =
        tidegate_amqp::codec::value::Described { descriptor: name.clone().into(), value: expression.into() };
    let by_symbol =
        Source { filter: Map::new().with(name, Value::Described(Box::new(described))), ..Source::default() };
    assert_eq!(by_symbol.selector(), Some(expression));
    assert_eq!(Source::at("hub").selector(), None);
}

#[test]
fn capabilities_come_alone_or_as_an_array() {
    let attach = |capabilities: &Value| {
        let mut items = vec!["link".into(), Value::Uint(0), Value::Boolean(true)];
        items.resize(12, Value::Null);
        items.push(capabilities.clone());
        let described = tidegate_amqp::codec::value::Described {
            descriptor: Value::Ulong(0x12),
            value: Value::List(items),
        };
        decode(&values::encode(&Value::Described(Box::new(described)))).map(|performative| match performative
        {
            Performative::Attach(attach) => attach.desired_capabilities,
            other => panic!("not an attach: {other:?}"),
        })
    };
    let georeplication = Symbol::new("com.microsoft:georeplication");
    let metric = Symbol::new("com.microsoft:enable-receiver-runtime-metric");
    assert_eq!(attach(&georeplication.clone().into()), Ok(vec![georeplication.clone()]));
    let array = tidegate_amqp::codec::value::Array::of_symbols([georeplication.clone(), metric.clone()]);
    assert_eq!(attach(&array.into()).unwrap(), [georeplication, metric]);
    assert_eq!(attach(&Value::Null), Ok(vec![]));
    let error = attach(&"text".into()).unwrap_err();
    assert_eq!(error.place, "attach.desired-capabilities");
}

#[test]
fn a_coordinator_is_seen() {
    let attach = Attach { name: "tx".into(), coordinator: true, ..Attach::default() };
    let bytes = encode(&attach);
    assert_eq!(decode(&bytes).unwrap(), Performative::Attach(Box::new(attach)));
}

#[test]
fn other_delivery_states_are_kept() {
    let declared = Value::Described(Box::new(tidegate_amqp::codec::value::Described {
        descriptor: Value::Ulong(0x33),
        value: Value::List(vec![Value::Binary(Bytes::from_static(b"tx"))]),
    }));
    let disposition = Disposition { state: Some(DeliveryState::Other(declared)), ..Disposition::default() };
    let bytes = encode(&disposition);
    assert_eq!(decode(&bytes).unwrap(), Performative::Disposition(disposition));
}

#[test]
fn what_is_wrong_names_its_field() {
    let error = |bytes: &[u8]| {
        let error = decode(bytes).unwrap_err();
        (error.to_string(), error.condition().to_string())
    };
    let invalid = "amqp:invalid-field".to_owned();
    let undecodable = "amqp:decode-error".to_owned();
    assert_eq!(
        error(&[0x00, 0x53, 0x10, 0x45]),
        ("open.container-id, byte 4: a mandatory field is missing".to_owned(), invalid.clone())
    );
    assert_eq!(
        error(b"\x00\x53\x16\xc0\x04\x01\xa1\x01h"),
        ("detach.handle, byte 6: expected uint, found format code 0xa1".to_owned(), invalid.clone())
    );
    assert_eq!(
        error(b"\x00\x53\x12\xc0\x08\x04\xa1\x01n\x43\x41\x50\x07"),
        ("attach.snd-settle-mode, byte 12: not a sender settle mode".to_owned(), invalid)
    );
    assert_eq!(
        error(&[0x00, 0x53, 0x19, 0x45]),
        ("performative, byte 0: unexpected descriptor 0x19".to_owned(), undecodable.clone())
    );
    assert_eq!(
        error(&[0x00, 0x53, 0x13, 0xc0, 9, 1]),
        ("performative, byte 5: the bytes end within a value".to_owned(), undecodable)
    );
    let long_tag = [&[0x00, 0x53, 0x14, 0xc0, 38, 3, 0x43, 0x43, 0xa0, 33][..], &[0; 33][..]].concat();
    let error = decode(&long_tag).unwrap_err();
    assert_eq!((error.place, error.problem), {
        ("transfer.delivery-tag", DecodeProblem::Invalid("a delivery tag has at most 32 bytes"))
    });
}

#[test]
fn delivery_tags() {
    assert_eq!(DeliveryTag::from_number(0x0102_0304).as_bytes(), [1, 2, 3, 4]);
    assert_eq!(DeliveryTag::new(&[7; 32]).unwrap().as_bytes(), [7; 32]);
    assert_eq!(DeliveryTag::new(&[7; 33]), None);
    assert_eq!(format!("{:?}", DeliveryTag::new(b"a\0").unwrap()), "DeliveryTag(a\\x00)");
}
