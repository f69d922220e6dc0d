//! Delegation: a store or a log that wraps another one and changes a part of what it does, as tests of faults need it.

use std::pin::Pin;

use tokio::sync::watch;

/// What [`delegate_event_log!`](crate::delegate_event_log) calls a future of a port.
#[doc(hidden)]
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What [`delegate_event_log!`](crate::delegate_event_log) calls a value that can be waited for.
#[doc(hidden)]
pub type Watched<T> = watch::Receiver<T>;

/// Implements ports of the store for a type by handing every call to a field of it, which is a store.
///
/// ```
/// use tidegate_model::memory::MemoryStore;
///
/// struct Wrapped {
///     store: MemoryStore,
/// }
/// tidegate_model::delegate_store!(Wrapped, store: Ownerships, Checkpoints, Documents, Parking, DeadLetters, Registers, Outbox, Commits);
/// ```
#[macro_export]
macro_rules! delegate_store {
    ($type:ty, $field:tt: $($port:ident),+ $(,)?) => {
        $($crate::delegate_store!(@$port $type, $field);)+
    };
    (@Ownerships $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Ownerships for $type {
            async fn claim(&self, lane: &$crate::checkpoint::Lane, owner: &str, at: $crate::clock::Timestamp) -> Result<$crate::checkpoint::Ownership, $crate::ports::StoreError> {
                use $crate::ports::Ownerships as _;
                self.$field.claim(lane, owner, at).await
            }
            async fn release(&self, lane: &$crate::checkpoint::Lane, epoch: $crate::checkpoint::Epoch, at: $crate::clock::Timestamp) -> Result<(), $crate::ports::StoreError> {
                use $crate::ports::Ownerships as _;
                self.$field.release(lane, epoch, at).await
            }
            async fn ownerships(&self) -> Result<Vec<$crate::checkpoint::Ownership>, $crate::ports::StoreError> {
                use $crate::ports::Ownerships as _;
                self.$field.ownerships().await
            }
        }
    };
    (@Checkpoints $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Checkpoints for $type {
            async fn checkpoint(&self, lane: &$crate::checkpoint::Lane) -> Result<Option<$crate::checkpoint::Checkpoint>, $crate::ports::StoreError> {
                use $crate::ports::Checkpoints as _;
                self.$field.checkpoint(lane).await
            }
            async fn begin(&self, lane: &$crate::checkpoint::Lane, incarnation: $crate::position::Incarnation, start: $crate::position::SequenceNumber, at: $crate::clock::Timestamp) -> Result<$crate::checkpoint::Checkpoint, $crate::ports::StoreError> {
                use $crate::ports::Checkpoints as _;
                self.$field.begin(lane, incarnation, start, at).await
            }
            async fn checkpoints(&self) -> Result<Vec<$crate::checkpoint::Checkpoint>, $crate::ports::StoreError> {
                use $crate::ports::Checkpoints as _;
                self.$field.checkpoints().await
            }
            async fn attempts(&self, lane: &$crate::checkpoint::Lane) -> Result<Vec<$crate::attempt::EventAttempts>, $crate::ports::StoreError> {
                use $crate::ports::Checkpoints as _;
                self.$field.attempts(lane).await
            }
            async fn seek(&self, lane: &$crate::checkpoint::Lane, from: $crate::position::SequenceNumber, to: $crate::position::SequenceNumber, entry: $crate::trail::NewTrailEntry) -> Result<$crate::checkpoint::Checkpoint, $crate::ports::StoreError> {
                use $crate::ports::Checkpoints as _;
                self.$field.seek(lane, from, to, entry).await
            }
        }
    };
    (@Documents $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Documents for $type {
            async fn documents(&self, collection: &$crate::document::CollectionName, ids: &[$crate::document::DocumentId]) -> Result<Vec<Option<$crate::document::Document>>, $crate::ports::StoreError> {
                use $crate::ports::Documents as _;
                self.$field.documents(collection, ids).await
            }
            async fn list_documents(&self, collection: &$crate::document::CollectionName, after: Option<&$crate::document::DocumentId>, limit: usize) -> Result<Vec<$crate::document::Document>, $crate::ports::StoreError> {
                use $crate::ports::Documents as _;
                self.$field.list_documents(collection, after, limit).await
            }
            async fn collections(&self) -> Result<Vec<($crate::document::CollectionName, u64)>, $crate::ports::StoreError> {
                use $crate::ports::Documents as _;
                self.$field.collections().await
            }
        }
    };
    (@Commits $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Commits for $type {
            fn guarantee(&self) -> $crate::commit::CommitGuarantee {
                use $crate::ports::Commits as _;
                self.$field.guarantee()
            }
            async fn health(&self, circuit: &$crate::checkpoint::FunctionName, since: $crate::clock::Timestamp) -> Result<Vec<$crate::health::InstanceHealth>, $crate::ports::StoreError> {
                use $crate::ports::Commits as _;
                self.$field.health(circuit, since).await
            }
            async fn commit(&self, commit: &$crate::commit::Commit) -> Result<$crate::commit::CommitReceipt, $crate::ports::StoreError> {
                use $crate::ports::Commits as _;
                self.$field.commit(commit).await
            }
            async fn barrier(&self) -> Result<(), $crate::ports::StoreError> {
                use $crate::ports::Commits as _;
                self.$field.barrier().await
            }
        }
    };
    (@Parking $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Parking for $type {
            async fn parking_place(&self, lane: &$crate::checkpoint::Lane) -> Result<$crate::parking::ParkingPlace, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.parking_place(lane).await
            }
            async fn parked_version(&self) -> Result<$crate::parking::ParkedVersion, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.parked_version().await
            }
            async fn parked(&self, lane: &$crate::checkpoint::Lane, sequence_number: $crate::position::SequenceNumber) -> Result<Option<$crate::parking::StoredParked>, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.parked(lane, sequence_number).await
            }
            async fn parked_of_key(&self, lane: &$crate::checkpoint::Lane, key: &$crate::parking::OrderKey, from: $crate::position::SequenceNumber, limit: usize, max_bytes: usize) -> Result<Vec<$crate::parking::StoredParked>, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.parked_of_key(lane, key, from, limit, max_bytes).await
            }
            async fn list_parked(&self, lane: &$crate::checkpoint::Lane, from: $crate::position::SequenceNumber, limit: usize) -> Result<Vec<$crate::parking::StoredParked>, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.list_parked(lane, from, limit).await
            }
            async fn try_parked_now(&self, lane: &$crate::checkpoint::Lane, sequence_number: $crate::position::SequenceNumber, act: &$crate::trail::Act) -> Result<$crate::dead_letter::Acted, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.try_parked_now(lane, sequence_number, act).await
            }
            async fn release_held(&self, function: &$crate::checkpoint::FunctionName, at: $crate::clock::Timestamp) -> Result<u64, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.release_held(function, at).await
            }
            async fn set_aside(&self, lane: &$crate::checkpoint::Lane, sequence_number: $crate::position::SequenceNumber, act: &$crate::trail::Act) -> Result<$crate::dead_letter::Acted, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.set_aside(lane, sequence_number, act).await
            }
            async fn count_parked(&self) -> Result<Vec<($crate::checkpoint::Lane, u64)>, $crate::ports::StoreError> {
                use $crate::ports::Parking as _;
                self.$field.count_parked().await
            }
        }
    };
    (@DeadLetters $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::DeadLetters for $type {
            async fn dead_letter(&self, id: $crate::dead_letter::DeadLetterId) -> Result<Option<$crate::dead_letter::StoredDeadLetter>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.dead_letter(id).await
            }
            async fn list_dead_letters(&self, filter: &$crate::dead_letter::DeadLetterFilter, after: Option<$crate::dead_letter::DeadLetterId>, limit: usize) -> Result<Vec<$crate::dead_letter::StoredDeadLetter>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.list_dead_letters(filter, after, limit).await
            }
            async fn find_dead_letters(&self, filter: &$crate::dead_letter::DeadLetterFilter, after: Option<$crate::dead_letter::DeadLetterId>, limit: usize) -> Result<Vec<$crate::dead_letter::DeadLetterId>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.find_dead_letters(filter, after, limit).await
            }
            async fn group_dead_letters(&self, filter: &$crate::dead_letter::DeadLetterFilter) -> Result<Vec<$crate::dead_letter::DeadLetterGroup>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.group_dead_letters(filter).await
            }
            async fn count_dead_letters(&self) -> Result<Vec<($crate::checkpoint::Lane, u64)>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.count_dead_letters().await
            }
            async fn redrive(&self, ids: &[$crate::dead_letter::DeadLetterId], force: bool, act: &$crate::trail::Act) -> Result<Vec<$crate::dead_letter::Acted>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.redrive(ids, force, act).await
            }
            async fn discard(&self, ids: &[$crate::dead_letter::DeadLetterId], act: &$crate::trail::Act) -> Result<Vec<$crate::dead_letter::Acted>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.discard(ids, act).await
            }
            async fn edit(&self, id: $crate::dead_letter::DeadLetterId, revision: u32, event: &$crate::event::EventData, entry: $crate::trail::NewTrailEntry) -> Result<$crate::dead_letter::Acted, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.edit(id, revision, event, entry).await
            }
            async fn lease_dead_letters(&self, filter: &$crate::dead_letter::DeadLetterFilter, limit: usize, until: $crate::clock::Timestamp, act: &$crate::trail::Act) -> Result<Vec<$crate::dead_letter::StoredDeadLetter>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.lease_dead_letters(filter, limit, until, act).await
            }
            async fn extend_lease(&self, ids: &[$crate::dead_letter::DeadLetterId], until: $crate::clock::Timestamp, act: &$crate::trail::Act) -> Result<Vec<$crate::dead_letter::Acted>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.extend_lease(ids, until, act).await
            }
            async fn trail(&self, subject: Option<&str>, after: u64, limit: usize) -> Result<Vec<$crate::trail::TrailEntry>, $crate::ports::StoreError> {
                use $crate::ports::DeadLetters as _;
                self.$field.trail(subject, after, limit).await
            }
        }
    };
    (@Registers $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Registers for $type {
            async fn register(&self, key: &$crate::register::RegisterKey) -> Result<Option<$crate::register::Register>, $crate::ports::StoreError> {
                use $crate::ports::Registers as _;
                self.$field.register(key).await
            }
            async fn registers(&self, kind: &'static str) -> Result<Vec<$crate::register::Register>, $crate::ports::StoreError> {
                use $crate::ports::Registers as _;
                self.$field.registers(kind).await
            }
            async fn change_register(&self, change: $crate::ports::RegisterChange) -> Result<$crate::register::Version, $crate::ports::StoreError> {
                use $crate::ports::Registers as _;
                self.$field.change_register(change).await
            }
        }
    };
    (@Outbox $type:ty, $field:tt) => {
        #[$crate::ports::async_trait]
        impl $crate::ports::Outbox for $type {
            async fn due_notices(&self, targets: &[String], now: $crate::clock::Timestamp, limit: usize) -> Result<Vec<$crate::notice::Notice>, $crate::ports::StoreError> {
                use $crate::ports::Outbox as _;
                self.$field.due_notices(targets, now, limit).await
            }
            async fn recent_notices(&self, limit: usize) -> Result<Vec<$crate::notice::Notice>, $crate::ports::StoreError> {
                use $crate::ports::Outbox as _;
                self.$field.recent_notices(limit).await
            }
            async fn record_delivery(&self, notice: $crate::notice::NoticeId, target: &str, state: $crate::notice::DeliveryState, error: Option<&str>) -> Result<(), $crate::ports::StoreError> {
                use $crate::ports::Outbox as _;
                self.$field.record_delivery(notice, target, state, error).await
            }
            async fn prune_notices(&self, now: $crate::clock::Timestamp) -> Result<(), $crate::ports::StoreError> {
                use $crate::ports::Outbox as _;
                self.$field.prune_notices(now).await
            }
        }
    };
}

/// Stands in an `impl EventLog` for a type that wraps another log: what the log is (its hub, its partitions, its incarnation,
/// its age) comes from a field of it, an `Arc` or `Box` of a log, and so does each method that is named after the colon. What is
/// not named is written by hand beside it, or is the port's default.
///
/// ```
/// use std::sync::Arc;
/// use tidegate_model::event::Event;
/// use tidegate_model::memory::MemoryLog;
/// use tidegate_model::ports::{EventLog, ReadError, ReadLimit, async_trait};
/// use tidegate_model::position::{PartitionId, SequenceNumber};
///
/// /// A log whose events are never read.
/// struct Unreadable {
///     log: Arc<MemoryLog>,
/// }
///
/// #[async_trait]
/// impl EventLog for Unreadable {
///     tidegate_model::delegate_event_log!(log: status, tail, locate);
///
///     async fn read(
///         &self,
///         partition: PartitionId,
///         _: SequenceNumber,
///         _: ReadLimit,
///     ) -> Result<Vec<Event>, ReadError> {
///         Err(ReadError::Unavailable { partition, detail: "not now".to_owned() })
///     }
/// }
/// ```
#[macro_export]
macro_rules! delegate_event_log {
    ($field:tt: $($method:ident),* $(,)?) => {
        fn hub(&self) -> &$crate::event::HubName {
            $crate::ports::EventLog::hub(&*self.$field)
        }
        fn partition_count(&self) -> u32 {
            $crate::ports::EventLog::partition_count(&*self.$field)
        }
        fn incarnation(&self) -> $crate::position::Incarnation {
            $crate::ports::EventLog::incarnation(&*self.$field)
        }
        fn created_at(&self) -> $crate::clock::Timestamp {
            $crate::ports::EventLog::created_at(&*self.$field)
        }
        $($crate::delegate_event_log!(@$method $field);)*
    };
    (@assigned $field:tt) => {
        fn assigned(&self) -> Option<$crate::ports::Watched<std::collections::BTreeSet<$crate::position::PartitionId>>> {
            $crate::ports::EventLog::assigned(&*self.$field)
        }
    };
    (@has_sparse_numbers $field:tt) => {
        fn has_sparse_numbers(&self) -> bool {
            $crate::ports::EventLog::has_sparse_numbers(&*self.$field)
        }
    };
    (@begin_term $field:tt) => {
        fn begin_term(&self, partition: $crate::position::PartitionId) {
            $crate::ports::EventLog::begin_term(&*self.$field, partition);
        }
    };
    (@status $field:tt) => {
        fn status(&self, partition: $crate::position::PartitionId) -> Result<$crate::ports::PartitionStatus, $crate::ports::ReadError> {
            $crate::ports::EventLog::status(&*self.$field, partition)
        }
    };
    (@ends $field:tt) => {
        fn ends(&self, partition: $crate::position::PartitionId) -> Result<$crate::ports::PartitionEnds, $crate::ports::ReadError> {
            $crate::ports::EventLog::ends(&*self.$field, partition)
        }
    };
    (@tail $field:tt) => {
        fn tail(&self, partition: $crate::position::PartitionId) -> Result<$crate::ports::Watched<$crate::position::SequenceNumber>, $crate::ports::ReadError> {
            $crate::ports::EventLog::tail(&*self.$field, partition)
        }
    };
    // What `async_trait` makes of an `async fn`: it does not look into the macros of a block.
    (@locate $field:tt) => {
        fn locate<'life0, 'async_trait>(&'life0 self, partition: $crate::position::PartitionId, start: $crate::position::StartPosition) -> $crate::ports::Later<'async_trait, Result<$crate::position::SequenceNumber, $crate::ports::ReadError>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            $crate::ports::EventLog::locate(&*self.$field, partition, start)
        }
    };
    (@read $field:tt) => {
        fn read<'life0, 'async_trait>(&'life0 self, partition: $crate::position::PartitionId, from: $crate::position::SequenceNumber, limit: $crate::ports::ReadLimit) -> $crate::ports::Later<'async_trait, Result<Vec<$crate::event::Event>, $crate::ports::ReadError>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            $crate::ports::EventLog::read(&*self.$field, partition, from, limit)
        }
    };
    (@read_batch $field:tt) => {
        fn read_batch<'life0, 'async_trait>(&'life0 self, partition: $crate::position::PartitionId, from: $crate::position::SequenceNumber, limit: $crate::ports::ReadLimit) -> $crate::ports::Later<'async_trait, Result<$crate::ports::EventBatch, $crate::ports::ReadError>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            $crate::ports::EventLog::read_batch(&*self.$field, partition, from, limit)
        }
    };
}
