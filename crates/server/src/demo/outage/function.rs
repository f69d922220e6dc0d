//! The demo's function: posts each report to the downstream, and keeps one document an aircraft.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use tidegate_function::{Batch, BatchFunction, DocumentId, Event, Failure, FunctionError, Rejection};
use tidegate_model::clock::{SharedClock, timeout};

use super::downstream::REPORT_ID;

/// How long the downstream may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The function.
pub(super) struct Positions {
    /// Where reports are posted to.
    pub(super) url: String,
    /// The client.
    pub(super) client: Client<HttpConnector, Body>,
    /// The clock.
    pub(super) clock: SharedClock,
}

/// What is read of a report.
#[derive(Deserialize)]
struct Report {
    timestamp: i64,
    #[serde(default)]
    altitude: Option<f64>,
}

/// The document of an aircraft.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Aircraft {
    reports: u64,
    last_report: i64,
    highest: Option<f64>,
    /// Made of all reports in their order: one that is missing, comes twice or comes too late makes another.
    chain: String,
}

impl Positions {
    /// The function, for a downstream at `url`.
    pub(super) fn new(url: String, clock: SharedClock) -> Self {
        Self { url, client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()), clock }
    }

    async fn post(&self, event: &Event) -> Result<(), String> {
        let key = event.data.partition_key.as_deref().unwrap_or_default();
        let request = Request::post(&self.url)
            .header(REPORT_ID, format!("{key}-{}", event.sequence_number))
            .body(Body::from(event.body().clone()))
            .map_err(|error| error.to_string())?;
        match timeout(&*self.clock, PATIENCE, self.client.request(request)).await {
            Some(Ok(answer)) if answer.status().is_success() => Ok(()),
            Some(Ok(answer)) => Err(format!("the downstream answered {}", answer.status())),
            Some(Err(error)) => Err(format!("the downstream does not answer: {error}")),
            None => Err(format!("the downstream did not answer within {PATIENCE:?}")),
        }
    }
}

impl BatchFunction for Positions {
    fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection> {
        let key = event.data.partition_key.as_deref().unwrap_or_default();
        let id = DocumentId::new(key).map_err(|invalid| Rejection { reason: invalid.to_string() })?;
        Ok(vec![id])
    }

    async fn run(&self, events: Vec<Event>, batch: &mut Batch) -> Result<(), FunctionError> {
        for event in &events {
            let report: Report = match serde_json::from_slice(event.body()) {
                Ok(report) => report,
                Err(error) => {
                    batch.on(event).reject(error.to_string());
                    continue;
                }
            };
            if let Err(error) = self.post(event).await {
                batch.on(event).fail(Failure::new(error));
                return Ok(());
            }
            for id in self.documents(event).unwrap_or_default() {
                let before: Aircraft = batch.document(&id)?.unwrap_or_default();
                let next = Aircraft {
                    reports: before.reports + 1,
                    last_report: report.timestamp,
                    highest: [before.highest, report.altitude].into_iter().flatten().reduce(f64::max),
                    chain: chained(&before.chain, event.body()),
                };
                batch.on(event).upsert(&id, next);
            }
        }
        Ok(())
    }
}

/// The next link of a chain: 64-bit FNV-1a over the link before and the report.
pub(super) fn chained(before: &str, report: &[u8]) -> String {
    let hash = before.bytes().chain(report.iter().copied()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
