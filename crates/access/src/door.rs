//! The one place where a request becomes somebody.
//!
//! ```text
//! Authorization: Bearer tg_…     → the token's holder       (the header decides, also when it is wrong)
//! Authorization: anything else   → the holder of a key, a signature, a token of the clients' identity provider
//! the cookie of a session        → who signed in; what changes something must show the session's token as well
//! nothing                        → a guest with the role of a reader, on this machine only
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderName};
use tidegate_model::clock::{SharedClock, Timestamp};

use crate::cookie::Cookie;
use crate::mask::Masks;
use crate::principal::{Principal, Proof};
use crate::rate::Tries;
use crate::refused::Refused;
use crate::request::Asked;
use crate::role::Role;
use crate::session::{Session, Sessions};
use crate::token::TokenText;
use crate::tokens::Tokens;

/// The header that carries the token of a session.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("tidegate-csrf");

/// What decides about keys, signatures and the clients' identity provider: the front doors' access rules.
///
/// # Contract
///
/// - `hub` is the hub that the request is about; empty for one that is about everything.
/// - The answer's role is the highest that the key has there, and covers `needed`; a key that does not is refused.
/// - The clients' identity provider may be asked for its keys meanwhile.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// Who sent this `Authorization` header.
    ///
    /// # Errors
    /// Why it lets nobody in, or not so far.
    async fn holder(
        &self,
        authorization: &str,
        needed: Role,
        hub: &str,
        now: Timestamp,
    ) -> Result<Principal, Refused>;
}

/// How the door is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorSettings {
    /// Whether somebody on this machine may look without saying who they are.
    pub open_on_loopback: bool,
    /// The origin by which people know the server, such as `https://tide.example.com`, where it is not what the server
    /// sees itself.
    pub public_origin: Option<String>,
    /// What is not shown to every role.
    pub masks: Masks,
}

impl DoorSettings {
    /// Whether people come by TLS.
    pub fn is_secure(&self) -> bool {
        self.public_origin.as_ref().is_some_and(|origin| origin.starts_with("https://"))
    }
}

/// Lets people in.
pub struct Door {
    /// How it is set.
    pub settings: DoorSettings,
    /// The tokens.
    pub tokens: Tokens,
    /// Who is signed in.
    pub sessions: Sessions,
    /// How often sign-ins are tried.
    pub tries: Tries,
    keys: Arc<dyn Keys>,
    clock: SharedClock,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Who.
    pub principal: Principal,
    /// Their session, if it was that.
    pub session: Option<Session>,
}

impl Door {
    /// A door for the holders of these keys and tokens.
    pub fn new(
        settings: DoorSettings,
        keys: Arc<dyn Keys>,
        tokens: Tokens,
        sessions: Sessions,
        clock: SharedClock,
    ) -> Self {
        Self { settings, tokens, sessions, tries: Tries::default(), keys, clock }
    }

    /// Who asks, if they may do what needs the role `needed` for a hub, or for everything where `hub` is empty.
    ///
    /// # Errors
    /// Why they may not.
    pub async fn enter(&self, asked: Asked<'_>, needed: Role, hub: &str) -> Result<Entered, Refused> {
        let entered = self.recognise(asked, needed, hub).await?;
        let Principal { name, role, .. } = &entered.principal;
        if role.covers(needed) {
            Ok(entered)
        } else if entered.principal.proof == Proof::Loopback {
            Err(Refused::NotSignedIn)
        } else {
            Err(Refused::RoleTooLow { name: name.clone(), role: *role, needed })
        }
    }

    async fn recognise(&self, asked: Asked<'_>, needed: Role, hub: &str) -> Result<Entered, Refused> {
        if let Some(header) = asked.headers.get(AUTHORIZATION) {
            let header = header.to_str().map_err(|_| Refused::Key {
                is_forbidden: false,
                message: "the Authorization header is no plain text".to_owned(),
                action: "send the header `Authorization: Bearer <access token or key>`".to_owned(),
            })?;
            let principal = match bearer(header).and_then(TokenText::parse) {
                Some(token) => self.by_token(&token).await?,
                None => self.keys.holder(header, needed, hub, self.clock.now()).await?,
            };
            return Ok(Entered { principal, session: None });
        }
        if let Some(session) = self.session(asked).await? {
            if !asked.is_safe() {
                self.must_be_meant(asked, &session)?;
            }
            return Ok(Entered { principal: session.principal.clone(), session: Some(session) });
        }
        if self.settings.open_on_loopback && asked.is_local().is_ok() {
            return Ok(Entered { principal: Principal::guest(), session: None });
        }
        Err(Refused::NotSignedIn)
    }

    /// The holder of a token.
    ///
    /// # Errors
    /// Why it lets nobody in.
    pub async fn by_token(&self, token: &TokenText) -> Result<Principal, Refused> {
        let record = self.tokens.authenticate(token).await?;
        Ok(Principal { name: record.name, role: record.role, proof: Proof::Token(token.id().clone()) })
    }

    /// The session that a request shows, if it counts still.
    ///
    /// # Errors
    /// When it or the token behind it cannot be looked up.
    pub async fn session(&self, asked: Asked<'_>) -> Result<Option<Session>, Refused> {
        let Some(cookie) = self.cookie().read(asked.headers) else { return Ok(None) };
        let Some(mut session) = self.sessions.find(cookie).await? else { return Ok(None) };
        let Proof::TokenSession(id) = &session.principal.proof else { return Ok(Some(session)) };
        match self.tokens.standing(id).await {
            // The role and the name are what they are now.
            Ok(record) => {
                session.principal.role = record.role;
                session.principal.name = record.name;
                Ok(Some(session))
            }
            Err(error @ crate::tokens::TokenRefused::Store(_)) => Err(error.into()),
            // It stays where it is until its time is over, and counts for nothing.
            Err(_) => Ok(None),
        }
    }

    /// Whether somebody who is signed in meant a request that changes something, and not a page of another site.
    ///
    /// # Errors
    /// When it is not known that they did.
    pub fn must_be_meant(&self, asked: Asked<'_>, session: &Session) -> Result<(), Refused> {
        self.must_be_from_here(asked)?;
        let shown = asked.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        if shown.is_some_and(|shown| session.csrf.is(shown)) { Ok(()) } else { Err(Refused::Forged) }
    }

    /// Whether no page of another site made the browser send a request.
    ///
    /// # Errors
    /// When one did.
    pub fn must_be_from_here(&self, asked: Asked<'_>) -> Result<(), Refused> {
        asked.is_from_here(self.settings.public_origin.as_deref()).map_err(|_| Refused::OtherSite)
    }

    /// Takes a try to sign in.
    ///
    /// # Errors
    /// When there were too many.
    pub fn take_try(&self, asked: Asked<'_>) -> Result<(), Refused> {
        self.tries.take(asked.address(), self.clock.monotonic()).map_err(Refused::TooOften)
    }

    /// The cookie of sessions.
    pub fn cookie(&self) -> Cookie {
        Cookie::session(self.settings.is_secure())
    }
}

/// What stands after `Bearer`.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credentials) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim())
}

#[cfg(test)]
mod tests;
