//! Requests and replies: `$cbs` takes tokens, `$management` tells about hubs and partitions.
//!
//! Forms and names are those that Event Hubs' clients send and read. A reply repeats the request's message id, in its own
//! type, as its correlation id.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_amqp::codec::message::{Body, Message, MessageBuilder, MessageId, Properties};
use tidegate_amqp::codec::value::{Array, Map, Value};
use tidegate_model::clock::Timestamp;
use tidegate_model::position::PartitionId;

use super::node::PartitionName;
use super::refusals::no_such_partition_text;
use crate::audience::ResourcePath;
use crate::auth::{Grant, Grants, PutToken, TokenRefused};
use crate::{Gateway, Hub};

/// What a connection is answered on a request link.
#[derive(Debug)]
pub(super) struct Reply {
    /// Where it goes: the address or the name of a link that receives; `None` for the one beside the request's.
    pub(super) to: Option<ByteString>,
    /// The encoded message.
    pub(super) message: Bytes,
}

/// An answer before it is a message.
struct Answer {
    status: i32,
    description: String,
    condition: Option<&'static str>,
    body: Option<Map>,
}

impl Answer {
    fn of(status: i32, description: impl Into<String>) -> Self {
        let condition = match status {
            400 => Some("com.microsoft:argument-error"),
            401 => Some("amqp:unauthorized-access"),
            404 => Some("amqp:not-found"),
            _ => None,
        };
        Self { status, description: description.into(), condition, body: None }
    }

    fn reply_to(self, request: &Request) -> Reply {
        let properties = Properties { correlation_id: request.message_id.clone(), ..Properties::default() };
        let mut message = MessageBuilder::new()
            .properties(properties)
            .application_property("status-code", Value::Int(self.status))
            .application_property("status-description", Value::String(self.description.into()));
        if let Some(condition) = self.condition {
            message = message.application_property("error-condition", Value::String(condition.into()));
        }
        let message = match self.body {
            Some(map) => message.value(Value::Map(map)),
            None => message.value(Value::Null),
        };
        Reply { to: request.reply_to.clone(), message: message.encode() }
    }
}

/// What every request says.
#[derive(Default)]
struct Request {
    message_id: Option<MessageId>,
    reply_to: Option<ByteString>,
    properties: Vec<(ByteString, Value)>,
    body: Option<Body>,
}

impl Request {
    /// Reads a request as far as it can be read, so that even a malformed one is answered.
    fn read(payload: Bytes) -> Self {
        let Ok(message) = Message::parse(payload) else { return Self::default() };
        let standard = message.properties().ok().flatten().unwrap_or_default();
        Self {
            message_id: standard.message_id,
            reply_to: standard.reply_to,
            properties: message.application_properties().map_while(Result::ok).take(MAX_PROPERTIES).collect(),
            body: message.body().ok(),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(candidate, _)| &**candidate == name)?.1.as_str()
    }
}

/// More than any request has.
const MAX_PROPERTIES: usize = 32;

/// The access token in a request, if the keys that it may be signed with must be asked for before it can be judged.
pub(super) fn token_before_its_keys(gateway: &Gateway, payload: &Bytes) -> Option<String> {
    let (authorizer, now) = (gateway.authorizer(), gateway.clock.monotonic());
    if !authorizer.takes_published_tokens() {
        return None;
    }
    let request = Request::read(payload.clone());
    let token = match (request.text("security_token"), &request.body) {
        (Some(token), _) => token,
        (None, Some(Body::Value(Value::String(token)))) => token,
        _ => return None,
    };
    authorizer.would_ask_for_keys(token, now).then(|| token.to_owned())
}

/// Answers a request to `$cbs`; the grant is the connection's from now on. Python takes a reply with a condition for one
/// without a status, so there is none.
pub(super) fn put_token(gateway: &Gateway, grants: &mut Grants, payload: Bytes) -> Reply {
    let request = Request::read(payload);
    let answer = match (request.text("operation"), request.text("type"), request.text("name"), &request.body)
    {
        (Some("put-token"), Some(token_type), Some(audience), Some(Body::Value(Value::String(token)))) => {
            let put = PutToken { token_type, audience, token };
            match gateway.put_token(&put) {
                Ok(grant) => granted(gateway, grants, grant),
                Err(refused) => {
                    tracing::info!(error = %refused, "a token was refused");
                    Answer::of(refused.status(), refused.to_string())
                }
            }
        }
        (Some("put-token"), ..) => Answer::of(
            400,
            "put-token needs the application properties type and name, and a body that is the token as a string",
        ),
        (operation, ..) => {
            Answer::of(400, format!("the operation {operation:?} is not known; $cbs takes put-token"))
        }
    };
    Answer { condition: None, ..answer }.reply_to(&request)
}

fn granted(gateway: &Gateway, grants: &mut Grants, grant: Grant) -> Answer {
    match grants.put(grant, gateway.clock.now()) {
        Ok(()) => Answer::of(202, "Accepted"),
        Err(too_many) => Answer::of(403, too_many.to_string()),
    }
}

/// Answers a request to `$management`.
pub(super) fn manage(gateway: &Gateway, grants: &Grants, payload: Bytes) -> Reply {
    let request = Request::read(payload);
    answer_about(gateway, grants, &request).reply_to(&request)
}

fn answer_about(gateway: &Gateway, grants: &Grants, request: &Request) -> Answer {
    if request.text("operation") != Some("READ") {
        let operation = request.text("operation");
        return Answer::of(400, format!("the operation {operation:?} is not known; $management takes READ"));
    }
    let Some(name) = request.text("name") else {
        return Answer::of(400, "READ needs the application property name: a hub's");
    };
    let now = gateway.clock.now();
    let path = match ResourcePath::of_path(name) {
        Ok(path) => path,
        Err(problem) => return Answer::of(400, problem.to_string()),
    };
    if let Err(denied) = may_look(gateway, grants, request, &path, now) {
        return Answer::of(401, denied);
    }
    let Some(hub) = gateway.hub(name) else {
        return Answer::of(404, format!("The messaging entity '{name}' could not be found."));
    };
    match (request.text("type"), request.text("partition")) {
        (Some("com.microsoft:eventhub"), _) => about_hub(&hub),
        (Some("com.microsoft:partition"), Some(partition)) => about_partition(&hub, partition, now),
        (Some("com.microsoft:partition"), None) => {
            Answer::of(400, "READ of com.microsoft:partition needs the application property partition")
        }
        (other, _) => Answer::of(
            400,
            format!(
                "the type {other:?} is not known; there are com.microsoft:eventhub and com.microsoft:partition"
            ),
        ),
    }
}

/// Clients put a token on the connection before, or give one with the request, or both.
fn may_look(
    gateway: &Gateway,
    grants: &Grants,
    request: &Request,
    path: &ResourcePath,
    now: Timestamp,
) -> Result<(), String> {
    let Err(denied) = grants.allows_looking(path, now) else { return Ok(()) };
    // A token that was put for the node alone is one for the hub that it tells about.
    let of_node = path.hub().and_then(|hub| ResourcePath::management_of(hub).ok());
    if of_node.is_some_and(|node| grants.allows_looking(&node, now).is_ok()) {
        return Ok(());
    }
    let Some(token) = request.text("security_token") else { return Err(denied.to_string()) };
    let token_type = if token.starts_with("SharedAccessSignature ") { SAS } else { "jwt" };
    let audience = path.to_string();
    match gateway.put_token(&PutToken { token_type, audience: &audience, token }) {
        Ok(grant) if grant.path.covers(path) && !grant.rights.is_empty() => Ok(()),
        // Which hubs there are is told below.
        Err(TokenRefused::NotFound { .. }) => Ok(()),
        Ok(_) => Err(denied.to_string()),
        Err(refused) => Err(refused.to_string()),
    }
}

const SAS: &str = "servicebus.windows.net:sastoken";

fn about_hub(hub: &Hub) -> Answer {
    let partitions = 0..hub.partition_count();
    let body = Map::new()
        .with("name", Value::String(hub.name().as_str().into()))
        .with("type", Value::String("com.microsoft:eventhub".into()))
        .with("created_at", Value::Timestamp(hub.created_at().as_millis()))
        .with("partition_count", Value::Int(i32::try_from(hub.partition_count()).unwrap_or(i32::MAX)))
        .with("partition_ids", Value::Array(Array::of_strings(partitions.map(|id| id.to_string()))))
        .with("georeplication_factor", Value::Int(1));
    Answer { body: Some(body), ..Answer::of(200, "OK") }
}

fn about_partition(hub: &Hub, partition: &str, now: Timestamp) -> Answer {
    let id = PartitionName::new(partition).id.filter(|PartitionId(id)| *id < hub.partition_count());
    let status = id.and_then(|id| hub.log()?.status(id).ok());
    let Some(status) = status else {
        let text = no_such_partition_text(hub.partition_count());
        return Answer { condition: Some("com.microsoft:argument-out-of-range"), ..Answer::of(400, text) };
    };
    let ends = status.ends();
    let number = |number: u64| Value::Long(i64::try_from(number).unwrap_or(i64::MAX));
    let last_offset = ends.last_offset().map_or_else(|| "-1".to_owned(), |offset| offset.to_string());
    let body = Map::new()
        .with("name", Value::String(hub.name().as_str().into()))
        .with("type", Value::String("com.microsoft:partition".into()))
        .with("partition", Value::String(partition.into()))
        .with("begin_sequence_number", number(ends.head.0))
        .with("begin_sequence_number_epoch", Value::Int(-1))
        .with("last_enqueued_sequence_number", ends.last().map_or(Value::Long(-1), |last| number(last.0)))
        .with("last_enqueued_sequence_number_epoch", Value::Int(-1))
        .with("last_enqueued_offset", Value::String(last_offset.into()))
        .with(
            "last_enqueued_time_utc",
            Value::Timestamp(ends.last_enqueued_at.map_or(0, Timestamp::as_millis)),
        )
        .with("is_partition_empty", Value::Boolean(ends.is_empty()))
        .with("runtime_info_retrieval_time_utc", Value::Timestamp(now.as_millis()));
    Answer { body: Some(body), ..Answer::of(200, "OK") }
}
