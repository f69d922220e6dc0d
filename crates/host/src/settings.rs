//! How a function is run. The names are those that Azure Functions users know.

use std::time::Duration;

use tidegate_model::position::StartPosition;

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
    /// What happens when an event fails for a reason that may pass.
    pub retry: RetryPolicy,
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
            retry: RetryPolicy::default(),
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
        if self.timeout.is_zero() {
            return Err(InvalidSettings("timeout must be longer than zero"));
        }
        self.retry.validate()
    }
}

/// Settings that contradict each other or make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(pub &'static str);

/// What all functions of a processor share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// Who claims the lanes: the id of this running program.
    pub owner: String,
    /// Memory for documents that are kept at hand after they were committed, in bytes.
    pub document_cache_bytes: usize,
    /// Memory for events that were read and are not decided yet, over all lanes, in bytes.
    /// What is decided and waits to be committed may take as much again. What is above 4 GiB is not used.
    pub in_flight_bytes: usize,
    /// How long finished batches wait for others to share a commit with while the lanes are behind. A lane that has
    /// caught up is committed at once.
    pub commit_delay: Duration,
    /// How many events a commit waits for at most.
    pub commit_events: usize,
    /// Where functions run.
    pub isolation: Isolation,
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
        }
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
