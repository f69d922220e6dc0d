//! Makes spans of what is observed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};
use parking_lot::Mutex;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::observe::{CommitReport, InvocationId, InvocationReport, PublishEnd, PublishReport};
use tidegate_model::ports::Observer;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::Notify;

use super::context::{Kind, SpanContext};

/// How many spans wait for the receiver at most. What comes then is dropped and counted.
const MOST_WAITING: usize = 8192;

/// How many links a span has at most.
const MOST_LINKS: usize = 32;

/// How many publishes are remembered for each partition, to be linked to, and of how many partitions.
const MOST_PUBLISHES: usize = 64;
const MOST_PARTITIONS: usize = 1024;

/// How many invocations are remembered that were sent because something failed.
const MOST_FAILED: usize = 4096;

/// A commit that was tried more than once has spans for so many of its batches, also where they are not among the share.
const MOST_OF_FAILED_COMMIT: usize = 16;

/// Makes spans, and keeps them until they are sent.
pub(crate) struct Spans {
    salt: u64,
    ratio: f64,
    waiting: Mutex<VecDeque<Span>>,
    filled: Notify,
    dropped: AtomicU64,
    publishes: AtomicU64,
    published: Mutex<HashMap<(HubName, PartitionId), VecDeque<Published>>>,
    /// The invocations whose spans are sent, for publishes that are told of after them: a lane may be quicker than the door that
    /// waits to answer.
    invoked: Mutex<HashMap<(HubName, PartitionId), VecDeque<Published>>>,
    failed: Mutex<BTreeSet<InvocationId>>,
}

struct Published {
    first: SequenceNumber,
    last: SequenceNumber,
    context: SpanContext,
}

impl Spans {
    /// Makes spans of the share `ratio` of all batches. `salt` makes the names of this life others than those of another.
    pub(crate) fn new(ratio: f64, salt: u64) -> Self {
        Self {
            salt,
            ratio,
            waiting: Mutex::default(),
            filled: Notify::new(),
            dropped: AtomicU64::new(0),
            publishes: AtomicU64::new(0),
            published: Mutex::default(),
            invoked: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// How many spans were dropped because there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes at most `most` spans.
    pub(super) fn take(&self, most: usize) -> Vec<Span> {
        let mut waiting = self.waiting.lock();
        let many = waiting.len().min(most);
        waiting.drain(..many).collect()
    }

    /// Returns when there may be spans to send.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn put(&self, span: Span) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST_WAITING {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push_back(span);
        drop(waiting);
        self.filled.notify_one();
    }

    /// The publishes that events of an invocation came with. It is remembered itself, for those that are told of later.
    fn publishes_of(&self, report: &InvocationReport<'_>, context: SpanContext) -> Vec<SpanContext> {
        let lane = report.lane;
        let span = Published { first: report.first, last: report.last, context };
        remember(&mut self.invoked.lock(), &lane.hub, lane.partition, span);
        overlapping(&self.published.lock(), &lane.hub, lane.partition, report.first, report.last)
    }

    /// The invocations of a publish that were told of before it. It is remembered itself.
    ///
    /// The order of the locks and of what is done under them makes sure that of two spans one knows of the other.
    fn invocations_of(&self, report: &PublishReport<'_>, span: Published) -> Vec<SpanContext> {
        let (first, last) = (span.first, span.last);
        remember(&mut self.published.lock(), report.hub, report.partition, span);
        overlapping(&self.invoked.lock(), report.hub, report.partition, first, last)
    }
}

type Remembered = HashMap<(HubName, PartitionId), VecDeque<Published>>;

fn remember(all: &mut Remembered, hub: &HubName, partition: PartitionId, span: Published) {
    let key = (hub.clone(), partition);
    if all.len() >= MOST_PARTITIONS && !all.contains_key(&key) {
        return;
    }
    let recent = all.entry(key).or_default();
    if recent.len() >= MOST_PUBLISHES {
        recent.pop_front();
    }
    recent.push_back(span);
}

fn overlapping(
    all: &Remembered,
    hub: &HubName,
    partition: PartitionId,
    first: SequenceNumber,
    last: SequenceNumber,
) -> Vec<SpanContext> {
    let recent = all.get(&(hub.clone(), partition));
    let overlapping = recent.into_iter().flatten().filter(|span| span.first <= last && first <= span.last);
    overlapping.map(|span| span.context).take(MOST_LINKS).collect()
}

impl Observer for Spans {
    fn traces_wanted(&self) -> usize {
        MOST_LINKS
    }

    fn published(&self, report: &PublishReport<'_>) {
        let parent = report.trace.and_then(SpanContext::parse);
        let number = self.publishes.fetch_add(1, Ordering::Relaxed);
        let mut context = SpanContext::of(self.salt, Kind::Publish, number);
        if let Some(parent) = parent {
            context.trace = parent.trace;
        }
        let has_failed = report.end == PublishEnd::Failed;
        // What the producer keeps is kept here as well, if it is among the share.
        if !has_failed && !context.is_among(self.ratio) {
            return;
        }
        context.sampled = true;
        let mut attributes = vec![
            text("messaging.system", "tidegate"),
            text("messaging.operation.type", "send"),
            text("messaging.destination.name", report.hub.as_str()),
            text("messaging.destination.partition.id", &report.partition.to_string()),
            number_of("messaging.batch.message_count", report.events),
        ];
        let mut links = Vec::new();
        if let PublishEnd::Stored(first) = report.end {
            attributes.push(number_of("tidegate.first_sequence_number", first.0));
            let last = SequenceNumber(first.0 + report.events.saturating_sub(1));
            links = self.invocations_of(report, Published { first, last, context });
        }
        self.put(Span {
            parent_span_id: parent.map(|parent| parent.span.to_vec()).unwrap_or_default(),
            kind: SpanKind::Producer.into(),
            attributes,
            links: links.iter().map(link).collect(),
            status: has_failed.then(|| failed("the events were not acknowledged")),
            ..span(format!("publish {}", report.hub), context, report.at, report.took)
        });
    }

    fn invoked(&self, report: &InvocationReport<'_>) {
        let mut context = SpanContext::of(self.salt, Kind::Invocation, report.id.0);
        let has_failed = report.failed > 0 || report.error.is_some();
        if !has_failed && !context.is_among(self.ratio) {
            return;
        }
        context.sampled = true;
        if has_failed {
            let mut known = self.failed.lock();
            known.insert(report.id);
            if known.len() > MOST_FAILED {
                known.pop_first();
            }
        }
        let mut linked = self.publishes_of(report, context);
        linked.extend(report.traces.iter().filter_map(|trace| SpanContext::parse(trace)));
        linked.dedup();
        linked.truncate(MOST_LINKS);
        let lane = report.lane;
        let error = report.error.or(report.failures.first().map(|failure| failure.error));
        self.put(Span {
            kind: SpanKind::Consumer.into(),
            attributes: vec![
                text("messaging.system", "tidegate"),
                text("messaging.operation.type", "process"),
                text("messaging.destination.name", lane.hub.as_str()),
                text("messaging.destination.partition.id", &lane.partition.to_string()),
                number_of("messaging.batch.message_count", report.events),
                text("tidegate.function", lane.function.as_str()),
                text("tidegate.function.version", report.function_version),
                text("tidegate.invocation", &report.id.to_string()),
                number_of("tidegate.first_sequence_number", report.first.0),
                number_of("tidegate.last_sequence_number", report.last.0),
                number_of("tidegate.applied", report.counts.applied),
                number_of("tidegate.filtered", report.counts.filtered),
                number_of("tidegate.dead_lettered", report.counts.dead_lettered),
                number_of("tidegate.parked", report.counts.parked),
                number_of("tidegate.failed", report.failed),
            ],
            events: report.failures.iter().map(|failure| event_of(failure, report.at)).collect(),
            dropped_events_count: u32::try_from(report.failed - report.failures.len() as u64)
                .unwrap_or(u32::MAX),
            links: linked.iter().map(link).collect(),
            status: error.filter(|_| has_failed).map(failed),
            ..span(format!("process {}", lane.function), context, report.at, report.took)
        });
    }

    fn committed(&self, report: &CommitReport<'_>) {
        let mut of_failed = 0;
        for batch in report.batches {
            let Some(id) = batch.decided.invocation else { continue };
            let parent = SpanContext::of(self.salt, Kind::Invocation, id.0);
            let is_known = parent.is_among(self.ratio) || self.failed.lock().remove(&id);
            if !is_known {
                if report.failed_tries == 0 || of_failed >= MOST_OF_FAILED_COMMIT {
                    continue;
                }
                of_failed += 1;
            }
            let context = SpanContext::of(self.salt, Kind::Commit, id.0);
            let lane = batch.lane;
            self.put(Span {
                parent_span_id: parent.span.to_vec(),
                kind: SpanKind::Internal.into(),
                attributes: vec![
                    text("tidegate.function", lane.function.as_str()),
                    text("messaging.destination.name", lane.hub.as_str()),
                    text("messaging.destination.partition.id", &lane.partition.to_string()),
                    text("tidegate.invocation", &id.to_string()),
                    number_of("tidegate.position", batch.position.0),
                    number_of("tidegate.commit.documents", report.documents),
                    number_of("tidegate.commit.batches", report.batches.len() as u64),
                    number_of("tidegate.commit.failed_tries", report.failed_tries.into()),
                ],
                ..span("commit".to_owned(), context, report.at, report.took)
            });
        }
    }
}

fn span(name: String, context: SpanContext, at: Timestamp, took: Duration) -> Span {
    let end = nanos(at);
    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    Span {
        trace_id: context.trace.to_vec(),
        span_id: context.span.to_vec(),
        name,
        start_time_unix_nano: end.saturating_sub(took),
        end_time_unix_nano: end,
        ..Span::default()
    }
}

fn link(context: &SpanContext) -> Link {
    Link { trace_id: context.trace.to_vec(), span_id: context.span.to_vec(), ..Link::default() }
}

fn event_of(failure: &tidegate_model::observe::EventFailure<'_>, at: Timestamp) -> Event {
    let mut attributes = vec![
        number_of("tidegate.sequence_number", failure.sequence_number.0),
        number_of("tidegate.attempts", failure.attempts),
        text("tidegate.fate", failure.fate.as_str()),
        text("exception.message", failure.error),
    ];
    attributes.extend(failure.key.map(|key| text("tidegate.key", key)));
    Event { time_unix_nano: nanos(at), name: "event failed".to_owned(), attributes, ..Event::default() }
}

fn failed(why: &str) -> Status {
    Status { message: why.to_owned(), code: StatusCode::Error.into() }
}

pub(super) fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0).saturating_mul(1_000_000)
}

pub(super) fn text(name: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

fn number_of(name: &str, value: u64) -> KeyValue {
    let value = Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX));
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use tidegate_model::checkpoint::{FunctionName, Lane};
    use tidegate_model::observe::{CommittedBatch, DecidedEvents, EventFailure, Fate};
    use tidegate_model::outcome::OutcomeCounts;

    use super::*;

    fn lane() -> Lane {
        Lane {
            function: FunctionName::new("f").unwrap(),
            hub: HubName::new("h").unwrap(),
            partition: PartitionId(3),
        }
    }

    fn publish(spans: &Spans, first: u64, events: u64, trace: Option<&str>) {
        spans.published(&PublishReport {
            hub: &lane().hub,
            partition: PartitionId(3),
            events,
            at: Timestamp::from_millis(1000),
            took: Duration::from_millis(2),
            end: PublishEnd::Stored(SequenceNumber(first)),
            trace,
        });
    }

    fn invoke(spans: &Spans, id: u64, first: u64, last: u64, failures: &[EventFailure<'_>], traces: &[&str]) {
        spans.invoked(&InvocationReport {
            id: InvocationId(id),
            lane: &lane(),
            function_version: "1",
            first: SequenceNumber(first),
            last: SequenceNumber(last),
            events: last - first + 1,
            is_parked: false,
            at: Timestamp::from_millis(2000),
            took: Duration::from_millis(5),
            counts: OutcomeCounts::default(),
            error: None,
            failed: failures.len() as u64,
            failures,
            traces,
        });
    }

    fn commit(spans: &Spans, ids: &[u64], failed_tries: u32) {
        let lane = lane();
        let decided: Vec<DecidedEvents> = ids
            .iter()
            .map(|id| DecidedEvents { invocation: Some(InvocationId(*id)), ..DecidedEvents::default() })
            .collect();
        let batches: Vec<CommittedBatch<'_>> = decided
            .iter()
            .map(|decided| CommittedBatch { lane: &lane, position: SequenceNumber(9), decided })
            .collect();
        let (at, took) = (Timestamp::from_millis(3000), Duration::from_millis(7));
        spans.committed(&CommitReport { at, took, failed_tries, documents: 4, batches: &batches });
    }

    const FAILURE: EventFailure<'static> = EventFailure {
        sequence_number: SequenceNumber(5),
        key: Some("k"),
        attempts: 2,
        kind: None,
        error: "no",
        fate: Fate::Parked,
    };

    #[test]
    fn publish_invocation_and_commit_are_linked() {
        let spans = Spans::new(1.0, 7);
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        publish(&spans, 0, 4, Some(trace));
        publish(&spans, 4, 4, None);
        publish(&spans, 8, 4, None);
        invoke(&spans, 1, 3, 7, &[], &[trace]);
        commit(&spans, &[1], 0);
        let all = spans.take(100);
        let [first, second, _, invocation, committed] = &all[..] else { panic!("{all:?}") };
        assert_eq!(first.trace_id[0], 0x4b, "it goes on with the producer's trace");
        assert_eq!(first.parent_span_id[7], 0xb7);
        let linked: Vec<&[u8]> = invocation.links.iter().map(|link| &link.span_id[..]).collect();
        assert_eq!(linked, [&first.span_id[..], &second.span_id[..], &first.parent_span_id[..]]);
        assert_eq!(committed.trace_id, invocation.trace_id);
        assert_eq!(committed.parent_span_id, invocation.span_id);
        assert_eq!(invocation.end_time_unix_nano - invocation.start_time_unix_nano, 5_000_000);
    }

    #[test]
    fn a_publish_that_is_told_of_after_its_invocation_names_it() {
        let spans = Spans::new(1.0, 7);
        invoke(&spans, 1, 0, 3, &[], &[]);
        invoke(&spans, 2, 4, 7, &[], &[]);
        publish(&spans, 2, 4, None);
        let all = spans.take(100);
        let [first, second, published] = &all[..] else { panic!("{all:?}") };
        let linked: Vec<&[u8]> = published.links.iter().map(|link| &link.span_id[..]).collect();
        assert_eq!(linked, [&first.span_id[..], &second.span_id[..]]);
        assert!(first.links.is_empty() && second.links.is_empty());
    }

    #[test]
    fn nothing_is_sent_of_what_went_well_and_everything_of_what_failed() {
        let spans = Spans::new(0.0, 7);
        publish(&spans, 0, 4, None);
        invoke(&spans, 1, 0, 3, &[], &[]);
        invoke(&spans, 2, 4, 7, &[FAILURE], &[]);
        commit(&spans, &[1, 2], 0);
        let all = spans.take(100);
        let names: Vec<&str> = all.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["process f", "commit"]);
        assert_eq!(all[0].status.as_ref().unwrap().message, "no");
        assert_eq!(all[0].events[0].name, "event failed");
        assert_eq!(all[1].trace_id, all[0].trace_id);

        commit(&spans, &[1], 2);
        assert_eq!(spans.take(100).len(), 1, "a commit that had to be tried again");
    }

    #[test]
    fn what_waits_is_bounded() {
        let spans = Spans::new(1.0, 7);
        for n in 0..MOST_WAITING as u64 + 5 {
            publish(&spans, n, 1, None);
        }
        assert_eq!(spans.dropped(), 5);
        assert_eq!(spans.published.lock().values().map(VecDeque::len).sum::<usize>(), MOST_PUBLISHES);
    }
}
