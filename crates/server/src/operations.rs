//! The running processor, as the API and the link in a mail act on it.

use std::sync::Arc;

use tokio::sync::RwLock;

use tidegate_host::lane::OwnedLane;
use tidegate_host::processor::Processor;
use tidegate_model::checkpoint::{FunctionName, Lane};

use crate::api::Operations;

/// Tells the lanes of a processor that something was changed underneath them. One that is not told finds it at its next
/// look at the store.
pub(crate) struct RunningProcessor(pub(crate) Arc<RwLock<Option<Processor>>>);

impl RunningProcessor {
    fn tell(&self, concerns: impl Fn(&Lane) -> bool, tell: impl Fn(&OwnedLane)) {
        // Only a stop holds the lock for itself, and then nobody goes on that would have to be told.
        let Ok(processor) = self.0.try_read() else { return };
        let Some(processor) = &*processor else { return };
        processor.lanes().iter().filter(|owned| concerns(&owned.lane)).for_each(tell);
    }
}

impl Operations for RunningProcessor {
    fn lane_changed(&self, lane: &Lane) {
        self.tell(|owned| owned == lane, OwnedLane::checkpoint_was_moved);
    }

    fn parked_changed(&self, lane: &Lane) {
        self.tell(|owned| owned == lane, OwnedLane::changed_from_outside);
    }

    fn function_changed(&self, function: &FunctionName) {
        self.tell(|owned| owned.function == *function, OwnedLane::changed_from_outside);
    }
}
