//! Why somebody is not let in.

use http::StatusCode;
use tidegate_model::error::{ErrorCode, ErrorKind};

use crate::rate::TooOften;
use crate::role::Role;
use crate::tokens::TokenRefused;

/// Why a request is not let in. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not say who asks, and they are not on this machine, or want more than to look.
    #[error("this needs a sign-in")]
    NotSignedIn,
    /// A token lets nobody in.
    #[error(transparent)]
    Token(#[from] TokenRefused),
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
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooOften(_) => ErrorKind::Transient,
            Self::Token(TokenRefused::Store(error)) => error.kind(),
            _ => ErrorKind::Permanent,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Token(TokenRefused::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotSignedIn | Self::Token(_) | Self::Key { is_forbidden: false, .. } => {
                StatusCode::UNAUTHORIZED
            }
            Self::Key { is_forbidden: true, .. }
            | Self::RoleTooLow { .. }
            | Self::OtherSite
            | Self::Forged => StatusCode::FORBIDDEN,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Token(TokenRefused::Store(error)) => error.code(),
            Self::NotSignedIn | Self::Token(_) | Self::Key { is_forbidden: false, .. } => {
                ErrorCode::UNAUTHORIZED
            }
            Self::Key { is_forbidden: true, .. } | Self::RoleTooLow { .. } => ErrorCode::FORBIDDEN,
            Self::OtherSite | Self::Forged => ErrorCode::CROSS_SITE,
            Self::TooOften(_) => ErrorCode::THROTTLED,
        }
    }

    /// The way out.
    pub fn action(&self) -> &str {
        match self {
            Self::NotSignedIn => {
                "sign in on the page, or send the header `Authorization: Bearer <access token or key>`; \
                 `tidegate tokens create NAME --role ROLE` makes a token"
            }
            Self::Token(TokenRefused::Store(_)) => "send it again later",
            Self::Token(_) => "ask an admin for a new token: tidegate tokens create NAME --role ROLE",
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
