//! KEDA's external scaler: a gRPC service that tells how many instances of a function there are to be.
//!
//! The metadata of the trigger names the `function`, and may set `targetLag` and `scaleToZero`. The metric's value is the
//! number of instances, and its target is one: so KEDA wants exactly that many.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::decide::{Policy, desired};
use super::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};
use crate::Telemetry;

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "tonic wrote it")]
mod service {
    include!(concat!(env!("OUT_DIR"), "/externalscaler.ExternalScaler.rs"));
}

use service::external_scaler_server::{ExternalScaler, ExternalScalerServer};

/// Answers KEDA.
pub struct KedaScaler {
    telemetry: Arc<Telemetry>,
    policy: Policy,
}

impl KedaScaler {
    /// Answers by what is seen, and by `policy` where the trigger says nothing else.
    pub fn new(telemetry: Arc<Telemetry>, policy: Policy) -> Self {
        Self { telemetry, policy }
    }

    fn desired(&self, metadata: &HashMap<String, String>) -> Result<(String, u64), Status> {
        let names = || {
            let seen = self.telemetry.seen();
            let names = seen.1.functions.iter().map(|function| function.function.to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        let function = metadata.get("function").ok_or_else(|| {
            Status::invalid_argument(format!(
                "name a function in the trigger's metadata: function: one of {}",
                names()
            ))
        })?;
        let policy = self.policy_of(metadata)?;
        let demand = self.telemetry.demand(function).ok_or_else(|| {
            Status::not_found(format!("there is no function {function:?}; there are: {}", names()))
        })?;
        Ok((function.clone(), desired(demand, policy)))
    }

    fn policy_of(&self, metadata: &HashMap<String, String>) -> Result<Policy, Status> {
        let wrong = |name: &str, text: &str, expected: &str| {
            let text: String = text.chars().take(64).collect();
            Status::invalid_argument(format!(
                "{name} in the trigger's metadata cannot be {text:?}: it is {expected}"
            ))
        };
        let mut policy = self.policy;
        if let Some(text) = metadata.get("targetLag") {
            let lag = text.parse().ok().filter(|lag| *lag > 0);
            policy.target_lag =
                lag.ok_or_else(|| wrong("targetLag", text, "a number of events above zero"))?;
        }
        if let Some(text) = metadata.get("scaleToZero") {
            policy.to_zero = text.parse().map_err(|_| wrong("scaleToZero", text, "true or false"))?;
        }
        Ok(policy)
    }
}

fn metric_name(function: &str) -> String {
    format!("tidegate-{function}")
}

#[tonic::async_trait]
impl ExternalScaler for KedaScaler {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let (_, desired) = self.desired(&request.get_ref().scaler_metadata)?;
        Ok(Response::new(IsActiveResponse { result: desired > 0 }))
    }

    type StreamIsActiveStream = Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let metadata = request.into_inner().scaler_metadata;
        self.desired(&metadata)?;
        let scaler = Self::new(Arc::clone(&self.telemetry), self.policy);
        let looks = self.telemetry.looks();
        // It tells at the beginning and whenever it is otherwise, and ends with the program or when the function is gone.
        let told = futures_util::stream::unfold((scaler, metadata, looks, None), async |state| {
            let (scaler, metadata, mut looks, before) = state;
            loop {
                if before.is_some() {
                    looks.changed().await.ok()?;
                }
                let result = scaler.desired(&metadata).ok()?.1 > 0;
                if before != Some(result) {
                    return Some((Ok(IsActiveResponse { result }), (scaler, metadata, looks, Some(result))));
                }
            }
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let (function, _) = self.desired(&request.get_ref().scaler_metadata)?;
        let spec = MetricSpec { metric_name: metric_name(&function), target_size: 1, target_size_float: 1.0 };
        Ok(Response::new(GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let asked = request.into_inner().scaled_object_ref.unwrap_or_default();
        let (function, desired) = self.desired(&asked.scaler_metadata)?;
        let value = MetricValue {
            metric_name: metric_name(&function),
            metric_value: i64::try_from(desired).unwrap_or(i64::MAX),
            metric_value_float: desired as f64,
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// Answers who connects until `stop` ends.
///
/// # Errors
/// When connections cannot be taken any more.
pub async fn serve(
    listener: TcpListener,
    scaler: KedaScaler,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(16)
        .add_service(ExternalScalerServer::new(scaler).max_decoding_message_size(64 * 1024))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await
}
