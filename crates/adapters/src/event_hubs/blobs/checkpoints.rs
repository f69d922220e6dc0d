//! Checkpoints and ownerships of one consumer group.

use std::time::Duration;

use tidegate_model::position::{PartitionId, SequenceNumber};

use super::container::{Blob, BlobContainer, BlobError, Condition};
use super::legacy;
use super::names::ConsumerOf;

/// How far a consumer group is in a partition: the last event that it is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobCheckpoint {
    /// The event's number, if the checkpoint has one.
    pub sequence_number: Option<SequenceNumber>,
    /// The event's offset, if the checkpoint has one.
    pub offset: Option<String>,
    /// Who wrote it, where the writer says so.
    pub written_by: Option<String>,
}

impl BlobCheckpoint {
    fn says_something(&self) -> bool {
        self.sequence_number.is_some() || self.offset.is_some()
    }
}

/// A checkpoint, and the version of its blob.
pub(super) struct StoredCheckpoint {
    pub(super) checkpoint: BlobCheckpoint,
    etag: String,
}

/// The metadata that says who wrote a checkpoint, as the client for .NET has it. The others leave it out.
const WRITER: &str = "clientidentifier";

/// What the client for .NET writes where it knows no offset.
const NO_OFFSET: &str = "no offset";

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobOwnership {
    /// The owner; `None` when it was released.
    pub owner: Option<String>,
    /// How long ago it was claimed or renewed, by the clock of the account.
    pub age: Duration,
    /// What a claim must name.
    etag: String,
}

impl BlobOwnership {
    /// The version of the blob: another one after each claim, renewal and release.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// The checkpoints and ownerships of a consumer group in a container.
pub struct BlobCheckpoints {
    container: BlobContainer,
    consumer: ConsumerOf,
    prefix: String,
    /// Other clients' prefixes for the same group, which are looked at where ours has nothing.
    others: Vec<String>,
    /// The prefixes of Event Processor Hosts.
    legacy: Vec<String>,
}

/// Where a consumer group is by the blobs, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCheckpoint {
    /// Where it is.
    pub checkpoint: BlobCheckpoint,
    /// The name of the blob.
    pub blob: String,
    /// The prefix of the client that wrote it, if it is another one than ours; what it writes from now on is not seen.
    pub other_prefix: Option<String>,
}

impl BlobCheckpoints {
    /// Those of `consumer`, under the names that most clients have for them.
    pub fn new(container: BlobContainer, consumer: ConsumerOf) -> Self {
        let (prefix, others) = (consumer.prefix(), consumer.other_prefixes());
        let legacy = vec![consumer.prefix_of_functions()];
        Self { container, consumer, prefix, others, legacy }
    }

    /// The same, with this before `/checkpoint/` and `/ownership/`, and nothing else.
    pub fn under(self, prefix: String) -> Self {
        Self { prefix, others: Vec::new(), ..self }
    }

    /// The same, and where there is no checkpoint, those of Event Processor Hosts whose blobs have this prefix.
    pub fn with_legacy(mut self, prefix: String) -> Self {
        self.legacy.insert(0, prefix);
        self
    }

    /// Makes the container unless it is there.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn create(&self) -> Result<(), BlobError> {
        self.container.create().await
    }

    fn name(&self, kind: &str, partition: PartitionId) -> String {
        format!("{}/{kind}/{partition}", self.prefix)
    }

    /// The checkpoint of a partition, if there is one.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn checkpoint(&self, partition: PartitionId) -> Result<Option<BlobCheckpoint>, BlobError> {
        Ok(self.stored(partition).await?.map(|stored| stored.checkpoint))
    }

    /// The checkpoint of a partition, if there is one, and the version of its blob.
    pub(super) async fn stored(&self, partition: PartitionId) -> Result<Option<StoredCheckpoint>, BlobError> {
        let blob = self.container.read(&self.name("checkpoint", partition)).await?;
        Ok(blob.map(|blob| StoredCheckpoint { checkpoint: checkpoint_of(&blob), etag: blob.etag }))
    }

    /// Where the group is in a partition, by the first blob that says so: ours, another client's for the same group, one of
    /// an Event Processor Host.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn find(&self, partition: PartitionId) -> Result<Option<FoundCheckpoint>, BlobError> {
        for prefix in std::iter::once(&self.prefix).chain(&self.others) {
            let name = format!("{prefix}/checkpoint/{partition}");
            let checkpoint = self.container.read(&name).await?.map(|blob| checkpoint_of(&blob));
            if let Some(checkpoint) = checkpoint.filter(BlobCheckpoint::says_something) {
                let other_prefix = (*prefix != self.prefix).then(|| prefix.clone());
                return Ok(Some(FoundCheckpoint { checkpoint, blob: name, other_prefix }));
            }
        }
        for prefix in &self.legacy {
            let name = self.consumer.legacy(prefix, partition);
            let body = self.container.body(&name, legacy::MAX_BYTES).await?;
            if let Some(checkpoint) = body.as_deref().and_then(legacy::checkpoint_in) {
                return Ok(Some(FoundCheckpoint { checkpoint, blob: name, other_prefix: None }));
            }
        }
        Ok(None)
    }

    /// Writes the checkpoint of a partition, as `writer`, if nothing has changed since `known` was read.
    ///
    /// # Errors
    /// When somebody else was faster ([`BlobError::is_lost_race`]), or the account cannot be reached, or refuses.
    pub(super) async fn replace_checkpoint(
        &self,
        partition: PartitionId,
        known: Option<&StoredCheckpoint>,
        (sequence_number, offset): (SequenceNumber, &str),
        writer: &str,
    ) -> Result<(), BlobError> {
        let condition = known.map_or(Condition::IsMissing, |known| Condition::Is(&known.etag));
        self.write(partition, sequence_number, offset, writer, condition).await
    }

    /// Writes the checkpoint of a partition, whatever was there, as `writer`.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn write_checkpoint(
        &self,
        partition: PartitionId,
        sequence_number: SequenceNumber,
        offset: &str,
        writer: &str,
    ) -> Result<(), BlobError> {
        self.write(partition, sequence_number, offset, writer, Condition::Always).await
    }

    async fn write(
        &self,
        partition: PartitionId,
        sequence_number: SequenceNumber,
        offset: &str,
        writer: &str,
        condition: Condition<'_>,
    ) -> Result<(), BlobError> {
        let number = sequence_number.to_string();
        let metadata = [("sequencenumber", number.as_str()), ("offset", offset), (WRITER, writer)];
        self.container.write(&self.name("checkpoint", partition), &metadata, condition).await?;
        Ok(())
    }

    /// Who owns a partition; `None` when nobody ever did.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn ownership(&self, partition: PartitionId) -> Result<Option<BlobOwnership>, BlobError> {
        let blob = self.container.read(&self.name("ownership", partition)).await?;
        Ok(blob.as_ref().map(|blob| self.ownership_of(blob)))
    }

    /// Makes `owner` the owner of a partition, or renews that, if nothing has changed since `known` was read or returned.
    ///
    /// # Errors
    /// When somebody else was faster ([`BlobError::is_lost_race`]), or the account cannot be reached, or refuses.
    pub async fn claim(
        &self,
        partition: PartitionId,
        owner: &str,
        known: Option<&BlobOwnership>,
    ) -> Result<BlobOwnership, BlobError> {
        let condition = known.map_or(Condition::IsMissing, |known| Condition::Is(&known.etag));
        let name = self.name("ownership", partition);
        let blob = self.container.write(&name, &[("ownerid", owner)], condition).await?;
        Ok(self.ownership_of(&blob))
    }

    /// Gives a partition up.
    ///
    /// # Errors
    /// When somebody else owns it by now, or the account cannot be reached, or refuses.
    pub async fn release(&self, partition: PartitionId, known: &BlobOwnership) -> Result<(), BlobError> {
        let name = self.name("ownership", partition);
        self.container.write(&name, &[("ownerid", "")], Condition::Is(&known.etag)).await?;
        Ok(())
    }

    fn ownership_of(&self, blob: &Blob) -> BlobOwnership {
        BlobOwnership {
            owner: get(blob, "ownerid").map(str::to_owned),
            age: blob.age,
            etag: blob.etag.clone(),
        }
    }
}

fn checkpoint_of(blob: &Blob) -> BlobCheckpoint {
    let offset = get(blob, "offset").filter(|offset| !offset.eq_ignore_ascii_case(NO_OFFSET));
    BlobCheckpoint {
        sequence_number: get(blob, "sequencenumber")
            .and_then(|number| number.parse().ok())
            .map(SequenceNumber),
        offset: offset.map(str::to_owned),
        written_by: get(blob, WRITER).map(str::to_owned),
    }
}

/// A metadata that says something.
fn get<'b>(blob: &'b Blob, name: &str) -> Option<&'b str> {
    blob.metadata.get(name).map(String::as_str).filter(|text| !text.is_empty())
}
