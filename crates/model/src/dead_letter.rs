//! Dead letters: the events nobody could process, with everything that is known about them.

use bytes::Bytes;

use crate::attempt::{Attempt, FailureClass};
use crate::checkpoint::Lane;
use crate::clock::Timestamp;
use crate::document::{CollectionName, DocumentId};
use crate::event::Event;
use crate::position::Incarnation;

/// The number of a dead letter, given by the store, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An event set aside, whole, with the story of its failure.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The function that could not process it, and the hub and partition it came from.
    pub lane: Lane,
    /// The life of the hub it came from.
    pub incarnation: Incarnation,
    /// The event as it was read, byte for byte.
    pub event: Event,
    /// The version of the function that failed.
    pub function_version: String,
    /// Whether it can never be processed or its attempts ran out.
    pub class: FailureClass,
    /// Why, for a person.
    pub reason: String,
    /// Every failed attempt, oldest first. A rejected event has one.
    pub attempts: Vec<Attempt>,
    /// When it was set aside.
    pub dead_lettered_at: Timestamp,
    /// The document it was meant for as it was then, where the function could name one.
    pub document: Option<DocumentSnapshot>,
}

/// A document at the time an event for it was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSnapshot {
    /// Its collection.
    pub collection: CollectionName,
    /// Its id.
    pub id: DocumentId,
    /// Its JSON text; `None` when there was no such document yet.
    pub body: Option<Bytes>,
}

/// A dead letter as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// What was set aside.
    pub letter: DeadLetter,
}
