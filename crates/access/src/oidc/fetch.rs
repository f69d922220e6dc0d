//! Asks the identity provider: bounded in time and in bytes, and never following it elsewhere.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::Client;
use serde::de::DeserializeOwned;
use tidegate_model::clock::{Clock, timeout};

use super::SignInError;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// A client for the provider at `issuer`.
///
/// # Errors
/// When TLS cannot be set up; the text says so.
pub(super) fn client(issuer: &str) -> Result<Client, String> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = match issuer.starts_with("https://") {
        true => config.and_then(rustls::ConfigBuilder::with_platform_verifier),
        // Nothing is encrypted, and there may be no root certificates on this machine.
        false => config.map(|config| config.with_root_certificates(rustls::RootCertStore::empty())),
    };
    let config = config.map_err(|error| {
        format!("TLS cannot be set up: {error}; are there root certificates on this machine?")
    })?;
    let client = Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(config.with_no_client_auth());
    client.build().map_err(|error| format!("no client of HTTP can be made: {error}"))
}

/// What is at an address.
pub(super) async fn get<T: DeserializeOwned>(
    client: &Client,
    what: &'static str,
    url: &str,
    clock: &dyn Clock,
) -> Result<T, SignInError> {
    let (status, body) = sent(client.get(url).header(ACCEPT, "application/json"), what, clock).await?;
    if status != 200 {
        return Err(SignInError::provider(what, format!("it answered with the status {status}")));
    }
    understood(what, &body)
}

/// What a form sent to an address is answered with: the status and the body.
pub(super) async fn post_form(
    client: &Client,
    what: &'static str,
    url: &str,
    fields: &[(&str, &str)],
    authorization: Option<HeaderValue>,
    clock: &dyn Clock,
) -> Result<(u16, Vec<u8>), SignInError> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let mut request = client
        .post(url)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(fields.join("&"));
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    sent(request, what, clock).await
}

pub(super) fn understood<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, SignInError> {
    // The parser's message may repeat what it read, and that may be a token.
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        SignInError::provider(what, format!("its answer cannot be understood ({place})"))
    })
}

/// Text as a part of an address or of a form.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn sent(
    request: reqwest::RequestBuilder,
    what: &'static str,
    clock: &dyn Clock,
) -> Result<(u16, Vec<u8>), SignInError> {
    let unreachable = |error: reqwest::Error| {
        let mut why = error.without_url().to_string();
        why.truncate(500);
        SignInError::provider(what, format!("it does not answer: {why}"))
    };
    let work = async {
        let mut response = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(SignInError::provider(
                    what,
                    format!("its answer has more than {MAX_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), body))
    };
    let late = || SignInError::provider(what, format!("it did not answer within {TIMEOUT:?}"));
    timeout(clock, TIMEOUT, work).await.unwrap_or_else(|| Err(late()))
}
