//! Two engines joined by pipes that carry any number of bytes at a time.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::connection::*;

use crate::connection_support::{START, carry, opened_pair};

/// An end that sends what it has and takes what comes.
struct Node {
    connection: Connection,
    /// What is to be sent, by the name of the link.
    outbox: HashMap<String, VecDeque<Vec<u8>>>,
    names: HashMap<LinkId, String>,
    received: HashMap<String, Vec<Bytes>>,
    /// Deliveries that have come and are not settled yet: link, first, last.
    to_settle: Vec<(LinkId, u32, u32)>,
    /// Ids of sent deliveries without an outcome, by session.
    waiting: HashMap<SessionId, Vec<u32>>,
    settle_every: usize,
    credit: u32,
    settled: bool,
}

impl Node {
    fn new(connection: Connection, settle_every: usize, credit: u32, settled: bool) -> Self {
        Self {
            connection,
            outbox: HashMap::new(),
            names: HashMap::new(),
            received: HashMap::new(),
            to_settle: Vec::new(),
            waiting: HashMap::new(),
            settle_every,
            credit,
            settled,
        }
    }

    fn flush_settlements(&mut self) -> bool {
        let any = !self.to_settle.is_empty();
        for (link, first, last) in self.to_settle.drain(..) {
            self.connection.settle(link, first, last, &DeliveryState::Accepted).expect("a link");
        }
        any
    }

    fn turn(&mut self, session_of: &dyn Fn(&str) -> SessionId) -> bool {
        let mut any = false;
        while let Some(event) = self.connection.next_event() {
            any = true;
            match event {
                Event::AttachRequested { link, attach, .. } => {
                    self.names.insert(link, attach.name.to_string());
                    let receives = attach.role == Role::Sender;
                    self.connection.accept_attach(link, Accept::as_asked(*attach)).expect("accepted");
                    if receives {
                        self.connection
                            .set_credit_policy(link, CreditPolicy::Window(self.credit))
                            .expect("a policy");
                    }
                }
                Event::Delivery(delivery) => {
                    self.received
                        .entry(self.names[&delivery.link].clone())
                        .or_default()
                        .push(delivery.payload);
                    if !delivery.settled {
                        match self.to_settle.iter_mut().find(|(link, ..)| *link == delivery.link) {
                            Some((_, _, last)) => *last = delivery.delivery_id,
                            None => self.to_settle.push((
                                delivery.link,
                                delivery.delivery_id,
                                delivery.delivery_id,
                            )),
                        }
                        if self.connection.unsettled(delivery.link).expect("a link") as usize
                            >= self.settle_every
                        {
                            self.flush_settlements();
                        }
                    }
                }
                Event::Settled { session, first, last, state, settled } => {
                    assert_eq!((state, settled), (Some(DeliveryState::Accepted), true));
                    let waiting = self.waiting.get_mut(&session).expect("a session that sent");
                    let before = waiting.len();
                    waiting.retain(|id| !(first..=last).contains(id));
                    assert_eq!(
                        before - waiting.len(),
                        (last - first + 1) as usize,
                        "settled once, nothing else"
                    );
                }
                Event::SessionBegun { .. }
                | Event::Attached { .. }
                | Event::Credit { .. }
                | Event::WindowOpened { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for (&link, name) in &self.names {
            let Some(outbox) = self.outbox.get_mut(name) else { continue };
            while let Some(message) = outbox.front().filter(|_| self.connection.can_send(link)) {
                let (start, end) = message.split_at(message.len() / 3);
                let end = Bytes::copy_from_slice(end);
                let outgoing = Outgoing { message_format: 7, settled: self.settled, tag: None };
                let id = if message.len() % 2 == 0 {
                    let parts = [Part::Copy(start), Part::Share(&end)];
                    self.connection.send(link, &outgoing, &parts)
                } else {
                    self.connection.send_with(link, &outgoing, |out| out.extend_from_slice(message))
                };
                let id = id.expect("sent");
                if !self.settled {
                    self.waiting.entry(session_of(name)).or_default().push(id);
                }
                outbox.pop_front();
                any = true;
            }
        }
        any
    }
}

fn message(link: usize, number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(31) ^ (link * 7 + number * 13)) as u8).collect()
}

#[derive(Debug, Clone)]
struct Plan {
    frame_sizes: (u32, u32),
    windows: (u32, u32),
    output: usize,
    credit: u32,
    settle_every: usize,
    settled: bool,
    /// For each link: whether the client sends, which of two sessions, the sizes of its messages.
    links: Vec<(bool, bool, Vec<usize>)>,
    steps: Vec<usize>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let frame_size = prop_oneof![Just(512u32), 512..2000u32, Just(65536u32)];
    let size = prop_oneof![6 => 0..600usize, 2 => 600..20_000usize, 1 => Just(120_000usize)];
    let link = (any::<bool>(), any::<bool>(), proptest::collection::vec(size, 0..12));
    (
        (frame_size.clone(), frame_size),
        (1..40u32, 1..40u32),
        prop_oneof![Just(1usize), Just(3000usize), Just(512 * 1024)],
        1..20u32,
        1..10usize,
        any::<bool>(),
        proptest::collection::vec(link, 1..5),
        proptest::collection::vec(prop_oneof![1..50usize, Just(100_000)], 1..6),
    )
        .prop_map(|(frame_sizes, windows, output, credit, settle_every, settled, links, steps)| Plan {
            frame_sizes,
            windows,
            output,
            credit,
            settle_every,
            settled,
            links,
            steps,
        })
}

fn run(plan: &Plan) {
    let options = |name: &'static str, frame_size, window| {
        let mut options = Options::new(name);
        options.max_frame_size = frame_size;
        options.incoming_window = window;
        options.limits.output_bytes = plan.output;
        options
    };
    let (mut client, server) = opened_pair(
        options("client", plan.frame_sizes.0, plan.windows.0),
        options("server", plan.frame_sizes.1, plan.windows.1),
    );
    let sessions = [client.begin().expect("a session"), client.begin().expect("a session")];
    let mut client = Node::new(client, plan.settle_every, plan.credit, plan.settled);
    let mut server = Node::new(server, plan.settle_every, plan.credit, plan.settled);
    let mut session_by_name = HashMap::new();
    for (number, (client_sends, second, sizes)) in plan.links.iter().enumerate() {
        let name = number.to_string();
        let role = if *client_sends { Role::Sender } else { Role::Receiver };
        let attach = Attach {
            name: name.as_str().into(),
            role,
            source: Some(Source::at("from")),
            target: Some(Target::at("to")),
            ..Attach::default()
        };
        let session = sessions[usize::from(*second)];
        let link = client.connection.attach(session, attach).expect("a link");
        if role == Role::Receiver {
            client.connection.set_credit_policy(link, CreditPolicy::Window(plan.credit)).expect("a policy");
        }
        client.names.insert(link, name.clone());
        session_by_name.insert(name.clone(), session);
        let messages = sizes.iter().enumerate().map(|(at, &size)| message(number, at, size)).collect();
        if *client_sends { &mut client } else { &mut server }.outbox.insert(name, messages);
    }
    let expected: Vec<VecDeque<Vec<u8>>> = (0..plan.links.len())
        .map(|number| {
            let (client_sends, ..) = plan.links[number];
            if client_sends { &client } else { &server }.outbox[&number.to_string()].clone()
        })
        .collect();

    // The server's ids of the sessions are in the order they were begun, as the client's are.
    let mut steps = plan.steps.iter().copied().cycle();
    let by_client = |name: &str| session_by_name[name];
    loop {
        let mut any = client.turn(&by_client);
        any |= server.turn(&by_client);
        any |= carry(&mut client.connection, &mut server.connection, steps.next().unwrap_or(1));
        any |= carry(&mut server.connection, &mut client.connection, steps.next().unwrap_or(1));
        if !any && !client.flush_settlements() && !server.flush_settlements() {
            break;
        }
    }

    for (number, messages) in expected.into_iter().enumerate() {
        let receiver = if plan.links[number].0 { &server } else { &client };
        let received = receiver.received.get(&number.to_string()).map_or(&[][..], Vec::as_slice);
        assert!(received.iter().eq(messages.iter()), "link {number} of {plan:?}");
    }
    for node in [&mut client, &mut server] {
        assert!(node.waiting.values().all(Vec::is_empty), "{:?} without an outcome", node.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the frame sizes, windows, credits and the way bytes are cut: every message arrives once, whole, in the
    /// order of its link, and every unsettled one is settled once.
    #[test]
    fn messages_arrive_whole_and_in_order(plan in plan()) {
        run(&plan);
    }
}

#[test]
fn a_message_of_a_mebibyte_crosses_in_the_smallest_frames() {
    for (frame_size, step) in [(512, 700), (65536, 100_000), (1024 * 1024, 4096)] {
        run(&Plan {
            frame_sizes: (frame_size, 65536),
            windows: (5000, 5000),
            output: 512 * 1024,
            credit: 10,
            settle_every: 1,
            settled: false,
            links: vec![(true, false, vec![1024 * 1024, 5]), (false, true, vec![1024 * 1024, 5])],
            steps: vec![step],
        });
    }
}

fn attach(name: &str, role: Role) -> Attach {
    Attach {
        name: name.into(),
        role,
        source: Some(Source::at("from")),
        target: Some(Target::at("to")),
        ..Attach::default()
    }
}

/// Carries everything, and answers the events of both.
fn exchange(client: &mut Connection, server: &mut Connection) -> (Vec<Event>, Vec<Event>) {
    let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
    loop {
        let mut any = carry(client, server, usize::MAX);
        any |= carry(server, client, usize::MAX);
        at_client.extend(std::iter::from_fn(|| client.next_event()));
        at_server.extend(std::iter::from_fn(|| server.next_event()));
        if !any {
            return (at_client, at_server);
        }
    }
}

#[test]
fn a_link_is_refused_with_the_error_of_the_server_and_its_name_can_come_again() {
    let (mut client, mut server) = opened_pair(Options::new("c"), Options::new("s"));
    let session = client.begin().expect("a session");
    for round in 0..5 {
        let link = client.attach(session, attach("same name", Role::Receiver)).expect("a link");
        assert_eq!(client.attach(session, attach("same name", Role::Receiver)), Err(CommandError::NameTaken));
        let (_, mut at_server) = exchange(&mut client, &mut server);
        let Some(Event::AttachRequested { link: asked, attach: request, .. }) = at_server.pop() else {
            panic!()
        };
        if round % 2 == 0 {
            let error = AmqpError::new(condition::NOT_FOUND, "no such hub");
            server.reject_attach(asked, &error).expect("refused");
            assert_eq!(server.reject_attach(asked, &error), Err(CommandError::NoLink(asked)));
            let (at_client, at_server) = exchange(&mut client, &mut server);
            let refused = Event::Detached { link, by: Party::Peer, closed: true, error: Some(error) };
            assert_eq!((at_client, at_server), (vec![refused], vec![]));
        } else {
            server.accept_attach(asked, Accept::as_asked(*request)).expect("accepted");
            let (at_client, _) = exchange(&mut client, &mut server);
            assert!(matches!(at_client[..], [Event::Attached { .. }]), "{at_client:?}");
            client.detach(link, true, None).expect("detached");
            assert_eq!(client.detach(link, true, None), Err(CommandError::NoLink(link)));
            let (at_client, at_server) = exchange(&mut client, &mut server);
            let answered = Event::Detached { link, by: Party::Caller, closed: true, error: None };
            let gone = Event::Detached { link: asked, by: Party::Peer, closed: true, error: None };
            assert_eq!((at_client, at_server), (vec![answered], vec![gone]));
            assert!(!server.can_send(asked));
        }
    }
}

#[test]
fn a_rejected_delivery_and_a_range_are_told_to_the_sender() {
    let (mut client, mut server) = opened_pair(Options::new("c"), Options::new("s"));
    let session = client.begin().expect("a session");
    let link = client.attach(session, attach("events", Role::Sender)).expect("a link");
    let (_, mut at_server) = exchange(&mut client, &mut server);
    let Some(Event::AttachRequested { link: at, attach: request, .. }) = at_server.pop() else { panic!() };
    server
        .accept_attach(at, Accept { max_message_size: Some(100), ..Accept::as_asked(*request) })
        .expect("accepted");
    assert_eq!(server.grant_credit(at, 6), Ok(6));
    let (at_client, _) = exchange(&mut client, &mut server);
    assert!(at_client.contains(&Event::Credit { link, credit: 6, drain: false }), "{at_client:?}");

    let outgoing = Outgoing::default();
    let too_large = client.send(link, &outgoing, &[Part::Copy(&[0; 101])]);
    assert_eq!(too_large, Err(SendError::TooLarge { bytes: 101, limit: 100 }));
    let too_large = client.send_with(link, &outgoing, |out| out.extend_from_slice(&[0; 101]));
    assert_eq!(too_large, Err(SendError::TooLarge { bytes: 101, limit: 100 }));
    let ids: Vec<u32> =
        (0..6).map(|number| client.send(link, &outgoing, &[Part::Copy(&[number])]).expect("sent")).collect();
    assert_eq!(client.send(link, &outgoing, &[]), Err(SendError::NoCredit));
    let (_, at_server) = exchange(&mut client, &mut server);
    assert_eq!(at_server.len(), 6);

    let error = AmqpError::new(condition::SERVER_BUSY, "later");
    let rejected = DeliveryState::Rejected { error: Some(error) };
    assert_eq!(server.settle(at, ids[2], ids[2], &rejected), Ok(1));
    assert_eq!(server.settle(at, ids[0], ids[5], &DeliveryState::Accepted), Ok(5));
    assert_eq!(server.settle(at, ids[0], ids[5], &DeliveryState::Accepted), Ok(0));
    let (at_client, _) = exchange(&mut client, &mut server);
    let told = |first: usize, last: usize, state: &DeliveryState| Event::Settled {
        session,
        first: ids[first],
        last: ids[last],
        state: Some(state.clone()),
        settled: true,
    };
    let accepted = DeliveryState::Accepted;
    assert_eq!(at_client, [told(2, 2, &rejected), told(0, 1, &accepted), told(3, 5, &accepted)]);
}

#[test]
fn credit_is_drained() {
    let (mut client, mut server) = opened_pair(Options::new("c"), Options::new("s"));
    let session = client.begin().expect("a session");
    let link = client.attach(session, attach("events", Role::Receiver)).expect("a link");
    client.set_credit_policy(link, CreditPolicy::Window(10)).expect("a policy");
    let (_, mut at_server) = exchange(&mut client, &mut server);
    let Some(Event::AttachRequested { link: at, attach: request, .. }) = at_server.pop() else { panic!() };
    server.accept_attach(at, Accept::as_asked(*request)).expect("accepted");
    let (_, at_server) = exchange(&mut client, &mut server);
    assert_eq!(at_server, [Event::Credit { link: at, credit: 10, drain: false }]);
    client.drain(link).expect("asked");
    let (_, at_server) = exchange(&mut client, &mut server);
    assert_eq!(at_server, [Event::Credit { link: at, credit: 10, drain: true }]);
    server
        .send(at, &Outgoing { settled: true, ..Outgoing::default() }, &[Part::Copy(b"the last")])
        .expect("sent");
    server.drained(at).expect("drained");
    let (at_client, _) = exchange(&mut client, &mut server);
    assert!(matches!(at_client[..], [Event::Delivery(_), Event::Drained { .. }]), "{at_client:?}");
    assert_eq!(server.credit(at), Some(0));
    assert_eq!(client.credit(link), Some(0));
}

#[test]
fn sessions_end_with_their_links_and_connections_close_once() {
    let (mut client, mut server) = opened_pair(Options::new("c"), Options::new("s"));
    let session = client.begin().expect("a session");
    let link = client.attach(session, attach("events", Role::Receiver)).expect("a link");
    let (_, at_server) = exchange(&mut client, &mut server);
    let Event::SessionBegun { session: at, .. } = at_server[0] else { panic!("{at_server:?}") };
    let error = AmqpError::new(condition::INTERNAL_ERROR, "the session is lost");
    server.end(at, Some(&error)).expect("ended");
    let (at_client, at_server) = exchange(&mut client, &mut server);
    assert_eq!(at_client, [Event::SessionEnded { session, by: Party::Peer, error: Some(error) }]);
    assert_eq!(at_server, [Event::SessionEnded { session: at, by: Party::Caller, error: None }]);
    assert_eq!(client.drain(link), Err(CommandError::NoLink(link)));
    assert_eq!(client.end(session, None), Err(CommandError::NoSession(session)));

    let again = client.begin().expect("a session");
    assert_ne!(again, session);
    exchange(&mut client, &mut server);
    let error = AmqpError::new(condition::CONNECTION_FORCED, "the server stops");
    server.close(Some(error.clone()));
    let (at_client, at_server) = exchange(&mut client, &mut server);
    assert_eq!(at_client, [Event::Closed(Ending::Peer(Some(error)))]);
    assert_eq!(at_server, [Event::Closed(Ending::Caller)]);
    assert!(client.is_finished() && server.is_finished());
    server.transport_closed();
    client.tick(START * 3);
    assert_eq!((client.next_event(), server.next_event()), (None, None));
    assert_eq!(client.begin(), Err(CommandError::NotOpen));
}

#[test]
fn sessions_are_limited() {
    let mut limited = Options::new("s");
    limited.limits.sessions = 3;
    let (mut client, mut server) = opened_pair(Options::new("c"), limited);
    for _ in 0..4 {
        client.begin().expect("a session");
    }
    let (at_client, at_server) = exchange(&mut client, &mut server);
    let Some(Event::Closed(Ending::Peer(Some(error)))) = at_client.last() else { panic!("{at_client:?}") };
    assert_eq!(error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    assert_eq!(at_server.len(), 4, "{at_server:?}");
}
