//! Whether a token is signed with one of the keys that somebody publishes.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// Why a token's signature counts for nothing. No text holds the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It cannot be read.
    #[error("it is no JSON Web Token: {0}")]
    Malformed(&'static str),
    /// It names a key that the provider does not publish.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("its signature does not match the provider's key")]
    WrongSignature,
}

/// The claims of a token that one of these keys signed. Nothing of the claims is checked: neither times nor who they are for.
///
/// # Errors
/// Why it counts for nothing.
pub fn signed_claims(token: &str, keys: &JwkSet) -> Result<Value, NotSigned> {
    crate::install();
    let header =
        jsonwebtoken::decode_header(token).map_err(|_| NotSigned::Malformed("its header cannot be read"))?;
    let mut refused = NotSigned::UnknownKey;
    for key in fitting(keys, header.kid.as_deref(), header.alg) {
        let Ok(decoding) = DecodingKey::from_jwk(key) else { continue };
        let mut validation = Validation::new(header.alg);
        // The library would read the machine's clock, and takes one of several audiences.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        match jsonwebtoken::decode::<Value>(token, &decoding, &validation) {
            Ok(data) => return Ok(data.claims),
            Err(_) => refused = NotSigned::WrongSignature,
        }
    }
    Err(refused)
}

/// True when one of these keys may have signed the token, by its name and kind. What is no token was signed by none, and none
/// that is published later will have.
pub fn may_be_signed_with(token: &str, keys: &JwkSet) -> bool {
    match jsonwebtoken::decode_header(token) {
        Ok(header) => fitting(keys, header.kid.as_deref(), header.alg).next().is_some(),
        Err(_) => true,
    }
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
