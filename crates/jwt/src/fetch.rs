//! Asks an identity provider: bounded in time and in bytes, and never following it elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::Client;
use serde::de::DeserializeOwned;
use tidegate_model::clock::{Clock, timeout};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// A provider does not answer, or not as it should. No text holds a code or a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity provider's {what}: {why}")]
pub struct NoAnswer {
    /// What was asked for.
    pub what: &'static str,
    /// What is wrong.
    pub why: String,
}

impl NoAnswer {
    /// What was asked for, and what is wrong.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

/// A client for a provider at `address`.
///
/// # Errors
/// When TLS cannot be set up; the text says so.
pub fn client(address: &str) -> Result<Client, String> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = match address.starts_with("https://") {
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
///
/// # Errors
/// When there is no answer, or none that can be understood.
pub async fn get<T: DeserializeOwned>(
    client: &Client,
    what: &'static str,
    url: &str,
    clock: &dyn Clock,
) -> Result<T, NoAnswer> {
    let (status, body) = sent(client.get(url).header(ACCEPT, "application/json"), what, clock).await?;
    if status != 200 {
        return Err(NoAnswer::new(what, format!("it answered with the status {status}")));
    }
    understood(what, &body)
}

/// What a form sent to an address is answered with: the status and the body.
///
/// # Errors
/// When there is no answer.
pub async fn post_form(
    client: &Client,
    what: &'static str,
    url: &str,
    fields: &[(&str, &str)],
    authorization: Option<HeaderValue>,
    clock: &dyn Clock,
) -> Result<(u16, Vec<u8>), NoAnswer> {
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

/// An answer that is JSON.
///
/// # Errors
/// When it is not, or another one.
pub fn understood<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, NoAnswer> {
    // The parser's message may repeat what it read, and that may be a token.
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        NoAnswer::new(what, format!("its answer cannot be understood ({place})"))
    })
}

/// Text as a part of an address or of a form.
pub fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// True for an address to which secrets may go, and whose answers may be believed: encrypted, or on this machine.
pub fn is_protected(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback_name(host),
        _ => false,
    }
}

fn is_loopback_name(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

async fn sent(
    request: reqwest::RequestBuilder,
    what: &'static str,
    clock: &dyn Clock,
) -> Result<(u16, Vec<u8>), NoAnswer> {
    let unreachable = |error: reqwest::Error| {
        let why: String = error.without_url().to_string().chars().take(500).collect();
        NoAnswer::new(what, format!("it does not answer: {why}"))
    };
    let work = async {
        let mut response = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(NoAnswer::new(what, format!("its answer has more than {MAX_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), body))
    };
    let late = || NoAnswer::new(what, format!("it did not answer within {TIMEOUT:?}"));
    timeout(clock, TIMEOUT, work).await.unwrap_or_else(|| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_encrypted_or_nowhere() {
        for good in ["https://a", "http://127.0.0.1:8080/x", "http://localhost/", "http://[::1]:1/"] {
            assert!(is_protected(good), "{good}");
        }
        for wrong in
            ["http://a.example/", "ftp://127.0.0.1/", "https://", "", "x", "http://127.0.0.1.evil.example/"]
        {
            assert!(!is_protected(wrong), "{wrong}");
        }
    }
}
