//! Idle time-outs and other deadlines, on time that is passed in.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tidegate_amqp::codec::frame::{EMPTY_FRAME, ProtocolHeader};
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::connection::*;

use crate::connection_support::{START, Script, frames};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_silent_connection_is_kept_alive_for_the_peer_and_then_given_up() {
    let mut options = Options::new("s");
    options.idle_timeout = Some(seconds(120));
    let mut script = Script::opened(options, Open { idle_timeout: Some(60_000), ..Open::default() });
    let server = &mut script.server;
    server.tick(START);
    let mut empty_frames = 0;
    while let Some(deadline) = server.next_deadline().filter(|_| server.is_open()) {
        server.tick(deadline);
        let output = server.output();
        let bytes = output.copy_to_bytes(output.len());
        if bytes[..] == EMPTY_FRAME {
            empty_frames += 1;
            continue;
        }
        // 240 s after the start: at 30, 60, ... 210 s an empty frame had gone.
        assert_eq!(deadline, START + seconds(240));
        let heard = frames(BytesMut::from(&bytes[..]));
        let [(0, Performative::Close(close), _)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(
            close.error.as_ref().map(|error| &error.condition),
            Some(&condition::RESOURCE_LIMIT_EXCEEDED)
        );
    }
    assert_eq!(empty_frames, 7);
    assert_eq!(server.next_event(), Some(Event::Closed(Ending::IdleTimeout)));
    // The close is not answered either.
    let deadline = server.next_deadline().expect("a deadline for the close");
    assert_eq!(deadline, START + seconds(250));
    server.tick(deadline);
    assert!(server.is_finished());
    assert_eq!((server.next_event(), server.next_deadline()), (None, None));
}

#[test]
fn empty_frames_keep_the_peer() {
    let mut options = Options::new("s");
    options.idle_timeout = Some(seconds(10));
    let mut script = Script::opened(options, Open::default());
    for second in 1..100 {
        script.server.feed(&EMPTY_FRAME);
        assert_eq!(script.server.next_event(), None);
        script.server.tick(START + seconds(19 * second));
        assert!(script.server.is_open());
    }
    // Nothing was asked of this end.
    assert!(!script.server.wants_write());
}

#[test]
fn a_peer_that_does_not_open_in_time_is_given_up() {
    for said in [&b""[..], &ProtocolHeader::SASL.to_bytes(), &ProtocolHeader::AMQP.to_bytes()] {
        let mut script = Script::new(Options::new("s"));
        script.server.feed(said);
        assert_eq!(script.server.next_event(), None);
        assert_eq!(script.server.next_deadline(), Some(START + seconds(60)));
        script.server.tick(START + seconds(59));
        assert_eq!(script.server.next_event(), None);
        script.server.tick(START + seconds(60));
        assert_eq!(script.server.next_event(), Some(Event::Closed(Ending::OpenTimeout)));
        assert!(!script.server.wants_read());
    }
}

#[test]
fn a_transport_that_ends_is_told_once() {
    let mut script = Script::opened(Options::new("s"), Open::default());
    script.say(0, &Begin { incoming_window: 1, ..Begin::default() });
    assert_eq!(script.events().len(), 1);
    script.server.transport_closed();
    assert_eq!(script.events(), [Event::Closed(Ending::Disconnected)]);
    script.server.transport_closed();
    script.server.close(None);
    script.server.tick(START * 9);
    assert_eq!(script.events(), []);
    assert!(script.server.is_finished());
}
