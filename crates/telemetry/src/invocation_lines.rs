//! What is logged of invocations: a line for each event that failed, with everything it can be found by.

use parking_lot::Mutex;
use tidegate_model::clock::Timestamp;
use tidegate_model::observe::{EventFailure, Fate, InvocationReport};
use tidegate_model::ports::Observer;
use tracing::{debug, info, warn};

use crate::failures::{EVENT_FAILED, word};

/// The target of these lines: the log store keeps them, and standard error shows them when it is asked to.
const TARGET: &str = "tidegate::events";

/// How many lines there are in a second at most. What is left out is told in the next line.
const LINES_PER_SECOND: u32 = 200;

/// Logs what becomes of events.
#[derive(Debug, Default)]
pub(crate) struct InvocationLines(Mutex<Budget>);

/// How much may be logged.
#[derive(Debug, Default)]
struct Budget {
    second: i64,
    lines: u32,
    left_out: u64,
}

impl Budget {
    /// Whether a line may be logged at `at`, and how many were left out before it.
    fn take(&mut self, at: Timestamp) -> Option<u64> {
        let second = at.as_millis().div_euclid(1000);
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines >= LINES_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Observer for InvocationLines {
    fn invoked(&self, report: &InvocationReport<'_>) {
        let InvocationReport { id, lane, first, last, events, failed, .. } = *report;
        if failed == 0 && report.error.is_none() {
            debug!(
                target: TARGET, function = %lane.function, hub = %lane.hub, partition = lane.partition.0, invocation = %id,
                first = first.0, last = last.0, events, took_ms = report.took.as_secs_f64() * 1e3, "events were processed"
            );
            return;
        }
        if let Some(error) = report.error {
            let Some(left_out) = self.0.lock().take(report.at) else { return };
            info!(
                target: TARGET, function = %lane.function, hub = %lane.hub, partition = lane.partition.0, invocation = %id,
                first = first.0, last = last.0, events, error, left_out,
                "an invocation failed; its events are tried one by one"
            );
        }
        for failure in report.failures {
            let Some(left_out) = self.0.lock().take(report.at) else { return };
            log(report, failure, left_out);
        }
    }
}

fn log(report: &InvocationReport<'_>, failure: &EventFailure<'_>, left_out: u64) {
    let lane = report.lane;
    let &EventFailure { sequence_number, key, attempts, error, fate, kind, .. } = failure;
    let kind = kind.map(word);
    // A field that is always there: an event without a key has an empty one.
    let key = key.unwrap_or_default();
    // What nobody will try again by itself needs a person.
    match fate {
        Fate::DeadLettered | Fate::Held => warn!(
            target: TARGET, function = %lane.function, hub = %lane.hub, partition = lane.partition.0,
            sequence_number = sequence_number.0, key, invocation = %report.id, attempts, fate = fate.as_str(), kind,
            error, left_out, "{EVENT_FAILED}"
        ),
        Fate::Parked | Fate::Retried => info!(
            target: TARGET, function = %lane.function, hub = %lane.hub, partition = lane.partition.0,
            sequence_number = sequence_number.0, key, invocation = %report.id, attempts, fate = fate.as_str(), kind,
            error, left_out, "{EVENT_FAILED}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_left_out_and_told_of() {
        let (mut budget, at) = (Budget::default(), Timestamp::from_millis);
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(budget.take(at(5_000)), Some(0));
        }
        assert_eq!((budget.take(at(5_001)), budget.take(at(5_999))), (None, None));
        assert_eq!((budget.take(at(6_000)), budget.take(at(6_001))), (Some(2), Some(0)));
    }
}
