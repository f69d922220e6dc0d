//! The audit of a running or opened system.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use tidegate_api as shapes;
use tidegate_model::checkpoint::Checkpoint;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterStatus};
use tidegate_model::parking::Turn;
use tidegate_model::ports::{EventLog, ReadError};
use tidegate_model::position::PartitionId;

use crate::api::page::Page;
use crate::api::{Api, ApiError};
use crate::audit::{HubObservation, Observation, PartitionObservation, Parts, audit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    hub: Option<String>,
}

/// The account of every function on every hub, or on one.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit",
    params(
        ("hub" = Option<String>, Query, description = "Only of this hub"),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::FunctionAudit> = "application/json"), (shapes::FunctionAudit = "application/x-ndjson"),
        ), description = "The account of every function on every hub"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn run(
    State(api): State<Arc<Api>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let seen = settled(&api).await?;
    if let Some(hub) = &query.hub {
        let has_a_checkpoint =
            seen.checkpoints_after.iter().any(|checkpoint| checkpoint.lane.hub.as_str() == hub);
        if !has_a_checkpoint && !api.sources.is_source(hub) {
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

/// How often the facts are read again when they seem to disagree: a running processor may have moved between two readings.
const READINGS: usize = 10;

/// Reads the facts, once more while they seem to disagree.
async fn settled(api: &Api) -> Result<Observation, ApiError> {
    let mut seen = observe(api).await?;
    for _ in 1..READINGS {
        if audit(&seen).iter().all(|account| account.ok) {
            break;
        }
        seen = observe(api).await?;
    }
    Ok(seen)
}

/// Reads what the audit looks at, in the order that keeps it meaningful while a processor runs.
async fn observe(api: &Api) -> Result<Observation, ApiError> {
    let mut hubs = Vec::new();
    let mut seen = Vec::new();
    for log in api.logs() {
        match observe_hub(&*log) {
            Ok(hub) => {
                hubs.push(hub);
                seen.push(log);
            }
            Err(ReadError::HubDeleted { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let checkpoints_before = api.store.checkpoints().await?;
    let dead_letters = api.store.count_dead_letters().await?;
    let parked = api.store.count_parked().await?;
    let mut parts = Vec::new();
    for checkpoint in &checkpoints_before {
        parts.push((checkpoint.lane.clone(), parts_of(api, checkpoint).await?));
    }
    let checkpoints_after = api.store.checkpoints().await?;
    for (hub, log) in hubs.iter_mut().zip(&seen) {
        for partition in &mut hub.partitions {
            let status = match log.status(partition.partition) {
                // Somebody deleted it meanwhile.
                Err(ReadError::HubDeleted { .. }) => continue,
                status => status?,
            };
            partition.tail = status.tail;
            partition.damage = status.damage;
        }
    }
    let configured = api.configured.clone();
    let away = api.sources.not_open();
    Ok(Observation {
        hubs,
        away,
        configured,
        checkpoints_before,
        dead_letters,
        parked,
        parts,
        checkpoints_after,
    })
}

/// The parts of a lane's dead letters and parked events that are counted by themselves.
async fn parts_of(api: &Api, checkpoint: &Checkpoint) -> Result<Parts, ApiError> {
    let lane = &checkpoint.lane;
    let in_status = async |status| -> Result<u64, ApiError> {
        let filter = DeadLetterFilter {
            function: Some(lane.function.clone()),
            hub: Some(lane.hub.clone()),
            partition: Some(lane.partition),
            from_sequence_number: Some(checkpoint.start),
            status: vec![status],
            ..DeadLetterFilter::default()
        };
        let groups = api.store.group_dead_letters(&filter).await?;
        Ok(groups.iter().map(|group| group.count).sum())
    };
    let held = match checkpoint.counts.parked {
        0 => 0,
        _ => {
            let place = api.store.parking_place(lane).await?;
            let held = place.heads.iter().filter(|head| {
                matches!(head.turn, Turn::Held { .. }) && head.sequence_number >= checkpoint.start
            });
            held.count() as u64
        }
    };
    Ok(Parts {
        quarantined: in_status(DeadLetterStatus::Quarantined).await?,
        held,
        redriving: in_status(DeadLetterStatus::Redriving).await?,
    })
}

fn observe_hub(log: &dyn EventLog) -> Result<HubObservation, ReadError> {
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
    Ok(HubObservation {
        name: log.hub().clone(),
        incarnation: log.incarnation(),
        is_sparse: log.has_sparse_numbers(),
        partitions,
    })
}
