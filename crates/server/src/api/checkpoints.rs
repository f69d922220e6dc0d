//! Checkpoints, with what is left to do and what a running processor does about it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api as shapes;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_host::watchdog::WATCHDOG;
use tidegate_model::checkpoint::Checkpoint;

use crate::api::page::Page;
use crate::api::{Api, ApiError};

/// Every checkpoint, ordered by function, hub and partition.
#[utoipa::path(
    get, path = "/api/v1/checkpoints", tag = "checkpoints",
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Checkpoint> = "application/json"), (shapes::Checkpoint = "application/x-ndjson"),
        ), description = "Every checkpoint, ordered by function, hub and partition"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    // The number of checkpoints is functions × partitions, which the configuration bounds: one page holds them.
    let mut page = Page::new(None);
    let lanes = (api.lanes)();
    // In registers, because another instance may have done it, or one that does not run any more.
    let stuck = api.store.registers(WATCHDOG).await?;
    let mut stuck: HashMap<String, serde_json::Value> =
        stuck.into_iter().map(|register| (register.name, register.value)).collect();
    for checkpoint in api.store.checkpoints().await? {
        let lane = lanes.iter().find(|status| status.lane == checkpoint.lane);
        let watchdog = stuck.remove(&checkpoint.lane.to_string());
        page.push(&shape(&api, checkpoint, lane, watchdog));
    }
    Ok(page.finish(None))
}

fn shape(
    api: &Api,
    checkpoint: Checkpoint,
    lane: Option<&LaneStatus>,
    watchdog: Option<serde_json::Value>,
) -> shapes::Checkpoint {
    let log = api.log(checkpoint.lane.hub.as_str()).ok();
    let tail = log.and_then(|log| log.status(checkpoint.lane.partition).ok()).map(|status| status.tail);
    let (state, error) = lane.map_or((None, None), |status| {
        let (state, error) = described(&status.state);
        (Some(state.to_owned()), error)
    });
    let counts = checkpoint.counts;
    shapes::Checkpoint {
        incarnation: checkpoint.incarnation.to_string(),
        start: checkpoint.start.0,
        position: checkpoint.position.0,
        sequence_number: checkpoint.resolved_through().map(|number| number.0),
        tail: tail.map(|tail| tail.0),
        lag: tail.map(|tail| tail.distance_from(checkpoint.position)),
        applied: counts.applied,
        filtered: counts.filtered,
        dead_lettered: counts.dead_lettered,
        parked: counts.parked,
        discarded: counts.discarded,
        lost: counts.lost,
        updated_at: checkpoint.updated_at,
        state,
        error,
        watchdog,
        function: checkpoint.lane.function.to_string(),
        hub: checkpoint.lane.hub.to_string(),
        partition: checkpoint.lane.partition.0,
    }
}

/// The word for a lane's state, and what is wrong if something is.
pub(super) fn described(state: &LaneState) -> (&'static str, Option<String>) {
    match state {
        LaneState::Running => ("running", None),
        LaneState::Retrying { sequence_number, failures, error, .. } => {
            ("retrying", Some(format!("event {sequence_number} failed {failures} times: {error}")))
        }
        LaneState::Held { events } => {
            ("held", Some(format!("{events} events wait for a person or the circuit")))
        }
        LaneState::Gated { why } => ("gated", Some(why.clone())),
        LaneState::Waiting { error } => ("waiting", Some(error.clone())),
        LaneState::Unowned => ("unowned", None),
        LaneState::Stopped { error } => ("stopped", Some(error.clone())),
        LaneState::Released => ("released", None),
    }
}
