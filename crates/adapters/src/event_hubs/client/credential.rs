//! Tokens: how a hub is told that we may read it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::connection_string::{Credential, SharedAccessKey};

use super::error::FailureKind;

/// How long a signature that we make counts: an hour, as those of Event Hubs' clients.
pub const SIGNATURE_LIFETIME: Duration = Duration::from_secs(3600);

/// A token for a hub. `Debug` hides it.
#[derive(Clone)]
pub struct Token {
    /// Which kind of token it is.
    pub kind: TokenKind,
    /// The token.
    pub secret: String,
    /// When it ends; a token that ends is replaced before.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("kind", &self.kind)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The kinds of tokens that Event Hubs takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A shared access signature.
    Signature,
    /// An access token of Entra.
    Jwt,
}

impl TokenKind {
    /// As `$cbs` names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Signature => "servicebus.windows.net:sastoken",
            Self::Jwt => "jwt",
        }
    }
}

/// Makes tokens.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A token for the audience, such as `sb://ns.servicebus.windows.net/flights`: a new one, or one that is good for long
    /// enough.
    ///
    /// # Errors
    /// Why there is none.
    async fn token(&self, audience: &str) -> Result<Token, TokenError>;
}

/// Why there is no token. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The issuer does not answer, or not as it should.
    #[error("the issuer of tokens at {issuer} does not give one: {detail}")]
    Unavailable {
        /// The issuer's host.
        issuer: String,
        /// What is wrong.
        detail: String,
    },
    /// The issuer refuses.
    #[error("the issuer of tokens at {issuer} refuses: {detail}")]
    Refused {
        /// The issuer's host.
        issuer: String,
        /// What it said.
        detail: String,
    },
    /// The token of the connection string is of no use any more.
    #[error(
        "the SharedAccessSignature of the connection string ended at {at}; put a new one there, or a key"
    )]
    Expired {
        /// Its end.
        at: Timestamp,
    },
    /// The token of the connection string cannot be read.
    #[error("the SharedAccessSignature of the connection string is none: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl TokenError {
    /// What to do about it.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unavailable { .. } => FailureKind::Transient,
            Self::Refused { .. } | Self::Expired { .. } | Self::Malformed { .. } => FailureKind::Unauthorized,
        }
    }
}

/// Tokens by what a connection string says.
///
/// # Errors
/// When its token cannot be read.
pub fn tokens_of(credential: &Credential, clock: SharedClock) -> Result<Arc<dyn TokenSource>, TokenError> {
    Ok(match credential {
        Credential::Key { name, key } => {
            Arc::new(SignatureSource { key_name: name.clone(), key: key.clone(), clock })
        }
        Credential::Signature(token) => {
            Arc::new(GivenSignature { expires_at: expiry_of(token.reveal())?, token: token.clone(), clock })
        }
    })
}

/// Signs tokens with the key of an access rule.
struct SignatureSource {
    key_name: String,
    key: SharedAccessKey,
    clock: SharedClock,
}

#[async_trait]
impl TokenSource for SignatureSource {
    async fn token(&self, audience: &str) -> Result<Token, TokenError> {
        let expires_at = self.clock.now().plus(SIGNATURE_LIFETIME);
        let secret = signature(audience, &self.key_name, self.key.reveal(), expires_at);
        Ok(Token { kind: TokenKind::Signature, secret, expires_at })
    }
}

/// A token that somebody else made.
struct GivenSignature {
    token: SharedAccessKey,
    expires_at: Timestamp,
    clock: SharedClock,
}

#[async_trait]
impl TokenSource for GivenSignature {
    async fn token(&self, _audience: &str) -> Result<Token, TokenError> {
        if self.expires_at <= self.clock.now() {
            return Err(TokenError::Expired { at: self.expires_at });
        }
        let secret = self.token.reveal().to_owned();
        Ok(Token { kind: TokenKind::Signature, secret, expires_at: self.expires_at })
    }
}

/// What is not encoded in a token.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A shared access signature: the key's text signs the encoded audience, a line feed and the end in seconds since 1970.
pub fn signature(audience: &str, key_name: &str, key: &str, expires_at: Timestamp) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, &UNRESERVED).to_string();
    let audience = encoded(audience);
    let expiry = expires_at.as_millis().div_euclid(1000);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{audience}\n{expiry}").as_bytes());
    let signed = encoded(&STANDARD.encode(mac.finalize().into_bytes()));
    format!("SharedAccessSignature sr={audience}&sig={signed}&se={expiry}&skn={}", encoded(key_name))
}

/// The end of a shared access signature.
fn expiry_of(token: &str) -> Result<Timestamp, TokenError> {
    let fields = token
        .strip_prefix("SharedAccessSignature ")
        .ok_or(TokenError::Malformed { problem: "it does not begin with `SharedAccessSignature `" })?;
    let expiry = fields.split('&').find_map(|field| field.trim().strip_prefix("se="));
    let seconds: Option<i64> =
        expiry.and_then(|text| percent_decode_str(text).decode_utf8().ok()?.parse().ok());
    let seconds = seconds.ok_or(TokenError::Malformed { problem: "it has no end `se` in seconds" })?;
    Ok(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::TestClock;

    use super::*;

    #[test]
    fn a_signature_is_what_the_documentation_says() {
        // Made with Python's hmac, base64 and urllib.parse.quote_plus.
        let token = signature(
            "sb://ns.servicebus.windows.net/flights",
            "RootManageSharedAccessKey",
            "SAS_KEY_VALUE",
            Timestamp::from_millis(1_700_003_600_999),
        );
        let expected = "SharedAccessSignature sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fflights\
                        &sig=Jun9yRM44SUFSuhJ3p%2BxDvwikdkxOzUlIsn9N9iLEYM%3D\
                        &se=1700003600&skn=RootManageSharedAccessKey";
        assert_eq!(token, expected);
    }

    #[tokio::test]
    async fn a_given_signature_is_used_until_its_end() {
        let clock = TestClock::new(Timestamp::from_millis(1_700_000_000_000), 1);
        let key =
            "Endpoint=sb://h;SharedAccessSignature=SharedAccessSignature sr=a&sig=b&se=1700000001&skn=k";
        let connection: tidegate_model::connection_string::ConnectionString = key.parse().unwrap();
        let tokens = tokens_of(connection.credential(), clock.clone()).unwrap();
        let token = tokens.token("sb://h/hub").await.unwrap();
        assert_eq!(token.secret, "SharedAccessSignature sr=a&sig=b&se=1700000001&skn=k");
        assert!(!format!("{token:?}").contains("sig"));
        clock.set_now(Timestamp::from_millis(1_700_000_001_000));
        let expired = tokens.token("sb://h/hub").await.unwrap_err();
        assert!(expired.to_string().contains("2023-11-14T22:13:21"), "{expired}");
        assert_eq!(expired.kind(), FailureKind::Unauthorized);
        for bad in ["sr=a&se=1", "SharedAccessSignature sr=a", "SharedAccessSignature se=soon"] {
            assert!(matches!(expiry_of(bad), Err(TokenError::Malformed { .. })), "{bad}");
        }
    }
}
