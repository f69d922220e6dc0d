//! Which events are tried with care after a program did not end in good order (pure).
//!
//! An event can end the whole program: a stack overflow, an abort, too much memory. Nobody is left then to count an
//! attempt, and the next program would be given the same event, for ever. But the store remembers: a lane that was not
//! released had an owner that did not end in good order. Whoever takes it over narrows down what may have been the cause,
//! further with each such end:
//!
//! ```text
//! it ended once           batches as ever, but each is committed before the next is begun
//! it ended again there    the events that the batch may have had go one by one
//! it ended again there    the event that was under way is named in the store, and tried while nothing else runs
//! it ended again there    that was an attempt: the event has failed, as if the function had said so
//! ```
//!
//! What is known about a lane is in a register while it is of use; a program that ends in good order leaves nothing behind,
//! and in normal running nothing of this is looked at.

use serde::{Deserialize, Serialize};
use tidegate_model::clock::Timestamp;
use tidegate_model::position::SequenceNumber;

/// The [kind](tidegate_model::register::RegisterKey::kind) of the registers of lanes that are processed with care. A
/// register's name is the lane's.
pub const CAUTION: &str = "caution";

/// Why an attempt failed that nobody was left to count.
pub const INTERRUPTED: &str = "the program ended while the function had this event, and nothing else ran";

/// How a lane is processed with care. It is the value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caution {
    /// When the lane was taken over last.
    pub since: Timestamp,
    /// How often in a row it was left behind in disorder.
    pub ends: u32,
    /// Where its checkpoint was then.
    pub from: SequenceNumber,
    /// Events before this one go one by one.
    pub alone_until: SequenceNumber,
    /// Events before this one may have been in the hands of the function, or ahead of the store.
    pub until: SequenceNumber,
    /// The event that was under way alone when the program ended, if it was of this lane.
    #[serde(default)]
    pub suspect: Option<SequenceNumber>,
    /// The event that the function has while nothing else runs, or had last.
    #[serde(default)]
    pub trying: Option<Trying>,
}

/// An event that is tried while nothing else runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trying {
    /// The event.
    pub sequence_number: SequenceNumber,
    /// How many failed attempts were recorded before this one.
    pub attempts: u64,
    /// Whether it is parked.
    pub is_parked: bool,
}

/// What is known when a lane is taken over.
#[derive(Clone, Copy, Debug)]
pub struct TakenOver {
    /// Whether the owner before did not release it.
    pub in_disorder: bool,
    /// Its checkpoint.
    pub position: SequenceNumber,
    /// The number that the partition's next event will get.
    pub tail: SequenceNumber,
    /// Whether the turn of a parked event has come.
    pub has_parked_due: bool,
    /// Whether the event that [was tried last](Caution::trying) is as it was: not resolved, and without another attempt.
    pub is_trying: bool,
    /// How many events an invocation may have.
    pub batch: u64,
    /// How many events may have been ahead of the store.
    pub ahead: u64,
    /// The time.
    pub now: Timestamp,
}

/// What follows from taking over a lane: how it is processed from now on.
pub fn taken_over(before: Option<&Caution>, lane: TakenOver) -> Option<Caution> {
    let TakenOver { position, now, .. } = lane;
    // A checkpoint that a person moved back is another story.
    let before = before.filter(|before| before.from <= position);
    if !lane.in_disorder {
        return before.map(|before| Caution { trying: None, ..before.clone() });
    }
    let Some(before) =
        before.filter(|before| lane.is_trying || !before.is_over(position, lane.has_parked_due))
    else {
        let until = lane.tail.min(position.plus(lane.ahead));
        let caution = Caution {
            since: now,
            ends: 1,
            from: position,
            alone_until: position,
            until,
            suspect: None,
            trying: None,
        };
        return (!caution.is_over(position, lane.has_parked_due)).then_some(caution);
    };
    let next = Caution { since: now, ends: before.ends.saturating_add(1), from: position, ..before.clone() };
    Some(if lane.is_trying {
        // It is known what did it.
        next
    } else if position < before.alone_until {
        Caution { suspect: Some(position), trying: None, ..next }
    } else {
        let alone_until = before.until.min(position.plus(lane.batch)).max(position);
        Caution { alone_until, suspect: None, trying: None, ..next }
    })
}

impl Caution {
    /// The caution that only says which event is tried.
    pub fn of_one(trying: Trying, position: SequenceNumber, now: Timestamp) -> Self {
        Self {
            since: now,
            ends: 0,
            from: position,
            alone_until: position,
            until: position,
            suspect: None,
            trying: Some(trying),
        }
    }

    /// Whether everything that may have been under way when the program ended was tried since; `has_parked_due` says
    /// whether there are parked events whose turn had come [then](Self::since).
    pub fn is_over(&self, position: SequenceNumber, has_parked_due: bool) -> bool {
        position >= self.until && !has_parked_due
    }

    /// Whether the events at `position`, or parked ones, go one by one.
    pub fn is_one_by_one(&self, position: SequenceNumber, has_parked_due: bool) -> bool {
        position < self.alone_until || (has_parked_due && self.ends >= 2)
    }

    /// Whether the event at `position` is tried while nothing else runs.
    pub fn suspects(&self, position: SequenceNumber) -> bool {
        self.suspect == Some(position)
    }

    /// Whether the first parked event that is tried is tried while nothing else runs. Nobody knows which one it was; but
    /// those with the earliest turn go first, then as now.
    pub fn suspects_parked(&self, has_parked_due: bool) -> bool {
        has_parked_due && self.ends >= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1000);

    fn number(number: u64) -> SequenceNumber {
        SequenceNumber(number)
    }

    fn left_at(position: u64) -> TakenOver {
        TakenOver {
            in_disorder: true,
            position: number(position),
            tail: number(1000),
            has_parked_due: false,
            is_trying: false,
            batch: 10,
            ahead: 500,
            now: NOW,
        }
    }

    #[test]
    fn each_end_at_the_same_place_narrows_it_down() {
        let first = taken_over(None, left_at(100)).unwrap();
        assert_eq!((first.alone_until, first.until), (number(100), number(600)));
        assert!(!first.is_one_by_one(number(100), false));

        let second = taken_over(Some(&first), left_at(150)).unwrap();
        assert_eq!((second.alone_until, second.until), (number(160), number(600)));
        assert!(second.is_one_by_one(number(159), false) && !second.is_one_by_one(number(160), false));
        assert!(!second.suspects(number(150)));

        let third = taken_over(Some(&second), left_at(154)).unwrap();
        assert!(third.suspects(number(154)) && !third.suspects(number(155)));

        let trying = Trying { sequence_number: number(154), attempts: 0, is_parked: false };
        let tried = Caution { trying: Some(trying), ..third };
        let fourth = taken_over(Some(&tried), TakenOver { is_trying: true, ..left_at(154) }).unwrap();
        assert_eq!(fourth.trying, Some(trying), "until the attempt is recorded");
        let recorded = taken_over(Some(&fourth), left_at(154)).unwrap();
        assert_eq!(recorded.trying, None);
    }

    #[test]
    fn an_end_further_on_is_another_search() {
        let first = taken_over(None, left_at(100)).unwrap();
        let second = taken_over(Some(&first), left_at(150)).unwrap();
        let beyond = taken_over(Some(&second), left_at(300)).unwrap();
        assert_eq!((beyond.alone_until, beyond.suspect), (number(310), None));
        let later = taken_over(Some(&beyond), left_at(700)).unwrap();
        assert_eq!((later.ends, later.alone_until, later.until), (1, number(700), number(1000)));
    }

    #[test]
    fn an_end_in_good_order_blames_nobody_and_forgets_nothing() {
        assert_eq!(taken_over(None, TakenOver { in_disorder: false, ..left_at(100) }), None);
        let second = taken_over(taken_over(None, left_at(100)).as_ref(), left_at(150)).unwrap();
        let trying = Trying { sequence_number: number(150), attempts: 0, is_parked: false };
        let tried = Caution { trying: Some(trying), ..second.clone() };
        let orderly = TakenOver { in_disorder: false, is_trying: true, ..left_at(150) };
        assert_eq!(taken_over(Some(&tried), orderly), Some(second));
    }

    #[test]
    fn where_nothing_was_under_way_there_is_nothing_to_be_careful_about() {
        assert_eq!(taken_over(None, left_at(1000)), None);
        let parked = TakenOver { has_parked_due: true, ..left_at(1000) };
        let mut caution = taken_over(None, parked).unwrap();
        assert!(!caution.is_one_by_one(number(1000), true));
        caution = taken_over(Some(&caution), parked).unwrap();
        assert!(caution.is_one_by_one(number(1000), true) && !caution.suspects_parked(true));
        caution = taken_over(Some(&caution), parked).unwrap();
        assert!(caution.suspects_parked(true) && !caution.suspects_parked(false));
        assert!(caution.is_over(number(1000), false));
    }

    #[test]
    fn a_checkpoint_that_was_moved_back_begins_anew() {
        let first = taken_over(None, left_at(100)).unwrap();
        let moved = taken_over(Some(&first), left_at(50)).unwrap();
        assert_eq!((moved.ends, moved.alone_until, moved.until), (1, number(50), number(550)));
    }
}
