//! Sign-in links: a token is made whose text nobody has, and a link that opens one session of it.
//!
//! Until it is followed the token ends with the link; then it lasts as long as a session may. So a link is listed, revoked and
//! told of in the audit trail as what it is: somebody's way in.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::StoreError;
use tidegate_model::register::Version;
use tidegate_model::trail::Act;

use super::{TRIES, TokenError, TokenRecord, Tokens, entry, key, read};
use crate::link::LinkText;
use crate::name;
use crate::principal::{Principal, Proof};
use crate::role::Role;
use crate::secret::same;
use crate::token::TokenText;

/// How long a link works where nothing else is said.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(15 * 60);

/// The longest time a link may work: it stands in a terminal, a browser's history or a message, where others look.
pub const MAX_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// How long a link that was followed stays listed after its session's longest time.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// What the store keeps of a link, with its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRecord {
    /// The SHA-256 of its secret, in hexadecimal digits.
    pub sha256: String,
    /// When it was followed; it works once.
    pub used_at: Option<Timestamp>,
}

/// What a link is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLink {
    /// Who will follow it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// How long it works, at most [`MAX_VALIDITY`].
    pub validity: Duration,
}

impl Tokens {
    /// Makes a link. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the name is none, the time is none or too long, there are too many tokens, or the store fails.
    pub async fn create_link(&self, new: NewLink, act: Act) -> Result<(LinkText, TokenRecord), TokenError> {
        name::check(&new.name)?;
        if new.validity.is_zero() || new.validity > MAX_VALIDITY {
            return Err(TokenError::LinkTooLong);
        }
        self.make_room(act.at).await?;
        // Only its number is used.
        let id = TokenText::mint(&*self.clock).id().clone();
        let link = LinkText::mint(id.clone(), &*self.clock);
        let record = TokenRecord {
            name: new.name,
            role: new.role,
            // No digest is like this: the token opens nothing by itself.
            sha256: String::new(),
            created_at: act.at,
            created_by: act.by.clone(),
            expires_at: Some(act.at.plus(new.validity)),
            revoked: None,
            last_used_at: None,
            link: Some(LinkRecord { sha256: link.digest(), used_at: None }),
        };
        let detail = serde_json::json!({
            "name": record.name, "role": record.role, "expires_at": record.expires_at,
        });
        let made = entry("sign-in-link.create", &id, act, detail);
        self.put(&id, Version::NONE, Some(&record), Some(made)).await?;
        Ok((link, record))
    }

    /// Follows a link: who is signed in by it, for at most `lifetime`. Of several who follow it at once, one is.
    ///
    /// # Errors
    /// Why nobody is.
    pub async fn follow_link(&self, link: &LinkText, lifetime: Duration) -> Result<Principal, LinkRefused> {
        let id = link.id();
        let mut tries = 0;
        loop {
            let found = self.registers.register(&key(id)).await?;
            let Some((_, version, mut record)) = found.as_ref().map(read).transpose()? else {
                return Err(LinkRefused::Unknown);
            };
            let now = self.clock.now();
            let Some(kept) = record.link.as_mut().filter(|kept| same(&kept.sha256, &link.digest())) else {
                return Err(LinkRefused::Unknown);
            };
            if let Some(at) = kept.used_at {
                return Err(LinkRefused::Used { at });
            }
            kept.used_at = Some(now);
            if let Some(revoked) = &record.revoked {
                return Err(LinkRefused::Revoked { at: revoked.at });
            }
            if let Some(at) = record.expires_at.filter(|end| *end <= now) {
                return Err(LinkRefused::Expired { at });
            }
            record.expires_at = Some(now.plus(lifetime));
            record.last_used_at = Some(now);
            let principal = Principal {
                name: record.name.clone(),
                role: record.role,
                proof: Proof::TokenSession(id.clone()),
            };
            let act = Act { by: principal.in_trail(None), reason: String::new(), at: now };
            let opened = entry("session.open", id, act, serde_json::json!({ "by": "sign-in-link" }));
            match self.put(id, version, Some(&record), Some(opened)).await {
                Ok(_) => return Ok(principal),
                Err(StoreError::RegisterMoved { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl TokenRecord {
    /// True for a link that nobody has followed.
    pub fn is_waiting(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.used_at.is_none())
    }

    /// How long it stays listed after its end.
    pub(super) fn kept_for(&self) -> Duration {
        match &self.link {
            None => super::KEPT_FOR,
            Some(LinkRecord { used_at: Some(_), .. }) => KEPT_FOR,
            Some(LinkRecord { used_at: None, .. }) => Duration::ZERO,
        }
    }
}

/// Why a link lets nobody in. No text holds its secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    /// It is not known, or its secret is another; or it was forgotten.
    #[error("the sign-in link is not known here, or it ended long ago")]
    Unknown,
    /// It works once.
    #[error("the sign-in link was used at {at}, and works once")]
    Used {
        /// When.
        at: Timestamp,
    },
    /// Its time is over.
    #[error("the sign-in link ended at {at}")]
    Expired {
        /// Its end.
        at: Timestamp,
    },
    /// Somebody ended it.
    #[error("the sign-in link was revoked at {at}")]
    Revoked {
        /// When.
        at: Timestamp,
    },
    /// It cannot be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}
