//! The ports of the store, split by ability: what is read apart, what is written together.

use async_trait::async_trait;

use crate::attempt::EventAttempts;
use crate::checkpoint::{Checkpoint, Epoch, FunctionName, Lane, Ownership};
use crate::clock::Timestamp;
use crate::commit::{Commit, CommitGuarantee, CommitReceipt};
use crate::document::{CollectionName, Document, DocumentId};
use crate::error::{ErrorCode, ErrorKind};
use crate::health::InstanceHealth;
use crate::ports::{DeadLetters, Outbox, Parking, Registers};
use crate::position::{Incarnation, SequenceNumber};
use crate::trail::NewTrailEntry;

/// Everything the program needs from a store.
pub trait Store:
    Ownerships + Checkpoints + Documents + Parking + DeadLetters + Registers + Outbox + Commits
{
}

impl<T: Ownerships + Checkpoints + Documents + Parking + DeadLetters + Registers + Outbox + Commits> Store
    for T
{
}

/// Who may process a lane.
///
/// # Contract
///
/// - A claim always succeeds and always gets a higher epoch than every claim of that lane before it, also across
///   restarts; whether to claim is the processor's decision.
/// - From the moment a claim returns, commits under lower epochs are [`StoreError::Fenced`].
/// - A release under a lower epoch than the stored one changes nothing and is no error: somebody else owns the lane.
#[async_trait]
pub trait Ownerships: Send + Sync + 'static {
    /// Makes `owner` the owner of a lane.
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError>;

    /// Gives up a lane. The epoch stays, so that a commit that is still under way goes through or is fenced, never
    /// both.
    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError>;

    /// Every lane that was ever claimed.
    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError>;
}

/// How far the lanes are.
#[async_trait]
pub trait Checkpoints: Send + Sync + 'static {
    /// The checkpoint of a lane, if it has one. A failure to read is an error, never `None`.
    async fn checkpoint(&self, lane: &Lane) -> Result<Option<Checkpoint>, StoreError>;

    /// Makes the first checkpoint of a lane, at `start`. If the lane has one already it stays as it is, and is
    /// returned.
    async fn begin(
        &self,
        lane: &Lane,
        incarnation: Incarnation,
        start: SequenceNumber,
        at: Timestamp,
    ) -> Result<Checkpoint, StoreError>;

    /// All checkpoints, ordered by lane.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError>;

    /// The stored attempts at unresolved events of a lane, ordered by sequence number.
    async fn attempts(&self, lane: &Lane) -> Result<Vec<EventAttempts>, StoreError>;

    /// Moves the checkpoint of a lane by hand, under a new epoch, so that whoever processes the lane is fenced. The lane
    /// begins anew there: `start` and `position` are `to`, the counts are zero, and attempts at unresolved events are
    /// forgotten. Events from `to` on will be read again: those that are parked leave their parking place, and dead
    /// letters of them that are unsettled or on their way become `Replayed`. Those before `to` stay, and are not counted
    /// any more. Writes `entry` to the audit trail.
    ///
    /// # Errors
    /// [`StoreError::CheckpointMoved`] unless the position is `from`; [`StoreError::Refused`] when the lane has no
    /// checkpoint.
    async fn seek(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        to: SequenceNumber,
        entry: NewTrailEntry,
    ) -> Result<Checkpoint, StoreError>;
}

/// The documents.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// The documents with these ids, in the order of the ids; `None` for each that does not exist.
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError>;

    /// At most `limit` documents with ids greater than `after`, ordered by id. An unknown collection is empty.
    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// The collections that have documents, with how many each has, ordered by name.
    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError>;
}

/// The one place where effects happen.
///
/// # Contract
///
/// With [`CommitGuarantee::OneTransaction`]:
///
/// - A commit happens whole or not at all, also across a crash. After an error of kind `Conflict` or `Fenced` nothing
///   of it happened. After `Transient` it may have happened or not; committing the same again is safe: if it had
///   happened, the answer is [`StoreError::CheckpointMoved`] with `stored` equal to the commit's own `to`.
/// - For each lane: the stored epoch must equal the commit's ([`StoreError::Fenced`]), the stored incarnation its
///   incarnation ([`StoreError::OtherIncarnation`]), and the stored position its `from`
///   ([`StoreError::CheckpointMoved`]). A lane without checkpoint or owner is fenced.
/// - For each document: its precondition must hold ([`StoreError::DocumentChanged`]).
/// - A commit that does not pass [`Commit::check_lanes`], names a document twice, or holds a state that is not UTF-8
///   text is [`StoreError::Refused`].
/// - For each parked event that is resolved or stays parked: its stored version must be the commit's, else
///   [`StoreError::ParkedMoved`].
/// - Events before a checkpoint's start, which can only be parked ones, are not counted.
/// - Attempts, dead letters, parked events and health are written as the commit says, and the counts are added to the
///   checkpoint's. An event
///   that leaves its parking place moves from the count of parked events to that of its outcome.
/// - A redriven event that is applied or filtered makes its dead letter `Redriven`. One that is set aside gives its dead
///   letter the new story, under the old number: `Open`, or `Quarantined` when it came back
///   [`MAX_RETURNS`](crate::dead_letter::MAX_RETURNS) times. The new attempts follow the old ones.
/// - All documents of a commit get the same new etag, greater than every one before.
#[async_trait]
pub trait Commits: Send + Sync + 'static {
    /// What this store promises.
    fn guarantee(&self) -> CommitGuarantee;

    /// What each instance had in the seconds that began at `since` or later, all together, ordered by instance. A commit
    /// that brings health has the store forget seconds that began more than [an hour](crate::health::KEPT_FOR) before it.
    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError>;

    /// Makes everything in `commit` true together.
    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError>;

    /// Returns after everything committed before is on disk and survives a crash of the machine. Needed before an
    /// effect leaves the store, such as dropping the events from the log.
    async fn barrier(&self) -> Result<(), StoreError>;
}

/// Why the store refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or not now: busy, unreachable, an I/O error. Whether a change that was asked for has happened is
    /// not known: its answer may be lost, or its sync have failed.
    #[error("the store is unavailable: {detail}")]
    Unavailable {
        /// What it said.
        detail: String,
    },
    /// The disk is full. Nothing was written.
    #[error("the store's disk is full: {detail}")]
    DiskFull {
        /// What it said.
        detail: String,
    },
    /// Its data is damaged.
    #[error("the store is damaged: {detail}; run `tidegate fsck`")]
    Damaged {
        /// What it said.
        detail: String,
    },
    /// Somebody else owns the lane now.
    #[error("the lane {lane} has a new owner: epoch {stored:?}, not {ours:?}")]
    Fenced {
        /// The lane.
        lane: Lane,
        /// The epoch of the refused commit.
        ours: Epoch,
        /// The stored epoch, if the lane has an owner at all.
        stored: Option<Epoch>,
    },
    /// The checkpoint is not where the commit comes from.
    #[error("the checkpoint of {lane} is at {stored}, not at {from}")]
    CheckpointMoved {
        /// The lane.
        lane: Lane,
        /// Where the commit comes from.
        from: SequenceNumber,
        /// Where the checkpoint is.
        stored: SequenceNumber,
    },
    /// The checkpoint belongs to another life of the hub.
    #[error(
        "the checkpoint of {lane} belongs to incarnation {stored} of the hub, but the log is incarnation {ours}: \
         its position means nothing here"
    )]
    OtherIncarnation {
        /// The lane.
        lane: Lane,
        /// The incarnation of the log.
        ours: Incarnation,
        /// The incarnation of the checkpoint.
        stored: Incarnation,
    },
    /// A document is not as the commit expects it.
    #[error("the document {id} of {collection} was changed by somebody else")]
    DocumentChanged {
        /// The collection.
        collection: CollectionName,
        /// The document.
        id: DocumentId,
    },
    /// A parked event was changed or taken by somebody else: a person edited, held or discarded it.
    #[error("the parked event {sequence_number} of {lane} was changed by somebody else")]
    ParkedMoved {
        /// The lane.
        lane: Lane,
        /// The event.
        sequence_number: SequenceNumber,
    },
    /// A register was changed by somebody else.
    #[error("{register} was changed by somebody else")]
    RegisterMoved {
        /// The register.
        register: String,
    },
    /// The request makes no sense to the store.
    #[error("{detail}")]
    Refused {
        /// Why.
        detail: String,
    },
}

impl StoreError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } | Self::DiskFull { .. } => ErrorKind::Transient,
            Self::Damaged { .. } | Self::OtherIncarnation { .. } | Self::Refused { .. } => {
                ErrorKind::Permanent
            }
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::CheckpointMoved { .. }
            | Self::DocumentChanged { .. }
            | Self::ParkedMoved { .. }
            | Self::RegisterMoved { .. } => ErrorKind::Conflict,
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } => ErrorCode::STORE_UNAVAILABLE,
            Self::DiskFull { .. } => ErrorCode::DISK_FULL,
            Self::Damaged { .. } => ErrorCode::STORE_DAMAGED,
            Self::Fenced { .. }
            | Self::CheckpointMoved { .. }
            | Self::DocumentChanged { .. }
            | Self::ParkedMoved { .. }
            | Self::RegisterMoved { .. } => ErrorCode::FENCED,
            Self::OtherIncarnation { .. } => ErrorCode::INCARNATION_MISMATCH,
            Self::Refused { .. } => ErrorCode::BAD_REQUEST,
        }
    }
}
