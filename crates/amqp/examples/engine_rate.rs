//! How fast the engine is alone: two ends joined in memory, one thread, no sockets.
//!
//!     cargo run --release -p tidegate-amqp --example engine_rate
//!
//! It prints nanoseconds of each end, per event: batches that come in and are settled in ranges, and small settled
//! deliveries that go out. The bytes are copied from end to end as a socket would; that is not counted.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_amqp::codec::performative::{Attach, DeliveryState, Role, Source, Target};
use tidegate_amqp::connection::*;

fn main() {
    println!("ingest: batches from a client, settled as they come");
    for (events, event_bytes) in [(100, 200), (500, 200), (100, 1000)] {
        ingest(events, events * event_bytes, 20_000_000 / (events * event_bytes / 100));
    }
    println!("delivery: one settled transfer for each event, to a client");
    for event_bytes in [50, 250, 1000, 10_000] {
        delivery(event_bytes, 4_000_000_000 / (event_bytes + 1000), false);
        delivery(event_bytes, 4_000_000_000 / (event_bytes + 1000), true);
    }
}

/// Takes the time of what it runs.
struct Watch {
    spent: Duration,
}

impl Watch {
    #[allow(clippy::disallowed_methods, reason = "a program that measures has to look at the clock")]
    fn time<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        self.spent += start.elapsed();
        result
    }

    fn new() -> Self {
        Self { spent: Duration::ZERO }
    }

    fn per(&self, count: usize) -> f64 {
        self.spent.as_nanos() as f64 / count as f64
    }
}

/// Copies what one end has written into the other's read buffer, in reads as large as a socket gives.
fn carry(from: &mut Connection, to: &mut Connection) {
    while from.wants_write() {
        let output = from.output();
        let chunk = output.chunk();
        let taken = chunk.len().min(128 * 1024);
        to.read_buffer().extend_from_slice(&chunk[..taken]);
        output.advance(taken);
    }
}

/// Two ends with a link on which `role` is the client's; the client's session and both names of the link.
fn joined(role: Role) -> (Connection, Connection, SessionId, LinkId, LinkId) {
    let mut client = Connection::client(Options::new("client"), Login::Anonymous, Duration::ZERO);
    let mut server = Connection::server(Options::new("server"), Door::default(), Duration::ZERO);
    let mut link = None;
    let mut at_server = None;
    let mut session = None;
    for _ in 0..10 {
        carry(&mut client, &mut server);
        while let Some(event) = server.next_event() {
            match event {
                Event::Authenticate(_) => server.authenticated(true),
                Event::AttachRequested { link, attach, .. } => {
                    server.accept_attach(link, Accept::as_asked(*attach)).expect("accepted");
                    at_server = Some(link);
                }
                _ => {}
            }
        }
        carry(&mut server, &mut client);
        while let Some(event) = client.next_event() {
            if let Event::Opened(_) = event {
                let begun = client.begin().expect("a session");
                let attach = Attach {
                    name: "link".into(),
                    role,
                    source: Some(Source::at("hub")),
                    target: Some(Target::at("hub")),
                    ..Attach::default()
                };
                link = Some(client.attach(begun, attach).expect("a link"));
                session = Some(begun);
            }
        }
    }
    match (session, link, at_server) {
        (Some(session), Some(link), Some(at_server)) => (client, server, session, link, at_server),
        _ => panic!("the ends did not come together"),
    }
}

fn ingest(events: usize, batch_bytes: usize, batches: usize) {
    let (mut client, mut server, _, link, at_server) = joined(Role::Sender);
    server.set_credit_policy(at_server, CreditPolicy::Window(64)).expect("a policy");
    let batch = Bytes::from(vec![7; batch_bytes]);
    let outgoing = Outgoing { message_format: MESSAGE_FORMAT_BATCH, ..Outgoing::default() };
    let (mut sending, mut receiving) = (Watch::new(), Watch::new());
    let (mut received, mut accepted) = (0, 0);
    while accepted < batches {
        sending.time(|| {
            while let Some(event) = client.next_event() {
                if let Event::Settled { first, last, .. } = event {
                    accepted += (last - first + 1) as usize;
                }
            }
            while client.can_send(link) {
                client.send(link, &outgoing, &[Part::Share(&batch)]).expect("sent");
            }
        });
        carry(&mut client, &mut server);
        receiving.time(|| {
            let mut range = None;
            while let Some(event) = server.next_event() {
                if let Event::Delivery(delivery) = event {
                    assert_eq!(delivery.payload.len(), batch_bytes);
                    received += 1;
                    let first = range.map_or(delivery.delivery_id, |(first, _)| first);
                    range = Some((first, delivery.delivery_id));
                }
            }
            if let Some((first, last)) = range {
                server.settle(at_server, first, last, &DeliveryState::Accepted).expect("settled");
            }
        });
        carry(&mut server, &mut client);
    }
    println!(
        "  {events} events, {batch_bytes} bytes: server {:.0} ns per batch, {:.2} ns per event; client {:.0} ns per batch",
        receiving.per(received),
        receiving.per(received * events),
        sending.per(received),
    );
}

fn delivery(event_bytes: usize, events: usize, in_place: bool) {
    let (mut client, mut server, _, link, at_server) = joined(Role::Receiver);
    client.set_credit_policy(link, CreditPolicy::Window(5000)).expect("a policy");
    carry(&mut client, &mut server);
    let head = [1; 60];
    let body = Bytes::from(vec![7; event_bytes - head.len().min(event_bytes / 2)]);
    let head = &head[..event_bytes - body.len()];
    let outgoing = Outgoing { settled: true, ..Outgoing::default() };
    let (mut sending, mut receiving) = (Watch::new(), Watch::new());
    let (mut sent, mut received) = (0, 0);
    while received < events {
        sending.time(|| {
            while server.next_event().is_some() {}
            while server.can_send(at_server) {
                if in_place {
                    let write = |out: &mut bytes::BytesMut| {
                        out.extend_from_slice(head);
                        out.extend_from_slice(&body);
                    };
                    server.send_with(at_server, &outgoing, write).expect("sent");
                } else {
                    server.send(at_server, &outgoing, &[Part::Copy(head), Part::Share(&body)]).expect("sent");
                }
                sent += 1;
            }
        });
        carry(&mut server, &mut client);
        receiving.time(|| {
            while let Some(event) = client.next_event() {
                if let Event::Delivery(delivery) = event {
                    assert_eq!(delivery.payload.len(), event_bytes);
                    received += 1;
                }
            }
        });
        carry(&mut client, &mut server);
    }
    println!(
        "  {event_bytes} bytes, {}: server {:.1} ns per event; client {:.1} ns per event",
        if in_place { "written in place" } else { "in two parts" },
        sending.per(sent),
        receiving.per(received),
    );
}
