//! What a lane's pump, the committer and the processor share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidegate_model::checkpoint::{Epoch, Lane};
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::EventLog;
use tidegate_model::position::{Incarnation, SequenceNumber};
use tokio::sync::watch;

use crate::status::{LaneState, LaneStatus};
use crate::workspace::DecidedBatch;

/// The number of a lane within its processor.
pub type LaneIndex = usize;

/// A lane that this processor owns.
pub struct OwnedLane {
    /// The lane.
    pub lane: Lane,
    /// The life of the hub it reads.
    pub incarnation: Incarnation,
    /// The hub it reads.
    pub log: Arc<dyn EventLog>,
    /// The term under which it is owned.
    epoch: Mutex<Epoch>,
    /// Whether it has to be claimed again before it goes on.
    must_claim: AtomicBool,
    progress: watch::Sender<Progress>,
    changes: watch::Sender<u64>,
    activity: Mutex<Activity>,
}

/// How far a lane is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The first event whose outcome is not committed.
    pub position: SequenceNumber,
    /// The last decided batch that is committed.
    pub ticket: u64,
    /// True when the lane is stopped for good.
    pub stopped: bool,
}

struct Activity {
    /// What the pump does.
    pump: LaneState,
    /// What the store said while commits wait for it.
    store_error: Option<String>,
    progressed_at: Option<Timestamp>,
    parked: u64,
    held: u64,
}

impl OwnedLane {
    /// A lane whose checkpoint is at `position`.
    pub fn new(lane: Lane, epoch: Epoch, log: Arc<dyn EventLog>, position: SequenceNumber) -> Self {
        Self {
            lane,
            epoch: Mutex::new(epoch),
            must_claim: AtomicBool::new(false),
            incarnation: log.incarnation(),
            log,
            progress: watch::Sender::new(Progress { position, ticket: 0, stopped: false }),
            activity: Mutex::new(Activity {
                pump: LaneState::Running,
                store_error: None,
                progressed_at: None,
                parked: 0,
                held: 0,
            }),
            changes: watch::Sender::new(0),
        }
    }

    /// The term under which it is owned.
    pub fn epoch(&self) -> Epoch {
        *self.epoch.lock()
    }

    /// Notes that it was claimed again.
    pub fn claimed(&self, epoch: Epoch) {
        *self.epoch.lock() = epoch;
        self.must_claim.store(false, Ordering::Release);
    }

    /// Notes that a person moved the checkpoint, which ended the term of whoever owned the lane: it is to be claimed again.
    pub fn checkpoint_was_moved(&self) {
        self.must_claim.store(true, Ordering::Release);
        self.changed_from_outside();
    }

    /// Whether it has to be claimed again before it goes on.
    pub fn must_claim(&self) -> bool {
        self.must_claim.load(Ordering::Acquire)
    }

    /// How far it is, as a value that can be waited for.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Notes that a batch is committed.
    pub fn committed(&self, batch: &DecidedBatch, at: Timestamp) {
        if batch.advance.to > batch.advance.from {
            self.activity.lock().progressed_at = Some(at);
        }
        self.progress.send_modify(|progress| {
            progress.position = batch.advance.to;
            progress.ticket = batch.ticket;
        });
    }

    /// Notes where the stored checkpoint is: the store answers. It can be further than the last commit that was heard
    /// of: its reply may have been lost.
    pub fn resumes_at(&self, position: SequenceNumber) {
        self.store_answers();
        self.progress.send_modify(|progress| progress.position = position);
    }

    /// Notes that the store answers again.
    pub fn store_answers(&self) {
        self.activity.lock().store_error = None;
    }

    /// Notes that commits wait for the store, of this lane or before it.
    pub fn waits_for_store(&self, error: &str) {
        self.activity.lock().store_error = Some(error.to_owned());
    }

    /// Notes that what is parked in the lane was changed from outside: by a redrive, or by a person.
    pub fn changed_from_outside(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The changes from outside, as a value that can be waited for.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notes what is parked.
    pub fn set_parked(&self, parked: u64, held: u64) {
        let mut activity = self.activity.lock();
        (activity.parked, activity.held) = (parked, held);
    }

    /// Notes what the pump does.
    pub fn set_state(&self, state: LaneState) {
        let mut activity = self.activity.lock();
        if !matches!(activity.pump, LaneState::Stopped { .. }) {
            activity.pump = state;
        }
    }

    /// Stops the lane for good.
    pub fn stop(&self, error: String) {
        self.set_state(LaneState::Stopped { error });
        self.progress.send_modify(|progress| progress.stopped = true);
    }

    /// True when the lane is stopped for good.
    pub fn is_stopped(&self) -> bool {
        self.progress.borrow().stopped
    }

    /// What can be seen of it.
    pub fn status(&self) -> LaneStatus {
        let activity = self.activity.lock();
        let position = self.progress.borrow().position;
        let tail = self.log.status(self.lane.partition).map_or(position, |status| status.tail);
        let state = match (&activity.pump, &activity.store_error) {
            // A lane with nothing to commit does not wait.
            (LaneState::Running | LaneState::Retrying { .. }, Some(error)) if position < tail => {
                LaneState::Waiting { error: error.clone() }
            }
            (state, _) => state.clone(),
        };
        LaneStatus {
            lane: self.lane.clone(),
            state,
            position,
            tail,
            parked: activity.parked,
            held: activity.held,
            progressed_at: activity.progressed_at,
        }
    }
}
