//! What a seed stands for: how large the system is, how its functions are set up, and what becomes of each event.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_host::circuit::{CircuitSettings, ProbePolicy};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{
    AtLimit, Dependency, FunctionSettings, HostOptions, Isolation, OnExhausted, Order, ParkingLimits, Sharing,
};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::document::CollectionName;
use tidegate_model::event::{EventData, HubName};

use crate::amqp::Plan;
use crate::event::is_repaired;
use crate::random::{Random, hash};

const MS: Duration = Duration::from_millis(1);

/// One seed in so many has instances that race for probes.
const RACES_ONE_IN: u64 = 12;

/// One seed in so many has the embedded store.
const EMBEDDED_ONE_IN: u64 = 4;

/// Everything about a run that is known before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Where it all comes from.
    pub(crate) seed: u64,
    /// How many partitions the hub has.
    pub(crate) partitions: u32,
    /// How many instances process it.
    pub(crate) instances: usize,
    /// How many sends the producers make.
    pub(crate) sends: u64,
    /// How many times something goes wrong.
    pub(crate) faults: u64,
    /// How many polls pass between two faults at most.
    pub(crate) fault_pause: u64,
    /// The store.
    pub(crate) store: StoreKind,
    /// The size of its write-ahead log at which it moves it into its database.
    pub(crate) wal_bytes: u64,
    /// Whether it is made so that several instances want the probe of a half-open circuit at once, which is rare else.
    pub(crate) races_for_probes: bool,
    /// The functions.
    pub(crate) functions: Vec<SimFunction>,
    /// How the instances process.
    pub(crate) options: HostOptions,
    /// Who comes in by AMQP.
    pub(crate) amqp: Plan,
}

/// Which store a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The reference store in memory, which no machine takes with it when it stops.
    Reference,
    /// The embedded store, on the disk of the machine with the log.
    Embedded,
    /// The embedded store, on a disk of its own that never fails: all that can be seen is as with the reference store.
    EmbeddedApart,
}

impl StoreKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Reference, Self::Embedded, Self::EmbeddedApart];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Embedded => "embedded",
            Self::EmbeddedApart => "embedded-apart",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A function and how it is run.
#[derive(Clone, Debug)]
pub(crate) struct SimFunction {
    /// Its name.
    pub(crate) name: FunctionName,
    /// Where its documents are.
    pub(crate) collection: CollectionName,
    /// How it is run.
    pub(crate) settings: FunctionSettings,
}

/// The name of the hub.
pub(crate) fn hub_name() -> HubName {
    HubName::new("hub").expect("a good name")
}

impl Scenario {
    /// The scenario of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut races = Random::of(seed, "races");
        match races.one_in(RACES_ONE_IN) {
            true => Self::drawn(seed).with_races_for_probes(&mut races),
            false => Self::drawn(seed),
        }
    }

    /// Several instances with a lane each, and something that all of them need and that goes away often and for long.
    fn with_races_for_probes(mut self, random: &mut Random) -> Self {
        let circuit = CircuitSettings {
            enabled: true,
            threshold: 5,
            window: Duration::from_secs(10),
            minimum_volume: 5,
            failure_ratio: 0.4,
            probe: ProbePolicy::Automatic { after: millis(random.of_range(50..500)), longest: millis(1000) },
            probe_timeout: Duration::from_secs(20),
            step_aside: Duration::ZERO,
            poll_interval: millis(random.of_range(20..60)),
            ..circuit(random)
        };
        let name = FunctionName::new(DEPENDENCY).expect("a good name");
        for function in &mut self.functions {
            function.settings.dependencies = vec![Dependency { name: name.clone(), circuit }];
        }
        let sharing = Sharing::Shared { heartbeat: millis(500), expires_after: millis(5000) };
        Self {
            races_for_probes: true,
            partitions: 3,
            instances: 3,
            sends: random.of_range(40..60),
            faults: random.of_range(20..36),
            fault_pause: random.pick(&[20, 100]),
            options: HostOptions { sharing, ..self.options },
            ..self
        }
    }

    fn drawn(seed: u64) -> Self {
        let mut random = Random::of(seed, "scenario");
        let functions = 1 + random.below(3).min(1);
        let shares_documents = random.one_in(2);
        let dependencies = dependencies(&mut Random::of(seed, "dependencies"));
        // Of its own, so that what came before it is as it was.
        let mut concurrency = Random::of(seed, "concurrency");
        let functions = (0..functions)
            .map(|index| {
                let collection = if shares_documents { 0 } else { index };
                SimFunction {
                    name: FunctionName::new(["one", "two"][usize::from(index > 0)]).expect("a good name"),
                    collection: CollectionName::new(&format!("journals-{collection}")).expect("a good name"),
                    settings: FunctionSettings {
                        dependencies: dependencies.clone(),
                        ..with_concurrency(settings(&mut random), &mut concurrency)
                    },
                }
            })
            .collect();
        let partitions = u32::try_from(random.of_range(1..4)).expect("a small number");
        Self {
            seed,
            partitions,
            instances: usize::try_from(random.of_range(1..4)).expect("a small number"),
            sends: random.of_range(10..60),
            faults: random.of_range(0..36),
            fault_pause: random.pick(&[20, 100, 400]),
            store: store_kind(seed),
            wal_bytes: Random::of(seed, "write-ahead log").pick(&[32 << 10, 128 << 10, 1 << 20]),
            races_for_probes: false,
            functions,
            options: HostOptions {
                document_cache_bytes: random.pick(&[0, 2000, 1_000_000]),
                in_flight_bytes: (16 * 1024) << random.below(4),
                commit_delay: millis(random.below(30)),
                commit_events: usize::try_from(random.of_range(1..60)).expect("a small number"),
                isolation: Isolation::Inline,
                sharing: sharing(&mut Random::of(seed, "sharing")),
                ..HostOptions::default()
            },
            amqp: Plan::new(seed, partitions),
        }
    }

    /// The circuits that a function takes part in: its own, and those of what it needs.
    pub(crate) fn circuits_of(&self, name: &FunctionName) -> Vec<FunctionName> {
        let function = self.function(name);
        let needed = function.into_iter().flat_map(|function| &function.settings.dependencies);
        std::iter::once(name).chain(needed.map(|dependency| &dependency.name)).cloned().collect()
    }

    /// All circuits.
    pub(crate) fn circuits(&self) -> BTreeSet<FunctionName> {
        self.functions.iter().flat_map(|function| self.circuits_of(&function.name)).collect()
    }

    /// How long a probe of a circuit may take.
    pub(crate) fn probe_timeout(&self, circuit: &str) -> Duration {
        let own = self.functions.iter().map(|function| (&function.name, function.settings.circuit));
        let needed = self.functions.iter().flat_map(|function| &function.settings.dependencies);
        let mut all = own.chain(needed.map(|dependency| (&dependency.name, dependency.circuit)));
        all.find(|(name, _)| name.as_str() == circuit)
            .map_or(Duration::ZERO, |(_, settings)| settings.probe_timeout)
    }

    /// The function with this name.
    pub(crate) fn function(&self, name: &FunctionName) -> Option<&SimFunction> {
        self.functions.iter().find(|function| function.name == *name)
    }
}

/// Either every start takes all lanes, so that lanes are stolen all the time, or the instances share them out.
fn sharing(random: &mut Random) -> Sharing {
    if random.one_in(2) {
        return Sharing::Alone;
    }
    let heartbeat = millis(random.of_range(200..1000));
    let missed = u32::try_from(random.of_range(3..10)).expect("a small number");
    Sharing::Shared { heartbeat, expires_after: heartbeat * missed }
}

/// The embedded store takes several times as long as the reference store, so that not every seed has it.
fn store_kind(seed: u64) -> StoreKind {
    match Random::of(seed, "store").one_in(EMBEDDED_ONE_IN) {
        true => StoreKind::Embedded,
        false => StoreKind::Reference,
    }
}

fn settings(random: &mut Random) -> FunctionSettings {
    let max_attempts = Some(u32::try_from(random.of_range(1..5)).expect("a small number"));
    let max_event_batch_size = random.pick(&[1, 2, 5, 20, 1000]);
    FunctionSettings {
        max_event_batch_size,
        min_event_batch_size: if random.one_in(3) { max_event_batch_size.min(5) } else { 1 },
        max_wait_time: millis(random.below(200)),
        order: random.pick(&[Order::Partition, Order::Key, Order::Key, Order::None]),
        retry: match random.below(2) {
            0 => RetryPolicy::FixedDelay { max_attempts, delay: millis(random.below(50)) },
            _ => RetryPolicy::ExponentialBackoff { max_attempts, min_interval: MS, max_interval: 200 * MS },
        },
        on_exhausted: if random.one_in(4) { OnExhausted::Hold } else { OnExhausted::DeadLetter },
        parking: ParkingLimits {
            max_events: random.pick(&[2, 8, 100_000]),
            at_limit: if random.one_in(4) { AtLimit::DeadLetter } else { AtLimit::Wait },
            ..ParkingLimits::default()
        },
        circuit: circuit(random),
        timeout: 50 * MS,
        ..FunctionSettings::default()
    }
}

/// What the functions need. In an outage they say that they fail because of it, if they are set up with it.
pub(crate) const DEPENDENCY: &str = "downstream";

fn dependencies(random: &mut Random) -> Vec<Dependency> {
    let name = FunctionName::new(DEPENDENCY).expect("a good name");
    if random.one_in(2) { Vec::new() } else { vec![Dependency { name, circuit: circuit(random) }] }
}

/// Without order, several invocations of a lane may be under way at once.
fn with_concurrency(settings: FunctionSettings, random: &mut Random) -> FunctionSettings {
    let many = random.pick(&[None, Some(1), Some(2), Some(5)]);
    let max_concurrent_invocations = many.filter(|_| settings.order == Order::None);
    FunctionSettings { max_concurrent_invocations, ..settings }
}

/// Circuits that an outage opens, but not the few events that always fail; and some that never open.
fn circuit(random: &mut Random) -> CircuitSettings {
    CircuitSettings {
        enabled: !random.one_in(3),
        threshold: random.of_range(5..15),
        window: Duration::from_secs(random.of_range(1..10)),
        minimum_volume: random.of_range(5..15),
        failure_ratio: random.pick(&[0.4, 0.7]),
        probe: ProbePolicy::Automatic {
            after: millis(random.of_range(100..2000)),
            longest: Duration::from_secs(random.of_range(2..60)),
        },
        probe_timeout: millis(random.of_range(100..5000)),
        ramp: millis(random.below(2000)),
        step_aside: millis(random.pick(&[0, 1000, 5000])),
        poll_interval: millis(random.of_range(20..1000)),
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What becomes of an event in the hands of a function: always the same for the same seed, function and event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is applied.
    Applied,
    /// It is applied after a while.
    Slow(Duration),
    /// The function asks for nothing.
    Filtered,
    /// The function rejects it for good.
    Rejected,
    /// It goes wrong so often.
    Fails(Way, u32),
    /// It always goes wrong.
    Poison(Way),
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The function says so.
    Answer,
    /// The function says so, and asks for a pause.
    Throttle,
    /// The function says nothing about it.
    Silence,
    /// The invocation fails.
    Error,
    /// The function panics.
    Panic,
    /// The function does not return.
    Hang,
}

impl Fate {
    /// The fate of an event as a function is given it: what a person has repaired is applied sooner or later.
    pub(crate) fn of_event(seed: u64, function: &FunctionName, event: &EventData, id: &str) -> Self {
        match Self::of(seed, function, id) {
            Self::Rejected | Self::Poison(_) if is_repaired(event) => Self::Applied,
            fate => fate,
        }
    }

    /// The fate of an event.
    pub(crate) fn of(seed: u64, function: &FunctionName, event: &str) -> Self {
        let mut random = Random::new(hash(seed, &["fate", function.as_str(), event]));
        let way = random.pick(&[Way::Answer, Way::Throttle, Way::Silence, Way::Error, Way::Panic, Way::Hang]);
        match random.below(40) {
            0..26 => Self::Applied,
            26..28 => Self::Slow(millis(random.below(40))),
            28..31 => Self::Filtered,
            31..33 => Self::Rejected,
            33..38 => Self::Fails(way, u32::try_from(random.of_range(1..4)).expect("a small number")),
            // Being asked for a pause uses up no attempt, so that would never end.
            _ if way == Way::Throttle => Self::Poison(Way::Answer),
            _ => Self::Poison(way),
        }
    }
}
