//! The management and reading API: what the log and the store hold, as NDJSON pages, and what a person does about it.
//!
//! `docs/reference/openapi.json` has every request, made from the handlers ([`openapi`]). Those that read need the role of a
//! reader, those that change something that of an operator, those about hubs and tokens that of an admin; see the guard in
//! `access`.
//!
//! A listing answers with one JSON object a line and, when there is more, the cursor of the next page in the header
//! `tidegate-next`; or, asked with `Accept: application/json`, with a [`Page`](tidegate_api::Page). The commands of the program are written against this API and nothing else, whether a server runs or
//! they opened the data directory themselves.

pub(crate) mod actor;
mod alerts;
mod audit;
mod audit_deep;
mod bulk_acts;
pub(crate) mod cached;
mod checkpoints;
mod circuits;
mod configuration;
pub(crate) mod dead_letter_acts;
mod dead_letters;
mod desk;
pub(crate) mod diff;
mod documents;
mod edit;
mod error;
mod etag;
mod events;
mod failures;
pub(crate) mod form;
mod functions;
mod history;
mod hubs;
pub(crate) mod members;
mod notices;
pub mod openapi;
mod operations;
mod overview;
pub(crate) mod page;
pub(crate) mod parameters;
mod parked;
mod query;
mod read_apis;
pub mod running;
mod seek;
mod sources;
mod to_its_end;
mod trace;
mod trail;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use tidegate_api::{Overview, Setting};
use tidegate_host::circuit::CircuitSettings;
use tidegate_host::judge::Judge;
use tidegate_host::status::LaneStatus;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, Store};
use tidegate_store::Causes;
use tidegate_telemetry::Telemetry;

use crate::api::cached::Cached;
use crate::api::running::{Logged, Running};
use crate::config::{FunctionConfig, ReadApiConfig};
use crate::hubs::Hubs;
use crate::retention::Places;
use crate::sources::Sources;

pub(crate) use bulk_acts::BulkActs;
pub use desk::{Counts, Desk};
pub use error::ApiError;
pub use operations::{Operations, Processing};
pub use query::DocumentQuery;
pub use read_apis::{read_api_router, unauthorised};
pub(crate) use to_its_end::to_its_end;

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
    /// The places in the log that somebody may go back to.
    pub(crate) places: Places,
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
    /// When the program was started.
    pub started_at: Timestamp,
    /// How the functions are configured; nothing where that is not known.
    pub(crate) function_configs: Vec<FunctionConfig>,
    /// Documents under addresses of their own.
    pub(crate) read_apis: Vec<ReadApiConfig>,
    /// The functions that run here.
    pub running: Running,
    /// Says what a function would say.
    pub judge: Judge,
    /// What is measured.
    pub telemetry: Arc<Telemetry>,
    /// What is logged.
    pub logged: Arc<dyn Logged>,
    /// The configuration as it holds.
    pub settings: Settings,
    /// Looks at dead letters beyond the port, and takes notes.
    pub desk: Arc<dyn Desk>,
    /// The OpenAPI document, made when it is first asked for.
    pub(crate) openapi: OnceLock<Bytes>,
    /// The overview, worked out once for everybody who looks.
    pub(crate) overviews: Cached<(), Arc<Overview>>,
    /// The acts on many dead letters that run.
    pub(crate) bulk_acts: BulkActs,
    /// Why events failed, on all instances.
    pub(crate) causes: Arc<crate::causes::Causes>,
    /// Causes of dead letters, by what was asked for and how many.
    pub(crate) groups: Cached<(String, usize), Arc<Causes>>,
    /// Trends of dead letters, by their beginning, the length of a bucket and the number of buckets.
    pub(crate) trends: Cached<(Timestamp, u64, usize), Arc<Counts>>,
}

/// The configuration as it holds; empty before a server has started with one.
pub type Settings = Arc<Mutex<Arc<[Setting]>>>;

/// How old the overview may be.
pub(crate) const OVERVIEW_AGE: Duration = Duration::from_secs(1);

/// Tells what the lanes of a running processor do.
pub type LaneStatuses = Arc<dyn Fn() -> Vec<LaneStatus> + Send + Sync>;

/// The routes that are about one hub, named by the parameter `hub`; without authorisation.
pub fn hub_router(api: Arc<Api>) -> Router {
    finished(hub_routes(), api)
}

/// The routes that read what is about everything, without authorisation.
pub fn router(api: Arc<Api>) -> Router {
    finished(routes(), api)
}

/// The routes by which an operator puts right what failed, without authorisation. They refuse a request that carries no
/// [`Principal`](tidegate_access::Principal).
pub fn operate_router(api: Arc<Api>) -> Router {
    acting(operate_routes(), api)
}

/// The routes by which an admin makes, changes and deletes hubs, likewise.
pub fn administer_router(api: Arc<Api>) -> Router {
    acting(administer_routes(), api)
}

/// A route is made of its handler and what the handler says about itself, so that none is without description.
type Routes = OpenApiRouter<Arc<Api>>;

fn hub_routes() -> Routes {
    Routes::new().routes(routes!(hubs::show)).routes(routes!(events::read))
}

fn routes() -> Routes {
    Routes::new()
        .routes(routes!(overview::get))
        .routes(routes!(alerts::list))
        .routes(routes!(notices::list))
        .routes(routes!(trace::get))
        .routes(routes!(functions::list))
        .routes(routes!(functions::get))
        .routes(routes!(configuration::list))
        .routes(routes!(documents::collections))
        .routes(routes!(documents::list))
        .routes(routes!(documents::get))
        .routes(routes!(history::get))
        .routes(routes!(query::run))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::get))
        .routes(routes!(dead_letters::ids))
        .routes(routes!(dead_letters::groups))
        .routes(routes!(dead_letters::trend))
        .routes(routes!(bulk_acts::list))
        .routes(routes!(bulk_acts::get))
        .routes(routes!(parked::list))
        .routes(routes!(circuits::list))
        .routes(routes!(circuits::pauses))
        .routes(routes!(failures::list))
        .routes(routes!(trail::list))
        .routes(routes!(checkpoints::list))
        .routes(routes!(hubs::list))
        .routes(routes!(sources::list))
        .routes(routes!(audit::run))
        .routes(routes!(audit_deep::run))
        .routes(routes!(openapi::get))
}

fn operate_routes() -> Routes {
    Routes::new()
        .routes(routes!(functions::dry_run))
        .routes(routes!(dead_letter_acts::redrive))
        .routes(routes!(dead_letter_acts::discard))
        .routes(routes!(dead_letter_acts::lease))
        .routes(routes!(dead_letter_acts::extend))
        .routes(routes!(dead_letter_acts::release))
        .routes(routes!(dead_letter_acts::edit))
        .routes(routes!(dead_letter_acts::note))
        .routes(routes!(bulk_acts::start))
        .routes(routes!(bulk_acts::stop))
        .routes(routes!(parked::try_now))
        .routes(routes!(parked::set_aside))
        .routes(routes!(circuits::act))
        .routes(routes!(circuits::pause))
        .routes(routes!(seek::run))
}

fn administer_routes() -> Routes {
    Routes::new().routes(routes!(hubs::create)).routes(routes!(hubs::delete)).routes(routes!(hubs::group))
}

/// Routes that change something: what is begun is done, and whoever looks after they have answered sees it.
fn acting(routes: Routes, api: Arc<Api>) -> Router {
    let acts = finished(routes, api.clone());
    acts.layer(from_fn_with_state(api, seen_at_once)).layer(from_fn(to_its_end))
}

async fn seen_at_once(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    api.forget_answers();
    answer
}

fn finished(routes: Routes, api: Arc<Api>) -> Router {
    let (router, _) = routes.split_for_parts();
    router
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(form::as_asked))
        .layer(from_fn(etag::conditional))
        .with_state(api)
}

impl Api {
    /// What was answered lately may not be true any more: somebody did something.
    pub(crate) fn forget_answers(&self) {
        self.overviews.forget();
        self.groups.forget();
        self.trends.forget();
    }

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

    /// There is no hub of this name, or it is one of somebody else that cannot be asked: an error that says so, and names
    /// some there are.
    pub(crate) fn no_hub(&self, name: &str) -> ApiError {
        if let Some((source, status)) = self.sources.not_open_named(name) {
            return ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::SERVER_UNREACHABLE,
                crate::sources::told(&source, &status),
            )
            .help("what is known of it: tidegate hubs list");
        }
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
