//! Why events failed lately: the causes, with how often and an example each, function by function.
//!
//! Failures that differ only in numbers and names have one cause. What is kept is bounded: a cause is forgotten when it was
//! not seen for an hour, or when there are too many and it is the one that was not seen for longest.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_model::attempt::FailureKind;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::pattern_of;
use tidegate_model::event::HubName;
use tidegate_model::observe::{Fate, InvocationReport};
use tidegate_model::ports::Observer;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

/// For how long a cause is remembered after it was seen last.
pub const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// How many causes of one function are remembered.
const MOST_CAUSES: usize = 32;

/// How many functions are remembered.
const MOST_FUNCTIONS: usize = 512;

/// The characters of an error that are kept.
const MOST_CHARACTERS: usize = 500;

/// The message of a line about an event that failed; see `invocation_lines`.
pub(crate) const EVENT_FAILED: &str = "an event failed";

/// A cause of failures of one function.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// What kind of failure: `transient`, `throttled`, `timed-out`, `panicked`, `interrupted` or `rejected`; `None` where
    /// that is not known.
    pub kind: Option<String>,
    /// What went wrong, in the words of the newest failure.
    pub error: String,
    /// How many attempts failed for it since it was seen first. Of a batch with many failures the first ones are looked
    /// at, and the others are taken to be as the last of these.
    pub attempts: u64,
    /// When it was seen first.
    pub first_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// The newest event that failed for it.
    pub example: Example,
}

/// An event that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its hub.
    pub hub: HubName,
    /// Its partition.
    pub partition: PartitionId,
    /// Its number.
    pub sequence_number: SequenceNumber,
    /// Its partition key.
    pub key: Option<String>,
    /// What becomes of it: `retried`, `parked`, `held` or `dead-lettered`.
    pub fate: String,
}

/// The causes of failures, by function.
#[derive(Debug, Default)]
pub struct Failures {
    causes: Mutex<BTreeMap<FunctionName, Vec<Known>>>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Known {
    pattern: String,
    cause: Cause,
}

impl Failures {
    /// Changes with each failure.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The functions of which causes are remembered, in order.
    pub fn functions(&self) -> Vec<FunctionName> {
        self.causes.lock().keys().cloned().collect()
    }

    /// The causes of failures of a function in the hour before `now`, the one that was seen last first.
    pub fn of(&self, function: &FunctionName, now: Timestamp) -> Vec<Cause> {
        let causes = self.causes.lock();
        let known = causes.get(function).into_iter().flatten();
        let recent = known.filter(|known| !is_old(&known.cause, now));
        let mut recent: Vec<Cause> = recent.map(|known| known.cause.clone()).collect();
        recent.sort_by_key(|cause| std::cmp::Reverse(cause.last_at));
        recent
    }

    fn add(
        &self,
        function: &FunctionName,
        kind: Option<&str>,
        error: &str,
        attempts: u64,
        at: Timestamp,
        example: Example,
    ) {
        let error: String = error.chars().take(MOST_CHARACTERS).collect();
        let pattern = pattern_of(&error);
        let mut functions = self.causes.lock();
        if functions.len() >= MOST_FUNCTIONS && !functions.contains_key(function) {
            return;
        }
        let causes = functions.entry(function.clone()).or_default();
        let same = |known: &&mut Known| known.pattern == pattern && known.cause.kind.as_deref() == kind;
        if let Some(Known { cause, .. }) = causes.iter_mut().find(same) {
            cause.attempts = cause.attempts.saturating_add(attempts);
            cause.first_at = cause.first_at.min(at);
            if at >= cause.last_at {
                (cause.last_at, cause.error, cause.example) = (at, error, example);
            }
            return;
        }
        causes.retain(|known| !is_old(&known.cause, at));
        if causes.len() >= MOST_CAUSES
            && let Some(oldest) = (0..causes.len()).min_by_key(|nth| causes[*nth].cause.last_at)
        {
            causes.swap_remove(oldest);
        }
        let kind = kind.map(str::to_owned);
        causes.push(Known {
            pattern,
            cause: Cause { kind, error, attempts, first_at: at, last_at: at, example },
        });
    }
}

fn is_old(cause: &Cause, now: Timestamp) -> bool {
    cause.last_at < now.minus(REMEMBERED)
}

/// The word for a kind of failure.
pub(crate) fn word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "transient",
        FailureKind::Throttled => "throttled",
        FailureKind::TimedOut => "timed-out",
        FailureKind::Panicked => "panicked",
        FailureKind::Interrupted => "interrupted",
        FailureKind::Rejected => "rejected",
    }
}

impl Observer for Failures {
    fn invoked(&self, report: &InvocationReport<'_>) {
        let lane = report.lane;
        let example = |sequence_number, key: Option<&str>, fate: &str| Example {
            hub: lane.hub.clone(),
            partition: lane.partition,
            sequence_number,
            key: key.map(str::to_owned),
            fate: fate.to_owned(),
        };
        if let Some(error) = report.error {
            // Its events are tried one by one; where they fail too they say so themselves.
            let example = example(report.first, None, Fate::Retried.as_str());
            self.add(&lane.function, None, error, 1, report.at, example);
        }
        let unnamed = report.failed.saturating_sub(report.failures.len() as u64);
        for (nth, failure) in report.failures.iter().enumerate() {
            let attempts = if nth + 1 == report.failures.len() { 1 + unnamed } else { 1 };
            let example = example(failure.sequence_number, failure.key, failure.fate.as_str());
            self.add(&lane.function, failure.kind.map(word), failure.error, attempts, report.at, example);
        }
        if report.error.is_some() || !report.failures.is_empty() {
            self.changes.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::checkpoint::Lane;
    use tidegate_model::observe::{EventFailure, InvocationId};
    use tidegate_model::outcome::OutcomeCounts;

    use super::*;

    fn function() -> FunctionName {
        FunctionName::new("positions").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn failure(sequence_number: u64, error: &str) -> EventFailure<'_> {
        EventFailure {
            sequence_number: SequenceNumber(sequence_number),
            key: Some("4b1801"),
            attempts: 3,
            kind: Some(FailureKind::Transient),
            error,
            fate: Fate::Held,
        }
    }

    fn tell(failures: &Failures, second: i64, failed: u64, named: &[EventFailure<'_>]) {
        let lane =
            Lane { function: function(), hub: HubName::new("flights").unwrap(), partition: PartitionId(3) };
        failures.invoked(&InvocationReport {
            id: InvocationId(1),
            lane: &lane,
            function_version: "1",
            first: SequenceNumber(1),
            last: SequenceNumber(100),
            events: 100,
            is_parked: false,
            at: at(second),
            took: Duration::ZERO,
            counts: OutcomeCounts::default(),
            error: None,
            failed,
            failures: named,
            traces: &[],
        });
    }

    #[test]
    fn failures_that_differ_only_in_numbers_have_one_cause() {
        let failures = Failures::default();
        tell(
            &failures,
            1,
            2,
            &[failure(7, "503 from 10.0.0.1 after 20 ms"), failure(8, "503 from 10.0.0.2 after 9 ms")],
        );
        tell(&failures, 2, 40, &[failure(9, "the certificate is not valid")]);
        let causes = failures.of(&function(), at(3));
        let told: Vec<_> = causes
            .iter()
            .map(|cause| (cause.error.as_str(), cause.attempts, cause.example.sequence_number.0))
            .collect();
        assert_eq!(told, [("the certificate is not valid", 40, 9), ("503 from 10.0.0.2 after 9 ms", 2, 8)]);
        assert_eq!(causes[0].kind.as_deref(), Some("transient"));
        assert_eq!((causes[0].example.partition, causes[0].example.fate.as_str()), (PartitionId(3), "held"));
    }

    #[test]
    fn a_cause_is_forgotten_after_an_hour_and_the_oldest_when_there_are_too_many() {
        let failures = Failures::default();
        tell(&failures, 0, 1, &[failure(1, "one")]);
        assert_eq!(failures.of(&function(), at(3600)).len(), 1);
        assert_eq!(failures.of(&function(), at(3601)), []);
        for second in 0..100 {
            let error = "x".repeat(second as usize + 1);
            tell(&failures, 100 + second, 1, &[failure(1, &error)]);
        }
        let causes = failures.of(&function(), at(200));
        assert_eq!(causes.len(), MOST_CAUSES);
        assert_eq!(causes[0].error.len(), 100, "the newest are kept");
    }
}
