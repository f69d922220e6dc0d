//! The port of the parking places: what is parked, lane by lane.

use async_trait::async_trait;

use crate::checkpoint::{FunctionName, Lane};
use crate::clock::Timestamp;
use crate::dead_letter::Acted;
use crate::parking::{OrderKey, ParkedVersion, ParkingPlace, StoredParked};
use crate::ports::StoreError;
use crate::position::SequenceNumber;
use crate::trail::Act;

/// The parked events. They are parked, tried and unparked by [`commit`](crate::ports::Commits::commit), and parked by the
/// [redrive](crate::ports::DeadLetters::redrive) of dead letters; what a person does with them is here.
///
/// # Contract
///
/// - The parked events of a key are a queue, ordered by sequence number. Finding its head and what comes next takes no
///   longer for a queue of millions.
/// - Each change of a parked event gives it a version greater than all versions before.
/// - Each act on parked events moves the [mark](Parking::parked_version) by which owners of lanes see that somebody acted;
///   commits do not.
#[async_trait]
pub trait Parking: Send + Sync + 'static {
    /// What is parked in a lane, without the events.
    async fn parking_place(&self, lane: &Lane) -> Result<ParkingPlace, StoreError>;

    /// The newest version when somebody acted on parked events last: by a redrive, by
    /// [`try_parked_now`](Self::try_parked_now), [`release_held`](Self::release_held) or [`set_aside`](Self::set_aside); zero
    /// before the first time.
    async fn parked_version(&self) -> Result<ParkedVersion, StoreError>;

    /// The parked event with this sequence number, if there is one.
    async fn parked(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
    ) -> Result<Option<StoredParked>, StoreError>;

    /// At most `limit` parked events of a key with sequence numbers from `from` on, in that order; from zero on the first
    /// is the key's head. They stop before the one that makes them take more than `max_bytes` together, but there is always one if there is any.
    async fn parked_of_key(
        &self,
        lane: &Lane,
        key: &OrderKey,
        from: SequenceNumber,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredParked>, StoreError>;

    /// At most `limit` parked events of a lane with sequence numbers from `from` on, in that order.
    async fn list_parked(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<StoredParked>, StoreError>;

    /// Makes the turn of a parked event come at `act.at`, whether it was held or waited for a later time. Writes the
    /// audit trail.
    async fn try_parked_now(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError>;

    /// Makes the turn of every held event of a function come at `at`; how many there were. The circuit does this when it
    /// closes.
    async fn release_held(&self, function: &FunctionName, at: Timestamp) -> Result<u64, StoreError>;

    /// Sets a parked event aside: it becomes an open dead letter with its attempts, so that it can be edited, discarded or
    /// redriven, and what waits behind it goes on. One that is a redrive goes back to its dead letter, open or quarantined
    /// as that was before: it has not come back by failing. Writes the audit trail.
    async fn set_aside(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError>;

    /// How many events each lane has parked from its checkpoint's start on, counted one by one: the audit compares it with the checkpoints' counts.
    async fn count_parked(&self) -> Result<Vec<(Lane, u64)>, StoreError>;
}
