//! Messages to events.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_amqp::codec::error::DecodeError;
use tidegate_amqp::codec::message::{BodyKind, Message};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_BATCH;
use tidegate_model::event::{EncodedMessage, EventData, MAX_EVENT_BYTES, MAX_PARTITION_KEY_BYTES};

use crate::properties::{properties_of, system_properties_of};

/// What a producer sent at once: events for one partition.
#[derive(Debug)]
pub struct Sent {
    /// What decides the partition, if there is a key.
    pub partition_key: Option<ByteString>,
    /// The events in order.
    pub events: Vec<EventData>,
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// It is no message.
    #[error("the message cannot be decoded: {0}")]
    Undecodable(#[from] DecodeError),
    /// A message of a batch is none.
    #[error("event {index} of the batch cannot be decoded: {error}")]
    UndecodableInBatch {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// An event is too large.
    #[error(
        "The received message (delivery-id:{index}, size:{size} bytes) exceeds the limit ({MAX_EVENT_BYTES} bytes) \
         currently allowed on the link."
    )]
    TooLarge {
        /// Its place, from 0.
        index: usize,
        /// Its size in bytes.
        size: usize,
    },
    /// The partition key is too long.
    #[error("the partition key has {bytes} bytes; {MAX_PARTITION_KEY_BYTES} are allowed")]
    LongKey {
        /// How long it is.
        bytes: usize,
    },
    /// A batch without events.
    #[error("the batch has no events: its body must have one data section an event")]
    EmptyBatch,
}

/// The events of a delivery.
pub fn events_of(message_format: u32, payload: Bytes) -> Result<Sent, Unacceptable> {
    let outer = Message::parse(payload)?;
    let partition_key = outer.partition_key()?.filter(|key| !key.is_empty());
    if let Some(bytes) =
        partition_key.as_ref().map(|key| key.len()).filter(|len| *len > MAX_PARTITION_KEY_BYTES)
    {
        return Err(Unacceptable::LongKey { bytes });
    }
    let mut events = Vec::new();
    if message_format == MESSAGE_FORMAT_BATCH {
        if outer.sections().body_kind != BodyKind::Data {
            return Err(Unacceptable::EmptyBatch);
        }
        events.reserve(outer.sections().body_sections as usize);
        for (index, inner) in outer.data_sections().enumerate() {
            let in_batch = |error| Unacceptable::UndecodableInBatch { index, error };
            let message = Message::parse(inner).map_err(in_batch)?;
            let event = event_of(&message, partition_key.clone()).map_err(in_batch)?;
            events.push(checked(index, event)?);
        }
    } else {
        events.push(checked(0, event_of(&outer, partition_key.clone())?)?);
    }
    Ok(Sent { partition_key, events })
}

fn checked(index: usize, event: EventData) -> Result<EventData, Unacceptable> {
    let size = event.published_size();
    if size > MAX_EVENT_BYTES { Err(Unacceptable::TooLarge { index, size }) } else { Ok(event) }
}

pub(crate) fn event_of(
    message: &Message,
    partition_key: Option<ByteString>,
) -> Result<EventData, DecodeError> {
    message.check()?;
    if message.sections().has_footer_first() {
        // Kept in the order of the specification: not every client reads another one.
        let in_order = Message::parse(footer_behind_body(message))?;
        return event_of(&in_order, partition_key);
    }
    let sections = message.sections();
    // Header and delivery annotations are for this transfer only.
    let start = sections.header.range().end.max(sections.delivery_annotations.range().end);
    let encoded = message.bytes().slice(start..);
    let body = body_range(message);
    let body = body.start.saturating_sub(start)..body.end.saturating_sub(start);
    let encoded = EncodedMessage::new(encoded, body).expect("the body lies in the message");
    let mut event = EventData::of_message(encoded);
    event.partition_key = partition_key;
    if !sections.application_properties.is_empty() {
        event.properties = properties_of(message)?;
    }
    if !sections.properties.is_empty() || !sections.message_annotations.is_empty() {
        event.system_properties = system_properties_of(message)?;
    }
    Ok(event)
}

fn footer_behind_body(message: &Message) -> Bytes {
    let (bytes, sections) = (message.bytes(), message.sections());
    let (footer, body) = (sections.footer.range(), sections.body.range());
    [&bytes[..footer.start], &bytes[footer.end..body.end], &bytes[footer]].concat().into()
}

/// Where the event's body is in a message: see [`EncodedMessage`].
fn body_range(message: &Message) -> std::ops::Range<usize> {
    let sections = message.sections();
    let inside = |part: &[u8]| {
        let start = part.as_ptr() as usize - message.bytes().as_ptr() as usize;
        start..start + part.len()
    };
    match sections.body_kind {
        BodyKind::None => sections.body.range(),
        BodyKind::Data if sections.body_sections == 1 => {
            message.data_sections().next_slice().map_or_else(|| sections.body.range(), inside)
        }
        BodyKind::Value => {
            let value = sections.body.content();
            match text_in(&message.bytes()[value.clone()]) {
                Some(text) => value.start + text.start..value.start + text.end,
                None => sections.body.range(),
            }
        }
        BodyKind::Data | BodyKind::Sequence => sections.body.range(),
    }
}

/// Where the bytes of an encoded binary, string or symbol are; `None` for a value of another type. The codes are those of
/// section 1.6 of the specification.
fn text_in(value: &[u8]) -> Option<std::ops::Range<usize>> {
    let head = match value.first()? {
        0xa0 | 0xa1 | 0xa3 => 2,
        0xb0 | 0xb1 | 0xb3 => 5,
        _ => return None,
    };
    (head <= value.len()).then_some(head..value.len())
}
