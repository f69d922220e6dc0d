//! What a hub says of itself and of its partitions.

use tidegate_amqp::codec::value::{Map, Value};
use tidegate_model::clock::Timestamp;
use tidegate_model::position::{PartitionId, SequenceNumber};

use super::requests::Request;
use super::{Client, ClientError, ask};

/// A hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubInfo {
    /// Its name, as the hub writes it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many partitions it has.
    pub partition_count: u32,
}

/// A partition of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The number of the oldest event that is kept.
    pub head: SequenceNumber,
    /// The number that the next event will get.
    pub tail: SequenceNumber,
    /// The offset of the last event, as the hub writes it; `None` when there never was one.
    pub last_offset: Option<String>,
    /// When the last event came.
    pub last_enqueued_at: Option<Timestamp>,
}

/// More partitions than any hub has: 2000 on the Dedicated tier.
const MAX_PARTITIONS: usize = 4096;

impl Client {
    /// What the hub is.
    ///
    /// # Errors
    /// When it cannot be asked, or answers something else.
    pub async fn hub_info(&self) -> Result<HubInfo, ClientError> {
        const WHAT: &str = "READ of the hub";
        let body = self.read(WHAT, "com.microsoft:eventhub", None).await?;
        let problem = |problem: &str| ClientError::Answer { what: WHAT, problem: problem.to_owned() };
        let ids = body.get("partition_ids").and_then(Value::as_items);
        let ids = ids.ok_or_else(|| problem("it has no partition_ids"))?;
        // Partitions are numbered from 0, without a gap: only their order is not promised.
        let mut numbers: Vec<u32> =
            ids.iter().filter_map(|id| id.as_str()?.parse().ok()).take(MAX_PARTITIONS).collect();
        numbers.sort_unstable();
        if numbers.len() != ids.len() || numbers.iter().zip(0..).any(|(number, expected)| *number != expected)
        {
            return Err(problem("its partitions are not numbered from 0"));
        }
        let created_at = body.get("created_at").and_then(Value::as_i64);
        Ok(HubInfo {
            name: body.get("name").and_then(Value::as_str).unwrap_or(&self.remote.hub).to_owned(),
            created_at: Timestamp::from_millis(created_at.ok_or_else(|| problem("it has no created_at"))?),
            partition_count: u32::try_from(numbers.len()).unwrap_or(u32::MAX),
        })
    }

    /// Where a partition begins and ends.
    ///
    /// # Errors
    /// When the hub cannot be asked, or answers something else.
    pub async fn partition_info(&self, partition: PartitionId) -> Result<PartitionInfo, ClientError> {
        const WHAT: &str = "READ of a partition";
        let body = self.read(WHAT, "com.microsoft:partition", Some(partition)).await?;
        let number = |name: &str| {
            body.get(name)
                .and_then(Value::as_i64)
                .ok_or_else(|| ClientError::Answer { what: WHAT, problem: format!("it has no {name}") })
        };
        let last = u64::try_from(number("last_enqueued_sequence_number")?).ok().map(SequenceNumber);
        let is_empty = body.get("is_partition_empty").and_then(Value::as_bool).unwrap_or(false);
        let tail = last.map_or(SequenceNumber::ZERO, SequenceNumber::next);
        let begin =
            u64::try_from(number("begin_sequence_number")?).map_or(SequenceNumber::ZERO, SequenceNumber);
        let text = body.get("last_enqueued_offset").and_then(Value::as_str);
        let time = body.get("last_enqueued_time_utc").and_then(Value::as_i64);
        Ok(PartitionInfo {
            head: if is_empty { tail } else { begin.min(tail) },
            tail,
            last_offset: last.and(text).map(str::to_owned),
            last_enqueued_at: last.and(time).map(Timestamp::from_millis),
        })
    }

    async fn read(
        &self,
        what: &'static str,
        kind: &'static str,
        partition: Option<PartitionId>,
    ) -> Result<Map, ClientError> {
        let connection = self.connection().await?;
        let text = |text: &str| Value::String(text.into());
        let mut properties =
            vec![("operation", text("READ")), ("type", text(kind)), ("name", text(&self.remote.hub))];
        if let Some(partition) = partition {
            properties.push(("partition", text(&partition.to_string())));
        }
        if let Some(token) = self.security_token().await? {
            properties.push(("security_token", text(&token)));
        }
        let request = Request { properties, body: Value::Null };
        let asked = ask(&connection, &self.clock, "$management", what, request).await;
        match self.heard(&connection, asked).await?.body {
            Some(Value::Map(body)) => Ok(body),
            _ => Err(ClientError::Answer { what, problem: "its body is no map".to_owned() }),
        }
    }
}
