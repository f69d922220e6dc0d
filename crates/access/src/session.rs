//! Sessions: what a browser shows after a sign-in, so that nobody types a token twice.
//!
//! They are registers of the store, so that a restart signs nobody out and all instances know them. A register holds who it is
//! and the digest of what the cookie holds; who reads the store cannot sign in with it. A session ends when it was not used for
//! a while, when its longest time is over, when somebody ends it, and when the token behind it ends.
//!
//! A register that is removed leaves its name behind, so the names are [`MAX_SESSIONS`] places that are taken again and again,
//! and the cookie says which place is meant.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::ports::{RegisterChange, Registers, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};

use crate::principal::{Principal, Proof};
use crate::role::Role;
use crate::secret::{digest, is_hex, random_hex, same};
use crate::token::TokenId;

/// The [kind](RegisterKey::kind) of the registers; a register's name is its place.
pub const SESSION: &str = "session";

/// How many sessions there may be; the one that was not used for the longest time makes room.
pub const MAX_SESSIONS: usize = 4096;

/// How many sessions one person may have, likewise.
pub const MAX_SESSIONS_OF_ONE: usize = 16;

/// A use is written down when this part of the idle time has passed since the last one that was: of an hour, five minutes. So a
/// session may end that much before its idle time is over, and never after it.
const STEPS_OF_IDLE: u32 = 12;

/// How often a place is looked for anew because somebody else took it.
const TRIES: u32 = 8;

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
    /// What people call it: 12 hexadecimal digits, which are no secret.
    pub id: String,
    /// Who.
    pub principal: Principal,
    /// What requests of theirs that change something must carry besides the cookie: another site cannot read it.
    pub csrf: CsrfToken,
}

/// The synchroniser token of a session. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// The token of the session with this secret. It is made of the secret, so that nothing more is kept; who learns it learns
    /// nothing of the secret.
    fn of(secret: &str) -> Self {
        Self(digest(&format!("tidegate-csrf {secret}")))
    }

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

/// What the store keeps of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRecord {
    /// What people call it: 12 hexadecimal digits, which are no secret.
    pub id: String,
    /// The SHA-256 of what the cookie holds, in hexadecimal digits.
    pub sha256: String,
    /// Whose it is.
    pub name: String,
    /// What they may do; the role of the token behind it counts, where there is one.
    pub role: Role,
    /// The token that they signed in with; `None` for those whom the identity provider knows.
    pub token: Option<TokenId>,
    /// When they signed in.
    pub opened_at: Timestamp,
    /// When it was used, to a twelfth of the idle time.
    pub used_at: Timestamp,
}

impl SessionRecord {
    fn is_over(&self, times: &SessionTimes, now: Timestamp) -> bool {
        now.since(self.used_at) >= times.idle || now.since(self.opened_at) >= times.lifetime
    }

    fn principal(&self) -> Principal {
        let proof = match &self.token {
            Some(id) => Proof::TokenSession(id.clone()),
            None => Proof::ProviderSession,
        };
        Principal { name: self.name.clone(), role: self.role, proof }
    }

    fn is_of(&self, principal: &Principal) -> bool {
        let own = self.principal();
        own.proof == principal.proof && own.name == principal.name
    }
}

/// The sessions.
pub struct Sessions {
    registers: Arc<dyn Registers>,
    times: SessionTimes,
    clock: SharedClock,
}

/// A session where the store has it.
struct Held {
    place: String,
    version: Version,
    record: SessionRecord,
}

/// What the store has.
#[derive(Default)]
struct Kept {
    /// Ordered by place.
    held: Vec<Held>,
    /// A place whose register is no session that this version knows.
    unreadable: Option<(String, Version)>,
}

impl Sessions {
    /// The sessions in these registers.
    pub fn new(registers: Arc<dyn Registers>, times: SessionTimes, clock: SharedClock) -> Self {
        Self { registers, times, clock }
    }

    /// Opens a session; what the cookie holds from now on. Every sign-in has a new one, so that none which somebody else
    /// knows is ever used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(&self, principal: Principal) -> Result<(String, Session), StoreError> {
        let mut tries = 0;
        loop {
            let now = self.clock.now();
            let Kept { held, unreadable } = self.kept().await?;
            let (place, from) = unreadable.unwrap_or_else(|| place_for(&held, &principal, &self.times, now));
            let secret = format!("{place}{}", random_hex::<32>(&*self.clock));
            let record = SessionRecord {
                id: random_hex::<6>(&*self.clock),
                sha256: digest(&secret),
                name: principal.name.clone(),
                role: principal.role,
                token: match &principal.proof {
                    Proof::Token(id) | Proof::TokenSession(id) => Some(id.clone()),
                    Proof::ProviderSession | Proof::Key | Proof::Loopback => None,
                },
                opened_at: now,
                used_at: now,
            };
            match self.put(&place, from, Some(&record), None).await {
                Ok(()) => {
                    let csrf = CsrfToken::of(&secret);
                    return Ok((secret, Session { id: record.id, principal, csrf }));
                }
                Err(StoreError::RegisterMoved { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The session whose cookie holds this, if it is not over; it is used now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, secret: &str) -> Result<Option<Session>, StoreError> {
        let Some(Held { place, version, mut record }) = self.held(secret).await? else { return Ok(None) };
        let now = self.clock.now();
        if record.is_over(&self.times, now) {
            return Ok(None);
        }
        let (id, principal) = (record.id.clone(), record.principal());
        let session = Session { id, principal, csrf: CsrfToken::of(secret) };
        if now.since(record.used_at) >= self.times.idle / STEPS_OF_IDLE {
            record.used_at = now;
            match self.put(&place, version, Some(&record), None).await {
                // It was used elsewhere, or has just been ended: the next request will tell.
                Ok(()) | Err(StoreError::RegisterMoved { .. }) => {}
                Err(error) => {
                    tracing::debug!(%error, "that a session was used could not be written down");
                }
            }
        }
        Ok(Some(session))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store fails: it is not ended then.
    pub async fn close(&self, secret: &str) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some(held) = self.held(secret).await? else { return Ok(()) };
            if self.remove(held, None).await? {
                return Ok(());
            }
            // A request that came at the same time used it.
        }
        Err(StoreError::Unavailable { detail: "the session is used faster than it can be ended".to_owned() })
    }

    /// Ends the sessions that were opened with a token.
    ///
    /// # Errors
    /// When the store fails; they count for nothing all the same once the token does not.
    pub async fn close_of_token(&self, id: &TokenId) -> Result<(), StoreError> {
        for held in self.all().await? {
            if held.record.token.as_ref() == Some(id) {
                self.remove(held, None).await?;
            }
        }
        Ok(())
    }

    /// The sessions that are not over, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<SessionRecord>, StoreError> {
        let now = self.clock.now();
        let held = self.all().await?.into_iter().map(|held| held.record);
        let mut records: Vec<_> = held.filter(|record| !record.is_over(&self.times, now)).collect();
        records.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| a.id.cmp(&b.id)));
        Ok(records)
    }

    /// Ends the session that people call `id`, with a line in the audit trail. `None` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self, id: &str, act: Act) -> Result<Option<SessionRecord>, StoreError> {
        let mut tries = 0;
        loop {
            let now = self.clock.now();
            let mut all = self.all().await?.into_iter();
            let found = all.find(|held| held.record.id == id && !held.record.is_over(&self.times, now));
            let Some(held) = found else { return Ok(None) };
            let record = held.record.clone();
            let detail = serde_json::json!({
                "name": record.name, "role": record.role, "opened_at": record.opened_at,
            });
            let ended =
                NewTrailEntry { action: "session.end", subject: id.to_owned(), act: act.clone(), detail };
            match self.remove(held, Some(ended)).await {
                Ok(true) => return Ok(Some(record)),
                Ok(false) if tries < TRIES => tries += 1,
                Ok(false) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// How long a session lasts at most.
    pub fn lifetime(&self) -> Duration {
        self.times.lifetime
    }

    async fn held(&self, secret: &str) -> Result<Option<Held>, StoreError> {
        let Some(place) = place_of(secret) else { return Ok(None) };
        let found = self.registers.register(&RegisterKey::new(SESSION, place)).await?;
        let held = found.map(read).transpose()?;
        Ok(held.filter(|held| same(&held.record.sha256, &digest(secret))))
    }

    async fn all(&self) -> Result<Vec<Held>, StoreError> {
        Ok(self.kept().await?.held)
    }

    /// All places that are taken. What cannot be read keeps nobody else out: whose it is has to sign in again.
    async fn kept(&self) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        for register in self.registers.registers(SESSION).await? {
            let place = (register.name.clone(), register.version);
            match read(register) {
                Ok(held) => kept.held.push(held),
                Err(error) => {
                    tracing::warn!(%error, "a session cannot be read, and makes room for the next");
                    kept.unreadable = Some(place);
                }
            }
        }
        Ok(kept)
    }

    /// False when it was changed meanwhile.
    async fn remove(&self, held: Held, entry: Option<NewTrailEntry>) -> Result<bool, StoreError> {
        match self.put(&held.place, held.version, None, entry).await {
            Ok(()) => Ok(true),
            Err(StoreError::RegisterMoved { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put(
        &self,
        place: &str,
        from: Version,
        record: Option<&SessionRecord>,
        entry: Option<NewTrailEntry>,
    ) -> Result<(), StoreError> {
        let value = record.map(|record| serde_json::to_value(record).expect("a record has a JSON form"));
        let (key, at) = (RegisterKey::new(SESSION, place), self.clock.now());
        let trail = entry.into_iter().collect();
        let change = RegisterChange { key, from, value, at, notices: Vec::new(), trail };
        self.registers.change_register(change).await.map(drop)
    }
}

/// Digits of a place.
const PLACE_DIGITS: usize = 3;

/// The place that a cookie names (pure).
fn place_of(secret: &str) -> Option<&str> {
    is_hex(secret, PLACE_DIGITS + 64).then(|| &secret[..PLACE_DIGITS])
}

/// Where a new session goes (pure): in the place of the one that this person used longest ago, where they have as many as one
/// may; else in the first that nobody has; else in the one that anybody used longest ago.
fn place_for(held: &[Held], of: &Principal, times: &SessionTimes, now: Timestamp) -> (String, Version) {
    let taken = || held.iter().filter(|held| !held.record.is_over(times, now));
    let theirs = || taken().filter(|held| held.record.is_of(of));
    let instead_of = |held: &Held| (held.place.clone(), held.version);
    let idle = |held: &&Held| held.record.used_at;
    if theirs().count() >= MAX_SESSIONS_OF_ONE
        && let Some(oldest) = theirs().min_by_key(idle)
    {
        return instead_of(oldest);
    }
    if let Some(over) = held.iter().find(|held| held.record.is_over(times, now)) {
        return instead_of(over);
    }
    // They are ordered by name: the first that is missing is free.
    let name = |number: usize| format!("{number:0width$x}", width = PLACE_DIGITS);
    let free =
        (0..MAX_SESSIONS).find(|number| held.get(*number).is_none_or(|held| held.place != name(*number)));
    match (free, taken().min_by_key(idle)) {
        (None, Some(oldest)) => instead_of(oldest),
        (free, _) => (name(free.unwrap_or(0)), Version::NONE),
    }
}

fn read(register: Register) -> Result<Held, StoreError> {
    let Register { name, version, value, .. } = register;
    // The parser's message may repeat what it read.
    let record = serde_json::from_value(value).map_err(|_| StoreError::Damaged {
        detail: format!("the register of the session {name:?} has not the members of a session"),
    })?;
    Ok(Held { place: name, version, record })
}

#[cfg(test)]
mod tests;
