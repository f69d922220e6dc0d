//! The audit of a running or opened system.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use tidegate_model::ports::EventLog;
use tidegate_model::position::PartitionId;

use crate::api::page::Page;
use crate::api::{Api, ApiError};
use crate::audit::{HubObservation, Observation, PartitionObservation, audit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    hub: Option<String>,
}

/// The account of every function on every hub, or on one.
pub(super) async fn run(
    State(api): State<Arc<Api>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let seen = observe(&api).await?;
    if let Some(hub) = &query.hub {
        let has_a_checkpoint =
            seen.checkpoints_after.iter().any(|checkpoint| checkpoint.lane.hub.as_str() == hub);
        if !has_a_checkpoint {
            api.log(hub)?;
        }
    }
    let mut page = Page::new(None);
    for account in audit(&seen) {
        if query.hub.as_ref().is_none_or(|hub| account.hub.as_str().eq_ignore_ascii_case(hub)) {
            page.push(&account);
        }
    }
    Ok(page.finish(None))
}

/// Reads what the audit looks at, in the order that keeps it meaningful while a processor runs.
async fn observe(api: &Api) -> Result<Observation, ApiError> {
    let mut hubs = Vec::new();
    for log in &api.logs {
        hubs.push(observe_hub(&**log)?);
    }
    let checkpoints_before = api.store.checkpoints().await?;
    let dead_letters = api.store.count_dead_letters().await?;
    let checkpoints_after = api.store.checkpoints().await?;
    for (seen, log) in hubs.iter_mut().zip(&api.logs) {
        for partition in &mut seen.partitions {
            let status = log.status(partition.partition)?;
            partition.tail = status.tail;
            partition.damage = status.damage;
        }
    }
    let configured = api.configured.clone();
    Ok(Observation { hubs, configured, checkpoints_before, dead_letters, checkpoints_after })
}

fn observe_hub(log: &dyn EventLog) -> Result<HubObservation, ApiError> {
    let mut partitions = Vec::new();
    for partition in (0..log.partition_count()).map(PartitionId) {
        let status = log.status(partition)?;
        partitions.push(PartitionObservation {
            partition,
            head: status.head,
            tail: status.tail,
            damage: status.damage,
            lost: status.lost,
        });
    }
    Ok(HubObservation { name: log.hub().clone(), incarnation: log.incarnation(), partitions })
}
