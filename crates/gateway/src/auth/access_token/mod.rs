//! Access tokens: JSON Web Tokens that an identity provider signed.
//!
//! A token counts when it is signed with the configured key and algorithm or with a key that is published, comes from the configured issuer, is for one of
//! the configured audiences, and its time has come and is not over. What it allows is in its claim `roles`, a list or one
//! text, or in `scp` or `scope`, texts with blanks between:
//!
//! | role | right |
//! |---|---|
//! | `send`, `Azure Event Hubs Data Sender` | Send |
//! | `listen`, `Azure Event Hubs Data Receiver` | Listen |
//! | `manage`, `Azure Event Hubs Data Owner` | Manage |
//!
//! Letters are compared without regard to case, other roles are ignored. The rights count in the whole namespace.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;
use tidegate_jwt::{KeySource, NotSigned};
use tidegate_model::clock::{SharedClock, Timestamp};

use super::rule::{Right, Rights};

/// How much earlier than its `nbf` a token is taken, for clocks that differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest token that is read, in bytes; those of an identity provider have one to three thousand.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The shortest secret for HS256 in bytes: RFC 7518, section 3.2.
const MIN_SECRET_BYTES: usize = 32;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

/// Which access tokens count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenSettings {
    /// Who must have made them: the claim `iss`.
    pub issuer: String,
    /// Whom they may be for: one of the claim `aud` must be among these.
    pub audiences: Vec<String>,
    /// How they are signed. Tokens with another algorithm in their header are refused.
    pub algorithm: TokenAlgorithm,
}

/// Checks access tokens.
#[derive(Debug)]
pub struct AccessTokens(Check);

#[derive(Debug)]
enum Check {
    /// With one key that is configured.
    Key { key: DecodingKey, validation: Box<Validation> },
    /// With those that the issuer publishes; each decides itself which algorithm it is used with.
    Published { source: KeySource, issuer: String, audiences: Vec<String> },
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessToken {
    /// Who shows it, as far as it says.
    pub(super) subject: String,
    pub(super) rights: Rights,
    pub(super) expires_at: Timestamp,
}

/// The claims that are read beside those that the library checks.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    sub: Option<String>,
    roles: Option<Names>,
    scp: Option<Names>,
    scope: Option<Names>,
}

/// A list of names, or one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    Listed(Vec<String>),
    Text(String),
}

impl AccessTokens {
    /// Checks tokens with `key`: for HS256 the bytes of the secret, for the others a public key as PEM text.
    ///
    /// # Errors
    /// When the key is not of the kind that the algorithm needs.
    pub fn new(settings: &AccessTokenSettings, key: &[u8]) -> Result<Self, InvalidTokenKey> {
        tidegate_jwt::install();
        let (algorithm, key) = match settings.algorithm {
            TokenAlgorithm::Hs256 if key.len() < MIN_SECRET_BYTES => return Err(InvalidTokenKey::TooShort),
            TokenAlgorithm::Hs256 => (Algorithm::HS256, DecodingKey::from_secret(key)),
            TokenAlgorithm::Rs256 => {
                must_be_public(key)?;
                let key = DecodingKey::from_rsa_pem(key).map_err(|_| InvalidTokenKey::NotRsa)?;
                (Algorithm::RS256, key)
            }
            TokenAlgorithm::Es256 => {
                must_be_public(key)?;
                let key = DecodingKey::from_ec_pem(key).map_err(|_| InvalidTokenKey::NotP256)?;
                // A point of P-256 that is not compressed: 4, then two coordinates of 32 bytes (SEC 1, section 2.3.3).
                if !key.try_get_as_bytes().is_ok_and(|point| point.len() == 65 && point[0] == 4) {
                    return Err(InvalidTokenKey::NotP256);
                }
                (Algorithm::ES256, key)
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&settings.audiences);
        // The library would read the machine's clock; the times are checked below by the one that is passed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self(Check::Key { key, validation: Box::new(validation) }))
    }

    /// Checks tokens with the keys that somebody publishes; the algorithm of the settings does not matter.
    pub fn published(settings: &AccessTokenSettings, source: KeySource) -> Self {
        let AccessTokenSettings { issuer, audiences, .. } = settings;
        Self(Check::Published { source, issuer: issuer.clone(), audiences: audiences.clone() })
    }

    /// Whether the keys are published ones.
    pub(super) fn is_published(&self) -> bool {
        matches!(self.0, Check::Published { .. })
    }

    /// True when [`fetch_keys`](Self::fetch_keys) would ask for keys before this token can be judged.
    pub(super) fn would_ask(&self, token: &str, now: Duration) -> bool {
        match &self.0 {
            Check::Key { .. } => false,
            Check::Published { source, .. } => token.len() <= MAX_TOKEN_BYTES && source.would_ask(token, now),
        }
    }

    /// Sees to it that the keys are known that this token may be signed with. Where there is no answer,
    /// [`read`](Self::read) says so.
    pub(super) async fn fetch_keys(&self, token: &str, clock: &SharedClock) {
        if let Check::Published { source, .. } = &self.0
            && token.len() <= MAX_TOKEN_BYTES
        {
            source.fetch(token, clock).await;
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, AccessTokenRefused> {
        let (source, issuer, audiences) = match &self.0 {
            Check::Key { key, validation } => {
                return Ok(jsonwebtoken::decode::<Claims>(token, key, validation).map_err(refusal)?.claims);
            }
            Check::Published { source, issuer, audiences } => (source, issuer, audiences),
        };
        // What is no token is refused whether or not there are keys.
        jsonwebtoken::decode_header(token)
            .map_err(|_| AccessTokenRefused::Malformed("its header cannot be read"))?;
        let away = |why: String| AccessTokenRefused::NoKeys { why };
        let keys = source.known().map_err(|error| away(error.to_string()))?;
        let keys = keys.ok_or_else(|| away("the issuer's keys were not asked for yet".to_owned()))?;
        let claims = tidegate_jwt::signed_claims(token, &keys)?;
        let missing = |claim: &str| AccessTokenRefused::ClaimMissing { claim: claim.to_owned() };
        let named: Vec<&str> = match claims.get("aud").ok_or_else(|| missing("aud"))? {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        match claims.get("iss").ok_or_else(|| missing("iss"))?.as_str() {
            Some(theirs) if theirs == issuer => {}
            _ => return Err(AccessTokenRefused::Foreign("issuer (iss)")),
        }
        if !audiences.iter().any(|audience| named.contains(&audience.as_str())) {
            return Err(AccessTokenRefused::Foreign("audience (aud)"));
        }
        if claims.get("exp").is_none() {
            return Err(missing("exp"));
        }
        let malformed = "its claims are not what they should be";
        serde_json::from_value(claims).map_err(|_| AccessTokenRefused::Malformed(malformed))
    }

    /// What a token says, if it counts. The error says why it does not, without the token.
    pub(super) fn read(&self, token: &str, now: Timestamp) -> Result<AccessToken, AccessTokenRefused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AccessTokenRefused::Malformed("it is too long"));
        }
        let claims = self.claims(token)?;
        let (expires_at, not_before) = (seconds(claims.exp), claims.nbf.map(seconds));
        if expires_at <= now {
            return Err(AccessTokenRefused::Expired { at: expires_at });
        }
        if let Some(at) = not_before.filter(|begin| begin.minus(CLOCK_SKEW) > now) {
            return Err(AccessTokenRefused::NotYet { at });
        }
        let names = [claims.roles, claims.scp, claims.scope];
        let rights: Rights = names.iter().flatten().flat_map(rights_of).collect();
        if rights.is_empty() {
            return Err(AccessTokenRefused::NoRole);
        }
        let subject = claims.sub.unwrap_or_else(|| "an access token".to_owned());
        Ok(AccessToken { subject: subject.chars().take(256).collect(), rights, expires_at })
    }
}

/// A point in time from seconds since 1970, which may have a fraction.
fn seconds(seconds: f64) -> Timestamp {
    // The conversion holds at the ends of the range and takes what is no number for 0, which is long over.
    Timestamp::from_millis((seconds * 1000.0) as i64)
}

fn rights_of(names: &Names) -> Vec<Right> {
    match names {
        Names::Listed(names) => names.iter().filter_map(|name| right_of(name)).collect(),
        // One text is a role with blanks in its name, or names with blanks between.
        Names::Text(text) => match right_of(text) {
            Some(right) => vec![right],
            None => text.split_ascii_whitespace().filter_map(right_of).collect(),
        },
    }
}

fn right_of(role: &str) -> Option<Right> {
    match role.to_ascii_lowercase().as_str() {
        "send" | "azure event hubs data sender" => Some(Right::Send),
        "listen" | "azure event hubs data receiver" => Some(Right::Listen),
        "manage" | "azure event hubs data owner" => Some(Right::Manage),
        _ => None,
    }
}

fn must_be_public(pem: &[u8]) -> Result<(), InvalidTokenKey> {
    let text = std::str::from_utf8(pem).map_err(|_| InvalidTokenKey::NotPem)?;
    if text.contains("PRIVATE KEY-----") {
        Err(InvalidTokenKey::Private)
    } else if text.contains("-----BEGIN PUBLIC KEY-----") || text.contains("-----BEGIN RSA PUBLIC KEY-----") {
        Ok(())
    } else {
        Err(InvalidTokenKey::NotPem)
    }
}

fn refusal(error: jsonwebtoken::errors::Error) -> AccessTokenRefused {
    match error.kind() {
        ErrorKind::InvalidSignature => AccessTokenRefused::WrongSignature,
        ErrorKind::InvalidAlgorithm => AccessTokenRefused::Malformed("it is signed with another algorithm"),
        ErrorKind::InvalidIssuer => AccessTokenRefused::Foreign("issuer (iss)"),
        ErrorKind::InvalidAudience => AccessTokenRefused::Foreign("audience (aud)"),
        ErrorKind::MissingRequiredClaim(claim) => AccessTokenRefused::ClaimMissing { claim: claim.clone() },
        // The library's texts may repeat parts of the token.
        _ => AccessTokenRefused::Malformed("it is no JSON Web Token with the claims iss, aud and exp"),
    }
}

/// Why an access token does not count. No text holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenRefused {
    /// This server takes none.
    #[error("this server takes no access tokens: its configuration has no [access_token]")]
    NotConfigured,
    /// It cannot be read.
    #[error("the access token cannot be used: {0}")]
    Malformed(&'static str),
    /// It is signed with another key.
    #[error("the access token's signature does not match the configured key")]
    WrongSignature,
    /// It is signed with none of the keys that are published.
    #[error("the access token cannot be used: {0}")]
    NotSigned(#[from] NotSigned),
    /// There are no keys to check it with.
    #[error("the access token cannot be checked: {why}")]
    NoKeys {
        /// Why there are none.
        why: String,
    },
    /// It comes from or is for somebody else.
    #[error("the access token has another {0} than the configuration")]
    Foreign(&'static str),
    /// A claim is missing.
    #[error("the access token has no claim {claim:?}")]
    ClaimMissing {
        /// Which.
        claim: String,
    },
    /// Its time is over.
    #[error("the access token expired at {at}")]
    Expired {
        /// Its end.
        at: Timestamp,
    },
    /// Its time has not come.
    #[error("the access token counts from {at}")]
    NotYet {
        /// Its beginning.
        at: Timestamp,
    },
    /// It allows nothing here.
    #[error(
        "the access token has no role that counts here: send, listen, manage or a data role of Azure Event Hubs"
    )]
    NoRole,
}

/// Why a key cannot check tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenKey {
    /// A secret that can be guessed.
    #[error("a secret for HS256 has at least {MIN_SECRET_BYTES} bytes")]
    TooShort,
    /// No public key in PEM form.
    #[error("it is no public key in PEM form, which begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// A private key does not belong here.
    #[error("it is a private key, which belongs to whoever makes the tokens; give the public one")]
    Private,
    /// Not what RS256 needs.
    #[error("it is no RSA key, which RS256 needs")]
    NotRsa,
    /// Not what ES256 needs.
    #[error("it is no key of the curve P-256, which ES256 needs")]
    NotP256,
}

#[cfg(test)]
mod tests;
