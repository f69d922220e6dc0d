//! Where traces and metrics go.

use std::time::Duration;

/// Where traces and metrics go, and how many.
#[derive(Clone)]
pub struct OtlpSettings {
    /// The receiver: `http://host:4318`. What is below it is `/v1/traces` and `/v1/metrics`.
    pub endpoint: String,
    /// Headers of each request. They may hold secrets and are never shown.
    pub headers: Vec<(String, String)>,
    /// The share of batches whose traces are sent, between 0 and 1. Those with failures are sent in any case.
    pub sample_ratio: f64,
    /// How often metrics are sent; never if it is zero.
    pub interval: Duration,
    /// How long a receiver has to answer.
    pub timeout: Duration,
    /// The first pause before something is sent again; each further one is twice as long, up to 30 seconds.
    pub first_pause: Duration,
    /// How this instance is named.
    pub instance: String,
}

impl std::fmt::Debug for OtlpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, headers, sample_ratio, interval, timeout, first_pause, instance } = self;
        let headers: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("OtlpSettings")
            .field("endpoint", endpoint)
            .field("headers", &headers)
            .field("sample_ratio", sample_ratio)
            .field("interval", interval)
            .field("timeout", timeout)
            .field("first_pause", first_pause)
            .field("instance", instance)
            .finish()
    }
}

/// A receiver that cannot be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the OTLP endpoint cannot be used: {0}")]
pub struct UnusableEndpoint(pub(super) String);
