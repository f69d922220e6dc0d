//! What is known once functions run: the functions themselves, and what is measured of them.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use tidegate_api::{Latency, LogLine};
use tidegate_host::settings::FunctionSettings;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::event::HubName;
use tidegate_model::ports::Function;
use tidegate_model::position::{PartitionId, SequenceNumber};

/// A function that runs here.
#[derive(Clone)]
pub struct RunningFunction {
    /// The function.
    pub function: Arc<dyn Function>,
    /// The hub it reads.
    pub hub: HubName,
    /// How it is set.
    pub settings: FunctionSettings,
}

/// The functions that run here; none before they do.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<Arc<[RunningFunction]>>>);

impl Running {
    /// From now on these run.
    pub fn set(&self, functions: Vec<RunningFunction>) {
        *self.0.lock() = functions.into();
    }

    /// All of them.
    pub(crate) fn all(&self) -> Arc<[RunningFunction]> {
        self.0.lock().clone()
    }

    /// The function with this name.
    pub(crate) fn find(&self, name: &FunctionName) -> Option<RunningFunction> {
        self.all().iter().find(|running| running.function.descriptor().name == *name).cloned()
    }
}

/// What is measured and logged. What is not measured is absent, never a guess.
#[async_trait]
pub trait Measured: Send + Sync + 'static {
    /// What comes into a hub.
    fn hub(&self, hub: &HubName) -> HubRates {
        let _ = hub;
        HubRates::default()
    }

    /// What a function does.
    fn function(&self, function: &FunctionName, hub: &HubName) -> FunctionRates {
        let _ = (function, hub);
        FunctionRates::default()
    }

    /// What was logged about one event, the newest first, at most `limit` lines.
    async fn logs_of(
        &self,
        hub: &HubName,
        partition: PartitionId,
        event: SequenceNumber,
        limit: usize,
    ) -> Vec<LogLine> {
        let _ = (hub, partition, event, limit);
        Vec::new()
    }
}

/// Nothing is measured.
pub struct NotMeasured;

#[async_trait]
impl Measured for NotMeasured {}

/// What comes into a hub, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HubRates {
    /// Events.
    pub incoming: Option<f64>,
    /// Bytes.
    pub bytes: Option<f64>,
}

/// What a function does, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunctionRates {
    /// Events that come to it.
    pub incoming: Option<f64>,
    /// Events that are resolved.
    pub processed: Option<f64>,
    /// Events that become dead letters.
    pub dead_lettered: Option<f64>,
    /// Attempts that fail.
    pub failed: Option<f64>,
    /// How long events take from the log to the commit.
    pub latency_ms: Option<Latency>,
}
