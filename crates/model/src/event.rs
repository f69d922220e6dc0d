//! Events: what producers publish and functions are given.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

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
///
/// An event that came over AMQP is here twice: decoded, which is what functions are given, and as its producer encoded it,
/// which is what AMQP consumers are given. Whoever changes the event sets [`amqp`](Self::amqp) to `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventData {
    /// Decides the partition: events of one key keep their order.
    pub partition_key: Option<ByteString>,
    /// The producer's own properties, in the order given.
    pub properties: Properties,
    /// What the protocol carries beside them: `content-type`, `message-id`, `correlation-id`, `iothub-*`.
    pub system_properties: Properties,
    /// The payload; Tidegate never looks into it. For an event that came over AMQP see [`EncodedMessage`].
    pub body: Bytes,
    /// The message as its producer encoded it, when the event came over AMQP. Only delivery over AMQP needs it: a log keeps
    /// it, and whatever else keeps events (stores of parked events and of dead letters) may drop it.
    pub amqp: Option<EncodedMessage>,
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

    /// The event of an AMQP message, with nothing of it decoded but the body.
    pub fn of_message(message: EncodedMessage) -> Self {
        Self { body: message.body(), amqp: Some(message), ..Self::default() }
    }

    /// Body, key and properties in bytes: what the event counts for wherever it waits. The same with and without the
    /// encoded message, since some places drop that.
    pub fn size(&self) -> usize {
        self.body.len()
            + self.partition_key.as_ref().map_or(0, |key| key.len())
            + self.properties.size()
            + self.system_properties.size()
    }

    /// The size that counts against [`MAX_EVENT_BYTES`]: the length of the encoded message, which has the properties in it,
    /// or else [`size`](Self::size).
    pub fn published_size(&self) -> usize {
        self.message().map_or_else(|| self.size(), EncodedMessage::len)
    }

    /// The bytes this event holds in memory: [`size`](Self::size), and of an encoded message what is around the body.
    pub fn held_bytes(&self) -> usize {
        self.size() + self.message().map_or(0, |message| message.len() - self.body.len())
    }

    /// The encoded message, unless the event was given another body since.
    pub fn message(&self) -> Option<&EncodedMessage> {
        self.amqp.as_ref().filter(|message| {
            let body = &message.bytes[message.body_range()];
            std::ptr::eq(body, &*self.body) || *body == *self.body
        })
    }
}

/// An AMQP message as its producer encoded it, without the header and the delivery annotations, which belong to a single
/// transfer: message annotations, properties, application properties, body, footer. The log never looks into it.
///
/// It knows where in it the event's *body* is:
///
/// - of a single data section, its bytes;
/// - of a value that is binary, a string or a symbol, the bytes of that;
/// - of everything else (several data sections, sequences, other values) the body's sections as they are encoded;
/// - of a message without a body, nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedMessage {
    bytes: Bytes,
    body: Range<u32>,
}

impl EncodedMessage {
    /// A message with its body at `body`. `None` when there is no such place in it, or it is larger than 4 GiB.
    pub fn new(bytes: Bytes, body: Range<usize>) -> Option<Self> {
        let _inside = bytes.get(body.clone())?;
        let _all = u32::try_from(bytes.len()).ok()?;
        let place = |at| u32::try_from(at).expect("not behind the end");
        Some(Self { bytes, body: place(body.start)..place(body.end) })
    }

    /// The message.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The length of the message.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether a message is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The event's body, which shares the bytes of the message.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body_range())
    }

    /// Where in the message the event's body is.
    pub fn body_range(&self) -> Range<usize> {
        self.body.start as usize..self.body.end as usize
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

    fn message() -> EncodedMessage {
        EncodedMessage::new(Bytes::from_static(b"<head>body<tail>"), 6..10).unwrap()
    }

    #[test]
    fn the_body_of_a_message_lies_inside_it() {
        assert_eq!(message().body(), "body");
        assert_eq!(message().body().as_ptr(), message().bytes()[6..].as_ptr(), "it is no copy");
        let bytes = Bytes::from_static(b"abc");
        assert!(EncodedMessage::new(bytes.clone(), 3..3).is_some());
        for outside in [Range { start: 2, end: 4 }, Range { start: 4, end: 4 }, Range { start: 2, end: 1 }] {
            assert_eq!(EncodedMessage::new(bytes.clone(), outside), None);
        }
    }

    #[test]
    fn sizes_count_what_they_are_for() {
        let properties: Properties = [("n", PropertyValue::Long(1))].into_iter().collect();
        let event = EventData { properties, ..EventData::of_message(message()).with_key("key") };
        assert_eq!(event.size(), 4 + 3 + 9);
        assert_eq!(event.published_size(), 16);
        assert_eq!(event.held_bytes(), 4 + 3 + 9 + 12);
        let plain = EventData { amqp: None, ..event };
        assert_eq!([plain.size(), plain.published_size(), plain.held_bytes()], [16; 3]);
    }

    #[test]
    fn a_message_does_not_outlive_a_change_of_the_body() {
        let event = EventData::of_message(message());
        assert_eq!(event.message(), Some(&message()));
        let copied = EventData { body: Bytes::copy_from_slice(b"body"), ..event.clone() };
        assert_eq!(copied.message(), Some(&message()), "the same bytes elsewhere are no change");
        let changed = EventData { body: Bytes::from_static(b"other"), ..event };
        assert_eq!((changed.message(), changed.published_size(), changed.held_bytes()), (None, 5, 5));
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
