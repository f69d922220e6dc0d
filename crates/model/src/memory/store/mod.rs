//! The store in memory: the shortest readable statement of what a store with one transaction does.

mod dead_letters;
mod documents;
mod parking;
mod progress;
mod registers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::attempt::EventAttempts;
use crate::checkpoint::{Checkpoint, Epoch, FunctionName, Lane, Ownership};
use crate::clock::Timestamp;
use crate::commit::{Commit, CommitGuarantee, CommitReceipt, DocumentWrite, LaneCommit};
use crate::dead_letter::{DeadLetterId, StoredDeadLetter};
use crate::document::{CollectionName, Document, DocumentId, ETag, Precondition};
use crate::health::{self, HealthCounts, HealthRecord, InstanceHealth};
use crate::outcome::OutcomeCounts;
use crate::ports::{Commits, StoreError};
use crate::position::{PartitionId, SequenceNumber};
use crate::register::RegisterKey;
use crate::trail::{NewTrailEntry, TrailEntry};

use self::parking::ParkingPlaces;
use self::registers::{Notices, Slot};

/// A store in memory. Clones share one state: a clone is what reopening is for a durable store.
///
/// For tests of its users it can be told to fail: [`fail_next_commit`](Self::fail_next_commit),
/// [`lose_next_reply`](Self::lose_next_reply), [`fail_next_read`](Self::fail_next_read),
/// [`fail_next_act`](Self::fail_next_act), [`lose_next_act_reply`](Self::lose_next_act_reply),
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
    parked: ParkingPlaces,
    dead_letters: BTreeMap<DeadLetterId, StoredDeadLetter>,
    registers: BTreeMap<RegisterKey, Slot>,
    notices: Notices,
    trail: Vec<TrailEntry>,
    health: BTreeMap<(FunctionName, Timestamp, String), HealthCounts>,
    last_etag: u64,
    commit_count: u64,
    commit_faults: VecDeque<WriteFault>,
    act_faults: VecDeque<WriteFault>,
    read_faults: VecDeque<StoreError>,
}

/// What goes wrong with a commit or an act.
enum WriteFault {
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
        self.state.lock().commit_faults.push_back(WriteFault::NothingWritten(error));
    }

    /// The next commit goes through, but its reply is lost: it returns `error`. If the commit would have been refused,
    /// the refusal is what gets lost.
    pub fn lose_next_reply(&self, error: StoreError) {
        self.state.lock().commit_faults.push_back(WriteFault::ReplyLost(error));
    }

    /// The next act writes nothing and returns `error`. Acts are all writes but commits, claims, releases and first
    /// checkpoints: what people do to dead letters, parked events and checkpoints, changes of registers, and the
    /// deliveries of notices.
    pub fn fail_next_act(&self, error: StoreError) {
        self.state.lock().act_faults.push_back(WriteFault::NothingWritten(error));
    }

    /// The next [act](Self::fail_next_act) goes through, but its reply is lost: it returns `error`.
    pub fn lose_next_act_reply(&self, error: StoreError) {
        self.state.lock().act_faults.push_back(WriteFault::ReplyLost(error));
    }

    /// The next read of anything returns `error`.
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

    /// Does an act, which checks everything before it changes anything.
    fn act<T>(&self, act: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state.lock();
        match state.act_faults.pop_front() {
            None => act(&mut state),
            Some(WriteFault::NothingWritten(error)) => Err(error),
            Some(WriteFault::ReplyLost(error)) => {
                let _lost = act(&mut state);
                Err(error)
            }
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
        // After the lanes: a commit that had gone through must hear of its checkpoint.
        for lane in &commit.lanes {
            self.check_parked(lane)?;
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
        self.write_health(&commit.health, commit.at);
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

    fn check_parked(&self, ours: &LaneCommit) -> Result<(), StoreError> {
        let resolved = ours.unparked.iter().map(|unparked| (unparked.sequence_number, unparked.version));
        let staying = ours.reparked.iter().map(|reparked| (reparked.sequence_number, reparked.version));
        for (sequence_number, version) in resolved.chain(staying) {
            let stored = self.parked.get(&ours.lane, sequence_number);
            if stored.is_none_or(|stored| stored.version != version) {
                return Err(StoreError::ParkedMoved { lane: ours.lane.clone(), sequence_number });
            }
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
            self.open_dead_letter(letter.clone(), at);
        }
        for parked in &ours.parked {
            self.parked.park(parked.clone());
        }
        for unparked in &ours.unparked {
            self.end_parked(lane, unparked.sequence_number, &unparked.end, at);
        }
        for reparked in &ours.reparked {
            self.parked.change(lane, reparked.sequence_number, |parked| {
                parked.turn = reparked.turn.clone();
                parked.attempts.clone_from(&reparked.attempts);
            });
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

    fn write_health(&mut self, records: &[HealthRecord], at: Timestamp) {
        for record in records {
            let key = (record.circuit.clone(), record.second, record.instance.clone());
            *self.health.entry(key).or_default() += record.counts;
        }
        let oldest = at.minus(health::KEPT_FOR);
        self.health.retain(|(_, second, _), _| *second >= oldest);
    }

    fn write_trail(&mut self, entry: NewTrailEntry) {
        self.trail.push(entry.numbered(self.trail.len() as u64 + 1));
    }

    /// Moves an event of a lane from one count to another, if it is counted at all.
    fn recount(&mut self, lane: &Lane, event: SequenceNumber, change: impl FnOnce(&mut OutcomeCounts)) {
        if let Some(checkpoint) = self.checkpoints.get_mut(lane)
            && event >= checkpoint.start
        {
            change(&mut checkpoint.counts);
        }
    }

    /// How many of these events each lane has from its checkpoint's start on.
    fn count_by_lane<'a>(
        &self,
        events: impl Iterator<Item = (&'a Lane, SequenceNumber)>,
    ) -> Vec<(Lane, u64)> {
        let mut counts = BTreeMap::<Lane, u64>::new();
        for (lane, event) in events {
            if self.checkpoints.get(lane).is_some_and(|checkpoint| event >= checkpoint.start) {
                *counts.entry(lane.clone()).or_default() += 1;
            }
        }
        counts.into_iter().collect()
    }
}

#[async_trait]
impl Commits for MemoryStore {
    fn guarantee(&self) -> CommitGuarantee {
        CommitGuarantee::OneTransaction
    }

    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        self.read(|state| {
            let mut instances = BTreeMap::<&String, HealthCounts>::new();
            for ((of, second, instance), counts) in &state.health {
                if of == circuit && *second >= since {
                    *instances.entry(instance).or_default() += *counts;
                }
            }
            let instances = instances.into_iter();
            instances
                .map(|(instance, counts)| InstanceHealth { instance: instance.clone(), counts })
                .collect()
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        let mut state = self.state.lock();
        match state.commit_faults.pop_front() {
            None => state.commit(commit),
            Some(WriteFault::NothingWritten(error)) => Err(error),
            Some(WriteFault::ReplyLost(error)) => {
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
    use crate::dead_letter::DeadLetterFilter;
    use crate::event::EventData;
    use crate::notice::{DeliveryState, NoticeId};
    use crate::ports::{Checkpoints, DeadLetters, Outbox, Parking, RegisterChange, Registers};
    use crate::register::Version;
    use crate::trail::Act;

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
        Commit { lanes: Vec::new(), documents: Vec::new(), health: Vec::new(), at: Timestamp::from_millis(0) }
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
    async fn a_failing_act_changes_nothing_and_a_lost_reply_does() {
        let store = MemoryStore::new();
        let key = RegisterKey::new("circuit", "track");
        let change = || RegisterChange {
            key: key.clone(),
            from: Version::NONE,
            value: Some(serde_json::Value::Null),
            at: Timestamp::from_millis(0),
            notices: Vec::new(),
            trail: Vec::new(),
        };
        store.fail_next_act(unavailable());
        store.lose_next_act_reply(unavailable());
        assert!(store.commit(&empty_commit()).await.is_ok(), "a commit is no act");
        assert_eq!(store.change_register(change()).await, Err(unavailable()));
        assert_eq!(store.register(&key).await, Ok(None));
        assert_eq!(store.change_register(change()).await, Err(unavailable()));
        assert!(store.register(&key).await.unwrap().is_some());
        let moved = StoreError::RegisterMoved { register: key.to_string() };
        assert_eq!(store.change_register(change()).await, Err(moved));
    }

    #[tokio::test]
    async fn every_act_can_be_told_to_fail() {
        let store = MemoryStore::new();
        let act = Act { by: "ann".to_owned(), reason: String::new(), at: Timestamp::from_millis(0) };
        let entry = || NewTrailEntry {
            action: "a test",
            subject: String::new(),
            act: act.clone(),
            detail: serde_json::Value::Null,
        };
        let lane = Lane {
            function: FunctionName::new("track").unwrap(),
            hub: crate::event::HubName::new("flights").unwrap(),
            partition: PartitionId(0),
        };
        let (zero, now) = (SequenceNumber::ZERO, act.at);
        let filter = DeadLetterFilter::default();
        for _ in 0..11 {
            store.fail_next_act(unavailable());
        }
        assert_eq!(store.seek(&lane, zero, zero, entry()).await, Err(unavailable()));
        assert_eq!(store.try_parked_now(&lane, zero, &act).await, Err(unavailable()));
        assert_eq!(store.release_held(&lane.function, now).await, Err(unavailable()));
        assert_eq!(store.set_aside(&lane, zero, &act).await, Err(unavailable()));
        assert_eq!(store.redrive(&[], false, &act).await, Err(unavailable()));
        assert_eq!(store.discard(&[], &act).await, Err(unavailable()));
        let edit = store.edit(DeadLetterId(1), 0, &EventData::default(), entry()).await;
        assert_eq!(edit, Err(unavailable()));
        assert_eq!(store.lease_dead_letters(&filter, 1, now, &act).await, Err(unavailable()));
        assert_eq!(store.extend_lease(&[], now, &act).await, Err(unavailable()));
        let delivered = store.record_delivery(NoticeId(1), "mail", DeliveryState::Due(now), None).await;
        assert_eq!(delivered, Err(unavailable()));
        assert_eq!(store.prune_notices(now).await, Err(unavailable()));
        assert_eq!(store.redrive(&[], false, &act).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_read_can_be_told_to_fail() {
        let store = MemoryStore::new();
        store.fail_next_read(unavailable());
        store.fail_next_read(unavailable());
        let function = FunctionName::new("track").unwrap();
        assert_eq!(store.registers("circuit").await, Err(unavailable()));
        assert_eq!(store.health(&function, Timestamp::from_millis(0)).await, Err(unavailable()));
        assert_eq!(store.registers("circuit").await, Ok(Vec::new()));
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
