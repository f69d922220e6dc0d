//! What a running processor is told when a person changed something underneath it.

use std::sync::Arc;

use parking_lot::Mutex;

use tidegate_model::checkpoint::{FunctionName, Lane};

/// A running processor, as far as the API acts on it. It finds everything in the store by itself; it is told so that it
/// looks at once.
pub trait Operations: Send + Sync + 'static {
    /// The checkpoint of a lane was moved by hand, under a new epoch: its owner is fenced, and is to go on from there.
    fn lane_changed(&self, lane: &Lane) {
        let _ = lane;
    }

    /// Something was parked in a lane, or the turn of something parked has come, or it is gone.
    fn parked_changed(&self, lane: &Lane) {
        let _ = lane;
    }

    /// The circuit of a function was moved by hand, or it was paused or resumed.
    fn function_changed(&self, function: &FunctionName) {
        let _ = function;
    }
}

/// Where the processor is told, once one runs.
#[derive(Clone, Default)]
pub struct Processing(Arc<Mutex<Option<Arc<dyn Operations>>>>);

impl Processing {
    /// From now on this is told; nothing when `None`.
    pub fn set(&self, operations: Option<Arc<dyn Operations>>) {
        *self.0.lock() = operations;
    }

    /// The running one, if any.
    fn running(&self) -> Option<Arc<dyn Operations>> {
        self.0.lock().clone()
    }
}

impl Operations for Processing {
    fn lane_changed(&self, lane: &Lane) {
        if let Some(running) = self.running() {
            running.lane_changed(lane);
        }
    }

    fn parked_changed(&self, lane: &Lane) {
        if let Some(running) = self.running() {
            running.parked_changed(lane);
        }
    }

    fn function_changed(&self, function: &FunctionName) {
        if let Some(running) = self.running() {
            running.function_changed(function);
        }
    }
}
