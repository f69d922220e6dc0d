//! One connection to a server: bytes between socket and state machine, and who waits for what.
//!
//! One task drives it. Others hand it commands and wait for what comes of them. A link has a session of its own, so that
//! links do not use up each other's windows. When the connection ends, all who wait are told why.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tidegate_amqp::codec::performative::{
    AmqpError, Attach, DeliveryState, Role, SenderSettleMode, Source, Target,
};
use tidegate_amqp::connection::{
    self as engine, Delivery, Ending, Event, LinkId, Login, Options, Outgoing, Part, SendError, SessionId,
};
use tidegate_amqp::tokio::{Moved, exchange, finish};
use tidegate_model::clock::{SharedClock, sleep_if, timeout};
use tokio::sync::{mpsc, oneshot, watch};

use super::error::{ClientError, shortened};
use super::requests::{self, Reply, Request};
use super::transport::Stream;

/// A connection that is open. It is closed when nobody has it any more, nor a link of it.
#[derive(Clone)]
pub(super) struct Connection {
    commands: mpsc::UnboundedSender<Command>,
    end: watch::Receiver<Option<ClientError>>,
}

/// A link that is attached. Dropping it detaches it.
pub(super) struct Link {
    id: LinkId,
    connection: Connection,
    /// The largest message that the other end takes, if it says so.
    pub(super) max_message_size: Option<u64>,
}

/// What a link that receives gets.
#[derive(Debug)]
pub(super) enum Inbound {
    /// A message.
    Message(Bytes),
    /// A message that is larger than any may be; it was thrown away.
    TooLarge,
    /// The end: nothing comes any more.
    Detached(ClientError),
}

enum Command {
    Attach {
        attach: Box<Attach>,
        what: String,
        inbox: Option<mpsc::UnboundedSender<Inbound>>,
        done: oneshot::Sender<Result<(LinkId, Option<u64>), ClientError>>,
    },
    Detach(LinkId),
    Grant(LinkId, u32),
    Send {
        link: LinkId,
        message_format: u32,
        message: Bytes,
        done: oneshot::Sender<Result<(), ClientError>>,
    },
    Request {
        node: &'static str,
        request: Request,
        done: oneshot::Sender<Result<Reply, ClientError>>,
    },
}

impl Connection {
    /// Opens a connection over a stream.
    ///
    /// # Errors
    /// When the server does not let us in, or the stream ends.
    pub(super) async fn open(
        server: String,
        stream: Box<dyn Stream>,
        options: Options,
        login: Login,
        clock: SharedClock,
    ) -> Result<Self, ClientError> {
        let (commands, orders) = mpsc::unbounded_channel();
        let (ended, mut end) = watch::channel(None);
        let (opened, is_open) = oneshot::channel();
        let engine = engine::Connection::client(options, login, clock.monotonic());
        let driver = Driver {
            engine,
            server,
            clock,
            orders,
            opened: Some(opened),
            ended,
            links: HashMap::new(),
            nodes: HashMap::new(),
            names: 0,
            closing: false,
        };
        tokio::spawn(driver.run(stream));
        match is_open.await {
            Ok(()) => Ok(Self { commands, end }),
            Err(_) => Err(end_of(&mut end).await),
        }
    }

    /// Waits until the connection has ended; why.
    pub(super) async fn ended(&self) -> ClientError {
        end_of(&mut self.end.clone()).await
    }

    /// Whether it is still there.
    pub(super) fn is_open(&self) -> bool {
        self.end.borrow().is_none() && !self.commands.is_closed()
    }

    /// Whether both are the same connection.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.commands.same_channel(&other.commands)
    }

    /// Attaches a link that sends.
    ///
    /// # Errors
    /// When it is refused, or the connection ends.
    pub(super) async fn attach_sender(&self, what: String, target: &str) -> Result<Link, ClientError> {
        let attach = Attach {
            role: Role::Sender,
            snd_settle_mode: SenderSettleMode::Unsettled,
            source: Some(Source::default()),
            target: Some(Target::at(target)),
            ..Attach::default()
        };
        self.attach(attach, what, None).await
    }

    /// Attaches a link that receives; what comes is put into `inbox`. It has no credit yet.
    ///
    /// # Errors
    /// When it is refused, or the connection ends.
    pub(super) async fn attach_receiver(
        &self,
        what: String,
        attach: Attach,
        inbox: mpsc::UnboundedSender<Inbound>,
    ) -> Result<Link, ClientError> {
        self.attach(attach, what, Some(inbox)).await
    }

    async fn attach(
        &self,
        attach: Attach,
        what: String,
        inbox: Option<mpsc::UnboundedSender<Inbound>>,
    ) -> Result<Link, ClientError> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Attach { attach: Box::new(attach), what, inbox, done });
        let (id, max_message_size) = self.answer(answer).await?;
        Ok(Link { id, connection: self.clone(), max_message_size })
    }

    /// Asks a node of the server, such as `$cbs`.
    ///
    /// # Errors
    /// When the node cannot be reached, or the connection ends. A status that is no success is an answer.
    pub(super) async fn request(&self, node: &'static str, request: Request) -> Result<Reply, ClientError> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Request { node, request, done });
        self.answer(answer).await
    }

    fn command(&self, command: Command) {
        // Whoever gave it is told of the end by the answer that does not come.
        let _ = self.commands.send(command);
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T, ClientError>>) -> Result<T, ClientError> {
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.ended().await),
        }
    }
}

async fn end_of(end: &mut watch::Receiver<Option<ClientError>>) -> ClientError {
    let ended = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
    ended.unwrap_or_else(|| ClientError::Ended {
        server: "the server".to_owned(),
        detail: "the task that drives it is gone".to_owned(),
    })
}

impl Link {
    /// Grants more credit to the other end.
    pub(super) fn grant(&self, more: u32) {
        self.connection.command(Command::Grant(self.id, more));
    }

    /// Sends a message and waits until it is accepted.
    ///
    /// # Errors
    /// When it is refused, or the link or the connection ends before that is known.
    pub(super) async fn send(&self, message_format: u32, message: Bytes) -> Result<(), ClientError> {
        let (done, answer) = oneshot::channel();
        self.connection.command(Command::Send { link: self.id, message_format, message, done });
        self.connection.answer(answer).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.command(Command::Detach(self.id));
    }
}

/// What drives a connection.
struct Driver {
    engine: engine::Connection,
    server: String,
    clock: SharedClock,
    orders: mpsc::UnboundedReceiver<Command>,
    opened: Option<oneshot::Sender<()>>,
    ended: watch::Sender<Option<ClientError>>,
    links: HashMap<LinkId, Held>,
    nodes: HashMap<&'static str, Node>,
    names: u64,
    closing: bool,
}

/// What comes of asking for a link: the link, and the largest message that may be sent on it.
type AttachAnswer = Result<(LinkId, Option<u64>), ClientError>;

/// A link and who has it.
struct Held {
    session: SessionId,
    what: String,
    side: Side,
    /// Who waits for it to be attached.
    asked: Option<oneshot::Sender<AttachAnswer>>,
}

enum Side {
    Receives(mpsc::UnboundedSender<Inbound>),
    Sends {
        waiting: VecDeque<Waiting>,
        /// By delivery.
        unsettled: BTreeMap<u32, oneshot::Sender<Result<(), ClientError>>>,
    },
    /// One of the two links to a node.
    OfNode(&'static str),
}

struct Waiting {
    message_format: u32,
    message: Bytes,
    done: oneshot::Sender<Result<(), ClientError>>,
}

/// A node that is asked: requests go on one link, and replies come on the other.
struct Node {
    session: SessionId,
    sender: LinkId,
    receiver: LinkId,
    /// How many of the two are attached.
    attached: u8,
    waiting: VecDeque<(u64, Request)>,
    pending: BTreeMap<u64, oneshot::Sender<Result<Reply, ClientError>>>,
}

/// How many replies of a node may be under way.
const REPLY_CREDIT: u32 = 100;

/// How long the last words to a server may take.
const FAREWELL: Duration = Duration::from_secs(5);

impl Driver {
    async fn run(mut self, mut stream: Box<dyn Stream>) {
        let clock = self.clock.clone();
        let reason = loop {
            let mut over = None;
            while let Some(event) = self.engine.next_event() {
                if let Event::Closed(ending) = &event {
                    over = Some(self.reason_of(ending));
                }
                self.on_event(event);
            }
            self.send_what_waits();
            if let Some(reason) = over {
                break reason;
            }
            let wait = self.engine.next_deadline().map(|at| at.saturating_sub(clock.monotonic()));
            let Self { engine, orders, closing, .. } = &mut self;
            tokio::select! {
                biased;
                command = orders.recv(), if !*closing => match command {
                    Some(command) => self.on_command(command),
                    None => {
                        *closing = true;
                        engine.close(None);
                    }
                },
                moved = exchange(&mut stream, engine, true) => {
                    let detail = match moved {
                        Ok(Moved::Bytes { .. }) => None,
                        Ok(Moved::End) => Some("the server closed it without a word".to_owned()),
                        Err(error) => Some(error.to_string()),
                    };
                    if let Some(detail) = detail {
                        // What came before the end is of use, and it may say why.
                        let mut reason = ClientError::Ended { server: self.server.clone(), detail };
                        while let Some(event) = self.engine.next_event() {
                            if let Event::Closed(ending) = &event {
                                reason = self.reason_of(ending);
                            }
                            self.on_event(event);
                        }
                        break reason;
                    }
                }
                () = sleep_if(&*clock, wait) => {}
            }
            self.engine.tick(clock.monotonic());
        };
        self.engine.close(None);
        tracing::debug!(error = %reason, "a connection ended");
        self.ended.send_replace(Some(reason.clone()));
        let Self { mut engine, links, nodes, orders, .. } = self;
        for held in links.into_values() {
            if let Side::Receives(inbox) = held.side {
                let _ = inbox.send(Inbound::Detached(reason.clone()));
            }
        }
        // Who waits is told now: the rest may take a while.
        drop((nodes, orders));
        timeout(&*clock, FAREWELL, finish(&mut stream, &mut engine)).await;
    }

    fn reason_of(&self, ending: &Ending) -> ClientError {
        let server = self.server.clone();
        let detail = match ending {
            Ending::NotAuthenticated(detail) => {
                return ClientError::NotLetIn { server, detail: (*detail).to_owned() };
            }
            Ending::Peer(Some(error)) => {
                return ClientError::refused(format!("the connection to {server}"), error);
            }
            Ending::Peer(None) => "the server closed it".to_owned(),
            Ending::Caller => "it was closed here".to_owned(),
            Ending::Violation(error) => format!("the server broke the protocol: {error}"),
            Ending::OtherProtocol(first) => {
                format!("the server does not speak AMQP 1.0; it said {:?}", first.escape_ascii().to_string())
            }
            Ending::OpenTimeout => "the server did not open it in time".to_owned(),
            Ending::IdleTimeout => "nothing came from the server for too long".to_owned(),
            Ending::Disconnected => "the server closed it without a word".to_owned(),
        };
        ClientError::Ended { server, detail }
    }

    // Commands

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Attach { attach, what, inbox, done } => self.attach(*attach, what, inbox, done),
            Command::Detach(link) => {
                let _ = self.engine.detach(link, true, None);
            }
            Command::Grant(link, more) => {
                let _ = self.engine.grant_credit(link, more);
            }
            Command::Send { link, message_format, message, done } => match self.links.get_mut(&link) {
                Some(Held { side: Side::Sends { waiting, .. }, .. }) => {
                    waiting.push_back(Waiting { message_format, message, done });
                }
                _ => {
                    let _ = done.send(Err(ClientError::Ended {
                        server: self.server.clone(),
                        detail: "the link is gone".to_owned(),
                    }));
                }
            },
            Command::Request { node, request, done } => self.request(node, request, done),
        }
    }

    fn attach(
        &mut self,
        mut attach: Attach,
        what: String,
        inbox: Option<mpsc::UnboundedSender<Inbound>>,
        done: oneshot::Sender<Result<(LinkId, Option<u64>), ClientError>>,
    ) {
        attach.name = self.new_name().into();
        let begun = self.engine.begin().and_then(|session| {
            let link = self.engine.attach(session, attach);
            if link.is_err() {
                let _ = self.engine.end(session, None);
            }
            Ok((session, link?))
        });
        let side = match inbox {
            Some(inbox) => Side::Receives(inbox),
            None => Side::Sends { waiting: VecDeque::new(), unsettled: BTreeMap::new() },
        };
        match begun {
            Ok((session, link)) => {
                self.links.insert(link, Held { session, what, side, asked: Some(done) });
            }
            Err(error) => {
                let _ = done.send(Err(ClientError::Command {
                    what: "a link cannot be attached",
                    problem: error.to_string(),
                }));
            }
        }
    }

    fn request(
        &mut self,
        name: &'static str,
        request: Request,
        done: oneshot::Sender<Result<Reply, ClientError>>,
    ) {
        self.names += 1;
        let id = self.names;
        if !self.nodes.contains_key(name)
            && let Err(error) = self.attach_node(name)
        {
            let _ = done.send(Err(ClientError::Command {
                what: "a node cannot be asked",
                problem: error.to_string(),
            }));
            return;
        }
        if let Some(node) = self.nodes.get_mut(name) {
            // Those who have stopped waiting may never be answered.
            node.pending.retain(|_, done| !done.is_closed());
            node.pending.insert(id, done);
            node.waiting.retain(|(id, _)| node.pending.contains_key(id));
            node.waiting.push_back((id, request));
        }
    }

    fn attach_node(&mut self, name: &'static str) -> Result<(), engine::CommandError> {
        let session = self.engine.begin()?;
        let (sender_name, receiver_name) = (self.new_name(), self.new_name());
        let sender = Attach {
            name: sender_name.into(),
            role: Role::Sender,
            source: Some(Source::default()),
            target: Some(Target::at(name)),
            ..Attach::default()
        };
        let receiver = Attach {
            name: receiver_name.into(),
            role: Role::Receiver,
            source: Some(Source::at(name)),
            target: Some(Target::at(requests::REPLY_TO)),
            ..Attach::default()
        };
        let sender = self.engine.attach(session, sender)?;
        let receiver = self.engine.attach(session, receiver)?;
        for link in [sender, receiver] {
            let held = Held { session, what: name.to_owned(), side: Side::OfNode(name), asked: None };
            self.links.insert(link, held);
        }
        let node = Node {
            session,
            sender,
            receiver,
            attached: 0,
            waiting: VecDeque::new(),
            pending: BTreeMap::new(),
        };
        self.nodes.insert(name, node);
        Ok(())
    }

    fn new_name(&mut self) -> String {
        self.names += 1;
        format!("tidegate-{}-{:016x}", self.names, self.clock.random())
    }

    // What comes

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Opened(_) => {
                if let Some(opened) = self.opened.take() {
                    let _ = opened.send(());
                }
            }
            Event::Attached { link, attach } => self.attached(link, &attach),
            Event::Delivery(delivery) => self.delivered(delivery),
            Event::TooLarge { link, delivery_id, settled } => {
                if !settled {
                    let state = DeliveryState::Rejected { error: None };
                    let _ = self.engine.settle(link, delivery_id, delivery_id, &state);
                }
                if let Some(Held { side: Side::Receives(inbox), .. }) = self.links.get(&link) {
                    let _ = inbox.send(Inbound::TooLarge);
                }
            }
            Event::Settled { session, first, last, state, .. } => {
                self.settled(session, first, last, state.as_ref());
            }
            Event::Detached { link, error, .. } => self.detached(link, error.as_ref()),
            Event::SessionEnded { session, error, .. } => {
                let gone: Vec<_> = self
                    .links
                    .iter()
                    .filter(|(_, held)| held.session == session)
                    .map(|(link, _)| *link)
                    .collect();
                for link in gone {
                    self.detached(link, error.as_ref());
                }
            }
            // A client is not asked for anything; credit and windows are looked at each turn.
            Event::Authenticate(_)
            | Event::AttachRequested { .. }
            | Event::SessionBegun { .. }
            | Event::Credit { .. }
            | Event::WindowOpened { .. }
            | Event::Drained { .. }
            | Event::Closed(_) => {}
        }
    }

    fn attached(&mut self, link: LinkId, attach: &Attach) {
        let Some(held) = self.links.get_mut(&link) else { return };
        if let Side::OfNode(name) = held.side {
            let Some(node) = self.nodes.get_mut(name) else { return };
            node.attached += 1;
            if link == node.receiver {
                let _ = self.engine.set_credit_policy(link, engine::CreditPolicy::Window(REPLY_CREDIT));
            }
            return;
        }
        let Some(asked) = held.asked.take() else { return };
        if asked.send(Ok((link, attach.max_message_size.filter(|size| *size > 0)))).is_err() {
            // Nobody waits for it any more.
            let _ = self.engine.detach(link, true, None);
        }
    }

    fn delivered(&mut self, delivery: Delivery) {
        let Delivery { link, delivery_id, settled, payload, .. } = delivery;
        if !settled {
            let _ = self.engine.settle(link, delivery_id, delivery_id, &DeliveryState::Accepted);
        }
        match self.links.get(&link).map(|held| &held.side) {
            Some(Side::Receives(inbox)) => {
                // When the other end is gone, so is the link soon.
                let _ = inbox.send(Inbound::Message(payload));
            }
            Some(Side::OfNode(name)) => {
                let Some(node) = self.nodes.get_mut(name) else { return };
                match requests::read_reply(payload) {
                    Ok((id, reply)) => {
                        if let Some(done) = node.pending.remove(&id) {
                            let _ = done.send(Ok(reply));
                        }
                    }
                    Err(problem) => tracing::debug!(node = name, problem, "a reply was not understood"),
                }
            }
            Some(Side::Sends { .. }) | None => {}
        }
    }

    fn settled(&mut self, session: SessionId, first: u32, last: u32, state: Option<&DeliveryState>) {
        for held in self.links.values_mut().filter(|held| held.session == session) {
            let Side::Sends { unsettled, .. } = &mut held.side else { continue };
            let settled: Vec<_> = (unsettled.keys().copied())
                .filter(|id| id.wrapping_sub(first) <= last.wrapping_sub(first))
                .collect();
            for done in settled.into_iter().filter_map(|id| unsettled.remove(&id)) {
                let _ = done.send(outcome(&held.what, state));
            }
        }
    }

    /// A link is gone.
    fn detached(&mut self, link: LinkId, error: Option<&AmqpError>) {
        let Some(held) = self.links.remove(&link) else { return };
        let _ = self.engine.end(held.session, None);
        let reason = match error {
            Some(error) => ClientError::refused(held.what.as_str(), error),
            None => ClientError::Ended {
                server: self.server.clone(),
                detail: format!("{} was detached", held.what),
            },
        };
        if let Some(asked) = held.asked {
            let _ = asked.send(Err(reason.clone()));
        }
        match held.side {
            Side::Receives(inbox) => {
                let _ = inbox.send(Inbound::Detached(reason));
            }
            Side::Sends { waiting, unsettled } => {
                let all = waiting.into_iter().map(|waiting| waiting.done).chain(unsettled.into_values());
                for done in all {
                    let _ = done.send(Err(reason.clone()));
                }
            }
            Side::OfNode(name) => {
                if let Some(node) = self.nodes.remove(name) {
                    self.links.retain(|_, held| held.session != node.session);
                    for done in node.pending.into_values() {
                        let _ = done.send(Err(reason.clone()));
                    }
                }
            }
        }
    }

    // What goes

    fn send_what_waits(&mut self) {
        for node in self.nodes.values_mut().filter(|node| node.attached == 2) {
            while let Some((id, request)) = node.waiting.front() {
                let message = requests::encode(*id, request);
                match self.engine.send(
                    node.sender,
                    &Outgoing { settled: true, ..Outgoing::default() },
                    &[Part::Share(&message)],
                ) {
                    Err(SendError::NoCredit | SendError::NoWindow | SendError::OutputFull) => break,
                    Ok(_) => {}
                    Err(error) => {
                        if let Some(done) = node.pending.remove(id) {
                            let _ = done.send(Err(not_sent(error)));
                        }
                    }
                }
                node.waiting.pop_front();
            }
        }
        for (link, held) in &mut self.links {
            let Side::Sends { waiting, unsettled } = &mut held.side else { continue };
            while let Some(next) = waiting.front() {
                let outgoing = Outgoing { message_format: next.message_format, ..Outgoing::default() };
                let sent = self.engine.send(*link, &outgoing, &[Part::Share(&next.message)]);
                let done = match &sent {
                    Err(SendError::NoCredit | SendError::NoWindow | SendError::OutputFull) => break,
                    Ok(_) | Err(_) => waiting.pop_front().map(|waiting| waiting.done),
                };
                match (sent, done) {
                    (Ok(id), Some(done)) => drop(unsettled.insert(id, done)),
                    (Err(error), Some(done)) => drop(done.send(Err(not_sent(error)))),
                    (_, None) => break,
                }
            }
        }
    }
}

fn not_sent(error: SendError) -> ClientError {
    match error {
        SendError::TooLarge { bytes, limit } => ClientError::TooLarge { bytes, limit },
        other => ClientError::Command { what: "a message cannot be sent", problem: other.to_string() },
    }
}

/// What became of a message that was sent.
fn outcome(what: &str, state: Option<&DeliveryState>) -> Result<(), ClientError> {
    let not_taken = |condition: &str, description: &str| {
        Err(ClientError::Refused {
            what: what.to_owned(),
            condition: condition.to_owned(),
            description: shortened(description),
        })
    };
    match state {
        Some(DeliveryState::Accepted) => Ok(()),
        Some(DeliveryState::Rejected { error: Some(error) }) => Err(ClientError::refused(what, error)),
        Some(DeliveryState::Rejected { error: None }) => {
            not_taken("amqp:rejected", "the message was rejected without a reason")
        }
        Some(DeliveryState::Released) => not_taken("amqp:released", "the message was not looked at"),
        Some(DeliveryState::Modified { .. }) => not_taken("amqp:modified", "the message was not taken"),
        _ => not_taken("amqp:no-outcome", "the message was settled without an outcome"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tidegate_gateway::Gateway;
    use tidegate_gateway::admission::Limits;
    use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor};
    use tidegate_gateway::auth::Authorizer;
    use tidegate_model::clock::{Clock as _, TestClock, Timestamp};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};

    use super::*;
    use crate::event_hubs::client::FailureKind;

    async fn open(clock: SharedClock, stream: DuplexStream) -> Result<Connection, ClientError> {
        let mut options = Options::new("test");
        options.idle_timeout = Some(Duration::from_secs(30));
        Connection::open("there".to_owned(), Box::new(stream), options, Login::Anonymous, clock).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_happens_is_kept_alive_by_both_ends() {
        let clock = TestClock::new(Timestamp::from_millis(0), 1);
        let authorizer = Arc::new(Authorizer::new(Vec::new()).unwrap());
        let gateway = Arc::new(Gateway::new(authorizer, Limits::default(), clock.clone()));
        let bounds = AmqpBounds { idle_timeout: Duration::from_secs(10), ..AmqpBounds::default() };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (stop, stopped) = watch::channel(false);
        let serving =
            tokio::spawn(async move { AmqpDoor::new(gateway, bounds).serve_stream(theirs, stopped).await });
        let connection = open(clock.clone(), ours).await.unwrap();
        // Many idle times, and less than the five minutes after which one without links is closed.
        clock.sleep(Duration::from_secs(240)).await;
        assert!(connection.is_open());

        stop.send_replace(true);
        let ended = connection.ended().await;
        assert!(ended.to_string().contains("amqp:connection:forced"), "{ended}");
        serving.await.unwrap();
        let request = Request { properties: Vec::new(), body: tidegate_amqp::codec::value::Value::Null };
        let refused = connection.request("$cbs", request).await.unwrap_err();
        assert_eq!(refused, ended, "who comes later hears the same");
    }

    /// A network that forgets a connection on which nothing was said for four minutes: nothing goes through from then on, and
    /// nobody is told.
    ///
    /// Source: librdkafka#3109, RPC#4648.
    #[tokio::test(start_paused = true)]
    async fn scenario_13_a_network_that_forgets_idle_connections() {
        const FORGETS_AFTER: Duration = Duration::from_secs(240);
        let clock = TestClock::new(Timestamp::from_millis(0), 1);
        let authorizer = Arc::new(Authorizer::new(Vec::new()).unwrap());
        let gateway = Arc::new(Gateway::new(authorizer, Limits::default(), clock.clone()));
        // Theirs asks for less than the network does.
        let bounds = AmqpBounds { idle_timeout: Duration::from_secs(3600), ..AmqpBounds::default() };
        let (ours, near) = tokio::io::duplex(64 * 1024);
        let (far, theirs) = tokio::io::duplex(64 * 1024);
        let is_forgotten = Arc::new(AtomicBool::new(false));
        let carry = |mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>| {
            let (clock, is_forgotten) = (clock.clone(), is_forgotten.clone());
            async move {
                let mut bytes = [0; 4096];
                let mut last = clock.monotonic();
                while let Ok(read @ 1..) = from.read(&mut bytes).await {
                    let now = clock.monotonic();
                    is_forgotten.fetch_or(now - last >= FORGETS_AFTER, Ordering::SeqCst);
                    last = now;
                    if !is_forgotten.load(Ordering::SeqCst) && to.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
            }
        };
        let ((near_in, near_out), (far_in, far_out)) = (tokio::io::split(near), tokio::io::split(far));
        tokio::spawn(carry(near_in, far_out));
        tokio::spawn(carry(far_in, near_out));
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(async move { AmqpDoor::new(gateway, bounds).serve_stream(theirs, stopped).await });

        let connection = open(clock.clone(), ours).await.unwrap();
        clock.sleep(FORGETS_AFTER + Duration::from_secs(30)).await;
        assert!(connection.is_open() && !is_forgotten.load(Ordering::SeqCst), "it is never idle for so long");

        // The network forgets it all the same. It is noticed, and not waited for until somebody speaks.
        is_forgotten.store(true, Ordering::SeqCst);
        let ended = timeout(&*clock, Duration::from_secs(120), connection.ended()).await;
        assert_eq!(ended.map(|ended| ended.kind()), Some(FailureKind::Transient), "it must be noticed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_or_something_else_is_given_up() {
        let clock = TestClock::new(Timestamp::from_millis(0), 1);
        let (ours, _silent) = tokio::io::duplex(64 * 1024);
        let error = open(clock.clone(), ours).await.err().expect("it is given up");
        assert!(error.to_string().contains("did not open it in time"), "{error}");

        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let error = open(clock.clone(), ours).await.err().expect("it is given up");
        assert!(error.to_string().contains("does not speak AMQP 1.0; it said \"HTTP/1.1\""), "{error}");

        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        drop(theirs);
        assert!(matches!(open(clock, ours).await, Err(ClientError::Ended { .. })));
    }
}
