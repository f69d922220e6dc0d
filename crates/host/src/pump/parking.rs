//! What is parked in a lane, as its pump sees it: like all that it decided, ahead of the store.
//!
//! Only counts, keys and turns are here; the events are in the store, and are read when their turn has come.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::Event;
use tidegate_model::parking::{OrderKey, ParkedVersion, ParkingPlace, StoredParked, Turn};
use tidegate_model::position::SequenceNumber;

use crate::settings::{Order, ParkingLimits};

/// A queue of parked events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueId {
    /// The events of a key.
    Key(OrderKey),
    /// One event that keeps no order.
    Alone(SequenceNumber),
}

impl QueueId {
    /// The queue that an event is parked in. Where no order is kept, events of a key that failed still wait for each
    /// other.
    pub(super) fn of(event: &Event) -> Self {
        event.data.partition_key.clone().map_or(Self::Alone(event.sequence_number), Self::Key)
    }
}

/// What is known of a queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// How many events it has.
    pub(super) queued: u64,
    /// When its head is tried.
    turn: Turn,
    /// Its head is in the store, as it is here, from this ticket on.
    ticket: u64,
    /// The last of its events is in the store from this ticket on.
    last_ticket: u64,
    /// When its head becomes too old to wait.
    expires: Timestamp,
    /// Whether its head failed before, and is tried alone.
    pub(super) is_tried: bool,
    is_redrive: bool,
}

impl Queue {
    /// When there is something to do about its head.
    fn due(&self) -> Timestamp {
        match self.turn {
            Turn::At(at) => at.min(self.expires),
            Turn::Held { .. } => self.expires,
        }
    }

    /// Whether a lane in partition order waits behind it. The redrive of a dead letter lost its place in the order long ago;
    /// of what is parked behind one, only the head is known, so it is taken to have its place still.
    fn is_in_the_way(&self) -> bool {
        !self.is_redrive || self.queued > 1
    }
}

/// Room in a parking place.
pub(super) struct Room {
    events: u64,
    bytes: u64,
}

impl Room {
    /// Takes room for an event of this size, if there is enough.
    pub(super) fn take(&mut self, size: usize) -> bool {
        let size = size as u64;
        let fits = self.events > 0 && size <= self.bytes;
        if fits {
            self.events -= 1;
            self.bytes -= size;
        }
        fits
    }
}

/// What is parked in a lane.
pub(super) struct Parking {
    order: Order,
    limits: ParkingLimits,
    queues: HashMap<QueueId, Queue>,
    due: BTreeSet<(Timestamp, QueueId)>,
    events: u64,
    bytes: u64,
    held: u64,
    /// How many queues a lane in partition order waits behind.
    in_the_way: u64,
    /// The newest version of any parked event when this was read.
    version: ParkedVersion,
}

impl Parking {
    /// What the store says is parked.
    pub(super) fn new(place: ParkingPlace, order: Order, limits: ParkingLimits) -> Self {
        let mut parking = Self {
            order,
            limits,
            queues: HashMap::new(),
            due: BTreeSet::new(),
            events: place.events,
            bytes: place.bytes,
            held: 0,
            in_the_way: 0,
            version: place.version,
        };
        for head in place.heads {
            let id = head.key.map_or(QueueId::Alone(head.sequence_number), QueueId::Key);
            let queue = Queue {
                queued: head.queued,
                turn: head.turn,
                ticket: 0,
                last_ticket: 0,
                expires: head.enqueued_at.plus(limits.max_age),
                // Not known before it is read.
                is_tried: false,
                is_redrive: head.is_redrive,
            };
            parking.put(id, queue);
        }
        parking
    }

    /// How many events are parked.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// How many queues wait for a person or the circuit.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Whether any event of the log may have to wait behind what is parked.
    pub(super) fn makes_events_wait(&self) -> bool {
        self.order == Order::Key && !self.queues.is_empty()
    }

    /// How many queues events of the log may have to wait behind.
    pub(super) fn queues_in_the_way(&self) -> usize {
        if self.order == Order::Key { self.queues.len() } else { 0 }
    }

    /// Whether events of this key are parked.
    pub(super) fn has_key(&self, key: &OrderKey) -> bool {
        self.queues.contains_key(&QueueId::Key(key.clone()))
    }

    /// The queue that an event of the log belongs behind, if it must wait.
    pub(super) fn queue_of(&self, event: &Event) -> Option<QueueId> {
        if !self.makes_events_wait() {
            return None;
        }
        let id = QueueId::Key(event.data.partition_key.clone()?);
        self.queues.contains_key(&id).then_some(id)
    }

    /// Whether the lane as a whole waits behind something that is parked.
    pub(super) fn stops_the_lane(&self) -> bool {
        self.order == Order::Partition && self.in_the_way > 0
    }

    /// Whether there is room for an event of this size.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let bytes = self.bytes.saturating_add(size as u64);
        self.events < self.limits.max_events && (bytes <= self.limits.max_bytes || self.events == 0)
    }

    /// The room that is left.
    pub(super) fn room(&self) -> Room {
        Room {
            events: self.limits.max_events.saturating_sub(self.events),
            bytes: self.limits.max_bytes.saturating_sub(self.bytes),
        }
    }

    /// What happens when there is none.
    pub(super) fn limits(&self) -> &ParkingLimits {
        &self.limits
    }

    /// Notes that an event of the log is parked by the decided batch with this ticket.
    pub(super) fn park(&mut self, event: &Event, turn: Turn, is_tried: bool, ticket: u64) {
        self.events += 1;
        self.bytes = self.bytes.saturating_add(event.data.size() as u64);
        let id = QueueId::of(event);
        if let Some(mut queue) = self.remove(&id) {
            queue.queued += 1;
            queue.last_ticket = ticket;
            self.put(id, queue);
            return;
        }
        let expires = event.enqueued_at.plus(self.limits.max_age);
        let queue =
            Queue { queued: 1, turn, ticket, last_ticket: ticket, expires, is_tried, is_redrive: false };
        self.put(id, queue);
    }

    /// Whether there is a head whose turn had come at that time.
    pub(super) fn is_due_by(&self, at: Timestamp) -> bool {
        self.due.first().is_some_and(|(turn, _)| *turn <= at)
    }

    /// At most `limit` queues whose head has its turn at `now` and is in the store, the earliest first.
    pub(super) fn due(&self, now: Timestamp, committed: u64, limit: usize) -> Vec<QueueId> {
        self.due
            .iter()
            .take_while(|(at, _)| *at <= now)
            .filter(|(_, id)| self.queues.get(id).is_some_and(|queue| queue.ticket <= committed))
            .map(|(_, id)| id.clone())
            .take(limit)
            .collect()
    }

    /// How long it is until the next turn of a head; zero when one only waits to be committed.
    pub(super) fn next_turn(&self, now: Timestamp) -> Option<Duration> {
        self.due.first().map(|(at, _)| at.since(now))
    }

    /// The queue with the oldest head that is in the store, of those that `may_be_tried`, whether its turn has come or not; and
    /// about when that head was enqueued.
    pub(super) fn oldest(
        &self,
        committed: u64,
        may_be_tried: impl Fn(&QueueId) -> bool,
    ) -> Option<(QueueId, Timestamp)> {
        let in_store = self.queues.iter().filter(|(id, queue)| queue.ticket <= committed && may_be_tried(id));
        let (id, queue) = in_store.min_by_key(|(id, queue)| (queue.expires, *id))?;
        Some((id.clone(), queue.expires.minus(self.limits.max_age)))
    }

    /// About when the head of a queue was enqueued, if it is in the store.
    pub(super) fn enqueued_at(&self, id: &QueueId, committed: u64) -> Option<Timestamp> {
        let queue = self.queues.get(id).filter(|queue| queue.ticket <= committed)?;
        Some(queue.expires.minus(self.limits.max_age))
    }

    /// The held queue with the oldest head that is in the store, of those that `may_be_tried`.
    pub(super) fn oldest_held(
        &self,
        committed: u64,
        may_be_tried: impl Fn(&QueueId) -> bool,
    ) -> Option<QueueId> {
        let held = self.queues.iter().filter(|(_, queue)| matches!(queue.turn, Turn::Held { .. }));
        let in_store = held.filter(|(id, queue)| queue.ticket <= committed && may_be_tried(id));
        in_store.min_by_key(|(id, queue)| (queue.expires, *id)).map(|(id, _)| id.clone())
    }

    /// Whether a queue waits for a person or the circuit.
    pub(super) fn is_held(&self, id: &QueueId) -> bool {
        self.queues.get(id).is_some_and(|queue| matches!(queue.turn, Turn::Held { .. }))
    }

    /// Gives every held queue that `may_be_tried` its turn at `now`.
    pub(super) fn release_held(&mut self, now: Timestamp, may_be_tried: impl Fn(&QueueId) -> bool) {
        let held = self.queues.iter().filter(|(_, queue)| matches!(queue.turn, Turn::Held { .. }));
        let held = held.map(|(id, _)| id).filter(|id| may_be_tried(id));
        for id in held.cloned().collect::<Vec<_>>() {
            if let Some(queue) = self.remove(&id) {
                self.put(id, Queue { turn: Turn::At(now), ..queue });
            }
        }
    }

    /// What is known of a queue.
    pub(super) fn queue(&self, id: &QueueId) -> Option<&Queue> {
        self.queues.get(id)
    }

    /// Notes that events at the front of a queue, which take so many bytes, are resolved by the decided batch with this
    /// ticket. What follows has its turn at `now`.
    pub(super) fn unpark(&mut self, id: &QueueId, events: u64, bytes: u64, now: Timestamp, ticket: u64) {
        let Some(mut queue) = self.remove(id) else { return };
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
        queue.queued = queue.queued.saturating_sub(events);
        if queue.queued > 0 {
            // When the next head becomes too old is seen when it is read.
            let expires = now.plus(self.limits.max_age);
            self.put(
                id.clone(),
                Queue { turn: Turn::At(now), ticket, expires, is_tried: false, is_redrive: false, ..queue },
            );
        }
    }

    /// Notes that the head of a queue was tried and stays.
    pub(super) fn repark(&mut self, id: &QueueId, turn: Turn, ticket: u64) {
        if let Some(queue) = self.remove(id) {
            self.put(id.clone(), Queue { turn, ticket, is_tried: true, ..queue });
        }
    }

    /// Whether what was read of a queue may have joined it behind our back: redriven dead letters come from outside, and go
    /// before what was counted here.
    pub(super) fn may_have_joined(&self, stored: &StoredParked) -> bool {
        stored.parked.redrive_of.is_some() && stored.version > self.version
    }

    /// Notes that nothing of a queue was found in the store: its events are not committed yet. False when they all
    /// should be: somebody took them.
    pub(super) fn not_found(&mut self, id: &QueueId, committed: u64) -> bool {
        match self.queues.get_mut(id) {
            Some(queue) if queue.last_ticket > committed => {
                queue.ticket = queue.last_ticket;
                true
            }
            _ => false,
        }
    }

    fn put(&mut self, id: QueueId, queue: Queue) {
        self.held += u64::from(matches!(queue.turn, Turn::Held { .. }));
        self.in_the_way += u64::from(queue.is_in_the_way());
        self.due.insert((queue.due(), id.clone()));
        self.queues.insert(id, queue);
    }

    fn remove(&mut self, id: &QueueId) -> Option<Queue> {
        let queue = self.queues.remove(id)?;
        self.held -= u64::from(matches!(queue.turn, Turn::Held { .. }));
        self.in_the_way -= u64::from(queue.is_in_the_way());
        self.due.remove(&(queue.due(), id.clone()));
        Some(queue)
    }
}
