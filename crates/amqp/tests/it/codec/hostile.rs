//! Bytes from anybody: nothing panics, and nothing takes more memory than the bytes justify.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_amqp::codec::DecodeProblem;
use tidegate_amqp::codec::frame::{self, Frame, ProtocolHeader};
use tidegate_amqp::codec::message::{Message, Stamp, encode_delivery};
use tidegate_amqp::codec::performative::Performative;
use tidegate_amqp::codec::sasl::SaslFrame;
use tidegate_amqp::codec::value::Value;

use super::{allocation, performatives, strategies, values};

/// What a byte may cost when it becomes a value: a `Value` of 40 bytes, in a list that doubles as it grows. And what even
/// an empty input may cost: a few levels of lists with their first room.
const COST_OF_A_BYTE: usize = 200;
const COST_OF_NOTHING: usize = 64 * 1024;

/// Gives the bytes to everything that decodes, and uses what comes out.
fn decode_all(bytes: &[u8]) {
    within_bounds(bytes, || {
        if let Ok(value) = Value::decode(bytes) {
            // What was decoded encodes to something that decodes to the same.
            let encoded = values::encode(&value);
            let again = Value::decode(&encoded).unwrap();
            assert_eq!(values::encode(&again), encoded);
        }
    });
    let shared = Bytes::copy_from_slice(bytes);
    within_bounds(bytes, || Value::decode_shared(&shared).is_ok());
    within_bounds(bytes, || {
        let mut body = shared.clone();
        if let Ok(performative) = Performative::decode(&mut body) {
            let encoded = performatives::encode(&performative);
            let again = performatives::decode(&encoded).unwrap();
            assert_eq!(performatives::encode(&again), encoded);
        }
    });
    within_bounds(bytes, || SaslFrame::decode(bytes).is_ok());
    within_bounds(bytes, || ProtocolHeader::take(&mut BytesMut::from(bytes)).is_ok());
    within_bounds(bytes, || {
        let mut buffer = BytesMut::from(bytes);
        while let Ok(Some(mut frame)) = Frame::take(&mut buffer, 1 << 20) {
            let _ = Performative::decode(&mut frame.body);
        }
    });
    within_bounds(bytes, || use_message(&shared));
}

fn use_message(bytes: &Bytes) {
    let Ok(message) = Message::parse(bytes.clone()) else { return };
    let checked = message.check();
    let pairs =
        [message.delivery_annotations(), message.message_annotations(), message.application_properties()];
    let mut found = vec![
        message.header().map(|_| ()),
        message.properties().map(|_| ()),
        message.partition_key().map(|_| ()),
        message.event_stamp().map(|_| ()),
        message.application_property("a").map(|_| ()),
        // The check lets a body pass that has more values than are ever made of one.
        match message.body() {
            Err(error) if error.problem == DecodeProblem::TooMany => Ok(()),
            body => body.map(|_| ()),
        },
    ];
    for pairs in pairs {
        for pair in pairs {
            found.push(pair.map(|_| ()));
        }
    }
    let stamp = Stamp {
        sequence_number: 1,
        offset: "1",
        enqueued_time: 1,
        partition_key: Some("key"),
        runtime: None,
    };
    let mut out = BytesMut::new();
    let delivered = encode_delivery(&mut out, &stamp, bytes);
    if delivered.is_err() {
        assert!(out.is_empty());
    }
    if checked.is_ok() {
        // What passed the check holds no surprise for those who read it later.
        found.push(delivered.clone());
        for result in &found {
            assert_eq!(result, &Ok(()));
        }
        assert_eq!(Message::parse(out.freeze()).unwrap().check(), Ok(()));
    }
    let sections =
        message.data_sections().map(|inner| usize::from(Message::parse(inner).is_ok())).sum::<usize>();
    assert!(sections <= bytes.len());
}

fn within_bounds<T>(bytes: &[u8], work: impl FnOnce() -> T) {
    let (_, peak) = allocation::peak(work);
    let bound = bytes.len() * COST_OF_A_BYTE + COST_OF_NOTHING;
    assert!(peak <= bound, "{peak} bytes of memory for {} bytes of input", bytes.len());
}

/// Something valid, and changes to it: each sets a byte, or cuts off, or doubles a part.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop_oneof![
        strategies::value().prop_map(|value| values::encode(&value).to_vec()),
        strategies::performative().prop_map(|performative| performatives::encode(&performative).to_vec()),
        strategies::performative().prop_map(|performative| {
            let mut out = BytesMut::new();
            frame::write_frame(&mut out, 7, &performative);
            out.to_vec()
        }),
        strategies::parts().prop_map(|parts| parts.encode().to_vec()),
    ];
    let interesting = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0x00, 0x40, 0x41, 0x45, 0x53, 0x70, 0x72, 0x74, 0x75, 0x77, 0xa0, 0xa1, 0xa3, 0xb0, 0xb1, 0xc0,
            0xc1, 0xd0, 0xd1, 0xe0, 0xf0, 0xff,
        ])
    ];
    let change = (any::<prop::sample::Index>(), interesting, 0..10u8);
    (valid, vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (index, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 => {
                    let part = bytes[at..].to_vec();
                    bytes.extend(part);
                }
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_descriptor(code in 0x10..0x79u8, bytes in vec(any::<u8>(), 0..300)) {
        decode_all(&[&[0x00, 0x53, code][..], &bytes].concat());
    }

    #[test]
    fn damaged_bytes(bytes in damaged()) {
        decode_all(&bytes);
    }
}

#[test]
fn bombs() {
    let large =
        |code: u8, size: u32, count: u32| [&[code][..], &size.to_be_bytes(), &count.to_be_bytes()].concat();
    let mut bombs: Vec<Vec<u8>> = vec![
        // Compound values that state more than there is.
        large(0xd0, 4, u32::MAX),
        large(0xd1, 4, u32::MAX - 1),
        [large(0xf0, 5, u32::MAX), vec![0x41]].concat(),
        [large(0xf0, 5, u32::MAX), vec![0x45]].concat(),
        [large(0xf0, 5, u32::MAX), vec![0x98]].concat(),
        b"\xb0\xff\xff\xff\xff".to_vec(),
        // Descriptors of descriptors.
        vec![0; 1 << 16],
    ];
    // Lists within lists, each of which states that it has as many items as there are bytes.
    let mut nested = vec![0x40; 50_000];
    for _ in 0..30 {
        let size = nested.len() as u32 + 4;
        nested = [large(0xd0, size, size), nested].concat();
    }
    bombs.push(nested);
    // Arrays of arrays of nothing.
    let inner = [large(0xf0, 5, 60_000), vec![0x41]].concat();
    let arrays = inner[1..].repeat(1000);
    bombs.push([large(0xf0, arrays.len() as u32 + 5, 1000), vec![0xf0], arrays].concat());
    // A list of nulls, the most values for a byte.
    bombs.push([large(0xd0, 1_000_004, 1_000_000), vec![0x40; 1_000_000]].concat());
    for bomb in &bombs {
        decode_all(bomb);
        for code in 0x10..0x79u8 {
            if bomb.len() < 100_000 {
                decode_all(&[&[0x00, 0x53, code][..], bomb].concat());
            }
        }
    }
}
