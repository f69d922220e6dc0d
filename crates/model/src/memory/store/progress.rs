//! Who may process the lanes and how far they are, in memory.

use async_trait::async_trait;

use crate::attempt::EventAttempts;
use crate::checkpoint::{Checkpoint, Epoch, Lane, Ownership};
use crate::clock::Timestamp;
use crate::dead_letter::DeadLetterStatus;
use crate::outcome::OutcomeCounts;
use crate::ports::{Checkpoints, Ownerships, StoreError};
use crate::position::{Incarnation, SequenceNumber};
use crate::trail::NewTrailEntry;

use super::MemoryStore;

#[async_trait]
impl Ownerships for MemoryStore {
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError> {
        Ok(self.state.lock().claim(lane, owner, at))
    }

    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError> {
        if let Some(ownership) = self.state.lock().ownerships.get_mut(lane)
            && ownership.epoch == epoch
        {
            ownership.owner.clear();
            ownership.changed_at = at;
        }
        Ok(())
    }

    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError> {
        self.read(|state| state.ownerships.values().cloned().collect())
    }
}

#[async_trait]
impl Checkpoints for MemoryStore {
    async fn checkpoint(&self, lane: &Lane) -> Result<Option<Checkpoint>, StoreError> {
        self.read(|state| state.checkpoints.get(lane).cloned())
    }

    async fn begin(
        &self,
        lane: &Lane,
        incarnation: Incarnation,
        start: SequenceNumber,
        at: Timestamp,
    ) -> Result<Checkpoint, StoreError> {
        let first = || Checkpoint {
            lane: lane.clone(),
            incarnation,
            start,
            position: start,
            counts: OutcomeCounts::default(),
            updated_at: at,
        };
        Ok(self.state.lock().checkpoints.entry(lane.clone()).or_insert_with(first).clone())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.read(|state| state.checkpoints.values().cloned().collect())
    }

    async fn attempts(&self, lane: &Lane) -> Result<Vec<EventAttempts>, StoreError> {
        self.read(|state| {
            let of_lane = state.attempts.iter().filter(|((other, _), _)| other == lane);
            of_lane.map(|(_, attempts)| attempts.clone()).collect()
        })
    }

    async fn seek(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        to: SequenceNumber,
        entry: NewTrailEntry,
    ) -> Result<Checkpoint, StoreError> {
        self.act(|state| {
            let at = entry.act.at;
            let Some(checkpoint) = state.checkpoints.get_mut(lane) else {
                let detail = format!("the lane {lane} has no checkpoint that could be moved");
                return Err(StoreError::Refused { detail });
            };
            if checkpoint.position != from {
                return Err(StoreError::CheckpointMoved {
                    lane: lane.clone(),
                    from,
                    stored: checkpoint.position,
                });
            }
            checkpoint.start = to;
            checkpoint.position = to;
            checkpoint.counts = OutcomeCounts::default();
            checkpoint.updated_at = at;
            let checkpoint = checkpoint.clone();

            state.claim(lane, "", at);
            state.attempts.retain(|(other, _), _| other != lane);
            state.parked.remove_from(lane, to);
            for stored in state.dead_letters.values_mut() {
                let letter = &stored.letter;
                let is_read_again = letter.lane == *lane
                    && letter.incarnation == checkpoint.incarnation
                    && letter.event.sequence_number >= to;
                let is_waiting = stored.status.is_unsettled() || stored.status == DeadLetterStatus::Redriving;
                if is_read_again && is_waiting {
                    stored.status = DeadLetterStatus::Replayed;
                    stored.changed_at = at;
                    stored.lease = None;
                }
            }
            state.write_trail(entry);
            Ok(checkpoint)
        })
    }
}
