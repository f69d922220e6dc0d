//! Requests to `$cbs` and `$management`, and their replies.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_amqp::codec::message::{Body, Message, MessageBuilder, MessageId, Properties};
use tidegate_amqp::codec::value::Value;

use super::error::shortened;

/// The address that replies are sent to: that of our link that receives them.
pub(super) const REPLY_TO: &str = "tidegate-replies";

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) properties: Vec<(&'static str, Value)>,
    pub(super) body: Value,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// As in HTTP.
    pub(super) status: i64,
    pub(super) description: String,
    pub(super) body: Option<Value>,
}

/// The message of a request, which the reply names by `id`.
pub(super) fn encode(id: u64, request: &Request) -> Bytes {
    let properties = Properties {
        message_id: Some(MessageId::String(id.to_string().into())),
        reply_to: Some(ByteString::from_static(REPLY_TO)),
        ..Properties::default()
    };
    let mut message = MessageBuilder::new().properties(properties);
    for (name, value) in &request.properties {
        message = message.application_property(*name, value.clone());
    }
    message.value(request.body.clone()).encode()
}

/// The reply in a message, and the request it answers.
pub(super) fn read_reply(payload: Bytes) -> Result<(u64, Reply), String> {
    let message = Message::parse(payload).map_err(|error| error.to_string())?;
    let properties = message.properties().map_err(|error| error.to_string())?.unwrap_or_default();
    let id = match &properties.correlation_id {
        Some(MessageId::String(id)) => id.parse().ok(),
        Some(MessageId::Ulong(id)) => Some(*id),
        _ => None,
    };
    let id = id.ok_or("it has no correlation-id of ours")?;
    let mut status = None;
    let mut description = String::new();
    for pair in message.application_properties() {
        let (name, value) = pair.map_err(|error| error.to_string())?;
        match &*name {
            "status-code" | "statusCode" => status = value.as_i64(),
            "status-description" | "statusDescription" => {
                description = shortened(value.as_str().unwrap_or_default());
            }
            _ => {}
        }
    }
    let body = match message.body().map_err(|error| error.to_string())? {
        Body::Value(value) => Some(value),
        _ => None,
    };
    Ok((id, Reply { status: status.ok_or("it has no status-code")?, description, body }))
}
