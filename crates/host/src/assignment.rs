//! Follows the readers of a hub who share its partitions out among themselves, beyond this program's store: a lane is
//! claimed when its partition falls to this program, and given up when another reader has it.
//!
//! The claim in the store is made all the same: it fences whoever processed the lane from this store before. When a lane is
//! given up another reader has its partition already and begins at the last checkpoint that it knows of, so what is not
//! committed is dropped, an invocation that runs too, and the term in the store ends: nothing is committed under it any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tidegate_model::clock::SharedClock;
use tidegate_model::ports::{Store, StoreError};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::lane::OwnedLane;
use crate::ownership::is_in_disorder;
use crate::workspace::Workspace;

/// How often it is looked whether a lane that was lost is still to be processed here.
const LOOK: Duration = Duration::from_secs(1);

/// Looks after the lanes of a processor whose partitions are assigned from outside.
pub(crate) struct Follower {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) lanes: Arc<[OwnedLane]>,
    pub(crate) owner: String,
    /// Once it is true nothing is claimed or given up any more.
    pub(crate) draining: watch::Receiver<bool>,
}

impl Follower {
    /// Whether there is anything to look after.
    pub(crate) fn has_lanes(&self) -> bool {
        self.lanes.iter().any(|lane| lane.assigned().is_some())
    }

    /// Claims and gives up lanes until the processor drains.
    pub(crate) async fn run(mut self) {
        let mut assigned: Vec<_> = self.lanes.iter().filter_map(|lane| lane.assigned().cloned()).collect();
        let mut draining = self.draining.clone();
        let mut trouble = None;
        while !*self.draining.borrow_and_update() {
            assigned.iter_mut().for_each(|assigned| assigned.mark_unchanged());
            let said = self.round().await.err().map(|error| error.to_string());
            if let Some(error) = said.as_ref().filter(|said| trouble.as_ref() != Some(*said)) {
                warn!(error, "lanes that fall to this program are not claimed at the moment");
            }
            trouble = said;
            let changed = assigned.iter_mut().map(|assigned| Box::pin(assigned.changed()));
            let changed = async {
                // A hub that is gone assigns nothing any more.
                if select_all(changed).await.0.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => return,
                () = changed => {}
                () = self.clock.sleep(LOOK) => {}
            }
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        let mut ownerships = None;
        for lane in &*self.lanes {
            let Some(assigned) = lane.assigned() else { continue };
            let falls_to_us = assigned.borrow().contains(&lane.lane.partition);
            if falls_to_us == lane.is_owned() || (falls_to_us && lane.is_stopped()) {
                continue;
            }
            if !falls_to_us {
                self.give_up(lane).await?;
                continue;
            }
            let known = match ownerships.take() {
                Some(known) => known,
                None => self.store.ownerships().await?,
            };
            if *self.draining.borrow() {
                return Ok(());
            }
            let ownership = self.store.claim(&lane.lane, &self.owner, self.clock.now()).await?;
            info!(lane = %lane.lane, epoch = ownership.epoch.0, "its partition falls to this program: the lane is claimed");
            // Others may have changed its documents since this processor had it last.
            self.workspace.forget();
            lane.assign(ownership.epoch, is_in_disorder(&known, &lane.lane));
            ownerships = Some(known);
        }
        Ok(())
    }

    async fn give_up(&self, lane: &OwnedLane) -> Result<(), StoreError> {
        if !lane.is_stopped() {
            lane.taken();
            return Ok(());
        }
        // It has no pump that could give it up.
        let tenure = *lane.tenure().borrow();
        if let Some(term) = tenure.owned() {
            self.store.release(&lane.lane, lane.epoch(), self.clock.now()).await?;
            lane.lost(term);
        }
        Ok(())
    }
}
