//! Checkpoints, with what is left to do and what a running processor does about it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_host::watchdog::WATCHDOG;
use tidegate_model::checkpoint::{Checkpoint, FunctionName};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

use crate::api::page::Page;
use crate::api::{Api, ApiError};

#[derive(Serialize)]
struct CheckpointShape {
    function: FunctionName,
    hub: HubName,
    partition: PartitionId,
    incarnation: Incarnation,
    /// Where the function began.
    start: SequenceNumber,
    /// The first unresolved event.
    position: SequenceNumber,
    /// The last event with everything up to it resolved.
    sequence_number: Option<SequenceNumber>,
    /// The number the next event will get; absent when the log has no such partition.
    tail: Option<SequenceNumber>,
    /// Events that are not resolved.
    lag: Option<u64>,
    #[serde(flatten)]
    counts: OutcomeCounts,
    updated_at: Timestamp,
    /// What a running processor does; absent when none runs.
    state: Option<&'static str>,
    /// Why it waits, retries or is stopped.
    error: Option<String>,
    /// What the watchdog did last, while the lane should move and does not: the action, since when, the instance, and in
    /// words.
    watchdog: Option<serde_json::Value>,
}

/// Every checkpoint, ordered by function, hub and partition.
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
) -> CheckpointShape {
    let log = api.log(checkpoint.lane.hub.as_str()).ok();
    let tail = log.and_then(|log| log.status(checkpoint.lane.partition).ok()).map(|status| status.tail);
    let (state, error) = lane.map_or((None, None), |status| {
        let (state, error) = described(&status.state);
        (Some(state), error)
    });
    CheckpointShape {
        incarnation: checkpoint.incarnation,
        start: checkpoint.start,
        position: checkpoint.position,
        sequence_number: checkpoint.resolved_through(),
        tail,
        lag: tail.map(|tail| tail.distance_from(checkpoint.position)),
        counts: checkpoint.counts,
        updated_at: checkpoint.updated_at,
        state,
        error,
        watchdog,
        function: checkpoint.lane.function,
        hub: checkpoint.lane.hub,
        partition: checkpoint.lane.partition,
    }
}

/// The word for a lane's state, and what is wrong if something is.
fn described(state: &LaneState) -> (&'static str, Option<String>) {
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
