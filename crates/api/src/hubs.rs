//! Hubs and their partitions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// A hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hub {
    /// Its name.
    pub hub: String,
    /// Its life: a hub that is deleted and made again has another.
    #[schema(format = "uuid")]
    pub incarnation: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether the configuration declares it.
    pub declared: bool,
    /// How long events are kept, such as `7d` or `forever`; null when that was never said for this hub.
    pub retention: Option<String>,
    /// How many bytes are kept; null when that is not limited.
    pub retention_bytes: Option<u64>,
    /// Its consumer groups.
    pub consumer_groups: Vec<String>,
    /// The functions that are configured to read it.
    pub functions: Vec<String>,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Partition {
    /// Its number, from 0.
    pub partition: u32,
    /// The oldest kept event.
    pub head: u64,
    /// The number the next event will get.
    pub tail: u64,
    /// When the last event came.
    pub last_enqueued_at: Option<Timestamp>,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Why it is out of service, if it is.
    pub damage: Option<String>,
}

/// A hub to be made; what is left out is as in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateHubRequest {
    /// Its name.
    #[schema(example = "flights")]
    pub hub: String,
    /// How many partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// How long events are kept, such as `7d` or `forever`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub retention: Option<String>,
    /// How many bytes are kept; without limit if 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Consumer groups beside `$Default`.
    #[serde(default)]
    pub consumer_groups: Vec<String>,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What went with a hub that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeletedHub {
    /// Its name.
    pub hub: String,
    /// Its partitions.
    pub partitions: u32,
    /// Its events.
    pub events: u64,
    /// The checkpoints of functions that read it once.
    pub checkpoints: u64,
    /// Parked events that were made dead letters, and discarded.
    pub parked: u64,
    /// Dead letters that were discarded, those included.
    pub dead_letters: u64,
}

/// A consumer group to add or remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HubGroupRequest {
    /// Its name.
    #[schema(example = "reports")]
    pub consumer_group: String,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What became of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HubGroupResult {
    /// The hub.
    pub hub: String,
    /// The group.
    pub consumer_group: String,
    /// `added` or `removed`.
    pub result: String,
    /// Whether it was like this already.
    pub unchanged: bool,
}

/// What can be done with a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GroupAction {
    /// It is made.
    Add,
    /// It is removed.
    Remove,
}
