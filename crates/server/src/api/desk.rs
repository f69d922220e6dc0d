//! What a person at a desk wants of dead letters beyond the port.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId, Fingerprint, StoredDeadLetter};
use tidegate_model::ports::StoreError;
use tidegate_model::trail::{Act, TrailEntry};
use tidegate_store::{Causes, SqliteStore};

/// How many dead letters each cause had in each bucket, the most frequent cause first.
pub type Counts = Vec<(Fingerprint, Vec<u64>)>;

/// Looks at dead letters over time, and takes notes.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// How many dead letters were set aside from `from` on, by cause: a count for each of `buckets` times of length `step`.
    async fn trend(&self, from: Timestamp, step: Duration, buckets: usize) -> Result<Counts, StoreError>;

    /// At most `limit` dead letters that match, with ids less than `before`, the greatest first.
    async fn newest(
        &self,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError>;

    /// The causes of the dead letters that match, the most frequent first and at most `limit`, and how many there are.
    async fn causes(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Causes, StoreError>;

    /// At most `limit` lines of the audit trail with numbers less than `before`, the newest first; of one subject if given.
    async fn newest_trail(
        &self,
        subject: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError>;

    /// The lanes that these dead letters are of.
    async fn lanes(&self, ids: &[DeadLetterId]) -> Result<BTreeSet<Lane>, StoreError>;

    /// Writes a note about a dead letter, with its line in the audit trail; false when there is no such dead letter.
    async fn note(&self, id: DeadLetterId, act: &Act) -> Result<bool, StoreError>;
}

#[async_trait]
impl Desk for SqliteStore {
    async fn trend(&self, from: Timestamp, step: Duration, buckets: usize) -> Result<Counts, StoreError> {
        self.dead_letter_trend(from, step, buckets).await
    }

    async fn newest(
        &self,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.newest_dead_letters(filter, before, limit).await
    }

    async fn causes(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Causes, StoreError> {
        self.dead_letter_causes(filter, limit).await
    }

    async fn newest_trail(
        &self,
        subject: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError> {
        // The inherent method, not this one.
        SqliteStore::newest_trail(self, subject, before, limit).await
    }

    async fn lanes(&self, ids: &[DeadLetterId]) -> Result<BTreeSet<Lane>, StoreError> {
        self.dead_letter_lanes(ids).await
    }

    async fn note(&self, id: DeadLetterId, act: &Act) -> Result<bool, StoreError> {
        self.note_dead_letter(id, act).await
    }
}
