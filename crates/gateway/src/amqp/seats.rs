//! Seats: who receives from a partition in a consumer group, and who has to go when another comes.
//!
//! A receiver with an *epoch* (clients call it owner level) is alone: it drives out those with a lower or equal epoch and
//! those without, and keeps those without out. Without epochs, up to five receive beside each other. That is how Event
//! Hubs' processors hand partitions over. Rules: the service's, as its clients were seen to rely on.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_model::position::PartitionId;
use tokio::sync::Notify;

/// How many receivers without an epoch a partition has in a consumer group, as in Event Hubs.
pub(super) const MAX_WITHOUT_EPOCH: usize = 5;

/// A partition in a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeatKey {
    hub: String,
    group: String,
    partition: PartitionId,
}

impl SeatKey {
    pub(super) fn new(hub: &str, group: &str, partition: PartitionId) -> Self {
        Self { hub: hub.to_ascii_lowercase(), group: group.to_ascii_lowercase(), partition }
    }
}

/// All seats of a namespace.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    seats: HashMap<SeatKey, Vec<Occupied>>,
    last: u64,
}

#[derive(Debug)]
struct Occupied {
    number: u64,
    epoch: Option<i64>,
    lost: Arc<Lost>,
}

/// Tells the connection of a receiver that its seat is taken.
#[derive(Debug)]
pub(super) struct Lost {
    /// Who took it; `None` while the receiver may stay.
    by: Mutex<Option<Taker>>,
    /// The connection's alarm.
    alarm: Arc<Notify>,
}

/// Who took a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taker {
    /// Its epoch.
    pub(super) epoch: i64,
}

/// A receiver's seat; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    key: SeatKey,
    number: u64,
    lost: Arc<Lost>,
}

/// Why a receiver gets no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSeat {
    /// Somebody with a higher epoch is there.
    #[error(
        "At least one receiver for the endpoint is created with epoch of '{theirs}', and so {} is not allowed. Either \
         reconnect with a higher epoch value, or make sure all epoch receivers are closed or disconnected.",
        match .ours { Some(ours) => format!("a receiver with epoch of '{ours}'"), None => "non-epoch receiver".to_owned() }
    )]
    HigherEpoch {
        /// Its epoch.
        theirs: i64,
        /// The epoch that was asked with.
        ours: Option<i64>,
    },
    /// As many without an epoch as there may be are there.
    #[error(
        "Exceeded the maximum number of allowed receivers per partition in a consumer group which is {MAX_WITHOUT_EPOCH}."
    )]
    Full,
}

impl Seats {
    /// Takes a seat; those who have to go are told. `alarm` wakes the receiver's connection when it has to go itself.
    pub(super) fn take(
        self: &Arc<Self>,
        key: SeatKey,
        epoch: Option<i64>,
        alarm: &Arc<Notify>,
    ) -> Result<Seat, NoSeat> {
        let mut taken = self.taken.lock();
        taken.last += 1;
        let number = taken.last;
        let others = taken.seats.entry(key.clone()).or_default();
        let highest = others.iter().filter_map(|other| other.epoch).max();
        match (highest, epoch) {
            (Some(theirs), None) => return Err(NoSeat::HigherEpoch { theirs, ours: None }),
            (Some(theirs), Some(ours)) if ours < theirs => {
                return Err(NoSeat::HigherEpoch { theirs, ours: Some(ours) });
            }
            (_, Some(epoch)) => {
                for other in others.drain(..) {
                    *other.lost.by.lock() = Some(Taker { epoch });
                    other.lost.alarm.notify_one();
                }
            }
            (None, None) if others.len() >= MAX_WITHOUT_EPOCH => return Err(NoSeat::Full),
            (None, None) => {}
        }
        let lost = Arc::new(Lost { by: Mutex::new(None), alarm: Arc::clone(alarm) });
        others.push(Occupied { number, epoch, lost: Arc::clone(&lost) });
        Ok(Seat { seats: Arc::clone(self), key, number, lost })
    }
}

impl Seat {
    /// Who took the seat, if somebody did.
    pub(super) fn taken_by(&self) -> Option<Taker> {
        self.lost.by.lock().clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(others) = taken.seats.get_mut(&self.key) {
            others.retain(|other| other.number != self.number);
            if others.is_empty() {
                taken.seats.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SeatKey {
        SeatKey::new("Telemetry", "$Default", PartitionId(0))
    }

    fn take(seats: &Arc<Seats>, epoch: Option<i64>) -> Result<Seat, NoSeat> {
        seats.take(key(), epoch, &Arc::new(Notify::new()))
    }

    #[test]
    fn a_receiver_with_an_epoch_is_alone() {
        let seats = Arc::new(Seats::default());
        let without = take(&seats, None).unwrap();
        let first = take(&seats, Some(1)).unwrap();
        assert_eq!(without.taken_by(), Some(Taker { epoch: 1 }));
        assert_eq!(take(&seats, None).unwrap_err(), NoSeat::HigherEpoch { theirs: 1, ours: None });
        assert_eq!(take(&seats, Some(0)).unwrap_err(), NoSeat::HigherEpoch { theirs: 1, ours: Some(0) });
        let equal = take(&seats, Some(1)).unwrap();
        assert_eq!(first.taken_by(), Some(Taker { epoch: 1 }), "processors all come with the same epoch");
        assert_eq!(equal.taken_by(), None);
        drop(first);
        assert_eq!(take(&seats, None).unwrap_err(), NoSeat::HigherEpoch { theirs: 1, ours: None });
        drop(equal);
        assert!(take(&seats, None).is_ok());
    }

    #[test]
    fn five_receive_without_an_epoch_and_seats_become_free() {
        let seats = Arc::new(Seats::default());
        let mut five: Vec<_> = (0..5).map(|_| take(&seats, None).unwrap()).collect();
        assert_eq!(take(&seats, None).unwrap_err(), NoSeat::Full);
        five.pop();
        five.push(take(&seats, None).unwrap());
        drop(five);
        assert!(seats.taken.lock().seats.is_empty(), "nothing is left behind");
    }

    #[test]
    fn groups_and_hubs_are_told_apart_without_regard_to_case() {
        let seats = Arc::new(Seats::default());
        let one =
            seats.take(SeatKey::new("hub", "$default", PartitionId(0)), Some(1), &Arc::default()).unwrap();
        let _other =
            seats.take(SeatKey::new("HUB", "$Default", PartitionId(0)), Some(2), &Arc::default()).unwrap();
        assert!(one.taken_by().is_some());
        assert!(seats.take(SeatKey::new("hub", "$default", PartitionId(1)), None, &Arc::default()).is_ok());
    }
}
