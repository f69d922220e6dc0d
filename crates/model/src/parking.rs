//! Parked events: events that left the log's order and wait, durably, in the store.
//!
//! An event is parked when it cannot be resolved yet and the lane goes on without it: it failed and is to be tried again
//! while others flow, it comes after such an event of its key, it is held for a person, or it was a dead letter and is
//! redriven. The checkpoint has passed it; its *parking place* is what remembers it.
//!
//! The parked events of a key are a queue in the order of their sequence numbers. Only its first event, the *head*, is
//! ever given to the function; the others wait behind it. An event without key is a queue of its own.

use bytestring::ByteString;

use crate::attempt::{Attempt, FailureClass, FailureKind};
use crate::checkpoint::Lane;
use crate::clock::Timestamp;
use crate::dead_letter::{DeadLetter, DeadLetterId, StoredDeadLetter};
use crate::event::Event;
use crate::outcome::Outcome;
use crate::position::{Incarnation, SequenceNumber};

/// What an event's order is kept by: its partition key. Events without one have no order to keep.
pub type OrderKey = ByteString;

/// A parked event, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct ParkedEvent {
    /// The lane it left.
    pub lane: Lane,
    /// The life of the hub it came from.
    pub incarnation: Incarnation,
    /// The event: as it was read, or as a person edited it. Its sequence number is its name within the lane.
    pub event: Event,
    /// When it is to be tried, once it is the head of its key.
    pub turn: Turn,
    /// Every failed attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// The dead letter that it is the redrive of. Resolving it closes that dead letter.
    pub redrive_of: Option<DeadLetterId>,
}

impl ParkedEvent {
    /// The key whose order it waits in.
    pub fn key(&self) -> Option<&OrderKey> {
        self.event.data.partition_key.as_ref()
    }

    /// A dead letter on its way to the function again, from `at` on. Its attempts are counted anew.
    pub fn redrive(dead_letter: &StoredDeadLetter, at: Timestamp) -> Self {
        Self {
            lane: dead_letter.letter.lane.clone(),
            incarnation: dead_letter.letter.incarnation,
            event: dead_letter.event_to_redrive(),
            turn: Turn::At(at),
            attempts: Vec::new(),
            parked_at: at,
            redrive_of: Some(dead_letter.id),
        }
    }

    /// What it is as a dead letter when a person sets it aside at `at`. The last attempt says why; which version of the
    /// function made it is not known any more.
    pub fn set_aside(self, at: Timestamp) -> DeadLetter {
        let last = self.attempts.last();
        let class = match last.map(|attempt| attempt.kind) {
            Some(FailureKind::Rejected) => FailureClass::Permanent,
            _ => FailureClass::Exhausted,
        };
        let reason = match (last, self.turn) {
            (Some(attempt), _) => attempt.error.clone(),
            (None, Turn::Held { reason }) => reason,
            (None, Turn::At(_)) => "set aside by hand before it was tried".to_owned(),
        };
        DeadLetter {
            lane: self.lane,
            incarnation: self.incarnation,
            event: self.event,
            function_version: String::new(),
            class,
            reason,
            attempts: self.attempts,
            dead_lettered_at: at,
            document: None,
        }
    }

    /// What it counts for against the limits of a parking place, in bytes.
    pub fn size(&self) -> u64 {
        self.event.data.size() as u64
    }
}

/// When the head of a key is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Not before this time. Events that wait behind another have the time they were parked.
    At(Timestamp),
    /// When a person or the circuit says so; why, for a person.
    Held {
        /// What its last attempt said.
        reason: String,
    },
}

/// The version of a parked event: each change gives it a new one, greater than all before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkedVersion(pub u64);

/// A parked event as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredParked {
    /// Its version.
    pub version: ParkedVersion,
    /// What is parked.
    pub parked: ParkedEvent,
}

/// The head of a key, without the event: what is needed to know when there is something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedHead {
    /// The event.
    pub sequence_number: SequenceNumber,
    /// Its key; `None` is a queue of one.
    pub key: Option<OrderKey>,
    /// When it is tried.
    pub turn: Turn,
    /// How many events of the key are parked, the head included.
    pub queued: u64,
    /// When the log took the head.
    pub enqueued_at: Timestamp,
    /// Whether the head is the redrive of a dead letter.
    pub is_redrive: bool,
}

/// What is parked in one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkingPlace {
    /// The head of each key and each event without key, ordered by sequence number.
    pub heads: Vec<ParkedHead>,
    /// How many events are parked.
    pub events: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// When the event that is parked longest was parked.
    pub oldest: Option<Timestamp>,
    /// The newest version that any parked event of the store had been given; zero before the first one. What is parked or
    /// changed after this was read has a greater one.
    pub version: ParkedVersion,
}

/// A parked event that is resolved. The version must be the stored one.
#[derive(Clone, Debug, PartialEq)]
pub struct Unparked {
    /// The event.
    pub sequence_number: SequenceNumber,
    /// Its version.
    pub version: ParkedVersion,
    /// How it ended.
    pub end: UnparkedEnd,
}

/// How a parked event ended.
#[derive(Clone, Debug, PartialEq)]
pub enum UnparkedEnd {
    /// Its effect is in the documents of the same commit.
    Applied,
    /// The function asked for nothing.
    Filtered,
    /// It is set aside. If it was a redrive, its dead letter takes this new story and keeps its number.
    DeadLettered(Box<DeadLetter>),
}

impl UnparkedEnd {
    /// The outcome to count.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Applied => Outcome::Applied,
            Self::Filtered => Outcome::Filtered,
            Self::DeadLettered(_) => Outcome::DeadLettered,
        }
    }
}

/// A parked event that stays parked, after another attempt. The version must be the stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reparked {
    /// The event.
    pub sequence_number: SequenceNumber,
    /// Its version.
    pub version: ParkedVersion,
    /// When it is tried again.
    pub turn: Turn,
    /// Every failed attempt, oldest first.
    pub attempts: Vec<Attempt>,
}
