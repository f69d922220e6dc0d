//! Parked events: what waits in the store, and what a person does about it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{Parked, ParkedRequest, ParkedResult};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::dead_letter::Acted;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::parking::{OrderKey, ParkedEvent};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::api::actor::Actor;
use crate::api::dead_letter_acts::body;
use crate::api::operations::Operations as _;
use crate::api::page::{FULL_BYTES, Page};
use crate::api::parameters::{MAX_SEQUENCE_NUMBER, NAME, NUMBER, Parameters};
use crate::api::{Api, ApiError};

/// A page of the parked events that match, ordered by function, hub, partition and sequence number.
#[utoipa::path(
    get, path = "/api/v1/parked", tag = "parked",
    params(
        ("function" = Option<String>, Query, description = "Of this function"),
        ("hub" = Option<String>, Query, description = "From this hub"),
        ("partition" = Option<u32>, Query, description = "From this partition"),
        ("key" = Option<String>, Query, description = "With this partition key"),
        ("after" = Option<String>, Query, description = "The cursor of the page"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Parked> = "application/json"), (shapes::Parked = "application/x-ndjson"),
        ), description = "Parked events, ordered by function, hub, partition and sequence number"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let function: Option<FunctionName> = parameters.parsed("function", NAME)?;
    let hub: Option<HubName> = parameters.parsed("hub", NAME)?;
    let partition = parameters.partition()?;
    let key = parameters.take("key")?.map(|key| OrderKey::from(key.as_str()));
    let after: Option<Place> = parameters.parsed("after", "function/hub/partition/sequence number")?;
    let mut page = Page::new(parameters.parsed("limit", NUMBER)?);
    parameters.done()?;

    let mut lanes: Vec<Lane> = api.store.checkpoints().await?.into_iter().map(|one| one.lane).collect();
    lanes.retain(|lane| {
        function.as_ref().is_none_or(|function| *function == lane.function)
            && hub.as_ref().is_none_or(|hub| *hub == lane.hub)
            && partition.is_none_or(|partition| partition == lane.partition)
            && after.as_ref().is_none_or(|after| *lane >= after.lane)
    });
    lanes.sort_unstable();
    for lane in lanes {
        let mut from = match &after {
            Some(Place { lane: of, sequence_number }) if *of == lane => sequence_number.next(),
            _ => SequenceNumber::ZERO,
        };
        let mut heads = HashMap::new();
        loop {
            let wanted = page.wants();
            let events = match &key {
                // The store finds the queue of a key, whatever else is parked in the lane.
                Some(key) => api.store.parked_of_key(&lane, key, from, wanted, FULL_BYTES).await?,
                None => api.store.list_parked(&lane, from, wanted).await?,
            };
            // What is cut for its bytes has an event less, and there is always one where there is any.
            let more = events.len() == wanted || (key.is_some() && !events.is_empty());
            for stored in events {
                let parked = stored.parked;
                from = parked.event.sequence_number.next();
                let head = head_of(&api, &lane, &parked, &mut heads).await?;
                page.push(&Parked::new(parked, head));
            }
            if !more || page.is_full() {
                break;
            }
        }
        if page.is_full() {
            // Whether the lanes that follow have anything is for the next page to say.
            let last = from.previous().unwrap_or(from);
            return Ok(page.finish(Some(format!("{lane}/{last}"))));
        }
    }
    Ok(page.finish(None))
}

/// The first parked event of the key of a parked event.
async fn head_of(
    api: &Api,
    lane: &Lane,
    parked: &ParkedEvent,
    known: &mut HashMap<OrderKey, SequenceNumber>,
) -> Result<SequenceNumber, ApiError> {
    let own = parked.event.sequence_number;
    let Some(key) = parked.key() else { return Ok(own) };
    if let Some(head) = known.get(key) {
        return Ok((*head).min(own));
    }
    let first = api.store.parked_of_key(lane, key, SequenceNumber::ZERO, 1, 0).await?;
    let head = first.first().map_or(own, |first| first.parked.event.sequence_number);
    known.insert(key.clone(), head);
    Ok(head.min(own))
}

/// A place in a lane as text: `function/hub/partition/sequence number`.
struct Place {
    lane: Lane,
    sequence_number: SequenceNumber,
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('/').collect();
        let [function, hub, partition, sequence_number] = parts.as_slice() else { return Err(()) };
        let lane = Lane {
            function: function.parse().map_err(|_| ())?,
            hub: hub.parse().map_err(|_| ())?,
            partition: PartitionId(partition.parse().map_err(|_| ())?),
        };
        let number = sequence_number.parse().ok().filter(|number| *number <= MAX_SEQUENCE_NUMBER);
        Ok(Self { lane, sequence_number: SequenceNumber(number.ok_or(())?) })
    }
}

const FORM: &str = r#"{"id":"FUNCTION/HUB/PARTITION/SEQUENCE","reason":"…"}"#;

/// Makes the turn of a parked event come now.
#[utoipa::path(
    post, path = "/api/v1/parked/try", tag = "parked",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ParkedRequest, description = "Which"),
    responses(
        (status = 200, body = shapes::ParkedResult, description = "Its turn is now"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn try_now(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<ParkedRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, FORM)?;
    let place = place(&request.id)?;
    let act = actor.act_without_reason(&request.reason, &*api.clock)?;
    let acted = api.store.try_parked_now(&place.lane, place.sequence_number, &act).await?;
    acted_on(&api, request.id, &place.lane, acted, "to-be-tried")
}

/// Makes a parked event a dead letter, so that what waits behind it goes on.
#[utoipa::path(
    post, path = "/api/v1/parked/set-aside", tag = "parked",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ParkedRequest, description = "Which, and why"),
    responses(
        (status = 200, body = shapes::ParkedResult, description = "It is a dead letter"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn set_aside(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<ParkedRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, FORM)?;
    let place = place(&request.id)?;
    let act = actor.act(&request.reason, &*api.clock)?;
    let acted = api.store.set_aside(&place.lane, place.sequence_number, &act).await?;
    acted_on(&api, request.id, &place.lane, acted, "set-aside")
}

fn place(id: &str) -> Result<Place, ApiError> {
    id.parse().map_err(|()| {
        let shown: String = id.chars().take(200).collect();
        ApiError::bad_request(format!("{shown:?} is the name of no parked event"))
            .help("write it as FUNCTION/HUB/PARTITION/SEQUENCE; list them: tidegate parked list")
    })
}

fn acted_on(
    api: &Api,
    id: String,
    lane: &Lane,
    acted: Acted,
    result: &'static str,
) -> Result<Response, ApiError> {
    match acted {
        Acted::Done => {
            api.processing.parked_changed(lane);
            Ok(Json(ParkedResult { id, result: result.to_owned() }).into_response())
        }
        Acted::NotFound => Err(ApiError::not_found(format!("no event {id} is parked"))
            .help("list what is parked: tidegate parked list")),
        other => Err(ApiError::new(
            StatusCode::CONFLICT,
            ErrorCode::CONFLICT,
            format!("the parked event {id} is in a state that does not allow this: {other:?}"),
        )),
    }
}
