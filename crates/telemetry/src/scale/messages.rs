//! The messages of KEDA's `externalscaler.proto` (KEDA 2.x), written by hand; the numbers are those of that file.

use std::collections::HashMap;

/// Which ScaledObject asks.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScaledObjectRef {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// What the trigger says in `metadata`.
    #[prost(map = "string, string", tag = "3")]
    pub scaler_metadata: HashMap<String, String>,
}

/// Whether there is to be an instance at all.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IsActiveResponse {
    /// Yes or no.
    #[prost(bool, tag = "1")]
    pub result: bool,
}

/// What is measured.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricSpecResponse {
    /// One for each metric.
    #[prost(message, repeated, tag = "1")]
    pub metric_specs: Vec<MetricSpec>,
}

/// A metric, and how much of it one instance is to have.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricSpec {
    /// Its name.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// For one instance, as a whole number.
    #[prost(int64, tag = "2")]
    pub target_size: i64,
    /// The same, for newer versions.
    #[prost(double, tag = "3")]
    pub target_size_float: f64,
}

/// Asks for a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricsRequest {
    /// Who asks.
    #[prost(message, optional, tag = "1")]
    pub scaled_object_ref: Option<ScaledObjectRef>,
    /// The metric.
    #[prost(string, tag = "2")]
    pub metric_name: String,
}

/// The values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetMetricsResponse {
    /// One for each metric.
    #[prost(message, repeated, tag = "1")]
    pub metric_values: Vec<MetricValue>,
}

/// A value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricValue {
    /// The metric.
    #[prost(string, tag = "1")]
    pub metric_name: String,
    /// Its value, as a whole number.
    #[prost(int64, tag = "2")]
    pub metric_value: i64,
    /// The same, for newer versions.
    #[prost(double, tag = "3")]
    pub metric_value_float: f64,
}
