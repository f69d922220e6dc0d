//! One event: the body is its body, byte for byte, whatever it holds.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use bytes::Bytes;
use tidegate_model::event::{EventData, PropertyValue};

use super::error::ErrorResponse;
use super::properties::{self, BrokerProperties};

/// The event of a request. `content-type` and `content-encoding` go with it, so that whoever reads it knows what its
/// bytes are.
pub(super) fn event_of(headers: &HeaderMap, body: Bytes) -> Result<EventData, ErrorResponse> {
    let broker = BrokerProperties::of_header(headers)?;
    let mut system = Vec::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = text_of(headers, &name)? {
            system.push((name.as_str().to_owned(), PropertyValue::from(value)));
        }
    }
    system.extend(broker.system.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(EventData {
        partition_key: broker.partition_key,
        properties: properties::of_headers(headers)?.into_iter().collect(),
        system_properties: system.into_iter().collect(),
        body,
        amqp: None,
    })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ErrorResponse> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| {
        ErrorResponse::bad_request(format!("the header {name} is no plain text"), "send ASCII text in it")
    })
}
