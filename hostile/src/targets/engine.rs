//! The connection's state machine: a server whose client says anything, and both ends with bytes changed on the way.

use std::time::Duration;

use bytes::Buf;
use tidegate_amqp::codec::performative::{Attach, DeliveryState, Role, Source, Target as Terminus};
use tidegate_amqp::connection::{
    Accept, Connection, CreditPolicy, Door, Event, Limits, LinkId, Login, Options, Outgoing, Part,
};

use crate::mutate::Random;

/// Small limits, so that they are reached.
fn options() -> Options {
    let mut options = Options::new("hostile");
    options.max_frame_size = 4096;
    options.channel_max = 20;
    options.incoming_window = 50;
    options.limits = Limits {
        sessions: 4,
        links_per_session: 8,
        message_bytes: 16 * 1024,
        partial_bytes: 32 * 1024,
        unsettled_per_link: 16,
        output_bytes: 8 * 1024,
    };
    options
}

/// The most that may wait to be written: the limit, what answers may add, a frame on both sides of it, and one more answer.
const MOST_OUTPUT: usize = 8 * 1024 + 256 * 1024 + 16 * 1024;

/// What whoever drives a server does with what happens, in every way there is.
struct Driver {
    random: Random,
    links: Vec<LinkId>,
    unsettled: Vec<(LinkId, u32)>,
}

impl Driver {
    fn act(&mut self, engine: &mut Connection, event: Event) {
        match event {
            Event::Authenticate(_) => engine.authenticated(!self.random.once_in(20)),
            Event::AttachRequested { link, attach, .. } => {
                self.links.push(link);
                if attach.role == Role::Sender {
                    let _ = engine.set_credit_policy(link, CreditPolicy::Window(10));
                }
                let _ = if self.random.once_in(10) {
                    engine.reject_attach(link, &Default::default())
                } else {
                    engine.accept_attach(link, Accept::as_asked(*attach))
                };
            }
            Event::Delivery(delivery) => {
                assert!(delivery.payload.len() <= 16 * 1024, "no message is larger than the limit");
                self.unsettled.push((delivery.link, delivery.delivery_id));
            }
            Event::TooLarge { link, delivery_id, .. } => self.unsettled.push((link, delivery_id)),
            Event::Detached { link, .. } => self.links.retain(|other| *other != link),
            Event::Closed(_) => {
                self.links.clear();
                self.unsettled.clear();
            }
            _ => {}
        }
        if self.random.once_in(3)
            && let Some((link, id)) = self.unsettled.pop()
        {
            let state = match self.random.below(3) {
                0 => DeliveryState::Accepted,
                1 => DeliveryState::Released,
                _ => DeliveryState::Rejected { error: None },
            };
            let _ = engine.settle(link, id, id, &state);
        }
        if let Some(&link) = self.random.pick(&self.links) {
            let payload = vec![b'x'; [1, 100, 6000][self.random.below(3)]];
            let _ = engine.send(link, &Outgoing::default(), &[Part::Copy(&payload)]);
            let _ =
                engine.unsettled(link).inspect(|open| assert!(*open <= 16 + 10, "{open} are not settled"));
        }
    }
}

pub(super) fn server(bytes: &[u8]) {
    let mut engine = Connection::server(options(), Door::default(), Duration::ZERO);
    let mut driver =
        Driver { random: Random::new(bytes.len() as u64), links: Vec::new(), unsettled: Vec::new() };
    let mut now = Duration::ZERO;
    let mut rest = bytes;
    let mut closed = false;
    for turn in 0..10_000 {
        while let Some(event) = engine.next_event() {
            assert!(!closed, "nothing comes after the end: {event:?}");
            closed = matches!(event, Event::Closed(_));
            driver.act(&mut engine, event);
        }
        assert!(engine.output().len() <= MOST_OUTPUT, "{} bytes wait to be written", engine.output().len());
        let reads = driver.random.below(4) > 0;
        if reads {
            let output = engine.output();
            let taken = output.remaining().min(1 + driver.random.below(9000));
            output.advance(taken);
        }
        if engine.is_finished() {
            break;
        }
        if engine.wants_read() && !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(1 + driver.random.below(700)));
            engine.feed(piece);
            rest = later;
        } else if rest.is_empty() && turn % 2 == 0 {
            now += Duration::from_secs(60);
        }
        engine.tick(now);
        let deadline = engine.next_deadline();
        assert!(
            deadline.is_some() || engine.is_finished(),
            "a connection that has no deadline may last for ever"
        );
    }
    assert!(closed && engine.is_finished(), "a client that says nothing any more is given up");
}

/// Seeds for what the client does and where bytes are changed.
pub(super) fn scripts() -> Vec<Vec<u8>> {
    (0..8).map(|seed| Random::new(seed).bytes(64)).collect()
}

/// The bytes say what is sent, how much is carried at a time, and which bytes are changed on the way.
pub(super) fn pair(bytes: &[u8]) {
    let mut client = Connection::client(options(), Login::Anonymous, Duration::ZERO);
    let mut server = Connection::server(options(), Door::default(), Duration::ZERO);
    let seed = bytes.iter().fold(0, |seed: u64, byte| seed.rotate_left(5) ^ u64::from(*byte));
    let mut driver = Driver { random: Random::new(seed), links: Vec::new(), unsettled: Vec::new() };
    let script = bytes.iter().copied().cycle().take(600);
    let mut now = Duration::ZERO;
    let mut links = Vec::new();
    for step in script {
        match step % 8 {
            0 => {
                if let Ok(session) = client.begin() {
                    let attach = |role| Attach {
                        name: format!("{step}-{role:?}").into(),
                        role,
                        source: Some(Source::at("a")),
                        target: Some(Terminus::at("b")),
                        ..Attach::default()
                    };
                    for role in [Role::Sender, Role::Receiver] {
                        links.extend(client.attach(session, attach(role)));
                    }
                }
            }
            1 => {
                for link in &links {
                    let payload = vec![step; usize::from(step) * 30];
                    let _ = client.send(*link, &Outgoing::default(), &[Part::Copy(&payload)]);
                    let _ = client.grant_credit(*link, 3);
                }
            }
            2 => {
                if let Some(link) = links.pop() {
                    let _ = client.detach(link, true, None);
                }
            }
            _ => {}
        }
        let damages = bytes.len() > 8 && step == 255;
        carry(&mut client, &mut server, usize::from(step) * 8 + 1, damages, &mut driver.random);
        carry(&mut server, &mut client, usize::from(step) * 8 + 1, false, &mut driver.random);
        while let Some(event) = server.next_event() {
            driver.act(&mut server, event);
        }
        while let Some(event) = client.next_event() {
            if let Event::Delivery(delivery) = &event {
                assert!(delivery.payload.iter().all(|byte| *byte == b'x'), "what is sent is what comes");
            }
        }
        for engine in [&mut client, &mut server] {
            assert!(engine.output().len() <= MOST_OUTPUT, "{} bytes wait", engine.output().len());
        }
        now += Duration::from_millis(10);
        client.tick(now);
        server.tick(now);
    }
    server.close(None);
    for _ in 0..2000 {
        carry(&mut server, &mut client, usize::MAX, false, &mut driver.random);
        while client.next_event().is_some() {}
        carry(&mut client, &mut server, usize::MAX, false, &mut driver.random);
        while server.next_event().is_some() {}
        now += Duration::from_secs(1);
        server.tick(now);
        if server.is_finished() {
            return;
        }
    }
    panic!("a server that closes comes to an end");
}

fn carry(from: &mut Connection, to: &mut Connection, most: usize, damages: bool, random: &mut Random) {
    if !to.wants_read() {
        return;
    }
    let output = from.output();
    let chunk = output.chunk();
    let mut bytes = chunk[..chunk.len().min(most)].to_vec();
    output.advance(bytes.len());
    if damages && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
    to.feed(&bytes);
}
