//! The processor: claims lanes, runs a pump for each and one committer for all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tidegate_model::checkpoint::{FunctionName, Lane, Ownership};
use tidegate_model::clock::{SharedClock, timeout};
use tidegate_model::parking::{ParkedHead, Turn};
use tidegate_model::ports::{EventLog, Function, Observer, ReadError, Store, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;
use tracing::{error, warn};

use crate::assignment::Follower;
use crate::circuit::counted::LaneHealth;
use crate::circuit::guard::Guard;
use crate::circuit::{CircuitBreaker, CircuitSetup};
use crate::invoker::Invoker;
use crate::lane::OwnedLane;
use crate::memory::Memory;
use crate::observe::Observed;
use crate::outcome::commit::Committer;
use crate::ownership::{self, Keeper, KeeperSetup};
use crate::pump::{FailingRuns, Gate, HeldTries, PartitionPump};
use crate::pumps::Pumps;
use crate::settings::{FunctionSettings, HostOptions, InvalidSettings, Sharing};
use crate::status::{LaneState, LaneStatus};
use crate::tasks::{self, Task};
use crate::watchdog::Watchdog;
use crate::workspace::Workspace;

/// A function with the hub it reads and how it is run.
#[derive(Clone)]
pub struct FunctionSetup {
    /// The function.
    pub function: Arc<dyn Function>,
    /// The hub.
    pub log: Arc<dyn EventLog>,
    /// How it is run.
    pub settings: FunctionSettings,
}

/// Runs functions over hubs.
pub struct Processor {
    store: Arc<dyn Store>,
    clock: SharedClock,
    lanes: Arc<[OwnedLane]>,
    workspace: Arc<Workspace>,
    pumps: Arc<Pumps>,
    committer: Task,
    watchdog: Task,
    /// Shares the lanes out with other processors, if there may be others.
    keeper: Option<RunningKeeper>,
    /// Claims and gives up the lanes whose partitions are shared out by the readers of their hub.
    follower: Option<Task>,
    draining: watch::Sender<bool>,
    give_up: watch::Sender<bool>,
}

struct RunningKeeper {
    task: Task,
    owner: String,
    life: String,
    end: watch::Sender<bool>,
}

/// What is done when something panics that the lanes cannot go on without: they stop, so that it is seen.
struct Net {
    lanes: Arc<[OwnedLane]>,
    workspace: Arc<Workspace>,
}

impl Net {
    fn spawn(&self, what: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Task {
        let (lanes, workspace) = (Arc::clone(&self.lanes), Arc::clone(&self.workspace));
        tasks::spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                error!("{what} panicked: this is a defect of the host or the store; all lanes are stopped");
                for lane in &*lanes {
                    lane.stop(format!("{what} panicked; restart to go on from the checkpoint"));
                }
                workspace.rewind();
            }
        })
    }
}

/// How long a store that says nothing is waited for after the time for draining is over.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// How long a lane that another reader of its hub has taken may take to finish what is under way.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// The least and the most a pump reads at once, in bytes.
const READ_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=512 * 1024;

impl Processor {
    /// Starts a pump for every lane of every function. Alone, it claims them all; [sharing](Sharing) its store, it claims
    /// its share from now on.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: SharedClock,
        options: HostOptions,
        functions: Vec<FunctionSetup>,
    ) -> Result<Self, StartError> {
        Self::start_observed(store, clock, options, functions, None).await
    }

    /// The same, and an observer is told of every invocation and commit.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_observed(
        store: Arc<dyn Store>,
        clock: SharedClock,
        options: HostOptions,
        functions: Vec<FunctionSetup>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, StartError> {
        let observed = observer.map(|observer| Arc::new(Observed::new(observer, &*clock)));
        options.validate().map_err(StartError::Options)?;
        let circuits = circuits_of(&functions)?;
        let ownerships = store.ownerships().await?;
        let mut lanes: Vec<OwnedLane> = Vec::new();
        let mut setups = Vec::new();
        for setup in &functions {
            let name = &setup.function.descriptor().name;
            setup
                .settings
                .validate()
                .map_err(|cause| StartError::Settings { function: name.to_string(), cause })?;
            for partition in 0..setup.log.partition_count() {
                let lane = Lane {
                    function: name.clone(),
                    hub: setup.log.hub().clone(),
                    partition: PartitionId(partition),
                };
                if lanes.iter().any(|known| known.lane == lane) {
                    return Err(StartError::Twice { lane });
                }
                lanes.push(own(&*store, &clock, &options, setup, lane, &ownerships).await?);
                setups.push(setup.clone());
            }
        }

        let lanes: Arc<[OwnedLane]> = lanes.into();
        let workspace = Workspace::new(Arc::clone(&store), options.document_cache_bytes);
        let invoker = Arc::new(Invoker::new(Arc::clone(&clock), Arc::clone(&workspace), options.isolation));
        let (draining, give_up) = (watch::Sender::new(false), watch::Sender::new(false));
        let memory = options.in_flight_bytes.max(*READ_BYTES.start());
        let (event_memory, decided_memory) = (Memory::new(memory), Memory::new(memory));
        // Half of the memory is for what is read and half for what waits to be committed.
        let read_bytes = (memory / 2 / lanes.len().max(1)).clamp(*READ_BYTES.start(), *READ_BYTES.end());

        let breaker =
            CircuitBreaker::start(Arc::clone(&store), Arc::clone(&clock), options.owner.clone(), circuits);

        let (heartbeat, expires_after) = match options.sharing {
            Sharing::Alone => (None, Duration::ZERO),
            Sharing::Shared { heartbeat, expires_after } => (Some(heartbeat), expires_after),
        };
        let mut templates = Vec::new();
        let mut guards: BTreeMap<FunctionName, Arc<Guard>> = BTreeMap::new();
        let mut gates = BTreeMap::new();
        for (index, setup) in setups.into_iter().enumerate() {
            let name = setup.function.descriptor().name.clone();
            let guard = match guards.entry(name.clone()) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(new) => {
                    let guard =
                        Guard::remembering(&*store, &name, setup.settings.circuit, clock.now()).await?;
                    Arc::clone(new.insert(Arc::new(guard)))
                }
            };
            let gate = Gate::new(&breaker, circuits_needed(&setup)).expect("each has its circuit");
            gates.entry(name).or_insert_with(|| {
                circuits_needed(&setup).filter_map(|circuit| breaker.gate(circuit)).collect::<Vec<_>>()
            });
            templates.push(PartitionPump {
                lanes: Arc::clone(&lanes),
                index,
                function: setup.function,
                settings: setup.settings,
                store: Arc::clone(&store),
                workspace: Arc::clone(&workspace),
                invoker: Arc::clone(&invoker),
                clock: Arc::clone(&clock),
                event_memory: event_memory.clone(),
                decided_memory: decided_memory.clone(),
                read_bytes,
                in_flight_bytes: memory,
                owner: options.owner.clone(),
                draining: draining.subscribe(),
                changes: lanes[index].changes(),
                tenure: lanes[index].tenure(),
                begun: None,
                number: 0,
                leave_within: if expires_after.is_zero() { LEAVE_WITHIN } else { expires_after },
                gate,
                guard,
                observed: observed.clone(),
                health: LaneHealth::default(),
                runs: FailingRuns::default(),
                failed_probes: BTreeMap::new(),
                held: HeldTries::default(),
                retry: None,
            });
        }
        let settings = templates.iter().map(|pump| pump.settings.clone()).collect();
        let pumps = Arc::new(Pumps::start(templates));
        let watchdog = Watchdog::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            options.owner.clone(),
            options.stuck_after,
            Arc::clone(&lanes),
            settings,
            Arc::clone(&pumps),
        );
        let net = Net { lanes: Arc::clone(&lanes), workspace: Arc::clone(&workspace) };
        let watchdog = net.spawn("the watchdog", watchdog.run());
        let keeper = heartbeat.map(|heartbeat| {
            let keeper = Keeper::new(KeeperSetup {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                workspace: Arc::clone(&workspace),
                lanes: Arc::clone(&lanes),
                gates,
                breaker: breaker.clone(),
                heartbeat,
                expires_after,
                owner: options.owner.clone(),
                draining: draining.subscribe(),
            });
            let (life, end) = (keeper.life(), watch::Sender::new(false));
            let task = net.spawn("the keeper of lanes", keeper.run(end.subscribe()));
            RunningKeeper { task, owner: options.owner.clone(), life, end }
        });
        let follower = Follower {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            workspace: Arc::clone(&workspace),
            lanes: Arc::clone(&lanes),
            owner: options.owner.clone(),
            draining: draining.subscribe(),
        };
        let follower = follower.has_lanes().then(|| net.spawn("the follower of assignments", follower.run()));
        let committer = Committer {
            workspace: Arc::clone(&workspace),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            lanes: Arc::clone(&lanes),
            options,
            breaker: breaker.clone(),
            observer: observed.map(|observed| Arc::clone(&observed.observer)),
            give_up: give_up.subscribe(),
        };
        let committer = net.spawn("the committer", committer.run());
        Ok(Self {
            store,
            clock,
            lanes,
            workspace,
            pumps,
            committer,
            watchdog,
            keeper,
            follower,
            draining,
            give_up,
        })
    }

    /// What every lane does, ordered by lane.
    pub fn status(&self) -> Vec<LaneStatus> {
        let mut status: Vec<_> = self.lanes.iter().map(OwnedLane::status).collect();
        status.sort_by(|a, b| a.lane.cmp(&b.lane));
        status
    }

    /// The lanes of this processor, in the order they were set up.
    pub fn lanes(&self) -> &[OwnedLane] {
        &self.lanes
    }

    /// Waits until every lane that this processor owns has resolved everything that was in its partition when this was
    /// called, or is stopped.
    pub async fn caught_up(&self) {
        let targets: Vec<SequenceNumber> = self.lanes.iter().map(|lane| lane.status().tail).collect();
        for (lane, target) in self.lanes.iter().zip(targets) {
            let reached = |progress: &crate::lane::Progress| {
                progress.stopped || !progress.owned || progress.position >= target
            };
            // The sender lives as long as the lane does.
            let _ = lane.progress().wait_for(reached).await;
        }
    }

    /// Waits until every lane has [caught up](Self::caught_up) and nothing is parked but what is held, or the lane is
    /// stopped or not owned. Says `false` when the store does not tell.
    pub async fn settled(&self) -> bool {
        self.caught_up().await;
        for lane in &*self.lanes {
            let mut progress = lane.progress();
            loop {
                let stopped = {
                    let progress = progress.borrow_and_update();
                    progress.stopped || !progress.owned
                };
                let Ok(place) = self.store.parking_place(&lane.lane).await else { return false };
                let waits_for_its_turn = |head: &ParkedHead| matches!(head.turn, Turn::At(_));
                if stopped || !place.heads.iter().any(waits_for_its_turn) || progress.changed().await.is_err()
                {
                    break;
                }
            }
        }
        true
    }

    /// Stops without losing or skipping anything: no more is read, what is in flight is finished within `grace` or
    /// abandoned unresolved, what is decided is committed, and the lanes are released. Returns the final status. It ends
    /// also when the store says nothing.
    pub async fn drain(mut self, grace: Duration) -> Vec<LaneStatus> {
        self.draining.send_replace(true);
        let began = self.clock.monotonic();
        self.watchdog.abort();
        let mut pumps = self.pumps.take();
        let finished = timeout(&*self.clock, grace, pumps.ended()).await;
        if finished.is_none() {
            warn!(?grace, "invocations that did not end in time are abandoned; their events stay unresolved");
            pumps.abort().await;
        }

        self.workspace.close();
        let left = grace.saturating_sub(self.clock.monotonic().saturating_sub(began));
        if timeout(&*self.clock, left, &mut self.committer).await.is_none() {
            self.give_up.send_replace(true);
            if timeout(&*self.clock, LAST_ANSWER, &mut self.committer).await.is_none() {
                warn!("the store does not answer a commit; the next start finds out whether it went through");
                self.committer.abort();
                (&mut self.committer).await;
            }
        }

        if let Some(follower) = &mut self.follower
            && timeout(&*self.clock, LAST_ANSWER, &mut *follower).await.is_none()
        {
            follower.abort();
        }
        if let Some(keeper) = &mut self.keeper {
            // Until here it has kept others from taking what was being finished.
            keeper.end.send_replace(true);
            if timeout(&*self.clock, LAST_ANSWER, &mut keeper.task).await.is_none() {
                keeper.task.abort();
            }
        }
        for lane in self.lanes.iter().filter(|lane| lane.is_owned()) {
            // Releasing only saves the next owner time.
            let release = self.store.release(&lane.lane, lane.epoch(), self.clock.now());
            match timeout(&*self.clock, LAST_ANSWER, release).await {
                Some(Ok(())) => lane.set_state(LaneState::Released),
                Some(Err(error)) => warn!(lane = %lane.lane, %error, "the lane was not released"),
                None => {
                    warn!("the store does not answer; the lanes are not released");
                    break;
                }
            }
        }
        if let Some(RunningKeeper { owner, life, .. }) = &self.keeper {
            let signed_off = ownership::sign_off(&*self.store, &self.clock, owner, life);
            match timeout(&*self.clock, LAST_ANSWER, signed_off).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    warn!(%error, "the others find out by themselves that this processor is gone");
                }
                None => warn!("the store does not answer; the others find out by themselves"),
            }
        }
        self.status()
    }
}

impl Drop for Processor {
    /// Without draining the pumps end where they are, and the committer with what is decided.
    fn drop(&mut self) {
        self.workspace.close();
        self.watchdog.abort();
        if let Some(keeper) = &self.keeper {
            keeper.task.abort();
        }
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        drop(self.pumps.take());
    }
}

/// The circuits that must let a function's events through: its own, and those of what it needs.
fn circuits_needed(setup: &FunctionSetup) -> impl Iterator<Item = &FunctionName> {
    let own = &setup.function.descriptor().name;
    std::iter::once(own).chain(setup.settings.dependencies.iter().map(|dependency| &dependency.name))
}

/// All circuits: one for each function, and one for each dependency that functions need.
fn circuits_of(functions: &[FunctionSetup]) -> Result<Vec<CircuitSetup>, StartError> {
    let mut circuits: Vec<CircuitSetup> = Vec::new();
    for setup in functions {
        let lanes = u64::from(setup.log.partition_count());
        let FunctionSettings { circuit, max_event_batch_size, .. } = setup.settings;
        let name = setup.function.descriptor().name.clone();
        circuits.push(CircuitSetup::of_function(name, circuit, lanes, max_event_batch_size));
    }
    let of_functions = circuits.len();
    for setup in functions {
        let function = &setup.function.descriptor().name;
        let refused =
            |cause| StartError::Settings { function: function.to_string(), cause: InvalidSettings(cause) };
        for dependency in &setup.settings.dependencies {
            if circuits[..of_functions].iter().any(|circuit| circuit.name == dependency.name) {
                return Err(refused("a dependency has the name of a function"));
            }
            let (lanes, max_batch) =
                (u64::from(setup.log.partition_count()), setup.settings.max_event_batch_size);
            match circuits.iter_mut().find(|circuit| circuit.name == dependency.name) {
                Some(circuit) if circuit.settings != dependency.circuit => {
                    return Err(refused("a dependency has another circuit than at another function"));
                }
                Some(circuit) => {
                    circuit.lanes += lanes;
                    circuit.max_batch = circuit.max_batch.max(max_batch);
                    circuit.functions.push(function.clone());
                }
                None => circuits.push(CircuitSetup {
                    name: dependency.name.clone(),
                    settings: dependency.circuit,
                    lanes,
                    max_batch,
                    functions: vec![function.clone()],
                }),
            }
        }
    }
    Ok(circuits)
}

/// Finds where a lane is, and claims it if nobody else may own it.
async fn own(
    store: &dyn Store,
    clock: &SharedClock,
    options: &HostOptions,
    setup: &FunctionSetup,
    lane: Lane,
    ownerships: &[Ownership],
) -> Result<OwnedLane, StartError> {
    let log = Arc::clone(&setup.log);
    let epoch = match options.sharing {
        // It is claimed when its partition is assigned.
        _ if log.assigned().is_some() => None,
        Sharing::Alone => Some(store.claim(&lane, &options.owner, clock.now()).await?.epoch),
        Sharing::Shared { .. } => None,
    };
    let checkpoint = match store.checkpoint(&lane).await? {
        Some(checkpoint) => checkpoint,
        None => {
            let start = log.locate(lane.partition, setup.settings.initial_offset).await?;
            store.begin(&lane, log.incarnation(), start, clock.now()).await?
        }
    };
    if checkpoint.incarnation != log.incarnation() {
        return Err(StartError::Store(StoreError::OtherIncarnation {
            lane,
            ours: log.incarnation(),
            stored: checkpoint.incarnation,
        }));
    }
    let status = log.status(lane.partition)?;
    let tail = status.tail;
    let owned = OwnedLane::new(lane.clone(), epoch, log, checkpoint.position, options.sharing);
    if let Some(epoch) = epoch {
        owned.claimed(epoch, ownership::is_in_disorder(ownerships, &lane));
    }
    match status.damage {
        _ if checkpoint.position <= tail => {}
        // What is readable ends before the checkpoint because the rest is damaged: that partition alone is out of
        // service.
        Some(damage) => owned.stop(format!("its partition is out of service: {damage}; run `tidegate fsck`")),
        None => return Err(StartError::BeyondLog { lane, position: checkpoint.position, tail }),
    }
    Ok(owned)
}

/// Why a processor does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The settings of a function make no sense.
    #[error("function {function}: {cause}")]
    Settings {
        /// The function.
        function: String,
        /// What is wrong.
        cause: InvalidSettings,
    },
    /// What all functions share makes no sense.
    #[error("the processor: {0}")]
    Options(InvalidSettings),
    /// Two functions have the same name and hub.
    #[error("the lane {lane} is set up twice")]
    Twice {
        /// The lane.
        lane: Lane,
    },
    /// The checkpoint points past the end of the log: acknowledged events are missing.
    #[error(
        "the checkpoint of {lane} is at {position}, but the log ends at {tail}: acknowledged events are missing from it"
    )]
    BeyondLog {
        /// The lane.
        lane: Lane,
        /// Where the checkpoint is.
        position: SequenceNumber,
        /// Where the log ends.
        tail: SequenceNumber,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] ReadError),
}
