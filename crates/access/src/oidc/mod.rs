//! Signing in by an identity provider: OpenID Connect's authorization code flow with PKCE.
//!
//! ```text
//! begin:  a state, a nonce, a verifier are drawn → the browser goes to the provider, with a cookie that ties it to them
//! finish: it comes back with the state and a code → the code is exchanged for an ID token → the token is verified
//!         → its claims name a person and a role
//! ```
//!
//! Sources: OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636 (PKCE), RFC 9700 (OAuth 2.0 security).

mod id_token;
mod pending;
mod roles;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::HeaderValue;
use jsonwebtoken::jwk::JwkSet;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidegate_jwt::discovery::{Discovery, Metadata};
use tidegate_jwt::fetch::{self, encoded};
use tidegate_jwt::signed::may_be_signed_with;
use tidegate_jwt::{NoAnswer, NotSigned, PublishedKeys, is_protected};
use tidegate_model::clock::SharedClock;
use tidegate_model::error::{ErrorCode, ErrorKind};

use crate::name::nearest;
use crate::role::Role;
use crate::secret::random_hex;
pub use id_token::IdTokenRefused;
use id_token::{Expected, verified};
use pending::{Begun, Pending};
pub use pending::{MAX_PENDING, SIGN_IN_TIME};
pub use roles::RoleMapping;

/// How an identity provider is used.
#[derive(Clone)]
pub struct OidcSettings {
    /// Its address, as its tokens have it in `iss`.
    pub issuer: String,
    /// What it calls this server.
    pub client_id: String,
    /// What this server shows it; `None` for a client without a secret.
    pub client_secret: Option<String>,
    /// What is asked for; `openid` is among them.
    pub scopes: Vec<String>,
    /// The claim with a person's name; where it is missing: `preferred_username`, `email`, `name`, `sub`.
    pub name_claim: Option<String>,
    /// Which role a person has.
    pub mapping: RoleMapping,
}

impl std::fmt::Debug for OidcSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcSettings").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// An identity provider, and the sign-ins that are under way there.
pub struct Provider {
    settings: OidcSettings,
    client: reqwest::Client,
    clock: SharedClock,
    discovery: Discovery,
    keys: PublishedKeys,
    pending: Mutex<Pending>,
}

/// A sign-in that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Where the browser goes.
    pub location: String,
    /// What its cookie holds meanwhile.
    pub cookie: String,
}

/// What the browser brings back.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Callback {
    /// Which sign-in it is.
    pub state: Option<String>,
    /// What the token is exchanged for.
    pub code: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same for a person.
    pub error_description: Option<String>,
}

/// Somebody whom the provider knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// What the provider calls them for ever.
    pub subject: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Where they wanted to go: a path of this server.
    pub then: String,
}

impl Provider {
    /// Uses a provider. Nothing is asked of it before somebody signs in.
    ///
    /// # Errors
    /// When its address cannot be used, or TLS cannot be set up; the text says why.
    pub fn new(settings: OidcSettings, clock: SharedClock) -> Result<Self, String> {
        if !is_protected(&settings.issuer) {
            return Err(format!(
                "{:?} must begin with https://, but for one on this machine",
                settings.issuer
            ));
        }
        let client = fetch::client(&settings.issuer)?;
        let discovery = Discovery::new(&settings.issuer);
        let (keys, pending) = (PublishedKeys::default(), Mutex::default());
        Ok(Self { settings, client, clock, discovery, keys, pending })
    }

    /// Begins a sign-in. The provider sends the browser back to `redirect_uri`, and it goes on to `then`.
    ///
    /// # Errors
    /// When the provider does not answer, or says something that cannot be.
    pub async fn begin(&self, redirect_uri: &str, then: &str) -> Result<SignIn, SignInError> {
        let metadata = self.metadata().await?;
        let random = || random_hex::<32>(&*self.clock);
        let (state, cookie) = (random(), random());
        let begun = Begun {
            nonce: random(),
            verifier: random(),
            redirect_uri: redirect_uri.to_owned(),
            then: local_path(then).to_owned(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(begun.verifier.as_bytes()));
        let scopes = self.settings.scopes.join(" ");
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scopes),
            ("state", &state),
            ("nonce", &begun.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let query: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let endpoint = named(metadata.authorization_endpoint.as_deref(), "authorization_endpoint")?;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let location = format!("{endpoint}{joint}{}", query.join("&"));
        self.pending.lock().put(state, &cookie, begun, self.clock.monotonic());
        Ok(SignIn { location, cookie })
    }

    /// Finishes a sign-in that this browser began; `cookie` is what its cookie holds.
    ///
    /// # Errors
    /// Why nobody is let in.
    pub async fn finish(&self, callback: &Callback, cookie: Option<&str>) -> Result<Person, SignInError> {
        let state = callback.state.as_deref().ok_or(SignInError::NotBegun)?;
        let cookie = cookie.ok_or(SignInError::NotBegun)?;
        let begun = self.pending.lock().take(state, cookie, self.clock.monotonic());
        let begun = begun.ok_or(SignInError::NotBegun)?;
        if let Some(error) = &callback.error {
            let said = callback.error_description.as_deref().unwrap_or_default();
            return Err(SignInError::Denied { error: shown(error), said: shown(said) });
        }
        let code = callback.code.as_deref().ok_or(SignInError::NotBegun)?;
        let token = self.exchange(code, &begun).await?;
        let claims = self.verified(&token, &begun.nonce).await?;
        self.person(&claims, begun.then)
    }

    /// The ID token for a code.
    async fn exchange(&self, code: &str, begun: &Begun) -> Result<String, SignInError> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
            error: Option<String>,
            error_description: Option<String>,
        }
        const WHAT: &str = "token endpoint";

        let metadata = self.metadata().await?;
        let OidcSettings { client_id, client_secret, .. } = &self.settings;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &begun.redirect_uri),
            ("code_verifier", &begun.verifier),
        ];
        let mut authorization = None;
        match client_secret {
            Some(secret) if takes_basic(&metadata) => {
                // Each is encoded for itself: RFC 6749, section 2.3.1.
                let pair = STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret)));
                let mut value = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is ASCII");
                value.set_sensitive(true);
                authorization = Some(value);
            }
            Some(secret) => fields.extend([("client_id", client_id.as_str()), ("client_secret", secret)]),
            None => fields.push(("client_id", client_id)),
        }
        let url = named(metadata.token_endpoint.as_deref(), "token_endpoint")?;
        let clock = &*self.clock;
        let (status, body) = fetch::post_form(&self.client, WHAT, url, &fields, authorization, clock).await?;
        let answer: Answer = fetch::understood(WHAT, &body)?;
        match answer {
            Answer { id_token: Some(token), .. } if status == 200 => Ok(token),
            Answer { error: Some(error), error_description, .. } => {
                let said = error_description.unwrap_or_default();
                Err(SignInError::Denied { error: shown(&error), said: shown(&said) })
            }
            _ => {
                let why = format!("its answer has no ID token (status {status})");
                Err(SignInError::Provider(NoAnswer::new(WHAT, why)))
            }
        }
    }

    /// The claims of a token. Its key may be newer than those that are known.
    async fn verified(&self, token: &str, nonce: &str) -> Result<Value, SignInError> {
        let OidcSettings { issuer, client_id, .. } = &self.settings;
        let expected = Expected { issuer, client_id, nonce, now: self.clock.now() };
        let keys = self.keys(|keys| may_be_signed_with(token, keys)).await?;
        match verified(token, &keys, &expected) {
            // A new key may have the name of an old one.
            Err(IdTokenRefused::Signature(NotSigned::WrongSignature)) => {
                let keys = self.keys(|_| false).await?;
                Ok(verified(token, &keys, &expected)?)
            }
            result => Ok(result?),
        }
    }

    async fn keys(&self, suits: impl Fn(&JwkSet) -> bool) -> Result<Arc<JwkSet>, SignInError> {
        let metadata = self.metadata().await?;
        Ok(self.keys.get(&self.client, &metadata.jwks_uri, suits, &self.clock).await?)
    }

    async fn metadata(&self) -> Result<Metadata, SignInError> {
        Ok(self.discovery.metadata(&self.client, &*self.clock).await?)
    }

    fn person(&self, claims: &Value, then: String) -> Result<Person, SignInError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let subject = text("sub").unwrap_or_default().to_owned();
        let named = self.settings.name_claim.as_deref().into_iter();
        let name = named
            .chain(["preferred_username", "email", "name", "sub"])
            .filter_map(text)
            .find_map(nearest)
            .ok_or(SignInError::Token(IdTokenRefused::Wrong("sub")))?;
        match self.settings.mapping.role(claims) {
            Some(role) => Ok(Person { subject, name, role, then }),
            None => Err(SignInError::NoRole { name, claim: self.settings.mapping.claim.clone() }),
        }
    }
}

/// An address that a provider must name where people sign in with it.
fn named<'m>(endpoint: Option<&'m str>, name: &str) -> Result<&'m str, SignInError> {
    endpoint.ok_or_else(|| SignInError::Provider(NoAnswer::new("configuration", format!("it has no {name}"))))
}

/// Whether the secret goes into a header: so where nothing else is said.
fn takes_basic(metadata: &Metadata) -> bool {
    let methods = metadata.token_endpoint_auth_methods_supported.as_ref();
    methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
}

/// The path if it leads nowhere else; else the first page.
fn local_path(then: &str) -> &str {
    let mut bytes = then.bytes();
    let begins = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
    let plain = then.len() <= 2000 && then.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if begins && plain { then } else { "/" }
}

/// As much of somebody else's text as a message shows.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// Why a sign-in by the provider failed. No text holds a code or a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// What came back belongs to no sign-in that this browser began, or it was finished before, or took too long.
    #[error("this sign-in was not begun in this browser within the last ten minutes, or was finished before")]
    NotBegun,
    /// The provider let nobody in.
    #[error("the identity provider refused: {error} {said}")]
    Denied {
        /// Its code.
        error: String,
        /// What it says to a person.
        said: String,
    },
    /// The provider does not answer, or not as it should.
    #[error(transparent)]
    Provider(#[from] NoAnswer),
    /// Its token lets nobody in.
    #[error("the identity provider's token lets nobody in: {0}")]
    Token(#[from] IdTokenRefused),
    /// Its token names no role.
    #[error("the identity provider knows {name}, but its claim {claim:?} names no role that counts here")]
    NoRole {
        /// Who.
        name: String,
        /// Where a role was looked for.
        claim: String,
    },
}

impl SignInError {
    /// What the person should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBegun | Self::Provider(_) => ErrorKind::Transient,
            Self::Denied { .. } | Self::Token(_) | Self::NoRole { .. } => ErrorKind::Permanent,
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::SIGN_IN_FAILED
    }

    /// The way out.
    pub fn action(&self) -> &'static str {
        match self {
            Self::NotBegun => "begin again at the sign-in page",
            Self::Denied { .. } => "ask whoever administers the identity provider",
            Self::Provider(_) => "try again later; the server's administrator finds more in its log",
            Self::Token(_) => "begin again; if it stays, compare [oidc] and the clocks of both machines",
            Self::NoRole { .. } => "ask for a role that `roles` of [oidc] names",
        }
    }
}

#[cfg(test)]
mod tests;
