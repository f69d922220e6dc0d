//! Who acts, and why: what goes into the audit trail.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use tidegate_access::Principal;
use tidegate_api::USER_HEADER;
use tidegate_model::clock::Clock;
use tidegate_model::error::ErrorCode;
use tidegate_model::trail::Act;

use crate::api::ApiError;

/// The longest name of a person, in bytes.
const MAX_USER_BYTES: usize = 64;

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// Who acts: the person who is known by a token or a session; else the one that the request names, and the key that lets
/// them.
pub(crate) struct Actor(String);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Nothing is changed for somebody who is not known.
        let Some(principal) = parts.extensions.get::<Principal>() else {
            let message = "the request carries no authorisation";
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::UNAUTHORIZED, message));
        };
        let Some(user) = parts.headers.get(USER_HEADER).filter(|_| !principal.is_personal()) else {
            return Ok(Self(principal.in_trail(None)));
        };
        let user = user.to_str().unwrap_or_default().trim();
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'(' && byte != b')';
        if user.is_empty() || user.len() > MAX_USER_BYTES || !user.bytes().all(plain) {
            return Err(ApiError::bad_request(format!("the header {USER_HEADER} names nobody")).help(format!(
                "it is at most {MAX_USER_BYTES} visible ASCII characters without blanks and parentheses, or absent"
            )));
        }
        Ok(Self(principal.in_trail(Some(user))))
    }
}

impl Actor {
    /// An act of theirs that needs a reason.
    pub(crate) fn act(&self, reason: &str, clock: &dyn Clock) -> Result<Act, ApiError> {
        if reason.trim().is_empty() {
            return Err(ApiError::bad_request("this needs a reason")
                .help("say why: it is kept in the audit trail; on the command line with --reason TEXT"));
        }
        self.act_without_reason(reason, clock)
    }

    /// An act of theirs that may have a reason.
    pub(crate) fn act_without_reason(&self, reason: &str, clock: &dyn Clock) -> Result<Act, ApiError> {
        let reason = reason.trim();
        if reason.len() > MAX_REASON_BYTES {
            return Err(ApiError::bad_request(format!("the reason is longer than {MAX_REASON_BYTES} bytes"))
                .help("make it shorter"));
        }
        Ok(Act { by: self.0.clone(), reason: reason.to_owned(), at: clock.now() })
    }
}
