//! Whether an ID token is what this sign-in asked for: signature, issuer, audience, times, nonce.
//!
//! Source of the rules: OpenID Connect Core 1.0, section 3.1.3.7.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;
use tidegate_jwt::{NotSigned, signed_claims};
use tidegate_model::clock::Timestamp;

use crate::secret::same;

/// How far the provider's clock may be ahead or behind.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// What a token must say.
pub(super) struct Expected<'e> {
    pub(super) issuer: &'e str,
    pub(super) client_id: &'e str,
    pub(super) nonce: &'e str,
    pub(super) now: Timestamp,
}

/// Why an ID token lets nobody in. No text holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenRefused {
    /// It is signed with none of the provider's keys.
    #[error(transparent)]
    Signature(#[from] NotSigned),
    /// A claim is another one, or missing.
    #[error("its claim {0} is not the one expected")]
    Wrong(&'static str),
    /// Its time is over.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// Its time has not come.
    #[error("it counts from {0}")]
    NotYet(Timestamp),
}

/// The claims of a token that is good.
pub(super) fn verified(token: &str, keys: &JwkSet, expected: &Expected<'_>) -> Result<Value, IdTokenRefused> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(NotSigned::Malformed("it is too long").into());
    }
    let claims = signed_claims(token, keys)?;
    check(&claims, expected)?;
    Ok(claims)
}

fn check(claims: &Value, expected: &Expected<'_>) -> Result<(), IdTokenRefused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(IdTokenRefused::Wrong("iss"));
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audiences.contains(&expected.client_id) {
        return Err(IdTokenRefused::Wrong("aud"));
    }
    // For several receivers it says which of them asked for it.
    let is_ours = text("azp").map_or(audiences.len() == 1, |party| party == expected.client_id);
    if !is_ours {
        return Err(IdTokenRefused::Wrong("azp"));
    }
    if !text("nonce").is_some_and(|nonce| same(nonce, expected.nonce)) {
        return Err(IdTokenRefused::Wrong("nonce"));
    }
    if text("sub").is_none_or(str::is_empty) {
        return Err(IdTokenRefused::Wrong("sub"));
    }
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(seconds);
    let expires_at = time("exp").ok_or(IdTokenRefused::Wrong("exp"))?;
    if expires_at.plus(CLOCK_SKEW) <= expected.now {
        return Err(IdTokenRefused::Expired(expires_at));
    }
    for begin in [time("iat").ok_or(IdTokenRefused::Wrong("iat"))?].into_iter().chain(time("nbf")) {
        if begin.minus(CLOCK_SKEW) > expected.now {
            return Err(IdTokenRefused::NotYet(begin));
        }
    }
    Ok(())
}

/// A point in time from seconds since 1970. The conversion holds at the ends of the range.
fn seconds(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0) as i64)
}
