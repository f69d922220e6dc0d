//! Frames as the official Event Hubs clients send them.

use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::frame::ProtocolHeader;
use tidegate_amqp::codec::names::{MESSAGE_FORMAT_BATCH, condition};
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::codec::sasl::{SaslCode, SaslFrame};
use tidegate_amqp::codec::value::{Map, Value};
use tidegate_amqp::connection::*;

use crate::connection_support::{START, Script, frames, sasl_frame};

fn server() -> Options {
    Options::new("tidegate")
}

fn python_open() -> Open {
    Open {
        container_id: "EHProducer-1b2c".into(),
        hostname: Some("127.0.0.1".into()),
        max_frame_size: 1048576,
        channel_max: 65535,
        properties: Map::new().with("product", "azsdk-python-eventhubs"),
        ..Open::default()
    }
}

fn python_begin() -> Begin {
    Begin { next_outgoing_id: 0, incoming_window: 65536, outgoing_window: 65536, ..Begin::default() }
}

fn rust_open() -> Open {
    Open { container_id: "rust".into(), max_frame_size: 65536, channel_max: 255, ..Open::default() }
}

fn rust_begin() -> Begin {
    Begin { next_outgoing_id: 0, incoming_window: 2048, outgoing_window: 2048, ..Begin::default() }
}

fn js_begin() -> Begin {
    Begin { next_outgoing_id: 0, incoming_window: 2048, outgoing_window: u32::MAX, ..Begin::default() }
}

fn sender(name: &str, handle: u32, address: &str) -> Attach {
    Attach {
        name: name.into(),
        handle,
        role: Role::Sender,
        source: Some(Source::at("sender-link")),
        target: Some(Target::at(address)),
        initial_delivery_count: Some(0),
        ..Attach::default()
    }
}

fn receiver(name: &str, handle: u32, address: &str) -> Attach {
    Attach {
        name: name.into(),
        handle,
        role: Role::Receiver,
        source: Some(Source::at(address)),
        target: Some(Target::at("client")),
        ..Attach::default()
    }
}

/// A first frame of a delivery.
fn first(handle: u32, id: u32, format: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(id),
        delivery_tag: Some(DeliveryTag::from_number(id)),
        message_format: Some(format),
        settled: Some(false),
        ..Transfer::default()
    }
}

/// A link on which the server receives, with credit.
fn receiving(script: &mut Script, channel: u16, attach: &Attach, credit: u32) -> LinkId {
    script.say(channel, attach);
    let (link, asked) = script.asked();
    script.server.accept_attach(link, Accept::as_asked(asked)).expect("accepted");
    script.server.grant_credit(link, credit).expect("granted");
    script.heard();
    link
}

/// A link on which the server sends, with this credit.
fn sending(script: &mut Script, channel: u16, attach: &Attach, flow: &Flow) -> LinkId {
    script.say(channel, attach);
    let (link, asked) = script.asked();
    script.server.accept_attach(link, Accept::as_asked(asked)).expect("accepted");
    script.say(channel, flow);
    assert!(matches!(script.events()[..], [Event::Credit { .. }]));
    script.heard();
    link
}

#[test]
fn all_clients_pass_sasl_their_own_way() {
    // Python: an empty response. JS: a NUL and the key's name. Rust: null.
    for response in [Some(&b""[..]), Some(b"\0RootManageSharedAccessKey"), None] {
        let mut script = Script::new(server());
        script.header(ProtocolHeader::SASL);
        assert_eq!(script.events(), []);
        let mut bytes = script.written();
        assert_eq!(ProtocolHeader::take(&mut bytes), Ok(Some(ProtocolHeader::SASL)));
        let SaslFrame::Mechanisms(offer) = sasl_frame(&mut bytes) else { panic!("no mechanisms") };
        let offer: Vec<&str> = offer.iter().map(|mechanism| mechanism.as_str()).collect();
        assert_eq!(offer, ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]);
        script.say_sasl("ANONYMOUS", response);
        let events = script.events();
        let [Event::Authenticate(credentials)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(credentials.mechanism, Mechanism::Anonymous);
        assert_eq!(credentials.hostname.as_deref(), Some("127.0.0.1"));
        // The client may go on before it hears: nothing is looked at until the caller has decided.
        script.header(ProtocolHeader::AMQP);
        script.say(0, &python_open());
        assert_eq!(script.events(), []);
        assert!(!script.server.wants_read());
        script.server.authenticated(true);
        assert!(matches!(script.events()[..], [Event::Opened(_)]));
        let mut bytes = script.written();
        assert!(matches!(sasl_frame(&mut bytes), SaslFrame::Outcome { code: SaslCode::Ok, .. }));
        assert_eq!(ProtocolHeader::take(&mut bytes), Ok(Some(ProtocolHeader::AMQP)));
        let heard = frames(bytes);
        let [(0, Performative::Open(open), _)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(
            (open.max_frame_size, open.channel_max, open.idle_timeout),
            (1048576, 4999, Some(240_000))
        );
    }
}

#[test]
fn plain_credentials_are_told_and_refusing_them_ends_it() {
    let mut script = Script::new(server());
    script.header(ProtocolHeader::SASL);
    script.say_sasl("PLAIN", Some(b"\0RootManageSharedAccessKey\0secret"));
    let events = script.events();
    let [Event::Authenticate(credentials)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(credentials.user.as_deref(), Some("RootManageSharedAccessKey"));
    assert_eq!(credentials.password.as_deref(), Some("secret"));
    script.written();
    script.server.authenticated(false);
    assert!(matches!(script.events()[..], [Event::Closed(Ending::NotAuthenticated(_))]));
    assert!(matches!(sasl_frame(&mut script.written()), SaslFrame::Outcome { code: SaslCode::Auth, .. }));
    assert!(script.server.is_finished());
    for (mechanism, response) in [("PLAIN", Some(&b"no parts"[..])), ("SCRAM-SHA-256", None)] {
        let mut script = Script::new(server());
        script.header(ProtocolHeader::SASL);
        script.say_sasl(mechanism, response);
        assert!(matches!(script.events()[..], [Event::Closed(Ending::NotAuthenticated(_))]));
    }
}

#[test]
fn sasl_may_be_skipped_if_the_door_says_so() {
    let mut script = Script::opened(server(), python_open());
    assert!(script.server.is_open());
    script.server.close(None);
    let mut closed = Connection::server(server(), Door { may_skip_sasl: false, ..Door::default() }, START);
    closed.feed(&ProtocolHeader::AMQP.to_bytes());
    assert_eq!(closed.next_event(), Some(Event::Closed(Ending::OtherProtocol(*b"AMQP\0\x01\0\0"))));
    let output = closed.output();
    assert_eq!(bytes::Buf::chunk(output), ProtocolHeader::SASL.to_bytes());
}

#[test]
fn python_begins_on_channel_1_and_sends_everything_at_once() {
    let mut script = Script::opened(server(), python_open());
    script.say(1, &python_begin());
    let mut attach = sender("a uuid", 0, "amqps://127.0.0.1:5672/telemetry");
    attach.snd_settle_mode = SenderSettleMode::Unsettled;
    attach.rcv_settle_mode = ReceiverSettleMode::Second;
    attach.max_message_size = Some(0);
    script.say(1, &attach);
    let events = script.events();
    let [Event::SessionBegun { by_peer: true, .. }, Event::AttachRequested { link, attach: asked, .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    let accept = Accept { max_message_size: Some(1048576), ..Accept::as_asked((**asked).clone()) };
    script.server.accept_attach(*link, accept).expect("accepted");
    script.server.set_credit_policy(*link, CreditPolicy::Window(1000)).expect("a policy");
    let heard = script.heard();
    let [
        (1, Performative::Begin(begin), _),
        (1, Performative::Attach(reply), _),
        (1, Performative::Flow(flow), _),
    ] = &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((begin.remote_channel, begin.next_outgoing_id, begin.incoming_window), (Some(1), 1, 5000));
    assert_eq!(begin.handle_max, 255);
    assert_eq!((&*reply.name, reply.handle, reply.role), ("a uuid", 0, Role::Receiver));
    assert_eq!((reply.max_message_size, reply.initial_delivery_count), (Some(1048576), Some(0)));
    assert_eq!((&reply.source, &reply.target), (&attach.source, &attach.target));
    assert_eq!((flow.handle, flow.delivery_count, flow.link_credit), (Some(0), Some(0), Some(1000)));
    assert_eq!((flow.next_incoming_id, flow.incoming_window), (Some(0), 5000));

    script.transfer(1, &first(0, 0, MESSAGE_FORMAT_BATCH), b"a batch");
    let events = script.events();
    let [Event::Delivery(delivery)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((delivery.delivery_id, delivery.message_format), (0, MESSAGE_FORMAT_BATCH));
    assert_eq!((&delivery.payload[..], delivery.settled), (&b"a batch"[..], false));
    script.server.settle(*link, 0, 0, &DeliveryState::Accepted).expect("settled");
    let heard = script.heard();
    let expected = Disposition {
        role: Role::Receiver,
        first: 0,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    };
    assert_eq!(heard, [(1, Performative::Disposition(expected), Bytes::new())]);
}

#[test]
fn python_asks_for_events_before_it_has_seen_the_begin() {
    let mut script = Script::begun(server(), python_open(), python_begin());
    // The flow comes behind the attach, with nothing known of this end.
    script.say(0, &receiver("r", 0, "telemetry/ConsumerGroups/$Default/Partitions/0"));
    script.say(
        0,
        &Flow {
            next_incoming_id: None,
            incoming_window: 65536,
            next_outgoing_id: 0,
            outgoing_window: 65536,
            handle: Some(0),
            delivery_count: None,
            link_credit: Some(300),
            ..Flow::default()
        },
    );
    let (link, asked) = script.asked();
    assert!(!script.server.can_send(link));
    script.server.accept_attach(link, Accept::as_asked(asked)).expect("accepted");
    assert_eq!(script.events(), [Event::Credit { link, credit: 300, drain: false }]);
    for _ in 0..300 {
        // Python asks for unsettled deliveries and never settles one.
        script
            .server
            .send(link, &Outgoing::default(), &[Part::Copy(b"head"), Part::Copy(b"body")])
            .expect("sent");
    }
    assert!(!script.server.can_send(link));
    let heard = script.heard();
    let [(0, Performative::Attach(reply), _), transfers @ ..] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((reply.role, reply.initial_delivery_count), (Role::Sender, Some(0)));
    assert_eq!(transfers.len(), 300);
    for (number, (channel, performative, payload)) in transfers.iter().enumerate() {
        let Performative::Transfer(transfer) = performative else { panic!("{performative:?}") };
        assert_eq!((*channel, &payload[..]), (0, &b"headbody"[..]));
        assert_eq!((transfer.delivery_id, transfer.message_format), (Some(number as u32), Some(0)));
        assert_eq!((transfer.settled, transfer.more), (Some(false), false));
        assert!(transfer.delivery_tag.is_some());
    }
    // Renewed as consumed: the count tells what was seen.
    script.say(
        0,
        &Flow {
            next_incoming_id: Some(301),
            incoming_window: 65536,
            handle: Some(0),
            delivery_count: Some(250),
            link_credit: Some(300),
            ..Flow::default()
        },
    );
    assert_eq!(script.events(), [Event::Credit { link, credit: 250, drain: false }]);
}

#[test]
fn the_window_of_javascript_is_kept() {
    let mut script =
        Script::begun(server(), Open { idle_timeout: Some(60_000), ..python_open() }, js_begin());
    let flow = Flow { incoming_window: 2048, handle: Some(0), link_credit: Some(5000), ..Flow::default() };
    let link =
        sending(&mut script, 0, &receiver("r", 0, "telemetry/ConsumerGroups/$Default/Partitions/0"), &flow);
    let settled = Outgoing { settled: true, ..Outgoing::default() };
    let mut sent = 0;
    while script.server.can_send(link) {
        script.server.send_with(link, &settled, |out| out.extend_from_slice(b"event")).expect("sent");
        sent += 1;
    }
    assert_eq!(sent, 2048);
    assert_eq!(script.server.send(link, &settled, &[]), Err(SendError::NoWindow));
    script.heard();
    script.say(0, &Flow { next_incoming_id: Some(1 + 2000), incoming_window: 2048, ..Flow::default() });
    assert!(matches!(script.events()[..], [Event::WindowOpened { .. }]));
    while script.server.can_send(link) {
        script.server.send(link, &settled, &[Part::Copy(b"event")]).expect("sent");
        sent += 1;
    }
    assert_eq!(sent, 4048);
}

#[test]
fn events_for_rust_are_split_at_its_frame_size() {
    let mut script = Script::begun(server(), rust_open(), rust_begin());
    let flow = Flow { incoming_window: 2048, handle: Some(0), link_credit: Some(300), ..Flow::default() };
    let link =
        sending(&mut script, 0, &receiver("r", 0, "telemetry/ConsumerGroups/$Default/Partitions/0"), &flow);
    let event = Bytes::from((0..900_000).map(|at: u32| at as u8).collect::<Vec<_>>());
    let settled = Outgoing { settled: true, ..Outgoing::default() };
    let id = script.server.send(link, &settled, &[Part::Copy(b"head"), Part::Share(&event)]).expect("sent");
    let mut whole = BytesMut::new();
    let mut ends = Vec::new();
    while script.server.wants_write() {
        let bytes = script.written();
        for (at, performative, payload) in frames(bytes) {
            let Performative::Transfer(transfer) = performative else { panic!("{performative:?}") };
            assert_eq!((at, transfer.handle), (0, 0));
            assert!(payload.len() <= 65536 - 8);
            assert_eq!(transfer.delivery_id, whole.is_empty().then_some(id));
            whole.extend_from_slice(&payload);
            ends.push(!transfer.more);
        }
    }
    assert_eq!(&whole[..4], b"head");
    assert!(whole[4..] == event[..]);
    assert_eq!(ends.iter().filter(|&&end| end).count(), 1);
    assert_eq!(ends.last(), Some(&true));
}

#[test]
fn rust_leaves_gaps_in_delivery_ids_and_drops_what_the_first_frame_said() {
    let mut script = Script::begun(server(), rust_open(), rust_begin());
    let attach = sender("DefaultApplicationName-rust-sender", 0, "amqps://127.0.0.1/telemetry");
    let link = receiving(&mut script, 0, &attach, 100);
    script.transfer(0, &Transfer { more: true, ..first(0, 0, MESSAGE_FORMAT_BATCH) }, b"one ");
    script.transfer(0, &Transfer { handle: 0, more: true, ..Transfer::default() }, b"two ");
    script.transfer(0, &Transfer { handle: 0, ..Transfer::default() }, b"three");
    // Three frames were three ids to it.
    script.transfer(0, &first(0, 3, 0), b"next");
    let events = script.events();
    let [Event::Delivery(long), Event::Delivery(short)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&long.payload[..], long.delivery_id), (&b"one two three"[..], 0));
    assert_eq!((long.message_format, long.tag), (MESSAGE_FORMAT_BATCH, DeliveryTag::from_number(0)));
    assert_eq!((&short.payload[..], short.delivery_id), (&b"next"[..], 3));
    assert_eq!(script.server.settle(link, 0, 3, &DeliveryState::Accepted), Ok(2));
    let ranges: Vec<_> = script.heard().into_iter().map(|(_, performative, _)| performative).collect();
    let [Performative::Disposition(one), Performative::Disposition(other)] = &ranges[..] else {
        panic!("{ranges:?}")
    };
    assert_eq!(((one.first, one.last), (other.first, other.last)), ((0, None), (3, None)));
}

#[test]
fn rust_puts_its_token_with_the_same_names_in_session_after_session() {
    let mut script = Script::opened(server(), rust_open());
    for round in 0..600 {
        let channel = (round % 3) as u16;
        script.say(channel, &rust_begin());
        script.say(channel, &sender("rust_amqp_cbs-mgmt-sender", 0, "$cbs"));
        script.say(channel, &receiver("rust_amqp_cbs-mgmt-receiver", 1, "$cbs"));
        let mut links = Vec::new();
        for event in script.events() {
            if let Event::AttachRequested { link, attach, .. } = event {
                script.server.accept_attach(link, Accept::as_asked(*attach)).expect("accepted");
                links.push(link);
            }
        }
        let [from, to] = links[..] else { panic!("{links:?}") };
        script.server.grant_credit(from, 100).expect("granted");
        script.say(
            channel,
            &Flow { incoming_window: 2048, handle: Some(1), link_credit: Some(1), ..Flow::default() },
        );
        script.transfer(channel, &first(0, 0, 0), b"put-token");
        let events = script.events();
        assert!(matches!(events[..], [Event::Credit { credit: 1, .. }, Event::Delivery(_)]), "{events:?}");
        script.server.settle(from, 0, 0, &DeliveryState::Accepted).expect("settled");
        let settled = Outgoing { settled: true, ..Outgoing::default() };
        script.server.send(to, &settled, &[Part::Copy(b"202")]).expect("sent");
        script.say(channel, &Detach { handle: 0, closed: true, error: None });
        script.say(channel, &Detach { handle: 1, closed: true, error: None });
        script.say(channel, &End::default());
        let events = script.events();
        let [Event::Detached { .. }, Event::Detached { .. }, Event::SessionEnded { by, .. }] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(*by, Party::Peer);
        assert_eq!(
            script.server.settle(from, 0, 0, &DeliveryState::Accepted),
            Err(CommandError::NoLink(from))
        );
        let heard = script.heard();
        assert!(
            matches!(heard.last(), Some((answered, Performative::End(_), _)) if *answered == channel),
            "{heard:?}"
        );
    }
}

#[test]
fn a_link_is_refused_with_null_terminus_and_detach() {
    let mut script = Script::begun(server(), python_open(), python_begin());
    script.say(0, &receiver("r", 7, "nothing here"));
    let (link, _) = script.asked();
    let error = AmqpError::new(condition::NOT_FOUND, "no such hub");
    script.server.reject_attach(link, &error).expect("refused");
    let heard = script.heard();
    let [(0, Performative::Attach(attach), _), (0, Performative::Detach(detach), _)] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((&*attach.name, attach.handle, attach.role), ("r", 7, Role::Sender));
    assert_eq!((&attach.source, &attach.target), (&None, &None));
    assert_eq!(*detach, Detach { handle: 7, closed: true, error: Some(error) });
    script.say(0, &Detach { handle: 7, closed: true, error: None });
    script.say(0, &receiver("r", 7, "again"));
    script.asked();
}

#[test]
fn a_thief_on_the_same_session_ends_the_older_link() {
    let mut script = Script::begun(server(), rust_open(), rust_begin());
    let older = receiving(&mut script, 0, &sender("x", 0, "hub"), 10);
    // The other direction is another link.
    script.say(0, &receiver("x", 1, "hub"));
    script.asked();
    script.say(0, &sender("x", 2, "hub"));
    let events = script.events();
    let [
        Event::Detached { link, by: Party::Protocol, error: Some(error), .. },
        Event::AttachRequested { .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*link, &error.condition), (older, &condition::LINK_STOLEN));
    // Another session is another matter: Rust names all its senders alike.
    script.say(1, &rust_begin());
    script.say(1, &sender("x", 0, "hub"));
    assert!(matches!(script.events()[..], [Event::SessionBegun { .. }, Event::AttachRequested { .. }]));
}

#[test]
fn messages_above_the_limit_are_told_and_thrown_away() {
    let mut options = server();
    options.limits.message_bytes = 100;
    let mut script = Script::begun(options, python_open(), python_begin());
    let link = receiving(&mut script, 0, &sender("s", 0, "hub"), 10);
    script.transfer(0, &first(0, 0, 0), &[1; 101]);
    script.transfer(0, &Transfer { more: true, ..first(0, 1, 0) }, &[1; 60]);
    script.transfer(0, &Transfer { more: true, ..Transfer::default() }, &[1; 60]);
    script.transfer(0, &Transfer { ..Transfer::default() }, &[1; 60]);
    script.transfer(0, &first(0, 2, 0), &[1; 100]);
    let events = script.events();
    let [
        Event::TooLarge { delivery_id: 0, .. },
        Event::TooLarge { delivery_id: 1, .. },
        Event::Delivery(fits),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(fits.payload.len(), 100);
    assert_eq!(script.server.unsettled(link), Some(3));
    let error = AmqpError::new(condition::MESSAGE_SIZE_EXCEEDED, "at most 100 bytes");
    assert_eq!(script.server.settle(link, 0, 1, &DeliveryState::Rejected { error: Some(error) }), Ok(2));
    assert_eq!(script.server.unsettled(link), Some(1));
}

#[test]
fn an_aborted_delivery_leaves_nothing() {
    let mut script = Script::begun(server(), python_open(), python_begin());
    let link = receiving(&mut script, 0, &sender("s", 0, "hub"), 3);
    script.transfer(0, &Transfer { more: true, ..first(0, 0, 0) }, b"never");
    script.transfer(0, &Transfer { aborted: true, ..Transfer::default() }, b"mind");
    script.transfer(0, &Transfer { aborted: true, ..first(0, 1, 0) }, b"");
    script.transfer(0, &first(0, 2, 0), b"this");
    let events = script.events();
    let [Event::Delivery(delivery)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&delivery.payload[..], b"this");
    assert_eq!(script.server.unsettled(link), Some(1));
    assert_eq!(script.server.credit(link), Some(0));
}

#[test]
fn flows_are_echoed() {
    let mut script = Script::begun(server(), python_open(), python_begin());
    receiving(&mut script, 0, &sender("s", 0, "hub"), 3);
    script.say(0, &Flow { echo: true, incoming_window: 10, ..Flow::default() });
    script.say(0, &Flow { echo: true, incoming_window: 10, handle: Some(0), ..Flow::default() });
    assert_eq!(script.events(), []);
    let heard = script.heard();
    let [(0, Performative::Flow(session), _), (0, Performative::Flow(link), _)] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!((session.handle, session.incoming_window, session.echo), (None, 5000, false));
    assert_eq!((link.handle, link.link_credit), (Some(0), Some(3)));
}

#[test]
fn the_incoming_window_is_renewed_at_half() {
    let mut options = server();
    options.incoming_window = 10;
    let mut script = Script::begun(options, python_open(), python_begin());
    receiving(&mut script, 0, &sender("s", 0, "hub"), 100);
    for id in 0..5 {
        assert_eq!(script.heard().len(), 0, "before transfer {id}");
        script.transfer(0, &first(0, id, 0), b"event");
        script.events();
    }
    let heard = script.heard();
    let [(0, Performative::Flow(flow), _)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((flow.handle, flow.next_incoming_id, flow.incoming_window), (None, Some(5), 10));
}

#[test]
fn a_receiver_that_settles_second_is_answered() {
    let mut script = Script::begun(server(), python_open(), python_begin());
    let flow = Flow { incoming_window: 2048, handle: Some(0), link_credit: Some(5), ..Flow::default() };
    let link = sending(&mut script, 0, &receiver("r", 0, "hub"), &flow);
    for _ in 0..3 {
        script.server.send(link, &Outgoing::default(), &[Part::Copy(b"x")]).expect("sent");
    }
    script.heard();
    let state = Some(DeliveryState::Accepted);
    // It settles more than was sent; what was not sent is left out.
    let told = Disposition {
        role: Role::Receiver,
        first: 1,
        last: Some(9),
        settled: false,
        state,
        batchable: false,
    };
    script.say(0, &told);
    assert!(matches!(script.events()[..], [Event::Settled { first: 1, last: 2, settled: false, .. }]));
    let heard = script.heard();
    let [(0, Performative::Disposition(answer), _)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((answer.role, answer.first, answer.last, answer.settled), (Role::Sender, 1, Some(2), true));
    script.say(0, &Disposition { first: 3, last: Some(9), ..told });
    assert_eq!(script.events(), []);
}

#[test]
fn properties_of_the_peer_are_told() {
    let mut script = Script::new(server());
    script.header(ProtocolHeader::AMQP);
    script.say(0, &python_open());
    let events = script.events();
    let [Event::Opened(open)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(open.properties.get("product").and_then(Value::as_str), Some("azsdk-python-eventhubs"));
}

#[test]
fn short_lists_are_understood() {
    // As JS sends them: what follows the last field that is set is left out.
    let open = b"\x00\x00\x00\x13\x02\x00\x00\x00\x00\x53\x10\xc0\x06\x01\xa1\x03abc";
    let begin = b"\x00\x00\x00\x14\x02\x00\x00\x00\x00\x53\x11\xc0\x07\x04\x40\x43\x52\xff\x52\xff";
    let mut script = Script::new(server());
    script.header(ProtocolHeader::AMQP);
    script.server.feed(open);
    script.server.feed(begin);
    assert!(matches!(script.events()[..], [Event::Opened(_), Event::SessionBegun { .. }]));
}

#[test]
fn frames_behind_the_end_of_a_session_are_ignored() {
    // As Python ends the session of `$management`: its end, the detaches of its links, the close.
    let mut script = Script::opened(server(), python_open());
    script.say(1, &python_begin());
    assert_eq!(script.events().len(), 1);
    receiving(&mut script, 1, &sender("to", 0, "$management"), 1);
    script.say(1, &End::default());
    script.say(1, &Detach { handle: 0, closed: true, error: None });
    script.say(1, &Flow { handle: Some(1), ..Flow::default() });
    script.transfer(1, &first(0, 0, 0), b"late");
    script.say(1, &End::default());
    assert!(matches!(script.events()[..], [Event::SessionEnded { by: Party::Peer, .. }]));
    assert!(matches!(script.heard()[..], [(1, Performative::End(_), _)]));
    // The channel can be used again, and one that never was used cannot.
    script.say(1, &python_begin());
    receiving_after_begin(&mut script);
    script.say(2, &Detach { handle: 0, closed: true, error: None });
    let events = script.events();
    let [Event::Closed(Ending::Violation(error))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.condition, condition::NOT_ALLOWED);
}

fn receiving_after_begin(script: &mut Script) {
    assert!(matches!(script.events()[..], [Event::SessionBegun { by_peer: true, .. }]));
    receiving(script, 1, &sender("again", 0, "hub"), 1);
}

/// A session in which answers to detaches are held back, with a link on handle 0 that has one delivery.
fn holding(options: Options) -> (Script, LinkId) {
    let mut script = Script::begun(options, rust_open(), rust_begin());
    script.server.hold_detach_answers();
    let link = receiving(&mut script, 0, &sender("to", 0, "hub"), 10);
    script.transfer(0, &first(0, 0, 0), b"event");
    assert!(matches!(script.events()[..], [Event::Delivery(_)]));
    script.say(0, &Detach { handle: 0, closed: true, error: None });
    let events = script.events();
    let [Event::Detached { link: gone, by: Party::Peer, closed: true, error: None }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*gone, link);
    assert_eq!(script.heard(), []);
    (script, link)
}

#[test]
fn an_answer_to_a_detach_can_be_held_back() {
    let (mut script, link) = holding(server());
    // The peer may use its handle and the name again, and is not taken for somebody else.
    script.say(0, &sender("to", 0, "hub"));
    let (again, asked) = script.asked();
    assert_ne!(again, link);
    assert_eq!(script.server.settle(link, 0, 0, &DeliveryState::Accepted), Ok(1));
    assert_eq!(script.server.detach(link, true, None), Err(CommandError::NoLink(link)));
    script.server.answer_detach(link).expect("it was held back");
    assert_eq!(script.server.answer_detach(link), Err(CommandError::NoLink(link)));
    script.server.accept_attach(again, Accept::as_asked(asked)).expect("accepted");
    let heard = script.heard();
    let [
        (0, Performative::Disposition(_), _),
        (0, Performative::Detach(detach), _),
        (0, Performative::Attach(attach), _),
    ] = &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!(*detach, Detach { handle: 0, closed: true, error: None });
    assert_ne!(attach.handle, 0, "the handle of this end was still in use");
    // The link that came after is on the peer's handle 0 now.
    script.server.grant_credit(again, 1).expect("granted");
    script.heard();
    script.transfer(0, &first(0, 1, 0), b"event");
    assert!(matches!(script.events()[..], [Event::Delivery(Delivery { link, .. })] if link == again));
}

#[test]
fn the_end_of_a_session_answers_for_the_detaches_that_were_held_back() {
    let (mut script, link) = holding(server());
    script.say(0, &End::default());
    assert!(matches!(script.events()[..], [Event::SessionEnded { by: Party::Peer, .. }]));
    assert_eq!(script.server.answer_detach(link), Err(CommandError::NoLink(link)));
    assert_eq!(script.server.settle(link, 0, 0, &DeliveryState::Accepted), Err(CommandError::NoLink(link)));
    assert!(matches!(script.heard()[..], [(0, Performative::End(_), _)]));
}

#[test]
fn links_that_wait_for_an_answer_are_in_nobodys_way() {
    let mut options = server();
    options.limits.links_per_session = 1;
    let (mut script, _) = holding(options);
    script.say(0, &sender("another", 0, "hub"));
    script.asked();
    assert!(matches!(script.heard()[..], [(0, Performative::Detach(_), _)]));
}

#[test]
fn half_a_delivery_is_given_up_with_its_link() {
    let mut options = server();
    options.limits.partial_bytes = 100;
    let mut script = Script::begun(options, rust_open(), rust_begin());
    script.server.hold_detach_answers();
    for round in 0..3 {
        let link = receiving(&mut script, 0, &sender("to", 0, "hub"), 10);
        script.transfer(0, &Transfer { more: true, ..first(0, round, 0) }, &[1; 90]);
        script.say(0, &Detach { handle: 0, closed: true, error: None });
        assert!(matches!(script.events()[..], [Event::Detached { by: Party::Peer, .. }]));
        script.server.answer_detach(link).expect("it was held back");
    }
}

#[test]
fn a_state_can_be_told_before_the_settlement() {
    let mut script = Script::begun(server(), rust_open(), rust_begin());
    let link = receiving(&mut script, 0, &sender("to", 0, "hub"), 10);
    script.transfer(0, &first(0, 0, 0), b"event");
    script.events();
    script.server.tell_state(link, 0, &DeliveryState::Accepted).expect("told");
    script.server.tell_state(link, 7, &DeliveryState::Accepted).expect("of none, nothing is told");
    assert_eq!(script.server.unsettled(link), Some(1));
    assert_eq!(script.server.settle(link, 0, 0, &DeliveryState::Accepted), Ok(1));
    script.server.tell_state(link, 0, &DeliveryState::Accepted).expect("nor of one that is settled");
    let heard = script.heard();
    let [(0, Performative::Disposition(told), _), (0, Performative::Disposition(settled), _)] = &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((told.first, told.settled, &told.state), (0, false, &Some(DeliveryState::Accepted)));
    assert_eq!((settled.first, settled.settled, &settled.state), (0, true, &Some(DeliveryState::Accepted)));
}
