//! One connection of a client: bytes between socket and state machine, and what its links are there for.
//!
//! One task drives a connection. Per turn it takes what came, starts what that asks for (appends, reads), sends what is
//! ready, and waits for the socket, for something that was started, for its turn in time, or for another receiver that
//! takes a seat. What it holds is bounded: it stops reading from the socket while too many bytes wait to be stored, and
//! reads from the log only as much as its receivers have credit for.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::{AmqpError, Attach, DeliveryState, Open, Role, SenderSettleMode};
use tidegate_amqp::codec::value::Value;
use tidegate_amqp::connection::{
    Accept, Connection, Credentials, CreditPolicy, Delivery, Door, Event, LinkId, Mechanism, Options,
    Outgoing, Part, Party, SendError, SessionId,
};
use tidegate_amqp::tokio::{Moved, exchange};
use tidegate_model::clock::{sleep_if, timeout};
use tidegate_model::event::MAX_EVENT_BYTES;
use tidegate_model::partitioner::Route;
use tidegate_model::ports::{EventBatch, EventLog, ReadError};
use tidegate_model::position::{PartitionId, SequenceNumber, StartPosition};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};

use super::consumer::{Consumer, Place, Wanted};
use super::held::{Answer, Held};
use super::metrics::{AmqpMetrics, ConnectionMetrics, LinkKind, Open as Counted, Transport};
use super::node::{Node, PartitionName};
use super::refusals::{self, not_found, rejected};
use super::requests::{self, Reply};
use super::seats::{SeatKey, Seats};
use super::selector;
use crate::admission::EVENT_OVERHEAD_BYTES;
use crate::audience::ResourcePath;
use crate::auth::{Grants, Right};
use crate::{Gateway, Hub};

/// How many deliveries of a producer may wait for their acknowledgement. A producer never sees less than half of it as
/// credit, unless that many wait.
const PRODUCER_CREDIT: u32 = 1000;

/// How many requests may be under way on a link to `$cbs` or `$management`.
const REQUEST_CREDIT: u32 = 100;

/// How many replies wait for the credit of their receiver.
const MAX_WAITING_REPLIES: usize = 100;

/// How many bytes of a connection wait to be stored before no more are read from it.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// How long a client may take to let the last bytes of its transport go.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long answers to clients are held back that lose the ones which come at once: those whose `product` is
/// [`HASTY_PRODUCT`]. They are dispositions, without which the client hung in each of eight runs, and answers to detaches,
/// which find a link that it has forgotten: then it ends its session and its connection.
const HOLD: Duration = Duration::from_millis(10);

/// How long after that such a client's delivery is settled. It looks a settlement up once, and other dispositions each
/// time; so it is told the state first, and what it has lost of that on a busy machine the settlement says again.
const HOLD_SETTLEMENT: Duration = Duration::from_millis(250);

/// The same for the links to `$cbs`, which such a client drops with their session when it has put its token: nobody waits
/// for this answer, and the end of the session answers as well.
const HOLD_CBS: Duration = Duration::from_secs(1);

/// How long a connection may be without links, as in Event Hubs.
const WITHOUT_LINKS: Duration = Duration::from_secs(5 * 60);

/// The Rust SDK says that it is this.
const HASTY_PRODUCT: &str = "azure_messaging_eventhubs";

/// What all connections share.
pub(super) struct Shared {
    pub(super) gateway: Arc<Gateway>,
    pub(super) seats: Arc<Seats>,
    pub(super) metrics: AmqpMetrics,
    pub(super) options: Options,
}

/// Serves a client until its connection ends. `stop` turns true when the server ends: then what is under way is
/// acknowledged, and the client is told to come again.
pub(super) async fn serve<S>(
    shared: Arc<Shared>,
    transport: Transport,
    stream: S,
    stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let now = shared.gateway.clock.monotonic();
    let metrics = shared.metrics.connection(transport);
    let engine = Connection::server(shared.options.clone(), door(), now);
    // Most connections are silent most of the time: what each takes is on the heap once.
    let client = Box::new(Client {
        engine,
        shared,
        metrics,
        counted: BTreeMap::new(),
        open_sessions: BTreeMap::new(),
        alarm: Arc::new(Notify::new()),
        grants: Grants::none(),
        links: BTreeMap::new(),
        sessions: BTreeMap::new(),
        consumers: Vec::new(),
        tasks: FuturesUnordered::new(),
        in_flight: 0,
        publishing: 0,
        hold: Duration::ZERO,
        held: Held::default(),
        without_links_since: None,
        stopping: false,
    });
    client.run(stream, stop).await;
}

/// Claims come through `$cbs`, so everybody may come in; `PLAIN` is for libraries that do not know `$cbs`.
fn door() -> Door {
    Door {
        mechanisms: vec![Mechanism::MsSbCbs, Mechanism::Plain, Mechanism::Anonymous, Mechanism::External],
        may_skip_sasl: true,
    }
}

struct Client {
    engine: Connection,
    shared: Arc<Shared>,
    metrics: ConnectionMetrics,
    /// The links that are attached, and the sessions that are open, as they are counted.
    counted: BTreeMap<LinkId, Counted>,
    open_sessions: BTreeMap<SessionId, Counted>,
    /// Wakes the connection when a seat of it is taken.
    alarm: Arc<Notify>,
    grants: Grants,
    /// Ordered, so that what is done to several is done in the same order again.
    links: BTreeMap<LinkId, Link>,
    /// The sessions of the links.
    sessions: BTreeMap<LinkId, SessionId>,
    /// The links that are consumers; who is first sends first.
    consumers: Vec<LinkId>,
    tasks: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Bytes that wait to be stored.
    in_flight: usize,
    /// Deliveries that wait to be stored.
    publishing: usize,
    /// How long answers are held back.
    hold: Duration,
    held: Held,
    /// Since when it has no links.
    without_links_since: Option<Duration>,
    stopping: bool,
}

/// What a link is there for.
enum Link {
    /// The client sends requests.
    Requests(Service),
    /// The client receives the replies.
    Replies(Replies),
    /// The client sends events.
    Producer(Producer),
    /// The client will receive events, once it is known where they begin.
    Attaching(Box<Attaching>),
    /// The client receives events.
    Consumer(Box<Consumer>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Cbs,
    Management,
}

struct Replies {
    service: Service,
    session: SessionId,
    name: ByteString,
    address: Option<ByteString>,
    waiting: VecDeque<Bytes>,
}

struct Producer {
    hub: Arc<Hub>,
    partition: Option<PartitionId>,
    /// What the right to send is measured by.
    path: ResourcePath,
}

struct Attaching {
    attach: Attach,
    log: Arc<dyn EventLog>,
    place: Place,
    partition: PartitionId,
    path: ResourcePath,
    seat: SeatKey,
    locate: AbortHandle,
}

impl Drop for Attaching {
    fn drop(&mut self) {
        self.locate.abort();
    }
}

/// Something that was started and has ended.
enum Done {
    Published {
        link: LinkId,
        delivery: u32,
        settled: bool,
        bytes: usize,
        hold: Duration,
        result: Published,
    },
    Located {
        link: LinkId,
        start: Result<SequenceNumber, ReadError>,
    },
    Read {
        link: LinkId,
        batch: Result<EventBatch, ReadError>,
    },
    TailMoved {
        link: LinkId,
        open: bool,
    },
    /// The keys are there that a request's token may be signed with, or cannot be had.
    Keys {
        service: Service,
        delivery: Delivery,
    },
    /// Its link is gone.
    Abandoned,
}

type Published = Result<(), AmqpError>;

/// Why a turn is taken.
enum Turn {
    Io(io::Result<Moved>),
    Done(Done),
    Alarm,
    Removal,
    Time,
    Stop,
}

impl Client {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        mut self: Box<Self>,
        mut stream: S,
        mut stop: watch::Receiver<bool>,
    ) {
        let clock = Arc::clone(&self.shared.gateway.clock);
        let alarm = Arc::clone(&self.alarm);
        let mut removals = self.shared.gateway.removals();
        loop {
            while let Some(event) = self.engine.next_event() {
                self.on_event(event);
            }
            self.send_events();
            self.measure_links(clock.monotonic());
            if self.stopping && self.publishing == 0 && !self.held.has_settlements() {
                let error =
                    AmqpError::new(condition::CONNECTION_FORCED, "the server is stopping; connect again");
                self.engine.close(Some(error));
            }
            if self.engine.is_finished() {
                break;
            }
            let wait = self.next_deadline().map(|at| at.saturating_sub(clock.monotonic()));
            let reads = self.in_flight < IN_FLIGHT_BYTES && !self.stopping;
            let turn = {
                let Self { engine, tasks, stopping, .. } = &mut *self;
                tokio::select! {
                    biased;
                    Some(done) = tasks.next(), if !tasks.is_empty() => Turn::Done(done),
                    moved = exchange(&mut stream, engine, reads) => Turn::Io(moved),
                    () = alarm.notified() => Turn::Alarm,
                    // The gateway, which sends it, is kept by this connection.
                    Ok(()) = removals.changed() => Turn::Removal,
                    () = sleep_if(&*clock, wait) => Turn::Time,
                    () = told(&mut stop), if !*stopping => Turn::Stop,
                }
            };
            let now = clock.monotonic();
            match turn {
                Turn::Io(Ok(Moved::Bytes { written, read })) => {
                    self.metrics.sent.inc_by(written as u64);
                    self.metrics.received.inc_by(read as u64);
                }
                Turn::Io(Ok(Moved::End) | Err(_)) => {
                    while let Some(event) = self.engine.next_event() {
                        self.on_event(event);
                    }
                    self.engine.transport_closed();
                    break;
                }
                Turn::Done(done) => self.on_done(done),
                Turn::Alarm => self.leave_seats(),
                Turn::Removal => self.leave_removed(),
                Turn::Time => {}
                Turn::Stop => self.stopping = true,
            }
            if !reads {
                self.engine.hold_input();
            }
            self.engine.tick(now);
            self.answer_due(now);
            self.measure_grants();
        }
        // What is under way is stored all the same; only nobody is told.
        while self.publishing > 0 {
            let Some(done) = self.tasks.next().await else { break };
            if let Done::Published { .. } = done {
                self.publishing -= 1;
            }
        }
        // TLS and WebSockets say goodbye, which a client that reads nothing does not take.
        let _ = timeout(&*clock, GOODBYE, stream.shutdown()).await;
    }

    fn next_deadline(&self) -> Option<Duration> {
        let clock = &self.shared.gateway.clock;
        let now = clock.monotonic();
        let answer = self.held.next_deadline();
        let cut = self.without_links_since.map(|since| since.saturating_add(WITHOUT_LINKS));
        let expiry = self.grants.next_expiry().map(|at| now.saturating_add(at.since(clock.now())));
        let pauses = self.consumers.iter().filter_map(|link| match self.links.get(link) {
            Some(Link::Consumer(consumer)) => consumer.paused_until,
            _ => None,
        });
        self.engine.next_deadline().into_iter().chain(answer).chain(cut).chain(expiry).chain(pauses).min()
    }

    // What came from the client

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Authenticate(credentials) => {
                let welcome = self.is_welcome(&credentials);
                self.engine.authenticated(welcome);
            }
            Event::Opened(open) => self.opened(&open),
            Event::AttachRequested { session, link, attach } => {
                self.sessions.insert(link, session);
                // The client has seen the end of its older links before it hears of this one.
                self.held.take_detaches(session).into_iter().for_each(|answer| self.give(answer));
                if let Err(error) = self.attach(session, link, *attach) {
                    tracing::debug!(%error, "a link was refused");
                    self.metrics.link_refused(&error);
                    let _ = self.engine.reject_attach(link, &error);
                    self.forget(link);
                }
            }
            Event::Delivery(delivery) => self.on_delivery(delivery),
            Event::TooLarge { link, delivery_id, settled } => {
                let error = AmqpError::new(
                    condition::MESSAGE_SIZE_EXCEEDED,
                    format!(
                        "the message exceeds the limit of {MAX_EVENT_BYTES} bytes currently allowed on the link"
                    ),
                );
                self.settle_later(link, delivery_id, settled, Duration::ZERO, Err(error));
            }
            Event::Credit { link, drain, .. } => self.on_credit(link, drain),
            Event::Detached { link, by, .. } => {
                if by == Party::Peer && !self.hold.is_zero() {
                    self.hold_detach(link);
                }
                self.forget(link);
            }
            Event::SessionEnded { session, .. } => {
                let of_session = self.sessions.iter().filter(|(_, of)| **of == session);
                let gone: Vec<_> = of_session.map(|(link, _)| *link).collect();
                self.held.forget_session(session, &gone);
                gone.into_iter().for_each(|link| self.forget(link));
                self.open_sessions.remove(&session);
            }
            Event::SessionBegun { session, .. } => {
                self.open_sessions.insert(session, self.metrics.session());
            }
            Event::Closed(ending) => {
                tracing::debug!(?ending, "a connection ended");
                self.links.clear();
                self.counted.clear();
                self.open_sessions.clear();
                self.sessions.clear();
                self.consumers.clear();
                self.held.clear();
            }
            // Events that are sent are not remembered, so nothing is to be done about their outcome.
            Event::Settled { .. }
            | Event::WindowOpened { .. }
            | Event::Attached { .. }
            | Event::Drained { .. } => {}
        }
    }

    fn is_welcome(&mut self, credentials: &Credentials) -> bool {
        if credentials.mechanism != Mechanism::Plain {
            return true;
        }
        let (Some(user), Some(password)) = (&credentials.user, &credentials.password) else { return false };
        let now = self.shared.gateway.clock.now();
        match self.shared.gateway.authorizer().sign_in(user, password) {
            Ok(grants) => grants.into_iter().all(|grant| self.grants.put(grant, now).is_ok()),
            Err(error) => {
                tracing::info!(%error, "a client was not let in");
                false
            }
        }
    }

    fn opened(&mut self, open: &Open) {
        let product = open.properties.get("product").and_then(Value::as_str);
        if product == Some(HASTY_PRODUCT) {
            self.hold = HOLD;
            self.engine.hold_detach_answers();
        }
        tracing::debug!(container = %open.container_id, product, "a connection is open");
    }

    /// Holds back the answer to a detach of a client that breaks when it comes at once.
    fn hold_detach(&mut self, link: LinkId) {
        let Some(&session) = self.sessions.get(&link) else { return };
        let is_cbs = match self.links.get(&link) {
            Some(Link::Requests(service)) => *service == Service::Cbs,
            Some(Link::Replies(replies)) => replies.service == Service::Cbs,
            _ => false,
        };
        let hold = if is_cbs { HOLD_CBS } else { self.hold };
        let at = self.shared.gateway.clock.monotonic().saturating_add(hold);
        self.held.put(at, Answer::Detach { link, session });
    }

    /// Closes a connection that has had no links for too long.
    fn measure_links(&mut self, now: Duration) {
        if !self.links.is_empty() || !self.engine.is_open() {
            self.without_links_since = None;
            return;
        }
        let since = *self.without_links_since.get_or_insert(now);
        if now.saturating_sub(since) >= WITHOUT_LINKS {
            let allowed = WITHOUT_LINKS.as_millis();
            let text = format!(
                "The connection was inactive for more than the allowed {allowed} milliseconds: it has no links."
            );
            self.engine.close(Some(AmqpError::new(condition::CONNECTION_FORCED, text)));
            self.without_links_since = None;
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.counted.remove(&link);
        self.sessions.remove(&link);
        self.consumers.retain(|consumer| *consumer != link);
    }

    // Links

    fn attach(&mut self, session: SessionId, link: LinkId, attach: Attach) -> Result<(), AmqpError> {
        if attach.coordinator {
            return Err(AmqpError::new(condition::NOT_IMPLEMENTED, "there are no transactions"));
        }
        let address = match attach.role {
            Role::Sender => attach.target.as_ref().and_then(|target| target.address.clone()),
            Role::Receiver => attach.source.as_ref().and_then(|source| source.address.clone()),
        };
        let address = address.ok_or_else(|| {
            AmqpError::new(condition::INVALID_FIELD, "the link has no address to be attached to")
        })?;
        let path = ResourcePath::of_address(&address)
            .map_err(|problem| AmqpError::new(condition::INVALID_FIELD, problem.to_string()))?;
        let node = Node::at(&path).ok_or_else(|| not_found(&address))?;
        match (node, attach.role) {
            (Node::Cbs, role) => self.attach_service(session, link, attach, role, Service::Cbs),
            (Node::Management, role) => self.attach_service(session, link, attach, role, Service::Management),
            (Node::Hub { hub, partition }, Role::Sender) => {
                self.attach_producer(link, attach, path, &hub, partition)
            }
            (Node::Partition { hub, group, partition }, Role::Receiver) => {
                self.attach_consumer(link, attach, path, &hub, &group, &partition)
            }
            (Node::Hub { .. }, Role::Receiver) => Err(AmqpError::new(
                condition::NOT_ALLOWED,
                format!("'{path}' can be sent to; receive from {path}/ConsumerGroups/$Default/Partitions/0"),
            )),
            (Node::Partition { .. }, Role::Sender) => Err(AmqpError::new(
                condition::NOT_ALLOWED,
                format!("'{path}' can be received from, not sent to"),
            )),
        }
    }

    fn attach_service(
        &mut self,
        session: SessionId,
        link: LinkId,
        attach: Attach,
        role: Role,
        service: Service,
    ) -> Result<(), AmqpError> {
        let kept = match role {
            Role::Sender => {
                let _ = self.engine.set_credit_policy(link, CreditPolicy::Window(REQUEST_CREDIT));
                Link::Requests(service)
            }
            Role::Receiver => Link::Replies(Replies {
                service,
                session,
                name: attach.name.clone(),
                address: attach.target.as_ref().and_then(|target| target.address.clone()),
                waiting: VecDeque::new(),
            }),
        };
        if self.engine.accept_attach(link, Accept::as_asked(attach)).is_ok() {
            self.links.insert(link, kept);
            let kind = match service {
                Service::Cbs => LinkKind::Cbs,
                Service::Management => LinkKind::Management,
            };
            self.counted.insert(link, self.metrics.link(kind));
        }
        Ok(())
    }

    fn attach_producer(
        &mut self,
        link: LinkId,
        attach: Attach,
        path: ResourcePath,
        hub: &str,
        partition: Option<PartitionName>,
    ) -> Result<(), AmqpError> {
        let gateway = &self.shared.gateway;
        self.grants
            .allows(Right::Send, &path, gateway.clock.now())
            .map_err(|denied| refusals::denied(&denied))?;
        let hub = gateway.hub(hub).ok_or_else(|| not_found(hub))?;
        let partition = match partition {
            Some(name) => Some(existing(&hub, &name)?),
            None => None,
        };
        let accept = Accept { max_message_size: Some(MAX_EVENT_BYTES as u64), ..Accept::as_asked(attach) };
        let _ = self.engine.set_credit_policy(link, CreditPolicy::Window(PRODUCER_CREDIT));
        if self.engine.accept_attach(link, accept).is_ok() {
            self.links.insert(link, Link::Producer(Producer { hub, partition, path }));
            self.counted.insert(link, self.metrics.link(LinkKind::Producer));
        }
        Ok(())
    }

    /// Finds out where the receiver begins; it is attached then.
    fn attach_consumer(
        &mut self,
        link: LinkId,
        attach: Attach,
        path: ResourcePath,
        hub: &str,
        group: &str,
        partition: &PartitionName,
    ) -> Result<(), AmqpError> {
        let gateway = &self.shared.gateway;
        self.grants
            .allows(Right::Listen, &path, gateway.clock.now())
            .map_err(|denied| refusals::denied(&denied))?;
        let nothing = || not_found(&path.to_string());
        let hub = gateway.hub(hub).ok_or_else(nothing)?;
        let group = hub.consumer_groups().find(group).ok_or_else(nothing)?;
        let partition = existing(&hub, partition)?;
        let log = Arc::clone(hub.log().ok_or_else(|| {
            AmqpError::new(condition::NOT_ALLOWED, format!("the hub {} can only be sent to", hub.name()))
        })?);
        let start = match attach.source.as_ref().and_then(|source| source.selector()) {
            Some(expression) => selector::position(expression)
                .map_err(|invalid| AmqpError::new(condition::INVALID_FIELD, invalid.to_string()))?,
            None => StartPosition::Earliest,
        };
        let reader = Arc::clone(&log);
        let locate = self.start(async move {
            let start = reader.locate(partition, start).await;
            Done::Located { link, start }
        });
        let seat = SeatKey::new(hub.name().as_str(), group.as_str(), partition);
        let place = Place { hub, group };
        let attaching = Attaching { attach, log, place, partition, path, seat, locate };
        self.links.insert(link, Link::Attaching(Box::new(attaching)));
        Ok(())
    }

    fn located(&mut self, link: LinkId, start: Result<SequenceNumber, ReadError>) {
        let Some(Link::Attaching(attaching)) = self.links.remove(&link) else { return };
        if let Err(error) = self.begin_consumer(link, *attaching, start) {
            tracing::debug!(%error, "a receiver was refused");
            self.metrics.link_refused(&error);
            let _ = self.engine.reject_attach(link, &error);
            self.forget(link);
        }
    }

    fn begin_consumer(
        &mut self,
        link: LinkId,
        mut attaching: Attaching,
        start: Result<SequenceNumber, ReadError>,
    ) -> Result<(), AmqpError> {
        let start = start.map_err(|error| refusals::not_readable(&error))?;
        let attach = std::mem::take(&mut attaching.attach);
        let tail = attaching.log.tail(attaching.partition).map_err(|error| refusals::not_readable(&error))?;
        let epoch = attach.properties.get("com.microsoft:epoch").and_then(Value::as_i64);
        let seat = self.shared.seats.take(attaching.seat.clone(), epoch, &self.alarm).map_err(|no_seat| {
            let condition = match no_seat {
                super::seats::NoSeat::HigherEpoch { .. } => condition::LINK_STOLEN,
                super::seats::NoSeat::Full => condition::RESOURCE_LIMIT_EXCEEDED,
            };
            AmqpError::new(condition, no_seat.to_string())
        })?;
        let (log, path) = (Arc::clone(&attaching.log), attaching.path.clone());
        let place = attaching.place.clone();
        let mut consumer = Consumer::new(log, place, attaching.partition, path, seat, tail, start);
        let metric = "com.microsoft:enable-receiver-runtime-metric";
        consumer.wants_runtime =
            attach.desired_capabilities.iter().any(|capability| capability.as_str() == metric);
        consumer.settled = attach.snd_settle_mode != SenderSettleMode::Unsettled;
        if self.engine.accept_attach(link, Accept::as_asked(attach)).is_ok() {
            self.links.insert(link, Link::Consumer(Box::new(consumer)));
            self.counted.insert(link, self.metrics.link(LinkKind::Receiver));
            self.consumers.push(link);
        }
        Ok(())
    }

    /// Detaches the receivers whose seats others have taken.
    fn leave_seats(&mut self) {
        let taken = |link: &Link| match link {
            Link::Consumer(consumer) => consumer.seat.taken_by(),
            _ => None,
        };
        let left: Vec<_> = self.links.iter().filter_map(|(id, link)| Some((*id, taken(link)?))).collect();
        for (link, taker) in left {
            let error = AmqpError::new(
                condition::LINK_STOLEN,
                format!(
                    "New receiver with higher or equal epoch of '{}' is created hence current receiver is getting disconnected.",
                    taker.epoch
                ),
            );
            self.detach(link, &error);
        }
    }

    /// Detaches the links to hubs and consumer groups that are gone.
    fn leave_removed(&mut self) {
        let is_gone = |link: &Link| match link {
            Link::Producer(producer) => producer.hub.is_closed(),
            Link::Attaching(attaching) => attaching.place.is_gone(),
            Link::Consumer(consumer) => consumer.place.is_gone(),
            Link::Requests(_) | Link::Replies(_) => false,
        };
        let gone: Vec<_> = self.links.iter().filter(|(_, link)| is_gone(link)).map(|(id, _)| *id).collect();
        for link in gone {
            let what = match self.links.get(&link) {
                Some(Link::Producer(producer)) => producer.path.to_string(),
                Some(Link::Attaching(attaching)) => attaching.path.to_string(),
                Some(Link::Consumer(consumer)) => consumer.path.to_string(),
                _ => continue,
            };
            self.detach(link, &not_found(&what));
        }
    }

    /// Detaches the links that stood on a grant which has ended.
    fn measure_grants(&mut self) {
        let now = self.shared.gateway.clock.now();
        if self.grants.next_expiry().is_none_or(|at| at > now) || !self.grants.expire(now) {
            return;
        }
        let denied = |link: &Link| match link {
            Link::Producer(producer) => self.grants.allows(Right::Send, &producer.path, now).err(),
            Link::Consumer(consumer) => self.grants.allows(Right::Listen, &consumer.path, now).err(),
            Link::Attaching(attaching) => self.grants.allows(Right::Listen, &attaching.path, now).err(),
            Link::Requests(_) | Link::Replies(_) => None,
        };
        let ended: Vec<_> = self.links.iter().filter_map(|(id, link)| Some((*id, denied(link)?))).collect();
        for (link, denied) in ended {
            self.detach(link, &refusals::denied(&denied));
        }
    }

    fn detach(&mut self, link: LinkId, error: &AmqpError) {
        tracing::debug!(%error, "a link is detached");
        self.metrics.link_refused(error);
        if self.engine.detach(link, true, Some(error)).is_err() {
            let _ = self.engine.reject_attach(link, error);
        }
        self.forget(link);
    }

    // Events from producers

    fn on_delivery(&mut self, delivery: Delivery) {
        match self.links.get(&delivery.link) {
            Some(Link::Producer(_)) => {
                self.metrics.messages_in.inc();
                self.publish(delivery);
            }
            Some(Link::Requests(service)) => {
                let service = *service;
                self.answer(service, delivery);
            }
            // It came while the link was being detached.
            _ => {}
        }
    }

    fn publish(&mut self, delivery: Delivery) {
        let Delivery { link, delivery_id, settled, message_format, payload, .. } = delivery;
        let Some(Link::Producer(producer)) = self.links.get(&link) else { return };
        let bytes = payload.len();
        let prepared = super::events::events_of(message_format, payload)
            .map_err(|error| refusals::unacceptable(&error))
            .and_then(|sent| {
                let route = match (producer.partition, &sent.partition_key) {
                    (Some(partition), _) => Route::Partition(partition),
                    (None, Some(key)) => Route::Key(key),
                    (None, None) => Route::Any,
                };
                let partition =
                    producer.hub.choose(route).map_err(|error| refusals::not_published(&error.into()))?;
                Ok((partition, sent.events))
            });
        let (partition, events) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.settle_later(link, delivery_id, settled, Duration::ZERO, Err(error)),
        };
        let gateway = Arc::clone(&self.shared.gateway);
        let hub = Arc::clone(&producer.hub);
        let hold = hub.charge(bytes as u64, events.len() as u64, &*gateway.clock);
        self.in_flight += bytes;
        self.publishing += 1;
        // Appends are begun in the order in which they are started here, and take effect in that order.
        self.tasks.push(Box::pin(async move {
            let memory = bytes + events.len() * EVENT_OVERHEAD_BYTES;
            let result = match gateway.admission.reserve(memory, &*gateway.clock).await {
                Ok(_reservation) => {
                    let wait = gateway.limits.append_wait;
                    let published = hub.publish(partition, events, &*gateway.clock, wait).await;
                    published.map(|_| ()).map_err(|error| refusals::not_published(&error))
                }
                Err(busy) => Err(AmqpError::new(
                    condition::SERVER_BUSY,
                    format!("{busy}. Error code : 50002. Please wait 4 seconds and try again."),
                )),
            };
            Done::Published { link, delivery: delivery_id, settled, bytes, hold, result }
        }));
    }

    // Requests

    fn answer(&mut self, service: Service, delivery: Delivery) {
        let gateway = &self.shared.gateway;
        let Some(token) = requests::token_before_its_keys(gateway, &delivery.payload) else {
            return self.answer_now(service, delivery);
        };
        // The identity provider is asked for its keys first.
        let gateway = Arc::clone(gateway);
        self.tasks.push(Box::pin(async move {
            gateway.authorizer().fetch_keys_for(&token, &gateway.clock).await;
            Done::Keys { service, delivery }
        }));
    }

    fn answer_now(&mut self, service: Service, delivery: Delivery) {
        let Delivery { link, delivery_id, settled, payload, .. } = delivery;
        let gateway = &self.shared.gateway;
        let reply = match service {
            Service::Cbs => requests::put_token(gateway, &mut self.grants, payload),
            Service::Management => requests::manage(gateway, &self.grants, payload),
        };
        self.settle_later(link, delivery_id, settled, Duration::ZERO, Ok(()));
        self.reply(service, link, reply);
    }

    /// Sends a reply on the link that it is for.
    fn reply(&mut self, service: Service, request: LinkId, reply: Reply) {
        let session = self.sessions.get(&request).copied();
        let is_for = |replies: &Replies| {
            reply.to.as_ref().is_some_and(|to| replies.address.as_ref() == Some(to) || replies.name == *to)
        };
        let candidates = || {
            self.links.iter().filter_map(|(id, link)| match link {
                Link::Replies(replies) if replies.service == service => Some((*id, replies)),
                _ => None,
            })
        };
        let receiver = candidates()
            .find(|(_, replies)| Some(replies.session) == session && is_for(replies))
            .or_else(|| candidates().find(|(_, replies)| is_for(replies)))
            .or_else(|| candidates().find(|(_, replies)| Some(replies.session) == session))
            .map(|(id, _)| id);
        let Some(receiver) = receiver else {
            tracing::debug!("there is no link for a reply");
            return;
        };
        let Some(Link::Replies(replies)) = self.links.get_mut(&receiver) else { return };
        if replies.waiting.len() >= MAX_WAITING_REPLIES {
            let error =
                AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, "too many replies wait for credit");
            return self.detach(receiver, &error);
        }
        replies.waiting.push_back(reply.message);
        self.send_replies(receiver);
    }

    fn send_replies(&mut self, link: LinkId) {
        let Some(Link::Replies(replies)) = self.links.get_mut(&link) else { return };
        let outgoing = Outgoing { settled: true, ..Outgoing::default() };
        while let Some(message) = replies.waiting.front() {
            match self.engine.send(link, &outgoing, &[Part::Share(message)]) {
                Err(SendError::NoCredit | SendError::NoWindow | SendError::OutputFull) => return,
                Ok(_) | Err(_) => drop(replies.waiting.pop_front()),
            }
        }
    }

    // Events to receivers

    fn on_credit(&mut self, link: LinkId, drain: bool) {
        match self.links.get_mut(&link) {
            Some(Link::Consumer(consumer)) => consumer.draining = drain,
            Some(Link::Replies(_)) => {
                self.send_replies(link);
                if drain {
                    let _ = self.engine.drained(link);
                }
            }
            _ => {}
        }
    }

    /// Sends what is ready on all links, and starts the reads for what is not.
    fn send_events(&mut self) {
        let replies: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| matches!(link, Link::Replies(replies) if !replies.waiting.is_empty()))
            .map(|(id, _)| *id)
            .collect();
        replies.into_iter().for_each(|link| self.send_replies(link));
        if self.consumers.is_empty() {
            return;
        }
        // Nobody is always the last when the output is short.
        self.consumers.rotate_left(1);
        for index in 0..self.consumers.len() {
            let Some(link) = self.consumers.get(index).copied() else { break };
            self.serve_consumer(link);
        }
    }

    fn serve_consumer(&mut self, link: LinkId) {
        let clock = Arc::clone(&self.shared.gateway.clock);
        let Some(Link::Consumer(consumer)) = self.links.get_mut(&link) else { return };
        if let Some(until) = consumer.paused_until {
            if until > clock.monotonic() {
                return;
            }
            consumer.paused_until = None;
        }
        let sending = consumer.send(&mut self.engine, link);
        if sending.events > 0 {
            let pause = self.shared.gateway.quota().charge_egress(sending.bytes, sending.events, &*clock);
            consumer.paused_until = (!pause.is_zero()).then(|| clock.monotonic().saturating_add(pause));
            self.metrics.messages_out.inc_by(sending.events);
        }
        if let Some(error) = sending.problem {
            return self.detach(link, &error);
        }
        let credit = self.engine.credit(link).unwrap_or(0);
        if consumer.draining && consumer.is_at_tail() {
            consumer.draining = false;
            let _ = self.engine.drained(link);
            return;
        }
        match consumer.wanted(credit) {
            Wanted::Nothing => {}
            Wanted::Read(from, limit) => {
                let (log, partition) = (Arc::clone(&consumer.log), consumer.partition);
                let handle = self.start(async move {
                    Done::Read { link, batch: log.read_batch(partition, from, limit).await }
                });
                if let Some(Link::Consumer(consumer)) = self.links.get_mut(&link) {
                    consumer.reads(handle);
                }
            }
            Wanted::Tail => {
                let mut tail = consumer.tail.clone();
                let handle =
                    self.start(async move { Done::TailMoved { link, open: tail.changed().await.is_ok() } });
                if let Some(Link::Consumer(consumer)) = self.links.get_mut(&link) {
                    consumer.waits(handle);
                }
            }
        }
    }

    // What was started

    /// Starts something that ends when its handle is aborted.
    fn start(&mut self, work: impl Future<Output = Done> + Send + 'static) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let abortable = Abortable::new(work, registration);
        self.tasks.push(Box::pin(abortable.map(|done| done.unwrap_or(Done::Abandoned))));
        handle
    }

    /// Takes what has ended, and with it all else that has.
    fn on_done(&mut self, first: Done) {
        let mut accepted = Vec::new();
        let mut next = Some(first);
        while let Some(done) = next {
            match done {
                Done::Published { link, delivery, settled, bytes, hold, result } => {
                    self.in_flight -= bytes;
                    self.publishing -= 1;
                    if result.is_ok() && !settled && hold.is_zero() && self.hold.is_zero() {
                        accepted.push((link, delivery));
                    } else {
                        self.settle_later(link, delivery, settled, hold, result);
                    }
                }
                Done::Located { link, start } => self.located(link, start),
                Done::Read { link, batch } => {
                    let now = self.shared.gateway.clock.now();
                    if let Some(Link::Consumer(consumer)) = self.links.get_mut(&link)
                        && let Err(error) = consumer.read(batch, now)
                    {
                        self.detach(link, &error);
                    }
                }
                Done::TailMoved { link, open } => {
                    if let Some(Link::Consumer(consumer)) = self.links.get_mut(&link) {
                        consumer.tail_moved();
                        if !open {
                            self.detach(
                                link,
                                &AmqpError::new(condition::NOT_FOUND, "the hub has been deleted"),
                            );
                        }
                    }
                }
                Done::Keys { service, delivery } => self.answer_now(service, delivery),
                Done::Abandoned => {}
            }
            next = self.tasks.next().now_or_never().flatten();
        }
        self.accept(accepted);
    }

    /// Tells producers that their events are stored, in as few dispositions as there can be.
    fn accept(&mut self, mut accepted: Vec<(LinkId, u32)>) {
        accepted.sort_unstable_by_key(|(_, delivery)| *delivery);
        let mut deliveries = accepted.into_iter().peekable();
        while let Some((link, first)) = deliveries.next() {
            let mut last = first;
            while let Some((_, next)) =
                deliveries.next_if(|(other, next)| *other == link && *next == last.wrapping_add(1))
            {
                last = next;
            }
            let _ = self.engine.settle(link, first, last, &DeliveryState::Accepted);
        }
    }

    /// Tells a producer what became of a delivery, when it is time.
    fn settle_later(
        &mut self,
        link: LinkId,
        delivery: u32,
        settled: bool,
        hold: Duration,
        result: Published,
    ) {
        if let Err(error) = &result {
            tracing::debug!(%error, "a message was refused");
            self.metrics.message_refused(error);
        }
        if settled {
            return;
        }
        let state = result.map_or_else(rejected, |()| DeliveryState::Accepted);
        let is_hasty = !self.hold.is_zero();
        let hold = self.hold.max(hold);
        if hold.is_zero() {
            let _ = self.engine.settle(link, delivery, delivery, &state);
            return;
        }
        let at = self.shared.gateway.clock.monotonic().saturating_add(hold);
        let answer = if is_hasty {
            Answer::State { link, delivery, state }
        } else {
            Answer::Settlement { link, delivery, state }
        };
        self.held.put(at, answer);
    }

    fn answer_due(&mut self, now: Duration) {
        while let Some(answer) = self.held.take_due(now) {
            self.give(answer);
        }
    }

    /// Gives an answer that was held back. An error means that nobody waits for it any more.
    fn give(&mut self, answer: Answer) {
        match answer {
            Answer::State { link, delivery, state } => {
                if self.engine.tell_state(link, delivery, &state).is_ok() {
                    let at = self.shared.gateway.clock.monotonic().saturating_add(HOLD_SETTLEMENT);
                    self.held.put(at, Answer::Settlement { link, delivery, state });
                }
            }
            Answer::Settlement { link, delivery, state } => {
                let _ = self.engine.settle(link, delivery, delivery, &state);
            }
            Answer::Detach { link, .. } => {
                // Nothing can be said of the link after that.
                for answer in self.held.take_of_link(link) {
                    if let Answer::State { delivery, state, .. }
                    | Answer::Settlement { delivery, state, .. } = answer
                    {
                        let _ = self.engine.settle(link, delivery, delivery, &state);
                    }
                }
                let _ = self.engine.answer_detach(link);
            }
        }
    }
}

/// The partition of a hub that a name means.
fn existing(hub: &Hub, name: &PartitionName) -> Result<PartitionId, AmqpError> {
    let count = hub.partition_count();
    name.id.filter(|id| id.0 < count).ok_or_else(|| refusals::no_such_partition(count))
}

/// Waits until the server stops.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
