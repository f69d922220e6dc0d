//! A producer: it sends what it is given, and sends it again until it is told that it is stored.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_amqp::codec::message::{BatchBuilder, MessageBuilder};
use tidegate_amqp::codec::names::{MESSAGE_FORMAT_BATCH, MESSAGE_FORMAT_PLAIN, annotation, condition};
use tidegate_amqp::codec::performative::{Attach, DeliveryState, Role, Source, Target};
use tidegate_amqp::codec::value::Value;
use tidegate_amqp::connection::{Event, LinkId, Outgoing, Part, SendError, SessionId};
use tidegate_model::position::PartitionId;
use tokio::sync::Notify;

use super::Shared;
use super::client::{Client, Turn};
use super::plan::{PATIENCE_OF_SDKS, ProducerPlan};
use crate::event::body;
use crate::oracle::Told;
use crate::random::Random;
use crate::scenario::hub_name;

/// The server answers a send within a minute, and its answer is not on its way for longer than this.
const WAY: Duration = Duration::from_secs(10);

/// What a producer is to send at once.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The document and the id of each event.
    pub(crate) events: Vec<(String, String)>,
    /// The partition, as far as it is known.
    pub(crate) partition: Option<PartitionId>,
    /// The key.
    pub(crate) key: Option<String>,
    /// How often it was sent before.
    pub(crate) attempts: u32,
}

impl Order {
    /// The link it goes on: to the hub when a key or the server decides the partition.
    fn address(&self) -> String {
        match (self.partition, &self.key) {
            (Some(partition), None) => format!("{}/Partitions/{partition}", hub_name()),
            _ => hub_name().as_str().to_owned(),
        }
    }

    /// The ids of this attempt.
    fn ids(&self) -> Vec<String> {
        let id =
            |id: &String| if self.attempts == 0 { id.clone() } else { format!("{id}r{}", self.attempts) };
        self.events.iter().map(|(_, of)| id(of)).collect()
    }

    /// The message of this attempt: one event, or a batch.
    fn message(&self, as_batch: bool) -> (u32, Bytes) {
        let ids = self.ids();
        let bodies = self.events.iter().zip(&ids).map(|((document, _), id)| body(document, id));
        let message =
            |data: Bytes| MessageBuilder::new().application_property("attempt", self.attempts).data(data);
        if !as_batch && let [only] = &bodies.clone().collect::<Vec<_>>()[..] {
            let message = message(only.clone());
            let message = match &self.key {
                Some(key) => {
                    message.annotation(annotation::PARTITION_KEY, Value::String(key.as_str().into()))
                }
                None => message,
            };
            return (MESSAGE_FORMAT_PLAIN, message.encode());
        }
        let mut batch = BatchBuilder::new(self.key.as_deref());
        bodies.for_each(|data| batch.add(&message(data).encode()));
        (MESSAGE_FORMAT_BATCH, batch.finish())
    }
}

/// What a producer still has to send.
#[derive(Default)]
pub(super) struct Queue {
    orders: Mutex<Orders>,
    more: Notify,
}

#[derive(Default)]
struct Orders {
    waiting: VecDeque<Order>,
    /// Those that are not stored yet, waiting or not.
    open: usize,
}

impl Queue {
    /// One more.
    pub(super) fn put(&self, order: Order) {
        let mut orders = self.orders.lock();
        orders.waiting.push_back(order);
        orders.open += 1;
        drop(orders);
        self.more.notify_one();
    }

    /// How many are not stored yet.
    pub(super) fn open(&self) -> usize {
        self.orders.lock().open
    }

    fn is_empty(&self) -> bool {
        self.orders.lock().waiting.is_empty()
    }
}

/// A producer.
pub(super) struct Producer {
    name: String,
    plan: ProducerPlan,
    idle_timeout: Duration,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    random: Random,
    links: u64,
}

/// One connection of a producer.
struct Talk {
    client: Client,
    session: Option<SessionId>,
    links: Vec<Link>,
    /// What was sent and not answered, in order.
    unanswered: BTreeMap<u64, Unanswered>,
    sent: u64,
    /// Nothing is sent before this time: the server was too busy.
    pauses_until: Duration,
    /// It is of no use any more.
    is_over: bool,
}

struct Link {
    id: LinkId,
    session: SessionId,
    address: String,
    name: String,
    asked_at: Duration,
    is_attached: bool,
}

struct Unanswered {
    session: SessionId,
    link: LinkId,
    delivery: u32,
    order: Order,
    sent_at: Duration,
}

impl Producer {
    pub(super) fn new(
        index: usize,
        plan: &ProducerPlan,
        queue: &Arc<Queue>,
        shared: &Arc<Shared>,
        idle_timeout: Duration,
    ) -> Self {
        let name = format!("p{index}");
        let random = Random::of(shared.seed, &name);
        let (queue, shared) = (Arc::clone(queue), Arc::clone(shared));
        Self { name, plan: plan.clone(), idle_timeout, queue, shared, random, links: 0 }
    }

    /// Sends for as long as the run goes on.
    pub(super) async fn run(mut self) {
        loop {
            while self.queue.is_empty() {
                self.queue.more.notified().await;
            }
            let mut options = Shared::options(&self.name, self.plan.frame, self.idle_timeout);
            if self.plan.is_hasty {
                options.properties.push("product", Value::String("azure_messaging_eventhubs".into()));
            }
            let Shared { network, executor, .. } = &*self.shared;
            let opened = Client::open(network, executor, options, self.plan.access, self.plan.patience).await;
            if let Some(client) = opened {
                self.note(format_args!("is connected by wire {}", client.wire()));
                self.talk(client).await;
            }
            let pause = Duration::from_millis(self.random.below(500));
            self.shared.executor.sleep(pause).await;
        }
    }

    /// Sends on a connection until it ends, or there is nothing to send.
    async fn talk(&mut self, client: Client) {
        let mut talk = Talk {
            client,
            session: None,
            links: Vec::new(),
            unanswered: BTreeMap::new(),
            sent: 0,
            pauses_until: Duration::ZERO,
            is_over: false,
        };
        let executor = self.shared.executor.clone();
        loop {
            if talk.is_over || !self.send(&mut talk) {
                break;
            }
            let is_idle = self.queue.is_empty() && talk.unanswered.is_empty();
            if is_idle && !self.plan.stays {
                talk.client.close(self.plan.patience).await;
                self.note(format_args!("closes its connection"));
                return;
            }
            let now = executor.now();
            let until = talk.deadline(self.plan.patience).unwrap_or(now + Duration::from_secs(3600));
            let pause = (talk.pauses_until > now).then_some(talk.pauses_until);
            match talk.client.turn(pause.map_or(until, |at| at.min(until)), &self.queue.more).await {
                Turn::Event(event) => self.on_event(&mut talk, event),
                Turn::Nudged => {}
                Turn::Time if executor.now() < until => {}
                Turn::Time => {
                    if talk.deadline(self.plan.patience).is_some() {
                        self.give_up(&talk);
                        break;
                    }
                }
                Turn::Over => {
                    self.note(format_args!("has lost wire {}", talk.client.wire()));
                    // A connection without links is closed after a while.
                    if !talk.links.is_empty() {
                        self.shared.check_end(&self.name, &talk.client);
                    }
                    break;
                }
            }
        }
        let unknown: Vec<_> = std::mem::take(&mut talk.unanswered).into_values().collect();
        self.send_again(unknown.into_iter().map(|unanswered| unanswered.order));
    }

    /// An answer has not come in time.
    fn give_up(&self, talk: &Talk) {
        self.note(format_args!("waits no longer on wire {}", talk.client.wire()));
        if self.plan.patience >= PATIENCE_OF_SDKS + WAY && !talk.client.is_harmed() {
            let detail = format!("{} heard nothing for {:?}", self.name, self.plan.patience);
            self.shared.oracle.report("who is connected gets an answer", detail);
        }
    }

    /// Attaches and sends what can be; false when the connection cannot be used.
    fn send(&mut self, talk: &mut Talk) -> bool {
        let now = self.shared.executor.now();
        while talk.unanswered.len() < self.plan.window && talk.pauses_until <= now {
            let Some(order) = self.queue.orders.lock().waiting.front().cloned() else { break };
            let address = order.address();
            let Some(link) = talk.links.iter().find(|link| link.address == address) else {
                if !self.attach(talk, address) {
                    return false;
                }
                break;
            };
            if !link.is_attached {
                break;
            }
            let (message_format, message) = order.message(self.random.one_in(2));
            let outgoing = Outgoing { message_format, ..Outgoing::default() };
            match talk.client.engine.send(link.id, &outgoing, &[Part::Share(&message)]) {
                Ok(delivery) => {
                    self.queue.orders.lock().waiting.pop_front();
                    let ids = order.ids();
                    self.tell(&ids, Told::Nothing);
                    self.shared.oracle.delivers(&link.name, ids);
                    talk.sent += 1;
                    let (session, link) = (link.session, link.id);
                    let unanswered = Unanswered { session, link, delivery, order, sent_at: now };
                    talk.unanswered.insert(talk.sent, unanswered);
                }
                Err(SendError::NoCredit | SendError::NoWindow | SendError::OutputFull) => break,
                Err(_) => return false,
            }
        }
        true
    }

    fn attach(&mut self, talk: &mut Talk, address: String) -> bool {
        let session = talk.session.filter(|_| self.plan.has_one_session).or_else(|| talk.client.begin());
        let Some(session) = session else { return false };
        talk.session = Some(session);
        self.links += 1;
        let name = format!("{}-{}", self.name, self.links);
        let attach = Attach {
            name: name.as_str().into(),
            role: Role::Sender,
            source: Some(Source::default()),
            target: Some(Target::at(address.as_str())),
            ..Attach::default()
        };
        let Ok(id) = talk.client.engine.attach(session, attach) else { return false };
        let asked_at = self.shared.executor.now();
        talk.links.push(Link { id, session, address, name, asked_at, is_attached: false });
        true
    }

    fn on_event(&mut self, talk: &mut Talk, event: Event) {
        match event {
            Event::Attached { link, .. } => {
                talk.links
                    .iter_mut()
                    .filter(|other| other.id == link)
                    .for_each(|link| link.is_attached = true);
            }
            Event::Settled { session, first, last, state: Some(state), .. } => {
                let answered = talk.unanswered.extract_if(.., |_, sent| {
                    sent.session == session && (first..=last).contains(&sent.delivery)
                });
                let answered: Vec<_> = answered.map(|(_, sent)| sent.order).collect();
                self.on_answer(talk, answered, &state);
                self.detach_on_a_whim(talk);
            }
            Event::Detached { link, error, .. } if talk.links.iter().any(|other| other.id == link) => {
                self.note(format_args!("has lost a link: {error:?}"));
                // Such as a token that has ended: it comes with another one.
                talk.is_over = error.is_some();
                talk.links.retain(|other| other.id != link);
                let lost = talk.unanswered.extract_if(.., |_, sent| sent.link == link);
                let lost: Vec<_> = lost.map(|(_, sent)| sent.order).collect();
                self.send_again(lost);
            }
            Event::SessionEnded { session, .. } => {
                talk.session = talk.session.filter(|ours| *ours != session);
                talk.links.retain(|other| other.session != session);
                let lost = talk.unanswered.extract_if(.., |_, sent| sent.session == session);
                let lost: Vec<_> = lost.map(|(_, sent)| sent.order).collect();
                self.send_again(lost);
            }
            _ => {}
        }
    }

    /// Now and then it detaches its links, whatever is under way on them.
    fn detach_on_a_whim(&mut self, talk: &mut Talk) {
        if self.shared.is_calm() || !self.random.one_in(20) {
            return;
        }
        self.note(format_args!("detaches its links, with {} under way", talk.unanswered.len()));
        for link in &talk.links {
            let _ = talk.client.engine.detach(link.id, self.random.one_in(2), None);
        }
        talk.links.clear();
        let unknown: Vec<_> = std::mem::take(&mut talk.unanswered).into_values().collect();
        self.send_again(unknown.into_iter().map(|sent| sent.order));
    }

    fn on_answer(&mut self, talk: &mut Talk, answered: Vec<Order>, state: &DeliveryState) {
        if *state == DeliveryState::Accepted {
            for order in answered {
                self.tell(&order.ids(), Told::Stored(order.partition, None));
                self.queue.orders.lock().open -= 1;
            }
            return;
        }
        // What these say is that nothing was stored.
        let is_refused = matches!(state, DeliveryState::Rejected { error: Some(error) }
            if [condition::SERVER_BUSY, condition::RESOURCE_LIMIT_EXCEEDED].contains(&error.condition));
        self.note(format_args!("is told {state:?}"));
        for order in &answered {
            self.tell(&order.ids(), if is_refused { Told::NotStored } else { Told::Nothing });
        }
        talk.pauses_until = self.shared.executor.now() + Duration::from_millis(50 + self.random.below(500));
        self.send_again(answered);
    }

    /// These are sent once more, before all that waits.
    fn send_again(&self, orders: impl IntoIterator<Item = Order, IntoIter: DoubleEndedIterator>) {
        let mut queue = self.queue.orders.lock();
        for order in orders.into_iter().rev() {
            queue.waiting.push_front(Order { attempts: order.attempts + 1, ..order });
        }
    }

    fn tell(&self, ids: &[String], told: Told) {
        for id in ids {
            self.note(format_args!("{id}: {told:?}"));
            self.shared.oracle.told(id, told);
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.shared.trace.note(&self.name, what);
    }
}

impl Talk {
    /// When an answer has to have come, if one is waited for.
    fn deadline(&self, patience: Duration) -> Option<Duration> {
        let attaches = self.links.iter().filter(|link| !link.is_attached).map(|link| link.asked_at);
        let sends = self.unanswered.values().map(|sent| sent.sent_at);
        attaches.chain(sends).min().map(|since| since + patience)
    }
}
