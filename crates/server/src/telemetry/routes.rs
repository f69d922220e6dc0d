//! Where others read what is seen: a scrape, series for pictures, log lines, how many instances there are to be.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use utoipa::OpenApi;

use tidegate_api::{LogLine, Scale, Series, SeriesLine};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_telemetry::logs::{Cursor, Found, LogLevel, LogQuery};
use tidegate_telemetry::scale::{Policy, desired};
use tidegate_telemetry::{Format, Telemetry, content_type};

use crate::api::ApiError;
use crate::api::form::as_asked;
use crate::api::openapi::{Failed, NotFound, Refused, Throttled};
use crate::api::page::{MAX_ITEMS, Page};
use crate::api::parameters::{NAME, NUMBER, Parameters};
use crate::telemetry::Logs;

/// How many series one request may ask for.
const MOST_NAMES: usize = 64;

/// How much of a series is given when nothing is said, in seconds.
const DEFAULT_SECONDS: u64 = 900;

/// What one instance is to have, where no configuration says it.
pub(crate) const DEFAULT_POLICY: Policy = Policy { target_lag: 1000, to_zero: false };

/// What the routes say about themselves.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(scrape, series, scale, logs))]
    struct Read;
    Read::openapi()
}

/// What the routes read.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) logs: Logs,
    pub(crate) policy: Policy,
}

/// The routes that read, without authorisation.
pub(crate) fn reading_routes(seen: Seen) -> Router {
    let listings = Router::new().route("/api/v1/logs", get(logs)).layer(from_fn(as_asked));
    Router::new()
        .route("/metrics", get(scrape))
        .route("/api/v1/series", get(series))
        .route("/api/v1/scale", get(scale))
        .merge(listings)
        .with_state(seen)
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
async fn scrape(State(seen): State<Seen>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    ([(CONTENT_TYPE, content_type(format))], seen.telemetry.scrape(format))
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
async fn series(State(seen): State<Seen>, mut parameters: Parameters) -> Result<Json<Series>, ApiError> {
    let names = parameters.take_all("name");
    let seconds = parameters.parsed::<u64>("seconds", "a number of seconds, at most a day")?;
    parameters.done()?;
    if names.is_empty() || names.len() > MOST_NAMES {
        return Err(ApiError::bad_request(format!("name between 1 and {MOST_NAMES} series")).help(
            "for example ?name=hub.NAME.incoming&name=function.NAME.processed; there are also hub.NAME.bytes, and for \
             functions dead_lettered, failed, lag, lag_s, latency_p50 and latency_p99",
        ));
    }
    let answer = seen.telemetry.series(&names, seconds.unwrap_or(DEFAULT_SECONDS));
    let series = answer.series.into_iter().map(|series| SeriesLine {
        name: series.name,
        unit: series.unit.map(|unit| unit.as_str().to_owned()),
        points: series.points,
    });
    Ok(Json(Series { step_s: answer.step_s, from: answer.from, series: series.collect() }))
}

/// How many instances of a function there are to be.
#[utoipa::path(
    get, path = "/api/v1/scale", tag = "telemetry",
    params(
        ("function" = String, Query, description = "The function"),
        ("target_lag" = Option<u64>, Query, description = "The lag that one instance is to have; else as configured"),
    ),
    responses(
        (status = 200, body = Scale, description = "So many, and why"),
        Refused, NotFound, Throttled,
    ),
)]
async fn scale(State(seen): State<Seen>, mut parameters: Parameters) -> Result<Json<Scale>, ApiError> {
    let function = parameters.required::<FunctionName>("function", NAME)?;
    let target_lag = parameters.parsed::<u64>("target_lag", NUMBER)?;
    parameters.done()?;
    let demand = seen.telemetry.demand(function.as_str()).ok_or_else(|| {
        ApiError::not_found(format!("no function {function} runs here"))
            .help("name one of those that the configuration declares; a server that starts knows them after a second")
    })?;
    let policy = Policy { target_lag: target_lag.unwrap_or(seen.policy.target_lag).max(1), ..seen.policy };
    Ok(Json(Scale {
        desired: desired(demand, policy),
        workable_lag: demand.workable,
        partitions: demand.partitions,
        target_lag: policy.target_lag,
    }))
}

const TIME: &str = "a time such as 2026-01-31T12:00:00Z";

/// What was logged, the newest first.
#[utoipa::path(
    get, path = "/api/v1/logs", tag = "telemetry",
    params(
        ("hub" = Option<String>, Query, description = "About this hub"),
        ("partition" = Option<u32>, Query, description = "About this partition"),
        ("sequence_number" = Option<u64>, Query, description = "About this event, or a batch it was in"),
        ("key" = Option<String>, Query, description = "About events of this key"),
        ("function" = Option<String>, Query, description = "About this function"),
        ("invocation" = Option<String>, Query, description = "About this invocation"),
        ("level" = Option<String>, Query, description = "At least as serious: `error`, `warn`, `info`, `debug`, `trace`"),
        ("text" = Option<String>, Query, description = "With this text, whatever the case of its letters"),
        ("since" = Option<String>, Query, description = "Not before this time"),
        ("until" = Option<String>, Query, description = "Before this time"),
        ("limit" = Option<usize>, Query, description = "So many at most"),
        ("after" = Option<String>, Query, description = "The cursor of the page before"),
    ),
    responses(
        (status = 200, content(
            (tidegate_api::Page<LogLine> = "application/json"), (LogLine = "application/x-ndjson"),
        ), description = "Lines, and the cursor of the next page"),
        Refused, Throttled, Failed,
    ),
)]
async fn logs(State(seen): State<Seen>, mut parameters: Parameters) -> Result<Response, ApiError> {
    let limit = parameters.parsed::<usize>("limit", NUMBER)?.unwrap_or(100).clamp(1, MAX_ITEMS);
    let after = parameters.parsed::<Cursor>("after", "the cursor that the page before answered with")?;
    let query = LogQuery {
        hub: parameters.parsed::<HubName>("hub", NAME)?.map(|hub| hub.to_string()),
        partition: parameters.partition()?.map(|partition| partition.0),
        sequence_number: parameters.sequence_number("sequence_number")?.map(|number| number.0),
        key: parameters.take("key")?,
        function: parameters.parsed::<FunctionName>("function", NAME)?.map(|function| function.to_string()),
        invocation: parameters.take("invocation")?,
        level: parameters.parsed::<LogLevel>("level", "error, warn, info, debug or trace")?,
        text: parameters.take("text")?,
        since: parameters.parsed::<Timestamp>("since", TIME)?,
        until: parameters.parsed::<Timestamp>("until", TIME)?,
        after,
        limit,
    };
    parameters.done()?;
    let Found { lines, next } = seen.logs.search(query).await.map_err(|error| {
        tracing::warn!(%error, "log lines cannot be searched");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::DATA_DIR_IO, error.to_string())
    })?;
    let mut page = Page::new(Some(limit));
    lines.iter().for_each(|line| page.push(line));
    Ok(page.finish(next.map(|next| next.to_string())))
}
