//! The lease of an Event Processor Host, as far as it is a checkpoint:
//! `{"PartitionId":"0","Owner":"…","Token":"…","Epoch":3,"Offset":"4096","SequenceNumber":17}` as .NET wrote it, with names
//! in small letters for Java and Python.

use serde::Deserialize;
use tidegate_model::position::SequenceNumber;

use super::checkpoints::BlobCheckpoint;

/// What is read of a blob at most, in bytes. A lease has a few hundred.
pub(super) const MAX_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Lease {
    #[serde(alias = "Offset")]
    offset: Option<String>,
    #[serde(alias = "SequenceNumber", alias = "sequenceNumber")]
    sequence_number: Option<i64>,
}

/// The checkpoint in a lease; `None` when it has none, or is no lease.
pub(super) fn checkpoint_in(body: &[u8]) -> Option<BlobCheckpoint> {
    let lease: Lease = serde_json::from_slice(body).ok()?;
    // A lease that was never checkpointed has no offset, and the number 0, which means nothing then.
    let offset = lease.offset.filter(|offset| !offset.is_empty())?;
    let sequence_number = lease.sequence_number.and_then(|number| u64::try_from(number).ok());
    // What counts is the offset. A beginning has one too, "-1", and no event that it stands for.
    let sequence_number = sequence_number.filter(|_| offset != "-1").map(SequenceNumber);
    Some(BlobCheckpoint { sequence_number, offset: Some(offset), written_by: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_of_all_hosts_are_read() {
        for lease in [
            r#"{"PartitionId":"0","Owner":"o","Token":"t","Epoch":386,"Offset":"8591964920","SequenceNumber":960180}"#,
            r#"{"Offset":"8591964920","SequenceNumber":960180,"PartitionId":"0","Owner":"","Token":"","Epoch":23}"#,
            r#"{"offset":"8591964920","sequenceNumber":960180,"partitionId":"0","epoch":1,"owner":"o","token":""}"#,
            r#"{"partition_id":"0","epoch":1,"owner":"o","token":"t","offset":"8591964920","sequence_number":960180,
                "event_processor_context":null}"#,
        ] {
            let checkpoint = checkpoint_in(lease.as_bytes()).expect(lease);
            assert_eq!(checkpoint.sequence_number, Some(SequenceNumber(960_180)), "{lease}");
            assert_eq!(checkpoint.offset.as_deref(), Some("8591964920"), "{lease}");
        }
    }

    #[test]
    fn what_says_nothing_is_no_checkpoint() {
        for lease in [
            "",
            "{",
            "[1]",
            r#"{"Offset":"","SequenceNumber":0,"Epoch":1}"#,
            r#"{"Offset":null,"SequenceNumber":7}"#,
            r#"{"PartitionId":"0"}"#,
            r#"{"Offset":7,"SequenceNumber":"x"}"#,
        ] {
            assert_eq!(checkpoint_in(lease.as_bytes()), None, "{lease}");
        }
        let beginning = checkpoint_in(br#"{"Offset":"-1","SequenceNumber":0}"#).unwrap();
        assert_eq!((beginning.sequence_number, beginning.offset.as_deref()), (None, Some("-1")));
    }
}
