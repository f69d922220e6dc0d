//! Where others read what is seen: a scrape, and series for pictures.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use utoipa::OpenApi;

use tidegate_telemetry::series::SeriesAnswer;
use tidegate_telemetry::{Format, Telemetry, content_type};

use crate::api::ApiError;
use crate::api::openapi::{Failed, Refused, Throttled};
use crate::api::parameters::Parameters;

/// How many series one request may ask for.
const MOST_NAMES: usize = 64;

/// How much of a series is given when nothing is said, in seconds.
const DEFAULT_SECONDS: u64 = 900;

/// What the routes say about themselves.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(scrape, series))]
    struct Read;
    Read::openapi()
}

/// The routes that read, without authorisation.
pub(crate) fn reading_routes(telemetry: Arc<Telemetry>) -> Router {
    Router::new().route("/metrics", get(scrape)).route("/api/v1/series", get(series)).with_state(telemetry)
}

/// What is measured, for Prometheus and what reads as it does.
#[utoipa::path(
    get, path = "/metrics", tag = "telemetry",
    responses(
        (status = 200, content(
            (String = "application/openmetrics-text"), (String = "text/plain"),
        ), description = "Metrics in the format that was asked for"),
        Refused, Throttled,
    ),
)]
async fn scrape(State(telemetry): State<Arc<Telemetry>>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    ([(CONTENT_TYPE, content_type(format))], telemetry.scrape(format))
}

/// Measured values over time.
#[utoipa::path(
    get, path = "/api/v1/series", tag = "telemetry",
    params(
        ("name" = Vec<String>, Query, description = "A series, such as `function.NAME.processed`; up to 64 of them", explode = true),
        ("seconds" = Option<u64>, Query, description = "How far back; at most a day", maximum = 86400),
    ),
    responses(
        (status = 200, body = tidegate_api::Series, description = "The series, in the order asked for"),
        Refused, Throttled, Failed,
    ),
)]
async fn series(
    State(telemetry): State<Arc<Telemetry>>,
    mut parameters: Parameters,
) -> Result<Json<SeriesAnswer>, ApiError> {
    let names = parameters.take_all("name");
    let seconds = parameters.parsed::<u64>("seconds", "a number of seconds, at most a day")?;
    parameters.done()?;
    if names.is_empty() || names.len() > MOST_NAMES {
        return Err(ApiError::bad_request(format!("name between 1 and {MOST_NAMES} series")).help(
            "for example ?name=hub.NAME.incoming&name=function.NAME.processed; there are also hub.NAME.bytes, and for \
             functions dead_lettered, failed, lag, lag_s, latency_p50 and latency_p99",
        ));
    }
    Ok(Json(telemetry.series(&names, seconds.unwrap_or(DEFAULT_SECONDS))))
}
