//! Where a pump is: what it has read and not decided, and the memory that takes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tidegate_model::attempt::EventAttempts;
use tidegate_model::dead_letter::DeadLetter;
use tidegate_model::event::Event;
use tidegate_model::parking::UnparkedEnd;
use tidegate_model::position::SequenceNumber;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::gate::{FirstEvent, GateChanges};
use super::parking::{Parking, QueueId};
use crate::workspace::{DecidedBatch, Generation, Write};

/// Memory an event takes besides its bytes, roughly.
pub(super) const EVENT_OVERHEAD: usize = 144;

/// Where a pump is.
pub(super) struct Work {
    pub(super) generation: Generation,
    /// The number that the partition's next event will get.
    pub(super) tail: watch::Receiver<SequenceNumber>,
    /// The first event that is not decided.
    pub(super) position: SequenceNumber,
    /// The first event that is not read.
    pub(super) read_from: SequenceNumber,
    /// Events that are read and not decided.
    pub(super) buffer: VecDeque<Event>,
    /// The memory of the events in the buffer.
    pub(super) memory: Option<OwnedSemaphorePermit>,
    /// When the oldest event in the buffer was read.
    pub(super) oldest_since: Duration,
    /// Events before this one go alone: a batch they were in failed as a whole.
    pub(super) isolate_until: SequenceNumber,
    /// The failed attempts at the event at `position`, if there were any.
    pub(super) attempts: Option<EventAttempts>,
    /// What is parked in the lane.
    pub(super) parking: Parking,
    /// Wakes when the gate changed since the last step.
    pub(super) gate: GateChanges,
    /// Whether what is tried now is the probe of a circuit.
    pub(super) is_probe: bool,
    /// The queue at whose head the program ended, if that is yet to be recorded.
    pub(super) interrupted: Option<QueueId>,
    /// Whether a parked event was tried since the lane was loaded.
    pub(super) tried_parked: bool,
    /// Whether parked events left the parking place when some were tried last.
    pub(super) drains: bool,
    /// How many events the gate lets through at once.
    pub(super) allowed: usize,
    /// What became of the first event that was given to the function last.
    pub(super) first_event: FirstEvent,
    /// How many parked events are tried together at most, for now.
    pub(super) parked_limit: usize,
    /// How many events are given to the function at most, for now.
    pub(super) given_limit: usize,
    /// How many batches were decided.
    pub(super) tickets: u64,
    /// The last of them that is in the queue of what is to be committed.
    pub(super) submitted: u64,
    /// How many events the last batch had.
    pub(super) last_batch: usize,
    /// When it was taken.
    pub(super) last_batch_at: Duration,
}

impl Work {
    /// Adds what was read to the buffer, with the memory it takes.
    pub(super) fn take_in(&mut self, events: Vec<Event>, mut memory: OwnedSemaphorePermit, now: Duration) {
        let Some(last) = events.last() else { return };
        if self.buffer.is_empty() {
            self.oldest_since = now;
        }
        self.read_from = last.sequence_number.next();
        let bytes: usize = events.iter().map(memory_of).sum();
        // What was read may take twice what was asked for, and more if there is one large event.
        if let Some(unused) = memory.num_permits().checked_sub(bytes).and_then(|unused| memory.split(unused))
        {
            drop(unused);
        }
        match &mut self.memory {
            Some(held) => held.merge(memory),
            None => self.memory = Some(memory),
        }
        self.buffer.extend(events);
    }

    /// Gives back what is read and not decided: the lane waits for long, and others may need the memory.
    pub(super) fn drop_buffer(&mut self) {
        self.buffer.clear();
        self.memory = None;
        self.read_from = self.position;
    }

    /// Frees the memory of events that left the buffer.
    pub(super) fn release(&mut self, bytes: usize) {
        if self.buffer.is_empty() {
            self.memory = None;
        } else if let Some(memory) = &mut self.memory {
            drop(memory.split(bytes.min(memory.num_permits())));
        }
    }
}

/// The memory that an event takes.
pub(super) fn memory_of(event: &Event) -> usize {
    event.data.held_bytes() + EVENT_OVERHEAD
}

/// Memory that a decided batch takes besides its documents and dead letters, roughly.
const BATCH_OVERHEAD: usize = 512;

/// What an event counts for when its batch waits to be committed. It is gone by then; this bounds how far processing
/// runs ahead of a store that does not answer.
pub(super) const DECIDED_EVENT: usize = 64;

/// The memory that a batch takes while it waits to be committed.
pub(super) fn memory_of_decided(batch: &DecidedBatch, writes: &[Write]) -> usize {
    let of_letter = |letter: &DeadLetter| {
        let attempts: usize = letter.attempts.iter().map(|attempt| attempt.error.len()).sum();
        let document = letter.document.as_ref().and_then(|document| document.body.as_ref());
        memory_of(&letter.event) + letter.reason.len() + attempts + document.map_or(0, Bytes::len)
    };
    let parked: usize = batch.parked.iter().map(|parked| memory_of(&parked.event)).sum();
    let unparked: usize = batch
        .unparked
        .iter()
        .map(|unparked| match &unparked.end {
            UnparkedEnd::DeadLettered(letter) => of_letter(letter),
            _ => DECIDED_EVENT,
        })
        .sum();
    let documents: usize = parked + unparked + writes.iter().map(|write| write.json.len()).sum::<usize>();
    BATCH_OVERHEAD
        + batch.events().saturating_mul(DECIDED_EVENT)
        + documents
        + batch.dead_letters.iter().map(of_letter).sum::<usize>()
}
