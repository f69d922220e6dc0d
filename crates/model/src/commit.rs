//! A commit: everything that becomes true together.

use bytes::Bytes;

use crate::attempt::EventAttempts;
use crate::checkpoint::{Advance, Epoch, Lane};
use crate::clock::Timestamp;
use crate::dead_letter::DeadLetter;
use crate::document::{CollectionName, DocumentId, ETag, Precondition};
use crate::health::HealthRecord;
use crate::outcome::OutcomeCounts;
use crate::parking::{ParkedEvent, Reparked, Unparked, UnparkedEnd};
use crate::position::{Incarnation, PartitionId, SequenceNumber};

/// What one transaction writes: the progress of any number of lanes, and the newest state of every document that
/// their events changed.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The lanes that progress; each at most once.
    pub lanes: Vec<LaneCommit>,
    /// The documents that change; each at most once.
    pub documents: Vec<DocumentWrite>,
    /// How the functions fared; added to the window that their circuits look at.
    pub health: Vec<HealthRecord>,
    /// When the commit was made; becomes the documents' and checkpoints' time of change.
    pub at: Timestamp,
}

/// The progress of one lane.
#[derive(Clone, Debug)]
pub struct LaneCommit {
    /// The lane.
    pub lane: Lane,
    /// The owner's term: the commit is fenced if it is not the stored one.
    pub epoch: Epoch,
    /// The life of the hub: the commit is refused if the stored checkpoint has another.
    pub incarnation: Incarnation,
    /// The step of the checkpoint. `from` equals `to` when only attempts are recorded.
    pub advance: Advance,
    /// How the events of the step ended; their total is its length.
    pub counts: OutcomeCounts,
    /// The events of the step that are set aside.
    pub dead_letters: Vec<DeadLetter>,
    /// The failed attempts at events that stay unresolved; replaces what was stored for the event. What is stored
    /// for events before `advance.to` is removed.
    pub attempts: Vec<EventAttempts>,
    /// The events of the step that are parked.
    pub parked: Vec<ParkedEvent>,
    /// Events parked by earlier commits that are resolved. They move from the checkpoint's count of parked
    /// events to that of their outcome.
    pub unparked: Vec<Unparked>,
    /// Parked events that were tried once more and stay parked.
    pub reparked: Vec<Reparked>,
}

/// The new state of one document.
#[derive(Clone, Debug)]
pub struct DocumentWrite {
    /// The collection.
    pub collection: CollectionName,
    /// The document.
    pub id: DocumentId,
    /// Its whole new state, JSON text.
    pub body: Bytes,
    /// The partition of the last event in it.
    pub partition: PartitionId,
    /// The sequence number of the last event in it.
    pub sequence_number: SequenceNumber,
    /// What it must be like before.
    pub precondition: Precondition,
}

/// What a commit that went through says back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitReceipt {
    /// The version that every document of the commit has now.
    pub etag: ETag,
}

/// What a store can promise about a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitGuarantee {
    /// All of a commit or nothing of it: the effect of each event happens exactly once.
    OneTransaction,
    /// Dead letters, then documents guarded by (partition, sequence number), then checkpoints: at least once, with
    /// idempotent effects.
    IdempotentSteps,
}

impl Commit {
    /// Checks what can be seen without the store: each lane comes once and moves forward, its counts cover the whole
    /// step, its dead letters are events of that step and its attempts are at events after it. The error says what is
    /// wrong. Every store refuses a commit that does not pass.
    pub fn check_lanes(&self) -> Result<(), String> {
        for (index, step) in self.lanes.iter().enumerate() {
            let lane = &step.lane;
            if self.lanes[..index].iter().any(|other| other.lane == *lane) {
                return Err(format!("the commit names the lane {lane} twice"));
            }
            step.check().map_err(|problem| format!("the commit of the lane {lane} {problem}"))?;
        }
        Ok(())
    }
}

impl LaneCommit {
    fn check(&self) -> Result<(), String> {
        let Advance { from, to } = self.advance;
        if to < from {
            return Err(format!("moves the checkpoint back, from {from} to {to}"));
        }
        let (counted, length) = (self.counts.total(), to.distance_from(from));
        if counted != length {
            return Err(format!("counts {counted} outcomes for the {length} events from {from} to {to}"));
        }
        if self.counts.discarded != 0 {
            return Err("discards events: only a person can, of dead letters".to_owned());
        }
        if self.counts.parked != self.parked.len() as u64 {
            let (counted, given) = (self.counts.parked, self.parked.len());
            return Err(format!("counts {counted} parked events and holds {given}"));
        }
        for parked in &self.parked {
            let number = parked.event.sequence_number;
            if parked.lane != self.lane {
                return Err(format!("parks an event of the lane {}", parked.lane));
            }
            if parked.redrive_of.is_some() {
                return Err(format!("parks event {number} as a redrive"));
            }
            if number < from || number >= to {
                return Err(format!("parks event {number}, which is not from {from} to {to}"));
            }
        }
        for unparked in &self.unparked {
            if let UnparkedEnd::DeadLettered(letter) = &unparked.end
                && (letter.lane != self.lane || letter.event.sequence_number != unparked.sequence_number)
            {
                return Err(format!("sets another event aside for event {}", unparked.sequence_number));
            }
        }
        let mut changed: Vec<_> = self
            .unparked
            .iter()
            .map(|unparked| unparked.sequence_number)
            .chain(self.reparked.iter().map(|reparked| reparked.sequence_number))
            .collect();
        changed.sort_unstable();
        if let Some(twice) = changed.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("changes the parked event {} twice", twice[0]));
        }
        if let Some(number) = changed.iter().find(|number| **number >= to) {
            return Err(format!("changes the parked event {number}, which is not before {to}"));
        }
        if self.counts.dead_lettered != self.dead_letters.len() as u64 {
            let (counted, given) = (self.counts.dead_lettered, self.dead_letters.len());
            return Err(format!("counts {counted} dead letters and holds {given}"));
        }
        for letter in &self.dead_letters {
            let number = letter.event.sequence_number;
            if letter.lane != self.lane {
                return Err(format!("holds a dead letter of the lane {}", letter.lane));
            }
            if number < from || number >= to {
                return Err(format!("holds the dead letter {number}, which is not from {from} to {to}"));
            }
        }
        match self.attempts.iter().find(|event| event.sequence_number < to) {
            Some(event) => {
                Err(format!("holds attempts at event {}, which it resolves", event.sequence_number))
            }
            None => Ok(()),
        }
    }
}
