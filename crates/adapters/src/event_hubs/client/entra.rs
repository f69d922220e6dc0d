//! Access tokens of Entra, by the client-credentials flow of OAuth 2 (RFC 6749, section 4.4): an application shows its id
//! and a secret, and is given a token for about an hour.
//!
//! Tested against an issuer of our own; the live one could not be reached where this was written.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tidegate_model::clock::{SharedClock, Timestamp, timeout};
use tokio::sync::Mutex;

use super::credential::{Token, TokenError, TokenKind, TokenSource};
use super::error::shortened;

/// Where Entra is, unless said otherwise.
pub const AUTHORITY: &str = "https://login.microsoftonline.com";

/// What a token for Event Hubs is asked for.
pub const EVENT_HUBS_SCOPE: &str = "https://eventhubs.azure.net/.default";

/// What a token for blobs is asked for.
pub const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";

/// How long the issuer may take.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(30);

/// A token is asked for anew when it is good for no longer than this.
const MARGIN: Duration = Duration::from_secs(300);

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// An application that is registered with Entra. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Application {
    /// The issuer, such as [`AUTHORITY`].
    pub authority: String,
    /// The directory.
    pub tenant_id: String,
    /// The application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What tokens are asked for.
    pub scope: &'static str,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application")
            .field("authority", &self.authority)
            .field("tenant_id", &self.tenant_id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Asks an issuer for tokens, and keeps one until it is nearly over.
pub struct ApplicationTokens {
    application: Application,
    client: reqwest::Client,
    clock: SharedClock,
    kept: Mutex<Option<Token>>,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl ApplicationTokens {
    /// Tokens for an application. `client` has the TLS it needs.
    pub fn new(application: Application, client: reqwest::Client, clock: SharedClock) -> Self {
        Self { application, client, clock, kept: Mutex::default() }
    }

    async fn ask(&self) -> Result<Token, TokenError> {
        let Application { authority, tenant_id, client_id, client_secret, scope } = &self.application;
        let issuer = authority.trim_end_matches('/').to_owned();
        let unavailable =
            |detail: String| TokenError::Unavailable { issuer: issuer.clone(), detail: shortened(&detail) };
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret),
            ("scope", scope),
        ];
        let asked_at = self.clock.now();
        let request = self
            .client
            .post(format!("{issuer}/{tenant_id}/oauth2/v2.0/token"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form_of(&form));
        let answer = async {
            let mut answer = request.send().await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > MAX_ANSWER {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>((answer.status(), body))
        };
        let (status, body) = match timeout(&*self.clock, ISSUER_TIMEOUT, answer).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(unavailable(error.without_url().to_string())),
            None => return Err(unavailable(format!("no answer within {} s", ISSUER_TIMEOUT.as_secs()))),
        };
        if status.is_success() {
            let issued: Issued = serde_json::from_slice(&body)
                .map_err(|_| unavailable("its answer has no access_token and expires_in".to_owned()))?;
            let expires_at = asked_at.plus(Duration::from_secs(issued.expires_in));
            return Ok(Token { kind: TokenKind::Jwt, secret: issued.access_token, expires_at });
        }
        let said = serde_json::from_slice::<Refusal>(&body).map_or_else(
            |_| status.to_string(),
            |refusal| format!("{status}: {}: {}", refusal.error, refusal.error_description),
        );
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(TokenError::Refused { issuer, detail: shortened(&said) })
            }
            _ => Err(unavailable(said)),
        }
    }
}

/// A client of HTTP for issuers and for blobs, with the TLS it needs. Redirects are not followed: what is sent is for one
/// receiver alone.
///
/// # Errors
/// When it cannot be made.
pub fn http_client(tls: rustls::ClientConfig) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(|error| format!("no client of HTTP can be made: {error}"))
}

fn form_of(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    fields.join("&")
}

fn is_good(token: &Token, now: Timestamp) -> bool {
    token.expires_at.since(now) > MARGIN
}

#[async_trait]
impl TokenSource for ApplicationTokens {
    async fn token(&self, _audience: &str) -> Result<Token, TokenError> {
        let mut kept = self.kept.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| is_good(token, self.clock.now())) {
            return Ok(token.clone());
        }
        match self.ask().await {
            Ok(token) => Ok(kept.insert(token).clone()),
            // The one there is may still be good for a while.
            Err(error) => match kept.as_ref().filter(|token| token.expires_at > self.clock.now()) {
                Some(token) => Ok(token.clone()),
                None => Err(error),
            },
        }
    }
}
