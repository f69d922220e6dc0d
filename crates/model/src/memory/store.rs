//! The store in memory: the shortest readable statement of what a store with one transaction does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::attempt::EventAttempts;
use crate::checkpoint::{Checkpoint, Epoch, Lane, Ownership};
use crate::clock::Timestamp;
use crate::commit::{Commit, CommitGuarantee, CommitReceipt, DocumentWrite, LaneCommit};
use crate::dead_letter::{DeadLetter, DeadLetterId, StoredDeadLetter};
use crate::document::{CollectionName, Document, DocumentId, ETag, Precondition};
use crate::outcome::OutcomeCounts;
use crate::ports::{Checkpoints, Commits, DeadLetterFilter, DeadLetters, Documents, Ownerships, StoreError};
use crate::position::{Incarnation, PartitionId, SequenceNumber};

/// A store in memory. Clones share one state: a clone is what reopening is for a durable store.
///
/// For tests of its users it can be told to fail: [`fail_next_commit`](Self::fail_next_commit),
/// [`lose_next_reply`](Self::lose_next_reply), [`fail_next_read`](Self::fail_next_read),
/// [`hold_commits`](Self::hold_commits), [`change_document`](Self::change_document) and [`steal`](Self::steal).
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    held: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct State {
    ownerships: BTreeMap<Lane, Ownership>,
    checkpoints: BTreeMap<Lane, Checkpoint>,
    attempts: BTreeMap<(Lane, SequenceNumber), EventAttempts>,
    documents: BTreeMap<CollectionName, BTreeMap<DocumentId, Document>>,
    dead_letters: BTreeMap<DeadLetterId, DeadLetter>,
    last_etag: u64,
    commit_count: u64,
    commit_faults: VecDeque<CommitFault>,
    read_faults: VecDeque<StoreError>,
}

/// What goes wrong with a commit.
enum CommitFault {
    NothingWritten(StoreError),
    ReplyLost(StoreError),
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: Arc::default(), held: Arc::new(watch::Sender::new(false)) }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next commit writes nothing and returns `error`. Called n times, it is about the next n commits.
    pub fn fail_next_commit(&self, error: StoreError) {
        self.state.lock().commit_faults.push_back(CommitFault::NothingWritten(error));
    }

    /// The next commit goes through, but its reply is lost: it returns `error`. If the commit would have been refused,
    /// the refusal is what gets lost.
    pub fn lose_next_reply(&self, error: StoreError) {
        self.state.lock().commit_faults.push_back(CommitFault::ReplyLost(error));
    }

    /// The next read of documents, checkpoints, attempts, ownerships or dead letters returns `error`.
    pub fn fail_next_read(&self, error: StoreError) {
        self.state.lock().read_faults.push_back(error);
    }

    /// Commits wait, before they do anything, until [`release_commits`](Self::release_commits).
    pub fn hold_commits(&self) {
        self.held.send_replace(true);
    }

    /// Commits that wait go on.
    pub fn release_commits(&self) {
        self.held.send_replace(false);
    }

    /// Somebody else writes a document, past every lane. Returns its new version.
    pub fn change_document(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
        body: impl Into<Bytes>,
        at: Timestamp,
    ) -> ETag {
        let mut state = self.state.lock();
        let etag = state.next_etag();
        let documents = state.documents.entry(collection.clone()).or_default();
        let (partition, sequence_number) = match documents.get(id) {
            Some(old) => (old.partition, old.sequence_number),
            None => (PartitionId(0), SequenceNumber::ZERO),
        };
        let document =
            Document { id: id.clone(), body: body.into(), partition, sequence_number, etag, updated_at: at };
        documents.insert(id.clone(), document);
        etag
    }

    /// Somebody else claims a lane: from now on its owner is fenced.
    pub fn steal(&self, lane: &Lane, at: Timestamp) -> Ownership {
        self.state.lock().claim(lane, "somebody-else", at)
    }

    /// How many commits went through.
    pub fn commit_count(&self) -> u64 {
        self.state.lock().commit_count
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        let mut state = self.state.lock();
        match state.read_faults.pop_front() {
            Some(error) => Err(error),
            None => Ok(read(&state)),
        }
    }
}

impl State {
    fn next_etag(&mut self) -> ETag {
        self.last_etag += 1;
        ETag(self.last_etag)
    }

    fn claim(&mut self, lane: &Lane, owner: &str, at: Timestamp) -> Ownership {
        let epoch = self.ownerships.get(lane).map_or(Epoch(1), |before| Epoch(before.epoch.0 + 1));
        let ownership = Ownership { lane: lane.clone(), owner: owner.to_owned(), epoch, changed_at: at };
        self.ownerships.insert(lane.clone(), ownership.clone());
        ownership
    }

    /// Checks everything, then writes everything.
    fn commit(&mut self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        commit.check_lanes().map_err(|detail| StoreError::Refused { detail })?;
        for lane in &commit.lanes {
            self.check_lane(lane)?;
        }
        let mut seen = BTreeSet::new();
        for write in &commit.documents {
            if !seen.insert((&write.collection, &write.id)) {
                let detail =
                    format!("the commit writes the document {} of {} twice", write.id, write.collection);
                return Err(StoreError::Refused { detail });
            }
            self.check_document(write)?;
        }
        let etag = self.next_etag();
        self.commit_count += 1;
        for lane in &commit.lanes {
            self.write_lane(lane, commit.at);
        }
        for write in &commit.documents {
            self.write_document(write, etag, commit.at);
        }
        Ok(CommitReceipt { etag })
    }

    fn check_lane(&self, ours: &LaneCommit) -> Result<(), StoreError> {
        let lane = &ours.lane;
        let stored = self.ownerships.get(lane).map(|ownership| ownership.epoch);
        let Some(checkpoint) = self.checkpoints.get(lane).filter(|_| stored == Some(ours.epoch)) else {
            return Err(StoreError::Fenced { lane: lane.clone(), ours: ours.epoch, stored });
        };
        if checkpoint.incarnation != ours.incarnation {
            return Err(StoreError::OtherIncarnation {
                lane: lane.clone(),
                ours: ours.incarnation,
                stored: checkpoint.incarnation,
            });
        }
        if checkpoint.position != ours.advance.from {
            return Err(StoreError::CheckpointMoved {
                lane: lane.clone(),
                from: ours.advance.from,
                stored: checkpoint.position,
            });
        }
        Ok(())
    }

    fn check_document(&self, write: &DocumentWrite) -> Result<(), StoreError> {
        if std::str::from_utf8(&write.body).is_err() {
            let detail =
                format!("the state of the document {} of {} is not UTF-8 text", write.id, write.collection);
            return Err(StoreError::Refused { detail });
        }
        let stored = self.documents.get(&write.collection).and_then(|documents| documents.get(&write.id));
        let holds = match write.precondition {
            Precondition::Absent => stored.is_none(),
            Precondition::Matches(etag) => stored.is_some_and(|document| document.etag == etag),
        };
        if holds {
            Ok(())
        } else {
            Err(StoreError::DocumentChanged { collection: write.collection.clone(), id: write.id.clone() })
        }
    }

    fn write_lane(&mut self, ours: &LaneCommit, at: Timestamp) {
        let lane = &ours.lane;
        if let Some(checkpoint) = self.checkpoints.get_mut(lane) {
            checkpoint.position = ours.advance.to;
            checkpoint.counts += ours.counts;
            checkpoint.updated_at = at;
        }
        self.attempts.retain(|(other, event), _| other != lane || *event >= ours.advance.to);
        for attempts in &ours.attempts {
            self.attempts.insert((lane.clone(), attempts.sequence_number), attempts.clone());
        }
        for letter in &ours.dead_letters {
            let id = self.dead_letters.last_key_value().map_or(1, |(last, _)| last.0 + 1);
            self.dead_letters.insert(DeadLetterId(id), letter.clone());
        }
    }

    fn write_document(&mut self, write: &DocumentWrite, etag: ETag, at: Timestamp) {
        let document = Document {
            id: write.id.clone(),
            body: write.body.clone(),
            partition: write.partition,
            sequence_number: write.sequence_number,
            etag,
            updated_at: at,
        };
        self.documents.entry(write.collection.clone()).or_default().insert(write.id.clone(), document);
    }
}

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
}

#[async_trait]
impl Documents for MemoryStore {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.read(|state| {
            let documents = state.documents.get(collection);
            ids.iter().map(|id| documents.and_then(|documents| documents.get(id)).cloned()).collect()
        })
    }

    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.read(|state| {
            let documents = state.documents.get(collection).into_iter().flat_map(BTreeMap::values);
            documents
                .filter(|document| after.is_none_or(|after| document.id > *after))
                .take(limit)
                .cloned()
                .collect()
        })
    }

    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError> {
        self.read(|state| {
            let collections = state.documents.iter();
            collections.map(|(name, documents)| (name.clone(), documents.len() as u64)).collect()
        })
    }
}

#[async_trait]
impl DeadLetters for MemoryStore {
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.read(|state| state.dead_letters.get(&id).map(|letter| stored(id, letter)))
    }

    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let matches = |letter: &DeadLetter| {
            filter.function.as_ref().is_none_or(|function| letter.lane.function == *function)
                && filter.hub.as_ref().is_none_or(|hub| letter.lane.hub == *hub)
                && filter.class.is_none_or(|class| letter.class == class)
        };
        self.read(|state| {
            let letters = state.dead_letters.iter();
            letters
                .filter(|(id, letter)| after.is_none_or(|after| **id > after) && matches(letter))
                .take(limit)
                .map(|(id, letter)| stored(*id, letter))
                .collect()
        })
    }

    async fn count_dead_letters(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.read(|state| {
            let mut counts = BTreeMap::<Lane, u64>::new();
            for letter in state.dead_letters.values() {
                *counts.entry(letter.lane.clone()).or_default() += 1;
            }
            counts.into_iter().collect()
        })
    }
}

fn stored(id: DeadLetterId, letter: &DeadLetter) -> StoredDeadLetter {
    StoredDeadLetter { id, letter: letter.clone() }
}

#[async_trait]
impl Commits for MemoryStore {
    fn guarantee(&self) -> CommitGuarantee {
        CommitGuarantee::OneTransaction
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        let mut state = self.state.lock();
        match state.commit_faults.pop_front() {
            None => state.commit(commit),
            Some(CommitFault::NothingWritten(error)) => Err(error),
            Some(CommitFault::ReplyLost(error)) => {
                let _lost = state.commit(commit);
                Err(error)
            }
        }
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::store::StoreFactory;

    #[async_trait]
    impl StoreFactory for MemoryStore {
        type Store = Self;

        async fn open(&self) -> Self {
            self.clone()
        }

        async fn reopen(&self, store: Self) -> Self {
            store.clone()
        }
    }

    crate::store_suite!(MemoryStore::new());

    fn unavailable() -> StoreError {
        StoreError::Unavailable { detail: "told to".to_owned() }
    }

    fn empty_commit() -> Commit {
        Commit { lanes: Vec::new(), documents: Vec::new(), at: Timestamp::from_millis(0) }
    }

    #[tokio::test]
    async fn a_failing_commit_writes_nothing_and_a_lost_reply_does() {
        let store = MemoryStore::new();
        store.fail_next_commit(unavailable());
        assert_eq!(store.commit(&empty_commit()).await, Err(unavailable()));
        assert_eq!(store.commit_count(), 0);
        store.lose_next_reply(unavailable());
        assert_eq!(store.commit(&empty_commit()).await, Err(unavailable()));
        assert_eq!(store.commit_count(), 1);
        assert!(store.commit(&empty_commit()).await.is_ok());
    }

    #[tokio::test]
    async fn a_held_commit_waits_until_it_is_released() {
        let store = MemoryStore::new();
        store.hold_commits();
        let commit = empty_commit();
        let mut held = std::pin::pin!(store.commit(&commit));
        assert!(poll_once(held.as_mut()).await.is_none());
        store.release_commits();
        assert!(held.await.is_ok());
    }

    /// Polls once; `None` when the work is not done.
    async fn poll_once<F: Future>(mut work: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| match work.as_mut().poll(context) {
            std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
