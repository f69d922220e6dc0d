//! Copies of our checkpoints, as blobs: for KEDA, for other processors, and for the way back.
//!
//! The store decides; the blobs follow it. A copy is written some seconds after a checkpoint moved, once for all moves in
//! between. Where partitions are [claimed](super::Claims), only of those that are ours, and a copy of somebody else is
//! replaced only by a later one: a program that has not noticed yet that it lost a partition cannot put its group back. Where several functions read a hub in one group, the copy is the checkpoint of the slowest. When the blobs
//! cannot be written nothing else stops: the copy is old, and a log line says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::clock::SharedClock;
use tidegate_model::ports::{EventLog, ReadError, Store};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

use super::checkpoints::{BlobCheckpoints, FoundCheckpoint, StoredCheckpoint};
use super::container::BlobError;
use crate::event_hubs::log::RemoteLog;

/// What keeps the copies.
#[derive(Clone)]
pub struct Mirror {
    /// Where the checkpoints are.
    pub store: Arc<dyn Store>,
    /// The hub they belong to.
    pub log: Arc<RemoteLog>,
    /// Where the copies go.
    pub blobs: Arc<BlobCheckpoints>,
    /// What this program is called in the blobs.
    pub writer: String,
    /// How often the store is looked at.
    pub interval: Duration,
    /// The clock of the store.
    pub clock: SharedClock,
}

impl Mirror {
    /// Keeps the copies until `stop` turns true; then a last time.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut written = BTreeMap::new();
        let mut is_behind = false;
        loop {
            let stopping = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = self.clock.sleep(self.interval) => false,
            };
            match self.copy(&mut written).await {
                Ok(()) if is_behind => {
                    tracing::info!(hub = %self.log.hub(), "the copies of checkpoints are written again");
                    is_behind = false;
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(hub = %self.log.hub(), error, "the copies of checkpoints are behind");
                    is_behind = true;
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Copies what has moved since it was `written`.
    ///
    /// # Errors
    /// What the store or the blobs said; the rest is copied the next time.
    pub async fn copy(&self, written: &mut BTreeMap<PartitionId, SequenceNumber>) -> Result<(), String> {
        let mut slowest: BTreeMap<PartitionId, SequenceNumber> = BTreeMap::new();
        for checkpoint in self.store.checkpoints().await.map_err(|error| error.to_string())? {
            let lane = &checkpoint.lane;
            if lane.hub == *self.log.hub() && checkpoint.incarnation == self.log.incarnation() {
                let position = slowest.entry(lane.partition).or_insert(checkpoint.position);
                *position = checkpoint.position.min(*position);
            }
        }
        let assigned = self.log.assigned().map(|assigned| assigned.borrow().clone());
        for (partition, position) in slowest {
            if assigned.as_ref().is_some_and(|assigned| !assigned.contains(&partition)) {
                // Others write it, who may be further.
                continue;
            }
            let Some(done) = position.previous() else { continue };
            // The offset of that event, or of one before it: to begin a little earlier is always right.
            let Some((number, offset)) = self.log.offset_at(partition, done) else { continue };
            if written.get(&partition).is_some_and(|before| *before >= number) {
                continue;
            }
            match self.write(partition, number, &offset, assigned.is_some()).await {
                Ok(()) => {}
                // Whoever was faster is looked at the next time.
                Err(NotCopied::Overtaken) => continue,
                Err(NotCopied::Said(error)) => return Err(error),
            }
            written.insert(partition, number);
            self.log.forget_offsets_before(partition, number);
        }
        Ok(())
    }
}

/// Why a copy was not written.
enum NotCopied {
    /// Somebody else was faster.
    Overtaken,
    /// What the blobs or the hub said.
    Said(String),
}

impl Mirror {
    async fn write(
        &self,
        partition: PartitionId,
        number: SequenceNumber,
        offset: &str,
        is_shared: bool,
    ) -> Result<(), NotCopied> {
        if !is_shared {
            let wrote = self.blobs.write_checkpoint(partition, number, offset, &self.writer).await;
            return wrote.map_err(|error| NotCopied::Said(error.to_string()));
        }
        let said = |error: BlobError| NotCopied::Said(error.to_string());
        let stored = self.blobs.stored(partition).await.map_err(said)?;
        if let Some(StoredCheckpoint { checkpoint, .. }) = &stored {
            let is_ours = checkpoint.written_by.as_deref() == Some(self.writer.as_str());
            let further = checkpoint.sequence_number.filter(|theirs| !is_ours && *theirs >= number);
            if let Some(theirs) = further {
                // The hub itself is asked: what is known here of its end may be from before others went on.
                match self.log.locate_behind(partition, Some(theirs), None).await {
                    Ok(_) => return Ok(()),
                    // It is of another life of the hub, or of one that lost its end.
                    Err(ReadError::BeyondTail { .. }) => {}
                    Err(error) => return Err(NotCopied::Said(error.to_string())),
                }
            }
        }
        let copy = (number, offset);
        match self.blobs.replace_checkpoint(partition, stored.as_ref(), copy, &self.writer).await {
            Err(error) if error.is_lost_race() => Err(NotCopied::Overtaken),
            wrote => wrote.map_err(said),
        }
    }
}

/// What the blobs say of a consumer group that worked with them so far. [`RemoteLog::locate_behind`] says where it goes on.
///
/// # Errors
/// When the blobs cannot be read.
pub async fn known_checkpoints(
    blobs: &BlobCheckpoints,
    partition_count: u32,
) -> Result<BTreeMap<PartitionId, FoundCheckpoint>, BlobError> {
    let mut known = BTreeMap::new();
    for partition in (0..partition_count).map(PartitionId) {
        if let Some(checkpoint) = blobs.find(partition).await? {
            known.insert(partition, checkpoint);
        }
    }
    Ok(known)
}
