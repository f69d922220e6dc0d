//! Whether an ID token is what this sign-in asked for: signature, issuer, audience, times, nonce.
//!
//! Source of the rules: OpenID Connect Core 1.0, section 3.1.3.7.

use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
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
    /// It cannot be read.
    #[error("it is no JSON Web Token: {0}")]
    Malformed(&'static str),
    /// It names a key that the provider does not publish.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("its signature does not match the provider's key")]
    WrongSignature,
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
    tidegate_jwt::install();
    if token.len() > MAX_TOKEN_BYTES {
        return Err(IdTokenRefused::Malformed("it is too long"));
    }
    let header = jsonwebtoken::decode_header(token)
        .map_err(|_| IdTokenRefused::Malformed("its header cannot be read"))?;
    let mut refused = IdTokenRefused::UnknownKey;
    for key in fitting(keys, header.kid.as_deref(), header.alg) {
        let Ok(decoding) = DecodingKey::from_jwk(key) else { continue };
        let mut validation = Validation::new(header.alg);
        // All of these are compared below: the library would read the machine's clock, and takes one of several audiences.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        match jsonwebtoken::decode::<Value>(token, &decoding, &validation) {
            Ok(data) => {
                check(&data.claims, expected)?;
                return Ok(data.claims);
            }
            Err(_) => refused = IdTokenRefused::WrongSignature,
        }
    }
    Err(refused)
}

/// The keys that may have signed: of that name, for signatures, and of the kind that the algorithm needs. The algorithm
/// comes from the token, so a key decides which ones it is used with.
fn fitting<'k>(
    keys: &'k JwkSet,
    kid: Option<&'k str>,
    algorithm: Algorithm,
) -> impl Iterator<Item = &'k Jwk> {
    keys.keys.iter().filter(move |key| {
        let common = &key.common;
        let is_named = kid.is_none_or(|kid| common.key_id.as_deref() == Some(kid));
        let signs = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
        let is_for =
            common.key_algorithm.as_ref().is_none_or(|of| format!("{of:?}") == format!("{algorithm:?}"));
        is_named && signs && is_for && suits(&key.algorithm, algorithm)
    })
}

fn suits(key: &AlgorithmParameters, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, RS256, RS384, RS512};
    match key {
        AlgorithmParameters::RSA(_) => matches!(algorithm, RS256 | RS384 | RS512 | PS256),
        AlgorithmParameters::EllipticCurve(of) => match of.curve {
            EllipticCurve::P256 => algorithm == ES256,
            EllipticCurve::P384 => algorithm == ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(of) => of.curve == EllipticCurve::Ed25519 && algorithm == EdDSA,
        // A secret that both sides know has no place in a published set.
        _ => false,
    }
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
