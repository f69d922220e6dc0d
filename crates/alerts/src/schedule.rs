//! Which notice a target is given next, and when again after it did not take one (pure).
//!
//! A target gets its notices in the order they were made. While it is down only the first one is tried, with growing
//! pauses, so that order holds when it is back. A notice that the target does not take although it answers could hold up
//! all others for a day: after [`PASS_AFTER`] tries the next one is tried as well, and if the target takes that, the rest
//! go past. [`Mood`] is what is known of the target.

use std::time::Duration;

use tidegate_model::clock::Timestamp;
use tidegate_model::notice::{DeliveryState, NoticeId};

/// The pause after the first failure. It doubles with each one.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause, unless the target asks for a longer one.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The longest pause that a target may ask for.
pub const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(3600);

/// A notice that is older and fails again is given up: nobody needs to be woken by it any more.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// After so many tries a notice no longer holds up those behind it, if the target takes them.
pub const PASS_AFTER: u32 = 3;

/// Why a target did not take a notice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What it says about the next try.
    pub kind: FailureKind,
    /// What happened, for a person, with no secrets in it.
    pub detail: String,
    /// How long the target wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// What a failure says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The target takes nothing at the moment: it cannot be reached, does not answer in time, or says that it is busy.
    Down,
    /// It answered, and did not take this notice.
    Refused,
    /// It will never take this notice.
    Never,
}

impl Failure {
    /// A failure without a wish of the target.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }
}

/// How a delivery stands after its `tries`-th try failed. `random` varies the pause by a fifth either way, so that
/// targets that failed together are not tried together.
pub fn after_failure(
    failure: &Failure,
    tries: u32,
    made_at: Timestamp,
    now: Timestamp,
    random: u64,
) -> DeliveryState {
    if failure.kind == FailureKind::Never || now.since(made_at) >= GIVE_UP_AFTER {
        return DeliveryState::GivenUp(now);
    }
    let doublings = tries.saturating_sub(1).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let pause = pause.mul_f64(0.8 + 0.4 * (random as f64 / u64::MAX as f64));
    let asked = failure.retry_after.unwrap_or_default().min(LONGEST_ASKED_PAUSE);
    DeliveryState::Due(now.plus(pause.max(asked)))
}

/// A notice that a target has yet to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The notice.
    pub id: NoticeId,
    /// How often it was tried.
    pub tries: u32,
    /// When it is to be tried; `None` if it never was.
    pub due: Option<Timestamp>,
}

/// What is known of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It is worth trying everything, in order, whether due or not: it has just come back, or we have.
    Back,
    /// It takes notices.
    Up,
    /// It did not take the first one, several times: another one will tell whether it is the notice or the target.
    Doubtful,
    /// It takes nothing.
    Down,
}

/// What to do for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try the notice at this place.
    Try(usize),
    /// Nothing before this time, unless a new notice is made.
    Wait(Timestamp),
    /// Nothing, until a new notice is made.
    Idle,
}

/// What to do for a target that has yet to get `pending`, in the order they were made.
pub fn next(pending: &[Pending], mood: Mood, now: Timestamp) -> Next {
    let Some(head) = pending.first() else { return Next::Idle };
    let when_due = |place: usize, one: &Pending| match one.due {
        Some(due) if due > now => Next::Wait(due),
        _ => Next::Try(place),
    };
    match mood {
        Mood::Back => Next::Try(0),
        Mood::Down => when_due(0, head),
        Mood::Doubtful => match pending.iter().position(|one| one.tries == 0) {
            Some(untried) => Next::Try(untried),
            None => when_due(0, head),
        },
        Mood::Up => {
            let mut earliest: Option<Timestamp> = None;
            for (place, one) in pending.iter().enumerate() {
                match when_due(place, one) {
                    Next::Wait(due) => {
                        earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
                        if one.tries < PASS_AFTER {
                            break;
                        }
                    }
                    next => return next,
                }
            }
            earliest.map_or(Next::Idle, Next::Wait)
        }
    }
}

/// What is known of a target after a try. `tries` counts this one.
pub fn mood_after(mood: Mood, result: Result<(), FailureKind>, tries: u32) -> Mood {
    match (result, mood) {
        (Ok(()) | Err(FailureKind::Never), Mood::Up | Mood::Doubtful) => Mood::Up,
        (Ok(()) | Err(FailureKind::Never), Mood::Down | Mood::Back) => Mood::Back,
        (Err(FailureKind::Down), _) => Mood::Down,
        (Err(FailureKind::Refused), Mood::Doubtful) => Mood::Down,
        (Err(FailureKind::Refused), _) if tries >= PASS_AFTER => Mood::Doubtful,
        (Err(FailureKind::Refused), Mood::Up) => Mood::Up,
        (Err(FailureKind::Refused), Mood::Down | Mood::Back) => Mood::Down,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_a_day_ends_them() {
        let failure = Failure::new(FailureKind::Down, "connection refused");
        let pause = |tries| match after_failure(&failure, tries, at(0), at(0), u64::MAX / 2) {
            DeliveryState::Due(due) => due.since(at(0)).as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 4, 7, 8, 1000].map(pause), [5, 10, 20, 40, 320, 600, 600]);
        let day = at(24 * 3600);
        assert_eq!(after_failure(&failure, 1, at(0), day, 0), DeliveryState::GivenUp(day));
        let never = Failure::new(FailureKind::Never, "400");
        assert_eq!(after_failure(&never, 1, at(0), at(1), 0), DeliveryState::GivenUp(at(1)));
    }

    #[test]
    fn a_target_may_ask_for_a_longer_pause_within_reason() {
        let asked = |seconds| Failure {
            retry_after: Some(Duration::from_secs(seconds)),
            ..Failure::new(FailureKind::Down, "429")
        };
        let middle = u64::MAX / 2;
        assert_eq!(after_failure(&asked(90), 1, at(0), at(0), middle), DeliveryState::Due(at(90)));
        assert_eq!(after_failure(&asked(999_999), 1, at(0), at(0), middle), DeliveryState::Due(at(3600)));
    }

    /// Runs a target that says what it does with a notice at a time, and returns what it took, in order, and how often it
    /// was asked.
    fn run(
        notices: u64,
        until: i64,
        target: impl FnMut(u64, Timestamp) -> Result<(), FailureKind>,
    ) -> (Vec<u64>, usize) {
        run_from(
            (1..=notices).map(|id| Pending { id: NoticeId(id), tries: 0, due: None }).collect(),
            until,
            target,
        )
    }

    fn run_from(
        mut pending: Vec<Pending>,
        until: i64,
        mut target: impl FnMut(u64, Timestamp) -> Result<(), FailureKind>,
    ) -> (Vec<u64>, usize) {
        let (mut now, mut mood, mut taken, mut asked) = (at(0), Mood::Back, Vec::new(), 0);
        while now < at(until) {
            match next(&pending, mood, now) {
                Next::Idle => break,
                Next::Wait(due) => {
                    assert!(due > now);
                    now = due;
                }
                Next::Try(place) => {
                    asked += 1;
                    assert!(asked < 10_000, "it goes round in circles");
                    let one = &mut pending[place];
                    one.tries += 1;
                    let result = target(one.id.0, now);
                    mood = mood_after(mood, result, one.tries);
                    match result {
                        Ok(()) => taken.push(pending.remove(place).id.0),
                        Err(kind) => {
                            let failure = Failure::new(kind, "");
                            match after_failure(&failure, one.tries, at(0), now, u64::MAX / 2) {
                                DeliveryState::Due(due) => one.due = Some(due),
                                _ => drop(pending.remove(place)),
                            }
                        }
                    }
                }
            }
        }
        (taken, asked)
    }

    #[test]
    fn a_target_that_was_down_for_an_hour_gets_everything_in_order_with_few_tries() {
        for kind in [FailureKind::Down, FailureKind::Refused] {
            let (taken, asked) = run(50, 100_000, |_, now| if now < at(3600) { Err(kind) } else { Ok(()) });
            assert_eq!(taken, (1..=50).collect::<Vec<_>>(), "{kind:?}");
            assert!(asked < 90, "{asked} tries");
        }
    }

    #[test]
    fn after_a_start_everything_is_tried_at_once_and_in_order() {
        let pending = |id, tries, due| Pending { id: NoticeId(id), tries, due };
        let waiting = vec![pending(1, 8, Some(at(600))), pending(2, 8, Some(at(500))), pending(3, 0, None)];
        assert_eq!(run_from(waiting, 1, |_, _| Ok(())), (vec![1, 2, 3], 3));
    }

    #[test]
    fn a_notice_that_is_never_taken_does_not_hold_up_the_others() {
        let mut when = BTreeMap::new();
        let (taken, _) = run(5, 200_000, |id, now| {
            if id == 2 {
                return Err(FailureKind::Refused);
            }
            when.insert(id, now);
            Ok(())
        });
        assert_eq!(taken, [1, 3, 4, 5]);
        assert!(when[&5] < at(60), "the others waited until {}", when[&5]);
    }

    #[test]
    fn what_is_refused_for_good_is_given_up_at_once() {
        let (taken, asked) = run(3, 10, |id, _| if id == 1 { Err(FailureKind::Never) } else { Ok(()) });
        assert_eq!((taken, asked), (vec![2, 3], 3));
    }

    proptest! {
        #[test]
        fn every_notice_ends_whatever_the_target_does(answers in proptest::collection::vec(0..4u8, 1..200)) {
            let mut answers = answers.into_iter().cycle().take(400);
            let (taken, _) = run(20, 10_000_000, |_, _| match answers.next() {
                Some(0) => Err(FailureKind::Down),
                Some(1) => Err(FailureKind::Refused),
                Some(2) => Err(FailureKind::Never),
                _ => Ok(()),
            });
            let mut sorted = taken.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), taken.len());
        }
    }
}
