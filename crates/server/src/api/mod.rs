//! The management and reading API: what the log and the store hold, as NDJSON pages. It changes nothing.
//!
//! ```text
//! GET  /api/v1/collections
//! GET  /api/v1/collections/{collection}/documents?after=&limit=
//! GET  /api/v1/collections/{collection}/documents/{id}
//! POST /api/v1/query                                  {"sql": "SELECT …"}
//! GET  /api/v1/dead-letters?function=&hub=&class=&after=&limit=
//! GET  /api/v1/dead-letters/{id}
//! GET  /api/v1/checkpoints
//! GET  /api/v1/hubs
//! GET  /api/v1/hubs/{hub}/events?partition=&from=&limit=
//! GET  /api/v1/audit?hub=
//! ```
//!
//! A listing answers with one JSON object a line and, when there is more, the cursor of the next page in the header
//! `tidegate-next`. The commands of the program are written against this API and nothing else, whether a server runs or
//! they opened the data directory themselves.

mod audit;
mod checkpoints;
mod dead_letters;
mod documents;
mod error;
mod events;
mod hubs;
pub(crate) mod page;
mod query;
pub mod shapes;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use tidegate_host::status::LaneStatus;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, Store};

pub use error::ApiError;
pub(crate) use error::ErrorBody;
pub use page::NEXT_HEADER;
pub use query::{DocumentQuery, QueryRequest, TRUNCATED_HEADER};

/// What the API reads.
pub struct Api {
    /// The hubs of the log, ordered by name.
    pub logs: Vec<Arc<dyn EventLog>>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Answers queries over the documents.
    pub query: Arc<dyn DocumentQuery>,
    /// Which functions are configured to read which hubs.
    pub configured: Vec<(FunctionName, HubName)>,
    /// What the lanes of a running processor do; nothing when none runs.
    pub lanes: LaneStatuses,
}

/// Tells what the lanes of a running processor do.
pub type LaneStatuses = Arc<dyn Fn() -> Vec<LaneStatus> + Send + Sync>;

/// The routes that are about one hub, named by the parameter `hub`; without authorisation.
pub fn hub_router(api: Arc<Api>) -> Router {
    Router::new().route("/api/v1/hubs/{hub}/events", get(events::read)).with_state(api)
}

/// The routes that are about everything, without authorisation.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/v1/collections", get(documents::collections))
        .route("/api/v1/collections/{collection}/documents", get(documents::list))
        .route("/api/v1/collections/{collection}/documents/{id}", get(documents::get))
        .route("/api/v1/query", post(query::run))
        .route("/api/v1/dead-letters", get(dead_letters::list))
        .route("/api/v1/dead-letters/{id}", get(dead_letters::get))
        .route("/api/v1/checkpoints", get(checkpoints::list))
        .route("/api/v1/hubs", get(hubs::list))
        .route("/api/v1/audit", get(audit::run))
        .with_state(api)
}

impl Api {
    /// The hub with this name.
    pub(crate) fn log(&self, name: &str) -> Result<&Arc<dyn EventLog>, ApiError> {
        self.logs.iter().find(|log| log.hub().as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<&str> = self.logs.iter().map(|log| log.hub().as_str()).collect();
            let hubs = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
            ApiError::not_found(format!("there is no hub {name:?}"))
                .help(format!("hubs here: {hubs}\na hub is made by a table [hub.NAME] in the configuration of `tidegate run`"))
        })
    }
}
