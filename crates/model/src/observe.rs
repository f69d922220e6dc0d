//! What is told to an [`Observer`](crate::ports::Observer): plain data about a batch that was published, invoked or committed.

use std::time::Duration;

use crate::attempt::FailureKind;
use crate::checkpoint::Lane;
use crate::clock::Timestamp;
use crate::event::{EventData, HubName, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::position::{PartitionId, SequenceNumber};

/// The number of an invocation: unique over all lives of a program on one machine, and greater than those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationId(pub u64);

impl std::fmt::Display for InvocationId {
    /// 16 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Events that a producer sent for one partition.
#[derive(Clone, Copy, Debug)]
pub struct PublishReport<'a> {
    /// The hub.
    pub hub: &'a HubName,
    /// The partition.
    pub partition: PartitionId,
    /// How many events.
    pub events: u64,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, from when the events were known to when they were durable.
    pub took: Duration,
    /// What became of them.
    pub end: PublishEnd,
    /// The [trace](trace_of) that the first event belongs to.
    pub trace: Option<&'a str>,
}

/// What became of published events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishEnd {
    /// They are durable, from this number on.
    Stored(SequenceNumber),
    /// They were refused, or may have been stored without anybody having been told.
    Failed,
}

/// An invocation that came to something.
#[derive(Clone, Copy, Debug)]
pub struct InvocationReport<'a> {
    /// Its number.
    pub id: InvocationId,
    /// The lane.
    pub lane: &'a Lane,
    /// The version of the function.
    pub function_version: &'a str,
    /// The first event it was given.
    pub first: SequenceNumber,
    /// The last event it was given.
    pub last: SequenceNumber,
    /// How many events it was given.
    pub events: u64,
    /// Whether they had been parked.
    pub is_parked: bool,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, with the wait for documents.
    pub took: Duration,
    /// How its events end once they are committed; those that have no outcome are given again.
    pub counts: OutcomeCounts,
    /// Why it failed as a whole, so that its events are tried one by one.
    pub error: Option<&'a str>,
    /// How many of its events failed.
    pub failed: u64,
    /// The first of them, at most [`MAX_FAILURES`].
    pub failures: &'a [EventFailure<'a>],
    /// The traces that its events belong to: at most as many as [wanted](crate::ports::Observer::traces_wanted).
    pub traces: &'a [&'a str],
}

/// How many failed events an [`InvocationReport`] names.
pub const MAX_FAILURES: usize = 10;

/// An event that failed in an invocation.
#[derive(Clone, Copy, Debug)]
pub struct EventFailure<'a> {
    /// The event.
    pub sequence_number: SequenceNumber,
    /// Its partition key.
    pub key: Option<&'a str>,
    /// How often it failed, this time included unless the circuit is not closed: such attempts are not counted.
    pub attempts: u64,
    /// What kind of failure it was last.
    pub kind: Option<FailureKind>,
    /// What went wrong.
    pub error: &'a str,
    /// What becomes of the event.
    pub fate: Fate,
}

/// What becomes of an event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its lane waits for it.
    Retried,
    /// It is parked until its next turn.
    Parked,
    /// It is parked until the circuit or a person decides.
    Held,
    /// It is set aside.
    DeadLettered,
}

impl Fate {
    /// The word used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Parked => "parked",
            Self::Held => "held",
            Self::DeadLettered => "dead-lettered",
        }
    }
}

/// A commit that is in the store.
#[derive(Clone, Copy, Debug)]
pub struct CommitReport<'a> {
    /// When the store had it.
    pub at: Timestamp,
    /// How long that took, with all tries.
    pub took: Duration,
    /// How many tries failed before.
    pub failed_tries: u32,
    /// How many documents it wrote.
    pub documents: u64,
    /// The batches it holds, in their order.
    pub batches: &'a [CommittedBatch<'a>],
}

/// A batch of a commit.
#[derive(Clone, Copy, Debug)]
pub struct CommittedBatch<'a> {
    /// The lane.
    pub lane: &'a Lane,
    /// The first event of the lane that is not resolved after it.
    pub position: SequenceNumber,
    /// What was noted when it was decided.
    pub decided: &'a DecidedEvents,
}

/// How the events of a batch end, and since when they were waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecidedEvents {
    /// The invocation that decided them; none where no function was asked.
    pub invocation: Option<InvocationId>,
    /// How they end. Those that stay parked are not counted again.
    pub counts: OutcomeCounts,
    /// When the log took those of them that are done with, run by run.
    pub enqueued: EnqueuedRuns,
}

/// When events were enqueued: as many events as each run says came at its time or later. Bounded: where there are more
/// different times, the run before takes them in, which makes them look older than they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnqueuedRuns(Vec<(Timestamp, u64)>);

/// How many runs are told apart.
pub const MAX_RUNS: usize = 64;

impl EnqueuedRuns {
    /// Counts an event.
    pub fn add(&mut self, enqueued_at: Timestamp) {
        let is_full = self.0.len() >= MAX_RUNS;
        match self.0.last_mut() {
            Some((at, events)) if *at == enqueued_at || is_full => *events += 1,
            _ => self.0.push((enqueued_at, 1)),
        }
    }

    /// The runs, in the order in which they were counted.
    pub fn runs(&self) -> &[(Timestamp, u64)] {
        &self.0
    }

    /// When the oldest came.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.0.iter().map(|(at, _)| *at).min()
    }
}

/// The trace that an event belongs to, as its producer named it: the W3C `traceparent`, in the application property of that
/// name, or in `Diagnostic-Id`, which the Event Hubs SDKs send.
pub fn trace_of(data: &EventData) -> Option<&str> {
    if data.properties.is_empty() {
        return None;
    }
    let value = data.properties.get("traceparent").or_else(|| data.properties.get("Diagnostic-Id"))?;
    match value {
        PropertyValue::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_and_stay_bounded() {
        let mut runs = EnqueuedRuns::default();
        for at in [5, 5, 5, 7] {
            runs.add(Timestamp::from_millis(at));
        }
        assert_eq!(runs.runs(), [(Timestamp::from_millis(5), 3), (Timestamp::from_millis(7), 1)]);
        for at in 0..1000 {
            runs.add(Timestamp::from_millis(10 + at));
        }
        assert_eq!(runs.runs().len(), MAX_RUNS);
        assert_eq!(runs.runs().iter().map(|(_, events)| events).sum::<u64>(), 1004);
        assert_eq!(runs.oldest(), Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn an_invocation_is_named_by_sixteen_digits() {
        assert_eq!(InvocationId(0xab).to_string(), "00000000000000ab");
    }
}
