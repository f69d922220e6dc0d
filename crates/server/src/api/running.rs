//! What is known once functions run: the functions themselves, and what is logged about events.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use tidegate_api::LogLine;
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

/// What the program logged, kept for a while.
#[async_trait]
pub trait Logged: Send + Sync + 'static {
    /// What was logged about one event, the newest first, at most `limit` lines.
    async fn of_event(
        &self,
        hub: &HubName,
        partition: PartitionId,
        event: SequenceNumber,
        limit: usize,
    ) -> Vec<LogLine>;
}
