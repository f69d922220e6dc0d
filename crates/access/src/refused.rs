//! Why somebody is not let in.

use http::StatusCode;
use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::ports::StoreError;

use crate::rate::TooOften;
use crate::role::Role;
use crate::tokens::{LinkRefused, TokenRefused};

/// Why a request is not let in. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not say who asks, and they are not on this machine, or want more than to look.
    #[error("this needs a sign-in")]
    NotSignedIn,
    /// A token lets nobody in.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// A sign-in link lets nobody in.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// A session cannot be looked up or kept.
    #[error(transparent)]
    Session(#[from] StoreError),
    /// A key or signature lets nobody in, or not so far.
    #[error("{message}")]
    Key {
        /// True when it is known who asks.
        is_forbidden: bool,
        /// Why.
        message: String,
        /// The way out.
        action: String,
    },
    /// It cannot be told, because the keys of the clients' identity provider are not there.
    #[error("{message}")]
    KeysAway {
        /// Why not.
        message: String,
    },
    /// The role does not reach so far.
    #[error("{name} has the role {role}, and this needs the role {needed}")]
    RoleTooLow {
        /// Who asks.
        name: String,
        /// Their role.
        role: Role,
        /// The least one that may.
        needed: Role,
    },
    /// A page of another site made the browser send it.
    #[error("a page of another site made the browser send this")]
    OtherSite,
    /// A request with a session's cookie does not carry the session's token.
    #[error("the request changes something and does not carry the token of its session")]
    Forged,
    /// Too many tries to sign in.
    #[error("there were too many tries to sign in")]
    TooOften(TooOften),
}

impl Refused {
    /// The store's error, where it is its fault.
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Token(TokenRefused::Store(error))
            | Self::Link(LinkRefused::Store(error))
            | Self::Session(error) => Some(error),
            _ => None,
        }
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match (self, self.store()) {
            (_, Some(error)) => error.kind(),
            (Self::TooOften(_) | Self::KeysAway { .. }, _) => ErrorKind::Transient,
            _ => ErrorKind::Permanent,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::KeysAway { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ if self.store().is_some() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Key { is_forbidden: true, .. }
            | Self::RoleTooLow { .. }
            | Self::OtherSite
            | Self::Forged => StatusCode::FORBIDDEN,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotSignedIn | Self::Token(_) | Self::Link(_) | Self::Session(_) | Self::Key { .. } => {
                StatusCode::UNAUTHORIZED
            }
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match (self, self.store()) {
            (_, Some(error)) => error.code(),
            (Self::Key { is_forbidden: true, .. } | Self::RoleTooLow { .. }, _) => ErrorCode::FORBIDDEN,
            (Self::OtherSite | Self::Forged, _) => ErrorCode::CROSS_SITE,
            (Self::TooOften(_), _) => ErrorCode::THROTTLED,
            (Self::KeysAway { .. }, _) => ErrorCode::SIGN_IN_FAILED,
            _ => ErrorCode::UNAUTHORIZED,
        }
    }

    /// The way out.
    pub fn action(&self) -> &str {
        match self {
            Self::KeysAway { .. } => "send it again later",
            _ if self.store().is_some() => "send it again later",
            Self::NotSignedIn => {
                "sign in on the page, with a link that `tidegate tokens sign-in-link` makes; or send the header \
                 `Authorization: Bearer <access token or key>`, with a token that `tidegate tokens create NAME --role ROLE` makes"
            }
            Self::Link(_) => "make another on the server's machine: tidegate tokens sign-in-link",
            Self::Token(_) | Self::Session(_) => {
                "ask an admin for a new token: tidegate tokens create NAME --role ROLE"
            }
            Self::Key { action, .. } => action,
            Self::RoleTooLow { .. } => "ask an admin for a token of that role, or ask somebody who has one",
            Self::OtherSite => {
                "do it on the page of this server; where a proxy is in front of it, set `public_url` of [console]"
            }
            Self::Forged => {
                "send the `csrf` of GET /api/v1/session in the header `tidegate-csrf`; on the page, load it again"
            }
            Self::TooOften(_) => "try again after the time in Retry-After",
        }
    }

    /// After how many seconds the caller may come again, if that helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::TooOften(wait) => Some(wait.wait_seconds()),
            _ => None,
        }
    }
}
