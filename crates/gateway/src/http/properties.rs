//! Properties of events as HTTP clients send them.
//!
//! - `BrokerProperties` is a JSON object, in a header for one event and in the body for a batch. It holds the partition
//!   key and what becomes system properties; other names in it are ignored, as the service does.
//! - Every other header of a single event that is no header of HTTP itself, of its usual extensions or of a proxy is an
//!   application property: see [`is_property`]. HTTP makes no difference between upper and lower case in header names;
//!   the property's name is in lower case.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use tidegate_model::event::{MAX_PARTITION_KEY_BYTES, PropertyValue};

use super::error::ErrorResponse;

/// What `BrokerProperties` says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct BrokerProperties {
    /// The partition key; an empty one counts as none, as with Event Hubs' clients.
    pub(super) partition_key: Option<ByteString>,
    /// The system properties.
    pub(super) system: Vec<(&'static str, PropertyValue)>,
}

/// The names in `BrokerProperties` that become system properties, and the AMQP names they become.
const SYSTEM_NAMES: [(&str, &str); 7] = [
    ("MessageId", "message-id"),
    ("CorrelationId", "correlation-id"),
    ("Label", "subject"),
    ("To", "to"),
    ("ReplyTo", "reply-to"),
    ("SessionId", "group-id"),
    ("ReplyToSessionId", "reply-to-group-id"),
];

impl BrokerProperties {
    /// Reads the `BrokerProperties` header, if there is one.
    pub(super) fn of_header(headers: &HeaderMap) -> Result<Self, ErrorResponse> {
        let Some(value) = headers.get("brokerproperties") else { return Ok(Self::default()) };
        serde_json::from_slice(value.as_bytes()).map_err(|error| {
            ErrorResponse::bad_request(
                format!("the header BrokerProperties cannot be read: {error}"),
                r#"send a JSON object such as {"PartitionKey":"device-1"}"#,
            )
        })
    }
}

impl<'de> Deserialize<'de> for BrokerProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BrokerPropertiesVisitor)
    }
}

struct BrokerPropertiesVisitor;

impl<'de> Visitor<'de> for BrokerPropertiesVisitor {
    type Value = BrokerProperties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of broker properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BrokerProperties, A::Error> {
        let mut properties = BrokerProperties::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "PartitionKey" {
                let key = map.next_value::<Option<String>>()?.filter(|key| !key.is_empty());
                properties.partition_key = key.map(Into::into);
            } else if let Some((_, system_name)) = SYSTEM_NAMES.iter().find(|(known, _)| *known == name) {
                let Scalar(value) = map.next_value()?;
                if value != PropertyValue::Null {
                    properties.system.push((system_name, value));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(properties)
    }
}

/// An object of application properties, in its order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct UserProperties(pub(super) Vec<(String, PropertyValue)>);

impl<'de> Deserialize<'de> for UserProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UserPropertiesVisitor)
    }
}

struct UserPropertiesVisitor;

impl<'de> Visitor<'de> for UserPropertiesVisitor {
    type Value = UserProperties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UserProperties, A::Error> {
        let mut properties = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Scalar(value) = map.next_value()?;
            properties.push((name, value));
        }
        Ok(UserProperties(properties))
    }
}

/// A property's value in JSON: anything but an object or an array.
struct Scalar(PropertyValue);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Self)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = PropertyValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false or null as the value of a property")
    }

    fn visit_unit<E>(self) -> Result<PropertyValue, E> {
        Ok(PropertyValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<PropertyValue, E> {
        Ok(PropertyValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<PropertyValue, E> {
        Ok(PropertyValue::Long(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<PropertyValue, E> {
        let too_large =
            |_| E::custom(format!("{value} does not fit into 64 bits with a sign: send it as text"));
        i64::try_from(value).map(PropertyValue::Long).map_err(too_large)
    }

    fn visit_f64<E>(self, value: f64) -> Result<PropertyValue, E> {
        Ok(PropertyValue::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<PropertyValue, E> {
        Ok(value.into())
    }
}

/// The application properties among the headers of a single event, in their order.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Vec<(ByteString, PropertyValue)>, ErrorResponse> {
    (headers.iter())
        .filter(|(name, _)| is_property(name))
        .map(|(name, value)| Ok((ByteString::from(name.as_str()), header_value(name, value)?)))
        .collect()
}

/// A property's value in a header: `"text"` in quotes, a number, `true` or `false`; anything else is text as it stands.
fn header_value(name: &HeaderName, value: &HeaderValue) -> Result<PropertyValue, ErrorResponse> {
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
        return Err(ErrorResponse::bad_request(
            format!("the header {name} is no UTF-8 text"),
            "send properties as UTF-8 text, or other bytes within the body",
        ));
    };
    let text = text.trim_matches([' ', '\t']);
    if text.starts_with('"')
        && let Ok(unquoted) = serde_json::from_str(text)
    {
        return Ok(PropertyValue::String(unquoted));
    }
    Ok(match text {
        "true" => PropertyValue::Bool(true),
        "false" => PropertyValue::Bool(false),
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

/// A number as JSON writes it, if nothing of it is lost: `007` and numbers beyond 64 bits stay text.
fn number(text: &str) -> Option<PropertyValue> {
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    match serde_json::from_str::<serde_json::Number>(text).ok()? {
        number if number.is_i64() => number.as_i64().map(PropertyValue::Long),
        number if number.is_u64() => None,
        _ if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => None,
        number => number.as_f64().filter(|value| value.is_finite()).map(PropertyValue::Double),
    }
}

/// Headers of HTTP and of what clients, browsers, proxies and the service put around a request, by their beginning.
const NO_PROPERTY_PREFIXES: &[&str] = &[
    "accept",
    "access-control-",
    "content-",
    "if-",
    "proxy-",
    "sec-",
    "servicebus",
    "x-forwarded-",
    "x-ms-",
];

/// The same, by their whole name.
const NO_PROPERTY: &[&str] = &[
    "alt-used",
    "authorization",
    "brokerproperties",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "dnt",
    "early-data",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "range",
    "referer",
    "save-data",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "warning",
    "x-real-ip",
];

/// True for a header that is an application property.
///
/// The rule leaves out only what is known to belong to the request itself, so that no property is lost: a new kind of
/// proxy header becomes a property, which does no harm. The trace headers `traceparent`, `tracestate` and `baggage` are
/// properties, so a trace goes on behind the log.
fn is_property(name: &HeaderName) -> bool {
    let name = name.as_str();
    !NO_PROPERTY.contains(&name) && !NO_PROPERTY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Checks the length of a partition key.
pub(super) fn check_key(key: &str, what: impl fmt::Display) -> Result<(), ErrorResponse> {
    if key.len() <= MAX_PARTITION_KEY_BYTES {
        return Ok(());
    }
    Err(ErrorResponse::bad_request(
        format!("{what} is {} bytes long; a partition key has at most {MAX_PARTITION_KEY_BYTES}", key.len()),
        "use a shorter key, such as the id of a device",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> PropertyValue {
        header_value(&HeaderName::from_static("x"), &HeaderValue::from_bytes(text.as_bytes()).unwrap())
            .unwrap()
    }

    #[test]
    fn header_values_have_types() {
        for (text, expected) in [
            (r#""quoted""#, PropertyValue::from("quoted")),
            (r#""12""#, "12".into()),
            (r#""a \"b\"""#, "a \"b\"".into()),
            (r#""open"#, "\"open".into()),
            ("plain", "plain".into()),
            ("12345,ABC", "12345,ABC".into()),
            ("12", PropertyValue::Long(12)),
            ("-9223372036854775808", PropertyValue::Long(i64::MIN)),
            ("9223372036854775808", "9223372036854775808".into()),
            ("99999999999999999999999", "99999999999999999999999".into()),
            ("007", "007".into()),
            ("1.5", PropertyValue::Double(1.5)),
            ("-1e3", PropertyValue::Double(-1000.0)),
            ("1e999", "1e999".into()),
            ("true", PropertyValue::Bool(true)),
            ("False", "False".into()),
            ("", "".into()),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        let bytes = HeaderValue::from_bytes(b"\xff").unwrap();
        assert!(header_value(&HeaderName::from_static("x"), &bytes).is_err());
    }

    #[test]
    fn headers_of_the_request_itself_are_no_properties() {
        for name in
            ["Host", "Content-Type", "Authorization", "User-Agent", "Accept-Encoding", "X-Forwarded-For"]
        {
            assert!(!is_property(&name.parse().unwrap()), "{name}");
        }
        for name in ["Alert", "Priority", "X-Device", "traceparent", "my-content-type"] {
            assert!(is_property(&name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn broker_properties_give_the_key_and_system_properties() {
        let json =
            r#"{"PartitionKey":"k","MessageId":"m","CorrelationId":7,"Label":null,"TimeToLive":{"x":[]}}"#;
        let properties: BrokerProperties = serde_json::from_str(json).unwrap();
        assert_eq!(
            properties,
            BrokerProperties {
                partition_key: Some("k".into()),
                system: vec![("message-id", "m".into()), ("correlation-id", PropertyValue::Long(7))],
            }
        );
        let none: BrokerProperties = serde_json::from_str(r#"{"PartitionKey":""}"#).unwrap();
        assert_eq!(none, BrokerProperties::default());
        assert!(serde_json::from_str::<BrokerProperties>(r#"{"PartitionKey":7}"#).is_err());
    }
}
