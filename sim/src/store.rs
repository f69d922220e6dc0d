//! The store as one instance reaches it: slow, away, full, or losing replies, and all the same one store.
//!
//! What a call does is done or not done before its answer travels; a process that crashes while it waits never learns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_eventlog::simulation::FaultyStorage;
use tidegate_model::attempt::EventAttempts;
use tidegate_model::checkpoint::{Checkpoint, Epoch, FunctionName, Lane, Ownership};
use tidegate_model::circuit::{CIRCUIT, PAUSE};
use tidegate_model::clock::Timestamp;
use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt};
use tidegate_model::dead_letter::{Acted, DeadLetterFilter, DeadLetterGroup, DeadLetterId, StoredDeadLetter};
use tidegate_model::document::{CollectionName, Document, DocumentId};
use tidegate_model::event::EventData;
use tidegate_model::health::InstanceHealth;
use tidegate_model::notice::{DeliveryState, Notice, NoticeId};
use tidegate_model::parking::{OrderKey, ParkedVersion, ParkingPlace, StoredParked};
use tidegate_model::ports::{
    Checkpoints, Commits, DeadLetters, Documents, Outbox, Ownerships, Parking, RegisterChange, Registers,
    Store, StoreError,
};
use tidegate_model::position::{Incarnation, SequenceNumber};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry, TrailEntry};

use crate::event::original;
use crate::executor::Executor;
use crate::mutation::Mutation;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::trace::Trace;

/// What goes wrong with the store, for whom, and until when.
#[derive(Default)]
pub(crate) struct StoreFaults(Mutex<Faults>);

#[derive(Default)]
struct Faults {
    away_until: Duration,
    full_until: Duration,
    slow_until: Duration,
    cut_off_until: BTreeMap<String, Duration>,
    replies_to_lose: u64,
}

impl StoreFaults {
    /// Nobody reaches the store until then.
    pub(crate) fn away_until(&self, until: Duration) {
        self.0.lock().away_until = until;
    }

    /// Nothing can be written until then.
    pub(crate) fn full_until(&self, until: Duration) {
        self.0.lock().full_until = until;
    }

    /// Answers take long until then.
    pub(crate) fn slow_until(&self, until: Duration) {
        self.0.lock().slow_until = until;
    }

    /// One instance does not reach the store until then.
    pub(crate) fn cut_off_until(&self, instance: &str, until: Duration) {
        self.0.lock().cut_off_until.insert(instance.to_owned(), until);
    }

    /// The replies of the next writes are lost.
    pub(crate) fn lose_replies(&self, count: u64) {
        self.0.lock().replies_to_lose = count;
    }

    /// Nothing goes wrong any more.
    pub(crate) fn end(&self) {
        *self.0.lock() = Faults::default();
    }
}

/// The store as one instance reaches it.
pub(crate) struct SimStore {
    /// Who: one start of one instance.
    pub(crate) instance: String,
    pub(crate) store: Arc<dyn Store>,
    /// The disk that it is on, if that can stop with its machine.
    pub(crate) disk: Option<FaultyStorage>,
    pub(crate) executor: Executor,
    pub(crate) random: Mutex<Random>,
    pub(crate) faults: Arc<StoreFaults>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) trace: Trace,
    pub(crate) mutation: Option<Mutation>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    /// A change that is durable when the answer comes, and everything before it.
    Durable,
}

impl SimStore {
    /// Makes a call to the store, with everything that may happen on the way there and back.
    async fn call<T: Send>(
        &self,
        name: &str,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.travel().await;
        if let Some(refusal) = self.refusal(call) {
            self.trace.note(&self.instance, format_args!("{name}: {refusal}"));
            return Err(refusal);
        }
        let result = work.await;
        match &result {
            Err(error) => self.trace.note(&self.instance, format_args!("{name}: {error}")),
            Ok(_) if call == Call::Durable => self.oracle.store_synced(),
            Ok(_) => {}
        }
        let is_lost = call != Call::Read && {
            let mut faults = self.faults.0.lock();
            let is_lost = faults.replies_to_lose > 0;
            faults.replies_to_lose -= u64::from(is_lost);
            is_lost
        };
        self.travel().await;
        if is_lost {
            self.trace.note(&self.instance, format_args!("{name}: the reply was lost"));
            return Err(StoreError::Unavailable { detail: "the reply was lost".to_owned() });
        }
        result
    }

    /// The way to the store or back.
    async fn travel(&self) {
        let is_slow = self.executor.now() < self.faults.0.lock().slow_until;
        let micros = {
            let mut random = self.random.lock();
            match (is_slow, random.below(4)) {
                (true, _) => random.below(400_000),
                (false, 0) => random.below(3000),
                (false, _) => return,
            }
        };
        self.executor.sleep(Duration::from_micros(micros)).await;
    }

    fn refusal(&self, call: Call) -> Option<StoreError> {
        let faults = self.faults.0.lock();
        let now = self.executor.now();
        let is_cut_off = faults.cut_off_until.get(&self.instance).is_some_and(|until| now < *until);
        if is_cut_off || now < faults.away_until {
            Some(StoreError::Unavailable { detail: "nobody answers".to_owned() })
        } else if call != Call::Read && now < faults.full_until {
            Some(StoreError::DiskFull { detail: "no room".to_owned() })
        } else {
            None
        }
    }

    /// A commit as the store makes it, with the planted defect if there is one.
    async fn commit_with_defect(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        match self.mutation {
            Some(Mutation::TornCommit) if self.random.lock().one_in(8) => {
                let torn = Commit { lanes: Vec::new(), ..commit.clone() };
                self.store.commit(&torn).await?;
                Err(StoreError::Unavailable { detail: "the reply was lost".to_owned() })
            }
            Some(mutation) => self.store.commit(&mutation.distort(commit, &*self.store).await).await,
            None => self.store.commit(commit).await,
        }
    }
}

#[async_trait]
impl Ownerships for SimStore {
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError> {
        self.call("claim", Call::Write, async {
            let ownership = self.store.claim(lane, owner, at).await?;
            self.trace.note(&self.instance, format_args!("owns {lane} under {:?}", ownership.epoch));
            self.oracle.claimed(&self.instance, lane, ownership.epoch);
            Ok(ownership)
        })
        .await
    }

    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError> {
        self.call("release", Call::Write, self.store.release(lane, epoch, at)).await
    }

    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError> {
        self.call("ownerships", Call::Read, self.store.ownerships()).await
    }
}

#[async_trait]
impl Checkpoints for SimStore {
    async fn checkpoint(&self, lane: &Lane) -> Result<Option<Checkpoint>, StoreError> {
        self.call("checkpoint", Call::Read, self.store.checkpoint(lane)).await
    }

    async fn begin(
        &self,
        lane: &Lane,
        incarnation: Incarnation,
        start: SequenceNumber,
        at: Timestamp,
    ) -> Result<Checkpoint, StoreError> {
        self.call("begin", Call::Write, self.store.begin(lane, incarnation, start, at)).await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.call("checkpoints", Call::Read, self.store.checkpoints()).await
    }

    async fn attempts(&self, lane: &Lane) -> Result<Vec<EventAttempts>, StoreError> {
        let attempts = self.call("attempts", Call::Read, self.store.attempts(lane)).await?;
        Ok(if self.mutation == Some(Mutation::RestartCount) { Vec::new() } else { attempts })
    }

    async fn seek(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        to: SequenceNumber,
        entry: NewTrailEntry,
    ) -> Result<Checkpoint, StoreError> {
        self.call("seek", Call::Durable, self.store.seek(lane, from, to, entry)).await
    }
}

#[async_trait]
impl Documents for SimStore {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.call("documents", Call::Read, self.store.documents(collection, ids)).await
    }

    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.call("list documents", Call::Read, self.store.list_documents(collection, after, limit)).await
    }

    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError> {
        self.call("collections", Call::Read, self.store.collections()).await
    }
}

#[async_trait]
impl Parking for SimStore {
    async fn parking_place(&self, lane: &Lane) -> Result<ParkingPlace, StoreError> {
        self.call("parking place", Call::Read, self.store.parking_place(lane)).await
    }

    async fn parked_version(&self) -> Result<ParkedVersion, StoreError> {
        self.call("parked version", Call::Read, self.store.parked_version()).await
    }

    async fn parked(&self, lane: &Lane, number: SequenceNumber) -> Result<Option<StoredParked>, StoreError> {
        let stored = self.call("parked", Call::Read, self.store.parked(lane, number)).await?;
        Ok(stored.map(|stored| self.fetched(stored)))
    }

    async fn parked_of_key(
        &self,
        lane: &Lane,
        key: &OrderKey,
        from: SequenceNumber,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        let read = self.store.parked_of_key(lane, key, from, limit, max_bytes);
        let parked = self.call("parked of key", Call::Read, read).await?;
        Ok(parked.into_iter().map(|stored| self.fetched(stored)).collect())
    }

    async fn list_parked(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        self.call("list parked", Call::Read, self.store.list_parked(lane, from, limit)).await
    }

    async fn try_parked_now(
        &self,
        lane: &Lane,
        number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        self.call("try parked now", Call::Write, self.store.try_parked_now(lane, number, act)).await
    }

    async fn release_held(&self, function: &FunctionName, at: Timestamp) -> Result<u64, StoreError> {
        self.call("release held", Call::Write, self.store.release_held(function, at)).await
    }

    async fn set_aside(&self, lane: &Lane, number: SequenceNumber, act: &Act) -> Result<Acted, StoreError> {
        self.call("set aside", Call::Write, self.store.set_aside(lane, number, act)).await
    }

    async fn count_parked(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.call("count parked", Call::Read, self.store.count_parked()).await
    }
}

#[async_trait]
impl DeadLetters for SimStore {
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.call("dead letter", Call::Read, self.store.dead_letter(id)).await
    }

    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.call("list dead letters", Call::Read, self.store.list_dead_letters(filter, after, limit)).await
    }

    async fn find_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        self.call("find dead letters", Call::Read, self.store.find_dead_letters(filter, after, limit)).await
    }

    async fn group_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        self.call("group dead letters", Call::Read, self.store.group_dead_letters(filter)).await
    }

    async fn count_dead_letters(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.call("count dead letters", Call::Read, self.store.count_dead_letters()).await
    }

    async fn redrive(&self, ids: &[DeadLetterId], force: bool, act: &Act) -> Result<Vec<Acted>, StoreError> {
        self.call("redrive", Call::Write, self.store.redrive(ids, force, act)).await
    }

    async fn discard(&self, ids: &[DeadLetterId], act: &Act) -> Result<Vec<Acted>, StoreError> {
        self.call("discard", Call::Write, self.store.discard(ids, act)).await
    }

    async fn edit(
        &self,
        id: DeadLetterId,
        revision: u32,
        event: &EventData,
        entry: NewTrailEntry,
    ) -> Result<Acted, StoreError> {
        self.call("edit", Call::Write, self.store.edit(id, revision, event, entry)).await
    }

    async fn lease_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.call("lease", Call::Write, self.store.lease_dead_letters(filter, limit, until, act)).await
    }

    async fn extend_lease(
        &self,
        ids: &[DeadLetterId],
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<Acted>, StoreError> {
        self.call("extend lease", Call::Write, self.store.extend_lease(ids, until, act)).await
    }

    async fn trail(
        &self,
        subject: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError> {
        self.call("trail", Call::Read, self.store.trail(subject, after, limit)).await
    }
}

#[async_trait]
impl Registers for SimStore {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        let register = self.call("register", Call::Read, self.store.register(key)).await?;
        self.oracle.register_seen(&self.instance, key, register.as_ref());
        Ok(self.heard(register))
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        let registers = self.call("registers", Call::Read, self.store.registers(kind)).await?;
        if kind == CIRCUIT {
            self.oracle.circuits_seen(&self.instance, &registers);
        }
        if kind == PAUSE {
            self.oracle.pauses_seen(&self.instance, &registers);
            if self.mutation == Some(Mutation::DeafToPause) {
                return Ok(Vec::new());
            }
        }
        Ok(registers.into_iter().filter_map(|register| self.heard(Some(register))).collect())
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        let (key, value) = (change.key.clone(), change.value.clone());
        let version = self
            .call("change register", Call::Durable, async {
                let version = self.change_with_defect(change).await?;
                self.trace.note(
                    &self.instance,
                    format_args!("{key} is version {}: {}", version.0, value.clone().unwrap_or_default()),
                );
                self.oracle.register_changed(&self.instance, &key, value.as_ref());
                Ok(version)
            })
            .await?;
        let register = value.clone().map(|value| Register {
            name: key.name.clone(),
            version,
            value,
            changed_at: Timestamp::default(),
        });
        self.oracle.register_seen(&self.instance, &key, register.as_ref());
        Ok(version)
    }
}

impl SimStore {
    /// A parked event as an instance gets it.
    fn fetched(&self, mut stored: StoredParked) -> StoredParked {
        if self.mutation == Some(Mutation::OldRevision) {
            stored.parked.event.data = original(&stored.parked.event.data);
        }
        stored
    }

    /// What an instance hears of a register.
    fn heard(&self, register: Option<Register>) -> Option<Register> {
        let is_deaf = self.mutation == Some(Mutation::DeafToCircuit);
        register.filter(|register| {
            let state = register.value.get("state").and_then(serde_json::Value::as_str);
            !(is_deaf && state == Some("open"))
        })
    }

    async fn change_with_defect(&self, change: RegisterChange) -> Result<Version, StoreError> {
        let is_probe =
            change.value.as_ref().and_then(|value| value.get("probe")).is_some_and(|probe| !probe.is_null());
        let changed = self.store.change_register(change.clone()).await;
        match changed {
            Err(StoreError::RegisterMoved { .. })
                if is_probe && self.mutation == Some(Mutation::TwoProbes) =>
            {
                let stored = self.store.register(&change.key).await?;
                let from = stored.map_or(Version::NONE, |register| register.version);
                self.store.change_register(RegisterChange { from, ..change }).await
            }
            changed => changed,
        }
    }
}

#[async_trait]
impl Outbox for SimStore {
    async fn due_notices(
        &self,
        targets: &[String],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        self.call("due notices", Call::Read, self.store.due_notices(targets, now, limit)).await
    }

    async fn recent_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.call("recent notices", Call::Read, self.store.recent_notices(limit)).await
    }

    async fn record_delivery(
        &self,
        notice: NoticeId,
        target: &str,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        self.call("record delivery", Call::Write, self.store.record_delivery(notice, target, state, error))
            .await
    }

    async fn prune_notices(&self, now: Timestamp) -> Result<(), StoreError> {
        self.call("prune notices", Call::Write, self.store.prune_notices(now)).await
    }
}

#[async_trait]
impl Commits for SimStore {
    fn guarantee(&self) -> CommitGuarantee {
        CommitGuarantee::OneTransaction
    }

    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        self.call("health", Call::Read, self.store.health(circuit, since)).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        self.call("commit", Call::Write, async {
            let made = self.commit_with_defect(commit).await;
            let stopped = self.disk.as_ref().is_some_and(FaultyStorage::has_crashed);
            if stopped || matches!(made, Err(StoreError::Unavailable { .. })) {
                self.oracle.doubtful(&self.instance, commit);
            }
            let receipt = made?;
            if stopped {
                return Err(StoreError::Unavailable { detail: "the machine has stopped".to_owned() });
            }
            for step in &commit.lanes {
                self.trace.note(
                    &self.instance,
                    format_args!(
                        "commits {} {}..{}: {} dead, {} parked, {} unparked, reparked {:?}, tried {:?}",
                        step.lane,
                        step.advance.from,
                        step.advance.to,
                        step.dead_letters.len(),
                        step.parked.len(),
                        step.unparked.len(),
                        step.reparked
                            .iter()
                            .map(|event| (event.sequence_number.0, event.attempts.len()))
                            .collect::<Vec<_>>(),
                        step.attempts
                            .iter()
                            .map(|event| (event.sequence_number.0, event.attempts.len()))
                            .collect::<Vec<_>>(),
                    ),
                );
            }
            self.oracle.committed(&self.instance, commit, receipt.etag, &*self.store);
            Ok(receipt)
        })
        .await
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        self.call("barrier", Call::Durable, self.store.barrier()).await
    }
}
