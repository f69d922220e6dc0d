//! What a lane's pump, the committer and the processor share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_model::checkpoint::{Epoch, Lane};
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::{EventLog, StoreError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_model::register::Version;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::caution::{Caution, Trying};
use crate::settings::Sharing;
use crate::status::{LaneState, LaneStatus, WatchdogStep};
use crate::workspace::DecidedBatch;

/// The number of a lane within its processor.
pub type LaneIndex = usize;

/// A lane of this processor: one that it owns, or may come to own.
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
    /// Whether its owner may change while the processor runs.
    is_shared: bool,
    /// The partitions that fall to this program, where the hub's readers share them out.
    assigned: Option<watch::Receiver<BTreeSet<PartitionId>>>,
    tenure: watch::Sender<Tenure>,
    care: Mutex<Care>,
    /// Until when this processor leaves it to others, on the steady clock.
    refused_until: Mutex<Option<Duration>>,
    /// Which of its pumps is in charge: a number that grows.
    pump: AtomicU64,
    /// The last decided batch that is in the queue of what is to be committed.
    submitted: AtomicU64,
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
    /// True while this processor owns the lane.
    pub owned: bool,
}

/// Whether this processor owns a lane. Each time that it comes to own it is another term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// It does not. The number of terms so far.
    None(u64),
    /// It does.
    Held(u64),
    /// It does, and is about to give it up.
    Leaving(u64),
    /// It does, but somebody else has what it reads: what is not committed is dropped.
    Taken(u64),
}

impl Tenure {
    fn term(self) -> u64 {
        let (Self::None(term) | Self::Held(term) | Self::Leaving(term) | Self::Taken(term)) = self;
        term
    }

    /// Whether the lane is owned in this term.
    pub fn is_term(self, term: u64) -> bool {
        self.owned() == Some(term)
    }

    /// The term, while the lane is owned.
    pub fn owned(self) -> Option<u64> {
        match self {
            Self::None(_) => None,
            Self::Held(term) | Self::Leaving(term) | Self::Taken(term) => Some(term),
        }
    }
}

/// Whether the lane is processed [with care](crate::caution).
#[derive(Clone, Debug)]
pub enum Care {
    /// It is yet to be found out.
    Unknown {
        /// Whether the owner before did not release it.
        in_disorder: bool,
    },
    /// What its register says.
    Known {
        /// What is to be cared for.
        caution: Option<Caution>,
        /// The version of the register.
        version: Version,
        /// The event that the program ended at. That has yet to be recorded as an attempt.
        interrupted: Option<Trying>,
    },
}

struct Activity {
    /// What the pump does.
    pump: LaneState,
    /// What the store said while commits wait for it.
    store_error: Option<String>,
    progressed_at: Option<Timestamp>,
    parked: u64,
    held: u64,
    watchdog: Option<WatchdogStep>,
}

impl OwnedLane {
    /// A lane whose checkpoint is at `position`, claimed under `epoch`, or owned by nobody here yet. With
    /// [`Sharing::Shared`] its owner may change, and where the hub's readers [share out](EventLog::assigned) its partitions.
    pub fn new(
        lane: Lane,
        epoch: Option<Epoch>,
        log: Arc<dyn EventLog>,
        position: SequenceNumber,
        sharing: Sharing,
    ) -> Self {
        let owned = epoch.is_some();
        let assigned = log.assigned();
        Self {
            lane,
            epoch: Mutex::new(epoch.unwrap_or(Epoch(0))),
            must_claim: AtomicBool::new(false),
            is_shared: matches!(sharing, Sharing::Shared { .. }) || assigned.is_some(),
            assigned,
            tenure: watch::Sender::new(if owned { Tenure::Held(1) } else { Tenure::None(0) }),
            care: Mutex::new(Care::Unknown { in_disorder: false }),
            refused_until: Mutex::new(None),
            pump: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            incarnation: log.incarnation(),
            log,
            progress: watch::Sender::new(Progress { position, ticket: 0, stopped: false, owned }),
            activity: Mutex::new(Activity {
                pump: if owned { LaneState::Running } else { LaneState::Unowned },
                store_error: None,
                progressed_at: None,
                parked: 0,
                held: 0,
                watchdog: None,
            }),
            changes: watch::Sender::new(0),
        }
    }

    /// The term under which it is owned.
    pub fn epoch(&self) -> Epoch {
        *self.epoch.lock()
    }

    /// Notes that it was claimed again, and whether its owner before had not released it.
    pub fn claimed(&self, epoch: Epoch, in_disorder: bool) {
        *self.epoch.lock() = epoch;
        self.set_care(Care::Unknown { in_disorder });
        self.must_claim.store(false, Ordering::Release);
    }

    /// Whether this processor owns it, as a value that can be waited for.
    pub fn tenure(&self) -> watch::Receiver<Tenure> {
        self.tenure.subscribe()
    }

    /// True while this processor owns it.
    pub fn is_owned(&self) -> bool {
        !matches!(*self.tenure.borrow(), Tenure::None(_))
    }

    /// Notes that it was claimed, and whether its owner before had not released it; and has its pump begin.
    pub fn assign(&self, epoch: Epoch, in_disorder: bool) {
        self.claimed(epoch, in_disorder);
        self.set_state(LaneState::Running);
        self.progress.send_modify(|progress| progress.owned = true);
        self.tenure.send_modify(|tenure| *tenure = Tenure::Held(tenure.term() + 1));
    }

    /// Whether it is processed with care.
    pub fn care(&self) -> Care {
        self.care.lock().clone()
    }

    /// Notes whether it is processed with care.
    pub fn set_care(&self, care: Care) {
        *self.care.lock() = care;
    }

    /// Notes that the attempt at which the program ended is recorded, or that there is none to record any more.
    pub fn interruption_is_recorded(&self) {
        if let Care::Known { interrupted, .. } = &mut *self.care.lock() {
            *interrupted = None;
        }
    }

    /// Has its pump finish what it does, and give it up.
    pub fn leave(&self) {
        self.tenure.send_if_modified(|tenure| {
            let Tenure::Held(term) = *tenure else { return false };
            *tenure = Tenure::Leaving(term);
            true
        });
    }

    /// Has its pump drop what it does, and give it up: another reader of its hub has the partition, and processes what is not
    /// committed.
    pub fn taken(&self) {
        self.tenure.send_if_modified(|tenure| {
            let (Tenure::Held(term) | Tenure::Leaving(term)) = *tenure else { return false };
            *tenure = Tenure::Taken(term);
            true
        });
    }

    /// Notes that a term is over: the lane is released, or somebody else owns it.
    pub fn lost(&self, term: u64) {
        self.tenure.send_if_modified(|tenure| {
            if !tenure.is_term(term) {
                return false;
            }
            // Before the others can see that the term is over.
            self.set_state(LaneState::Unowned);
            self.set_parked(0, 0);
            self.watched(None);
            self.progress.send_modify(|progress| progress.owned = false);
            *tenure = Tenure::None(term);
            true
        });
    }

    /// Notes that the store does not take anything under its epoch any more: somebody else owns it.
    pub fn fenced(&self, refusal: &StoreError) {
        if matches!(refusal, StoreError::Fenced { ours, .. } if *ours < self.epoch()) {
            // It was claimed again since.
            return;
        }
        if !self.is_shared {
            error!(code = %refusal.code(), error = %refusal, "a lane is stopped");
            self.stop(refusal.to_string());
            return;
        }
        let tenure = *self.tenure.borrow();
        if let Some(term) = tenure.owned() {
            warn!(lane = %self.lane, error = %refusal, "another processor owns the lane now");
            self.lost(term);
        }
    }

    /// Whether its owner may change while the processor runs.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The partitions that fall to this program, where the hub's readers share them out; then that alone says who owns the
    /// lane.
    pub fn assigned(&self) -> Option<&watch::Receiver<BTreeSet<PartitionId>>> {
        self.assigned.as_ref()
    }

    /// Leaves it to others until then, on the steady clock, if there are others.
    pub fn refuse_until(&self, until: Duration) {
        info!(lane = %self.lane, "the lane is left to other processors for a while");
        *self.refused_until.lock() = Some(until);
    }

    /// Whether it is left to others at `now`.
    pub fn is_refused(&self, now: Duration) -> bool {
        self.is_stopped() || self.refused_until.lock().is_some_and(|until| now < until)
    }

    /// Puts a new pump in charge, and every other one out of it; its number.
    pub fn new_pump(&self) -> u64 {
        self.pump.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The pump in charge.
    pub fn pump(&self) -> u64 {
        self.pump.load(Ordering::Acquire)
    }

    /// Notes which decided batch is the last one in the queue of what is to be committed.
    pub fn set_submitted(&self, ticket: u64) {
        self.submitted.store(ticket, Ordering::Release);
    }

    /// The last decided batch in the queue of what is to be committed.
    pub fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Acquire)
    }

    /// Notes what the watchdog did about it.
    pub fn watched(&self, step: Option<WatchdogStep>) {
        self.activity.lock().watchdog = step;
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
            watchdog: activity.watchdog.clone(),
        }
    }
}
