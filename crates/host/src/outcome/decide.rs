//! What happens to each event of a batch (pure).
//!
//! ```text
//! the function said        the event                     the lane
//! applied                  resolved: applied             goes on
//! filtered                 resolved: filtered            goes on
//! rejected                 resolved: dead-lettered       goes on
//! failed / no answer       unresolved, attempt counted   waits, then tries that event alone
//!   … attempts used up     resolved: dead-lettered       goes on
//! the invocation failed    nothing is known              one event: as failed; several: each is tried alone
//! ```

use std::time::Duration;

use tidegate_model::answer::Failure;
use tidegate_model::attempt::{Attempt, FailureClass, bounded_error};
use tidegate_model::clock::Timestamp;
use tidegate_model::outcome::Outcome;

use crate::outcome::answers::{Checked, Verdict};
use crate::retry::{MAX_ATTEMPTS, RetryPolicy};
use crate::workspace::Write;

/// What an invocation came to.
#[derive(Debug)]
pub enum Invoked {
    /// The function answered, and the answers hold what the contract asks for.
    Answered(Checked),
    /// The invocation failed as a whole: a panic, a time-out, an error, answers that break the contract.
    Failed {
        /// What went wrong, for a person.
        error: String,
    },
}

/// What is known besides.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// How many events the batch has.
    pub events: usize,
    /// The failed attempts at the first event so far.
    pub prior_attempts: &'a [Attempt],
    /// How failed events are tried again.
    pub retry: &'a RetryPolicy,
    /// The time, for the attempts.
    pub now: Timestamp,
    /// A random number, for the pause.
    pub random: u64,
}

/// What happens.
#[derive(Debug)]
pub struct Decision {
    /// How the first events of the batch end, in order.
    pub resolved: Vec<Resolution>,
    /// The document states that go with them.
    pub writes: Vec<Write>,
    /// What the lane does with the event after them.
    pub next: Next,
}

/// How an event ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its effect is in the documents.
    Applied,
    /// The function asked for nothing.
    Filtered,
    /// It is set aside.
    DeadLettered {
        /// Whether it can never be processed or its attempts ran out.
        class: FailureClass,
        /// Why, for a person.
        reason: String,
        /// Every failed attempt.
        attempts: Vec<Attempt>,
    },
}

impl Resolution {
    /// The outcome to count.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Applied => Outcome::Applied,
            Self::Filtered => Outcome::Filtered,
            Self::DeadLettered { .. } => Outcome::DeadLettered,
        }
    }
}

/// What a lane does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Goes on with the following event.
    Continue,
    /// The following event stays unresolved. It is tried again, alone, after a pause.
    Retry {
        /// All its failed attempts.
        attempts: Vec<Attempt>,
        /// The pause.
        delay: Duration,
    },
    /// Nobody knows which event is at fault: each event of the batch is tried alone.
    Isolate {
        /// What went wrong.
        error: String,
    },
}

/// Decides what happens to the events of a batch.
pub fn decide(invoked: Invoked, circumstances: Circumstances<'_>) -> Decision {
    match invoked {
        Invoked::Failed { error } if circumstances.events > 1 => {
            Decision { resolved: Vec::new(), writes: Vec::new(), next: Next::Isolate { error } }
        }
        Invoked::Failed { error } => {
            let failure = Failure { error, retry_after: None };
            let (resolved, next) = fail(failure, circumstances.prior_attempts, circumstances);
            Decision { resolved: resolved.into_iter().collect(), writes: Vec::new(), next }
        }
        Invoked::Answered(checked) => decide_answered(checked, circumstances),
    }
}

fn decide_answered(checked: Checked, circumstances: Circumstances<'_>) -> Decision {
    let mut resolved: Vec<Resolution> = Vec::with_capacity(checked.verdicts.len() + 1);
    for (index, verdict) in checked.verdicts.into_iter().enumerate() {
        resolved.push(match verdict {
            Verdict::Applied => Resolution::Applied,
            Verdict::Filtered => Resolution::Filtered,
            Verdict::Rejected { reason } => {
                let prior = if index == 0 { circumstances.prior_attempts } else { &[] };
                let reason = bounded_error(reason);
                let attempts = with_attempt(prior, circumstances.now, reason.clone());
                Resolution::DeadLettered { class: FailureClass::Permanent, reason, attempts }
            }
        });
    }
    let next = match checked.stopped {
        None => Next::Continue,
        Some(failure) => {
            let prior = if resolved.is_empty() { circumstances.prior_attempts } else { &[] };
            let (dead_lettered, next) = fail(failure, prior, circumstances);
            resolved.extend(dead_lettered);
            next
        }
    };
    Decision { resolved, writes: checked.writes, next }
}

/// An event failed once more: it is tried again, or its attempts are used up.
fn fail(failure: Failure, prior: &[Attempt], circumstances: Circumstances<'_>) -> (Option<Resolution>, Next) {
    let reason = bounded_error(failure.error);
    let attempts = with_attempt(prior, circumstances.now, reason.clone());
    let failures = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
    match circumstances.retry.delay_after(failures, circumstances.random) {
        Some(delay) => {
            let delay = delay.max(failure.retry_after.unwrap_or_default());
            (None, Next::Retry { attempts, delay })
        }
        None => (
            Some(Resolution::DeadLettered { class: FailureClass::Exhausted, reason, attempts }),
            Next::Continue,
        ),
    }
}

/// Of an event that is retried for ever the first attempt and the latest ones are kept.
fn with_attempt(prior: &[Attempt], at: Timestamp, error: String) -> Vec<Attempt> {
    let mut attempts = prior.to_vec();
    if attempts.len() >= MAX_ATTEMPTS as usize {
        attempts.remove(1);
    }
    attempts.push(Attempt { at, error });
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryPolicy =
        RetryPolicy::FixedDelay { max_attempts: Some(3), delay: Duration::from_secs(1) };

    fn circumstances(events: usize, prior_attempts: &[Attempt]) -> Circumstances<'_> {
        let now = Timestamp::from_millis(1000);
        Circumstances { events, prior_attempts, retry: &RETRY, now, random: 0 }
    }

    fn attempt(at: i64, error: &str) -> Attempt {
        Attempt { at: Timestamp::from_millis(at), error: error.to_owned() }
    }

    fn answered(verdicts: Vec<Verdict>, stopped: Option<&str>) -> Invoked {
        let stopped = stopped.map(|error| Failure { error: error.to_owned(), retry_after: None });
        Invoked::Answered(Checked { verdicts, writes: Vec::new(), stopped, shown: Vec::new() })
    }

    #[test]
    fn a_rejected_event_is_set_aside_and_the_lane_goes_on() {
        let verdicts =
            vec![Verdict::Applied, Verdict::Rejected { reason: "no id".into() }, Verdict::Filtered];
        let decision = decide(answered(verdicts, None), circumstances(3, &[attempt(1, "before")]));
        assert_eq!(
            decision.resolved,
            [
                Resolution::Applied,
                Resolution::DeadLettered {
                    class: FailureClass::Permanent,
                    reason: "no id".into(),
                    attempts: vec![attempt(1000, "no id")],
                },
                Resolution::Filtered,
            ]
        );
        assert_eq!(decision.next, Next::Continue);
    }

    #[test]
    fn a_failed_event_waits_and_what_came_before_it_is_resolved() {
        let decision = decide(answered(vec![Verdict::Applied], Some("down")), circumstances(4, &[]));
        assert_eq!(decision.resolved, [Resolution::Applied]);
        let expected = Next::Retry { attempts: vec![attempt(1000, "down")], delay: Duration::from_secs(1) };
        assert_eq!(decision.next, expected);
    }

    #[test]
    fn the_last_attempt_ends_in_the_dead_letters_with_all_of_them() {
        let prior = [attempt(1, "first"), attempt(2, "second")];
        let decision = decide(Invoked::Failed { error: "third".into() }, circumstances(1, &prior));
        assert_eq!(
            decision.resolved,
            [Resolution::DeadLettered {
                class: FailureClass::Exhausted,
                reason: "third".into(),
                attempts: vec![attempt(1, "first"), attempt(2, "second"), attempt(1000, "third")],
            }]
        );
        assert_eq!(decision.next, Next::Continue);
    }

    #[test]
    fn when_a_whole_invocation_fails_no_event_is_charged_for_its_neighbours() {
        let decision = decide(Invoked::Failed { error: "panic".into() }, circumstances(2, &[]));
        assert!(decision.resolved.is_empty());
        assert_eq!(decision.next, Next::Isolate { error: "panic".into() });
    }

    #[test]
    fn the_pause_is_at_least_what_the_downstream_asked_for() {
        let failure = Failure { error: "429".into(), retry_after: Some(Duration::from_secs(60)) };
        let checked =
            Checked { verdicts: Vec::new(), writes: Vec::new(), stopped: Some(failure), shown: Vec::new() };
        let decision = decide(Invoked::Answered(checked), circumstances(1, &[]));
        assert!(matches!(decision.next, Next::Retry { delay, .. } if delay == Duration::from_secs(60)));
    }
}
