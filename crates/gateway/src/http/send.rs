//! From a send request to an append: who asks, which hub, which partition, which form of body.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytestring::ByteString;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::EventData;
use tidegate_model::partitioner::Route;
use tidegate_model::position::PartitionId;

use super::body::{body_too_large, declared_length, read_whole};
use super::bulk::LineRoute;
use super::described::{Options, Published};
use super::error::ErrorResponse;
use super::lines::Encoding;
use super::parameters::Parameters;
use super::properties::check_key;
use super::{batch, event, lines};
use crate::admission::{EVENT_OVERHEAD_BYTES, Reservation};
use crate::auth::{AuthError, Principal, Right};
use crate::json_pointer::JsonPointer;
use crate::{Gateway, Hub, PublishError};

/// Publishes to a hub: to the partition of the key, or to each in turn.
#[utoipa::path(
    post, path = "/{hub}/messages", tag = "publishing",
    params(("hub" = String, Path, description = "The hub"), Options),
    request_body(
        description = "One event, a batch, or lines, as the content type says",
        content(
            (Vec<u8> = "application/octet-stream"), (String = "application/vnd.microsoft.servicebus.json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(Published),
)]
pub(super) async fn to_hub(
    State(gateway): State<Arc<Gateway>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let Path(hub) = path.map_err(unreadable_path)?;
    send(&gateway, Address { hub, part: Part::Hub }, request).await
}

/// Publishes to one partition.
#[utoipa::path(
    post, path = "/{hub}/partitions/{partition}/messages", tag = "publishing",
    params(("hub" = String, Path, description = "The hub"), ("partition" = u32, Path, description = "The partition"), Options),
    request_body(
        description = "One event, a batch, or lines, as the content type says",
        content(
            (Vec<u8> = "application/octet-stream"), (String = "application/vnd.microsoft.servicebus.json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(Published),
)]
pub(super) async fn to_partition(
    State(gateway): State<Arc<Gateway>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let Path((hub, partition)) = path.map_err(unreadable_path)?;
    send(&gateway, Address { hub, part: Part::Partition(partition) }, request).await
}

/// Publishes to the partition of a publisher's name.
#[utoipa::path(
    post, path = "/{hub}/publishers/{publisher}/messages", tag = "publishing",
    params(("hub" = String, Path, description = "The hub"), ("publisher" = String, Path, description = "The key of all events"), Options),
    request_body(
        description = "One event, a batch, or lines, as the content type says",
        content(
            (Vec<u8> = "application/octet-stream"), (String = "application/vnd.microsoft.servicebus.json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(Published),
)]
pub(super) async fn to_publisher(
    State(gateway): State<Arc<Gateway>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let Path((hub, publisher)) = path.map_err(unreadable_path)?;
    send(&gateway, Address { hub, part: Part::Publisher(publisher) }, request).await
}

fn unreadable_path(error: PathRejection) -> ErrorResponse {
    ErrorResponse::bad_request(format!("the address cannot be read: {error}"), "percent-encode it as UTF-8")
}

/// What a request is addressed to, decoded but not checked.
struct Address {
    hub: String,
    part: Part,
}

enum Part {
    Hub,
    Partition(String),
    Publisher(String),
}

impl Address {
    /// The path a caller must be authorised for. A name with a slash would read as another path, so it is refused.
    fn path(&self) -> Result<String, ErrorResponse> {
        let (below, name) = match &self.part {
            Part::Hub => ("/messages", ""),
            Part::Partition(partition) => ("/partitions/", partition.as_str()),
            Part::Publisher(publisher) => ("/publishers/", publisher.as_str()),
        };
        if self.hub.contains('/') || name.contains('/') {
            return Err(ErrorResponse::bad_request(
                "a name in the address holds a slash",
                "use names without slashes",
            ));
        }
        Ok(format!("{}{below}{name}", self.hub))
    }
}

/// The `Authorization` header as text.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    match headers.get(AUTHORIZATION) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| AuthError::NotText),
    }
}

async fn send(gateway: &Gateway, address: Address, request: Request) -> Result<Response, ErrorResponse> {
    let (head, body) = request.into_parts();
    let authorization = authorization(&head.headers)?;
    gateway.authorizer.fetch_keys(authorization, &gateway.clock).await;
    let principal =
        gateway.authorizer.authorize(authorization, Right::Send, &address.path()?, gateway.clock.now())?;
    let hub = gateway.hub(&address.hub).ok_or_else(|| no_such_hub(gateway, &principal, &address.hub))?;
    let parameters = Parameters::of(&head.uri)?;
    let target = Target::of(address.part, parameters.partition, &hub)?;
    let sending = Sending {
        wait: parameters.timeout.unwrap_or(gateway.limits.append_wait),
        trace: head.headers.get(TRACEPARENT).and_then(|trace| trace.to_str().ok()).map(Arc::from),
    };

    let form = Form::of(&head.headers);
    if let (Form::Event | Form::Batch, Some(_)) = (form, &parameters.key) {
        return Err(ErrorResponse::bad_request(
            "the parameter key is for lines, but the body is not declared as lines",
            "send lines with the header Content-Type: application/x-ndjson",
        ));
    }
    match form {
        Form::Event => {
            let _reservation = reserve(gateway, declared_length(&body), 1).await?;
            let body = read_whole(body, &*gateway.clock, &gateway.limits).await?;
            let event = event::event_of(&head.headers, body)?;
            append(gateway, &hub, target, vec![event], &sending).await
        }
        Form::Batch => {
            encoding_of(&head.headers, &[Encoding::Plain])?;
            let _reservation = reserve(gateway, declared_length(&body), batch::MEMORY_PER_BYTE).await?;
            let body = read_whole(body, &*gateway.clock, &gateway.limits).await?;
            append(gateway, &hub, target, batch::events_of(&body)?, &sending).await
        }
        Form::Lines => {
            let encoding = encoding_of(&head.headers, &[Encoding::Plain, Encoding::Gzip])?;
            let route = target.for_lines(parameters.key)?;
            lines::publish(gateway, hub, route, body, encoding, sending).await
        }
    }
}

/// How the events of a request are published.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    /// How long an append may take.
    pub(super) wait: Duration,
    /// The trace that the request belongs to, as its header says.
    pub(super) trace: Option<Arc<str>>,
}

/// The header of the W3C's Trace Context.
const TRACEPARENT: &str = "traceparent";

/// Reserves the memory for a request whose body is read as a whole.
async fn reserve(
    gateway: &Gateway,
    length: Option<usize>,
    memory_per_byte: usize,
) -> Result<Reservation, ErrorResponse> {
    let limit = gateway.limits.request_bytes;
    let length = length.unwrap_or(limit);
    if length > limit {
        return Err(body_too_large(limit));
    }
    let bytes = length.saturating_mul(memory_per_byte) + EVENT_OVERHEAD_BYTES;
    Ok(gateway.admission.reserve(bytes, &*gateway.clock).await?)
}

/// Appends the events of a request, all or nothing, and answers after they are durable.
async fn append(
    gateway: &Gateway,
    hub: &Hub,
    target: Target,
    mut events: Vec<EventData>,
    sending: &Sending,
) -> Result<Response, ErrorResponse> {
    let target = target.with_key_of(events.first())?;
    if let Target::Key(key) = &target {
        for event in &mut events {
            event.partition_key = Some(key.clone());
        }
    }
    let bytes = events.iter().map(|event| event.published_size() as u64).sum();
    hub.admit(bytes, events.len() as u64, &*gateway.clock)?;
    let partition = hub.choose(target.route()).map_err(PublishError::from)?;
    let Sending { wait, trace } = sending;
    hub.publish_in(trace.as_deref(), partition, events, &*gateway.clock, *wait).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Where the events of a request go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    InTurn,
    Key(ByteString),
    Partition(PartitionId),
}

impl Target {
    fn of(part: Part, parameter: Option<PartitionId>, hub: &Hub) -> Result<Self, ErrorResponse> {
        let target = match (part, parameter) {
            (Part::Hub, None) => Self::InTurn,
            (Part::Hub, Some(partition)) => Self::Partition(partition),
            (Part::Partition(_) | Part::Publisher(_), Some(_)) => {
                return Err(ErrorResponse::bad_request(
                    "the parameter partition does not go with this address",
                    "send to /{hub}/messages?partition=N or to /{hub}/partitions/N/messages",
                ));
            }
            (Part::Partition(text), None) => Self::Partition(partition_number(&text, hub)?),
            (Part::Publisher(name), None) => {
                check_key(&name, "the name of the publisher")?;
                Self::Key(name.into())
            }
        };
        // The partition is checked before the body is read.
        if let Self::Partition(partition) = target {
            hub.choose(Route::Partition(partition))?;
        }
        Ok(target)
    }

    /// The target of events that bring this key along.
    fn with_key_of(self, event: Option<&EventData>) -> Result<Self, ErrorResponse> {
        let Some(key) = event.and_then(|event| event.partition_key.clone()) else { return Ok(self) };
        check_key(&key, "the PartitionKey in BrokerProperties")?;
        match self {
            Self::InTurn => Ok(Self::Key(key)),
            Self::Key(publisher) if publisher == key => Ok(Self::Key(key)),
            Self::Key(_) => Err(ErrorResponse::bad_request(
                "the PartitionKey in BrokerProperties is not the name of the publisher",
                "leave out the PartitionKey: the publisher's name is the key",
            )),
            Self::Partition(_) => Err(ErrorResponse::bad_request(
                "the request names both a partition and a PartitionKey",
                "leave one of them out: the key decides the partition",
            )),
        }
    }

    fn for_lines(self, key: Option<JsonPointer>) -> Result<LineRoute, ErrorResponse> {
        match (self, key) {
            (Self::InTurn, None) => Ok(LineRoute::InTurn),
            (Self::InTurn, Some(pointer)) => Ok(LineRoute::KeyInLine(pointer)),
            (Self::Key(key), None) => Ok(LineRoute::Key(key)),
            (Self::Partition(partition), None) => Ok(LineRoute::Partition(partition)),
            (Self::Key(_) | Self::Partition(_), Some(_)) => Err(ErrorResponse::bad_request(
                "the request names both a key in the lines and a partition or publisher",
                "leave one of them out: the key decides the partition",
            )),
        }
    }

    fn route(&self) -> Route<'_> {
        match self {
            Self::InTurn => Route::Any,
            Self::Key(key) => Route::Key(key),
            Self::Partition(partition) => Route::Partition(*partition),
        }
    }
}

fn partition_number(text: &str, hub: &Hub) -> Result<PartitionId, ErrorResponse> {
    text.parse().map(PartitionId).map_err(|_| {
        let text: String = text.chars().take(64).collect();
        ErrorResponse::new(
            StatusCode::NOT_FOUND,
            ErrorCode::NOT_FOUND,
            format!(
                "the hub {} has no partition {text:?}; it has {}, numbered from 0",
                hub.name(),
                hub.partition_count()
            ),
            "send to one of these partitions, or to the hub",
        )
    })
}

fn no_such_hub(gateway: &Gateway, principal: &Principal, asked: &str) -> ErrorResponse {
    let asked: String = asked.chars().take(256).collect();
    let mut message = format!("there is no hub {asked:?}");
    // Only who may know of every hub is told the names of others.
    if principal.namespace_wide {
        let nearest: Vec<_> = gateway.nearest_hubs(&asked).iter().map(ToString::to_string).collect();
        if !nearest.is_empty() {
            message.push_str("; the nearest names are ");
            message.push_str(&nearest.join(", "));
        }
    }
    ErrorResponse::new(
        StatusCode::NOT_FOUND,
        ErrorCode::NOT_FOUND,
        message,
        "check the name, or declare the hub in the server's configuration",
    )
}

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Event,
    Batch,
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name);
        if is("application/vnd.microsoft.servicebus.json") {
            Self::Batch
        } else if is("application/x-ndjson") || is("application/ndjson") {
            Self::Lines
        } else {
            Self::Event
        }
    }
}

fn encoding_of(headers: &HeaderMap, accepted: &[Encoding]) -> Result<Encoding, ErrorResponse> {
    let value = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes());
    let encoding = match value.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Some(Encoding::Plain),
        b"gzip" | b"x-gzip" => Some(Encoding::Gzip),
        _ => None,
    };
    encoding.filter(|encoding| accepted.contains(encoding)).ok_or_else(|| {
        ErrorResponse::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::BAD_REQUEST,
            format!("the Content-Encoding {:?} is not taken here", String::from_utf8_lossy(value)),
            "send the body plain; lines may also be packed with gzip",
        )
    })
}
