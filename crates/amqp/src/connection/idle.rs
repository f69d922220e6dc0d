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
    /// How long the peer may be silent.
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
}

impl Idle {
    pub(super) fn new(now: Duration, idle_timeout: Option<Duration>) -> Self {
        Self {
            now,
            received_at: now,
            sent_at: now,
            received: false,
            sent: false,
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

    pub(super) fn tick(&mut self, now: Duration) -> Silence {
        let before = self.now;
        self.now = now.max(before);
        if std::mem::take(&mut self.received) {
            self.received_at = self.now;
        }
        if std::mem::take(&mut self.sent) {
            self.sent_at = before;
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
        let speak = self.speak_after.map(|limit| self.sent_at.saturating_add(limit));
        match (cut, speak) {
            (Some(cut), Some(speak)) => Some(cut.min(speak)),
            (cut, speak) => cut.or(speak),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_peer_is_cut_after_twice_the_time_out() {
        let mut idle = Idle::new(seconds(100), Some(seconds(10)));
        assert_eq!(idle.next_deadline(), Some(seconds(120)));
        assert_eq!(idle.tick(seconds(119)), Silence::None);
        idle.received();
        assert_eq!(idle.tick(seconds(120)), Silence::None);
        assert_eq!(idle.next_deadline(), Some(seconds(140)));
        assert_eq!(idle.tick(seconds(140)), Silence::Theirs);
    }

    #[test]
    fn this_end_never_falls_silent_for_the_peers_time_out() {
        let mut idle = Idle::new(seconds(0), None);
        assert_eq!(idle.next_deadline(), None);
        idle.keep_alive(Some(seconds(60)));
        assert_eq!(idle.next_deadline(), Some(seconds(30)));
        assert_eq!(idle.tick(seconds(30)), Silence::Ours);
        // Something goes right after the tick, so that at the next deadline 30 s have passed since.
        idle.sent();
        assert_eq!(idle.tick(seconds(60)), Silence::Ours);
        assert_eq!(idle.tick(seconds(60)), Silence::None);
    }

    #[test]
    fn time_never_runs_backwards_and_zero_means_none() {
        let mut idle = Idle::new(seconds(50), Some(seconds(1)));
        idle.keep_alive(Some(Duration::ZERO));
        assert_eq!(idle.tick(seconds(3)), Silence::None);
        assert_eq!(idle.now(), seconds(50));
        assert_eq!(idle.next_deadline(), Some(seconds(52)));
    }
}
