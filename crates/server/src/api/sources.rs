//! Hubs of others that are read here: how each is, and what is known of it while it is away.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api as shapes;
use tidegate_api::{SourceCheckpoint, SourcePartition};
use tidegate_model::checkpoint::Checkpoint;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventLog as _;
use tidegate_model::position::PartitionId;

use crate::api::page::named;
use crate::api::parameters::{NAME, Parameters};
use crate::api::{Api, ApiError};
use crate::sources::SeenSource;

/// Every source, ordered by name.
#[utoipa::path(
    get, path = "/api/v1/sources", tag = "events",
    params(
        ("after" = Option<String>, Query, description = "The cursor of the page"),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Source> = "application/json"), (shapes::Source = "application/x-ndjson"),
        ), description = "The hubs of others that are read, whether they are there or not, ordered by name"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let after: Option<HubName> = parameters.parsed("after", NAME)?;
    parameters.done()?;
    let checkpoints = api.store.checkpoints().await?;
    let name = |source: &SeenSource| source.name.clone();
    named(api.sources.known(), name, after.as_ref(), |source| Ok(Some(shape(&api, &checkpoints, source))))
}

fn shape(api: &Api, checkpoints: &[Checkpoint], source: SeenSource) -> shapes::Source {
    let SeenSource { name, consumer_group, status, log } = source;
    let ours = || checkpoints.iter().filter(|checkpoint| checkpoint.lane.hub == name);
    let partitions: BTreeSet<PartitionId> = match &log {
        Some(log) => (0..log.partition_count()).map(PartitionId).collect(),
        None => ours().map(|checkpoint| checkpoint.lane.partition).collect(),
    };
    let partition = |partition: PartitionId| {
        let ends = log.as_ref().and_then(|log| log.ends(partition).ok());
        let of_it = ours().filter(|checkpoint| checkpoint.lane.partition == partition);
        SourcePartition {
            partition: partition.0,
            head: ends.map(|ends| ends.head.0),
            tail: ends.map(|ends| ends.tail.0),
            reader: log.as_ref().and_then(|log| log.reader(partition)),
            checkpoints: of_it
                .map(|checkpoint| SourceCheckpoint {
                    function: checkpoint.lane.function.to_string(),
                    position: checkpoint.position.0,
                    updated_at: checkpoint.updated_at,
                })
                .collect(),
        }
    };
    let readers = api.configured.iter().filter(|(_, hub)| *hub == name);
    shapes::Source {
        source: name.to_string(),
        status,
        consumer_group,
        functions: readers.map(|(function, _)| function.to_string()).collect(),
        partitions: partitions.into_iter().map(partition).collect(),
    }
}
