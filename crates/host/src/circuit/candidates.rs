//! Which instance probes: the one with the oldest event (pure).
//!
//! Each instance that has an event for the probe announces its oldest in a register, again and again while it waits, and
//! hears of the others the same way. Whether another is still there is told by its register changing, not by any clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_model::clock::Timestamp;
use tidegate_model::register::Version;

/// How many poll intervals an announcement stands before its instance may claim the probe: one in which all others hear
/// of the half-open circuit and announce theirs, and one in which this instance hears of that.
const POLLS_TO_SETTLE: u32 = 2;

/// After how many poll intervals without news an announcement, or a lane's own asking, is forgotten.
const POLLS_TO_FORGET: u32 = 3;

/// What one instance knows of all candidates. Times are those of its steady clock.
#[derive(Debug)]
pub(super) struct Candidates {
    poll_interval: Duration,
    own: Option<Own>,
    announced_at: Option<Duration>,
    others: BTreeMap<String, Other>,
}

#[derive(Debug)]
struct Own {
    oldest: Timestamp,
    asked_at: Duration,
}

#[derive(Debug)]
struct Other {
    version: Version,
    oldest: Timestamp,
    heard_at: Duration,
}

/// An announcement as it was read.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) instance: String,
    pub(super) version: Version,
    pub(super) oldest: Timestamp,
}

impl Candidates {
    pub(super) fn new(poll_interval: Duration) -> Self {
        Self { poll_interval, own: None, announced_at: None, others: BTreeMap::new() }
    }

    /// A lane of this instance asks for the probe. True if no other lane that still asks has an older event.
    pub(super) fn ask(&mut self, oldest: Timestamp, now: Duration) -> bool {
        self.forget_own(now);
        let is_oldest = self.own.as_ref().is_none_or(|own| oldest <= own.oldest);
        if is_oldest {
            self.own = Some(Own { oldest, asked_at: now });
        }
        is_oldest
    }

    /// What this instance has to announce: the oldest event that its lanes still ask for.
    pub(super) fn own(&mut self, now: Duration) -> Option<Timestamp> {
        self.forget_own(now);
        self.own.as_ref().map(|own| own.oldest)
    }

    /// It is announced.
    pub(super) fn announced(&mut self, now: Duration) {
        self.announced_at.get_or_insert(now);
    }

    /// What all others announce.
    pub(super) fn heard(&mut self, offers: impl IntoIterator<Item = Offer>, now: Duration) {
        let mut before = std::mem::take(&mut self.others);
        for Offer { instance, version, oldest } in offers {
            let heard_at = match before.remove(&instance) {
                Some(known) if known.version == version => known.heard_at,
                _ => now,
            };
            self.others.insert(instance, Other { version, oldest, heard_at });
        }
    }

    /// Whether an instance was heard of lately.
    pub(super) fn is_alive(&self, instance: &str, now: Duration) -> bool {
        self.others.get(instance).is_some_and(|other| self.is_fresh(other.heard_at, now))
    }

    /// Whether this instance may claim the probe.
    pub(super) fn may_claim(&self, now: Duration) -> bool {
        let Some(own) = &self.own else { return false };
        let settled = self
            .announced_at
            .is_some_and(|at| now.saturating_sub(at) >= self.poll_interval * POLLS_TO_SETTLE);
        let is_older = |other: &Other| self.is_fresh(other.heard_at, now) && other.oldest < own.oldest;
        settled && self.is_fresh(own.asked_at, now) && !self.others.values().any(is_older)
    }

    /// The probe is somebody's, or not wanted any more: what was announced is over.
    pub(super) fn reset(&mut self) {
        self.own = None;
        self.announced_at = None;
    }

    fn forget_own(&mut self, now: Duration) {
        if self.own.as_ref().is_some_and(|own| !self.is_fresh(own.asked_at, now)) {
            self.reset();
        }
    }

    fn is_fresh(&self, at: Duration, now: Duration) -> bool {
        now.saturating_sub(at) < self.poll_interval * POLLS_TO_FORGET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);

    fn old(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn offer(instance: &str, version: u64, oldest: i64) -> Offer {
        Offer { instance: instance.to_owned(), version: Version(version), oldest: old(oldest) }
    }

    #[test]
    fn it_claims_after_its_announcement_has_stood_for_two_polls() {
        let mut candidates = Candidates::new(POLL);
        assert!(candidates.ask(old(5), POLL));
        assert!(!candidates.may_claim(POLL * 9), "not announced");
        candidates.announced(POLL);
        candidates.announced(2 * POLL);
        assert!(candidates.ask(old(5), 2 * POLL));
        assert!(!candidates.may_claim(2 * POLL));
        assert!(candidates.may_claim(3 * POLL));
    }

    #[test]
    fn an_older_event_elsewhere_goes_first_while_it_is_announced_again_and_again() {
        let mut candidates = Candidates::new(POLL);
        candidates.ask(old(5), POLL);
        candidates.announced(POLL);
        for second in 2..8 {
            candidates.ask(old(5), second * POLL);
            candidates.heard([offer("other", second.into(), 4)], second * POLL);
            assert!(!candidates.may_claim(second * POLL));
        }
        for second in 8..10 {
            candidates.ask(old(5), second * POLL);
            candidates.heard([offer("other", 7, 4)], second * POLL);
        }
        assert!(!candidates.may_claim(9 * POLL));
        candidates.ask(old(5), 10 * POLL);
        candidates.heard([offer("other", 7, 4)], 10 * POLL);
        assert!(candidates.may_claim(10 * POLL), "the other is gone");
        assert!(!candidates.is_alive("other", 10 * POLL));
        candidates.heard([offer("other", 8, 4)], 10 * POLL);
        assert!(!candidates.may_claim(10 * POLL), "it is back");
    }

    #[test]
    fn a_younger_event_elsewhere_waits() {
        let mut candidates = Candidates::new(POLL);
        candidates.ask(old(5), POLL);
        candidates.announced(POLL);
        candidates.heard([offer("other", 1, 6)], 2 * POLL);
        candidates.ask(old(5), 3 * POLL);
        assert!(candidates.may_claim(3 * POLL));
    }

    #[test]
    fn of_the_lanes_of_an_instance_the_oldest_asks() {
        let mut candidates = Candidates::new(POLL);
        assert!(candidates.ask(old(5), Duration::ZERO));
        assert!(!candidates.ask(old(6), Duration::ZERO));
        assert!(candidates.ask(old(4), POLL));
        assert!(!candidates.ask(old(5), POLL));
        assert_eq!(candidates.own(POLL), Some(old(4)));
        assert!(candidates.ask(old(5), 4 * POLL), "the older one asks no more");
        assert_eq!(candidates.own(7 * POLL), None);
    }
}
