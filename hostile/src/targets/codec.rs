//! The codec: whatever is decoded can be encoded, and is the same again.

use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::frame::{Frame, write_frame, write_sasl};
use tidegate_amqp::codec::message::{Message, Stamp, encode_delivery};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_amqp::codec::performative::Performative;
use tidegate_amqp::codec::sasl::SaslFrame;
use tidegate_amqp::codec::value::Value;
use tidegate_messages::{events_of, received, write_message};

use crate::seeds;

/// The size of a frame's header, as we write it.
const HEADER: usize = 8;

/// The largest frame in these targets.
const MAX_FRAME: u32 = 64 * 1024;

pub(super) fn values(bytes: &[u8]) {
    let Ok(value) = Value::decode(bytes) else {
        assert!(Value::decode_shared(&Bytes::copy_from_slice(bytes)).is_err(), "sharing makes no difference");
        return;
    };
    let mut again = BytesMut::new();
    value.encode(&mut again);
    let decoded = Value::decode(&again);
    // A number that is none is not equal to itself; its bytes are.
    let mut third = BytesMut::new();
    match decoded {
        Ok(decoded) => decoded.encode(&mut third),
        Err(error) => panic!("{value:?} was encoded as {again:?}, which cannot be decoded: {error}"),
    }
    assert_eq!(again, third, "what was encoded is encoded in the same way");
}

pub(super) fn bodies() -> Vec<Vec<u8>> {
    seeds::frames().into_iter().map(|frame| frame[HEADER..].to_vec()).collect()
}

pub(super) fn performatives(bytes: &[u8]) {
    let mut body = Bytes::copy_from_slice(bytes);
    let Ok(performative) = Performative::decode(&mut body) else { return };
    assert!(bytes.ends_with(&body), "what is left is the payload");
    let mut out = BytesMut::new();
    encode(&mut out, &performative);
    let again = match Frame::take(&mut out, u32::MAX) {
        Ok(Some(mut frame)) => Performative::decode(&mut frame.body),
        other => panic!("no frame was written: {other:?}"),
    };
    match again {
        Ok(again) => assert_eq!(format!("{again:?}"), format!("{performative:?}")),
        Err(error) => panic!("{performative:?} cannot be read back: {error}"),
    }
}

fn encode(out: &mut BytesMut, performative: &Performative) {
    match performative {
        Performative::Open(open) => write_frame(out, 0, &**open),
        Performative::Begin(begin) => write_frame(out, 0, &**begin),
        Performative::Attach(attach) => write_frame(out, 0, &**attach),
        Performative::Flow(flow) => write_frame(out, 0, &**flow),
        Performative::Transfer(transfer) => write_frame(out, 0, transfer),
        Performative::Disposition(disposition) => write_frame(out, 0, disposition),
        Performative::Detach(detach) => write_frame(out, 0, detach),
        Performative::End(end) => write_frame(out, 0, end),
        Performative::Close(close) => write_frame(out, 0, close),
    }
}

pub(super) fn sasl_bodies() -> Vec<Vec<u8>> {
    let frames = seeds::greetings().into_iter().filter(|bytes| !bytes.starts_with(b"AMQP"));
    frames.map(|frame| frame[HEADER..].to_vec()).collect()
}

pub(super) fn sasl(bytes: &[u8]) {
    let Ok(frame) = SaslFrame::decode(bytes) else { return };
    if let SaslFrame::Init(init) = &frame {
        let _ = init.plain_credentials();
    }
    let mut out = BytesMut::new();
    write_sasl(&mut out, &frame);
    let again = match Frame::take(&mut out, u32::MAX) {
        Ok(Some(taken)) => SaslFrame::decode(&taken.body),
        other => panic!("no frame was written: {other:?}"),
    };
    assert!(again == Ok(frame), "a SASL frame is the same again");
}

/// Takes the stream at once, and in pieces whose sizes are its own first bytes.
pub(super) fn frames(bytes: &[u8]) {
    let take_all = |buffer: &mut BytesMut, into: &mut Vec<String>| {
        loop {
            match Frame::take(buffer, MAX_FRAME) {
                Ok(Some(frame)) => into.push(format!("{frame:?}")),
                Ok(None) => return true,
                Err(error) => {
                    into.push(error.to_string());
                    return false;
                }
            }
        }
    };
    let mut whole = Vec::new();
    take_all(&mut BytesMut::from(bytes), &mut whole);
    let mut buffer = BytesMut::new();
    let mut pieces = Vec::new();
    let mut rest = bytes;
    let mut sizes = bytes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |size| usize::from(*size)).clamp(1, rest.len());
        let (piece, later) = rest.split_at(size);
        buffer.extend_from_slice(piece);
        rest = later;
        if !take_all(&mut buffer, &mut pieces) {
            break;
        }
    }
    assert_eq!(whole, pieces);
}

pub(super) fn messages(bytes: &[u8]) {
    let payload = Bytes::copy_from_slice(bytes);
    if let Ok(message) = Message::parse(payload.clone()) {
        let _ = (message.header(), message.properties(), message.body(), message.data());
        let _ = (message.partition_key(), message.event_stamp(), message.application_property("level"));
        let checked = message.check();
        let stamp = Stamp {
            sequence_number: 7,
            offset: "7",
            enqueued_time: 1_700_000_000_000,
            partition_key: Some("key"),
            runtime: None,
        };
        let mut out = BytesMut::from(&b"before"[..]);
        let encoded = encode_delivery(&mut out, &stamp, bytes);
        assert!(out.starts_with(b"before"), "what was written before stays");
        if checked.is_ok() {
            assert!(encoded.is_ok(), "a message that was checked can be delivered: {encoded:?}");
            let delivered = out.split_off(6).freeze();
            match received(delivered) {
                Ok(received) => assert_eq!(received.event.sequence_number.0, 7),
                Err(error) => panic!("a delivery cannot be read: {error}"),
            }
        }
    }
    for format in [0, MESSAGE_FORMAT_BATCH] {
        let Ok(sent) = events_of(format, payload.clone()) else { continue };
        for event in sent.events {
            assert!(event.body.len() <= bytes.len(), "a body is a part of what came");
            let mut out = BytesMut::new();
            write_message(&mut out, &event);
            match events_of(0, out.freeze()) {
                Ok(again) => assert_eq!(again.events.first().map(|event| &event.body), Some(&event.body)),
                Err(error) => panic!("an event that was taken is refused when it is sent on: {error}"),
            }
        }
    }
}
