//! Idle time-outs, both ways, on time that is passed in.

use std::time::Duration;

/// When something last came and went. Activity is only noted; its time is that of the tick before or after, whichever is
/// on the safe side: what came is taken to be as late as possible, what went as early as possible.
#[derive(Debug)]
pub(super) struct Idle {
    now: Duration,
    received_at: Duration,
    sent_at: Duration,
    received: bool,
    sent: bool,
    /// Since when the peer has taken nothing of what waits to be written.
    stuck_since: Option<Duration>,
    /// How long the peer may be silent, and how long it may take nothing.
    cut_after: Option<Duration>,
    /// How long this end may be silent.
    speak_after: Option<Duration>,
}

/// What a tick found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    None,
    /// This end was silent: it should send an empty frame.
    Ours,
    /// The peer was silent for too long.
    Theirs,
    /// What waits to be written was not taken for too long.
    Stuck,
}

impl Idle {
    pub(super) fn new(now: Duration, idle_timeout: Option<Duration>) -> Self {
        Self {
            now,
            received_at: now,
            sent_at: now,
            received: false,
            sent: false,
            stuck_since: None,
            // The specification asks to announce half of what is meant, so that a peer that is a little late is not cut.
            cut_after: idle_timeout.map(|timeout| timeout.saturating_mul(2)),
            speak_after: None,
        }
    }

    /// The peer's own time-out, as its open says: half of it is kept.
    pub(super) fn keep_alive(&mut self, timeout: Option<Duration>) {
        // A time-out of zero means none. Below 20 ms, keeping alive would be a loop.
        self.speak_after =
            timeout.filter(|timeout| !timeout.is_zero()).map(|t| (t / 2).max(Duration::from_millis(10)));
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn received(&mut self) {
        self.received = true;
    }

    pub(super) fn sent(&mut self) {
        self.sent = true;
    }

    /// Whether something came or went since the last tick.
    pub(super) fn is_active(&self) -> bool {
        self.received || self.sent
    }

    /// `waits` says that there is something to write, `taken` that the peer has taken something since the last tick.
    pub(super) fn tick(&mut self, now: Duration, waits: bool, taken: bool) -> Silence {
        let before = self.now;
        self.now = now.max(before);
        self.stuck_since = match self.stuck_since {
            _ if !waits => None,
            Some(since) if !taken => Some(since),
            _ => Some(self.now),
        };
        if std::mem::take(&mut self.received) {
            self.received_at = self.now;
        }
        if std::mem::take(&mut self.sent) {
            self.sent_at = before;
        }
        // A peer that takes nothing cannot be told anything either, so this comes first.
        if let (Some(since), Some(limit)) = (self.stuck_since, self.cut_after)
            && self.now.saturating_sub(since) >= limit
        {
            return Silence::Stuck;
        }
        if self.cut_after.is_some_and(|limit| self.now.saturating_sub(self.received_at) >= limit) {
            return Silence::Theirs;
        }
        if self.speak_after.is_some_and(|limit| self.now.saturating_sub(self.sent_at) >= limit) {
            self.sent_at = self.now;
            return Silence::Ours;
        }
        Silence::None
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let cut = self.cut_after.map(|limit| self.received_at.saturating_add(limit));
        let stuck = self.stuck_since.zip(self.cut_after).map(|(since, limit)| since.saturating_add(limit));
        let speak = self.speak_after.map(|limit| self.sent_at.saturating_add(limit));
        cut.into_iter().chain(stuck).chain(speak).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn tick(idle: &mut Idle, now: u64) -> Silence {
        idle.tick(seconds(now), false, false)
    }

    #[test]
    fn a_peer_that_talks_and_never_reads_is_given_up() {
        let mut idle = Idle::new(seconds(0), Some(seconds(10)));
        for (now, waits, taken, expected) in [
            (5, true, true, Silence::None),
            (15, true, false, Silence::None),
            (20, true, true, Silence::None),
            (30, true, false, Silence::None),
            // All of it went, and something new waits.
            (35, false, true, Silence::None),
            (36, true, false, Silence::None),
            (55, true, false, Silence::None),
            (56, true, false, Silence::Stuck),
        ] {
            idle.received();
            assert_eq!(idle.tick(seconds(now), waits, taken), expected, "at {now} s");
        }
        assert_eq!(idle.next_deadline(), Some(seconds(56)));
    }

    #[test]
    fn a_silent_peer_is_cut_after_twice_the_time_out() {
        let mut idle = Idle::new(seconds(100), Some(seconds(10)));
        assert_eq!(idle.next_deadline(), Some(seconds(120)));
        assert_eq!(tick(&mut idle, 119), Silence::None);
        idle.received();
        assert_eq!(tick(&mut idle, 120), Silence::None);
        assert_eq!(idle.next_deadline(), Some(seconds(140)));
        assert_eq!(tick(&mut idle, 140), Silence::Theirs);
    }

    #[test]
    fn this_end_never_falls_silent_for_the_peers_time_out() {
        let mut idle = Idle::new(seconds(0), None);
        assert_eq!(idle.next_deadline(), None);
        idle.keep_alive(Some(seconds(60)));
        assert_eq!(idle.next_deadline(), Some(seconds(30)));
        assert_eq!(tick(&mut idle, 30), Silence::Ours);
        // Something goes right after the tick, so that at the next deadline 30 s have passed since.
        idle.sent();
        assert_eq!(tick(&mut idle, 60), Silence::Ours);
        assert_eq!(tick(&mut idle, 60), Silence::None);
    }

    #[test]
    fn time_never_runs_backwards_and_zero_means_none() {
        let mut idle = Idle::new(seconds(50), Some(seconds(1)));
        idle.keep_alive(Some(Duration::ZERO));
        assert_eq!(tick(&mut idle, 3), Silence::None);
        assert_eq!(idle.now(), seconds(50));
        assert_eq!(idle.next_deadline(), Some(seconds(52)));
    }
}
