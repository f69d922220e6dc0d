//! The world of a run: instances, producers, faults, and the driver that goes through all of it step by step.

mod keeping;
mod people;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_eventlog::simulation::FaultyStorage;
use tidegate_eventlog::{Dropped, RetentionPolicy};
use tidegate_host::processor::{FunctionSetup, Processor, StartError};
use tidegate_host::settings::HostOptions;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_host::tasks::simulated;
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Clock;
use tidegate_model::error::ErrorKind;
use tidegate_model::memory::MemoryStore;
use tidegate_model::parking::Turn;
use tidegate_model::partitioner::partition_of_key;
use tidegate_model::ports::{FunctionDescriptor, Store};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::oneshot;

use crate::amqp::{Amqp, Order};
use crate::clock::SimClock;
use crate::embedded::{self, Embedded};
use crate::event::body;
use crate::executor::{Executor, ProcessId, Step};
use crate::function::{Downstream, ScriptedFunction, Shared};
use crate::mutation::Mutation;
use crate::oracle::{Oracle, Told, Violation, now};
use crate::random::Random;
use crate::scenario::{Scenario, SimFunction, StoreKind, hub_name};
use crate::site::{Send, Site, note_told};
use crate::store::{SimStore, StoreFaults};
use crate::trace::Trace;

/// More steps than any run takes: what goes on for longer goes round in circles.
const MAX_STEPS: u64 = 300_000;

/// How long it may take until everything is done once nothing goes wrong any more.
const DRAIN_TIME: Duration = Duration::from_secs(48 * 3600);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, line by line.
    pub trace: String,
    /// How many times something was polled.
    pub polls: u64,
    /// How many commits went through.
    pub commits: u64,
}

/// Runs a seed, with a planted defect if there is one, on the store that the seed says.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Report {
    run_scenario(Scenario::new(seed), mutation)
}

/// Runs a seed on a store of one's choice.
pub fn run_on(store: StoreKind, seed: u64, mutation: Option<Mutation>) -> Report {
    run_scenario(Scenario { store, ..Scenario::new(seed) }, mutation)
}

fn run_scenario(scenario: Scenario, mutation: Option<Mutation>) -> Report {
    let seed = scenario.seed;
    let executor = Executor::new(seed);
    let of_spawner = executor.clone();
    simulated::set_spawner(Some(Box::new(move |task| {
        let process = of_spawner.polled_process().expect("tasks are started by tasks");
        of_spawner.spawn(process, task);
    })));
    let mut world = World::new(scenario, executor.clone(), mutation);
    world.run();
    let report = world.report();
    drop(world);
    executor.end();
    embedded::unmount();
    simulated::set_spawner(None);
    report
}

/// In one run of so many, people's acts meet syncs that fail. A store whose syncs fail does little else.
const FAILING_SYNCS_ONE_IN: u64 = 4;

fn failing_syncs(seed: u64) -> Option<Random> {
    let mut random = Random::of(seed, "syncs of acts");
    random.one_in(FAILING_SYNCS_ONE_IN).then_some(random)
}

/// How the program with the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The machine lost its power.
    PowerFailed,
    /// It was stopped where it was.
    Killed,
    /// In good order, as far as the disk let it.
    Closed,
}

struct World {
    scenario: Scenario,
    mutation: Option<Mutation>,
    executor: Executor,
    trace: Trace,
    random: Random,
    /// Of its own, so that the rest of a run does not depend on it.
    retention: Random,
    oracle: Arc<Oracle>,
    /// The store that people and oracles look at; the instances have the same one.
    store: Arc<dyn Store>,
    embedded: Option<Embedded>,
    /// What a person did last, when nobody knows whether it happened.
    doubt: Option<people::Doubt>,
    /// Of its own, so that the rest of a run does not depend on the store.
    power: Random,
    /// Which acts of people meet a sync that fails, in the runs that have that; for the same reason.
    syncs: Option<Random>,
    store_faults: Arc<StoreFaults>,
    downstream: Arc<Downstream>,
    site: Option<Site>,
    site_clock: Arc<SimClock>,
    site_starts: u64,
    /// Producers and people: they outlive every crash.
    outside: ProcessId,
    instances: Vec<Instance>,
    /// Those that come in by AMQP.
    amqp: Amqp,
    sends_left: u64,
    sends: u64,
    sends_under_way: Arc<AtomicU64>,
    /// How often a person closed each circuit, and when last.
    closed: BTreeMap<String, (u32, Duration)>,
    steps: u64,
}

/// An instance, through all its starts.
struct Instance {
    letter: char,
    starts: u64,
    name: String,
    clock: Arc<SimClock>,
    process: Option<ProcessId>,
    processor: Arc<Mutex<Option<Processor>>>,
    /// When it is started again.
    restart_at: Option<Duration>,
}

impl World {
    fn new(scenario: Scenario, executor: Executor, mutation: Option<Mutation>) -> Self {
        let seed = scenario.seed;
        let trace = Trace::new(&executor);
        let downstream = Arc::new(Downstream::default());
        let oracle = Oracle::new(scenario.clone(), Arc::clone(&downstream), trace.clone());
        let instances = (0..scenario.instances)
            .map(|index| {
                let letter = ['a', 'b', 'c'][index % 3];
                Instance {
                    letter,
                    starts: 0,
                    name: letter.to_string(),
                    clock: SimClock::new(&executor, Random::of(seed, &format!("clock {letter}"))),
                    process: None,
                    processor: Arc::default(),
                    restart_at: None,
                }
            })
            .collect();
        let amqp = Amqp::new(&scenario, &executor, &oracle, &trace, mutation);
        Self {
            random: Random::of(seed, "world"),
            retention: Random::of(seed, "retention"),
            site_clock: SimClock::new(&executor, Random::of(seed, "clock of the log")),
            outside: executor.new_process(),
            amqp,
            sends_left: scenario.sends,
            trace,
            oracle,
            downstream,
            instances,
            mutation,
            executor,
            scenario,
            store: Arc::new(MemoryStore::new()),
            embedded: None,
            doubt: None,
            power: Random::of(seed, "power"),
            syncs: failing_syncs(seed),
            store_faults: Arc::default(),
            site: None,
            site_starts: 0,
            sends: 0,
            sends_under_way: Arc::default(),
            closed: BTreeMap::new(),
            steps: 0,
        }
    }

    fn report(&self) -> Report {
        Report {
            seed: self.scenario.seed,
            violation: self.oracle.violation(),
            trace: self.trace.text(),
            polls: self.executor.polls(),
            commits: self.oracle.commits(),
        }
    }

    // --- The course of a run --------------------------------------------------------------------------------------------

    fn run(&mut self) {
        self.trace.note("world", format_args!("{:?}", self.scenario));
        if self.scenario.store == StoreKind::EmbeddedApart {
            self.open_store_apart();
        }
        self.open_site(FaultyStorage::new(self.scenario.seed), None);
        self.amqp.start(self.outside);
        for index in 0..self.instances.len() {
            self.start(index);
        }
        let mut faults_left = self.scenario.faults;
        let mut next_act = 0;
        while self.goes_on() && (self.sends_left > 0 || faults_left > 0) {
            if self.steps >= next_act {
                next_act = self.steps + 1 + self.random.below(self.scenario.fault_pause);
                let sends = self.sends_left > 0 && (faults_left == 0 || !self.random.one_in(3));
                if sends {
                    self.sends_left -= 1;
                    self.send();
                } else {
                    faults_left -= 1;
                    self.make_trouble();
                }
            }
            self.step();
        }
        if self.scenario.races_for_probes {
            self.let_them_race();
        }
        self.end_the_trouble();
        self.drain();
        if self.oracle.violation().is_none() {
            self.stop_all();
        }
        if let (None, Some(site)) = (self.oracle.violation(), &self.site) {
            self.oracle.read_all(&site.read_all());
            self.oracle.check_clients();
            self.oracle.check_ending(&*self.store);
        }
    }

    fn goes_on(&self) -> bool {
        self.oracle.violation().is_none() && self.steps < MAX_STEPS
    }

    /// One step of the executor, and what follows from it at once.
    fn step(&mut self) -> Step {
        self.steps += 1;
        let step = self.executor.step();
        let crashed = self.site.as_ref().is_some_and(|site| site.disk.has_crashed());
        if crashed {
            self.crash_machine();
        } else if self.steps.is_multiple_of(16) {
            self.look_after_machine();
        }
        for index in 0..self.instances.len() {
            if self.instances[index].restart_at.is_some_and(|at| at <= self.executor.now()) {
                self.start(index);
            }
        }
        step
    }

    /// What all functions need is away for long, and all instances work, on a store that is so slow that several of them want
    /// a probe before they hear of each other.
    fn let_them_race(&mut self) {
        let until = self.executor.now() + Duration::from_secs(30);
        self.trace.note(
            "trouble",
            format_args!("what the functions depend on is away for long, and the store is slow"),
        );
        self.store_faults.end();
        self.store_faults.slow_until(until);
        self.downstream.fail_until(until);
        if let Some(site) = &self.site {
            site.disk.set_space(None);
        }
        self.resume_everything();
        for index in 0..self.instances.len() {
            self.start(index);
        }
        let mut sends = 24;
        while self.goes_on() && self.executor.now() < until {
            if sends > 0 && self.steps.is_multiple_of(8) {
                sends -= 1;
                self.send();
            }
            self.step();
        }
    }

    /// Everything works from now on.
    fn end_the_trouble(&mut self) {
        self.trace.note("world", format_args!("nothing goes wrong any more"));
        self.store_faults.end();
        self.downstream.fail_until(Duration::ZERO);
        self.amqp.end_the_trouble();
        self.resume_everything();
        self.site_clock.set_right();
        self.instances.iter().for_each(|instance| instance.clock.set_right());
        if let Some(site) = &self.site {
            site.disk.set_space(None);
            site.disk.set_short_writes(false);
        }
        if self.random.one_in(2) || self.site.as_ref().is_some_and(|site| site.failure().is_some()) {
            self.restart_machine();
        }
        // The last one that is started has all lanes.
        let last = usize::try_from(self.random.below(self.instances.len() as u64)).expect("an index");
        self.kill(last);
        self.start(last);
    }

    /// Goes on until nothing is left to do.
    fn drain(&mut self) {
        let deadline = self.executor.now() + DRAIN_TIME;
        while self.goes_on() {
            if self.steps.is_multiple_of(64) && self.is_settled() {
                self.trace.note("world", format_args!("everything is done"));
                return;
            }
            if self.steps.is_multiple_of(512) {
                if self.scenario.store == StoreKind::Embedded && !self.has_stopped() {
                    self.resume_everything();
                }
                if !self.has_stopped() {
                    self.close_circuits();
                }
                if !self.has_stopped() {
                    self.drop_old();
                }
            }
            let step = self.step();
            if step == Step::Idle || self.executor.now() > deadline {
                break;
            }
        }
        self.check_status();
        if self.oracle.violation().is_none() && !self.is_settled() {
            let mut status = Vec::new();
            for instance in &self.instances {
                for lane in instance.processor.lock().as_ref().map(Processor::status).unwrap_or_default() {
                    let (LaneStatus { lane, state, position, tail, parked, held, .. }, name) =
                        (lane, &instance.name);
                    if matches!(state, LaneState::Stopped { .. }) {
                        continue;
                    }
                    let waiting: Vec<_> =
                        now(self.store.list_parked(&lane, SequenceNumber::ZERO, usize::MAX))
                            .into_iter()
                            .map(|stored| {
                                let turn = match stored.parked.turn {
                                    Turn::At(at) => at.to_string(),
                                    Turn::Held { .. } => "held".to_owned(),
                                };
                                let key = stored.parked.key().map(ToString::to_string);
                                format!("{}:{key:?}:{turn}", stored.parked.event.sequence_number)
                            })
                            .collect();
                    status.push(format!(
                        "{name} {lane} {position}/{tail} {state:?}, parked {parked} held {held}: {waiting:?}"
                    ));
                }
            }
            self.oracle.report(
                "everything drains",
                format!("it is stuck: {}{}", status.join("; "), self.amqp.describe()),
            );
        }
    }

    /// Whether every event has its place, apart from those that wait for a person.
    fn is_settled(&self) -> bool {
        let Some(site) = &self.site else { return false };
        if self.sends_under_way.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let contents = site.read_all();
        if !self.amqp.is_settled(&contents) {
            return false;
        }
        self.scenario.functions.iter().all(|function| {
            contents.iter().all(|content| {
                let lane =
                    Lane { function: function.name.clone(), hub: hub_name(), partition: content.partition };
                let parked = now(self.store.list_parked(&lane, SequenceNumber::ZERO, usize::MAX));
                let held: Vec<_> =
                    parked.iter().filter(|stored| matches!(stored.parked.turn, Turn::Held { .. })).collect();
                let waits_behind_held = |stored: &tidegate_model::parking::StoredParked| {
                    held.iter().any(|head| {
                        head.parked.event.sequence_number <= stored.parked.event.sequence_number
                            && (head.parked.key() == stored.parked.key() && head.parked.key().is_some()
                                || head.parked.event.sequence_number == stored.parked.event.sequence_number)
                    })
                };
                let position = now(self.store.checkpoint(&lane)).map(|checkpoint| checkpoint.position);
                let is_at_end = position == Some(content.tail());
                (is_at_end || !held.is_empty()) && parked.iter().all(waits_behind_held)
            })
        })
    }

    /// Stops every instance in good order.
    fn stop_all(&mut self) {
        for index in 0..self.instances.len() {
            self.drain_instance(index, Duration::from_secs(3600), false);
        }
        let mut rounds = 0;
        while self.goes_on()
            && rounds < 20_000
            && self.instances.iter().any(|i| i.process.is_some_and(|p| self.executor.is_alive(p)))
        {
            rounds += 1;
            if self.step() == Step::Idle {
                break;
            }
        }
    }

    // --- The machine with the log ---------------------------------------------------------------------------------------

    /// Starts the program with the log and the store; `after` says what ended it before, if it ran before.
    fn open_site(&mut self, mut disk: FaultyStorage, after: Option<End>) {
        let mut after = after;
        loop {
            disk.set_all_in_memory(true);
            disk.set_ignores_syncs(false);
            self.site_starts += 1;
            let random = Random::of(self.scenario.seed, &format!("site {}", self.site_starts));
            let clock = Arc::clone(&self.site_clock);
            let opened = Site::open(
                disk.clone(),
                self.scenario.partitions,
                &self.executor,
                clock,
                &self.oracle,
                random,
            );
            match opened {
                Ok(site) => {
                    match self.open_store(&disk, after) {
                        Ok(()) => {}
                        Err(_) if disk.has_crashed() => {
                            self.trace
                                .note("site", format_args!("the machine stops while the store is opened"));
                            drop(site);
                            self.drop_store();
                            disk = disk.after_crash();
                            after = after.and(Some(End::PowerFailed));
                            continue;
                        }
                        Err(error) if error.kind() == ErrorKind::Transient && self.site_starts < 1000 => {
                            self.trace.note("site", format_args!("{error}"));
                            site.close();
                            drop(site);
                            self.drop_store();
                            disk.set_space(None);
                            continue;
                        }
                        Err(error) => {
                            return self.oracle.report("the store opens again", error.to_string());
                        }
                    }
                    site.disk.set_ignores_syncs(self.mutation == Some(Mutation::AckBeforeSync));
                    self.trace.note("site", format_args!("the log is open"));
                    self.amqp.open_door(&site);
                    self.site = Some(site);
                    return;
                }
                Err(_) if disk.has_crashed() => {
                    self.trace.note("site", format_args!("the machine stops while the log is opened"));
                    disk = disk.after_crash();
                    after = after.and(Some(End::PowerFailed));
                }
                // A person tries again.
                Err(error) if error.kind() == ErrorKind::Transient && self.site_starts < 1000 => {
                    self.trace.note("site", format_args!("{error}"));
                    disk.set_space(None);
                }
                Err(error) => {
                    return self.oracle.report("the log opens again", error.to_string());
                }
            }
        }
    }

    /// Power is gone, and of everything on the machine only the medium is left; or the program alone was killed, and what it
    /// wrote is there, synced or not.
    fn crash_machine(&mut self) {
        let Some(site) = self.site.take() else { return };
        let end = if self.power.one_in(4) { End::Killed } else { End::PowerFailed };
        let what =
            if end == End::Killed { "the program with the log is killed" } else { "the machine stops" };
        self.trace.note("site", format_args!("{what}"));
        self.amqp.close_door(true);
        site.disk.crash();
        self.executor.kill(site.process);
        self.kill_all();
        let disk = site.disk.clone();
        drop(site);
        self.drop_store();
        let next = if end == End::Killed { disk.after_kill() } else { disk.after_crash() };
        if self.random.one_in(8) {
            next.crash_in(1 + self.random.below(20), self.random.one_in(2));
        }
        self.open_site(next, Some(end));
        self.restart_all_soon();
    }

    /// The program ends in good order and is started again.
    fn restart_machine(&mut self) {
        let Some(site) = self.site.take() else { return };
        self.trace.note("site", format_args!("the log is closed and opened again"));
        self.amqp.close_door(false);
        self.kill_all();
        self.executor.kill(site.process);
        site.close();
        let disk = site.disk.clone();
        drop(site);
        self.close_store();
        // Closing is work of the disk too.
        let (disk, end) = match disk.has_crashed() {
            true => (disk.after_crash(), End::PowerFailed),
            false => (disk, End::Closed),
        };
        self.open_site(disk, Some(end));
        self.restart_all_soon();
    }

    /// A log or a store that stopped is started again, as a person would.
    fn look_after_machine(&mut self) {
        let failed = self.site.as_ref().is_some_and(|site| site.failure().is_some())
            || self.embedded.as_ref().is_some_and(|store| store.failure().is_some());
        if failed && self.random.one_in(8) {
            self.restart_machine();
        }
    }

    // --- Instances ------------------------------------------------------------------------------------------------------

    fn start(&mut self, index: usize) {
        self.instances[index].restart_at = None;
        if self.instances[index].process.is_some_and(|process| self.executor.is_alive(process)) {
            return;
        }
        self.kill(index);
        let Some(site) = &self.site else { return };
        let disk = self.disk_of_store();
        let instance = &mut self.instances[index];
        instance.starts += 1;
        instance.name = format!("{}{}", instance.letter, instance.starts);
        let name = instance.name.clone();
        let seed = self.scenario.seed;
        let store = Arc::new(SimStore {
            instance: name.clone(),
            store: Arc::clone(&self.store),
            disk,
            executor: self.executor.clone(),
            random: Mutex::new(Random::of(seed, &format!("store of {name}"))),
            faults: Arc::clone(&self.store_faults),
            oracle: Arc::clone(&self.oracle),
            trace: self.trace.clone(),
            mutation: self.mutation,
        });
        let log = site.reader(&self.oracle, self.mutation, Random::of(seed, &format!("log of {name}")));
        let setups: Vec<_> = self
            .scenario
            .functions
            .iter()
            .map(|function| FunctionSetup {
                function: Arc::new(ScriptedFunction {
                    descriptor: FunctionDescriptor {
                        name: function.name.clone(),
                        version: "1".to_owned(),
                        collection: function.collection.clone(),
                    },
                    shared: Arc::new(Shared {
                        seed,
                        instance: name.clone(),
                        function: function.clone(),
                        clock: Arc::clone(&instance.clock),
                        downstream: Arc::clone(&self.downstream),
                        oracle: Arc::clone(&self.oracle),
                        trace: self.trace.clone(),
                    }),
                }),
                log: log.clone(),
                settings: function.settings.clone(),
            })
            .collect();
        let options = HostOptions { owner: name.clone(), ..self.scenario.options.clone() };
        let process = self.executor.new_process();
        instance.process = Some(process);
        instance.processor = Arc::default();
        self.trace.note(&name, format_args!("starts"));
        let (slot, clock) = (Arc::clone(&instance.processor), Arc::clone(&instance.clock));
        let (oracle, trace) = (Arc::clone(&self.oracle), self.trace.clone());
        self.executor.spawn(process, async move {
            loop {
                let started = Processor::start(store.clone(), clock.clone(), options.clone(), setups.clone());
                match started.await {
                    Ok(processor) => {
                        *slot.lock() = Some(processor);
                        trace.note(&name, format_args!("runs"));
                        // A process that runs has a task.
                        return std::future::pending().await;
                    }
                    Err(StartError::Store(error)) if error.kind() == ErrorKind::Transient => {}
                    Err(StartError::Log(error)) if error.kind() == ErrorKind::Transient => {}
                    Err(error) => return oracle.report("an instance starts", error.to_string()),
                }
                clock.sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// An instance crashes: its tasks are gone where they waited.
    fn kill(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        if let Some(process) = instance.process.take() {
            self.trace.note(&instance.name, format_args!("crashes"));
            self.executor.kill(process);
            let processor = instance.processor.lock().take();
            drop(processor);
        }
    }

    fn kill_all(&mut self) {
        for index in 0..self.instances.len() {
            self.kill(index);
        }
    }

    fn restart_all_soon(&mut self) {
        for index in 0..self.instances.len() {
            self.restart_soon(index);
        }
    }

    fn restart_soon(&mut self, index: usize) {
        // Those that come back together share the lanes.
        let longest = self.random.pick(&[5, 5, 300]);
        let pause = Duration::from_millis(self.random.below(longest));
        self.instances[index].restart_at = Some(self.executor.now() + pause);
        // So that time does not jump over it.
        let sleep = self.executor.sleep(pause);
        self.executor.spawn(self.outside, sleep);
    }

    /// An instance drains and ends.
    fn drain_instance(&mut self, index: usize, grace: Duration, comes_back: bool) {
        let instance = &self.instances[index];
        let (Some(process), Some(processor)) = (instance.process, instance.processor.lock().take()) else {
            return;
        };
        self.trace.note(&instance.name, format_args!("drains within {grace:?}"));
        let (executor, trace, name) = (self.executor.clone(), self.trace.clone(), instance.name.clone());
        let outside = self.outside;
        self.executor.spawn(process, async move {
            let status = processor.drain(grace).await;
            for status in status {
                trace.note(&name, format_args!("{} at {}: {:?}", status.lane, status.position, status.state));
            }
            // Ending is the last thing a process does.
            let of_end = executor.clone();
            executor.spawn(outside, async move { of_end.kill(process) });
            std::future::pending::<()>().await;
        });
        if comes_back {
            self.restart_soon(index);
        }
    }

    /// Nothing but another owner stops a lane of an instance whose log works.
    fn check_status(&self) {
        if self.site.as_ref().is_none_or(|site| site.failure().is_some()) {
            return;
        }
        for instance in &self.instances {
            let status = instance.processor.lock().as_ref().map(Processor::status).unwrap_or_default();
            for status in status {
                // A lane that it claims again stays as it was until the answer comes.
                if let LaneState::Stopped { error } = &status.state
                    && (!error.contains("has a new owner") && self.oracle.owns(&instance.name, &status.lane)
                        || self.oracle.was_moved_from(&instance.name, &status.lane))
                {
                    self.oracle.report("nothing but another owner stops a lane", format!("{status:?}"));
                }
            }
        }
    }

    // --- Retention ------------------------------------------------------------------------------------------------------

    /// Old events go that every function has passed, as the server has it.
    fn drop_old(&mut self) {
        let Some(site) = &self.site else { return };
        let position = |function: &SimFunction, partition| {
            let lane = Lane { function: function.name.clone(), hub: hub_name(), partition };
            now(self.store.checkpoint(&lane)).map_or(SequenceNumber::ZERO, |checkpoint| checkpoint.position)
        };
        let is_needed_by_nobody = self.mutation == Some(Mutation::DropUnread);
        let floors: Vec<SequenceNumber> = (0..self.scenario.partitions)
            .map(|partition| {
                let of_all = self.scenario.functions.iter();
                let lowest = of_all.map(|function| position(function, PartitionId(partition))).min();
                lowest.filter(|_| !is_needed_by_nobody).unwrap_or(SequenceNumber(u64::MAX))
            })
            .collect();
        let policy = match self.retention.below(3) {
            0 => RetentionPolicy { max_age: None, max_bytes: Some(self.retention.below(20_000)) },
            _ => RetentionPolicy {
                max_age: Some(Duration::from_millis(self.retention.pick(&[0, 10, 300, 3000]))),
                max_bytes: None,
            },
        };
        // What the checkpoints say must be on disk before the events are not, as the server has it.
        if self.ask("the barrier", self.store.barrier()).is_none() {
            return;
        }
        self.oracle.store_synced();
        // Where it ends when the machine stops meanwhile nobody knows.
        for (content, floor) in site.read_all().iter().zip(&floors) {
            self.oracle.drops(content.partition, content.tail().min(*floor), &*self.store);
        }
        match site.drop_old(policy, &floors) {
            Ok(dropped) => {
                for Dropped { partition, head, .. } in dropped {
                    self.trace.note("site", format_args!("drops partition {partition} up to event {head}"));
                }
            }
            Err(error) => self.trace.note("site", format_args!("old events stay: {error}")),
        }
    }

    // --- Producers ------------------------------------------------------------------------------------------------------

    fn send(&mut self) {
        let Some(site) = &self.site else { return };
        let by_amqp = self.amqp.draw_producer();
        let by_http = by_amqp.is_none() && self.random.one_in(4);
        let count = if by_http { 1 } else { 1 + self.random.below(5) };
        let key = (!self.random.one_in(3)).then(|| format!("k{}", self.random.below(5)));
        let partition = match &key {
            Some(key) => partition_of_key(key, self.scenario.partitions),
            None => PartitionId(
                u32::try_from(self.random.below(u64::from(self.scenario.partitions))).expect("small"),
            ),
        };
        let events: Vec<(String, String)> = (0..count)
            .map(|_| {
                self.sends += 1;
                let id = format!("e{}", self.sends);
                let document = match (&key, self.random.below(4)) {
                    (_, 0) => format!("shared{}", self.random.below(2)),
                    (Some(key), _) => format!("of-{key}"),
                    (None, _) => format!("own{partition}-{}", self.random.below(3)),
                };
                (document, id)
            })
            .collect();
        if let Some(producer) = by_amqp {
            let is_known = key.is_some() || !self.amqp.draw_any_partition();
            let partition = is_known.then_some(partition);
            return self.amqp.send(producer, Order { events, partition, key, attempts: 0 });
        }
        let with_body = |(document, id): (String, String)| (id.clone(), body(&document, &id));
        let events: Vec<(String, Bytes)> = events.into_iter().map(with_body).collect();
        let send = Send { events, partition, key, by_http };
        note_told(&self.oracle, &self.trace, &send, &vec![Told::Nothing; send.events.len()]);
        let (reply, answer) = oneshot::channel();
        let (door, mutation, sent) = (site.door(), self.mutation, send.clone());
        self.executor.spawn(site.process, async move {
            let told = door.send(&sent, mutation).await;
            // A producer that has gone away does not wait for it.
            let _ = reply.send(told);
        });
        let (oracle, trace) = (Arc::clone(&self.oracle), self.trace.clone());
        let under_way = Arc::clone(&self.sends_under_way);
        under_way.fetch_add(1, Ordering::Relaxed);
        self.executor.spawn(self.outside, async move {
            // A machine that stops says nothing.
            if let Ok(told) = answer.await {
                note_told(&oracle, &trace, &send, &told);
            }
            under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }

    // --- What goes wrong ------------------------------------------------------------------------------------------------

    fn make_trouble(&mut self) {
        self.check_status();
        self.amqp.make_trouble();
        if self.retention.one_in(2) {
            self.drop_old();
        }
        if self.has_stopped() {
            return;
        }
        let now = self.executor.now();
        let index = usize::try_from(self.random.below(self.instances.len() as u64)).expect("an index");
        let name = self.instances[index].name.clone();
        let until = now + Duration::from_millis(self.random.below(2000));
        let trouble = self.random.below(27);
        let Some(disk) = self.site.as_ref().map(|site| site.disk.clone()) else { return };
        let says = |what: &str| self.trace.note("trouble", format_args!("{what} ({name})"));
        match trouble {
            0 | 1 => {
                self.kill(index);
                self.restart_soon(index);
            }
            2 => {
                self.kill_all();
                self.restart_all_soon();
            }
            3 | 4 => {
                let grace = Duration::from_millis(self.random.below(300));
                self.drain_instance(index, grace, true);
            }
            5 => {
                says("the store is away");
                self.store_faults.away_until(until);
            }
            6 => {
                says("the store is slow");
                self.store_faults.slow_until(until);
            }
            7 => {
                says("the store is full");
                self.store_faults.full_until(until);
            }
            8 | 9 => {
                says("replies get lost");
                self.store_faults.lose_replies(1 + self.random.below(3));
            }
            10 => {
                says("an instance is cut off");
                self.store_faults.cut_off_until(&name, until);
                // Somebody takes its lanes meanwhile.
                let other = (index + 1) % self.instances.len();
                if other != index {
                    self.kill(other);
                    self.restart_soon(other);
                }
            }
            11 | 12 => {
                says("the machine will stop");
                disk.crash_in(1 + self.random.below(30), self.random.one_in(2));
            }
            13 => {
                says("a sync will fail");
                disk.fail_sync_after(self.random.below(5));
            }
            14 => {
                says("the disk fills up");
                let space = match disk.space() {
                    None => Some(self.random.below(20_000)),
                    Some(_) => None,
                };
                disk.set_copies_on_write(self.random.one_in(2));
                disk.set_space(space);
            }
            15 => {
                says("writes are cut short");
                disk.set_short_writes(self.random.one_in(2));
            }
            16..19 => {
                says("what the functions depend on is away");
                self.downstream.fail_until(now + Duration::from_millis(self.random.below(6000)));
            }
            19 => {
                says("a clock jumps");
                let millis = i64::try_from(self.random.below(20_000)).expect("small") - 10_000;
                match self.random.one_in(4) {
                    true => self.site_clock.jump(millis),
                    false => self.instances[index].clock.jump(millis),
                }
            }
            _ => self.let_a_person_act(),
        }
    }
}
