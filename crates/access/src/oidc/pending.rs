//! Sign-ins that were begun: what the browser was sent away with, until it comes back.
//!
//! Each is used once, by the browser that began it, within ten minutes.

use std::collections::HashMap;
use std::time::Duration;

use crate::secret::{digest, same};

/// How long somebody may take at the provider.
pub const SIGN_IN_TIME: Duration = Duration::from_secs(600);

/// How many sign-ins may be under way: more than the pace of tries lets begin in their time. Beyond it the oldest is
/// forgotten.
pub const MAX_PENDING: usize = 4096;

/// What a sign-in was begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// What the token must repeat.
    pub(super) nonce: String,
    /// What proves that who brings the code is who asked for it.
    pub(super) verifier: String,
    /// Where the provider sends the browser.
    pub(super) redirect_uri: String,
    /// Where the person wanted to go.
    pub(super) then: String,
}

struct Held {
    begun: Begun,
    /// The digest of what the browser's cookie holds.
    browser: String,
    at: Duration,
}

/// The sign-ins under way, by their state.
#[derive(Default)]
pub(super) struct Pending(HashMap<String, Held>);

impl Pending {
    /// Notes a sign-in that begins at `now`.
    pub(super) fn put(&mut self, state: String, browser: &str, begun: Begun, now: Duration) {
        self.0.retain(|_, held| now.saturating_sub(held.at) < SIGN_IN_TIME);
        if self.0.len() >= MAX_PENDING {
            let oldest = self.0.iter().min_by_key(|(_, held)| held.at).map(|(state, _)| state.clone());
            oldest.map(|state| self.0.remove(&state));
        }
        self.0.insert(state, Held { begun, browser: digest(browser), at: now });
    }

    /// Takes the sign-in with this state out, if this browser began it and its time is not over. It is gone in any case.
    pub(super) fn take(&mut self, state: &str, browser: &str, now: Duration) -> Option<Begun> {
        let Held { begun, browser: of, at } = self.0.remove(state)?;
        let is_theirs = same(&of, &digest(browser));
        (is_theirs && now.saturating_sub(at) < SIGN_IN_TIME).then_some(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(then: &str) -> Begun {
        let text = || "x".to_owned();
        Begun { nonce: text(), verifier: text(), redirect_uri: text(), then: then.to_owned() }
    }

    const START: Duration = Duration::from_secs(100);

    #[test]
    fn a_sign_in_is_finished_once_by_its_browser_in_its_time() {
        let mut pending = Pending::default();
        pending.put("a".to_owned(), "browser", begun("/a"), START);
        assert_eq!(pending.take("a", "browser", START), Some(begun("/a")));
        assert_eq!(pending.take("a", "browser", START), None, "once");
        pending.put("b".to_owned(), "browser", begun("/b"), START);
        assert_eq!(pending.take("b", "another", START), None);
        assert_eq!(pending.take("b", "browser", START), None, "who tried with another browser spoilt it");
        pending.put("c".to_owned(), "browser", begun("/c"), START);
        assert_eq!(pending.take("c", "browser", START + SIGN_IN_TIME), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut pending = Pending::default();
        for number in 0..=MAX_PENDING as u32 {
            pending.put(number.to_string(), "b", begun("/"), START + Duration::from_millis(number.into()));
        }
        let now = START + Duration::from_secs(5);
        assert_eq!(pending.0.len(), MAX_PENDING);
        assert_eq!(pending.take("0", "b", now), None);
        assert!(pending.take("1", "b", now).is_some());
    }
}
