//! Protocol headers, frames and the security layer.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tidegate_amqp::codec::DecodeProblem;
use tidegate_amqp::codec::frame::{self, Frame, FrameError, FrameKind, MIN_MAX_FRAME_SIZE, ProtocolHeader};
use tidegate_amqp::codec::performative::{Close, DeliveryTag, Performative, Transfer};
use tidegate_amqp::codec::sasl::{self, SaslCode, SaslFrame, SaslInit};
use tidegate_amqp::codec::value::Symbol;

use super::strategies;

fn buffer(bytes: &[u8]) -> BytesMut {
    BytesMut::from(bytes)
}

#[test]
fn protocol_headers() {
    for (bytes, header) in [
        (b"AMQP\x00\x01\x00\x00", ProtocolHeader::AMQP),
        (b"AMQP\x02\x01\x00\x00", ProtocolHeader::TLS),
        (b"AMQP\x03\x01\x00\x00", ProtocolHeader::SASL),
    ] {
        assert_eq!(header.to_bytes(), *bytes);
        let mut read = buffer(bytes);
        read.extend_from_slice(b"rest");
        assert_eq!(ProtocolHeader::take(&mut read), Ok(Some(header)));
        assert_eq!(&read[..], b"rest");
        for length in 0..8 {
            assert_eq!(ProtocolHeader::take(&mut buffer(&bytes[..length])), Ok(None));
        }
    }
}

#[test]
fn what_is_not_amqp_is_noticed_at_its_first_byte() {
    assert_eq!(ProtocolHeader::take(&mut buffer(b"G")), Err(FrameError::NotAmqp(*b"G\0\0\0")));
    assert_eq!(ProtocolHeader::take(&mut buffer(b"AMQQ")), Err(FrameError::NotAmqp(*b"AMQQ")));
    assert_eq!(ProtocolHeader::take(&mut buffer(b"\x16\x03\x01\x02\x00")), {
        Err(FrameError::NotAmqp([0x16, 3, 1, 2]))
    });
}

#[test]
fn an_empty_frame_keeps_the_connection_alive() {
    let mut read = buffer(&frame::EMPTY_FRAME);
    let taken = Frame::take(&mut read, 512).unwrap().unwrap();
    assert_eq!(taken, Frame { kind: FrameKind::Amqp, channel: 0, body: Bytes::new() });
    assert!(read.is_empty());
}

#[test]
fn an_extended_header_is_stepped_over() {
    let mut read = buffer(&[0, 0, 0, 14, 3, 0, 1, 2, 9, 9, 9, 9, 0xab, 0xcd]);
    let taken = Frame::take(&mut read, 512).unwrap().unwrap();
    assert_eq!((taken.channel, &taken.body[..]), (0x0102, &[0xab, 0xcd][..]));
}

#[test]
fn frames_that_are_none() {
    let take = |bytes: &[u8]| Frame::take(&mut buffer(bytes), 1024);
    assert_eq!(take(&[0, 0, 4, 1]), Err(FrameError::TooLarge { size: 1025, limit: 1024 }));
    assert_eq!(take(&[0, 0, 0, 7, 2, 0, 0]), Err(FrameError::TooSmall(7)));
    assert_eq!(take(&[0, 0, 0, 8, 1, 0, 0, 0]), Err(FrameError::DataOffset { size: 8, offset: 1 }));
    assert_eq!(take(&[0, 0, 0, 8, 3, 0, 0, 0]), Err(FrameError::DataOffset { size: 8, offset: 3 }));
    assert_eq!(take(&[0, 0, 0, 8, 2, 7, 0, 0]), Err(FrameError::UnknownType(7)));
    // A TLS hello that comes where a frame should.
    assert!(matches!(take(b"\x16\x03\x01\x02\x00"), Err(FrameError::TooLarge { .. })));
    assert_eq!(take(&[0, 0]), Ok(None));
    assert_eq!(take(&[0, 0, 0, 9, 2, 0, 0, 0]), Ok(None));
}

proptest! {
    /// However the bytes are cut on their way, the same frames come out.
    #[test]
    fn frames_come_out_of_any_pieces(
        performatives in proptest::collection::vec((any::<u16>(), strategies::performative()), 1..6),
        piece in 1usize..200,
    ) {
        let mut sent = BytesMut::new();
        for (channel, performative) in &performatives {
            frame::write_frame(&mut sent, *channel, performative);
        }
        let mut read = BytesMut::new();
        let mut received = Vec::new();
        for bytes in sent.chunks(piece) {
            read.extend_from_slice(bytes);
            while let Some(mut frame) = Frame::take(&mut read, u32::MAX).unwrap() {
                prop_assert_eq!(frame.kind, FrameKind::Amqp);
                received.push((frame.channel, Performative::decode(&mut frame.body).unwrap()));
                prop_assert!(frame.body.is_empty());
            }
        }
        prop_assert!(read.is_empty());
        prop_assert_eq!(received, performatives);
    }

    /// A message of any size goes through frames of any size.
    #[test]
    fn a_payload_is_split_and_put_together(
        transfer in strategies::transfer(),
        payload in proptest::collection::vec(any::<u8>(), 0..5000),
        max_frame_size in MIN_MAX_FRAME_SIZE..2000,
    ) {
        let transfer = Transfer { state: None, more: false, ..transfer };
        let mut out = BytesMut::new();
        let mut sent = 0;
        let mut frames = 0;
        while frames == 0 || sent < payload.len() {
            sent += frame::write_transfer(&mut out, 3, &transfer, &payload[sent..], max_frame_size);
            frames += 1;
        }
        let mut together = Vec::new();
        for left in (0..frames).rev() {
            let mut frame = Frame::take(&mut out, max_frame_size).unwrap().unwrap();
            let Performative::Transfer(found) = Performative::decode(&mut frame.body).unwrap() else {
                panic!("not a transfer")
            };
            prop_assert_eq!(&found, &Transfer { more: left > 0, ..transfer.clone() });
            together.extend_from_slice(&frame.body);
        }
        prop_assert!(out.is_empty());
        prop_assert_eq!(together, payload);
    }

    /// Also with a state, whose size decides about the head of the list.
    #[test]
    fn more_is_set_behind_a_state_of_any_size(transfer in strategies::transfer()) {
        let mut out = BytesMut::new();
        let payload = vec![7; 100_000];
        let taken = frame::write_transfer(&mut out, 3, &transfer, &payload, 50_000);
        prop_assert!(taken < payload.len());
        let mut frame = Frame::take(&mut out, 50_000).unwrap().unwrap();
        let found = Performative::decode(&mut frame.body).unwrap();
        prop_assert_eq!(found, Performative::Transfer(Transfer { more: true, ..transfer }));
        prop_assert_eq!(frame.body.len(), taken);
    }
}

#[test]
fn a_payload_can_be_written_in_place() {
    let transfer = Transfer { delivery_tag: Some(DeliveryTag::from_number(9)), ..Transfer::default() };
    let mut copied = BytesMut::new();
    assert_eq!(frame::write_transfer(&mut copied, 1, &transfer, b"payload", 512), 7);

    let mut in_place = BytesMut::new();
    let written =
        frame::write_transfer_with(&mut in_place, 1, &transfer, 512, |out| out.extend_from_slice(b"payload"));
    assert_eq!(written, Ok(()));
    assert_eq!(in_place, copied);

    let mut vectored = BytesMut::new();
    frame::write_transfer_head(&mut vectored, 1, &transfer, 7);
    vectored.extend_from_slice(b"payload");
    assert_eq!(vectored, copied);
}

#[test]
fn a_payload_above_the_frame_size_is_given_back() {
    let mut out = buffer(b"before");
    let payload = vec![1u8; 600];
    let written = frame::write_transfer_with(&mut out, 1, &Transfer::default(), 512, |out| {
        out.extend_from_slice(&payload);
    });
    assert_eq!(written, Err(Bytes::from(payload)));
    assert_eq!(&out[..], b"before");
}

#[test]
fn a_close_as_the_specification_has_it() {
    let mut out = BytesMut::new();
    frame::write_frame(&mut out, 0, &Close { error: None });
    assert_eq!(&out[..], [0, 0, 0, 15, 2, 0, 0, 0, 0x00, 0x53, 0x18, 0xc0, 2, 1, 0x40]);
}

fn sasl_round_trip(step: &SaslFrame) -> SaslFrame {
    let mut out = BytesMut::new();
    frame::write_sasl(&mut out, step);
    let frame = Frame::take(&mut out, 512).unwrap().unwrap();
    assert_eq!((frame.kind, frame.channel), (FrameKind::Sasl, 0));
    SaslFrame::decode(&frame.body).unwrap()
}

#[test]
fn the_security_layer_survives_the_round_trip() {
    let init = |initial_response: Option<&'static [u8]>| {
        SaslFrame::Init(SaslInit {
            mechanism: sasl::ANONYMOUS,
            initial_response: initial_response.map(Bytes::from_static),
            hostname: Some("127.0.0.1".into()),
        })
    };
    let steps = [
        SaslFrame::Mechanisms(vec![sasl::MSSBCBS, sasl::PLAIN, sasl::ANONYMOUS, sasl::EXTERNAL]),
        SaslFrame::Mechanisms(vec![sasl::ANONYMOUS]),
        init(None),
        init(Some(b"")),
        init(Some(b"\0RootManageSharedAccessKey")),
        SaslFrame::Challenge(Bytes::from_static(b"who?")),
        SaslFrame::Response(Bytes::from_static(b"me")),
        SaslFrame::Outcome { code: SaslCode::Ok, additional_data: None },
        SaslFrame::Outcome { code: SaslCode::SysTemp, additional_data: Some(Bytes::from_static(b"x")) },
    ];
    for step in &steps {
        assert_eq!(&sasl_round_trip(step), step);
    }
}

#[test]
fn mechanisms_are_an_array_of_symbols() {
    let mut out = BytesMut::new();
    frame::write_sasl(&mut out, &SaslFrame::Mechanisms(vec![sasl::PLAIN, sasl::ANONYMOUS]));
    let expected = b"\0\0\0\x22\x02\x01\0\0\x00\x53\x40\xc0\x15\x01\xe0\x12\x02\xa3\x05PLAIN\x09ANONYMOUS";
    assert_eq!(&out[..], &expected[..]);
    // One mechanism can also come alone.
    let alone = SaslFrame::decode(b"\x00\x53\x40\xc0\x0c\x01\xa3\x09ANONYMOUS").unwrap();
    assert_eq!(alone, SaslFrame::Mechanisms(vec![sasl::ANONYMOUS]));
}

#[test]
fn wrong_steps_are_named() {
    let error = SaslFrame::decode(&[0x00, 0x53, 0x44, 0xc0, 3, 1, 0x50, 9]).unwrap_err();
    assert_eq!(error.to_string(), "sasl-outcome.code, byte 6: not a SASL outcome code");
    let error = SaslFrame::decode(&[0x00, 0x53, 0x41, 0x45]).unwrap_err();
    assert_eq!((error.place, error.problem), ("sasl-init.mechanism", DecodeProblem::Missing));
    let error = SaslFrame::decode(&[0x00, 0x53, 0x10, 0x45]).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::UnexpectedDescriptor(0x10));
}

#[test]
fn plain_credentials() {
    let init = |response: &'static [u8]| SaslInit {
        mechanism: sasl::PLAIN,
        initial_response: Some(Bytes::from_static(response)),
        hostname: None,
    };
    assert_eq!(init(b"\0user\0pass word").plain_credentials(), Some(("user", "pass word")));
    assert_eq!(init(b"other\0user\0").plain_credentials(), Some(("user", "")));
    assert_eq!(init(b"\0user").plain_credentials(), None);
    assert_eq!(init(b"\0user\0a\0b").plain_credentials(), None);
    assert_eq!(init(b"\0\xff\0a").plain_credentials(), None);
}

#[test]
fn secrets_are_not_printed() {
    let init = SaslInit {
        mechanism: Symbol::new("PLAIN"),
        initial_response: Some(Bytes::from_static(b"\0user\0hunter2")),
        hostname: None,
    };
    let step = SaslFrame::Init(init.clone());
    let response = SaslFrame::Response(Bytes::from_static(b"hunter2"));
    let printed = format!("{init:?} {step:?} {response:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("PLAIN"), "{printed}");
}
