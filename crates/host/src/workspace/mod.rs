//! What is ahead of the store: document states that are folded but not committed, and the batches they belong to.
//!
//! A pump *checks out* the documents of its batch, and nobody else works with them until it *checks in* the new states
//! together with the decided batch. Checking in puts the batch at the end of one queue, so the queue's order is a serial
//! order of all batches that share a document, and any prefix of it is a consistent commit. The committer takes
//! prefixes. When a commit cannot go through, everything ahead of the store is taken back at once: the *generation*
//! grows, what belongs to the old one is void, and every pump begins again at its stored checkpoint.

mod table;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;
use tidegate_model::answer::Body;
use tidegate_model::attempt::EventAttempts;
use tidegate_model::checkpoint::Advance;
use tidegate_model::clock::{Clock, timeout};
use tidegate_model::commit::{CommitReceipt, DocumentWrite};
use tidegate_model::dead_letter::DeadLetter;
use tidegate_model::document::{CollectionName, DocumentId, Precondition};
use tidegate_model::observe::DecidedEvents;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::parking::{ParkedEvent, Reparked, Unparked};
use tidegate_model::ports::{CurrentDocument, Store, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use table::{CollectionIndex, DocumentKey, DocumentRef, Place, Table};

use crate::circuit::counted::BatchHealth;
use crate::lane::LaneIndex;

/// Counts how often everything ahead of the store was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

/// Everything that is ahead of the store.
pub struct Workspace {
    store: Arc<dyn Store>,
    cache_bytes: usize,
    inner: Mutex<Inner>,
    /// Some documents are no longer leased.
    returned: Notify,
    /// A batch was decided, or the workspace was closed.
    decided: Notify,
    generation: watch::Sender<Generation>,
}

#[derive(Default)]
struct Inner {
    /// The documents that a checkout waits for, and the number of the first who does. Those who come later leave them
    /// to it: else a batch with many documents could wait for ever among batches with few.
    wanted: HashMap<DocumentKey, u64>,
    last_waiting: u64,
    collections: Vec<CollectionName>,
    table: Table,
    queue: VecDeque<Decided>,
    queued_events: usize,
    urgent: bool,
    caught_up: bool,
    closed: bool,
}

/// A batch that is decided and waits to be committed.
pub struct DecidedBatch {
    /// The lane.
    pub lane: LaneIndex,
    /// The step of its checkpoint.
    pub advance: Advance,
    /// How its events ended.
    pub counts: OutcomeCounts,
    /// Those that are set aside.
    pub dead_letters: Vec<DeadLetter>,
    /// The failed attempts to remember.
    pub attempts: Option<EventAttempts>,
    /// Those of its events that are parked.
    pub parked: Vec<ParkedEvent>,
    /// Parked events that are resolved.
    pub unparked: Vec<Unparked>,
    /// Parked events that were tried and stay.
    pub reparked: Vec<Reparked>,
    /// What it says about the health of the function, and of what that needs.
    pub health: BatchHealth,
    /// What the observer is told when it is committed, if there is one.
    pub observed: Option<DecidedEvents>,
    /// True when something waits for its commit: it is made at once.
    pub urgent: bool,
    /// True when the lane has no more events now: its commit does not wait for others, but lets the store rest.
    pub caught_up: bool,
    /// Its number within the lane, for who waits until it is committed.
    pub ticket: u64,
    /// The memory it takes; freed when it is committed or taken back.
    pub memory: Option<OwnedSemaphorePermit>,
}

impl DecidedBatch {
    /// How many events it resolves, those included that a repair of the log has given up.
    pub fn events(&self) -> usize {
        usize::try_from(self.counts.total()).unwrap_or(usize::MAX / 2)
    }
}

struct Decided {
    batch: DecidedBatch,
    writes: Vec<QueuedWrite>,
}

struct QueuedWrite {
    place: Place,
    json: Bytes,
    sequence_number: SequenceNumber,
    partition: PartitionId,
}

/// The new state of one document of a batch.
#[derive(Debug)]
pub struct Write {
    /// Which of the leased documents, counted from 0.
    pub slot: usize,
    /// Its state as the function knows it.
    pub body: Body,
    /// Its state as JSON text.
    pub json: Bytes,
    /// The last event in it.
    pub sequence_number: SequenceNumber,
}

/// Why documents cannot be checked out.
#[derive(Debug)]
pub enum CheckoutError {
    /// Everything ahead of the store was taken back meanwhile.
    Rewound,
    /// The function named a document twice.
    NamedTwice(DocumentId),
    /// The store did not give the documents.
    Store(StoreError),
}

impl Workspace {
    /// A workspace ahead of `store` that keeps at most `cache_bytes` of documents which are not in use.
    pub fn new(store: Arc<dyn Store>, cache_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            store,
            cache_bytes,
            inner: Mutex::default(),
            returned: Notify::new(),
            decided: Notify::new(),
            generation: watch::Sender::new(Generation(0)),
        })
    }

    /// The generation, as a value that can be waited for.
    pub fn generation(&self) -> watch::Receiver<Generation> {
        self.generation.subscribe()
    }

    /// Checks out the documents `ids`, each named once: waits until nobody else works with any of them, and loads those
    /// that are not at hand.
    ///
    /// It takes all of them or none, so two batches never wait for each other.
    pub async fn checkout(
        self: &Arc<Self>,
        collection: &CollectionName,
        ids: &[DocumentId],
        generation: Generation,
    ) -> Result<Lease, CheckoutError> {
        let mut waiting = None;
        loop {
            let returned = self.returned.notified();
            tokio::pin!(returned);
            returned.as_mut().enable();
            match self.try_lease(collection, ids, generation, Some(&mut waiting))? {
                Some(lease) => {
                    drop(waiting);
                    return self.load(lease, collection, ids).await;
                }
                None => returned.await,
            }
        }
    }

    /// Checks out the documents without waiting. `None` when that cannot be done; [`checkout`](Self::checkout) says
    /// why. Those that are not at hand are leased, but [not loaded](Lease::is_loaded).
    pub fn checkout_now(
        self: &Arc<Self>,
        collection: &CollectionName,
        ids: &[DocumentId],
        generation: Generation,
    ) -> Option<Lease> {
        self.try_lease(collection, ids, generation, None).ok().flatten()
    }

    /// Leases all documents, or none when one of them is in use or somebody else's turn: then it takes its place in
    /// the line, if it is to wait.
    fn try_lease<'w>(
        self: &'w Arc<Self>,
        collection: &CollectionName,
        ids: &'w [DocumentId],
        generation: Generation,
        waiting: Option<&mut Option<Waiting<'w>>>,
    ) -> Result<Option<Lease>, CheckoutError> {
        let mut inner = self.inner.lock();
        if *self.generation.borrow() != generation {
            return Err(CheckoutError::Rewound);
        }
        let collection = inner.collection_index(collection);
        let mut places = Vec::with_capacity(ids.len());
        let mut unknown = Vec::new();
        for (slot, id) in ids.iter().enumerate() {
            let key = DocumentRef { collection, id };
            let others_turn = inner.is_wanted_by_another(key, waiting.as_deref().and_then(Option::as_ref));
            let (place, fresh) = inner.table.find_or_insert(key);
            let held = inner.table.get(place);
            let twice = held.leased && places.contains(&place);
            if !(held.leased || others_turn) {
                held.leased = true;
                places.push(place);
                if fresh {
                    unknown.push(slot);
                }
                continue;
            }
            if fresh {
                inner.table.remove(place);
            }
            for (slot, &place) in places.iter().enumerate() {
                inner.give_back(place, unknown.binary_search(&slot).is_ok());
            }
            if twice {
                return Err(CheckoutError::NamedTwice(id.clone()));
            }
            if let Some(waiting) = waiting {
                let number = waiting.get_or_insert_with(|| inner.new_waiting(self, collection, ids)).number;
                inner.want(collection, ids, number);
            }
            return Ok(None);
        }
        let current = places.iter().map(|&place| inner.table.get(place).body.clone()).collect();
        let lease = Lease { workspace: Arc::clone(self), generation, places, unknown, current, ended: false };
        Ok(Some(lease))
    }

    /// Loads those of the documents that are not at hand.
    pub async fn load(
        &self,
        mut lease: Lease,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Lease, CheckoutError> {
        if lease.is_loaded() {
            return Ok(lease);
        }
        let wanted: Vec<DocumentId> = lease.unknown.iter().map(|&slot| ids[slot].clone()).collect();
        let documents = self.store.documents(collection, &wanted).await.map_err(CheckoutError::Store)?;
        let mut inner = self.inner.lock();
        if *self.generation.borrow() != lease.generation {
            return Err(CheckoutError::Rewound);
        }
        for (slot, document) in std::mem::take(&mut lease.unknown).into_iter().zip(documents) {
            let place = lease.places[slot];
            let size = document.as_ref().map_or(0, |document| document.body.len());
            inner.table.get(place).stored = document.as_ref().map(|document| document.etag);
            let body = document.map(|document| Body::Json(document.body));
            lease.current[slot].clone_from(&body);
            inner.table.set_body(place, body, size);
        }
        Ok(lease)
    }

    /// Puts a batch that changes no document into the queue; for instance one that only records attempts.
    pub fn push(&self, generation: Generation, batch: DecidedBatch) -> Result<(), Rewound> {
        let mut inner = self.inner.lock();
        if *self.generation.borrow() != generation {
            return Err(Rewound);
        }
        inner.enqueue(Decided { batch, writes: Vec::new() });
        drop(inner);
        self.decided.notify_one();
        Ok(())
    }

    /// Waits until the queue is worth a commit: it has `full` events or an urgent batch, or one of a lane that has caught
    /// up and `rest` is over, or its first batch has waited for `delay`. False when the workspace is closed and the queue
    /// empty.
    pub async fn wait_for_commit(
        &self,
        full: usize,
        rest: Duration,
        delay: Duration,
        clock: &dyn Clock,
    ) -> bool {
        let is_due = |inner: &Inner| inner.closed || inner.urgent || inner.queued_events >= full;
        let rest = rest.min(delay);
        loop {
            self.wait_until(|inner| !inner.queue.is_empty() || inner.closed).await;
            if !rest.is_zero() {
                let _ = timeout(clock, rest, self.wait_until(is_due)).await;
            }
            let _ =
                timeout(clock, delay - rest, self.wait_until(|inner| inner.caught_up || is_due(inner))).await;
            let inner = self.inner.lock();
            if !inner.queue.is_empty() || inner.closed {
                return !inner.queue.is_empty();
            }
            // What was to be committed was taken back meanwhile.
        }
    }

    async fn wait_until(&self, ready: impl Fn(&Inner) -> bool + Send) {
        loop {
            let decided = self.decided.notified();
            if ready(&self.inner.lock()) {
                return;
            }
            decided.await;
        }
    }

    /// Takes a prefix of the queue of about `events` events, as one consistent commit: its batches, and the newest
    /// state of every document that they changed.
    pub fn take(&self, events: usize) -> (Taken, Vec<DocumentWrite>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut taken =
            Taken { batches: Vec::new(), documents: Vec::new(), generation: *self.generation.borrow() };
        let mut writes: Vec<DocumentWrite> = Vec::new();
        let mut indexes: HashMap<Place, usize> = HashMap::new();
        let mut taken_events = 0;
        while taken_events < events || taken.batches.is_empty() {
            let Some(decided) = inner.queue.pop_front() else { break };
            taken_events += decided.batch.events();
            for QueuedWrite { place, json, sequence_number, partition } in decided.writes {
                match indexes.entry(place) {
                    Entry::Occupied(index) => {
                        taken.documents[*index.get()].1 += 1;
                        let write = &mut writes[*index.get()];
                        write.body = json;
                        write.partition = partition;
                        write.sequence_number = sequence_number;
                    }
                    Entry::Vacant(index) => {
                        index.insert(writes.len());
                        let held = inner.table.get(place);
                        taken.documents.push((place, 1));
                        writes.push(DocumentWrite {
                            collection: inner.collections[held.key.collection as usize].clone(),
                            id: held.key.id.clone(),
                            body: json,
                            partition,
                            sequence_number,
                            precondition: held.stored.map_or(Precondition::Absent, Precondition::Matches),
                        });
                    }
                }
            }
            taken.batches.push(decided.batch);
        }
        inner.queued_events -= taken_events;
        inner.urgent = inner.queue.iter().any(|decided| decided.batch.urgent);
        inner.caught_up = inner.queue.iter().any(|decided| decided.batch.caught_up);
        (taken, writes)
    }

    /// Notes that what was taken is in the store now. False when it was taken back meanwhile: then its pumps began again
    /// and find out by themselves.
    pub fn committed(&self, taken: &Taken, receipt: CommitReceipt) -> bool {
        let mut inner = self.inner.lock();
        if *self.generation.borrow() != taken.generation {
            return false;
        }
        for &(place, writes) in &taken.documents {
            let held = inner.table.get(place);
            held.stored = Some(receipt.etag);
            held.uncommitted -= writes;
        }
        inner.table.evict(self.cache_bytes);
        true
    }

    /// Forgets the documents that are kept at hand and not in use: somebody else may have changed them.
    pub fn forget(&self) {
        self.inner.lock().table.evict(0);
    }

    /// Takes back everything that is ahead of the store. Pumps notice it by the generation.
    pub fn rewind(&self) {
        let mut inner = self.inner.lock();
        inner.table.clear();
        inner.wanted.clear();
        inner.queue.clear();
        inner.queued_events = 0;
        inner.urgent = false;
        inner.caught_up = false;
        self.generation.send_modify(|generation| generation.0 += 1);
        drop(inner);
        self.returned.notify_waiters();
    }

    /// Commits what is decided now, rather than waiting for more to share the commit.
    pub fn hurry(&self) {
        self.inner.lock().urgent = true;
        self.decided.notify_one();
    }

    /// Nothing more will be decided.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.decided.notify_one();
    }
}

impl Inner {
    fn collection_index(&mut self, collection: &CollectionName) -> CollectionIndex {
        let index = self.collections.iter().position(|known| known == collection).unwrap_or_else(|| {
            self.collections.push(collection.clone());
            self.collections.len() - 1
        });
        CollectionIndex::try_from(index).expect("there are as many collections as functions at most")
    }

    /// Ends the lease of one document. If its state never became known it is forgotten.
    fn give_back(&mut self, place: Place, unknown: bool) {
        self.table.get(place).leased = false;
        if unknown {
            self.table.remove(place);
        }
    }

    fn is_wanted_by_another(&self, key: DocumentRef<'_>, waiting: Option<&Waiting<'_>>) -> bool {
        // Nobody waits most of the time.
        !self.wanted.is_empty()
            && self
                .wanted
                .get(&key)
                .is_some_and(|first| waiting.is_none_or(|waiting| *first < waiting.number))
    }

    fn new_waiting<'w>(
        &mut self,
        workspace: &'w Workspace,
        collection: CollectionIndex,
        ids: &'w [DocumentId],
    ) -> Waiting<'w> {
        self.last_waiting += 1;
        Waiting { workspace, collection, ids, number: self.last_waiting }
    }

    fn want(&mut self, collection: CollectionIndex, ids: &[DocumentId], number: u64) {
        for id in ids {
            let first = self.wanted.entry(DocumentKey { collection, id: id.clone() }).or_insert(number);
            *first = number.min(*first);
        }
    }

    fn enqueue(&mut self, decided: Decided) {
        self.queued_events += decided.batch.events();
        self.urgent |= decided.batch.urgent;
        self.caught_up |= decided.batch.caught_up;
        self.queue.push_back(decided);
    }
}

/// A place in the line of those who wait for documents. Dropping it leaves the line.
struct Waiting<'w> {
    workspace: &'w Workspace,
    collection: CollectionIndex,
    ids: &'w [DocumentId],
    /// Those with lower numbers go first.
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.workspace.inner.lock();
        for id in self.ids {
            let key = DocumentKey { collection: self.collection, id: id.clone() };
            if let Entry::Occupied(first) = inner.wanted.entry(key)
                && *first.get() == self.number
            {
                first.remove();
            }
        }
        drop(inner);
        self.workspace.returned.notify_waiters();
    }
}

/// What was decided belongs to a generation that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewound;

/// Documents that one invocation works with. Dropping it gives them back unchanged.
pub struct Lease {
    workspace: Arc<Workspace>,
    generation: Generation,
    places: Vec<Place>,
    /// Slots whose state is not loaded.
    unknown: Vec<usize>,
    current: Vec<CurrentDocument>,
    ended: bool,
}

impl Lease {
    /// The documents' states, in the order they were asked for.
    pub fn current(&self) -> &[CurrentDocument] {
        &self.current
    }

    /// False when the states of some documents have yet to be loaded.
    pub fn is_loaded(&self) -> bool {
        self.unknown.is_empty()
    }

    /// Ends the lease: the documents take their new states, and the batch goes to the end of the queue.
    pub fn check_in(
        mut self,
        batch: DecidedBatch,
        partition: PartitionId,
        writes: Vec<Write>,
    ) -> Result<(), Rewound> {
        self.ended = true;
        let workspace = Arc::clone(&self.workspace);
        let mut inner = workspace.inner.lock();
        if *workspace.generation.borrow() != self.generation {
            return Err(Rewound);
        }
        let mut queued = Vec::with_capacity(writes.len());
        for Write { slot, body, json, sequence_number } in writes {
            let place = self.places[slot];
            inner.table.set_body(place, Some(body), json.len());
            inner.table.get(place).uncommitted += 1;
            queued.push(QueuedWrite { place, json, sequence_number, partition });
        }
        for &place in &self.places {
            inner.give_back(place, false);
        }
        inner.enqueue(Decided { batch, writes: queued });
        drop(inner);
        workspace.returned.notify_waiters();
        workspace.decided.notify_one();
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut inner = self.workspace.inner.lock();
        if *self.workspace.generation.borrow() == self.generation {
            for (slot, &place) in self.places.iter().enumerate() {
                inner.give_back(place, self.unknown.binary_search(&slot).is_ok());
            }
        }
        drop(inner);
        self.workspace.returned.notify_waiters();
    }
}

/// A prefix of the queue on its way into the store.
pub struct Taken {
    /// Its batches, in order.
    pub batches: Vec<DecidedBatch>,
    /// The documents they changed, and how many of the batches changed each.
    documents: Vec<(Place, u32)>,
    generation: Generation,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::clock::{TestClock, Timestamp};
    use tidegate_model::document::ETag;
    use tidegate_model::memory::MemoryStore;

    fn batch() -> DecidedBatch {
        DecidedBatch {
            lane: 0,
            advance: Advance { from: SequenceNumber(0), to: SequenceNumber(1) },
            counts: OutcomeCounts { applied: 1, ..OutcomeCounts::default() },
            dead_letters: Vec::new(),
            attempts: None,
            parked: Vec::new(),
            unparked: Vec::new(),
            reparked: Vec::new(),
            health: BatchHealth::default(),
            observed: None,
            urgent: true,
            caught_up: false,
            ticket: 1,
            memory: None,
        }
    }

    fn write() -> Write {
        let json = Bytes::from_static(b"1");
        Write { slot: 0, body: Body::Json(json.clone()), json, sequence_number: SequenceNumber(0) }
    }

    fn ids(ids: &[&str]) -> Vec<DocumentId> {
        ids.iter().map(|id| DocumentId::new(id).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_belongs_to_a_generation_that_was_taken_back_is_void() {
        let workspace = Workspace::new(Arc::new(MemoryStore::new()), 1000);
        let collection = CollectionName::new("things").unwrap();
        let before = *workspace.generation().borrow();
        let lease = workspace.checkout(&collection, &ids(&["a"]), before).await.unwrap();
        let dropped = workspace.checkout(&collection, &ids(&["b"]), before).await.unwrap();
        workspace.push(before, batch()).unwrap();
        let (taken, _) = workspace.take(1);
        workspace.push(before, batch()).unwrap();
        workspace.rewind();

        assert_eq!(workspace.push(before, batch()), Err(Rewound));
        let late = workspace.checkout(&collection, &ids(&["c"]), before).await;
        assert!(matches!(late, Err(CheckoutError::Rewound)));
        let now = *workspace.generation().borrow();
        let newer = workspace.checkout(&collection, &ids(&["b"]), now).await.unwrap();
        drop(dropped);
        workspace.committed(&taken, CommitReceipt { etag: ETag(1) });
        assert_eq!(lease.check_in(batch(), PartitionId(0), vec![write()]), Err(Rewound));
        assert!(workspace.take(1).0.batches.is_empty(), "nothing of it is left");

        assert!(workspace.inner.lock().table.get(newer.places[0]).leased, "the newer lease holds");
        newer.check_in(batch(), PartitionId(0), vec![write()]).unwrap();
        let (taken, writes) = workspace.take(1);
        assert_eq!((taken.batches.len(), writes.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_document_that_is_named_twice_is_refused_and_nothing_stays_leased() {
        let workspace = Workspace::new(Arc::new(MemoryStore::new()), 1000);
        let collection = CollectionName::new("things").unwrap();
        let generation = *workspace.generation().borrow();
        let refused = workspace.checkout(&collection, &ids(&["a", "b", "a"]), generation).await;
        assert!(matches!(refused, Err(CheckoutError::NamedTwice(id)) if id.as_str() == "a"));
        workspace.checkout(&collection, &ids(&["a", "b"]), generation).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_back_while_it_waits_for_its_commit_does_not_end_the_commits() {
        const DELAY: Duration = Duration::from_secs(5);
        let clock = TestClock::new(Timestamp::from_millis(1), 1);
        let workspace = Workspace::new(Arc::new(MemoryStore::new()), 0);
        let push = |ticket| {
            let generation = *workspace.generation().borrow();
            workspace.push(generation, DecidedBatch { urgent: false, ticket, ..batch() }).unwrap();
        };
        push(1);
        let mut due = std::pin::pin!(workspace.wait_for_commit(10, Duration::ZERO, DELAY, &*clock));
        assert_eq!(timeout(&*clock, DELAY / 2, &mut due).await, None, "it waits for more");
        workspace.rewind();
        assert_eq!(
            timeout(&*clock, 10 * DELAY, &mut due).await,
            None,
            "there is nothing to commit, and no end"
        );
        push(2);
        assert!(due.await);
        assert_eq!(workspace.take(usize::MAX).0.batches[0].ticket, 2);
        workspace.close();
        assert!(!workspace.wait_for_commit(10, Duration::ZERO, DELAY, &*clock).await);
    }

    /// Writing many documents has to be worth it; what waits for its commit does not wait for that.
    #[tokio::test(start_paused = true)]
    async fn who_has_caught_up_lets_the_store_rest_and_what_is_urgent_does_not() {
        const REST: Duration = Duration::from_millis(50);
        const DELAY: Duration = Duration::from_millis(500);
        let clock = TestClock::new(Timestamp::from_millis(1), 1);
        let workspace = Workspace::new(Arc::new(MemoryStore::new()), 0);
        let generation = *workspace.generation().borrow();
        let waited = async |urgent, caught_up, rest, full| {
            workspace.push(generation, DecidedBatch { urgent, caught_up, ..batch() }).unwrap();
            let began = clock.monotonic();
            assert!(workspace.wait_for_commit(full, rest, DELAY, &*clock).await);
            workspace.take(usize::MAX);
            clock.monotonic() - began
        };
        assert_eq!(waited(false, true, Duration::ZERO, 10).await, Duration::ZERO);
        assert_eq!(waited(false, true, REST, 10).await, REST);
        assert_eq!(waited(false, true, 10 * DELAY, 10).await, DELAY);
        assert_eq!(waited(true, true, REST, 10).await, Duration::ZERO);
        assert_eq!(waited(false, false, REST, 1).await, Duration::ZERO, "it is full");
        assert_eq!(waited(false, false, REST, 10).await, DELAY, "there is more to come");
    }
}
