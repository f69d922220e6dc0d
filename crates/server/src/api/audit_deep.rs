//! The deep audit of a running or opened system, a stretch of a partition at a time: the log is read once more, and what the
//! store records of each event is held against it.
//!
//! A running processor may get on between two readings, so what seems wrong is looked at again before it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{AuditFinding, AuditTally, DeepAuditStretch};
use tidegate_model::checkpoint::Lane;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId, StoredDeadLetter};
use tidegate_model::event::Event;
use tidegate_model::parking::ParkedEvent;
use tidegate_model::ports::{EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::api::parameters::{NAME, NUMBER, Parameters};
use crate::api::{Api, ApiError};
use crate::audit::deep::{Finding, Recorded, RecordedLetter, RecordedParked, Tally, Whereabouts, check};

/// How much of the log a stretch has at most.
const STRETCH: ReadLimit = ReadLimit { events: 2000, bytes: 4 * 1024 * 1024 };

/// How many sequence numbers a stretch has where the log has dropped the events.
const DROPPED_STRETCH: u64 = 100_000;

/// How many findings one stretch tells.
const MAX_FINDINGS: usize = 100;

/// How many dead letters or parked events are read at a time.
const READ: usize = 50;

/// How often what seems wrong is looked at again.
const LOOKS: usize = 5;

/// Checks a stretch of a partition.
#[utoipa::path(
    get, path = "/api/v1/audit/deep", tag = "audit",
    params(
        ("function" = String, Query, description = "The function"),
        ("hub" = String, Query, description = "The hub"),
        ("partition" = u32, Query, description = "The partition"),
        ("from" = Option<u64>, Query, description = "Where the stretch begins"),
    ),
    responses(
        (status = 200, body = shapes::DeepAuditStretch, description = "One stretch, event by event"),
        (status = 410, body = shapes::Problem, content_type = "application/problem+json", description = "Retention dropped it meanwhile"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn run(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let lane = Lane {
        function: parameters.required("function", NAME)?,
        hub: parameters.required("hub", NAME)?,
        partition: PartitionId(parameters.required("partition", NUMBER)?),
    };
    let from = parameters.sequence_number("from")?;
    parameters.done()?;
    let log = api.log(lane.hub.as_str())?.clone();
    let status = log.status(lane.partition)?;
    let start = api.store.checkpoint(&lane).await?.map_or(status.head, |checkpoint| checkpoint.start);
    let from = from.unwrap_or(start).max(start);
    let stretch = Stretch::read(&*log, lane.partition, from).await?;

    let recorded = recorded(&api, &*log, &lane, &stretch).await?;
    // Read last: what is recorded of an event that is resolved meanwhile is then no surprise.
    let checkpoint = api.store.checkpoint(&lane).await?;
    let position = checkpoint.as_ref().map_or(start, |checkpoint| checkpoint.position);
    let missing = if log.has_sparse_numbers() { Vec::new() } else { stretch.missing() };
    let (mut tally, mut findings) = (Tally::default(), missing);
    for (event, recorded) in &recorded {
        let (counts, found) = check(*event, place(*event, position), recorded);
        tally += counts;
        if !found.is_empty() {
            findings.extend(look_again(&api, &*log, &lane, *event, found).await?);
        }
    }
    let more_findings = findings.len().saturating_sub(MAX_FINDINGS) as u64;
    let shown = findings.iter().take(MAX_FINDINGS);
    let shape = DeepAuditStretch {
        function: lane.function.to_string(),
        hub: lane.hub.to_string(),
        partition: lane.partition.0,
        from: from.0,
        next: stretch.end.0,
        tail: stretch.tail.0,
        compared: stretch.events.len() as u64,
        dropped: stretch.dropped,
        lost: stretch.lost(),
        dead_lettered: tally.dead_lettered,
        parked: tally.parked,
        counted: checkpoint.map(|checkpoint| AuditTally {
            dead_lettered: checkpoint.counts.dead_lettered,
            parked: checkpoint.counts.parked,
        }),
        findings: shown
            .map(|finding| AuditFinding { sequence_number: finding.event().0, detail: finding.to_string() })
            .collect(),
        more_findings,
    };
    Ok(Json(shape).into_response())
}

fn place(event: SequenceNumber, position: SequenceNumber) -> Whereabouts {
    if event < position { Whereabouts::Resolved } else { Whereabouts::Pending }
}

/// What seems wrong about one event, unless it is right on another look.
async fn look_again(
    api: &Api,
    log: &dyn EventLog,
    lane: &Lane,
    event: SequenceNumber,
    mut found: Vec<Finding>,
) -> Result<Vec<Finding>, ApiError> {
    for _ in 0..LOOKS {
        let stretch = Stretch::of_one(log, lane.partition, event).await?;
        let recorded = recorded(api, log, lane, &stretch).await?.remove(&event).unwrap_or_default();
        let checkpoint = api.store.checkpoint(lane).await?;
        let position = checkpoint.map_or(event, |checkpoint| checkpoint.position);
        found = check(event, place(event, position), &recorded).1;
        if found.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// A stretch of the log.
struct Stretch {
    from: SequenceNumber,
    /// The first number after it.
    end: SequenceNumber,
    tail: SequenceNumber,
    /// The events that the log has.
    events: BTreeMap<SequenceNumber, Event>,
    /// Numbers before the log's head.
    dropped: u64,
    /// The numbers that a repair gave up, as far as they lie in the stretch.
    lost: Vec<std::ops::Range<SequenceNumber>>,
}

impl Stretch {
    /// The stretch that begins at `from`.
    async fn read(
        log: &dyn EventLog,
        partition: PartitionId,
        from: SequenceNumber,
    ) -> Result<Self, ApiError> {
        let status = log.status(partition)?;
        let (head, tail) = (status.head, status.tail);
        if from >= tail {
            return Ok(Self { from, end: from, tail, events: BTreeMap::new(), dropped: 0, lost: Vec::new() });
        }
        if from < head {
            let end = head.min(from.plus(DROPPED_STRETCH));
            let dropped = end.distance_from(from);
            return Ok(Self { from, end, tail, events: BTreeMap::new(), dropped, lost: Vec::new() });
        }
        let events = log.read(partition, from, STRETCH).await?;
        let end = events.last().map_or(tail, |last| last.sequence_number.next());
        let lost = (status.lost.iter())
            .map(|range| range.start.max(from)..range.end.min(end))
            .filter(|range| range.start < range.end)
            .collect();
        let events = events.into_iter().map(|event| (event.sequence_number, event)).collect();
        Ok(Self { from, end, tail, events, dropped: 0, lost })
    }

    /// The stretch of one event.
    async fn of_one(
        log: &dyn EventLog,
        partition: PartitionId,
        event: SequenceNumber,
    ) -> Result<Self, ApiError> {
        let status = log.status(partition)?;
        let mut events = BTreeMap::new();
        if event >= status.head && event < status.tail {
            let read = log.read(partition, event, ReadLimit { events: 1, bytes: 1 }).await?;
            let read = read.into_iter().filter(|read| read.sequence_number == event);
            events.extend(read.map(|read| (event, read)));
        }
        let (end, tail) = (event.next(), status.tail);
        Ok(Self { from: event, end, tail, events, dropped: 0, lost: Vec::new() })
    }

    fn lost(&self) -> u64 {
        self.lost.iter().map(|range| range.end.distance_from(range.start)).sum()
    }

    /// Where events are missing that no repair gave up: the first of each row of them.
    fn missing(&self) -> Vec<Finding> {
        if self.dropped > 0 {
            return Vec::new();
        }
        let mut missing = Vec::new();
        let mut expected = self.from;
        let mut held = self.events.keys().copied().peekable();
        let mut lost = self.lost.iter().peekable();
        while expected < self.end {
            if held.next_if_eq(&expected).is_some() {
                expected = expected.next();
            } else if let Some(range) = lost.next_if(|range| range.start == expected) {
                expected = range.end;
            } else {
                missing.push(Finding::Missing { event: expected });
                let next_held = held.peek().copied().unwrap_or(self.end);
                let next_lost = lost.peek().map_or(self.end, |range| range.start);
                expected = next_held.min(next_lost).max(expected.next());
            }
        }
        missing
    }
}

/// What the store records of the events of a stretch.
async fn recorded(
    api: &Api,
    log: &dyn EventLog,
    lane: &Lane,
    stretch: &Stretch,
) -> Result<BTreeMap<SequenceNumber, Recorded>, ApiError> {
    let mut recorded: BTreeMap<SequenceNumber, Recorded> = BTreeMap::new();
    let filter = DeadLetterFilter {
        function: Some(lane.function.clone()),
        hub: Some(lane.hub.clone()),
        partition: Some(lane.partition),
        from_sequence_number: Some(stretch.from),
        before_sequence_number: Some(stretch.end),
        ..DeadLetterFilter::default()
    };
    let mut after: Option<DeadLetterId> = None;
    loop {
        let letters = api.store.list_dead_letters(&filter, after, READ).await?;
        let more = letters.len() == READ;
        for stored in letters {
            after = Some(stored.id);
            let StoredDeadLetter { id, status, letter, .. } = stored;
            // Those of another life of the hub say nothing about this log.
            if letter.incarnation == log.incarnation() {
                let event = letter.event.sequence_number;
                let same_as_log = stretch.events.get(&event).map(|held| *held == letter.event);
                let letters = &mut recorded.entry(event).or_default().dead_letters;
                letters.push(RecordedLetter { id, status, same_as_log });
            }
        }
        if !more {
            break;
        }
    }
    let mut from = stretch.from;
    'parked: loop {
        let parked = api.store.list_parked(lane, from, READ).await?;
        let more = parked.len() == READ;
        for stored in parked {
            let parked = stored.parked;
            let event = parked.event.sequence_number;
            if event >= stretch.end {
                break 'parked;
            }
            from = event.next();
            if parked.incarnation == log.incarnation() {
                let same = is_same(api, &parked, stretch.events.get(&event)).await?;
                recorded.entry(event).or_default().parked =
                    Some(RecordedParked { redrive_of: parked.redrive_of, same });
            }
        }
        if !more {
            break;
        }
    }
    Ok(recorded)
}

/// Whether a parked event is the log's, or what its dead letter was edited to.
async fn is_same(api: &Api, parked: &ParkedEvent, held: Option<&Event>) -> Result<Option<bool>, ApiError> {
    if let Some(id) = parked.redrive_of {
        let letter = api.store.dead_letter(id).await?;
        return Ok(letter.map(|letter| letter.event_to_redrive() == parked.event));
    }
    Ok(held.map(|held| *held == parked.event))
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::Timestamp;
    use tidegate_model::event::EventData;

    use super::*;

    fn stretch(from: u64, end: u64, held: &[u64], lost: &[(u64, u64)]) -> Stretch {
        let event = |number: &u64| {
            let sequence_number = SequenceNumber(*number);
            let enqueued_at = Timestamp::from_millis(0);
            (sequence_number, Event { sequence_number, enqueued_at, data: EventData::new("") })
        };
        Stretch {
            from: SequenceNumber(from),
            end: SequenceNumber(end),
            tail: SequenceNumber(end),
            events: held.iter().map(event).collect(),
            dropped: 0,
            lost: lost.iter().map(|(from, to)| SequenceNumber(*from)..SequenceNumber(*to)).collect(),
        }
    }

    #[test]
    fn a_missing_event_is_one_that_no_repair_gave_up() {
        let missing = |stretch: Stretch| -> Vec<u64> {
            stretch.missing().iter().map(|finding| finding.event().0).collect()
        };
        assert_eq!(missing(stretch(3, 6, &[3, 4, 5], &[])), [0; 0]);
        assert_eq!(missing(stretch(3, 9, &[3, 8], &[(4, 8)])), [0; 0]);
        assert_eq!(missing(stretch(3, 9, &[4, 8], &[(5, 7)])), [3, 7]);
        assert_eq!(missing(stretch(0, 1000, &[], &[])), [0]);
        assert_eq!(missing(stretch(0, 10, &[], &[(2, 4), (6, 8)])), [0, 4, 8]);
        let dropped = Stretch { dropped: 10, ..stretch(0, 10, &[], &[]) };
        assert_eq!(missing(dropped), [0; 0]);
    }
}
