//! Receivers: events of a partition on their way to a client.
//!
//! ```text
//! locate the start ─► read ahead, two batches at most ─► send while there is credit, window and room
//!                        ▲                                        │
//!                        └───── wait for the tail to move ◄───────┘ at the tail
//! ```
//!
//! Nothing is read for a receiver without credit, and nothing is remembered of what was sent: where a client is, the client
//! keeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::AmqpError;
use tidegate_amqp::connection::{Connection, LinkId, Outgoing, SendError};
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::{EventBatch, EventLog, ReadError, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

use super::events::{Runtime, write_event};
use super::refusals;
use super::seats::Seat;
use crate::Hub;
use crate::audience::ResourcePath;
use crate::namespace::ConsumerGroupName;

/// How much one read brings at most: as much as the output of a connection holds.
const READ_BYTES: usize = 512 * 1024;

/// How many events one read brings at most.
const READ_EVENTS: u32 = 4096;

/// Where a receiver receives.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) hub: Arc<Hub>,
    pub(super) group: ConsumerGroupName,
}

impl Place {
    /// Whether the hub or the consumer group is there no more.
    pub(super) fn is_gone(&self) -> bool {
        self.hub.is_closed() || self.hub.consumer_groups().find(self.group.as_str()).is_none()
    }
}

/// A receiver of a client.
pub(super) struct Consumer {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) place: Place,
    pub(super) partition: PartitionId,
    /// What the right to receive is measured by.
    pub(super) path: ResourcePath,
    pub(super) seat: Seat,
    /// Whether the state of the partition is told with each event.
    pub(super) wants_runtime: bool,
    /// Whether events go out settled.
    pub(super) settled: bool,
    pub(super) tail: watch::Receiver<SequenceNumber>,
    /// The next event to be read.
    next: SequenceNumber,
    /// What is read and not sent: batches, the first from this event on.
    ready: VecDeque<EventBatch>,
    sent_of_first: usize,
    runtime: Option<Runtime>,
    /// The client wants its credit back when there is nothing more.
    pub(super) draining: bool,
    /// What the consumer waits for.
    task: Task,
    /// No event goes before this time, on the steady clock: the namespace's throughput units are used up.
    pub(super) paused_until: Option<Duration>,
}

/// What a consumer waits for.
enum Task {
    Nothing,
    Read(AbortHandle),
    Tail(AbortHandle),
}

/// What a consumer wants done.
pub(super) enum Wanted {
    /// Nothing: something else comes first.
    Nothing,
    /// Events from here on.
    Read(SequenceNumber, ReadLimit),
    /// To be told when the tail moves.
    Tail,
}

/// What became of sending.
#[derive(Default)]
pub(super) struct Sending {
    /// Bytes and events that went out.
    pub(super) bytes: u64,
    pub(super) events: u64,
    /// Why the link has to end.
    pub(super) problem: Option<AmqpError>,
}

impl Consumer {
    pub(super) fn new(
        log: Arc<dyn EventLog>,
        place: Place,
        partition: PartitionId,
        path: ResourcePath,
        seat: Seat,
        tail: watch::Receiver<SequenceNumber>,
        start: SequenceNumber,
    ) -> Self {
        Self {
            log,
            place,
            partition,
            path,
            seat,
            wants_runtime: false,
            settled: true,
            tail,
            next: start,
            ready: VecDeque::new(),
            sent_of_first: 0,
            runtime: None,
            draining: false,
            task: Task::Nothing,
            paused_until: None,
        }
    }

    /// What is to be done so that there is always something to send, if the client has this much credit.
    pub(super) fn wanted(&mut self, credit: u32) -> Wanted {
        let queued: usize = self.ready.iter().map(EventBatch::len).sum::<usize>() - self.sent_of_first;
        let missing = credit.saturating_sub(u32::try_from(queued).unwrap_or(u32::MAX));
        if missing == 0 || self.ready.len() >= 2 || !matches!(self.task, Task::Nothing) {
            return Wanted::Nothing;
        }
        if *self.tail.borrow_and_update() == self.next {
            return Wanted::Tail;
        }
        let events = missing.min(READ_EVENTS) as usize;
        Wanted::Read(self.next, ReadLimit { events, bytes: READ_BYTES })
    }

    /// Notes that a read is under way.
    pub(super) fn reads(&mut self, handle: AbortHandle) {
        self.task = Task::Read(handle);
    }

    /// Notes that the tail is waited for.
    pub(super) fn waits(&mut self, handle: AbortHandle) {
        self.task = Task::Tail(handle);
    }

    /// Takes what was read.
    pub(super) fn read(
        &mut self,
        batch: Result<EventBatch, ReadError>,
        now: Timestamp,
    ) -> Result<(), AmqpError> {
        self.task = Task::Nothing;
        match batch {
            Ok(batch) => {
                self.next = batch.next();
                if self.wants_runtime {
                    self.runtime = Some(Runtime::of(batch.ends(), now));
                }
                if !batch.is_empty() {
                    self.ready.push_back(batch);
                }
                Ok(())
            }
            // Retention was faster: the receiver goes on at what is kept.
            Err(ReadError::Expired { head, .. }) => {
                self.next = head;
                Ok(())
            }
            Err(error) => Err(refusals::not_readable(&error)),
        }
    }

    /// Notes that the tail has moved.
    pub(super) fn tail_moved(&mut self) {
        self.task = Task::Nothing;
    }

    /// Sends what is read, as long as the client takes it.
    pub(super) fn send(&mut self, engine: &mut Connection, link: LinkId) -> Sending {
        let mut sending = Sending::default();
        let outgoing = Outgoing { settled: self.settled, ..Outgoing::default() };
        while let Some(batch) = self.ready.front() {
            let Some(event) = batch.get(self.sent_of_first) else {
                self.ready.pop_front();
                self.sent_of_first = 0;
                continue;
            };
            let runtime = self.runtime.as_ref();
            match engine.send_with(link, &outgoing, |out| write_event(out, &event, runtime)) {
                Ok(_) => {
                    self.sent_of_first += 1;
                    sending.events += 1;
                    sending.bytes += event.message.unwrap_or(event.body).len() as u64;
                }
                Err(SendError::NoCredit | SendError::NoWindow | SendError::OutputFull) => break,
                Err(error @ SendError::TooLarge { .. }) => {
                    sending.problem =
                        Some(AmqpError::new(condition::MESSAGE_SIZE_EXCEEDED, error.to_string()));
                    break;
                }
                Err(SendError::NoLink | SendError::WrongDirection) => break,
            }
        }
        sending
    }

    /// Whether everything there is has been sent.
    pub(super) fn is_at_tail(&self) -> bool {
        self.ready.is_empty() && !matches!(self.task, Task::Read(_)) && *self.tail.borrow() == self.next
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        match &self.task {
            Task::Nothing => {}
            Task::Read(handle) | Task::Tail(handle) => handle.abort(),
        }
    }
}
