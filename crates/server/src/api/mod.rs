//! The management and reading API: what the log and the store hold, as NDJSON pages, and what a person does about it.
//!
//! ```text
//! GET  /api/v1/collections
//! GET  /api/v1/collections/{collection}/documents?after=&limit=
//! GET  /api/v1/collections/{collection}/documents/{id}
//! POST /api/v1/query                                  {"sql": "SELECT …"}
//! GET  /api/v1/dead-letters?function=&class=&cause=&status=&…&after=&limit=
//! GET  /api/v1/dead-letters/{id}
//! GET  /api/v1/dead-letter-ids?…                      the numbers alone
//! GET  /api/v1/dead-letter-groups?…                   by cause
//! GET  /api/v1/parked?function=&hub=&partition=&key=&after=&limit=
//! GET  /api/v1/circuits
//! GET  /api/v1/pauses
//! GET  /api/v1/trail?subject=&after=&limit=
//! GET  /api/v1/checkpoints
//! GET  /api/v1/hubs
//! GET  /api/v1/hubs/{hub}
//! GET  /api/v1/hubs/{hub}/events?partition=&from=&limit=
//! GET  /api/v1/audit?hub=
//! GET  /api/v1/audit/deep?function=&hub=&partition=&from=
//!
//! POST /api/v1/dead-letters/redrive                   {"ids":[…],"reason":"…"}
//! POST /api/v1/dead-letters/discard                   {"ids":[…],"reason":"…"}
//! POST /api/v1/dead-letters/lease?…&limit=&for=       {}
//! POST /api/v1/dead-letters/extend-lease?for=         {"ids":[…]}
//! POST /api/v1/dead-letters/release                   {"ids":[…]}
//! POST /api/v1/dead-letters/{id}/edit                 {"revision":0,"event":{…},"reason":"…"}
//! POST /api/v1/parked/try                             {"id":"…"}
//! POST /api/v1/parked/set-aside                       {"id":"…","reason":"…"}
//! POST /api/v1/circuits/{function}/{action}           {"reason":"…"}
//! POST /api/v1/pauses/{function}/{action}             {"partition":0,"reason":"…"}
//! POST /api/v1/checkpoints/seek                       {"function":"…","to":"…","reason":"…"}
//! POST /api/v1/hubs                                   {"hub":"…","partitions":4,"retention":"7d","consumer_groups":["…"]}
//! POST /api/v1/hubs/{hub}/delete                      {"reason":"…"}
//! POST /api/v1/hubs/{hub}/consumer-groups/{action}    {"consumer_group":"…"}
//! POST /api/v1/tokens                                 {"name":"…","role":"operator","expires":"90d"}; GET lists them
//! POST /api/v1/tokens/{id}/{action}                   {"reason":"…"}
//! GET  /api/v1/session                                who is asking; POST {"token":"…"} signs in, DELETE out
//! ```
//!
//! The first need the role of a reader, those that change something that of an operator, those about hubs and tokens that of
//! an admin; see the guard in `access`.
//!
//! A listing answers with one JSON object a line and, when there is more, the cursor of the next page in the header
//! `tidegate-next`; or, asked with `Accept: application/json`, with a [`Page`](tidegate_api::Page). The commands of the program are written against this API and nothing else, whether a server runs or
//! they opened the data directory themselves.

pub(crate) mod actor;
mod audit;
mod audit_deep;
mod checkpoints;
mod circuits;
pub(crate) mod dead_letter_acts;
mod dead_letters;
pub(crate) mod diff;
mod documents;
mod edit;
mod error;
mod events;
mod form;
mod hubs;
pub(crate) mod members;
mod operations;
pub(crate) mod page;
pub(crate) mod parameters;
mod parked;
mod query;
mod seek;
mod trail;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};

use tidegate_host::circuit::CircuitSettings;
use tidegate_host::status::LaneStatus;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::SharedClock;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, Store};

use crate::hubs::Hubs;
use crate::sources::Sources;

pub use error::ApiError;
pub use operations::{Operations, Processing};
pub use query::DocumentQuery;

/// The largest body of a request: an event at its limit, with every byte of it escaped in JSON.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// How many hubs an error names.
const NAMED: usize = 20;

/// What the API reads, and acts on.
pub struct Api {
    /// The hubs.
    pub(crate) hubs: Arc<Hubs>,
    /// The hubs of others that are read.
    pub(crate) sources: Sources,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Answers queries over the documents.
    pub query: Arc<dyn DocumentQuery>,
    /// Which functions are configured to read which hubs.
    pub configured: Vec<(FunctionName, HubName)>,
    /// When the circuits open, for functions that are configured here.
    pub circuits: Vec<(FunctionName, CircuitSettings)>,
    /// What the lanes of a running processor do; nothing when none runs.
    pub lanes: LaneStatuses,
    /// The running processor, which is told what a person changed.
    pub processing: Processing,
    /// The clock that acts are dated by.
    pub clock: SharedClock,
}

/// Tells what the lanes of a running processor do.
pub type LaneStatuses = Arc<dyn Fn() -> Vec<LaneStatus> + Send + Sync>;

/// The routes that are about one hub, named by the parameter `hub`; without authorisation.
pub fn hub_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/v1/hubs/{hub}", get(hubs::show))
        .route("/api/v1/hubs/{hub}/events", get(events::read))
        .layer(from_fn(form::as_asked))
        .with_state(api)
}

/// The routes that read what is about everything, without authorisation.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/v1/collections", get(documents::collections))
        .route("/api/v1/collections/{collection}/documents", get(documents::list))
        .route("/api/v1/collections/{collection}/documents/{id}", get(documents::get))
        .route("/api/v1/query", post(query::run))
        .route("/api/v1/dead-letters", get(dead_letters::list))
        .route("/api/v1/dead-letters/{id}", get(dead_letters::get))
        .route("/api/v1/dead-letter-ids", get(dead_letters::ids))
        .route("/api/v1/dead-letter-groups", get(dead_letters::groups))
        .route("/api/v1/parked", get(parked::list))
        .route("/api/v1/circuits", get(circuits::list))
        .route("/api/v1/pauses", get(circuits::pauses))
        .route("/api/v1/trail", get(trail::list))
        .route("/api/v1/checkpoints", get(checkpoints::list))
        .route("/api/v1/hubs", get(hubs::list))
        .route("/api/v1/audit", get(audit::run))
        .route("/api/v1/audit/deep", get(audit_deep::run))
        .layer(from_fn(form::as_asked))
        .with_state(api)
}

/// The routes by which an operator puts right what failed, without authorisation. They refuse a request that carries no
/// [`Principal`](tidegate_access::Principal).
pub fn operate_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/v1/dead-letters/redrive", post(dead_letter_acts::redrive))
        .route("/api/v1/dead-letters/discard", post(dead_letter_acts::discard))
        .route("/api/v1/dead-letters/lease", post(dead_letter_acts::lease))
        .route("/api/v1/dead-letters/extend-lease", post(dead_letter_acts::extend))
        .route("/api/v1/dead-letters/release", post(dead_letter_acts::release))
        .route("/api/v1/dead-letters/{id}/edit", post(dead_letter_acts::edit))
        .route("/api/v1/parked/try", post(parked::try_now))
        .route("/api/v1/parked/set-aside", post(parked::set_aside))
        .route("/api/v1/circuits/{function}/{action}", post(circuits::act))
        .route("/api/v1/pauses/{function}/{action}", post(circuits::pause))
        .route("/api/v1/checkpoints/seek", post(seek::run))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api)
}

/// The routes by which an admin makes, changes and deletes hubs, likewise.
pub fn administer_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/v1/hubs", post(hubs::create))
        .route("/api/v1/hubs/{hub}/delete", post(hubs::delete))
        .route("/api/v1/hubs/{hub}/consumer-groups/{action}", post(hubs::group))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(form::as_asked))
        .with_state(api)
}

impl Api {
    /// The hubs that are read: those of the log and those of others, ordered by name.
    pub(crate) fn logs(&self) -> Vec<Arc<dyn EventLog>> {
        let own = self.hubs.all().into_iter().map(|hub| hub as Arc<dyn EventLog>);
        let mut all: Vec<_> = own.chain(self.sources.all()).collect();
        all.sort_by(|one, other| one.hub().cmp(other.hub()));
        all
    }

    /// The hub with this name.
    pub(crate) fn log(&self, name: &str) -> Result<Arc<dyn EventLog>, ApiError> {
        let own = self.hubs.find(name).map(|hub| hub as Arc<dyn EventLog>);
        own.or_else(|| self.sources.find(name)).ok_or_else(|| self.no_hub(name))
    }

    /// There is no hub of this name: an error that names some there are.
    pub(crate) fn no_hub(&self, name: &str) -> ApiError {
        let all = self.logs();
        let mut names: Vec<&str> = all.iter().take(NAMED).map(|log| log.hub().as_str()).collect();
        if all.len() > NAMED {
            names.push("…");
        }
        let hubs = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
        let shown: String = name.chars().take(64).collect();
        ApiError::not_found(format!("there is no hub {shown:?}")).help(format!(
            "hubs here: {hubs}\na hub is made by `tidegate hubs create NAME`, or by a table [hub.NAME] in the configuration"
        ))
    }
}
