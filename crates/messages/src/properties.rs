//! The properties of messages, as events have them, and back.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tidegate_amqp::codec::error::DecodeError;
use tidegate_amqp::codec::message::{Message, MessageId, Properties as Standard};
use tidegate_amqp::codec::value::{Symbol, Value};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{Properties, PropertyValue};

pub(crate) fn properties_of(message: &Message) -> Result<Properties, DecodeError> {
    let mut properties = Vec::new();
    for pair in message.application_properties() {
        let (name, value) = pair?;
        properties.push((name, property_of(value)));
    }
    Ok(properties.into_iter().collect())
}

pub(crate) fn system_properties_of(message: &Message) -> Result<Properties, DecodeError> {
    let mut properties: Vec<(ByteString, PropertyValue)> = Vec::new();
    if let Some(standard) = message.properties()? {
        let mut put = |name: &'static str, value: Option<PropertyValue>| {
            if let Some(value) = value {
                properties.push((ByteString::from_static(name), value));
            }
        };
        let text = |text: Option<ByteString>| text.map(|text| PropertyValue::String(text.to_string()));
        let symbol =
            |symbol: Option<Symbol>| symbol.map(|symbol| PropertyValue::String(symbol.as_str().to_owned()));
        let time = |ms: Option<i64>| ms.map(|ms| PropertyValue::Timestamp(Timestamp::from_millis(ms)));
        put("message-id", standard.message_id.map(id_of));
        put("user-id", standard.user_id.map(|bytes| PropertyValue::Binary(bytes.to_vec())));
        put("to", text(standard.to));
        put("subject", text(standard.subject));
        put("reply-to", text(standard.reply_to));
        put("correlation-id", standard.correlation_id.map(id_of));
        put("content-type", symbol(standard.content_type));
        put("content-encoding", symbol(standard.content_encoding));
        put("absolute-expiry-time", time(standard.absolute_expiry_time));
        put("creation-time", time(standard.creation_time));
        put("group-id", text(standard.group_id));
        put("group-sequence", standard.group_sequence.map(|number| PropertyValue::Long(number.into())));
        put("reply-to-group-id", text(standard.reply_to_group_id));
    }
    for pair in message.message_annotations() {
        let (name, value) = pair?;
        // The broker's own are told by the event itself.
        if !is_stamp(&name) {
            properties.push((name, property_of(value)));
        }
    }
    Ok(properties.into_iter().collect())
}

fn is_stamp(name: &str) -> bool {
    ["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"].contains(&name)
}

fn id_of(id: MessageId) -> PropertyValue {
    match id {
        MessageId::Ulong(number) => number_of(number),
        MessageId::Uuid(uuid) => PropertyValue::Uuid(uuid),
        MessageId::Binary(bytes) => PropertyValue::Binary(bytes.to_vec()),
        MessageId::String(text) => PropertyValue::String(text.to_string()),
    }
}

fn number_of(number: u64) -> PropertyValue {
    i64::try_from(number).map_or_else(|_| PropertyValue::String(number.to_string()), PropertyValue::Long)
}

/// The nearest value that functions know. The exact type stays in the encoded message.
fn property_of(value: Value) -> PropertyValue {
    match value {
        Value::Null => PropertyValue::Null,
        Value::Boolean(truth) => PropertyValue::Bool(truth),
        Value::Ubyte(number) => PropertyValue::Long(number.into()),
        Value::Ushort(number) => PropertyValue::Long(number.into()),
        Value::Uint(number) => PropertyValue::Long(number.into()),
        Value::Ulong(number) => number_of(number),
        Value::Byte(number) => PropertyValue::Long(number.into()),
        Value::Short(number) => PropertyValue::Long(number.into()),
        Value::Int(number) => PropertyValue::Long(number.into()),
        Value::Long(number) => PropertyValue::Long(number),
        Value::Float(number) => PropertyValue::Double(number.into()),
        Value::Double(number) => PropertyValue::Double(number),
        Value::Timestamp(ms) => PropertyValue::Timestamp(Timestamp::from_millis(ms)),
        Value::Uuid(uuid) => PropertyValue::Uuid(uuid),
        Value::Binary(bytes) => PropertyValue::Binary(bytes.to_vec()),
        Value::String(text) => PropertyValue::String(text.to_string()),
        Value::Symbol(symbol) => PropertyValue::String(symbol.as_str().to_owned()),
        Value::Char(character) => PropertyValue::String(character.to_string()),
        // Compound values and decimals have no counterpart: functions see how they are encoded.
        other => {
            let mut encoded = BytesMut::new();
            other.encode(&mut encoded);
            PropertyValue::Binary(encoded.to_vec())
        }
    }
}

/// Sets a standard property; false when there is none of this name, or it has another type.
pub(crate) fn set_standard(standard: &mut Standard, name: &str, value: &PropertyValue) -> bool {
    let text = || match value {
        PropertyValue::String(text) => Some(ByteString::from(text.as_str())),
        _ => None,
    };
    let symbol = || match value {
        PropertyValue::String(text) if text.is_ascii() => Some(Symbol::new(text)),
        _ => None,
    };
    let id = || match value {
        PropertyValue::String(text) => Some(MessageId::String(text.as_str().into())),
        PropertyValue::Uuid(uuid) => Some(MessageId::Uuid(*uuid)),
        PropertyValue::Binary(bytes) => Some(MessageId::Binary(Bytes::copy_from_slice(bytes))),
        PropertyValue::Long(number) => u64::try_from(*number).ok().map(MessageId::Ulong),
        _ => None,
    };
    let time = || match value {
        PropertyValue::Timestamp(at) => Some(at.as_millis()),
        _ => None,
    };
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            standard.$field = $value;
            standard.$field.is_some()
        }};
    }
    match name {
        "message-id" => set!(message_id, id()),
        "correlation-id" => set!(correlation_id, id()),
        "to" => set!(to, text()),
        "subject" => set!(subject, text()),
        "reply-to" => set!(reply_to, text()),
        "group-id" => set!(group_id, text()),
        "reply-to-group-id" => set!(reply_to_group_id, text()),
        "content-type" => set!(content_type, symbol()),
        "content-encoding" => set!(content_encoding, symbol()),
        "absolute-expiry-time" => set!(absolute_expiry_time, time()),
        "creation-time" => set!(creation_time, time()),
        _ => false,
    }
}

pub(crate) fn value_of(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Null => Value::Null,
        PropertyValue::Bool(truth) => Value::Boolean(*truth),
        PropertyValue::Long(number) => Value::Long(*number),
        PropertyValue::Double(number) => Value::Double(*number),
        PropertyValue::String(text) => Value::String(text.as_str().into()),
        PropertyValue::Timestamp(at) => Value::Timestamp(at.as_millis()),
        PropertyValue::Binary(bytes) => Value::Binary(Bytes::copy_from_slice(bytes)),
        PropertyValue::Uuid(uuid) => Value::Uuid(*uuid),
    }
}
