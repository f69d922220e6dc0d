//! The pumps of a processor: one a lane, each in a task of its own, and each can be replaced.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tracing::error;

use crate::lane::LaneIndex;
use crate::pump::PartitionPump;
use crate::tasks::{self, Task, Tasks};

/// The pumps of a processor.
pub(crate) struct Pumps {
    /// What each pump is made from, by lane.
    templates: Vec<PartitionPump>,
    tasks: Mutex<Vec<Task>>,
}

impl Pumps {
    /// Starts a pump for each lane; `templates` are in the order of the lanes.
    pub(crate) fn start(templates: Vec<PartitionPump>) -> Self {
        let tasks = templates.iter().map(start).collect();
        Self { templates, tasks: Mutex::new(tasks) }
    }

    /// Replaces the pump of a lane. What is ahead of the store is taken back, for all lanes: the new pump begins at the
    /// checkpoint, and what the old one decided must not come on top of that.
    pub(crate) fn restart(&self, index: LaneIndex) {
        let mut tasks = self.tasks.lock();
        let (Some(template), Some(task)) = (self.templates.get(index), tasks.get_mut(index)) else { return };
        task.abort();
        // The old one may be where nothing can stop it. From here on it is not in charge, and what it still decides belongs
        // to a generation that is over.
        let new = start(template);
        template.workspace.rewind();
        *task = new;
    }

    /// All tasks, to wait for their end. Nothing can be restarted after this.
    pub(crate) fn take(&self) -> Tasks {
        std::mem::take(&mut *self.tasks.lock()).into_iter().collect()
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        drop(self.take());
    }
}

fn start(template: &PartitionPump) -> Task {
    let (lanes, index) = (Arc::clone(&template.lanes), template.index);
    let number = lanes[index].new_pump();
    let pump = PartitionPump { number, ..template.clone() };
    tasks::spawn(async move {
        let ended = AssertUnwindSafe(pump.run()).catch_unwind().await;
        if ended.is_err() && lanes[index].pump() == number {
            error!(lane = %lanes[index].lane, "the pump panicked: this is a defect of the host; the lane is stopped");
            lanes[index].stop("the pump panicked; restart to go on from the checkpoint".to_owned());
        }
    })
}
