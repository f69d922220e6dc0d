//! Peers that send what they like.

use bytes::{Buf, BytesMut};
use proptest::prelude::*;
use tidegate_amqp::codec::frame::{ProtocolHeader, write_frame, write_transfer};
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::codec::value::{Map, Symbol};
use tidegate_amqp::connection::*;

use crate::connection_support::{START, Script, frames};

fn options() -> Options {
    let mut options = Options::new("s");
    options.max_frame_size = 4096;
    options.incoming_window = 20;
    options.channel_max = 9;
    options.limits = Limits {
        sessions: 3,
        links_per_session: 4,
        message_bytes: 3000,
        partial_bytes: 5000,
        unsettled_per_link: 8,
        output_bytes: 10_000,
    };
    options
}

fn begun() -> Script {
    Script::begun(options(), Open::default(), Begin { incoming_window: 100, ..Begin::default() })
}

fn attach(handle: u32, role: Role) -> Attach {
    Attach {
        name: format!("link {handle}").as_str().into(),
        handle,
        role,
        source: Some(Source::at("a")),
        target: Some(Target::at("b")),
        initial_delivery_count: Some(0),
        ..Attach::default()
    }
}

fn first(handle: u32, id: u32) -> Transfer {
    Transfer { handle, delivery_id: Some(id), ..Transfer::default() }
}

fn receiving(script: &mut Script, handle: u32, credit: u32) -> LinkId {
    script.say(0, &attach(handle, Role::Sender));
    let (link, asked) = script.asked();
    script.server.accept_attach(link, Accept::as_asked(asked)).expect("accepted");
    script.server.grant_credit(link, credit).expect("granted");
    script.heard();
    link
}

/// The condition the connection is closed with, which must be all that happens.
fn closed_with(script: &mut Script) -> Symbol {
    let mut events = script.events();
    let Some(Event::Closed(Ending::Violation(error))) = events.pop() else { panic!("{events:?}") };
    assert_eq!(events, []);
    let heard = script.heard();
    let Some((0, Performative::Close(close), _)) = heard.last() else { panic!("{heard:?}") };
    assert_eq!(close.error.as_ref(), Some(&error));
    // Whatever comes now is thrown away, until the peer closes too.
    script.say(0, &Begin { incoming_window: 1, ..Begin::default() });
    script.say(77, &End::default());
    assert_eq!(script.events(), []);
    assert!(!script.server.is_finished());
    script.say(0, &Close::default());
    assert_eq!(script.events(), []);
    assert!(script.server.is_finished() && script.heard().is_empty());
    error.condition
}

/// The condition the session is ended with. The connection goes on.
fn ended_with(script: &mut Script) -> Symbol {
    let events = script.events();
    let Some(Event::SessionEnded { by: Party::Protocol, error: Some(error), .. }) = events.last() else {
        panic!("{events:?}")
    };
    let heard = script.heard();
    let Some((0, Performative::End(end), _)) = heard.last() else { panic!("{heard:?}") };
    assert_eq!(end.error.as_ref(), Some(error));
    // What comes before the peer's end is thrown away; then the channel can be used again.
    script.transfer(0, &first(99, 0), b"late");
    script.say(0, &attach(1, Role::Sender));
    script.say(0, &End::default());
    assert_eq!(script.events(), []);
    script.say(0, &Begin { incoming_window: 1, ..Begin::default() });
    assert!(matches!(script.events()[..], [Event::SessionBegun { .. }]));
    error.condition.clone()
}

#[test]
fn what_breaks_the_connection() {
    let mut script = begun();
    script.server.feed(&[0, 0, 0x10, 1, 2, 0, 0, 0]);
    assert_eq!(closed_by_framing(&mut script), condition::FRAMING_ERROR);
    let mut script = begun();
    script.server.feed(&[0, 0, 0, 7, 2, 0, 0, 0]);
    assert_eq!(closed_by_framing(&mut script), condition::FRAMING_ERROR);

    type Say = fn(&mut Script);
    let cases: [(&str, Say, Symbol); 9] = [
        ("open again", |s| s.say(0, &Open::default()), condition::NOT_ALLOWED),
        ("begin again", |s| s.say(0, &Begin::default()), condition::NOT_ALLOWED),
        ("a channel too high", |s| s.say(10, &Begin::default()), condition::FRAMING_ERROR),
        ("no session", |s| s.say(5, &attach(0, Role::Sender)), condition::NOT_ALLOWED),
        (
            "an answer to nothing",
            |s| s.say(1, &Begin { remote_channel: Some(3), ..Begin::default() }),
            condition::NOT_ALLOWED,
        ),
        ("a handle too high", |s| s.say(0, &attach(4, Role::Sender)), condition::FRAMING_ERROR),
        ("a SASL frame", |s| s.say_sasl("PLAIN", None), condition::FRAMING_ERROR),
        (
            "no performative",
            |s| s.server.feed(&[0, 0, 0, 11, 2, 0, 0, 0, 0, 0x53, 0x77]),
            condition::DECODE_ERROR,
        ),
        (
            "no name",
            |s| s.server.feed(&[0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x12, 0x45]),
            condition::INVALID_FIELD,
        ),
    ];
    for (what, say, condition) in cases {
        let mut script = begun();
        say(&mut script);
        assert_eq!(closed_with(&mut script), condition, "{what}");
    }
}

/// After a framing error the frames that follow cannot be found, and are not looked for.
fn closed_by_framing(script: &mut Script) -> Symbol {
    let mut events = script.events();
    let Some(Event::Closed(Ending::Violation(error))) = events.pop() else { panic!("{events:?}") };
    let heard = script.heard();
    assert!(matches!(&heard[..], [(0, Performative::Close(_), _)]), "{heard:?}");
    script.server.feed(&[0; 100]);
    assert_eq!(script.events(), []);
    error.condition
}

#[test]
fn a_frame_limit_below_the_least_is_refused() {
    let mut script = Script::new(options());
    script.header(ProtocolHeader::AMQP);
    script.say(0, &Open { max_frame_size: 511, ..Open::default() });
    let events = script.events();
    let [Event::Closed(Ending::Violation(error))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.condition, condition::INVALID_FIELD);
    // The server opens before it closes.
    let mut bytes = script.written();
    assert_eq!(ProtocolHeader::take(&mut bytes), Ok(Some(ProtocolHeader::AMQP)));
    assert!(matches!(frames(bytes)[..], [(_, Performative::Open(_), _), (_, Performative::Close(_), _)]));
}

#[test]
fn what_breaks_the_session() {
    let mut script = begun();
    receiving(&mut script, 0, 5);
    script.say(0, &attach(0, Role::Receiver));
    assert_eq!(ended_with(&mut script), condition::HANDLE_IN_USE);

    let mut script = begun();
    script.transfer(0, &first(2, 0), b"");
    assert_eq!(ended_with(&mut script), condition::UNATTACHED_HANDLE);
    let mut script = begun();
    script.say(0, &Flow { handle: Some(2), ..Flow::default() });
    assert_eq!(ended_with(&mut script), condition::UNATTACHED_HANDLE);
    let mut script = begun();
    script.say(0, &Detach { handle: u32::MAX, ..Detach::default() });
    assert_eq!(ended_with(&mut script), condition::UNATTACHED_HANDLE);

    let mut script = begun();
    receiving(&mut script, 0, 5);
    script.transfer(0, &Transfer::default(), b"no id");
    assert_eq!(ended_with(&mut script), condition::INVALID_FIELD);

    let mut script = begun();
    receiving(&mut script, 0, 5);
    script.transfer(0, &first(0, 7), b"");
    script.transfer(0, &first(0, 7), b"");
    assert_eq!(ended_with(&mut script), condition::INVALID_FIELD);

    let mut script = begun();
    script.say(0, &Disposition { role: Role::Receiver, first: 2, last: Some(1), ..Disposition::default() });
    assert_eq!(ended_with(&mut script), condition::INVALID_FIELD);

    let mut script = begun();
    script.say(0, &attach(0, Role::Receiver));
    let (link, asked) = script.asked();
    script.server.accept_attach(link, Accept::as_asked(asked)).expect("accepted");
    script.transfer(0, &first(0, 0), b"from a receiver");
    assert_eq!(ended_with(&mut script), condition::NOT_ALLOWED);
}

#[test]
fn what_breaks_the_link() {
    // More than its credit.
    let mut script = begun();
    let link = receiving(&mut script, 0, 1);
    script.transfer(0, &first(0, 0), b"");
    script.transfer(0, &first(0, 1), b"");
    script.transfer(0, &first(0, 2), b"");
    let events = script.events();
    let [Event::Delivery(_), Event::Detached { link: gone, by: Party::Protocol, error: Some(error), .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*gone, &error.condition), (link, &condition::TRANSFER_LIMIT_EXCEEDED));
    assert!(matches!(script.heard()[..], [(0, Performative::Detach(_), _)]));

    // More in unfinished deliveries than the connection takes, over several links.
    let mut script = begun();
    let links = [receiving(&mut script, 0, 5), receiving(&mut script, 1, 5)];
    script.transfer(0, &Transfer { more: true, ..first(0, 0) }, &[0; 2900]);
    script.transfer(0, &Transfer { more: true, ..first(1, 1) }, &[0; 2000]);
    assert_eq!(script.events(), []);
    script.transfer(0, &Transfer { more: true, ..first(1, 1) }, &[0; 101]);
    let events = script.events();
    let [Event::Detached { link, error: Some(error), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*link, &error.condition), (links[1], &condition::RESOURCE_LIMIT_EXCEEDED));
    // Its bytes are given back.
    script.say(0, &Detach { handle: 1, closed: true, error: None });
    let link = receiving(&mut script, 1, 5);
    script.transfer(0, &Transfer { more: true, ..first(1, 2) }, &[0; 1900]);
    script.transfer(0, &first(0, 0), &[0; 100]);
    let events = script.events();
    assert!(matches!(events[..], [Event::Delivery(_)]), "{events:?}");
    assert_eq!(script.server.unsettled(link), Some(1));
}

#[test]
fn credit_never_exceeds_what_may_be_unsettled() {
    let mut script = begun();
    let link = receiving(&mut script, 0, 5);
    assert_eq!(script.server.grant_credit(link, 100), Ok(3));
    for id in 0..8 {
        script.transfer(0, &first(0, id), b"");
    }
    assert_eq!(script.events().len(), 8);
    assert_eq!(script.server.grant_credit(link, 1), Ok(0));
    script.server.set_credit_policy(link, CreditPolicy::Window(u32::MAX)).expect("a policy");
    assert_eq!(script.server.credit(link), Some(0));
    script.server.settle(link, 0, 3, &DeliveryState::Accepted).expect("settled");
    assert_eq!(script.server.credit(link), Some(4));
}

#[test]
fn a_peer_that_asks_and_never_reads_is_not_read_any_more() {
    let mut script = begun();
    let mut asked = 0;
    while script.server.wants_read() {
        script.say(0, &Flow { echo: true, ..Flow::default() });
        script.events();
        asked += 1;
        assert!(asked < 100_000, "the output grows without bound");
    }
    let most = 10_000 + 256 * 1024 + 4096;
    assert!(script.server.output().len() < most + 100);
    // What is in the input already waits too.
    let waits = script.server.output().len();
    script.say(0, &Flow { echo: true, ..Flow::default() });
    assert_eq!(script.events(), []);
    assert_eq!(script.server.output().len(), waits);
    script.server.output().advance(waits);
    script.events();
    assert!(script.server.wants_read() && script.server.wants_write());
}

#[test]
fn other_protocols_are_refused() {
    for hello in
        [&b"GET / HTTP/1.1\r\n"[..], b"AMQP\x00\x00\x09\x01", b"AMQP\x02\x01\x00\x00", b"\x16\x03\x01"]
    {
        let mut script = Script::new(options());
        script.server.feed(hello);
        assert!(matches!(script.events()[..], [Event::Closed(Ending::OtherProtocol(_))]), "{hello:?}");
        assert_eq!(script.written()[..], ProtocolHeader::SASL.to_bytes());
        assert!(script.server.is_finished());
    }
}

// Anything

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..5u32, 2 => 5..40u32, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

fn maybe() -> impl Strategy<Value = Option<u32>> {
    proptest::option::weighted(0.8, small())
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![3 => Just(Role::Sender), 1 => Just(Role::Receiver)]
}

fn state() -> impl Strategy<Value = Option<DeliveryState>> {
    prop_oneof![
        Just(None),
        Just(Some(DeliveryState::Accepted)),
        Just(Some(DeliveryState::Rejected { error: None })),
        Just(Some(DeliveryState::Received { section_number: 1, section_offset: 9 })),
    ]
}

#[derive(Debug, Clone)]
enum Move {
    /// A frame. If it is tame, it is put right so far that it does not end the connection or the session at once, and the
    /// conversation gets somewhere.
    Say {
        tame: bool,
        channel: u16,
        performative: Performative,
        payload: Vec<u8>,
    },
    Raw(Vec<u8>),
    /// The caller settles, grants, sends, detaches or drains with any link it has heard of.
    Act(u8, usize, u32),
    Read,
}

fn performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        2 => (maybe(), small(), small(), small()).prop_map(|(remote, next_outgoing_id, incoming_window, handle_max)| {
            let remote_channel = remote.filter(|remote| remote % 4 == 0).map(|remote| remote as u16);
            Performative::Begin(Box::new(Begin { remote_channel, next_outgoing_id, incoming_window, handle_max, ..Begin::default() }))
        }),
        4 => (0..5u32, role(), 0..6u32, maybe(), any::<bool>()).prop_map(|(handle, role, name, count, ends)| {
            Performative::Attach(Box::new(Attach {
                name: name.to_string().as_str().into(),
                handle,
                role,
                source: ends.then(Source::default),
                target: ends.then(Target::default),
                initial_delivery_count: count,
                properties: Map::new().with("k", name),
                ..Attach::default()
            }))
        }),
        4 => (maybe(), small(), small(), maybe(), maybe(), maybe(), any::<bool>(), any::<bool>()).prop_map(
            |(next_incoming_id, incoming_window, next_outgoing_id, handle, delivery_count, link_credit, drain, echo)| {
                Performative::Flow(Box::new(Flow {
                    next_incoming_id, incoming_window, next_outgoing_id, handle, delivery_count, link_credit, drain, echo,
                    ..Flow::default()
                }))
            }
        ),
        8 => (0..5u32, maybe(), proptest::option::of(any::<bool>()), any::<bool>(), proptest::bool::weighted(0.1)).prop_map(
            |(handle, delivery_id, settled, more, aborted)| {
                Performative::Transfer(Transfer { handle, delivery_id, settled, more, aborted, ..Transfer::default() })
            }
        ),
        2 => (role(), small(), maybe(), any::<bool>(), state()).prop_map(|(role, first, last, settled, state)| {
            Performative::Disposition(Disposition { role, first, last, settled, state, batchable: false })
        }),
        2 => (0..5u32, any::<bool>()).prop_map(|(handle, closed)| {
            Performative::Detach(Detach { handle, closed, error: None })
        }),
        1 => Just(Performative::End(End::default())),
    ]
}

fn one_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        40 => (proptest::bool::weighted(0.97), 0..3u16, performative(), proptest::collection::vec(any::<u8>(), 0..800))
            .prop_map(|(tame, channel, performative, payload)| Move::Say { tame, channel, performative, payload }),
        20 => (0..8u8, 0..12usize, small()).prop_map(|(what, link, number)| Move::Act(what, link, number)),
        6 => Just(Move::Read),
        1 => proptest::collection::vec(any::<u8>(), 1..30).prop_map(Move::Raw),
    ]
}

/// A caller that answers what it hears and checks the promises.
struct Caller {
    connection: Connection,
    links: Vec<LinkId>,
    sessions: Vec<SessionId>,
    closed: bool,
}

impl Caller {
    fn listen(&mut self) {
        while let Some(event) = self.connection.next_event() {
            assert!(!self.closed, "{event:?} after the end");
            match event {
                Event::AttachRequested { link, attach, .. } => {
                    self.links.push(link);
                    if attach.source.is_some() {
                        let receives = attach.role == Role::Sender;
                        self.connection.accept_attach(link, Accept::as_asked(*attach)).expect("accepted");
                        if receives {
                            self.connection
                                .set_credit_policy(link, CreditPolicy::Window(6))
                                .expect("a policy");
                        }
                    }
                }
                Event::SessionBegun { session, .. } => self.sessions.push(session),
                Event::Delivery(delivery) => assert!(delivery.payload.len() <= 3000),
                Event::Closed(_) => self.closed = true,
                _ => {}
            }
        }
        for &link in &self.links {
            if let Some(unsettled) = self.connection.unsettled(link) {
                assert!(unsettled <= 8);
            }
        }
        assert!(self.connection.output().len() <= 10_000 + 256 * 1024 + 4096 + 5000);
    }

    fn act(&mut self, what: u8, link: usize, number: u32) {
        let connection = &mut self.connection;
        if let Some(&link) = self.links.get(link) {
            let credit = connection.credit(link);
            match what {
                0 => drop(connection.settle(link, 0, number, &DeliveryState::Accepted)),
                1 => drop(connection.grant_credit(link, number)),
                2 => {
                    let can = connection.can_send(link);
                    let sent = connection.send(link, &Outgoing::default(), &[Part::Copy(&[0; 100])]);
                    assert_eq!(can, sent.is_ok());
                    assert!(!can || credit > Some(0));
                }
                3 => drop(
                    connection.send_with(link, &Outgoing::default(), |out| out.extend_from_slice(&[0; 9000])),
                ),
                4 => drop(connection.detach(link, number.is_multiple_of(2), None)),
                5 => drop(connection.drain(link)),
                6 => drop(connection.drained(link)),
                _ => drop(connection.reject_attach(link, &AmqpError::new(condition::NOT_FOUND, "no"))),
            }
        } else if what == 0 {
            if let Some(&session) = self.sessions.get(number as usize) {
                let _ = connection.end(session, None);
            }
        } else if what == 1
            && let Ok(session) = connection.begin()
        {
            let _ = connection.attach(session, attach(0, Role::Sender));
        }
    }
}

/// What a well-behaved peer would know of its sessions and links, to put frames right.
#[derive(Default)]
struct Manners {
    begun: [bool; 3],
    attached: [[bool; 5]; 3],
    next_id: u32,
}

impl Manners {
    /// The frame, put right; none when it makes no sense now.
    fn tamed(&mut self, channel: u16, performative: &Performative) -> Option<Performative> {
        let at = usize::from(channel);
        if self.begun[at] == matches!(performative, Performative::Begin(_)) {
            return None;
        }
        let links = &mut self.attached[at];
        let known = |links: &[bool; 5], handle: u32| links.get(handle as usize).copied().unwrap_or(false);
        let mut tamed = performative.clone();
        match &mut tamed {
            Performative::Begin(begin) => {
                begin.remote_channel = None;
                self.begun[at] = true;
            }
            Performative::End(_) => {
                self.begun[at] = false;
                *links = [false; 5];
            }
            Performative::Attach(attach) => {
                attach.handle %= 4;
                if known(links, attach.handle) {
                    return None;
                }
                links[attach.handle as usize] = true;
            }
            Performative::Detach(detach) => {
                if !known(links, detach.handle) {
                    return None;
                }
                links[detach.handle as usize] = false;
            }
            Performative::Flow(flow) => flow.handle = flow.handle.filter(|&handle| known(links, handle)),
            Performative::Transfer(transfer) => {
                if !known(links, transfer.handle) {
                    return None;
                }
                self.next_id += 1;
                transfer.delivery_id = Some(self.next_id);
            }
            Performative::Disposition(disposition) => {
                disposition.last = disposition.last.map(|last| disposition.first.saturating_add(last % 9));
            }
            _ => {}
        }
        Some(tamed)
    }
}

fn play(moves: &[Move]) {
    let mut connection = Connection::server(options(), Door::default(), START);
    connection.feed(&ProtocolHeader::AMQP.to_bytes());
    let mut hello = BytesMut::new();
    write_frame(&mut hello, 0, &Open { max_frame_size: 600, ..Open::default() });
    write_frame(&mut hello, 0, &Begin { incoming_window: 30, ..Begin::default() });
    connection.feed(&hello);
    let mut caller = Caller { connection, links: Vec::new(), sessions: Vec::new(), closed: false };
    caller.listen();
    assert!(!caller.closed);
    let mut manners = Manners { begun: [true, false, false], ..Manners::default() };
    for one in moves {
        match one {
            Move::Say { tame, channel, performative, payload } => {
                let tamed =
                    if *tame { manners.tamed(*channel, performative) } else { Some(performative.clone()) };
                let Some(performative) = tamed else { continue };
                let mut bytes = BytesMut::new();
                match &performative {
                    Performative::Transfer(transfer) => {
                        write_transfer(&mut bytes, *channel, transfer, payload, u32::MAX);
                    }
                    other => write_frame(&mut bytes, *channel, other),
                }
                caller.connection.feed(&bytes);
            }
            Move::Raw(bytes) => caller.connection.feed(bytes),
            Move::Act(what, link, number) => caller.act(*what, *link, *number),
            Move::Read => {
                let output = caller.connection.output();
                let all = output.copy_to_bytes(output.len());
                for frame in whole_frames(&all) {
                    assert!(frame <= 600, "a frame of {frame} bytes for a peer that takes 600");
                }
            }
        }
        caller.listen();
    }
    // Still usable, or closed; in any case it can be ended.
    assert_eq!(caller.closed, !caller.connection.is_open());
    caller.connection.close(None);
    caller.listen();
    caller.connection.transport_closed();
    caller.listen();
    assert!(caller.closed && caller.connection.is_finished());
}

/// The sizes of the frames behind the protocol header, if that is still in front.
fn whole_frames(mut bytes: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut is_first = bytes.starts_with(b"AMQP");
    if is_first {
        bytes = &bytes[8..];
    }
    while let Some(size) = bytes.first_chunk::<4>() {
        let size = u32::from_be_bytes(*size) as usize;
        bytes = &bytes[size..];
        // The open is written before the peer's limit is known.
        if !std::mem::take(&mut is_first) {
            sizes.push(size);
        }
    }
    sizes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Frames in any order with any fields, and any commands between them: no panic, limits kept, the end told once.
    #[test]
    fn any_frames_and_any_commands_in_any_order(moves in proptest::collection::vec(one_move(), 1..120)) {
        play(&moves);
    }

    /// A good conversation with some bytes changed.
    #[test]
    fn changed_bytes(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = BytesMut::new();
        write_frame(&mut bytes, 0, &attach(0, Role::Sender));
        write_frame(&mut bytes, 0, &attach(1, Role::Receiver));
        write_frame(&mut bytes, 0, &Flow { handle: Some(1), link_credit: Some(3), ..Flow::default() });
        for id in 0..5 {
            write_transfer(&mut bytes, 0, &first(0, id), &[7; 20], 4096);
        }
        write_transfer(&mut bytes, 0, &Transfer { more: true, ..first(0, 5) }, &[7; 20], 4096);
        write_frame(&mut bytes, 0, &Disposition { role: Role::Receiver, ..Disposition::default() });
        write_frame(&mut bytes, 0, &Detach::default());
        write_frame(&mut bytes, 0, &End::default());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        play(&[Move::Raw(bytes.to_vec()), Move::Read]);
    }

    /// Anything instead of a greeting.
    #[test]
    fn any_greeting(bytes in proptest::collection::vec(any::<u8>(), 0..60), sasl in any::<bool>()) {
        let mut connection = Connection::server(options(), Door::default(), START);
        if sasl {
            connection.feed(&ProtocolHeader::SASL.to_bytes());
        }
        connection.feed(&bytes);
        let events: Vec<Event> = std::iter::from_fn(|| connection.next_event()).collect();
        prop_assert!(events.len() <= 1);
        prop_assert!(connection.output().len() < 200);
    }
}
