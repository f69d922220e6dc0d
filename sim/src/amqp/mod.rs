//! Clients that come in by AMQP: producers that send again when they do not know, and readers in a group of their own.
//!
//! ```text
//! producers ─► network ─► the door: the real connections, one task each ─► the real log
//! readers   ◄─    │    ◄─
//!                 └── cut, dark, late, in pieces
//! ```
//!
//! They behave as the SDKs do. A producer that is not told what became of a delivery sends its events once more; here each
//! attempt has ids of its own, so that every attempt has to keep the promise by itself. A reader goes on behind the last
//! event it was given.

mod client;
mod defects;
mod plan;
mod producer;
mod reader;
mod requests;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_amqp::connection::Options;
use tidegate_eventlog::HubLog;
use tidegate_gateway::Gateway;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor};
use tidegate_gateway::namespace::{ConsumerGroupName, ConsumerGroups};
use tidegate_model::clock::SharedClock;
use tidegate_model::ports::EventLog;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

use crate::executor::{Executor, ProcessId};
use crate::mutation::Mutation;
use crate::network::{Harm, Network, Side};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::site::{Content, Site, authorizer};
use crate::trace::Trace;

use client::Client;
pub(crate) use plan::Plan;
pub(crate) use producer::Order;
use producer::{Producer, Queue};
use reader::{Reader, State};

/// The consumer group of the readers.
const GROUP: &str = "readers";

/// All clients of a run, and the door they come in by.
pub(crate) struct Amqp {
    plan: Plan,
    random: Random,
    shared: Arc<Shared>,
    queues: Vec<Arc<Queue>>,
    readers: Vec<Arc<Mutex<State>>>,
    door: Option<(Arc<AmqpDoor>, ProcessId)>,
    /// Tells the connections that the server stops.
    stop: watch::Sender<bool>,
}

/// What all clients have.
struct Shared {
    executor: Executor,
    network: Network,
    oracle: Arc<Oracle>,
    trace: Trace,
    seed: u64,
    mutation: Option<Mutation>,
    /// Nothing goes wrong any more, and nobody does what need not be.
    is_calm: AtomicBool,
    /// The log behind the door, while there is one.
    log: Mutex<Option<Arc<HubLog>>>,
}

impl Shared {
    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// The number of a partition's next event.
    fn tail(&self, partition: PartitionId) -> SequenceNumber {
        let log = self.log.lock().clone();
        let ends = log.and_then(|log| EventLog::ends(&*log, partition).ok());
        ends.map_or(SequenceNumber::ZERO, |ends| ends.tail)
    }

    /// A client has lost its connection.
    fn check_end(&self, name: &str, client: &Client) {
        if let Some(ending) = client.ended_for_nothing() {
            let detail = format!("{name} has lost wire {}: {ending:?}", client.wire());
            self.oracle.report("nothing but a fault ends a connection", detail);
        }
    }

    fn options(name: &str, frame: u32, idle_timeout: Duration) -> Options {
        Options { max_frame_size: frame, idle_timeout: Some(idle_timeout), ..Options::new(name) }
    }
}

impl Amqp {
    /// The clients of a scenario; they begin when they are [started](Self::start).
    pub(crate) fn new(
        scenario: &Scenario,
        executor: &Executor,
        oracle: &Arc<Oracle>,
        trace: &Trace,
        mutation: Option<Mutation>,
    ) -> Self {
        let shared = Shared {
            executor: executor.clone(),
            network: Network::new(executor, scenario.seed),
            oracle: Arc::clone(oracle),
            trace: trace.clone(),
            seed: scenario.seed,
            mutation,
            is_calm: AtomicBool::new(false),
            log: Mutex::new(None),
        };
        Self {
            plan: scenario.amqp.clone(),
            random: Random::of(scenario.seed, "trouble of the network"),
            shared: Arc::new(shared),
            queues: scenario.amqp.producers.iter().map(|_| Arc::default()).collect(),
            readers: scenario.amqp.readers.iter().map(|_| Arc::default()).collect(),
            door: None,
            stop: watch::Sender::new(false),
        }
    }

    /// Starts the clients.
    pub(crate) fn start(&self, process: ProcessId) {
        for (index, (plan, queue)) in self.plan.producers.iter().zip(&self.queues).enumerate() {
            let producer = Producer::new(index, plan, queue, &self.shared, self.plan.idle_timeout);
            self.shared.executor.spawn(process, producer.run());
        }
        for (index, (plan, state)) in self.plan.readers.iter().zip(&self.readers).enumerate() {
            let reader = Reader::new(index, plan, state, &self.shared, self.plan.idle_timeout);
            self.shared.executor.spawn(process, reader.run());
        }
    }

    // --- The door -------------------------------------------------------------------------------------------------------

    /// Opens the door to a log.
    pub(crate) fn open_door(&mut self, site: &Site) {
        let Shared { executor, mutation, seed, .. } = &*self.shared;
        let clock: SharedClock = Arc::clone(&site.clock) as SharedClock;
        let gateway = Gateway::new(authorizer(), defects::limits(*mutation), clock);
        let (appender, log) = defects::ports(&site.hub, *mutation, executor, site.process, *seed);
        let group = ConsumerGroupName::new(GROUP).expect("a good name");
        let groups = ConsumerGroups::of([group]).expect("one group");
        gateway.open_hub_with(appender, Some(log), groups).expect("it is the only hub");
        let bounds = AmqpBounds { idle_timeout: self.plan.idle_timeout, ..AmqpBounds::default() };
        self.door = Some((Arc::new(AmqpDoor::new(Arc::new(gateway), bounds)), site.process));
        *self.shared.log.lock() = Some(Arc::clone(&site.hub));
        self.listen();
    }

    fn listen(&mut self) {
        let Some((door, process)) = &self.door else { return };
        self.stop = watch::Sender::new(false);
        let (door, stop) = (Arc::clone(door), self.stop.subscribe());
        let (mutation, executor) = (self.shared.mutation, self.shared.executor.clone());
        let random = Arc::new(Mutex::new(Random::of(self.shared.seed, "ends of connections")));
        self.shared.network.listen(*process, move |stream| {
            let (door, stop) = (Arc::clone(&door), stop.clone());
            let (executor, random) = (executor.clone(), Arc::clone(&random));
            Box::pin(async move {
                defects::served(door.serve_stream(stream, stop), mutation, &executor, &random).await;
            })
        });
    }

    /// The program behind the door ends, or its machine `loses_power`.
    pub(crate) fn close_door(&mut self, loses_power: bool) {
        self.shared.network.close();
        self.shared.network.excuse_all();
        self.door = None;
        *self.shared.log.lock() = None;
        if loses_power {
            self.shared.network.lose_power(&mut self.random);
        }
    }

    // --- Producers ------------------------------------------------------------------------------------------------------

    /// The producer of the next send, unless that goes another way.
    pub(crate) fn draw_producer(&mut self) -> Option<usize> {
        let many = self.queues.len() as u64;
        let drawn = self.random.below(many * 2);
        usize::try_from(drawn).ok().filter(|index| *index < self.queues.len())
    }

    /// Whether events without a key go to a partition that the server chooses.
    pub(crate) fn draw_any_partition(&mut self) -> bool {
        self.random.one_in(2)
    }

    /// Lets a producer send.
    pub(crate) fn send(&self, producer: usize, order: Order) {
        self.queues[producer].put(order);
    }

    // --- What goes wrong ------------------------------------------------------------------------------------------------

    /// Something goes wrong on the network, now and then.
    pub(crate) fn make_trouble(&mut self) {
        if self.queues.is_empty() && self.readers.is_empty() || !self.random.one_in(2) {
            return;
        }
        let random = &mut self.random;
        let side = random.pick(&[Side::Client, Side::Server]);
        let time = Duration::from_millis(random.below(3000));
        let harm = match random.below(9) {
            0 => Harm::Cut,
            1..4 => Harm::CutAfter(side, random.below(1500)),
            4 | 5 => Harm::Dark(side, Some(time)),
            6 => Harm::Dark(side, None),
            7 => Harm::Stall(side, time),
            _ => {
                self.shared.trace.note("network", format_args!("the server stops and comes back"));
                self.shared.network.excuse_all();
                self.stop.send_replace(true);
                return self.listen();
            }
        };
        if let Some(wire) = self.shared.network.harm(random, harm) {
            self.shared.trace.note("network", format_args!("wire {wire}: {harm:?}"));
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn end_the_trouble(&self) {
        self.shared.is_calm.store(true, Ordering::Relaxed);
        self.shared.network.heal();
    }

    /// Whether everything is sent, and all readers have all there is.
    pub(crate) fn is_settled(&self, contents: &[Content]) -> bool {
        self.queues.iter().all(|queue| queue.open() == 0)
            && self.readers.iter().all(|reader| reader.lock().has_all(contents))
    }

    /// What is not settled, for a person.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (index, queue) in self.queues.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(text, "; producer p{index} has {} open", queue.open());
        }
        for reader in &self.readers {
            let _ = write!(text, "; {:?}", reader.lock());
        }
        text
    }
}
