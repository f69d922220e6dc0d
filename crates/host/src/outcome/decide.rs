//! What happens to each event of a batch (pure).
//!
//! ```text
//! the function said          the event                      the lane
//! applied                    resolved: applied              goes on
//! filtered                   resolved: filtered             goes on
//! rejected                   resolved: dead-lettered        goes on
//! failed / no answer         attempt counted, and
//!   … in partition order       unresolved                   waits, then tries that event alone
//!   … in key order, or none    parked until its next turn   goes on
//!   … the circuit is open      the same, no attempt counted
//!   … attempts used up         resolved: dead-lettered      goes on
//!   … used up, to be held      parked until told            goes on; in partition order it waits behind it
//! the invocation failed      nothing is known               one event: as failed; several: each is tried alone
//! the program ended          attempt counted                as failed, also while the circuit is open
//! ```

use std::time::Duration;

use tidegate_model::answer::Failure;
use tidegate_model::attempt::{Attempt, FailureClass, FailureKind, bounded_error};
use tidegate_model::clock::Timestamp;
use tidegate_model::health::HealthCounts;
use tidegate_model::outcome::Outcome;
use tidegate_model::parking::Turn;

use crate::outcome::answers::{Checked, Verdict};
use crate::retry::{MAX_ATTEMPTS, RetryPolicy};
use crate::settings::{AtLimit, OnExhausted};
use crate::workspace::Write;

/// What an invocation came to.
#[derive(Debug)]
pub enum Invoked {
    /// The function answered, and the answers hold what the contract asks for.
    Answered(Checked),
    /// The invocation failed as a whole: a panic, a time-out, an error, answers that break the contract.
    Failed {
        /// What kind of failure it was.
        kind: FailureKind,
        /// What went wrong, for a person.
        error: String,
    },
}

/// What is known of an event from before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prior<'a> {
    /// Its failed attempts so far.
    pub attempts: &'a [Attempt],
    /// Whether it is a dead letter that is redriven.
    pub is_redrive: bool,
}

/// What is known besides.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// How many events the batch has.
    pub events: usize,
    /// What is known of the first of them; nothing is of those beyond.
    pub prior: &'a [Prior<'a>],
    /// How failed events are tried again.
    pub retry: &'a RetryPolicy,
    /// What becomes of an event whose attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Whether an event that failed leaves the lane to wait, rather than the lane waiting with it.
    pub parks: bool,
    /// Whether the parking place has room.
    pub has_room: bool,
    /// What happens to an event that is to be held when it has none.
    pub at_limit: AtLimit,
    /// Whether the circuit is not closed: then failures are no fault of the events.
    pub outage: bool,
    /// Whether no event may run out of attempts now: it looks like an outage, and the circuit is yet to decide.
    pub spares: bool,
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
    /// What it says about the health of the function.
    pub health: HealthCounts,
    /// The dependency that an event failed because of, and what that says about it.
    pub because_of: Option<(String, HealthCounts)>,
    /// What was said of the event that failed, if one did.
    pub said: Option<Said>,
}

/// What was said of an event that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// What went wrong, for a person.
    pub error: String,
}

/// How an event ends, or leaves the lane.
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
    /// It waits in the store.
    Parked {
        /// When it is tried again.
        turn: Turn,
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
            Self::Parked { .. } => Outcome::Parked,
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
        Invoked::Failed { kind, error } if circumstances.events > 1 => Decision {
            resolved: Vec::new(),
            writes: Vec::new(),
            next: Next::Isolate { error: error.clone() },
            health: HealthCounts::default(),
            because_of: None,
            said: Some(Said { kind, error }),
        },
        Invoked::Failed { kind, error } => {
            let failed = fail(kind, error, None, circumstances.prior_of(0), circumstances);
            let (resolved, next) = failed.end;
            let resolved = resolved.into_iter().collect();
            let said = Some(failed.said);
            Decision { resolved, writes: Vec::new(), next, health: failed.health, because_of: None, said }
        }
        Invoked::Answered(checked) => decide_answered(checked, circumstances),
    }
}

fn decide_answered(checked: Checked, circumstances: Circumstances<'_>) -> Decision {
    let mut resolved: Vec<Resolution> = Vec::with_capacity(checked.verdicts.len() + 1);
    let mut health = HealthCounts::default();
    let (mut because_of, mut said) = (None, None);
    for (index, verdict) in checked.verdicts.into_iter().enumerate() {
        resolved.push(match verdict {
            Verdict::Applied => {
                health.succeeded += 1;
                Resolution::Applied
            }
            Verdict::Filtered => {
                health.succeeded += 1;
                Resolution::Filtered
            }
            Verdict::Rejected { reason } => {
                let reason = bounded_error(reason);
                let attempt =
                    Attempt { at: circumstances.now, kind: FailureKind::Rejected, error: reason.clone() };
                let attempts = with_attempt(circumstances.prior_of(index).attempts, attempt);
                Resolution::DeadLettered { class: FailureClass::Permanent, reason, attempts }
            }
        });
    }
    let next = match checked.stopped {
        None => Next::Continue,
        Some(Failure { error, retry_after, because_of: dependency }) => {
            let kind = if retry_after.is_some() { FailureKind::Throttled } else { FailureKind::Transient };
            let prior = circumstances.prior_of(resolved.len());
            let failed = fail(kind, error, retry_after, prior, circumstances);
            let (parked_or_set_aside, next) = failed.end;
            resolved.extend(parked_or_set_aside);
            said = Some(failed.said);
            match dependency {
                Some(dependency) => because_of = Some((dependency, failed.health)),
                None => health += failed.health,
            }
            next
        }
    };
    Decision { resolved, writes: checked.writes, next, health, because_of, said }
}

impl<'a> Circumstances<'a> {
    fn prior_of(&self, index: usize) -> Prior<'a> {
        self.prior.get(index).copied().unwrap_or_default()
    }
}

/// What becomes of an event that failed.
struct Failed {
    end: (Option<Resolution>, Next),
    health: HealthCounts,
    said: Said,
}

/// An event failed once more: it is tried again, or its attempts are used up.
fn fail(
    kind: FailureKind,
    error: String,
    retry_after: Option<Duration>,
    prior: Prior<'_>,
    circumstances: Circumstances<'_>,
) -> Failed {
    let reason = bounded_error(error);
    let said = Said { kind, error: reason.clone() };
    let is_interrupted = kind == FailureKind::Interrupted;
    // Where nothing else ran, the program ended because of the event and not of the world.
    let outage = circumstances.outage && !is_interrupted;
    let mut health = HealthCounts { failed_attempts: 1, ..HealthCounts::default() };
    // An attempt that is not counted leaves no trace: the event would begin to fail each time.
    health.failing = u64::from(prior.attempts.is_empty() && !outage);
    let mut attempts = prior.attempts.to_vec();
    if !outage {
        attempts = with_attempt(&attempts, Attempt { at: circumstances.now, kind, error: reason.clone() });
    }
    // Who asks to be left alone says nothing about the event: that uses up no attempt.
    let used = attempts.iter().filter(|attempt| attempt.kind != FailureKind::Throttled).count();
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    let mut pause = circumstances.retry.delay_after(used, circumstances.random);
    if pause.is_none() && (outage || kind == FailureKind::Throttled) {
        pause = circumstances.retry.delay_after(0, circumstances.random);
    }
    if is_interrupted {
        pause = match (interruptions(&attempts), circumstances.retry.max_attempts()) {
            (..BLAMED_FROM, _) => pause.or_else(|| circumstances.retry.delay_after(0, circumstances.random)),
            (ENOUGH.., None) => None,
            _ => pause,
        };
    } else if pause.is_none() && circumstances.spares {
        // The circuit is to know that it would have been a final failure.
        health.failed = 1;
        health.failed_lanes = 1;
        attempts = prior.attempts.to_vec();
        pause = circumstances.retry.delay_after(0, circumstances.random);
    }
    let again = |delay: Duration| {
        let delay = delay.max(retry_after.unwrap_or_default());
        if circumstances.parks && circumstances.has_room {
            let turn = Turn::At(circumstances.now.plus(delay));
            (Some(Resolution::Parked { turn, attempts: attempts.clone() }), Next::Continue)
        } else {
            (None, Next::Retry { attempts: attempts.clone(), delay })
        }
    };
    let end = match pause {
        Some(delay) => again(delay),
        None => {
            health.failed = 1;
            health.failed_lanes = 1;
            match circumstances.on_exhausted {
                OnExhausted::Hold if !prior.is_redrive && circumstances.has_room => {
                    (Some(Resolution::Parked { turn: Turn::Held { reason }, attempts }), Next::Continue)
                }
                // Of those that end the program none is tried again because there is no room.
                OnExhausted::Hold
                    if !prior.is_redrive && circumstances.at_limit == AtLimit::Wait && !is_interrupted =>
                {
                    // It is tried until there is room to hold it; only the first time that it is too often is kept.
                    let is_known = circumstances.retry.max_attempts().is_some_and(|max| used > max);
                    let attempts = if is_known { prior.attempts.to_vec() } else { attempts };
                    (None, Next::Retry { attempts, delay: NO_ROOM_PAUSE })
                }
                OnExhausted::Hold | OnExhausted::DeadLetter => {
                    let class = FailureClass::Exhausted;
                    (Some(Resolution::DeadLettered { class, reason, attempts }), Next::Continue)
                }
            }
        }
    };
    Failed { end, health, said }
}

/// How long a lane waits with an event that is to be held while the parking place is full.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(5);

/// The program may also end by chance while it has an event: fewer ends than this use up no event's attempts.
const BLAMED_FROM: usize = 3;

/// So many ends of the program are enough, also for an event that is to be tried for ever.
const ENOUGH: usize = 5;

/// How often the program ended while the function had the event.
fn interruptions(attempts: &[Attempt]) -> usize {
    attempts.iter().filter(|attempt| attempt.kind == FailureKind::Interrupted).count()
}

/// Whether the last thing known of an event is that the program ended.
pub fn was_interrupted(attempts: &[Attempt]) -> bool {
    attempts.last().is_some_and(|last| last.kind == FailureKind::Interrupted)
}

/// Whether an event has used up its attempts by ending the program: nothing but a person should have it tried again.
pub fn is_blamed(attempts: &[Attempt], retry: &RetryPolicy) -> bool {
    let used = attempts.iter().filter(|attempt| attempt.kind != FailureKind::Throttled).count();
    let enough = retry.max_attempts().map_or(ENOUGH, |max| max as usize);
    was_interrupted(attempts) && interruptions(attempts) >= BLAMED_FROM && used >= enough
}

/// Of an event that is retried for ever the first attempt and the latest ones are kept.
fn with_attempt(prior: &[Attempt], attempt: Attempt) -> Vec<Attempt> {
    let mut attempts = prior.to_vec();
    if attempts.len() >= MAX_ATTEMPTS as usize {
        attempts.remove(1);
    }
    attempts.push(attempt);
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryPolicy =
        RetryPolicy::FixedDelay { max_attempts: Some(3), delay: Duration::from_secs(1) };

    fn circumstances<'a>(events: usize, prior: &'a [Prior<'a>]) -> Circumstances<'a> {
        Circumstances {
            events,
            prior,
            retry: &RETRY,
            on_exhausted: OnExhausted::DeadLetter,
            parks: false,
            has_room: true,
            at_limit: AtLimit::Wait,
            outage: false,
            spares: false,
            now: Timestamp::from_millis(1000),
            random: 0,
        }
    }

    fn of(attempts: &[Attempt]) -> [Prior<'_>; 1] {
        [Prior { attempts, is_redrive: false }]
    }

    fn failed(error: &str) -> Invoked {
        Invoked::Failed { kind: FailureKind::Transient, error: error.to_owned() }
    }

    fn attempt(at: i64, error: &str) -> Attempt {
        Attempt { at: Timestamp::from_millis(at), kind: FailureKind::Transient, error: error.to_owned() }
    }

    fn answered(verdicts: Vec<Verdict>, stopped: Option<&str>) -> Invoked {
        let stopped = stopped.map(Failure::new);
        Invoked::Answered(Checked { verdicts, writes: Vec::new(), stopped, shown: Vec::new() })
    }

    #[test]
    fn a_rejected_event_is_set_aside_and_the_lane_goes_on() {
        let verdicts =
            vec![Verdict::Applied, Verdict::Rejected { reason: "no id".into() }, Verdict::Filtered];
        let decision = decide(answered(verdicts, None), circumstances(3, &of(&[attempt(1, "before")])));
        assert_eq!(
            decision.resolved,
            [
                Resolution::Applied,
                Resolution::DeadLettered {
                    class: FailureClass::Permanent,
                    reason: "no id".into(),
                    attempts: vec![Attempt { kind: FailureKind::Rejected, ..attempt(1000, "no id") }],
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
        let decision = decide(failed("third"), circumstances(1, &of(&prior)));
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
        let decision = decide(failed("panic"), circumstances(2, &[]));
        assert!(decision.resolved.is_empty());
        assert_eq!(decision.next, Next::Isolate { error: "panic".into() });
    }

    #[test]
    fn the_pause_is_at_least_what_the_downstream_asked_for() {
        let failure = Failure::new("429").retry_after(Duration::from_secs(60));
        let checked =
            Checked { verdicts: Vec::new(), writes: Vec::new(), stopped: Some(failure), shown: Vec::new() };
        let decision = decide(Invoked::Answered(checked), circumstances(1, &[]));
        assert!(matches!(decision.next, Next::Retry { delay, .. } if delay == Duration::from_secs(60)));
    }

    #[test]
    fn who_asks_to_be_left_alone_uses_up_no_attempt() {
        let throttled = Attempt { kind: FailureKind::Throttled, ..attempt(1, "429") };
        let prior = vec![throttled; 50];
        let decision = decide(failed("down"), circumstances(1, &of(&prior)));
        assert!(matches!(decision.next, Next::Retry { .. }), "{decision:?}");
    }

    #[test]
    fn in_key_order_the_event_waits_and_the_lane_does_not() {
        let circumstances = Circumstances { parks: true, ..circumstances(4, &[]) };
        let decision = decide(answered(vec![Verdict::Applied], Some("down")), circumstances);
        let parked = Resolution::Parked {
            turn: Turn::At(Timestamp::from_millis(2000)),
            attempts: vec![attempt(1000, "down")],
        };
        assert_eq!(decision.resolved, [Resolution::Applied, parked]);
        assert_eq!(decision.next, Next::Continue);
        let full = Circumstances { has_room: false, ..circumstances };
        let decision = decide(answered(vec![], Some("down")), full);
        assert!(matches!(decision.next, Next::Retry { .. }), "without room the lane waits");
    }

    #[test]
    fn an_event_that_is_to_be_held_is_parked_until_told() {
        let prior = [attempt(1, "first"), attempt(2, "second")];
        let hold = |is_redrive| {
            let prior = [Prior { attempts: &prior, is_redrive }];
            let circumstances = Circumstances { on_exhausted: OnExhausted::Hold, ..circumstances(1, &prior) };
            decide(failed("third"), circumstances).resolved
        };
        assert!(
            matches!(&hold(false)[..], [Resolution::Parked { turn: Turn::Held { reason }, .. }] if reason == "third")
        );
        assert!(matches!(&hold(true)[..], [Resolution::DeadLettered { .. }]), "a redrive goes back");
    }

    #[test]
    fn while_the_circuit_is_open_no_attempt_is_used_up() {
        let prior = [attempt(1, "first"), attempt(2, "second")];
        let of_prior = of(&prior);
        let circumstances = Circumstances { outage: true, ..circumstances(1, &of_prior) };
        let decision = decide(failed("third"), circumstances);
        let Next::Retry { attempts, .. } = decision.next else { panic!("{decision:?}") };
        assert_eq!(attempts, prior);
        assert_eq!(decision.health.failed, 0);
        let spared = Circumstances { spares: true, outage: false, ..circumstances };
        let decision = decide(failed("third"), spared);
        assert!(matches!(&decision.next, Next::Retry { attempts, .. } if *attempts == prior), "{decision:?}");
        assert_eq!(decision.health.failed, 1, "the circuit is told");
    }

    fn ended(times: usize) -> Vec<Attempt> {
        (0..times)
            .map(|at| Attempt { kind: FailureKind::Interrupted, ..attempt(at as i64, "ended") })
            .collect()
    }

    fn ends_again(prior: &[Attempt], circumstances: Circumstances<'_>) -> Decision {
        let prior = of(prior);
        let invoked = Invoked::Failed { kind: FailureKind::Interrupted, error: "ended".to_owned() };
        decide(invoked, Circumstances { prior: &prior, ..circumstances })
    }

    #[test]
    fn ending_the_program_is_an_attempt_also_in_an_outage() {
        let outage = Circumstances { outage: true, spares: true, ..circumstances(1, &[]) };
        let decision = ends_again(&[], outage);
        assert!(
            matches!(&decision.next, Next::Retry { attempts, .. } if was_interrupted(attempts)),
            "{decision:?}"
        );
        let decision = ends_again(&ended(2), outage);
        assert!(
            matches!(&decision.resolved[..], [Resolution::DeadLettered { attempts, .. }] if is_blamed(attempts, &RETRY)),
            "{decision:?}"
        );
        let hold = Circumstances { on_exhausted: OnExhausted::Hold, ..circumstances(1, &[]) };
        let decision = ends_again(&ended(2), hold);
        assert!(matches!(&decision.resolved[..], [Resolution::Parked { turn: Turn::Held { .. }, .. }]));
        let decision = ends_again(&ended(2), Circumstances { has_room: false, ..hold });
        assert!(matches!(&decision.resolved[..], [Resolution::DeadLettered { .. }]), "{decision:?}");
    }

    #[test]
    fn ending_the_program_once_or_twice_may_be_chance() {
        let once = RetryPolicy::FixedDelay { max_attempts: Some(1), delay: Duration::from_secs(1) };
        let circumstances = Circumstances { retry: &once, ..circumstances(1, &[]) };
        assert!(matches!(ends_again(&[], circumstances).next, Next::Retry { .. }));
        assert!(matches!(ends_again(&ended(1), circumstances).next, Next::Retry { .. }));
        assert!(matches!(
            &ends_again(&ended(2), circumstances).resolved[..],
            [Resolution::DeadLettered { .. }]
        ));
    }

    #[test]
    fn no_event_ends_the_program_for_ever() {
        let for_ever = RetryPolicy::FixedDelay { max_attempts: None, delay: Duration::from_secs(1) };
        let circumstances = Circumstances { retry: &for_ever, ..circumstances(1, &[]) };
        assert!(matches!(ends_again(&ended(3), circumstances).next, Next::Retry { .. }));
        assert!(matches!(
            &ends_again(&ended(4), circumstances).resolved[..],
            [Resolution::DeadLettered { .. }]
        ));
    }

    #[test]
    fn what_fails_because_of_a_dependency_speaks_of_that_alone() {
        let stopped = Some(Failure::new("no answer").because_of("geocoder"));
        let verdicts = vec![Verdict::Applied];
        let checked = Checked { verdicts, writes: Vec::new(), stopped, shown: Vec::new() };
        let decision = decide(Invoked::Answered(checked), circumstances(2, &[]));
        assert_eq!(decision.health, HealthCounts { succeeded: 1, ..HealthCounts::default() });
        let failed = HealthCounts { failing: 1, failed_attempts: 1, ..HealthCounts::default() };
        assert_eq!(decision.because_of, Some(("geocoder".to_owned(), failed)));
    }

    #[test]
    fn health_counts_what_speaks_of_an_outage() {
        let verdicts = vec![Verdict::Applied, Verdict::Rejected { reason: "no".into() }, Verdict::Filtered];
        let decision = decide(answered(verdicts, Some("down")), circumstances(5, &[]));
        let expected =
            HealthCounts { succeeded: 2, failing: 1, failed_attempts: 1, failed: 0, failed_lanes: 0 };
        assert_eq!(decision.health, expected);
        let prior = [attempt(1, "first"), attempt(2, "second")];
        let decision = decide(failed("third"), circumstances(1, &of(&prior)));
        let expected =
            HealthCounts { succeeded: 0, failing: 0, failed_attempts: 1, failed: 1, failed_lanes: 1 };
        assert_eq!(decision.health, expected);
    }
}
