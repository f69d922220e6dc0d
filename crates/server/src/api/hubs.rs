//! Hubs and their partitions.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

use crate::api::page::Page;
use crate::api::{Api, ApiError};

#[derive(Serialize)]
struct HubShape<'a> {
    hub: &'a HubName,
    incarnation: Incarnation,
    partitions: Vec<PartitionShape>,
}

#[derive(Serialize)]
struct PartitionShape {
    partition: PartitionId,
    head: SequenceNumber,
    tail: SequenceNumber,
    last_enqueued_at: Option<Timestamp>,
    size_bytes: u64,
    damage: Option<String>,
}

/// Every hub, ordered by name.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let mut page = Page::new(None);
    for log in &api.logs {
        let mut partitions = Vec::new();
        for partition in (0..log.partition_count()).map(PartitionId) {
            let status = log.status(partition)?;
            partitions.push(PartitionShape {
                partition,
                head: status.head,
                tail: status.tail,
                last_enqueued_at: status.last_enqueued_at,
                size_bytes: status.size_bytes,
                damage: status.damage,
            });
        }
        page.push(&HubShape { hub: log.hub(), incarnation: log.incarnation(), partitions });
    }
    Ok(page.finish(None))
}
