//! Setting checkpoints back or forward by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;

use tidegate_api as shapes;
use tidegate_api::{SeekRequest, SeekResult};
use tidegate_model::checkpoint::{Checkpoint, FunctionName, Lane};
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterStatus};
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::StoreError;
use tidegate_model::position::{PartitionId, SequenceNumber, StartPosition};
use tidegate_model::trail::{Act, NewTrailEntry};

use crate::api::actor::Actor;
use crate::api::circuits::{function_name, hub_name};
use crate::api::dead_letter_acts::body;
use crate::api::operations::Operations as _;
use crate::api::page::Page;
use crate::api::{Api, ApiError, events};

/// How often a lane that moves meanwhile is tried again.
const TRIES: usize = 20;

/// How many parked events are looked at at a time.
const PARKED: usize = 50;

/// Moves the checkpoints of a function.
#[utoipa::path(
    post, path = "/api/v1/checkpoints/seek", tag = "checkpoints",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::SeekRequest, description = "Where to, and why"),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::SeekResult> = "application/json"), (shapes::SeekResult = "application/x-ndjson"),
        ), description = "What it does to each lane"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn run(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<SeekRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"function":"…","to":"earliest","reason":"…"}"#)?;
    let act = match request.dry_run {
        true => actor.act_without_reason(&request.reason, &*api.clock)?,
        false => actor.act(&request.reason, &*api.clock)?,
    };
    let start = events::start_position(&request.to)?;
    let lanes = lanes(&api, &request).await?;
    if let (StartPosition::SequenceNumber(_), [_, _, ..]) = (start, lanes.as_slice()) {
        return Err(ApiError::bad_request(format!(
            "a sequence number is a place in one partition, and {} reads {}",
            request.function,
            lanes.len()
        ))
        .help("name one with --partition N, or seek to a time, earliest or latest"));
    }
    // All places are found before anything moves, and stay there until checkpoints say that they are needed.
    let _held = match request.dry_run {
        true => None,
        false => Some(api.places.hold().await),
    };
    let mut places = Vec::new();
    for lane in lanes {
        let log = api.log(lane.hub.as_str())?;
        places.push((log.locate(lane.partition, start).await?, lane));
    }
    let mut page = Page::new(None);
    let mut moved = Vec::new();
    for (to, lane) in places {
        match seek(&api, &lane, to, request.dry_run, &act).await {
            Ok(sought) => {
                moved.extend(sought.done.then(|| lane.to_string()));
                page.push(&sought);
            }
            Err(error) if moved.is_empty() => return Err(error),
            // Each lane moves by itself, and those that have moved stay where they are.
            Err(error) => {
                let done = format!("{lane} was next, and moved are {}", moved.join(", "));
                return Err(error.after(&done, "see where they are: tidegate checkpoints"));
            }
        }
    }
    Ok(page.finish(None))
}

/// The lanes that are meant.
async fn lanes(api: &Api, request: &SeekRequest) -> Result<Vec<Lane>, ApiError> {
    let function = function_name(&request.function)?;
    let hub = request.hub.as_deref().map(hub_name).transpose()?;
    let checkpoints = api.store.checkpoints().await?;
    let of_function = checkpoints
        .iter()
        .map(|checkpoint| &checkpoint.lane)
        .filter(|lane| lane.function == function && hub.as_ref().is_none_or(|hub| *hub == lane.hub));
    let lanes: Vec<Lane> = of_function.cloned().collect();
    if lanes.is_empty() {
        return Err(api.no_function(&function).await);
    }
    let Some(partition) = request.partition.map(PartitionId) else { return Ok(lanes) };
    let lanes: Vec<Lane> = lanes.into_iter().filter(|lane| lane.partition == partition).collect();
    if lanes.is_empty() {
        let message = format!("the function {} has no checkpoint in partition {partition}", request.function);
        return Err(ApiError::not_found(message).help("list them: tidegate checkpoints"));
    }
    Ok(lanes)
}

/// Moves one checkpoint, unless it is there already.
async fn seek(
    api: &Api,
    lane: &Lane,
    to: SequenceNumber,
    dry_run: bool,
    act: &Act,
) -> Result<SeekResult, ApiError> {
    for _ in 0..TRIES {
        let Some(checkpoint) = api.store.checkpoint(lane).await? else {
            return Err(ApiError::not_found(format!("there is no checkpoint of {lane} any more")));
        };
        refuse_other_life(api, &checkpoint)?;
        let from = checkpoint.position;
        let mut shape = SeekResult {
            function: lane.function.to_string(),
            hub: lane.hub.to_string(),
            partition: lane.partition.0,
            from: from.0,
            to: to.0,
            repeated: from.distance_from(to),
            skipped: to.distance_from(from),
            dead_letters_replayed: dead_letters_from(api, lane, to).await?,
            parked_replayed: parked_from(api, lane, to).await?,
            done: false,
        };
        if dry_run || from == to {
            return Ok(shape);
        }
        let detail = serde_json::json!({ "from": from, "to": to });
        let entry =
            NewTrailEntry { action: "checkpoint.seek", subject: lane.to_string(), act: act.clone(), detail };
        match api.store.seek(lane, from, to, entry).await {
            Ok(_) => {
                shape.done = true;
                api.processing.lane_changed(lane);
                return Ok(shape);
            }
            // A running processor got on meanwhile.
            Err(StoreError::CheckpointMoved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::FENCED,
        format!("the checkpoint of {lane} moves faster than it can be set"),
    )
    .help(format!("pause the function first: tidegate pause {} --reason TEXT", lane.function)))
}

fn refuse_other_life(api: &Api, checkpoint: &Checkpoint) -> Result<(), ApiError> {
    let log = api.log(checkpoint.lane.hub.as_str())?;
    let (ours, stored) = (log.incarnation(), checkpoint.incarnation);
    if ours == stored {
        return Ok(());
    }
    Err(StoreError::OtherIncarnation { lane: checkpoint.lane.clone(), ours, stored }.into())
}

/// How many dead letters of a lane are processed again from the log after a seek.
async fn dead_letters_from(api: &Api, lane: &Lane, to: SequenceNumber) -> Result<u64, ApiError> {
    let filter = DeadLetterFilter {
        function: Some(lane.function.clone()),
        hub: Some(lane.hub.clone()),
        partition: Some(lane.partition),
        from_sequence_number: Some(to),
        status: vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined, DeadLetterStatus::Redriving],
        ..DeadLetterFilter::default()
    };
    let groups = api.store.group_dead_letters(&filter).await?;
    Ok(groups.iter().map(|group| group.count).sum())
}

/// How many parked events of a lane are processed again from the log after a seek.
async fn parked_from(api: &Api, lane: &Lane, to: SequenceNumber) -> Result<u64, ApiError> {
    let (mut count, mut from) = (0, to);
    loop {
        let parked = api.store.list_parked(lane, from, PARKED).await?;
        count += parked.len() as u64;
        match parked.last() {
            Some(last) if parked.len() == PARKED => from = last.parked.event.sequence_number.next(),
            _ => return Ok(count),
        }
    }
}

impl Api {
    /// Nothing is known of a function: an error that names those that are.
    pub(super) async fn no_function(&self, function: &FunctionName) -> ApiError {
        let checkpoints = match self.store.checkpoints().await {
            Ok(checkpoints) => checkpoints,
            Err(error) => return error.into(),
        };
        let mut names: Vec<&str> = checkpoints
            .iter()
            .map(|checkpoint| checkpoint.lane.function.as_str())
            .chain(self.configured.iter().map(|(function, _)| function.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        let known = if names.is_empty() { "there are none yet".to_owned() } else { names.join(", ") };
        ApiError::not_found(format!("no function {function} has run here"))
            .help(format!("functions here: {known}"))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tidegate_model::clock::{Clock as _, SharedClock, TestClock, Timestamp};
    use tidegate_model::event::{EventData, HubName};
    use tidegate_model::ports::{Checkpoints as _, EventAppender};
    use tidegate_model::position::Incarnation;
    use tower::ServiceExt as _;

    use super::*;
    use crate::config::{Config, Registered};
    use crate::data_dir::{DataDir, IfMissing};
    use crate::node::{Node, NodeConfig};

    #[tokio::test]
    async fn an_answer_that_refuses_one_lane_names_those_that_moved_before_it() {
        let text = "[hub.flights]\npartitions = 2\n\n[function.a]\nhub = \"flights\"\nkind = \"upsert\"\nkey = \"/id\"\n";
        let config = Config::parse(text, "test", Registered::Any).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let shared: SharedClock = clock.clone();
        let data_dir = DataDir::open(dir.path(), IfMissing::Create, &*shared).unwrap();
        let node = Node::open(data_dir, NodeConfig::Declared(&config), shared).await.unwrap();
        let hub = node.log.hubs().into_iter().find(|hub| EventAppender::hub(&**hub).as_str() == "flights");
        let hub = hub.unwrap();
        let lanes = [0, 1].map(|partition| Lane {
            function: FunctionName::new("a").unwrap(),
            hub: HubName::new("flights").unwrap(),
            partition: PartitionId(partition),
        });
        for (lane, incarnation) in
            lanes.iter().zip([EventAppender::incarnation(&*hub), Incarnation(uuid::Uuid::nil())])
        {
            EventAppender::append(&*hub, lane.partition, vec![EventData::new("x")]).await.unwrap();
            node.store.begin(lane, incarnation, SequenceNumber(1), clock.now()).await.unwrap();
        }
        let ask = async || {
            let request = Request::post("/api/v1/checkpoints/seek")
                .header("authorization", format!("Bearer {}", node.root_key().unwrap()))
                .header("content-type", "application/json")
                .body(Body::from(r#"{"function":"a","to":"earliest","reason":"replay"}"#))
                .unwrap();
            let answer = node.router().oneshot(request).await.unwrap();
            let status = answer.status();
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            (status, String::from_utf8_lossy(&body).into_owned())
        };
        let (status, body) = ask().await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(body.contains("a/flights/1 was next, and moved are a/flights/0"), "{body}");
        assert!(body.contains("tidegate checkpoints"), "{body}");
        let at = async |lane| node.store.checkpoint(lane).await.unwrap().unwrap().position;
        assert_eq!((at(&lanes[0]).await, at(&lanes[1]).await), (SequenceNumber::ZERO, SequenceNumber(1)));

        // Where nothing has moved nothing is said of it.
        let (_, body) = ask().await;
        assert!(!body.contains("was next"), "{body}");
    }
}
