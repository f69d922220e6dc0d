//! Delegation: a store that wraps another one and changes a part of what it does, as tests of faults need it.

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
