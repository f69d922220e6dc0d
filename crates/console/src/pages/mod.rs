//! The pages, one file each. A page asks the API, and returns what it shows; the shell adds the frame.

mod alerts;
mod circuits;
mod dead_letters;
mod documents;
mod error_codes;
mod events;
mod functions;
mod hubs;
mod keys;
mod logs;
mod measured;
pub mod overview;
mod partition;
mod query;
pub(crate) mod refused;
mod search;
mod sessions;
mod settings;
mod sign_in;
mod tokens;
mod trace;
mod trail;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::routing::{get, post};

use crate::Shared;
use crate::problem::Problem;

/// All pages and their forms, without the frame.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/hubs", get(hubs::list))
        .route("/hubs/{hub}", get(hubs::show))
        .route("/hubs/{hub}/partitions/{partition}", get(partition::show))
        .route("/hubs/{hub}/events", get(events::show))
        .route("/trace", get(trace::show))
        .route("/logs", get(logs::show))
        .route("/measured", get(measured::show))
        .route("/search", get(search::find))
        .route("/keys", get(keys::show))
        .route("/errors", get(error_codes::list))
        .route("/errors/{code}", get(error_codes::show))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/alerts", get(alerts::show))
        .route("/query", get(query::show))
        .route("/query/download", get(query::download))
        .route("/settings", get(settings::show))
        .route("/trail", get(trail::show))
        .merge(circuits::router())
        .merge(dead_letters::router())
        .merge(documents::router())
        .merge(functions::router())
        .merge(sessions::router())
        .merge(tokens::router())
}

/// There is no such page.
pub(crate) async fn nowhere(uri: Uri) -> Problem {
    let path = crate::text::shortened(uri.path(), 256);
    Problem::not_found(format!("there is nothing at {path}"))
        .action("correct the address, or begin at the overview")
}
