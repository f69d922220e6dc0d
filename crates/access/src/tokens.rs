//! Access tokens as the store keeps them: registers that all instances share.
//!
//! A register holds who the token is for, what they may do, and the digest of its secret. A token that is revoked or over
//! stays listed for [`KEPT_FOR`] and is then forgotten; the audit trail keeps what was done with it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::ports::{RegisterChange, Registers, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};

use crate::name::{self, InvalidName};
use crate::role::Role;
use crate::secret::same;
use crate::token::{TokenId, TokenText};

/// The [kind](RegisterKey::kind) of the registers; a register's name is the token's number.
pub const ACCESS_TOKEN: &str = "access-token";

/// How many tokens there may be.
pub const MAX_TOKENS: usize = 1000;

/// How long a token that is revoked or over stays listed.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How exactly it is known when a token was last used: not every use is written down.
pub const LAST_USED_STEP: Duration = Duration::from_secs(3600);

/// How often a change is decided anew because another came first.
const TRIES: u32 = 8;

mod links;

pub use links::{DEFAULT_VALIDITY, LinkRecord, LinkRefused, MAX_VALIDITY, NewLink};

/// What the store keeps of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Who has it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The SHA-256 of its secret, in hexadecimal digits; empty where nobody has a text that opens it.
    pub sha256: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends; `None` for one that does not.
    pub expires_at: Option<Timestamp>,
    /// Who ended it before.
    pub revoked: Option<Revoked>,
    /// When it was used, to [`LAST_USED_STEP`].
    pub last_used_at: Option<Timestamp>,
    /// The link by which it opens a session, where it was made for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkRecord>,
}

/// The end of a token before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
}

impl TokenRecord {
    /// Why it does not count at `now`, if it does not.
    fn ended(&self, id: &TokenId, now: Timestamp) -> Option<TokenRefused> {
        if let Some(Revoked { at, .. }) = &self.revoked {
            return Some(TokenRefused::Revoked { id: id.clone(), at: *at });
        }
        let over = self.expires_at.filter(|end| *end <= now);
        over.map(|at| TokenRefused::Expired { id: id.clone(), at })
    }

    /// When it ended, if it has at `now`.
    fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        let revoked = self.revoked.as_ref().map(|revoked| revoked.at);
        revoked.or_else(|| self.expires_at.filter(|end| *end <= now))
    }
}

/// What a token is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Who will have it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When it ends; `None` for one that does not.
    pub expires_at: Option<Timestamp>,
}

/// The tokens.
pub struct Tokens {
    registers: Arc<dyn Registers>,
    clock: SharedClock,
}

impl Tokens {
    /// The tokens in these registers.
    pub fn new(registers: Arc<dyn Registers>, clock: SharedClock) -> Self {
        Self { registers, clock }
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the name is none, the end has passed, there are too many, or the store fails. Where the store's answer is
    /// lost, a token may be listed whose text nobody has: it opens nothing.
    pub async fn create(&self, new: NewToken, act: Act) -> Result<(TokenText, TokenRecord), TokenError> {
        name::check(&new.name)?;
        if let Some(at) = new.expires_at.filter(|end| *end <= act.at) {
            return Err(TokenError::AlreadyOver { at });
        }
        self.make_room(act.at).await?;
        let text = TokenText::mint(&*self.clock);
        let record = TokenRecord {
            name: new.name,
            role: new.role,
            sha256: text.digest(),
            created_at: act.at,
            created_by: act.by.clone(),
            expires_at: new.expires_at,
            revoked: None,
            last_used_at: None,
            link: None,
        };
        let detail = serde_json::json!({
            "name": record.name, "role": record.role, "expires_at": record.expires_at,
        });
        self.put(
            text.id(),
            Version::NONE,
            Some(&record),
            Some(entry("token.create", text.id(), act, detail)),
        )
        .await?;
        Ok((text, record))
    }

    /// Forgets tokens that ended long ago, and says whether there is room for one more.
    async fn make_room(&self, now: Timestamp) -> Result<(), TokenError> {
        let mut count = 0;
        for register in self.registers.registers(ACCESS_TOKEN).await? {
            let (id, version, record) = read(&register)?;
            let old = record.ended_at(now).is_some_and(|end| now.since(end) > record.kept_for());
            // Somebody who changed it meanwhile keeps it.
            match old {
                true => match self.put(&id, version, None, None).await {
                    Ok(_) | Err(StoreError::RegisterMoved { .. }) => {}
                    Err(error) => return Err(error.into()),
                },
                false => count += 1,
            }
        }
        if count >= MAX_TOKENS { Err(TokenError::TooMany) } else { Ok(()) }
    }

    /// Every token, ordered by number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<(TokenId, TokenRecord)>, StoreError> {
        let registers = self.registers.registers(ACCESS_TOKEN).await?;
        registers.iter().map(|register| read(register).map(|(id, _, record)| (id, record))).collect()
    }

    /// Ends a token. False when it was revoked already.
    ///
    /// # Errors
    /// When there is no such token, or the store fails.
    pub async fn revoke(&self, id: &TokenId, act: Act) -> Result<(TokenRecord, bool), TokenError> {
        self.change(id, |record| {
            if record.revoked.is_some() {
                return None;
            }
            record.revoked = Some(Revoked { at: act.at, by: act.by.clone() });
            let detail = serde_json::json!({ "name": record.name, "role": record.role });
            Some(entry("token.revoke", id, act.clone(), detail))
        })
        .await
    }

    /// Gives the holder of a token another name. The audit trail keeps the old one where it stands, with the token's
    /// number beside it. False when it had this name already.
    ///
    /// # Errors
    /// When the name is none, there is no such token, or the store fails.
    pub async fn rename(&self, id: &TokenId, to: &str, act: Act) -> Result<(TokenRecord, bool), TokenError> {
        name::check(to)?;
        self.change(id, |record| {
            let from = std::mem::replace(&mut record.name, to.to_owned());
            let detail = serde_json::json!({ "from": from, "to": to });
            (from != to).then(|| entry("token.rename", id, act.clone(), detail))
        })
        .await
    }

    /// Writes to the audit trail that somebody signed in with a token.
    ///
    /// # Errors
    /// When there is no such token, or the store fails.
    pub async fn signed_in(&self, id: &TokenId, act: Act) -> Result<(), TokenError> {
        let changed = self.change(id, |record| {
            record.last_used_at = Some(act.at);
            Some(entry("session.open", id, act.clone(), serde_json::Value::Null))
        });
        changed.await.map(drop)
    }

    /// Who shows this token, if it counts.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn authenticate(&self, text: &TokenText) -> Result<TokenRecord, TokenRefused> {
        let id = text.id();
        let found = self.registers.register(&key(id)).await?;
        let Some((_, version, record)) = found.as_ref().map(read).transpose()? else {
            return Err(TokenRefused::Unknown);
        };
        // A number is no secret: who has only that learns nothing about the token.
        if !same(&record.sha256, &text.digest()) {
            return Err(TokenRefused::Unknown);
        }
        let now = self.clock.now();
        match record.ended(id, now) {
            Some(ended) => Err(ended),
            None => Ok(self.used(id, version, record, now).await),
        }
    }

    /// Whether a token that somebody signed in with counts still, and what it says now.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn standing(&self, id: &TokenId) -> Result<TokenRecord, TokenRefused> {
        let found = self.registers.register(&key(id)).await?;
        let Some((_, version, record)) = found.as_ref().map(read).transpose()? else {
            return Err(TokenRefused::Unknown);
        };
        let now = self.clock.now();
        match record.ended(id, now) {
            Some(ended) => Err(ended),
            None => Ok(self.used(id, version, record, now).await),
        }
    }

    /// Writes down that a token was used, now and then. It is no reason to refuse somebody when that fails.
    async fn used(
        &self,
        id: &TokenId,
        version: Version,
        mut record: TokenRecord,
        now: Timestamp,
    ) -> TokenRecord {
        if record.last_used_at.is_some_and(|last| now.since(last) < LAST_USED_STEP) {
            return record;
        }
        record.last_used_at = Some(now);
        match self.put(id, version, Some(&record), None).await {
            Ok(_) | Err(StoreError::RegisterMoved { .. }) => {}
            Err(error) => {
                tracing::debug!(token = %id, %error, "that a token was used could not be written down")
            }
        }
        record
    }

    /// Changes a record; `decide` says what the audit trail tells of it, or that nothing is to be done.
    async fn change(
        &self,
        id: &TokenId,
        decide: impl Fn(&mut TokenRecord) -> Option<NewTrailEntry>,
    ) -> Result<(TokenRecord, bool), TokenError> {
        let mut tries = 0;
        loop {
            let found = self.registers.register(&key(id)).await?;
            let Some((_, version, mut record)) = found.as_ref().map(read).transpose()? else {
                return Err(TokenError::NotFound { id: id.clone() });
            };
            let Some(entry) = decide(&mut record) else { return Ok((record, false)) };
            match self.put(id, version, Some(&record), Some(entry)).await {
                Ok(_) => return Ok((record, true)),
                Err(StoreError::RegisterMoved { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn put(
        &self,
        id: &TokenId,
        from: Version,
        record: Option<&TokenRecord>,
        entry: Option<NewTrailEntry>,
    ) -> Result<Version, StoreError> {
        let value = record.map(|record| serde_json::to_value(record).expect("a record has a JSON form"));
        let (at, trail) = (self.clock.now(), entry.into_iter().collect());
        let change = RegisterChange { key: key(id), from, value, at, notices: Vec::new(), trail };
        self.registers.change_register(change).await
    }
}

fn key(id: &TokenId) -> RegisterKey {
    RegisterKey::new(ACCESS_TOKEN, id.as_str())
}

fn entry(action: &'static str, id: &TokenId, act: Act, detail: serde_json::Value) -> NewTrailEntry {
    NewTrailEntry { action, subject: id.to_string(), act, detail }
}

fn read(register: &Register) -> Result<(TokenId, Version, TokenRecord), StoreError> {
    let damaged = |why: String| StoreError::Damaged {
        detail: format!("the register of the access token {:?} cannot be understood: {why}", register.name),
    };
    let id = TokenId::parse(&register.name).ok_or_else(|| damaged("its name is no number".to_owned()))?;
    // The parser's message may repeat what it read; a digest is better told to nobody.
    let record = serde_json::from_value(register.value.clone())
        .map_err(|_| damaged("it has not the members of a token".to_owned()))?;
    Ok((id, register.version, record))
}

/// Why a token is not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody can have this name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It would end before it begins.
    #[error("the token would be over already: its end is {at}")]
    AlreadyOver {
        /// The end asked for.
        at: Timestamp,
    },
    /// A link works for minutes, not for ever.
    #[error("a sign-in link works for at most {} hours", MAX_VALIDITY.as_secs() / 3600)]
    LinkTooLong,
    /// There are as many as there may be.
    #[error("there are {MAX_TOKENS} access tokens, which is the most there can be")]
    TooMany,
    /// There is none with this number.
    #[error("there is no access token {id}")]
    NotFound {
        /// The number.
        id: TokenId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::TooMany => ErrorKind::Conflict,
            Self::Name(_) | Self::AlreadyOver { .. } | Self::LinkTooLong | Self::NotFound { .. } => {
                ErrorKind::Permanent
            }
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Name(_) | Self::AlreadyOver { .. } | Self::LinkTooLong => ErrorCode::BAD_REQUEST,
            Self::TooMany => ErrorCode::CONFLICT,
            Self::NotFound { .. } => ErrorCode::NOT_FOUND,
            Self::Store(error) => error.code(),
        }
    }

    /// The way out.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Name(_) => "give the name of the person or program that will have the token",
            Self::AlreadyOver { .. } => {
                "give an end that is still to come, and compare the clocks of both machines"
            }
            Self::LinkTooLong => {
                "give a time such as 15m; for longer make a token: tidegate tokens create NAME --role ROLE"
            }
            Self::TooMany => "revoke those that nobody uses; they are forgotten 30 days later",
            Self::NotFound { .. } => "list them: tidegate tokens list",
            Self::Store(_) => "",
        }
    }
}

/// Why a token lets nobody in. No text holds its secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is not known, or its secret is another.
    #[error("the access token is not known here")]
    Unknown,
    /// Its time is over.
    #[error("the access token {id} expired at {at}")]
    Expired {
        /// Its number.
        id: TokenId,
        /// Its end.
        at: Timestamp,
    },
    /// Somebody ended it.
    #[error("the access token {id} was revoked at {at}")]
    Revoked {
        /// Its number.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// It cannot be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
