//! Sessions: what a browser shows after a sign-in, so that nobody types a token twice.
//!
//! They are kept in the memory of the instance: a restart signs everybody out, and nothing of them is on a disk. A session
//! ends when it was not used for a while, when its longest time is over, and when the token behind it does.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_model::clock::SharedClock;

use crate::principal::{Principal, Proof};
use crate::secret::{digest, random_hex, same};
use crate::token::TokenId;

/// How many sessions there may be; the one that was not used for the longest time makes room.
pub const MAX_SESSIONS: usize = 4096;

/// How many sessions one person may have, likewise.
pub const MAX_SESSIONS_OF_ONE: usize = 16;

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// Without being used.
    pub idle: Duration,
    /// In any case.
    pub lifetime: Duration,
}

impl Default for SessionTimes {
    /// An hour, and the working day of 12 hours.
    fn default() -> Self {
        Self { idle: Duration::from_secs(3600), lifetime: Duration::from_secs(12 * 3600) }
    }
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub principal: Principal,
    /// What requests of theirs that change something must carry besides the cookie: another site cannot read it.
    pub csrf: CsrfToken,
}

/// The synchroniser token of a session. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// The text, for the page of the session.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when a request carries this very token.
    pub fn is(&self, shown: &str) -> bool {
        same(&self.0, shown)
    }
}

impl std::fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CsrfToken([redacted])")
    }
}

struct Held {
    session: Session,
    /// By the clock that does not jump.
    opened_at: Duration,
    used_at: Duration,
}

impl Held {
    fn is_over(&self, times: &SessionTimes, now: Duration) -> bool {
        now.saturating_sub(self.used_at) >= times.idle || now.saturating_sub(self.opened_at) >= times.lifetime
    }
}

/// The sessions of this instance.
pub struct Sessions {
    /// By the digest of what the cookie holds: looking one up takes the same time whatever was guessed.
    held: Mutex<HashMap<String, Held>>,
    times: SessionTimes,
    clock: SharedClock,
}

impl Sessions {
    /// Nobody is signed in.
    pub fn new(times: SessionTimes, clock: SharedClock) -> Self {
        Self { held: Mutex::default(), times, clock }
    }

    /// Opens a session; what the cookie holds from now on. Every sign-in has a new one, so that none which somebody else
    /// knows is ever used.
    pub fn open(&self, principal: Principal) -> (String, Session) {
        let (secret, csrf) = (random_hex::<32>(&*self.clock), CsrfToken(random_hex::<32>(&*self.clock)));
        let session = Session { principal, csrf };
        let now = self.clock.monotonic();
        let mut held = self.held.lock();
        held.retain(|_, one| !one.is_over(&self.times, now));
        let Principal { name, proof, .. } = &session.principal;
        let is_theirs =
            |one: &Held| one.session.principal.proof == *proof && one.session.principal.name == *name;
        remove_beyond(&mut held, MAX_SESSIONS_OF_ONE - 1, is_theirs);
        remove_beyond(&mut held, MAX_SESSIONS - 1, |_| true);
        let one = Held { session: session.clone(), opened_at: now, used_at: now };
        held.insert(digest(&secret), one);
        (secret, session)
    }

    /// The session whose cookie holds this, if it is not over; it is used now.
    pub fn find(&self, secret: &str) -> Option<Session> {
        let (key, now) = (digest(secret), self.clock.monotonic());
        let mut held = self.held.lock();
        let one = held.get_mut(&key)?;
        if one.is_over(&self.times, now) {
            held.remove(&key);
            return None;
        }
        one.used_at = now;
        Some(one.session.clone())
    }

    /// Ends a session.
    pub fn close(&self, secret: &str) -> Option<Session> {
        self.held.lock().remove(&digest(secret)).map(|one| one.session)
    }

    /// Ends the sessions that were opened with a token.
    pub fn close_of_token(&self, id: &TokenId) {
        let of_it = |one: &Held| matches!(&one.session.principal.proof, Proof::TokenSession(of) if of == id);
        self.held.lock().retain(|_, one| !of_it(one));
    }

    /// How long a session lasts at most.
    pub fn lifetime(&self) -> Duration {
        self.times.lifetime
    }
}

/// Leaves at most `most` of those sessions, the ones that were used last.
fn remove_beyond(held: &mut HashMap<String, Held>, most: usize, counts: impl Fn(&Held) -> bool) {
    while held.values().filter(|one| counts(one)).count() > most {
        let idle = held.iter().filter(|(_, one)| counts(one)).min_by_key(|(_, one)| one.used_at);
        let Some(key) = idle.map(|(key, _)| key.clone()) else { return };
        held.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::{TestClock, Timestamp};

    use super::*;
    use crate::role::Role;

    fn sessions() -> Sessions {
        Sessions::new(SessionTimes::default(), TestClock::new(Timestamp::from_millis(0), 7))
    }

    fn somebody(name: &str) -> Principal {
        Principal { name: name.to_owned(), role: Role::Operator, proof: Proof::ProviderSession }
    }

    async fn pass(minutes: u64) {
        tokio::time::advance(Duration::from_secs(60 * minutes)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_it_is_idle_and_after_its_longest_time() {
        let sessions = sessions();
        let (cookie, session) = sessions.open(somebody("mia"));
        assert_eq!(sessions.find(&cookie), Some(session.clone()));
        assert_eq!(sessions.find(session.csrf.reveal()), None, "one is not the other");
        pass(59).await;
        assert!(sessions.find(&cookie).is_some());
        pass(60).await;
        assert_eq!(sessions.find(&cookie), None, "it was idle");

        let (cookie, _) = sessions.open(somebody("mia"));
        for _ in 0..23 {
            pass(30).await;
            assert!(sessions.find(&cookie).is_some());
        }
        pass(30).await;
        assert_eq!(sessions.find(&cookie), None, "12 hours are over");
    }

    #[tokio::test(start_paused = true)]
    async fn signing_out_ends_a_session_and_revoking_those_of_a_token() {
        let sessions = sessions();
        let (cookie, _) = sessions.open(somebody("mia"));
        assert!(sessions.close(&cookie).is_some());
        assert_eq!((sessions.find(&cookie), sessions.close(&cookie)), (None, None));

        let id = TokenId::parse("00c0ffee00aa").unwrap();
        let by_token = Principal { proof: Proof::TokenSession(id.clone()), ..somebody("mia") };
        let (one, _) = sessions.open(by_token);
        let (other, _) = sessions.open(somebody("mia"));
        sessions.close_of_token(&id);
        assert_eq!((sessions.find(&one).is_some(), sessions.find(&other).is_some()), (false, true));
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded_for_one_person_and_for_all() {
        let sessions = sessions();
        let (first, _) = sessions.open(somebody("mia"));
        let (other, _) = sessions.open(somebody("ann"));
        for _ in 0..MAX_SESSIONS_OF_ONE {
            pass(1).await;
            sessions.open(somebody("mia"));
        }
        assert_eq!(sessions.find(&first), None, "the one that was not used longest made room");
        assert!(sessions.find(&other).is_some());
        for number in 0..MAX_SESSIONS + 10 {
            sessions.open(somebody(&number.to_string()));
        }
        assert_eq!(sessions.held.lock().len(), MAX_SESSIONS);
    }

    #[test]
    fn the_token_against_forgery_is_not_printed() {
        let (_, session) = {
            let clock = tidegate_model::clock::SystemClock::shared();
            Sessions::new(SessionTimes::default(), clock).open(somebody("mia"))
        };
        assert!(!format!("{session:?}").contains(session.csrf.reveal()));
        assert!(session.csrf.is(session.csrf.reveal()) && !session.csrf.is(""));
    }
}
