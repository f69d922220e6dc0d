//! Checkpoints and ownerships of one consumer group.

use std::time::Duration;

use tidegate_model::position::{PartitionId, SequenceNumber};

use super::container::{Blob, BlobContainer, BlobError, Condition};

/// Whose checkpoints they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOf {
    /// The host of the namespace, such as `ns.servicebus.windows.net`.
    pub namespace: String,
    /// The hub.
    pub hub: String,
    /// The consumer group.
    pub consumer_group: String,
}

/// How far a consumer group is in a partition: the last event that it is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobCheckpoint {
    /// The event's number, if the checkpoint has one.
    pub sequence_number: Option<SequenceNumber>,
    /// The event's offset, if the checkpoint has one.
    pub offset: Option<String>,
}

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
    prefix: String,
}

impl BlobCheckpoints {
    /// Those of `consumer`.
    pub fn new(container: BlobContainer, consumer: &ConsumerOf) -> Self {
        let ConsumerOf { namespace, hub, consumer_group } = consumer;
        let prefix = format!("{namespace}/{hub}/{consumer_group}").to_lowercase();
        Self { container, prefix }
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
        let blob = self.container.read(&self.name("checkpoint", partition)).await?;
        Ok(blob.map(|blob| BlobCheckpoint {
            sequence_number: get(&blob, "sequencenumber")
                .and_then(|number| number.parse().ok())
                .map(SequenceNumber),
            offset: get(&blob, "offset").map(str::to_owned),
        }))
    }

    /// Writes the checkpoint of a partition.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn write_checkpoint(
        &self,
        partition: PartitionId,
        sequence_number: SequenceNumber,
        offset: &str,
    ) -> Result<(), BlobError> {
        let number = sequence_number.to_string();
        let metadata = [("sequencenumber", number.as_str()), ("offset", offset)];
        self.container.write(&self.name("checkpoint", partition), &metadata, Condition::Always).await?;
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

/// A metadata that says something.
fn get<'b>(blob: &'b Blob, name: &str) -> Option<&'b str> {
    blob.metadata.get(name).map(String::as_str).filter(|text| !text.is_empty())
}
