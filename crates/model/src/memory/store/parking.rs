//! The parked events, in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use crate::checkpoint::{FunctionName, Lane};
use crate::clock::Timestamp;
use crate::dead_letter::Acted;
use crate::parking::{
    OrderKey, ParkedEvent, ParkedHead, ParkedVersion, ParkingPlace, StoredParked, Turn, UnparkedEnd,
};
use crate::ports::{Parking, StoreError};
use crate::position::SequenceNumber;
use crate::trail::{Act, NewTrailEntry, action};

use super::{MemoryStore, State};

/// The parking places of all lanes.
#[derive(Default)]
pub(super) struct ParkingPlaces {
    lanes: BTreeMap<Lane, LanePlace>,
    last_version: u64,
    /// The newest version when somebody acted last.
    acted_at: u64,
}

/// What is parked in one lane: the events, and the queues of the keys.
#[derive(Default)]
struct LanePlace {
    events: BTreeMap<SequenceNumber, StoredParked>,
    queues: BTreeMap<OrderKey, BTreeSet<SequenceNumber>>,
}

impl ParkingPlaces {
    pub(super) fn get(&self, lane: &Lane, event: SequenceNumber) -> Option<&StoredParked> {
        self.lanes.get(lane)?.events.get(&event)
    }

    /// Notes that somebody acts.
    pub(super) fn is_acted_on(&mut self) {
        self.last_version += 1;
        self.acted_at = self.last_version;
    }

    /// Parks an event.
    pub(super) fn park(&mut self, parked: ParkedEvent) {
        self.last_version += 1;
        let version = ParkedVersion(self.last_version);
        let place = self.lanes.entry(parked.lane.clone()).or_default();
        let number = parked.event.sequence_number;
        if let Some(key) = parked.key() {
            place.queues.entry(key.clone()).or_default().insert(number);
        }
        place.events.insert(number, StoredParked { version, parked });
    }

    /// Takes an event out.
    pub(super) fn unpark(&mut self, lane: &Lane, event: SequenceNumber) -> Option<ParkedEvent> {
        let place = self.lanes.get_mut(lane)?;
        let StoredParked { parked, .. } = place.events.remove(&event)?;
        if let Some(key) = parked.key()
            && let Some(queue) = place.queues.get_mut(key)
        {
            queue.remove(&event);
            if queue.is_empty() {
                place.queues.remove(key);
            }
        }
        Some(parked)
    }

    /// Changes an event, which gives it a new version. False if it is not parked.
    pub(super) fn change(
        &mut self,
        lane: &Lane,
        event: SequenceNumber,
        change: impl FnOnce(&mut ParkedEvent),
    ) -> bool {
        let place = self.lanes.get_mut(lane);
        let Some(stored) = place.and_then(|place| place.events.get_mut(&event)) else {
            return false;
        };
        change(&mut stored.parked);
        self.last_version += 1;
        stored.version = ParkedVersion(self.last_version);
        true
    }

    /// Takes out the events of a lane from this one on.
    pub(super) fn remove_from(&mut self, lane: &Lane, from: SequenceNumber) {
        let Some(place) = self.lanes.get(lane) else {
            return;
        };
        let removed: Vec<_> = place.events.range(from..).map(|(number, _)| *number).collect();
        for number in removed {
            self.unpark(lane, number);
        }
    }

    fn all(&self) -> impl Iterator<Item = (&Lane, &StoredParked)> {
        self.lanes.iter().flat_map(|(lane, place)| place.events.values().map(move |stored| (lane, stored)))
    }
}

impl LanePlace {
    fn describe(&self, version: ParkedVersion) -> ParkingPlace {
        let head = |number: &SequenceNumber, queued: usize| {
            let parked = &self.events[number].parked;
            ParkedHead {
                sequence_number: *number,
                key: parked.key().cloned(),
                turn: parked.turn.clone(),
                queued: queued as u64,
                is_redrive: parked.redrive_of.is_some(),
                enqueued_at: parked.event.enqueued_at,
            }
        };
        let of_keys = self.queues.values().filter_map(|queue| Some(head(queue.first()?, queue.len())));
        let without_key = self.events.iter().filter(|(_, stored)| stored.parked.key().is_none());
        let mut heads: Vec<_> = of_keys.chain(without_key.map(|(number, _)| head(number, 1))).collect();
        heads.sort_by_key(|head| head.sequence_number);
        ParkingPlace {
            heads,
            events: self.events.len() as u64,
            bytes: self.events.values().map(|stored| stored.parked.size()).sum(),
            oldest: self.events.values().map(|stored| stored.parked.parked_at).min(),
            version,
        }
    }
}

impl State {
    /// Takes a parked event out, counts how it ended, and closes the dead letter that it was the redrive of.
    pub(super) fn end_parked(
        &mut self,
        lane: &Lane,
        event: SequenceNumber,
        end: &UnparkedEnd,
        at: Timestamp,
    ) {
        let Some(parked) = self.parked.unpark(lane, event) else {
            return;
        };
        self.recount(lane, event, |counts| {
            counts.parked -= 1;
            counts.add(end.outcome());
        });
        let redriven = parked.redrive_of.and_then(|id| self.dead_letters.get_mut(&id));
        match (redriven, end) {
            (Some(dead_letter), UnparkedEnd::DeadLettered(story)) => {
                dead_letter.come_back((**story).clone(), at);
            }
            (None, UnparkedEnd::DeadLettered(letter)) => self.open_dead_letter((**letter).clone(), at),
            (Some(dead_letter), UnparkedEnd::Applied | UnparkedEnd::Filtered) => dead_letter.settle(at),
            (None, UnparkedEnd::Applied | UnparkedEnd::Filtered) => {}
        }
    }
}

#[async_trait]
impl Parking for MemoryStore {
    async fn parking_place(&self, lane: &Lane) -> Result<ParkingPlace, StoreError> {
        self.read(|state| {
            let version = ParkedVersion(state.parked.last_version);
            match state.parked.lanes.get(lane) {
                Some(place) => place.describe(version),
                None => ParkingPlace { version, ..ParkingPlace::default() },
            }
        })
    }

    async fn parked_version(&self) -> Result<ParkedVersion, StoreError> {
        self.read(|state| ParkedVersion(state.parked.acted_at))
    }

    async fn parked(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
    ) -> Result<Option<StoredParked>, StoreError> {
        self.read(|state| state.parked.get(lane, sequence_number).cloned())
    }

    async fn parked_of_key(
        &self,
        lane: &Lane,
        key: &OrderKey,
        from: SequenceNumber,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        self.read(|state| {
            let Some(place) = state.parked.lanes.get(lane) else {
                return Vec::new();
            };
            let mut bytes = 0;
            let mut is_first = true;
            let queue = place.queues.get(key).into_iter().flatten().filter(|number| **number >= from);
            queue
                .take(limit)
                .map(|number| &place.events[number])
                .take_while(|stored| {
                    bytes += stored.parked.size();
                    std::mem::take(&mut is_first) || bytes <= max_bytes as u64
                })
                .cloned()
                .collect()
        })
    }

    async fn list_parked(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        self.read(|state| {
            let place = state.parked.lanes.get(lane);
            let events = place.into_iter().flat_map(|place| place.events.range(from..));
            events.take(limit).map(|(_, stored)| stored.clone()).collect()
        })
    }

    async fn try_parked_now(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        self.act(|state| {
            let is_parked =
                state.parked.change(lane, sequence_number, |parked| parked.turn = Turn::At(act.at));
            if !is_parked {
                return Ok(Acted::NotFound);
            }
            state.parked.is_acted_on();
            state.write_trail(about(lane, sequence_number, action::TRY_NOW, act));
            Ok(Acted::Done)
        })
    }

    async fn release_held(&self, function: &FunctionName, at: Timestamp) -> Result<u64, StoreError> {
        self.act(|state| {
            let is_meant = |(lane, stored): &(&Lane, &StoredParked)| {
                lane.function == *function && matches!(stored.parked.turn, Turn::Held { .. })
            };
            let held: Vec<_> = state
                .parked
                .all()
                .filter(is_meant)
                .map(|(lane, stored)| (lane.clone(), stored.parked.event.sequence_number))
                .collect();
            for (lane, number) in &held {
                state.parked.change(lane, *number, |parked| parked.turn = Turn::At(at));
            }
            if !held.is_empty() {
                state.parked.is_acted_on();
            }
            Ok(held.len() as u64)
        })
    }

    async fn set_aside(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        self.act(|state| {
            let Some(parked) = state.parked.unpark(lane, sequence_number) else {
                return Ok(Acted::NotFound);
            };
            state.recount(lane, sequence_number, |counts| {
                counts.parked -= 1;
                counts.dead_lettered += 1;
            });
            match parked.redrive_of.and_then(|id| state.dead_letters.get_mut(&id)) {
                Some(dead_letter) => {
                    let was_tried = !parked.attempts.is_empty();
                    dead_letter.take_back(was_tried.then(|| parked.set_aside(act.at)), act.at);
                }
                None => state.open_dead_letter(parked.set_aside(act.at), act.at),
            }
            state.parked.is_acted_on();
            state.write_trail(about(lane, sequence_number, action::SET_ASIDE, act));
            Ok(Acted::Done)
        })
    }

    async fn count_parked(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.read(|state| {
            let numbers =
                state.parked.all().map(|(lane, stored)| (lane, stored.parked.event.sequence_number));
            state.count_by_lane(numbers)
        })
    }
}

fn about(lane: &Lane, event: SequenceNumber, action: &'static str, act: &Act) -> NewTrailEntry {
    NewTrailEntry {
        action,
        subject: lane.to_string(),
        act: act.clone(),
        detail: serde_json::json!({ "sequence_number": event }),
    }
}
