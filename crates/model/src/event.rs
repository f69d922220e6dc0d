//! Events: what producers publish and functions are given.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::position::{Offset, SequenceNumber};

pub use crate::name::InvalidName;

/// The largest event, body and properties together: 1 MiB, as on the Standard tier of Event Hubs.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The longest partition key in bytes, as in Event Hubs.
pub const MAX_PARTITION_KEY_BYTES: usize = 128;

crate::name::name_type! {
    /// The name of an event hub.
    HubName, "hub", 256
}

/// What a producer publishes. The bytes are shared, never copied, on their way from the socket or the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventData {
    /// Decides the partition: events of one key keep their order.
    pub partition_key: Option<ByteString>,
    /// The producer's own properties, in the order given.
    pub properties: Properties,
    /// What the protocol carries beside them: `content-type`, `message-id`, `correlation-id`, `iothub-*`.
    pub system_properties: Properties,
    /// The payload; Tidegate never looks into it.
    pub body: Bytes,
}

impl EventData {
    /// An event that is nothing but a body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// The same event with a partition key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<ByteString>) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    /// The size that counts against [`MAX_EVENT_BYTES`] and against memory limits: body, key and properties.
    pub fn size(&self) -> usize {
        self.body.len()
            + self.partition_key.as_ref().map_or(0, |key| key.len())
            + self.properties.size()
            + self.system_properties.size()
    }
}

/// An event that has its place in a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The place in the partition. Numbers begin at 0 and have no gaps.
    pub sequence_number: SequenceNumber,
    /// When the log took the event. It never goes back within a partition, even if the machine's clock does.
    pub enqueued_at: Timestamp,
    /// What the producer published.
    pub data: EventData,
}

impl Event {
    /// The place in the partition as clients name it.
    pub fn offset(&self) -> Offset {
        Offset::of(self.sequence_number)
    }

    /// The payload.
    pub fn body(&self) -> &Bytes {
        &self.data.body
    }
}

/// Named values. Most events have none, and then this is a null pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties(Option<Arc<Vec<(ByteString, PropertyValue)>>>);

impl Properties {
    /// No properties.
    pub const NONE: Self = Self(None);

    /// The properties in order; the value of the last one counts where a name comes twice.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PropertyValue)> {
        self.0.iter().flat_map(|list| list.iter()).map(|(name, value)| (name.as_ref(), value))
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&PropertyValue> {
        self.0.as_ref()?.iter().rev().find(|(candidate, _)| &**candidate == name).map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.len())
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Names and values in bytes.
    pub fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.size()).sum()
    }
}

impl<N: Into<ByteString>> FromIterator<(N, PropertyValue)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, PropertyValue)>>(properties: I) -> Self {
        let list: Vec<_> = properties.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self(if list.is_empty() { None } else { Some(Arc::new(list)) })
    }
}

impl Serialize for Properties {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// The value of a property: the types that AMQP application properties and JSON have between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PropertyValue {
    /// AMQP and JSON null.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(String),
    /// A point in time, milliseconds since the epoch.
    Timestamp(Timestamp),
    /// Bytes.
    Binary(Vec<u8>),
    /// A UUID.
    Uuid(uuid::Uuid),
}

impl PropertyValue {
    fn size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Long(_) | Self::Double(_) | Self::Timestamp(_) => 8,
            Self::String(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Uuid(_) => 16,
        }
    }
}

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(HubName::new("flights").is_ok());
        assert!(HubName::new("a.b-c_9").is_ok());
        for bad in ["", "-a", "a-", "a/b", "../x", "é", &"x".repeat(257)] {
            assert!(HubName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_last_property_of_a_name_counts() {
        let properties: Properties =
            [("a", PropertyValue::Long(1)), ("b", PropertyValue::Null), ("a", PropertyValue::Long(2))]
                .into_iter()
                .collect();
        assert_eq!(properties.get("a"), Some(&PropertyValue::Long(2)));
        assert_eq!(properties.get("c"), None);
        assert_eq!(properties.len(), 3);
        assert!(Properties::from_iter(Vec::<(&str, PropertyValue)>::new()).is_empty());
    }
}
