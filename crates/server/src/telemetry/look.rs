//! Looks at the lanes, the logs and the store for the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use tidegate_eventlog::Log;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState, PAUSE};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, ReadLimit, Store, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_telemetry::state::{self, FunctionState, HubState, Look, OpenSource, SourceState, State};

use crate::config::Config;
use crate::node::{LaneView, Node};
use crate::sources::Sources;

/// How old what is known from the store may be. The lanes and the log are looked at each time: they are in memory.
const STORE_EVERY: Duration = Duration::from_secs(5);

/// How many events are read in a look to see how old they are, at most.
const MOST_READS: usize = 256;

/// One event: of the first that has no outcome, only its time is of interest.
const ONE: ReadLimit = ReadLimit { events: 1, bytes: 1 };

/// Looks at a node whose functions run.
pub(crate) struct ServerLook {
    log: Arc<Log>,
    sources: Sources,
    store: Arc<dyn Store>,
    lanes: LaneView,
    functions: Vec<Watched>,
    /// The hubs of others that are to be read.
    configured_sources: Vec<HubName>,
    circuits: Vec<FunctionName>,
    known: Mutex<Known>,
}

/// A function that is looked at.
struct Watched {
    function: FunctionName,
    hub: HubName,
    dependencies: Vec<FunctionName>,
}

/// What is remembered between two looks.
#[derive(Default)]
struct Known {
    facts: Option<(Timestamp, Arc<Facts>)>,
    /// When the event at this position of a lane was enqueued.
    oldest: BTreeMap<Lane, (SequenceNumber, Timestamp)>,
}

/// What the store knows.
#[derive(Default)]
struct Facts {
    positions: BTreeMap<Lane, SequenceNumber>,
    dead_letters: BTreeMap<FunctionName, u64>,
    circuits: BTreeMap<String, CircuitState>,
    pauses: Vec<String>,
}

impl ServerLook {
    /// Looks at the functions of a configuration on a node.
    pub(crate) fn new(node: &Node, config: &Config) -> Self {
        let functions = config.functions.iter().map(|function| Watched {
            function: function.name.clone(),
            hub: function.hub.clone(),
            dependencies: function.settings.dependencies.iter().map(|needed| needed.name.clone()).collect(),
        });
        let circuits = config.circuits().into_iter().map(|(circuit, _)| circuit);
        Self {
            log: node.log.clone(),
            sources: node.sources.clone(),
            store: node.store.clone(),
            lanes: node.lanes.clone(),
            functions: functions.collect(),
            configured_sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            circuits: circuits.collect(),
            known: Mutex::default(),
        }
    }

    /// What the store knew a few seconds ago at most, or the last thing it told.
    async fn facts(&self, now: Timestamp) -> Arc<Facts> {
        let known = self.known.lock().facts.clone();
        if let Some((at, facts)) = &known
            && now.since(*at) < STORE_EVERY
            && *at <= now
        {
            return facts.clone();
        }
        let facts = match self.ask().await {
            Ok(facts) => Arc::new(facts),
            Err(error) => {
                tracing::debug!(%error, "the store cannot be looked at for the metrics at the moment");
                known.map(|(_, facts)| facts).unwrap_or_default()
            }
        };
        self.known.lock().facts = Some((now, facts.clone()));
        facts
    }

    async fn ask(&self) -> Result<Facts, StoreError> {
        let (mut positions, mut dead_letters) = (BTreeMap::new(), BTreeMap::new());
        for checkpoint in self.store.checkpoints().await? {
            positions.insert(checkpoint.lane.clone(), checkpoint.position);
            *dead_letters.entry(checkpoint.lane.function).or_default() += checkpoint.counts.dead_lettered;
        }
        let circuits = self.store.registers(CIRCUIT).await?.into_iter().map(|register| {
            // One that cannot be read lets nothing through.
            let circuit = serde_json::from_value::<Circuit>(register.value);
            (register.name, circuit.map_or(CircuitState::Open, |circuit| circuit.state))
        });
        let circuits = circuits.collect();
        let pauses = self.store.registers(PAUSE).await?.into_iter().map(|register| register.name).collect();
        Ok(Facts { positions, dead_letters, circuits, pauses })
    }

    /// When the first event of a lane that has no outcome was enqueued.
    async fn oldest(&self, status: &LaneStatus, reads: &mut usize) -> Option<Timestamp> {
        if status.lag() == 0 {
            return None;
        }
        let (lane, position) = (&status.lane, status.position);
        let known = self.known.lock().oldest.get(lane).copied();
        if let Some((at_position, at)) = known
            && (at_position == position || *reads == 0)
        {
            return Some(at);
        }
        let Some(hub) = self.log.hub(&lane.hub) else {
            // A hub of somebody else is not asked for this. Its lane has waited at least since it moved.
            return status.progressed_at;
        };
        *reads = reads.saturating_sub(1);
        let events = hub.read(lane.partition, position, ONE).await.ok()?;
        let at = events.first()?.enqueued_at;
        self.known.lock().oldest.insert(lane.clone(), (position, at));
        Some(at)
    }

    fn hubs(&self) -> Vec<HubState> {
        let own = self.log.hubs();
        let own = own.iter().map(|hub| {
            let bytes = self.log.metrics().published_bytes(EventLog::hub(&**hub));
            hub_state(&**hub, Some(bytes))
        });
        let mut hubs: Vec<HubState> = own.collect();
        hubs.extend(self.sources.all().iter().map(|source| hub_state(&**source, None)));
        hubs
    }
}

fn hub_state(log: &dyn EventLog, published_bytes: Option<u64>) -> HubState {
    let partitions = log.partition_count();
    let mut seen =
        HubState { hub: log.hub().clone(), partitions, published: 0, kept: 0, published_bytes, damaged: 0 };
    for partition in (0..partitions).map(PartitionId) {
        match log.ends(partition) {
            Ok(ends) => {
                seen.published += ends.tail.0;
                seen.kept += ends.tail.distance_from(ends.head);
            }
            Err(_) => seen.damaged += 1,
        }
    }
    seen
}

/// The word for a lane's state.
fn word_of(state: &LaneState) -> &'static str {
    match state {
        LaneState::Running => "running",
        LaneState::Retrying { .. } => "retrying",
        LaneState::Held { .. } => "held",
        LaneState::Gated { .. } => "gated",
        LaneState::Waiting { .. } => "waiting",
        LaneState::Unowned => "unowned",
        LaneState::Stopped { .. } => "stopped",
        LaneState::Released => "released",
    }
}

#[async_trait]
impl Look for ServerLook {
    async fn look(&self, now: Timestamp) -> State {
        let statuses = self.lanes.lock().clone();
        let statuses = statuses.map(|statuses| statuses()).unwrap_or_default();
        let facts = self.facts(now).await;
        let mut reads = MOST_READS;
        let mut lanes: BTreeMap<FunctionName, Vec<state::LaneState>> = BTreeMap::new();
        for status in &statuses {
            let is_owned = !matches!(status.state, LaneState::Unowned | LaneState::Released);
            let oldest_at = if is_owned { self.oldest(status, &mut reads).await } else { None };
            lanes.entry(status.lane.function.clone()).or_default().push(state::LaneState {
                partition: status.lane.partition,
                state: word_of(&status.state),
                is_owned,
                is_gated: matches!(status.state, LaneState::Gated { .. }),
                lag: match facts.positions.get(&status.lane) {
                    // Another reader of the source has it, and how far that one is is not known here.
                    _ if self.sources.reader_elsewhere(&status.lane).is_some() => 0,
                    // Its owner goes on, and only the store tells how far.
                    Some(position) if !is_owned => status.tail.distance_from(*position),
                    _ => status.lag(),
                },
                parked: status.parked,
                held: status.held,
                oldest_at,
            });
        }
        let functions = self.functions.iter().map(|Watched { function, hub, dependencies }| FunctionState {
            function: function.clone(),
            hub: hub.clone(),
            dependencies: dependencies.clone(),
            paused: facts.pauses.iter().any(|paused| paused == function.as_str()),
            dead_letters: facts.dead_letters.get(function).copied().unwrap_or_default(),
            lanes: lanes.remove(function).unwrap_or_default(),
        });
        let functions = functions.collect();
        let circuits = self.circuits.iter().map(|circuit| {
            let current = facts.circuits.get(circuit.as_str()).copied().unwrap_or_default();
            (circuit.clone(), current)
        });
        let sources = self.configured_sources.iter().map(|source| {
            let open = self.sources.liveness(source);
            let open = open.map(|(answered_at, buffered_bytes)| OpenSource { answered_at, buffered_bytes });
            SourceState { source: source.clone(), open }
        });
        let sources = sources.collect();
        State { hubs: self.hubs(), sources, functions, circuits: circuits.collect() }
    }
}
