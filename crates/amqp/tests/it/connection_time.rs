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
        if bytes.is_empty() {
            // Buffers are given back.
            continue;
        }
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
    let mut last = START;
    while let Some(deadline) = server.next_deadline() {
        server.tick(deadline);
        last = deadline;
    }
    assert_eq!(last, START + seconds(250));
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

/// A connection with a time-out of 10 s and one empty frame a second, which says what the peer takes of the output.
fn talking(takes: impl Fn(u32) -> usize) -> (Script, Option<u32>) {
    let mut options = Options::new("s");
    options.idle_timeout = Some(seconds(10));
    let mut script = Script::opened(options, Open::default());
    script.say(0, &Begin { incoming_window: 1, ..Begin::default() });
    assert_eq!(script.events().len(), 1);
    for second in 1..100 {
        script.server.feed(&EMPTY_FRAME);
        if let Some(event) = script.server.next_event() {
            assert_eq!(event, Event::Closed(Ending::IdleTimeout));
            return (script, Some(second));
        }
        let output = script.server.output();
        let taken = takes(second).min(output.len());
        output.advance(taken);
        script.server.tick(START + seconds(second.into()));
    }
    (script, None)
}

#[test]
fn a_peer_that_talks_and_takes_nothing_is_cut() {
    let (script, cut) = talking(|_| 0);
    assert!(matches!(cut, Some(20..=23)), "{cut:?}");
    assert!(script.server.is_finished(), "nothing is left for it");
    // A byte now and then keeps it.
    let (_, cut) = talking(|second| usize::from(second % 15 == 0));
    assert_eq!(cut, None);
}

#[test]
fn silence_means_nothing_while_this_end_does_not_read() {
    let mut options = Options::new("s");
    options.idle_timeout = Some(seconds(10));
    let mut script = Script::opened(options, Open::default());
    for second in 1..100 {
        script.server.hold_input();
        script.server.tick(START + seconds(second));
        assert!(script.server.is_open());
    }
    script.server.tick(START + seconds(118));
    assert!(script.server.is_open());
    script.server.tick(START + seconds(119));
    assert_eq!(script.server.next_event(), Some(Event::Closed(Ending::IdleTimeout)));
}

#[test]
fn what_is_left_to_be_written_does_not_keep_a_connection_that_is_over() {
    let mut script = Script::opened(Options::new("s"), Open::default());
    script.say(0, &Close::default());
    assert_eq!(script.events(), [Event::Closed(Ending::Peer(None))]);
    assert!(!script.server.is_finished(), "the close waits to be written");
    let deadline = script.server.next_deadline().expect("a deadline for that");
    assert_eq!(deadline, START + seconds(10));
    script.server.tick(deadline);
    assert!(script.server.is_finished());
    assert_eq!(script.server.next_deadline(), None);
}

/// A driver waits for the deadline and ticks; a deadline that stays when it has passed makes it go round in circles.
#[test]
fn a_deadline_that_has_passed_is_not_given_again() {
    let mut script = Script::opened(Options::new("s"), Open::default());
    script.server.tick(START);
    assert_eq!(script.server.next_deadline(), Some(START + seconds(1)), "when buffers are given back");
    script.say(0, &Close::default());
    assert_eq!(script.events(), [Event::Closed(Ending::Peer(None))]);
    script.server.tick(START + seconds(1));
    assert!(!script.server.is_finished(), "the close waits to be written");
    let deadline = script.server.next_deadline().expect("a deadline for that");
    assert!(deadline > START + seconds(1), "{deadline:?}");
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
