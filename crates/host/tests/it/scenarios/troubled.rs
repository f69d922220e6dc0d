//! A store and a log that go away: they refuse, say nothing, or turn out to be others.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_model::attempt::EventAttempts;
use tidegate_model::checkpoint::{Checkpoint, Epoch, FunctionName, Lane, Ownership};
use tidegate_model::clock::Timestamp;
use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt};
use tidegate_model::dead_letter::Acted;
use tidegate_model::document::{CollectionName, Document, DocumentId};
use tidegate_model::event::{Event, HubName};
use tidegate_model::health::InstanceHealth;
use tidegate_model::memory::{MemoryLog, MemoryStore};
use tidegate_model::parking::{OrderKey, ParkedVersion, ParkingPlace, StoredParked};
use tidegate_model::ports::{
    Checkpoints, Commits, Documents, EventLog, Ownerships, Parking, PartitionStatus, ReadError, ReadLimit,
    RegisterChange, Registers, StoreError,
};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};
use tokio::sync::watch;

/// How a store or a log is to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers.
    Well,
    /// It refuses at once, as a server does that answers 503, or a name that does not resolve.
    Refusing,
    /// It says nothing, as a network does that drops every packet. Calls end, with an error, when it changes.
    Silent,
}

/// A store with a mood. What people do to dead letters, and notices, go through in every mood: nobody does it here.
pub(crate) struct TroubledStore {
    pub(crate) store: MemoryStore,
    mood: watch::Sender<Mood>,
}

tidegate_model::delegate_store!(TroubledStore, store: DeadLetters, Outbox);

impl TroubledStore {
    pub(crate) fn new(store: MemoryStore) -> Arc<Self> {
        Arc::new(Self { store, mood: watch::Sender::new(Mood::Well) })
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    async fn answers(&self) -> Result<(), StoreError> {
        let mut mood = self.mood.subscribe();
        let unavailable = |detail: &str| StoreError::Unavailable { detail: detail.to_owned() };
        let now = *mood.borrow_and_update();
        match now {
            Mood::Well => Ok(()),
            Mood::Refusing => Err(unavailable("503 Service Unavailable")),
            Mood::Silent => {
                let _ = mood.changed().await;
                Err(unavailable("the connection was lost"))
            }
        }
    }
}

#[async_trait]
impl Ownerships for TroubledStore {
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError> {
        self.answers().await?;
        self.store.claim(lane, owner, at).await
    }

    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError> {
        self.answers().await?;
        self.store.release(lane, epoch, at).await
    }

    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError> {
        self.answers().await?;
        self.store.ownerships().await
    }
}

#[async_trait]
impl Checkpoints for TroubledStore {
    async fn checkpoint(&self, lane: &Lane) -> Result<Option<Checkpoint>, StoreError> {
        self.answers().await?;
        self.store.checkpoint(lane).await
    }

    async fn begin(
        &self,
        lane: &Lane,
        incarnation: Incarnation,
        start: SequenceNumber,
        at: Timestamp,
    ) -> Result<Checkpoint, StoreError> {
        self.answers().await?;
        self.store.begin(lane, incarnation, start, at).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.answers().await?;
        self.store.checkpoints().await
    }

    async fn attempts(&self, lane: &Lane) -> Result<Vec<EventAttempts>, StoreError> {
        self.answers().await?;
        self.store.attempts(lane).await
    }

    async fn seek(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        to: SequenceNumber,
        entry: NewTrailEntry,
    ) -> Result<Checkpoint, StoreError> {
        self.answers().await?;
        self.store.seek(lane, from, to, entry).await
    }
}

#[async_trait]
impl Documents for TroubledStore {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.answers().await?;
        self.store.documents(collection, ids).await
    }

    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.answers().await?;
        self.store.list_documents(collection, after, limit).await
    }

    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError> {
        self.answers().await?;
        self.store.collections().await
    }
}

#[async_trait]
impl Parking for TroubledStore {
    async fn parking_place(&self, lane: &Lane) -> Result<ParkingPlace, StoreError> {
        self.answers().await?;
        self.store.parking_place(lane).await
    }

    async fn parked_version(&self) -> Result<ParkedVersion, StoreError> {
        self.answers().await?;
        self.store.parked_version().await
    }

    async fn parked(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
    ) -> Result<Option<StoredParked>, StoreError> {
        self.answers().await?;
        self.store.parked(lane, sequence_number).await
    }

    async fn parked_of_key(
        &self,
        lane: &Lane,
        key: &OrderKey,
        from: SequenceNumber,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        self.answers().await?;
        self.store.parked_of_key(lane, key, from, limit, max_bytes).await
    }

    async fn list_parked(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        self.answers().await?;
        self.store.list_parked(lane, from, limit).await
    }

    async fn try_parked_now(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        self.answers().await?;
        self.store.try_parked_now(lane, sequence_number, act).await
    }

    async fn release_held(&self, function: &FunctionName, at: Timestamp) -> Result<u64, StoreError> {
        self.answers().await?;
        self.store.release_held(function, at).await
    }

    async fn set_aside(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        self.answers().await?;
        self.store.set_aside(lane, sequence_number, act).await
    }

    async fn count_parked(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.answers().await?;
        self.store.count_parked().await
    }
}

#[async_trait]
impl Registers for TroubledStore {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        self.answers().await?;
        self.store.register(key).await
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        self.answers().await?;
        self.store.registers(kind).await
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        self.answers().await?;
        self.store.change_register(change).await
    }
}

#[async_trait]
impl Commits for TroubledStore {
    fn guarantee(&self) -> CommitGuarantee {
        self.store.guarantee()
    }

    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        self.answers().await?;
        self.store.health(circuit, since).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        self.answers().await?;
        self.store.commit(commit).await
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        self.answers().await?;
        self.store.barrier().await
    }
}

/// A log that may be away, and behind whose name another log may be found later.
pub(crate) struct TroubledLog {
    log: Mutex<Arc<MemoryLog>>,
    hub: HubName,
    is_away: Mutex<bool>,
}

impl TroubledLog {
    pub(crate) fn new(log: Arc<MemoryLog>) -> Arc<Self> {
        Arc::new(Self { hub: log.hub().clone(), log: Mutex::new(log), is_away: Mutex::new(false) })
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        *self.is_away.lock() = is_away;
    }

    /// From now on another log answers, as after a failover.
    pub(crate) fn fail_over_to(&self, log: Arc<MemoryLog>) {
        *self.log.lock() = log;
    }

    fn log(&self) -> Arc<MemoryLog> {
        Arc::clone(&self.log.lock())
    }

    fn answers(&self, partition: PartitionId) -> Result<Arc<MemoryLog>, ReadError> {
        if *self.is_away.lock() {
            let detail = "its name does not resolve".to_owned();
            return Err(ReadError::Unavailable { partition, detail });
        }
        Ok(self.log())
    }
}

#[async_trait]
impl EventLog for TroubledLog {
    fn hub(&self) -> &HubName {
        &self.hub
    }

    fn partition_count(&self) -> u32 {
        self.log().partition_count()
    }

    fn incarnation(&self) -> Incarnation {
        self.log().incarnation()
    }

    fn created_at(&self) -> Timestamp {
        self.log().created_at()
    }

    fn status(&self, partition: PartitionId) -> Result<PartitionStatus, ReadError> {
        self.answers(partition)?.status(partition)
    }

    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        self.answers(partition)?.tail(partition)
    }

    async fn locate(
        &self,
        partition: PartitionId,
        start: StartPosition,
    ) -> Result<SequenceNumber, ReadError> {
        self.answers(partition)?.locate(partition, start).await
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        self.answers(partition)?.read(partition, from, limit).await
    }
}
