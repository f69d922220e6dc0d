//! Hubs and their partitions: how they are, and how they are made, changed and deleted while the program runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{CreateHubRequest, DeletedHub, HubGroupRequest, HubGroupResult, ReasonRequest};
use tidegate_eventlog::{HubLog, RetentionPolicy};
use tidegate_gateway::namespace::ConsumerGroupName;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, ReadError};
use tidegate_model::position::PartitionId;

use crate::api::actor::Actor;
use crate::api::circuits::hub_name;
use crate::api::dead_letter_acts::body;
use crate::api::page::named;
use crate::api::parameters::{InPath, NAME, Parameters};
use crate::api::{Api, ApiError};
use crate::config::elements::{duration, hub as element};
use crate::hubs::{Deleted, HubError, NewHub};

/// Every hub, ordered by name.
#[utoipa::path(
    get, path = "/api/v1/hubs", tag = "events",
    params(
        ("after" = Option<String>, Query, description = "The cursor of the page"),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Hub> = "application/json"), (shapes::Hub = "application/x-ndjson"),
        ), description = "Hubs, ordered by name"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let after: Option<HubName> = parameters.parsed("after", NAME)?;
    parameters.done()?;
    let name = |hub: &Arc<HubLog>| EventLog::hub(&**hub).clone();
    named(api.hubs.all(), name, after.as_ref(), |hub| match shape(&api, &hub) {
        Ok(shape) => Ok(Some(shape)),
        // Somebody deleted it just now.
        Err(ReadError::HubDeleted { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// One hub.
#[utoipa::path(
    get, path = "/api/v1/hubs/{hub}", tag = "events",
    params(
        ("hub" = String, Path, description = "The hub"),
    ),
    responses(
        (status = 200, body = shapes::Hub, description = "The hub"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    InPath(name): InPath<String>,
) -> Result<Response, ApiError> {
    let hub = api.hubs.find(&name).ok_or_else(|| api.no_hub(&name))?;
    Ok(Json(shape(&api, &hub)?).into_response())
}

fn shape(api: &Api, hub: &HubLog) -> Result<shapes::Hub, ReadError> {
    let name = EventLog::hub(hub);
    let retention = hub.settings().retention;
    let partition = |partition| -> Result<shapes::Partition, ReadError> {
        let status = hub.status(partition)?;
        Ok(shapes::Partition {
            partition: partition.0,
            head: status.head.0,
            tail: status.tail.0,
            last_enqueued_at: status.last_enqueued_at,
            size_bytes: status.size_bytes,
            damage: status.damage,
        })
    };
    let partitions = (0..EventLog::partition_count(hub)).map(PartitionId).map(partition);
    Ok(shapes::Hub {
        hub: name.to_string(),
        incarnation: EventLog::incarnation(hub).to_string(),
        created_at: hub.created_at(),
        declared: api.hubs.is_declared(name),
        retention: retention.map(|policy| policy.max_age.map_or_else(|| FOREVER.to_owned(), duration::text)),
        retention_bytes: retention.and_then(|policy| policy.max_bytes),
        consumer_groups: api.hubs.groups(name).iter().map(ToString::to_string).collect(),
        functions: api.hubs.readers(name).iter().map(ToString::to_string).collect(),
        partitions: partitions.collect::<Result<_, _>>()?,
    })
}

const FOREVER: &str = "forever";

/// Makes a hub.
#[utoipa::path(
    post, path = "/api/v1/hubs", tag = "events",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::CreateHubRequest, description = "The hub"),
    responses(
        (status = 201, body = shapes::Hub, description = "The hub; all of it is on disk"),
        crate::api::openapi::Refused, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<CreateHubRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"hub":"…","partitions":4,"retention":"7d","consumer_groups":["…"]}"#)?;
    let act = actor.act_without_reason(&request.reason, &*api.clock)?;
    let mut groups = Vec::new();
    for name in &request.consumer_groups {
        element::add_group(&mut groups, name).map_err(ApiError::bad_request)?;
    }
    let new = NewHub {
        retention: RetentionPolicy {
            max_age: match request.retention.as_deref() {
                None => Some(element::DEFAULT_RETENTION),
                Some(FOREVER) => None,
                Some(text) => Some(retention(text)?),
            },
            max_bytes: request.retention_bytes.filter(|bytes| *bytes > 0),
        },
        name: hub_name(&request.hub)?,
        partitions: request.partitions.unwrap_or(element::DEFAULT_PARTITIONS),
        groups,
    };
    let hub = api.hubs.create(new, act).await?;
    Ok((StatusCode::CREATED, Json(shape(&api, &hub)?)).into_response())
}

fn retention(text: &str) -> Result<std::time::Duration, ApiError> {
    duration::parse(text).filter(|age| !age.is_zero()).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("{shown:?} is no time to keep events for"))
            .help("it is a whole number with one of the units ms, s, m, h, d, such as 7d; or forever")
    })
}

/// Deletes a hub.
#[utoipa::path(
    post, path = "/api/v1/hubs/{hub}/delete", tag = "events",
    params(
        ("hub" = String, Path, description = "The hub"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ReasonRequest, description = "Why"),
    responses(
        (status = 200, body = shapes::DeletedHub, description = "What went with it"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath(name): InPath<String>,
    request: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"reason":"…"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*api.clock)?;
    let hub = api.hubs.find(&name).ok_or_else(|| api.no_hub(&name))?;
    let deleted = api.hubs.delete(&name, act).await?;
    let Deleted { partitions, events, checkpoints, parked, dead_letters } = deleted;
    let hub = EventLog::hub(&*hub).to_string();
    Ok(Json(DeletedHub { hub, partitions, events, checkpoints, parked, dead_letters }).into_response())
}

/// Adds or removes a consumer group.
#[utoipa::path(
    post, path = "/api/v1/hubs/{hub}/consumer-groups/{action}", tag = "events",
    params(
        ("hub" = String, Path, description = "The hub"),
        ("action" = shapes::GroupAction, Path, description = "What to do"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::HubGroupRequest, description = "Which"),
    responses(
        (status = 200, body = shapes::HubGroupResult, description = "What came of it"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn group(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath((name, action)): InPath<(String, String)>,
    request: Result<Json<HubGroupRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"consumer_group":"…"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*api.clock)?;
    let hub = api.hubs.find(&name).ok_or_else(|| api.no_hub(&name))?;
    let group = ConsumerGroupName::new(&request.consumer_group)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let consumer_group = group.to_string();
    let (result, changed) = match action.as_str() {
        "add" => ("added", api.hubs.add_group(&name, group, act).await?),
        "remove" => {
            api.hubs.remove_group(&name, group, act).await?;
            ("removed", true)
        }
        _ => {
            let shown: String = action.chars().take(64).collect();
            return Err(ApiError::not_found(format!("there is no act {shown:?} here"))
                .help("there are add and remove"));
        }
    };
    let hub = EventLog::hub(&*hub).to_string();
    let result = result.to_owned();
    Ok(Json(HubGroupResult { hub, consumer_group, result, unchanged: !changed }).into_response())
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            HubError::NotThere { .. } => Self::not_found(message).help("list them: tidegate hubs list"),
            HubError::Refused { help, .. } => Self::bad_request(message).help(help),
            HubError::Conflict { help, .. } => Self::new(StatusCode::CONFLICT, code, message).help(help),
            HubError::Log(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message),
            HubError::NotRecorded { .. } => {
                let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
                error.help(
                    "make it again with the same settings, which finishes it; the next start does so too",
                )
            }
            HubError::Store(error) => error.into(),
        }
    }
}
