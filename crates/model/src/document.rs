//! Documents: the state that functions fold events into.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::clock::Timestamp;
use crate::position::{PartitionId, SequenceNumber};

crate::name::name_type! {
    /// The name of a collection of documents.
    CollectionName, "collection", 128
}

/// The longest document id in bytes (Cosmos DB's limit is 255 characters).
pub const MAX_DOCUMENT_ID_BYTES: usize = 1023;

/// The largest document: 2 MiB of JSON text, as in Cosmos DB.
pub const MAX_DOCUMENT_BYTES: usize = 2 * 1024 * 1024;

/// The id of a document within its collection: any text of 1 to 1023 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DocumentId(SmolStr);

impl DocumentId {
    /// Accepts an id.
    pub fn new(id: &str) -> Result<Self, InvalidDocumentId> {
        if id.is_empty() {
            Err(InvalidDocumentId("is empty"))
        } else if id.len() > MAX_DOCUMENT_ID_BYTES {
            Err(InvalidDocumentId("is longer than 1023 bytes"))
        } else if id.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            Err(InvalidDocumentId("holds control characters"))
        } else {
            Ok(Self(SmolStr::new(id)))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DocumentId {
    type Error = InvalidDocumentId;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::new(&id)
    }
}

impl std::fmt::Display for DocumentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Text that cannot be a document id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document id {0}")]
pub struct InvalidDocumentId(pub &'static str);

/// The version of a document. Two states of a document never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ETag(pub u64);

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for ETag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A document as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id within the collection.
    pub id: DocumentId,
    /// Its JSON text.
    pub body: Bytes,
    /// The partition of the last event applied to it.
    pub partition: PartitionId,
    /// The sequence number of the last event applied to it.
    pub sequence_number: SequenceNumber,
    /// Its version.
    pub etag: ETag,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What must be true of a document for a write to it to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such document.
    Absent,
    /// The document has this version.
    Matches(ETag),
}
