//! How a function is run. The names are those that Azure Functions users know.

use std::time::Duration;

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::position::StartPosition;

use crate::circuit::CircuitSettings;
use crate::retry::RetryPolicy;

/// The settings of one function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionSettings {
    /// Events in an invocation at most.
    pub max_event_batch_size: usize,
    /// Events to wait for before an invocation, for at most [`max_wait_time`](Self::max_wait_time).
    pub min_event_batch_size: usize,
    /// How long a batch that is smaller than [`min_event_batch_size`](Self::min_event_batch_size) waits for more.
    pub max_wait_time: Duration,
    /// Where a partition without checkpoint begins.
    pub initial_offset: StartPosition,
    /// Which events keep their order.
    pub order: Order,
    /// How many invocations of one lane are under way at once at most: with [`Order::None`] any number up to
    /// [`MAX_CONCURRENT_INVOCATIONS`], and `None` is [`CONCURRENT_INVOCATIONS`]; with another order always one.
    pub max_concurrent_invocations: Option<usize>,
    /// What happens when an event fails for a reason that may pass.
    pub retry: RetryPolicy,
    /// What becomes of an event whose attempts are used up.
    pub on_exhausted: OnExhausted,
    /// How much may be parked in one lane.
    pub parking: ParkingLimits,
    /// When the function's circuit opens.
    pub circuit: CircuitSettings,
    /// What the function needs besides, and can say that events [failed because of](tidegate_model::answer::Failure). Each
    /// has a circuit that all functions that need it share; while one is open, none of them is given events.
    pub dependencies: Vec<Dependency>,
    /// How long one invocation may take.
    pub timeout: Duration,
}

impl Default for FunctionSettings {
    /// The defaults of Azure Functions' Event Hubs trigger 6.x, where it has them.
    fn default() -> Self {
        Self {
            max_event_batch_size: 100,
            min_event_batch_size: 1,
            max_wait_time: Duration::from_secs(60),
            initial_offset: StartPosition::Earliest,
            order: Order::default(),
            max_concurrent_invocations: None,
            retry: RetryPolicy::default(),
            on_exhausted: OnExhausted::default(),
            parking: ParkingLimits::default(),
            circuit: CircuitSettings::default(),
            dependencies: Vec::new(),
            timeout: Duration::from_secs(300),
        }
    }
}

impl FunctionSettings {
    /// Checks what the types do not say.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        if self.max_event_batch_size == 0 {
            return Err(InvalidSettings("max_event_batch_size must be at least 1"));
        }
        if self.min_event_batch_size == 0 {
            return Err(InvalidSettings("min_event_batch_size must be at least 1"));
        }
        if self.min_event_batch_size > self.max_event_batch_size {
            return Err(InvalidSettings("min_event_batch_size must not be above max_event_batch_size"));
        }
        match self.max_concurrent_invocations {
            Some(0) => return Err(InvalidSettings("max_concurrent_invocations must be at least 1")),
            Some(2..) if self.order != Order::None => {
                return Err(InvalidSettings(
                    "max_concurrent_invocations above 1 needs order \"none\": what runs at the same time has no order",
                ));
            }
            Some(many) if many > MAX_CONCURRENT_INVOCATIONS => {
                return Err(InvalidSettings("max_concurrent_invocations must be at most 100"));
            }
            _ => {}
        }
        if self.timeout.is_zero() {
            return Err(InvalidSettings("timeout must be longer than zero"));
        }
        if self.parking.max_events == 0 || self.parking.max_bytes == 0 {
            return Err(InvalidSettings("the limits of the parking place must be above 0"));
        }
        for (index, dependency) in self.dependencies.iter().enumerate() {
            if self.dependencies[..index].iter().any(|other| other.name == dependency.name) {
                return Err(InvalidSettings("a dependency is named twice"));
            }
            dependency.circuit.validate()?;
        }
        self.circuit.validate()?;
        self.retry.validate()
    }

    /// How many invocations of one lane are under way at once at most.
    pub fn concurrency(&self) -> usize {
        match self.order {
            Order::None => self.max_concurrent_invocations.unwrap_or(CONCURRENT_INVOCATIONS),
            Order::Partition | Order::Key => 1,
        }
    }
}

/// How many invocations of a lane without order are under way at once, unless it is said otherwise.
pub const CONCURRENT_INVOCATIONS: usize = 8;

/// The most invocations of a lane that may be under way at once. With threads of their own, each takes one.
pub const MAX_CONCURRENT_INVOCATIONS: usize = 100;

/// Something that functions need: a service, a database. Its circuit is like that of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// Its name: that of its circuit. No function has the same one.
    pub name: FunctionName,
    /// When its circuit opens: the same for all functions that need it.
    pub circuit: CircuitSettings,
}

/// Which events keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// All events of a partition: a lane waits for an event that is tried again.
    #[default]
    Partition,
    /// The events of a partition key: while one is tried again, those of its key wait behind it, and other keys go on.
    /// Events without key keep no order.
    Key,
    /// None: an event that is tried again waits alone.
    None,
}

/// What becomes of an event whose attempts are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// It is set aside, so that one event that nobody can process never blocks a stream.
    #[default]
    DeadLetter,
    /// It is parked until the circuit or a person decides; in partition order its lane waits behind it, in key order its
    /// key.
    Hold,
}

/// How much may be parked in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkingLimits {
    /// Events.
    pub max_events: u64,
    /// Their sizes together, in bytes.
    pub max_bytes: u64,
    /// How old the first event of a key may become, from when the log took it; then it is set aside.
    pub max_age: Duration,
    /// What happens at `max_events` and `max_bytes`.
    pub at_limit: AtLimit,
}

impl Default for ParkingLimits {
    fn default() -> Self {
        Self {
            max_events: 100_000,
            max_bytes: 256 << 20,
            max_age: Duration::from_secs(7 * 24 * 3600),
            at_limit: AtLimit::default(),
        }
    }
}

/// What happens to an event that would have to be parked when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimit {
    /// The lane waits for room.
    #[default]
    Wait,
    /// It is set aside, and with it the order of its key.
    DeadLetter,
}

/// Settings that contradict each other or make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(pub &'static str);

/// What all functions of a processor share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// Who claims the lanes: the id of this running program. No two that run at the same time have the same one.
    pub owner: String,
    /// Memory for documents that are kept at hand after they were committed, in bytes.
    pub document_cache_bytes: usize,
    /// Memory for events that were read and are not decided yet, over all lanes, in bytes.
    /// What is decided and waits to be committed may take as much again. What is above 4 GiB is not used.
    pub in_flight_bytes: usize,
    /// How long finished batches wait for others to share a commit with while the lanes are behind. A lane that has
    /// caught up is committed at once, or after a commit of many documents a little later, but within this time.
    pub commit_delay: Duration,
    /// How many events a commit waits for at most.
    pub commit_events: usize,
    /// Where functions run.
    pub isolation: Isolation,
    /// Whether other processors work on the same store.
    pub sharing: Sharing,
    /// How long a lane with work may make no progress before something is done about it; see
    /// [`watchdog`](crate::watchdog). A lane is given the time that its function may take in any case.
    pub stuck_after: Duration,
}

impl HostOptions {
    /// Checks what the types do not say.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        if let Sharing::Shared { heartbeat, expires_after } = self.sharing {
            if self.owner.is_empty() {
                return Err(InvalidSettings("a processor that shares its store needs a name"));
            }
            if heartbeat.is_zero() {
                return Err(InvalidSettings("heartbeat must be longer than zero"));
            }
            if expires_after < heartbeat.saturating_mul(3) {
                return Err(InvalidSettings(
                    "expires_after must be at least three heartbeats: one or two may be late",
                ));
            }
        }
        if self.stuck_after.is_zero() {
            return Err(InvalidSettings("stuck_after must be longer than zero"));
        }
        Ok(())
    }
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            owner: "tidegate".to_owned(),
            document_cache_bytes: 64 * 1024 * 1024,
            in_flight_bytes: 48 * 1024 * 1024,
            commit_delay: Duration::from_millis(500),
            commit_events: 250_000,
            isolation: Isolation::Thread,
            sharing: Sharing::Alone,
            stuck_after: Duration::from_secs(60),
        }
    }
}

/// Whether other processors work on the same store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// No. Whoever owned a lane before is gone: the processor takes every lane when it starts, and keeps it.
    #[default]
    Alone,
    /// Yes. They share the lanes out among themselves; see [`ownership`](crate::ownership).
    Shared {
        /// How often each says that it is there.
        heartbeat: Duration,
        /// After how long without a sign of life others take its lanes.
        expires_after: Duration,
    },
}

impl Sharing {
    /// With the usual times: a heartbeat a second, and ten seconds until others take over.
    pub fn shared() -> Self {
        Self::Shared { heartbeat: Duration::from_secs(1), expires_after: Duration::from_secs(10) }
    }
}

/// Where functions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// On a thread of their own for each invocation: a function that never returns costs that thread and nothing else.
    Thread,
    /// In the lane's own task. Everything then happens in one order, which is what a simulation needs; a function that
    /// never returns blocks it.
    Inline,
}
