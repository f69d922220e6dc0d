//! Answers that are held back: to producers that are to slow down, and to clients that lose an answer which comes at once.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::connection::{LinkId, SessionId};

/// An answer that is held back.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// What became of a producer's delivery, told but not settled yet.
    State { link: LinkId, delivery: u32, state: DeliveryState },
    /// What became of a producer's delivery.
    Settlement { link: LinkId, delivery: u32, state: DeliveryState },
    /// The client has detached a link of this session.
    Detach { link: LinkId, session: SessionId },
}

impl Answer {
    fn link(&self) -> LinkId {
        match self {
            Self::State { link, .. } | Self::Settlement { link, .. } | Self::Detach { link, .. } => *link,
        }
    }
}

/// The answers of a connection that are held back: by their time, and of the same time in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    answers: BTreeMap<(Duration, u64), Answer>,
    last: u64,
}

impl Held {
    /// Holds an answer back until `at`, on the clock's monotonic time.
    pub(super) fn put(&mut self, at: Duration, answer: Answer) {
        self.last += 1;
        self.answers.insert((at, self.last), answer);
    }

    /// When the next answer is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.answers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes an answer that is due at `now`.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Answer> {
        let entry = self.answers.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Takes what is held of a link.
    pub(super) fn take_of_link(&mut self, link: LinkId) -> Vec<Answer> {
        self.take(|answer| answer.link() == link)
    }

    /// Takes the answers to the detaches of a session.
    pub(super) fn take_detaches(&mut self, session: SessionId) -> Vec<Answer> {
        self.take(|answer| matches!(answer, Answer::Detach { session: of, .. } if *of == session))
    }

    /// Drops what is held for a session that has ended, with these links that were attached until then.
    pub(super) fn forget_session(&mut self, session: SessionId, links: &[LinkId]) {
        let mut gone: HashSet<LinkId> = links.iter().copied().collect();
        gone.extend(self.take_detaches(session).iter().map(Answer::link));
        self.answers.retain(|_, answer| !gone.contains(&answer.link()));
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.answers.clear();
    }

    /// Whether a producer waits for a settlement.
    pub(super) fn has_settlements(&self) -> bool {
        self.answers.values().any(|answer| !matches!(answer, Answer::Detach { .. }))
    }

    fn take(&mut self, mut wanted: impl FnMut(&Answer) -> bool) -> Vec<Answer> {
        self.answers.extract_if(.., |_, answer| wanted(answer)).map(|(_, answer)| answer).collect()
    }
}
