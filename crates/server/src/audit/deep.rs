//! The deep audit: what became of each single event (pure).
//!
//! The counts of a checkpoint may add up and still hide that one event is twice among the dead letters and another nowhere.
//! So the log is read once more, and what the store records of each event is held against the event itself:
//!
//! | where | what must be so |
//! |---|---|
//! | before the position | at most one live dead letter; parked or not as its status says; the same bytes as the log |
//! | from the position on | nothing is recorded yet |
//! | missing in the log | a repair gave it up, or retention dropped it after it was resolved |

use serde::Serialize;

use tidegate_model::dead_letter::{DeadLetterId, DeadLetterStatus};
use tidegate_model::position::SequenceNumber;

/// What is known about one sequence number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Its dead letters, oldest first; those that are settled included.
    pub dead_letters: Vec<RecordedLetter>,
    /// Whether it is parked, and as what.
    pub parked: Option<RecordedParked>,
}

/// What is known about a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// Where it is in its life.
    pub status: DeadLetterStatus,
    /// Whether it holds what the log holds; `None` when the log does not have the event any more.
    pub same_as_log: Option<bool>,
}

/// What is known about a parked event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedParked {
    /// The dead letter it is the redrive of.
    pub redrive_of: Option<DeadLetterId>,
    /// Whether it holds what the log holds, or what the dead letter was edited to; `None` when the log does not have the
    /// event any more.
    pub same: Option<bool>,
}

/// Where a sequence number lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// The function has resolved it.
    Resolved,
    /// It has not.
    Pending,
}

/// How the live records of an event count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Open and quarantined dead letters.
    pub dead_lettered: u64,
    /// Parked events.
    pub parked: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.dead_lettered += other.dead_lettered;
        self.parked += other.parked;
    }
}

/// Something about one event that cannot be so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Two dead letters say that they are the event's.
    #[error("event {event} is in the dead letters more than once: {ids:?}")]
    Twice {
        /// The event.
        event: SequenceNumber,
        /// Its live dead letters.
        ids: Vec<u64>,
    },
    /// It waits for a decision and is parked at the same time.
    #[error("event {event} is parked, and its dead letter {id} is {}", .status.as_str())]
    ParkedBesides {
        /// The event.
        event: SequenceNumber,
        /// The dead letter.
        id: DeadLetterId,
        /// Its status.
        status: DeadLetterStatus,
    },
    /// A redrive that is on its way nowhere.
    #[error(
        "the dead letter {id} of event {event} is being redriven, but the event is not parked as its redrive"
    )]
    NotParked {
        /// The event.
        event: SequenceNumber,
        /// The dead letter.
        id: DeadLetterId,
    },
    /// A parked redrive of something that is not being redriven.
    #[error("event {event} is parked as the redrive of dead letter {id}, which is not being redriven")]
    NoRedrive {
        /// The event.
        event: SequenceNumber,
        /// The dead letter.
        id: DeadLetterId,
    },
    /// The store holds other bytes than the log.
    #[error("the dead letter {id} of event {event} holds another event than the log")]
    OtherLetter {
        /// The event.
        event: SequenceNumber,
        /// The dead letter.
        id: DeadLetterId,
    },
    /// The store holds other bytes than the log.
    #[error("event {event} is parked as another event than the log holds")]
    OtherParked {
        /// The event.
        event: SequenceNumber,
    },
    /// Something is recorded of an event that the function has not resolved.
    #[error("event {event} is not resolved yet, and is {what} already")]
    TooEarly {
        /// The event.
        event: SequenceNumber,
        /// What it is.
        what: &'static str,
    },
    /// The log has no such event, and nothing says why.
    #[error("the log has no event {event}, and no repair gave it up")]
    Missing {
        /// The event.
        event: SequenceNumber,
    },
}

impl Finding {
    /// The event it is about.
    pub fn event(&self) -> SequenceNumber {
        match self {
            Self::Twice { event, .. }
            | Self::ParkedBesides { event, .. }
            | Self::NotParked { event, .. }
            | Self::NoRedrive { event, .. }
            | Self::OtherLetter { event, .. }
            | Self::OtherParked { event }
            | Self::TooEarly { event, .. }
            | Self::Missing { event } => *event,
        }
    }
}

/// Holds what is recorded of an event against where it lies.
pub fn check(event: SequenceNumber, place: Whereabouts, recorded: &Recorded) -> (Tally, Vec<Finding>) {
    let is_live = |status: DeadLetterStatus| status.is_unsettled() || status == DeadLetterStatus::Redriving;
    let live: Vec<&RecordedLetter> =
        recorded.dead_letters.iter().filter(|letter| is_live(letter.status)).collect();
    let mut findings = Vec::new();
    if live.len() > 1 {
        findings.push(Finding::Twice { event, ids: live.iter().map(|letter| letter.id.0).collect() });
    }
    if place == Whereabouts::Pending {
        // Settled dead letters from before the checkpoint was set back are history.
        if !live.is_empty() {
            findings.push(Finding::TooEarly { event, what: "a dead letter" });
        }
        if recorded.parked.is_some() {
            findings.push(Finding::TooEarly { event, what: "parked" });
        }
    } else {
        let parked_as = recorded.parked.as_ref().map(|parked| parked.redrive_of);
        for letter in &live {
            match (letter.status == DeadLetterStatus::Redriving, parked_as) {
                (true, Some(Some(id))) if id == letter.id => {}
                (true, _) => findings.push(Finding::NotParked { event, id: letter.id }),
                (false, Some(_)) => {
                    let RecordedLetter { id, status, .. } = **letter;
                    findings.push(Finding::ParkedBesides { event, id, status });
                }
                (false, None) => {}
            }
        }
        if let Some(Some(id)) = parked_as {
            let redriving =
                |letter: &&&RecordedLetter| letter.id == id && letter.status == DeadLetterStatus::Redriving;
            if live.iter().find(redriving).is_none() {
                findings.push(Finding::NoRedrive { event, id });
            }
        }
    }
    let other = recorded.dead_letters.iter().filter(|letter| letter.same_as_log == Some(false));
    findings.extend(other.map(|letter| Finding::OtherLetter { event, id: letter.id }));
    if recorded.parked.as_ref().is_some_and(|parked| parked.same == Some(false)) {
        findings.push(Finding::OtherParked { event });
    }
    let tally = Tally {
        dead_lettered: live.iter().filter(|letter| letter.status.is_unsettled()).count() as u64,
        parked: u64::from(recorded.parked.is_some()),
    };
    (tally, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeadLetterStatus::{Discarded, Open, Quarantined, Redriven, Redriving, Replayed};

    const EVENT: SequenceNumber = SequenceNumber(7);

    fn letter(id: u64, status: DeadLetterStatus) -> RecordedLetter {
        RecordedLetter { id: DeadLetterId(id), status, same_as_log: Some(true) }
    }

    fn parked(redrive_of: Option<u64>) -> Option<RecordedParked> {
        Some(RecordedParked { redrive_of: redrive_of.map(DeadLetterId), same: Some(true) })
    }

    fn resolved(dead_letters: &[RecordedLetter], parked: Option<RecordedParked>) -> (u64, u64, Vec<Finding>) {
        let recorded = Recorded { dead_letters: dead_letters.to_vec(), parked };
        let (tally, findings) = check(EVENT, Whereabouts::Resolved, &recorded);
        assert!(findings.iter().all(|finding| finding.event() == EVENT));
        (tally.dead_lettered, tally.parked, findings)
    }

    #[test]
    fn every_sound_record_counts_once() {
        for (letters, parked, counted) in [
            (&[][..], None, (0, 0)),
            (&[], parked(None), (0, 1)),
            (&[letter(1, Open)], None, (1, 0)),
            (&[letter(1, Quarantined)], None, (1, 0)),
            (&[letter(1, Redriving)], parked(Some(1)), (0, 1)),
            (&[letter(1, Redriven)], None, (0, 0)),
            (&[letter(1, Discarded)], None, (0, 0)),
            // Processed again from the log, and set aside once more.
            (&[letter(1, Replayed), letter(2, Open)], None, (1, 0)),
            (&[letter(1, Discarded), letter(2, Redriving)], parked(Some(2)), (0, 1)),
        ] {
            assert_eq!(resolved(letters, parked), (counted.0, counted.1, Vec::new()), "{letters:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let id = DeadLetterId(1);
        for (letters, parked, finding) in [
            (&[letter(1, Open), letter(2, Open)][..], None, Finding::Twice { event: EVENT, ids: vec![1, 2] }),
            (&[letter(1, Open)], parked(None), Finding::ParkedBesides { event: EVENT, id, status: Open }),
            (&[letter(1, Redriving)], None, Finding::NotParked { event: EVENT, id }),
            (&[letter(1, Redriving)], parked(None), Finding::NotParked { event: EVENT, id }),
            (&[letter(1, Redriven)], parked(Some(1)), Finding::NoRedrive { event: EVENT, id }),
            (&[], parked(Some(1)), Finding::NoRedrive { event: EVENT, id }),
            (
                &[RecordedLetter { same_as_log: Some(false), ..letter(1, Discarded) }],
                None,
                Finding::OtherLetter { event: EVENT, id },
            ),
            (
                &[],
                Some(RecordedParked { redrive_of: None, same: Some(false) }),
                Finding::OtherParked { event: EVENT },
            ),
        ] {
            assert_eq!(resolved(letters, parked).2, [finding]);
        }
        // What retention has dropped cannot be compared.
        let dropped = RecordedLetter { same_as_log: None, ..letter(1, Open) };
        assert_eq!(resolved(&[dropped], None), (1, 0, Vec::new()));
    }

    #[test]
    fn nothing_is_recorded_of_what_is_pending() {
        let pending = |letters: &[RecordedLetter], parked| {
            let recorded = Recorded { dead_letters: letters.to_vec(), parked };
            check(EVENT, Whereabouts::Pending, &recorded).1
        };
        assert_eq!(pending(&[letter(1, Replayed), letter(2, Discarded)], None), []);
        assert_eq!(
            pending(&[letter(1, Open)], None),
            [Finding::TooEarly { event: EVENT, what: "a dead letter" }]
        );
        assert_eq!(pending(&[], parked(None)), [Finding::TooEarly { event: EVENT, what: "parked" }]);
    }
}
