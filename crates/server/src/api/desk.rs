//! What a person at a desk wants of dead letters beyond the port.

use std::time::Duration;

use async_trait::async_trait;

use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterId, Fingerprint};
use tidegate_model::ports::StoreError;
use tidegate_model::trail::Act;
use tidegate_store::SqliteStore;

/// How many dead letters each cause had in each bucket, the most frequent cause first.
pub type Counts = Vec<(Fingerprint, Vec<u64>)>;

/// Looks at dead letters over time, and takes notes.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// How many dead letters were set aside from `from` on, by cause: a count for each of `buckets` times of length `step`.
    async fn trend(&self, from: Timestamp, step: Duration, buckets: usize) -> Result<Counts, StoreError>;

    /// Writes a note about a dead letter, with its line in the audit trail; false when there is no such dead letter.
    async fn note(&self, id: DeadLetterId, act: &Act) -> Result<bool, StoreError>;
}

#[async_trait]
impl Desk for SqliteStore {
    async fn trend(&self, from: Timestamp, step: Duration, buckets: usize) -> Result<Counts, StoreError> {
        self.dead_letter_trend(from, step, buckets).await
    }

    async fn note(&self, id: DeadLetterId, act: &Act) -> Result<bool, StoreError> {
        self.note_dead_letter(id, act).await
    }
}
