//! The port of the dead letters: they are looked at, and acted on, one by one or many at once.

use async_trait::async_trait;

use crate::checkpoint::Lane;
use crate::clock::Timestamp;
use crate::dead_letter::{Acted, DeadLetterFilter, DeadLetterGroup, DeadLetterId, StoredDeadLetter};
use crate::event::EventData;
use crate::ports::StoreError;
use crate::trail::{Act, NewTrailEntry, TrailEntry};

/// The dead letters. They are made by [`commit`](crate::ports::Commits::commit).
///
/// # Contract
///
/// - Every act is one transaction: the change and its line in the audit trail are there together or not at all. An act on
///   many dead letters answers for each of them, in the order given; those that cannot be acted on change nothing.
/// - An act on a dead letter that somebody else than `act.by` holds a lease on, which has not run out at `act.at`, is
///   [`Acted::Leased`]. An act ends the actor's own lease, except [`edit`](Self::edit), which keeps it.
/// - The counts of the checkpoint follow: a redriven event moves from `dead_lettered` to `parked`, a discarded one from
///   `dead_lettered` to `discarded`. Sums stay what they were. Events before the checkpoint's start are not counted.
/// - A lease runs out at its `until`: from then on it is nobody's. What settles a dead letter ends its lease.
/// - A dead letter's own event is never changed and never lost: edits are kept beside it.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// One dead letter, if it exists.
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError>;

    /// At most `limit` dead letters that match, with ids greater than `after`, ordered by id.
    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError>;

    /// The ids of at most `limit` dead letters that match, with ids greater than `after`, in ascending order.
    async fn find_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetterId>, StoreError>;

    /// The causes of the dead letters that match, the most frequent first.
    async fn group_dead_letters(&self, filter: &DeadLetterFilter)
    -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// How many unsettled dead letters (open or quarantined) each lane has from its checkpoint's start on, counted one by
    /// one: the audit compares it with the checkpoints' counts.
    async fn count_dead_letters(&self) -> Result<Vec<(Lane, u64)>, StoreError>;

    /// Parks the events of dead letters in their lanes, to be tried at `act.at`, and makes them `Redriving`. Open ones;
    /// with `force` also quarantined ones. The function is given the newest revision, and its attempts at it are counted
    /// anew. One whose incarnation is not the checkpoint's is [`Acted::OtherIncarnation`].
    async fn redrive(&self, ids: &[DeadLetterId], force: bool, act: &Act) -> Result<Vec<Acted>, StoreError>;

    /// Discards open or quarantined dead letters.
    async fn discard(&self, ids: &[DeadLetterId], act: &Act) -> Result<Vec<Acted>, StoreError>;

    /// Makes `event` the newest revision of an open or quarantined dead letter, if `revision` is the newest one so far.
    /// The partition key and the place in the order stay: an edit that changes the key is
    /// [`Refused`](StoreError::Refused). `entry` says what was changed.
    async fn edit(
        &self,
        id: DeadLetterId,
        revision: u32,
        event: &EventData,
        entry: NewTrailEntry,
    ) -> Result<Acted, StoreError>;

    /// Leases the first `limit` open dead letters that match and are nobody's at `act.at`, to `act.by`, until `until`.
    /// Who holds a lease and asks again for the same dead letter by [`extend_lease`](Self::extend_lease) keeps it.
    async fn lease_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<StoredDeadLetter>, StoreError>;

    /// Moves the end of leases that `act.by` holds; an `until` that is not after `act.at` gives them back. A lease that has
    /// run out, or that nobody has, cannot be moved: that is [`Acted::WrongStatus`].
    async fn extend_lease(
        &self,
        ids: &[DeadLetterId],
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<Acted>, StoreError>;

    /// At most `limit` lines of the audit trail with numbers greater than `after`, in order; of one subject if given.
    async fn trail(
        &self,
        subject: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError>;
}
