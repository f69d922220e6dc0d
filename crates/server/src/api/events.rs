//! The events of a partition, as the log holds them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use tidegate_api as shapes;
use tidegate_api::Event;
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::ReadLimit;
use tidegate_model::position::{PartitionId, SequenceNumber, StartPosition};

use crate::api::page::Page;
use crate::api::parameters::{InPath, MAX_SEQUENCE_NUMBER};
use crate::api::{Api, ApiError};

/// How many bytes one read of the log brings at most.
const READ_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadQuery {
    partition: u32,
    from: Option<String>,
    limit: Option<usize>,
}

/// A page of a partition's events. `from` is `earliest`, `latest`, a sequence number or a time.
#[utoipa::path(
    get, path = "/api/v1/hubs/{hub}/events", tag = "events",
    params(
        ("hub" = String, Path, description = "The hub"),
        ("partition" = u32, Query, description = "The partition"),
        ("from" = Option<String>, Query, description = "`earliest`, `latest`, a sequence number or a time; also the cursor"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Event> = "application/json"), (shapes::Event = "application/x-ndjson"),
        ), description = "Events, in order"),
        (status = 410, body = shapes::Problem, content_type = "application/problem+json", description = "Retention has dropped them"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    InPath(hub): InPath<String>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let log = api.log(&hub)?;
    let partition = PartitionId(query.partition);
    let start = start_position(query.from.as_deref().unwrap_or("earliest"))?;
    let mut from = log.locate(partition, start).await?;
    let mut page = Page::new(query.limit);
    let mut more = true;
    while more && !page.is_full() {
        let limit = ReadLimit { events: page.wants(), bytes: READ_BYTES };
        let events = log.read(partition, from, limit).await?;
        more = !events.is_empty();
        for event in events {
            from = event.sequence_number.next();
            page.push(&Event::new(partition, event));
        }
    }
    // The end may have been reached exactly with the page's last event.
    let more = more && from < log.status(partition)?.tail;
    Ok(page.finish(more.then(|| from.to_string())))
}

pub(super) fn start_position(text: &str) -> Result<StartPosition, ApiError> {
    match text {
        "earliest" => Ok(StartPosition::Earliest),
        "latest" => Ok(StartPosition::Latest),
        number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => number
            .parse()
            .ok()
            .filter(|number| *number <= MAX_SEQUENCE_NUMBER)
            .map(|number| StartPosition::SequenceNumber(SequenceNumber(number)))
            .ok_or_else(|| ApiError::bad_request(format!("{number} is larger than any sequence number"))),
        time => time.parse::<Timestamp>().map(StartPosition::EnqueuedTime).map_err(|_| {
            ApiError::bad_request(format!("there is no place {time:?} in a hub")).help(
                "a place is earliest, latest, a sequence number, or a time such as 2026-01-31T12:00:00Z",
            )
        }),
    }
}
