//! A batch: `[{"Body":"…","UserProperties":{…},"BrokerProperties":{"PartitionKey":"…"}}, …]`.
//!
//! All events of a batch go to one partition in one append, all or nothing, so they must agree on the key. Source: "Send
//! batch events", REST reference of Event Hubs.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_model::event::EventData;

use super::error::ErrorResponse;
use super::properties::{BrokerProperties, UserProperties};

/// The most memory that the events of a batch take for each byte of its JSON, with what they are kept in: the smallest
/// property, `"":0,`, takes five bytes, the smallest event, `{"Body":""},`, twelve.
pub(super) const MEMORY_PER_BYTE: usize = 16;

const ACTION: &str = r#"send an array such as [{"Body":"text","UserProperties":{"name":"value"},"BrokerProperties":{"PartitionKey":"key"}}]"#;

#[derive(Deserialize)]
struct BatchEvent {
    #[serde(rename = "Body")]
    body: String,
    #[serde(rename = "UserProperties", default)]
    user_properties: Option<UserProperties>,
    #[serde(rename = "BrokerProperties", default)]
    broker_properties: Option<BrokerProperties>,
}

/// The events of a batch; all have the same key or none.
pub(super) fn events_of(body: &[u8]) -> Result<Vec<EventData>, ErrorResponse> {
    let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        ErrorResponse::bad_request(format!("the body is no JSON array of events: {error}"), ACTION)
    })?;
    let mut events: Vec<EventData> = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let event: BatchEvent = serde_json::from_str(element.get()).map_err(|error| {
            ErrorResponse::bad_request(format!("event {index} of the batch cannot be read: {error}"), ACTION)
        })?;
        let event = event.into_event_data();
        if let Some(first) = events.first()
            && first.partition_key != event.partition_key
        {
            return Err(mixed_keys(index, first, &event));
        }
        events.push(event);
    }
    Ok(events)
}

impl BatchEvent {
    fn into_event_data(self) -> EventData {
        let broker = self.broker_properties.unwrap_or_default();
        EventData {
            partition_key: broker.partition_key,
            properties: self.user_properties.unwrap_or_default().0.into_iter().collect(),
            system_properties: broker.system.into_iter().collect(),
            body: self.body.into(),
            amqp: None,
        }
    }
}

fn mixed_keys(index: usize, first: &EventData, event: &EventData) -> ErrorResponse {
    let named = |event: &EventData| match &event.partition_key {
        Some(key) => format!("the key {:?}", key.chars().take(64).collect::<String>()),
        None => "no key".to_owned(),
    };
    ErrorResponse::bad_request(
        format!(
            "event {index} of the batch has {}, but event 0 has {}: the events of a batch are stored together in one \
             partition",
            named(event),
            named(first)
        ),
        "send one batch for each partition key, or lines with Content-Type: application/x-ndjson and \
         ?key=/path/to/key",
    )
}

#[cfg(test)]
mod tests {
    use tidegate_model::event::PropertyValue;

    use super::*;

    #[test]
    fn properties_of_every_json_type_are_taken() {
        let events = events_of(
            br#" [ {"Body":"a\u0000\u00e9","UserProperties":{"null":null,"yes":true,"no":false,"int":-7,
                   "float":1.5,"big":9223372036854775807,"text":"t","exp":1e3},
                   "BrokerProperties":{"PartitionKey":"k","MessageId":"m"},"Unknown":[{}]},
                  {"Body":"","UserProperties":null,"BrokerProperties":{"PartitionKey":"k"}} ] "#,
        )
        .unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(&events[0].body[..], "a\0é".as_bytes());
        assert_eq!(events[0].partition_key.as_deref(), Some("k"));
        assert_eq!(events[0].system_properties.get("message-id"), Some(&"m".into()));
        let expected = [
            ("null", PropertyValue::Null),
            ("yes", PropertyValue::Bool(true)),
            ("no", PropertyValue::Bool(false)),
            ("int", PropertyValue::Long(-7)),
            ("float", PropertyValue::Double(1.5)),
            ("big", PropertyValue::Long(i64::MAX)),
            ("text", "t".into()),
            ("exp", PropertyValue::Double(1000.0)),
        ];
        assert_eq!(events[0].properties, expected.into_iter().collect());
        assert!(events[1].body.is_empty() && events[1].properties.is_empty());
        assert!(events_of(b"[]").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_place() {
        for (body, complaint) in [
            (&b""[..], "no JSON array"),
            (b"{}", "no JSON array"),
            (b"[{\"Body\":\"a\"}", "no JSON array"),
            (b"[{\"Body\":\"a\"}] x", "no JSON array"),
            (b"[\xff]", "no JSON array"),
            (b"[{\"Body\":\"a\"},{}]", "event 1 of the batch cannot be read: missing field `Body`"),
            (b"[{\"Body\":{}}]", "event 0"),
            (b"[{\"Body\":\"a\",\"Body\":\"b\"}]", "event 0"),
            (b"[{\"Body\":\"a\",\"UserProperties\":{\"x\":{}}}]", "a text, a number, true, false or null"),
            (b"[{\"Body\":\"a\",\"UserProperties\":{\"x\":[1]}}]", "a text, a number, true, false or null"),
            (b"[{\"Body\":\"a\",\"UserProperties\":{\"x\":9223372036854775808}}]", "send it as text"),
            (b"[{\"Body\":\"a\",\"BrokerProperties\":{\"PartitionKey\":1}}]", "event 0"),
        ] {
            let error = format!("{:?}", events_of(body).unwrap_err());
            assert!(error.contains(complaint), "{}: {error}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_batch_has_one_key() {
        let with_key = |key: &str| format!(r#"{{"Body":"x","BrokerProperties":{{"PartitionKey":"{key}"}}}}"#);
        for other in [with_key("b"), r#"{"Body":"x"}"#.to_owned()] {
            let error = events_of(format!("[{0},{0},{other}]", with_key("a")).as_bytes()).unwrap_err();
            let error = format!("{error:?}");
            assert!(error.contains("event 2 of the batch has") && error.contains("event 0 has"), "{error}");
        }
    }
}
