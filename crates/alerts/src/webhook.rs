//! Sends a notice to a program, over HTTP.
//!
//! A target with a handshake is asked before it is told, once in the life of a process:
//!
//! - CloudEvents: `OPTIONS` with `WebHook-Request-Origin`, by the abuse protection of the *HTTP 1.1 Web Hooks for Event
//!   Delivery* specification, section 4. It agrees by `WebHook-Allowed-Origin` with our name or `*`; a status alone is no
//!   consent.
//! - Event Grid: a `Microsoft.EventGrid.SubscriptionValidationEvent` with a code, marked by `aeg-event-type:
//!   SubscriptionValidation`. It agrees by `200` with `{"validationResponse": code}`.
//!
//! A notice is delivered when the answer is 2xx. Redirects are not followed: a body that is signed for one receiver is not
//! carried to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde_json::json;
use tidegate_model::clock::{Clock, Timestamp, timeout};
use tidegate_model::notice::Notice;

use crate::cloud_event::{CLOUD_EVENT_CONTENT_TYPE, DATA_VERSION, cloud_event, event_grid_events, event_id};
use crate::email::chain;
use crate::mail::shortened;
use crate::schedule::{Failure, FailureKind};
use crate::signature::{ID, Key, SIGNATURE, TIMESTAMP, seconds};
use crate::target::{InvalidTarget, Schema, Webhook, is_loopback};

/// How much of an answer is read.
const MAX_ANSWER: usize = 4096;

/// The header with the number of the try, from 1.
pub const TRY: &str = "tidegate-try";

/// Sends to one webhook.
pub(crate) struct WebhookSender {
    target: Webhook,
    key: Option<Key>,
    client: Client,
    /// Names this Tidegate as a URI, and as a host name.
    source: String,
    origin: String,
    has_agreed: AtomicBool,
}

impl WebhookSender {
    pub(crate) fn new(target: &Webhook, source: &str, origin: &str) -> Result<Self, InvalidTarget> {
        let invalid = |problem: String| InvalidTarget::new(&target.name, problem);
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(error.to_string()))?;
            let mut value =
                HeaderValue::from_str(value.reveal()).map_err(|error| invalid(format!("{name}: {error}")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let url = reqwest::Url::parse(target.url.reveal()).map_err(|error| invalid(error.to_string()))?;
        let mut client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // Notices are rare: a connection of its own for each one is never one that the other side has closed.
            .pool_max_idle_per_host(0)
            .tls_backend_preconfigured(tls_config(url.scheme() == "https").map_err(invalid)?);
        let host = url.host_str().unwrap_or_default();
        if is_loopback(host) {
            client = client.no_proxy();
        }
        let key = target.secret.as_ref().map(Key::new).transpose().map_err(&invalid)?;
        Ok(Self {
            target: target.clone(),
            key,
            client: client.build().map_err(|error| invalid(chain(&error)))?,
            source: source.to_owned(),
            origin: origin.to_owned(),
            has_agreed: AtomicBool::new(!target.handshake),
        })
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.target.timeout
    }

    /// Tries once to have the target take the notice.
    pub(crate) async fn send(
        &self,
        notice: &Notice,
        now: Timestamp,
        try_number: u32,
        clock: &dyn Clock,
    ) -> Result<(), Failure> {
        let work = async {
            if !self.has_agreed.load(Ordering::Relaxed) {
                self.shake_hands(now, clock.random()).await?;
                self.has_agreed.store(true, Ordering::Relaxed);
            }
            self.deliver(notice, now, try_number).await
        };
        timeout(clock, self.target.timeout, work).await.unwrap_or_else(|| {
            Err(Failure::new(
                FailureKind::Down,
                format!("it did not answer within {:?}; it may have taken the notice", self.target.timeout),
            ))
        })
    }

    async fn deliver(&self, notice: &Notice, now: Timestamp, try_number: u32) -> Result<(), Failure> {
        let id = event_id(notice);
        let mut headers = HeaderMap::new();
        let body = match self.target.schema {
            Schema::CloudEvents => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(CLOUD_EVENT_CONTENT_TYPE));
                cloud_event(notice, &self.source)
            }
            Schema::EventGrid => {
                headers.insert("aeg-event-type", HeaderValue::from_static("Notification"));
                event_grid_events(notice)
            }
        };
        headers.insert(TRY, HeaderValue::from(try_number));
        let answer = self.post(&id, now, headers, body.to_string()).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(refusal(answer).await)
    }

    async fn shake_hands(&self, now: Timestamp, random: u64) -> Result<(), Failure> {
        let refused =
            |said: String| Failure::new(FailureKind::Down, format!("it did not agree to be told: {said}"));
        match self.target.schema {
            Schema::CloudEvents => {
                let request = self
                    .client
                    .request(Method::OPTIONS, self.target.url.reveal())
                    .header(REQUEST_ORIGIN, &self.origin)
                    .header("WebHook-Request-Rate", "60");
                let answer = request.send().await.map_err(unreachable)?;
                let allowed =
                    answer.headers().get("WebHook-Allowed-Origin").and_then(|value| value.to_str().ok());
                match allowed.map(str::trim) {
                    Some(allowed) if allowed == "*" || allowed.eq_ignore_ascii_case(&self.origin) => Ok(()),
                    Some(_) => Err(refused("WebHook-Allowed-Origin names somebody else".to_owned())),
                    None => Err(refused(format!(
                        "no WebHook-Allowed-Origin in its answer {} to OPTIONS",
                        answer.status()
                    ))),
                }
            }
            Schema::EventGrid => {
                let code = format!("{random:016x}");
                let body = json!([{
                    "id": format!("validation-{code}"),
                    "subject": "",
                    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                    "eventTime": now,
                    "data": { "validationCode": code },
                    "dataVersion": DATA_VERSION,
                    "metadataVersion": "1",
                }]);
                let mut headers = HeaderMap::new();
                headers.insert("aeg-event-type", HeaderValue::from_static("SubscriptionValidation"));
                let answer = self.post(&format!("validation-{code}"), now, headers, body.to_string()).await?;
                if answer.status() != StatusCode::OK {
                    return Err(refused(format!("it answered {}", answer.status())));
                }
                let body = beginning(answer).await;
                let validated = serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|answer| {
                    answer.get("validationResponse").and_then(serde_json::Value::as_str) == Some(&code)
                });
                if validated {
                    Ok(())
                } else {
                    Err(refused("its answer does not hold the validation code".to_owned()))
                }
            }
        }
    }

    /// Posts a body, signed.
    async fn post(
        &self,
        id: &str,
        now: Timestamp,
        headers: HeaderMap,
        body: String,
    ) -> Result<Response, Failure> {
        let mut request = self
            .client
            .post(self.target.url.reveal())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .headers(headers)
            .header(REQUEST_ORIGIN, &self.origin)
            .header(ID, id)
            .header(TIMESTAMP, seconds(now));
        if let Some(key) = &self.key {
            request = request.header(SIGNATURE, key.sign(id, now, body.as_bytes()));
        }
        request.body(body).send().await.map_err(unreachable)
    }
}

const REQUEST_ORIGIN: &str = "WebHook-Request-Origin";

/// TLS with the certificates that the machine trusts. Without TLS none are looked for: there may be none.
fn tls_config(is_used: bool) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = if is_used {
        config.and_then(rustls::ConfigBuilder::with_platform_verifier)
    } else {
        config.map(|config| config.with_root_certificates(rustls::RootCertStore::empty()))
    };
    let config = config.map_err(|error| {
        format!("TLS cannot be set up: {error}; are there root certificates on this machine?")
    })?;
    Ok(config.with_no_client_auth())
}

fn unreachable(error: reqwest::Error) -> Failure {
    // The URL may hold a token.
    let error = error.without_url();
    Failure::new(FailureKind::Down, shortened(&format!("it cannot be reached: {}", chain(&error)), 400))
}

/// Reads an answer that is no success.
async fn refusal(answer: Response) -> Failure {
    let status = answer.status();
    let kind = match status.as_u16() {
        // Malformed, gone, too large, not understood: it will never be otherwise.
        400 | 410 | 413 | 415 | 422 => FailureKind::Never,
        // Busy, or somebody before it says that it is not there.
        408 | 425 | 429 | 502 | 503 | 504 => FailureKind::Down,
        // Also 401, 403, 404 and redirects: a person may repair the receiver within the day.
        _ => FailureKind::Refused,
    };
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok())
        // The form with a date is rare and is not read.
        .map(Duration::from_secs);
    let said = String::from_utf8_lossy(&beginning(answer).await).into_owned();
    let said = shortened(said.trim(), 200);
    let detail = if said.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {said}")
    };
    Failure { kind, detail, retry_after }
}

/// The beginning of an answer's body; what cannot be read is left out.
async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]),
            _ => break,
        }
    }
    body
}
