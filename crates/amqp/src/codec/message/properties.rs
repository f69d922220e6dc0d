//! The header and the standard properties of a message.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use uuid::Uuid;

use crate::codec::error::{DecodeError, DecodeProblem};
use crate::codec::names::descriptor;
use crate::codec::read::{Decoded, Field, Milliseconds, Reader};
use crate::codec::value::{Symbol, Value};
use crate::codec::write::{self, ListWriter};

/// How a message is to be handled on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Not to be lost.
    pub durable: bool,
    /// The higher, the sooner.
    pub priority: u8,
    /// How long the message is of use, in milliseconds.
    pub ttl: Option<u32>,
    /// Nobody else has acquired it before.
    pub first_acquirer: bool,
    /// How many deliveries have failed.
    pub delivery_count: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self { durable: false, priority: 4, ttl: None, first_acquirer: false, delivery_count: 0 }
    }
}

impl Header {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Decoded<Self> {
        let mut fields = reader.fields("message.header")?;
        Ok(Self {
            durable: fields.or("header.durable", false)?,
            priority: fields.or("header.priority", 4)?,
            ttl: fields.optional("header.ttl")?,
            first_acquirer: fields.or("header.first-acquirer", false)?,
            delivery_count: fields.or("header.delivery-count", 0)?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::HEADER, 5);
        write::boolean(list.next(), self.durable);
        write::ubyte(list.next(), self.priority);
        write::optional(list.next(), self.ttl, write::uint);
        write::boolean(list.next(), self.first_acquirer);
        write::uint(list.next(), self.delivery_count);
        list.finish();
    }
}

/// The standard properties of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// The message's name.
    pub message_id: Option<MessageId>,
    /// Who sent it.
    pub user_id: Option<Bytes>,
    /// The address it is for.
    pub to: Option<ByteString>,
    /// What it is about.
    pub subject: Option<ByteString>,
    /// The address for answers.
    pub reply_to: Option<ByteString>,
    /// In an answer, the name of the message that it answers.
    pub correlation_id: Option<MessageId>,
    /// The MIME type of the body.
    pub content_type: Option<Symbol>,
    /// The encoding of the body, such as `gzip`.
    pub content_encoding: Option<Symbol>,
    /// When the message is of no use any more, in milliseconds since 1970.
    pub absolute_expiry_time: Option<i64>,
    /// When it was made, in milliseconds since 1970.
    pub creation_time: Option<i64>,
    /// The group it belongs to.
    pub group_id: Option<ByteString>,
    /// Its place in the group.
    pub group_sequence: Option<u32>,
    /// The group for answers.
    pub reply_to_group_id: Option<ByteString>,
}

impl Properties {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Decoded<Self> {
        let mut fields = reader.fields("message.properties")?;
        let milliseconds = |time: Option<Milliseconds>| time.map(|Milliseconds(time)| time);
        Ok(Self {
            message_id: fields.optional("properties.message-id")?,
            user_id: fields.optional("properties.user-id")?,
            to: fields.address("properties.to")?,
            subject: fields.optional("properties.subject")?,
            reply_to: fields.address("properties.reply-to")?,
            correlation_id: fields.optional("properties.correlation-id")?,
            content_type: fields.name("properties.content-type")?,
            content_encoding: fields.name("properties.content-encoding")?,
            absolute_expiry_time: milliseconds(fields.optional("properties.absolute-expiry-time")?),
            creation_time: milliseconds(fields.optional("properties.creation-time")?),
            group_id: fields.optional("properties.group-id")?,
            group_sequence: fields.optional("properties.group-sequence")?,
            reply_to_group_id: fields.optional("properties.reply-to-group-id")?,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::PROPERTIES, 13);
        write::optional(list.next(), self.message_id.as_ref(), MessageId::encode);
        write::optional(list.next(), self.user_id.as_deref(), write::binary);
        write::optional(list.next(), self.to.as_deref(), write::string);
        write::optional(list.next(), self.subject.as_deref(), write::string);
        write::optional(list.next(), self.reply_to.as_deref(), write::string);
        write::optional(list.next(), self.correlation_id.as_ref(), MessageId::encode);
        write::optional(list.next(), self.content_type.as_ref().map(Symbol::as_str), write::symbol);
        write::optional(list.next(), self.content_encoding.as_ref().map(Symbol::as_str), write::symbol);
        write::optional(list.next(), self.absolute_expiry_time, write::timestamp);
        write::optional(list.next(), self.creation_time, write::timestamp);
        write::optional(list.next(), self.group_id.as_deref(), write::string);
        write::optional(list.next(), self.group_sequence, write::uint);
        write::optional(list.next(), self.reply_to_group_id.as_deref(), write::string);
        list.finish();
    }
}

/// The name of a message: clients use all four types, and an answer must repeat the type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageId {
    /// A number.
    Ulong(u64),
    /// A UUID.
    Uuid(Uuid),
    /// Bytes.
    Binary(Bytes),
    /// Text.
    String(ByteString),
}

impl MessageId {
    fn encode(out: &mut BytesMut, id: &Self) {
        match id {
            Self::Ulong(number) => write::ulong(out, *number),
            Self::Uuid(uuid) => write::fixed(out, 0x98, *uuid.as_bytes()),
            Self::Binary(bytes) => write::binary(out, bytes),
            Self::String(text) => write::string(out, text),
        }
    }
}

impl Field for MessageId {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        let at = reader.at();
        match Value::read(reader, code, place)? {
            Value::Ulong(number) => Ok(Self::Ulong(number)),
            Value::Uuid(uuid) => Ok(Self::Uuid(uuid)),
            Value::Binary(bytes) => Ok(Self::Binary(bytes)),
            Value::String(text) => Ok(Self::String(text)),
            _ => {
                let expected = "ulong, uuid, binary or string";
                Err(DecodeError::new(place, at, DecodeProblem::WrongType { expected, found: code }))
            }
        }
    }
}

impl From<&str> for MessageId {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<u64> for MessageId {
    fn from(number: u64) -> Self {
        Self::Ulong(number)
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ulong(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Binary(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::String(text) => text.fmt(f),
        }
    }
}
