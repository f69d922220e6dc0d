//! Collections and documents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;
use tidegate_model::document;

use crate::JsonText;

/// A collection that has documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Collection {
    /// Its name.
    pub collection: String,
    /// How many documents it has.
    pub documents: u64,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// Its id within the collection.
    pub id: String,
    /// The document itself.
    #[schema(value_type = Object)]
    pub document: JsonText,
    /// The partition of the event that was applied to it last.
    pub partition: u32,
    /// The sequence number of that event.
    pub sequence_number: u64,
    /// Its version.
    pub etag: String,
    /// When it changed last.
    pub updated_at: Timestamp,
}

impl From<document::Document> for Document {
    fn from(document: document::Document) -> Self {
        Self {
            id: document.id.to_string(),
            document: JsonText::new(&document.body),
            partition: document.partition.0,
            sequence_number: document.sequence_number.0,
            etag: document.etag.to_string(),
            updated_at: document.updated_at,
        }
    }
}

/// The events that made a document, as far as the log has them still: the newest first. The log is read backwards from the
/// last writer, a bounded part of it for each page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DocumentHistory {
    /// The collection.
    pub collection: String,
    /// The document.
    pub id: String,
    /// The function that writes the collection.
    pub function: String,
    /// The hub that its events come from.
    pub hub: String,
    /// The partition of the last writer.
    pub partition: u32,
    /// The partition key whose events are looked at: that of the last writer.
    pub partition_key: Option<String>,
    /// The events, the newest first.
    pub writers: Vec<Writer>,
    /// The cursor of the older part, for `before`; null where there is none.
    pub next: Option<u64>,
    /// The oldest event that the log has. What was before it is dropped, and its effect is in the document.
    pub head: u64,
    /// How many events were looked at for this page.
    pub looked_at: u64,
}

/// An event that had to do with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Writer {
    /// Its partition.
    pub partition: u32,
    /// Its place in the partition.
    pub sequence_number: u64,
    /// When the log took it.
    pub enqueued_at: Timestamp,
    /// What became of it: `resolved` (applied or filtered), `dead-lettered`, `parked` or `pending`.
    pub outcome: String,
    /// The dead letter it became, if it did.
    pub dead_letter: Option<u64>,
    /// The beginning of its body, where it is text.
    pub preview: Option<String>,
}

/// A query over the documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// One `SELECT` statement.
    #[schema(example = "SELECT id FROM aircraft LIMIT 10")]
    pub sql: String,
}
