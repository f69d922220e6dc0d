//! What a processor tells its observer about invocations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_model::attempt::Attempt;
use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::event::Event;
use tidegate_model::observe::{EventFailure, Fate, InvocationId, InvocationReport, MAX_FAILURES, trace_of};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::parking::Turn;
use tidegate_model::ports::{FunctionDescriptor, Observer};
use tidegate_model::position::SequenceNumber;

use crate::lane::OwnedLane;
use crate::outcome::decide::{Next, Resolution, Said};

/// An observer, and the numbers of invocations.
pub struct Observed {
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    last: AtomicU64,
}

/// How many invocations are numbered in a millisecond before the next one's numbers begin.
const NUMBERS_PER_MILLISECOND: u64 = 1 << 20;

impl Observed {
    /// Numbers begin with the time of day, so that no life of a program gives those of the one before again.
    pub fn new(observer: Arc<dyn Observer>, clock: &dyn Clock) -> Self {
        let millis = u64::try_from(clock.now().as_millis()).unwrap_or(0);
        Self { observer, last: AtomicU64::new(millis.wrapping_mul(NUMBERS_PER_MILLISECOND)) }
    }

    fn next(&self) -> InvocationId {
        InvocationId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells what an invocation came to, and gives it its number.
    pub fn invoked<'e>(
        &self,
        invocation: &Decided<'_>,
        events: impl Iterator<Item = &'e Event> + Clone,
    ) -> InvocationId {
        let Decided { lane, function, first, last, given, is_parked, at, took, resolved, next, said } =
            *invocation;
        let id = self.next();
        let mut counts = OutcomeCounts::default();
        resolved.iter().for_each(|resolution| counts.add(resolution.outcome()));
        let traces: Vec<&str> = match self.observer.traces_wanted() {
            0 => Vec::new(),
            wanted => events.clone().take(wanted).filter_map(|event| trace_of(&event.data)).collect(),
        };
        let retried = match next {
            Next::Retry { attempts, .. } => Some(Failing { attempts, reason: None, fate: Fate::Retried }),
            Next::Continue | Next::Isolate { .. } => None,
        };
        let (mut failed, mut failures) = (0, Vec::new());
        if counts.dead_lettered + counts.parked > 0 || retried.is_some() {
            // The event that is tried again is the one after those that have an end.
            let ends = resolved.iter().map(Failing::of).chain(std::iter::once(retried));
            for (event, failing) in events.zip(ends) {
                let Some(failing) = failing else { continue };
                failed += 1;
                if failures.len() < MAX_FAILURES {
                    failures.push(failing.report(event, said));
                }
            }
        }
        self.observer.invoked(&InvocationReport {
            id,
            lane: &lane.lane,
            function_version: &function.version,
            first,
            last,
            events: given as u64,
            is_parked,
            at,
            took,
            counts,
            error: match next {
                Next::Isolate { error } => Some(error),
                _ => None,
            },
            failed,
            failures: &failures,
            traces: &traces,
        });
        id
    }
}

/// An invocation of which it is decided what becomes of its events.
#[derive(Clone, Copy)]
pub struct Decided<'a> {
    /// The lane.
    pub lane: &'a OwnedLane,
    /// The function.
    pub function: &'a FunctionDescriptor,
    /// The first event it was given.
    pub first: SequenceNumber,
    /// The last event it was given.
    pub last: SequenceNumber,
    /// How many events it was given.
    pub given: usize,
    /// Whether they had been parked.
    pub is_parked: bool,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How the first events end.
    pub resolved: &'a [Resolution],
    /// What becomes of the one after them.
    pub next: &'a Next,
    /// What was said of the one that failed.
    pub said: Option<&'a Said>,
}

/// Why and how often an event failed.
struct Failing<'a> {
    attempts: &'a [Attempt],
    reason: Option<&'a str>,
    fate: Fate,
}

impl<'a> Failing<'a> {
    fn of(resolution: &'a Resolution) -> Option<Self> {
        match resolution {
            Resolution::Applied | Resolution::Filtered => None,
            Resolution::DeadLettered { reason, attempts, .. } => {
                Some(Self { attempts, reason: Some(reason), fate: Fate::DeadLettered })
            }
            Resolution::Parked { turn: Turn::At(_), attempts } => {
                Some(Self { attempts, reason: None, fate: Fate::Parked })
            }
            Resolution::Parked { turn: Turn::Held { reason }, attempts } => {
                Some(Self { attempts, reason: Some(reason), fate: Fate::Held })
            }
        }
    }

    /// Those that are rejected have their reasons. Of the others one can fail in an invocation; while the circuit is open
    /// its attempt is not among those that are remembered.
    fn report(self, event: &'a Event, said: Option<&'a Said>) -> EventFailure<'a> {
        let last = self.attempts.last();
        let said = said.filter(|_| self.reason.is_none());
        EventFailure {
            sequence_number: event.sequence_number,
            key: event.data.partition_key.as_deref(),
            attempts: self.attempts.len() as u64,
            kind: said.map(|said| said.kind).or(last.map(|attempt| attempt.kind)),
            error: self.reason.or(said.map(|said| &*said.error)).unwrap_or_default(),
            fate: self.fate,
        }
    }
}
