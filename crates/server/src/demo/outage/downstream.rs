//! What the function depends on: a small HTTP server, with a switch to make it go away.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;

use crate::failure::Failure;
use crate::listener::{self, Bounds};
use crate::telemetry::HttpMetrics;

/// The header that names a report, so that one that comes twice is recognised.
pub(super) const REPORT_ID: &str = "report-id";

/// A downstream that runs. It stops when it is dropped.
pub(super) struct Downstream {
    /// Where reports are posted to.
    pub(super) url: String,
    state: Arc<Reports>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Reports {
    is_away: AtomicBool,
    requests: AtomicU64,
    accepted: AtomicU64,
    ids: Mutex<HashSet<String>>,
}

impl Downstream {
    /// Starts one at a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn start(clock: SharedClock) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(
                ErrorCode::SERVER_UNREACHABLE,
                format!("the demo's downstream cannot listen: {error}"),
            )
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let state = Arc::new(Reports::default());
        let router = Router::new().route("/reports", post(take)).with_state(state.clone());
        let for_ever = std::future::pending();
        let (bounds, metrics) = (Bounds::default(), HttpMetrics::default());
        let server = tokio::spawn(listener::serve(listener, router, bounds, metrics, clock, for_ever));
        Ok(Self { url: format!("http://{address}/reports"), state, server })
    }

    /// From now on it answers 503.
    pub(super) fn go_away(&self) {
        self.state.is_away.store(true, Ordering::SeqCst);
    }

    /// From now on it takes reports again.
    pub(super) fn come_back(&self) {
        self.state.is_away.store(false, Ordering::SeqCst);
    }

    /// How often it was asked, with or without success.
    pub(super) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// How many reports it took, and how many different ones.
    pub(super) fn accepted(&self) -> (u64, u64) {
        (self.state.accepted.load(Ordering::SeqCst), self.state.ids.lock().len() as u64)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(reports): State<Arc<Reports>>, headers: HeaderMap) -> StatusCode {
    reports.requests.fetch_add(1, Ordering::SeqCst);
    if reports.is_away.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let Some(id) = headers.get(REPORT_ID).and_then(|id| id.to_str().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    reports.ids.lock().insert(id.to_owned());
    reports.accepted.fetch_add(1, Ordering::SeqCst);
    StatusCode::NO_CONTENT
}
