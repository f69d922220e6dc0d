//! Sends spans and metrics, again if it has to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use tidegate_model::clock::{SharedClock, Timestamp};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::metrics::metrics_of;
use super::settings::{OtlpSettings, UnusableEndpoint};
use super::spans::{Spans, text};
use crate::families::families_of;

/// How many spans are sent at once.
const SPANS_AT_ONCE: usize = 512;

/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// The longest pause before something is sent again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many bytes of an answer that refuses are logged.
const SAID_BYTES: usize = 200;

/// What became of what was to be sent.
#[derive(Debug, Default)]
pub(crate) struct ExportCounts {
    pub(crate) sent_spans: AtomicU64,
    /// Spans that the receiver refused for good.
    pub(crate) refused_spans: AtomicU64,
    pub(crate) metrics_sent: AtomicU64,
    pub(crate) metrics_failed: AtomicU64,
}

/// Sends what there is until it is dropped.
pub(crate) struct Exporter {
    sender: Arc<Sender>,
    spans: Arc<Spans>,
    tasks: Vec<JoinHandle<()>>,
}

struct Sender {
    client: Client,
    traces: Url,
    metrics: Url,
    settings: OtlpSettings,
    resource: Resource,
    version: String,
    started_at: Timestamp,
    clock: SharedClock,
    counts: Arc<ExportCounts>,
}

/// Why something was not taken.
enum NotSent {
    /// It may be taken later.
    Later(String),
    /// It will never be taken.
    Never(String),
}

impl Exporter {
    /// Begins to send spans, and what `scrape` gives. A runtime must be there.
    pub(crate) fn start(
        settings: OtlpSettings,
        version: &str,
        spans: Arc<Spans>,
        scrape: impl Fn() -> String + Send + Sync + 'static,
        counts: Arc<ExportCounts>,
        clock: SharedClock,
    ) -> Result<Self, UnusableEndpoint> {
        let sender = Arc::new(Sender::new(settings, version, counts, clock)?);
        let mut tasks = vec![tokio::spawn(send_spans(Arc::clone(&sender), Arc::clone(&spans)))];
        if !sender.settings.interval.is_zero() {
            tasks.push(tokio::spawn(send_metrics(Arc::clone(&sender), scrape)));
        }
        Ok(Self { sender, spans, tasks })
    }

    /// Sends what is left, once, and ends.
    pub(crate) async fn stop(mut self) {
        self.abort();
        let left = self.spans.take(SPANS_AT_ONCE);
        if !left.is_empty() {
            let many = left.len() as u64;
            if self.sender.post_spans(left).await.is_ok() {
                self.sender.counts.sent_spans.fetch_add(many, Ordering::Relaxed);
            }
        }
    }

    fn abort(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.abort();
    }
}

async fn send_spans(sender: Arc<Sender>, spans: Arc<Spans>) {
    let mut failures = 0_u32;
    loop {
        spans.filled().await;
        sender.clock.sleep(GATHER.min(sender.settings.first_pause.saturating_mul(10))).await;
        loop {
            let batch = spans.take(SPANS_AT_ONCE);
            if batch.is_empty() {
                break;
            }
            let many = batch.len() as u64;
            let body = sender.encode_spans(batch);
            loop {
                match sender.post(&sender.traces, body.clone()).await {
                    Ok(()) => {
                        if failures > 0 {
                            info!(failures, "the OTLP receiver takes traces again");
                        }
                        failures = 0;
                        sender.counts.sent_spans.fetch_add(many, Ordering::Relaxed);
                        break;
                    }
                    Err(NotSent::Later(why)) => {
                        failures = failures.saturating_add(1);
                        if failures == 1 {
                            warn!(
                                why,
                                "the OTLP receiver does not take traces; they wait, and the newest are dropped when there are too many"
                            );
                        }
                        sender.clock.sleep(sender.pause(failures)).await;
                    }
                    Err(NotSent::Never(why)) => {
                        warn!(why, spans = many, "the OTLP receiver refuses traces");
                        sender.counts.refused_spans.fetch_add(many, Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
    }
}

async fn send_metrics(sender: Arc<Sender>, scrape: impl Fn() -> String) {
    let mut is_failing = false;
    loop {
        sender.clock.sleep(sender.settings.interval).await;
        let body = sender.encode_metrics(&scrape());
        match sender.post(&sender.metrics, body).await {
            Ok(()) => {
                is_failing = false;
                sender.counts.metrics_sent.fetch_add(1, Ordering::Relaxed);
            }
            // The next ones hold everything that these did.
            Err(NotSent::Later(why) | NotSent::Never(why)) => {
                sender.counts.metrics_failed.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(why, "the OTLP receiver does not take metrics");
                }
            }
        }
    }
}

impl Sender {
    fn new(
        settings: OtlpSettings,
        version: &str,
        counts: Arc<ExportCounts>,
        clock: SharedClock,
    ) -> Result<Self, UnusableEndpoint> {
        let base = settings.endpoint.trim_end_matches('/');
        let url = |path: &str| {
            let url = Url::parse(&format!("{base}{path}"));
            url.map_err(|error| UnusableEndpoint(format!("{base:?} is no address: {error}")))
        };
        let (traces, metrics) = (url("/v1/traces")?, url("/v1/metrics")?);
        if !matches!(traces.scheme(), "http" | "https") {
            return Err(UnusableEndpoint(format!("{base:?} begins with neither http:// nor https://")));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let parsed = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            let (Ok(name), Ok(mut value)) = parsed else {
                return Err(UnusableEndpoint(format!(
                    "the header {name:?} has characters that headers cannot have"
                )));
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let host = traces.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let mut client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.timeout)
            .tls_backend_preconfigured(tls_config(traces.scheme() == "https")?);
        if is_loopback {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| UnusableEndpoint(error.to_string()))?;
        let resource = Resource {
            attributes: vec![
                text("service.name", "tidegate"),
                text("service.version", version),
                text("service.instance.id", &settings.instance),
            ],
            ..Resource::default()
        };
        let started_at = clock.now();
        let version = version.to_owned();
        Ok(Self { client, traces, metrics, settings, resource, version, started_at, clock, counts })
    }

    fn scope(&self) -> InstrumentationScope {
        InstrumentationScope {
            name: "tidegate".to_owned(),
            version: self.version.clone(),
            ..InstrumentationScope::default()
        }
    }

    fn encode_spans(&self, spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>) -> Vec<u8> {
        let scope_spans = vec![ScopeSpans { scope: Some(self.scope()), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let of_resource = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec()
    }

    fn encode_metrics(&self, scrape: &str) -> Vec<u8> {
        let metrics = metrics_of(&families_of(scrape), self.started_at, self.clock.now());
        let scope_metrics =
            vec![ScopeMetrics { scope: Some(self.scope()), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource.clone());
        let of_resource = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![of_resource] }.encode_to_vec()
    }

    async fn post_spans(
        &self,
        spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>,
    ) -> Result<(), NotSent> {
        self.post(&self.traces, self.encode_spans(spans)).await
    }

    async fn post(&self, url: &Url, body: Vec<u8>) -> Result<(), NotSent> {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(NotSent::Later(chain(&error.without_url()))),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = answer.text().await.unwrap_or_default();
        let said: String = said.chars().take(SAID_BYTES).collect();
        let why = format!("it answered {status}: {}", said.trim());
        // As the specification says: https://opentelemetry.io/docs/specs/otlp/#failures-1
        match status.as_u16() {
            429 | 502 | 503 | 504 => Err(NotSent::Later(why)),
            _ => Err(NotSent::Never(why)),
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.settings.first_pause.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
    }
}

/// An error with everything that it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        source = cause.source();
    }
    said
}

/// TLS with the certificates that the machine trusts. Without TLS none are looked for: there may be none.
fn tls_config(is_used: bool) -> Result<rustls::ClientConfig, UnusableEndpoint> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = if is_used {
        config.and_then(rustls::ConfigBuilder::with_platform_verifier)
    } else {
        config.map(|config| config.with_root_certificates(rustls::RootCertStore::empty()))
    };
    let config = config.map_err(|error| UnusableEndpoint(format!("TLS cannot be set up: {error}")))?;
    Ok(config.with_no_client_auth())
}
