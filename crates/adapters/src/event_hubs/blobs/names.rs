//! What the blobs of a consumer group are called, by whoever writes them.
//!
//! All have `NAMESPACE/HUB/GROUP/checkpoint/PARTITION`, and differ in how they write what is before `checkpoint`:
//!
//! | client | letters | a port that the connection string has |
//! |---|---|---|
//! | .NET, JavaScript, Java, newer ones for Rust, Azure Functions' extension from 5 on | in lower case | left out |
//! | Python | in lower case | kept |
//! | Go, older ones for Rust | as they are given | left out, or kept |
//!
//! Before that, an Event Processor Host had one blob a partition, `PREFIX GROUP/PARTITION`, with its lease and its checkpoint
//! as JSON; Azure Functions' extension before 5 gave it `namespace/hub/` for a prefix.
//!
//! Sources: `BlobCheckpointStoreInternal` of azure-sdk-for-net, `blobCheckpointStore.ts` of azure-sdk-for-js,
//! `_blobstoragecs.py` of azure-sdk-for-python, `checkpoints/blob_store.go` of azure-sdk-for-go, `EventHubOptions.GetBlobPrefix`
//! of the extension, `AzureStorageCheckpointLeaseManager` of azure-event-hubs-dotnet.

use tidegate_model::position::PartitionId;

/// Whose checkpoints they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOf {
    /// The host of the namespace, such as `ns.servicebus.windows.net`.
    pub namespace: String,
    /// The port that the connection string names, if it names one.
    pub port: Option<u16>,
    /// The hub.
    pub hub: String,
    /// The consumer group.
    pub consumer_group: String,
}

impl ConsumerOf {
    /// What is before `/checkpoint/` and `/ownership/` in the names of most clients, and in ours.
    pub fn prefix(&self) -> String {
        self.written(&self.namespace).to_lowercase()
    }

    /// What it is for the other clients, where that is something else.
    pub fn other_prefixes(&self) -> Vec<String> {
        let mut others = vec![self.written(&self.namespace)];
        if let Some(port) = self.port {
            let with_port = self.written(&format!("{}:{port}", self.namespace));
            others.insert(0, with_port.to_lowercase());
            others.push(with_port);
        }
        others.dedup();
        others.retain(|other| *other != self.prefix());
        others
    }

    /// The prefix that Azure Functions' extension gave an Event Processor Host.
    pub fn prefix_of_functions(&self) -> String {
        format!("{}/{}/", escaped(&self.namespace), escaped(&self.hub))
    }

    /// The blob of an Event Processor Host.
    pub fn legacy(&self, prefix: &str, partition: PartitionId) -> String {
        format!("{prefix}{}/{partition}", self.consumer_group)
    }

    fn written(&self, namespace: &str) -> String {
        format!("{namespace}/{}/{}", self.hub, self.consumer_group)
    }
}

/// A name as Azure Functions' extension wrote it: in lower case, and what is neither a letter nor a digit nor one of `-_.` by
/// its number.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for unit in name.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') => {
                escaped.push(char::from(byte.to_ascii_lowercase()));
            }
            Ok(byte) => escaped.push_str(&format!(":{byte:02X}")),
            Err(_) => escaped.push_str(&format!("::{unit:04X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(namespace: &str, port: Option<u16>, hub: &str) -> ConsumerOf {
        let (namespace, hub) = (namespace.to_owned(), hub.to_owned());
        ConsumerOf { namespace, port, hub, consumer_group: "$Default".to_owned() }
    }

    #[test]
    fn every_client_s_names_are_known() {
        let service = consumer("NS.servicebus.windows.net", None, "Flights");
        assert_eq!(service.prefix(), "ns.servicebus.windows.net/flights/$default");
        assert_eq!(service.other_prefixes(), ["NS.servicebus.windows.net/Flights/$Default"]);
        let here = consumer("localhost", Some(5680), "flights");
        assert_eq!(here.prefix(), "localhost/flights/$default");
        assert_eq!(
            here.other_prefixes(),
            [
                "localhost:5680/flights/$default",
                "localhost/flights/$Default",
                "localhost:5680/flights/$Default"
            ]
        );
        let lower = ConsumerOf { consumer_group: "tidegate".to_owned(), ..consumer("ns", None, "flights") };
        assert_eq!(lower.other_prefixes(), Vec::<String>::new());
    }

    #[test]
    fn an_event_processor_host_s_blobs_are_found() {
        let service = consumer("NS.servicebus.windows.net", None, "Flights_2");
        let prefix = service.prefix_of_functions();
        assert_eq!(service.legacy(&prefix, PartitionId(3)), "ns.servicebus.windows.net/flights_2/$Default/3");
        assert_eq!(service.legacy("", PartitionId(3)), "$Default/3");
        assert_eq!(escaped("a B:c\u{e9}\u{20ac}"), "a:20b:3Ac:E9::20AC");
    }
}
