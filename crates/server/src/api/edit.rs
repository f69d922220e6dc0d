//! An edit of an event: what a person says, made into the event's newest revision (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use tidegate_api::{self as shapes, EventEdit};
use tidegate_model::event::{EventData, MAX_EVENT_BYTES, Properties, PropertyValue};

use crate::api::diff;

/// Why an edit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// Both forms of the body are given, and they differ.
    #[error("body and body_base64 say different things")]
    TwoBodies,
    /// The body is no base64.
    #[error("body_base64 is no base64: {0}")]
    NoBase64(String),
    /// The key would be another.
    #[error(
        "the partition key cannot be changed: it is {0:?}, and the event's place in the order hangs on it"
    )]
    OtherKey(Option<String>),
    /// The event would be too large.
    #[error("the event would have {0} bytes, and the limit is {MAX_EVENT_BYTES}")]
    TooLarge(usize),
    /// A property has no value that an event can hold.
    #[error("the property {0:?} is neither null, a truth value, a number, text nor a list of bytes")]
    NoProperty(String),
}

/// The event after an edit.
pub(crate) fn edited(current: &EventData, edit: EventEdit) -> Result<EventData, EditError> {
    let key = current.partition_key.as_ref().map(ToString::to_string);
    if edit.partition_key.is_some_and(|named| named != key) {
        return Err(EditError::OtherKey(key));
    }
    let decoded = match &edit.body_base64 {
        Some(text) => {
            Some(STANDARD.decode(text.trim()).map_err(|error| EditError::NoBase64(error.to_string()))?)
        }
        None => None,
    };
    let body = match (edit.body.map(String::into_bytes), decoded) {
        (Some(text), Some(bytes)) if text != bytes => return Err(EditError::TwoBodies),
        (Some(body), _) | (None, Some(body)) => Bytes::from(body),
        (None, None) => current.body.clone(),
    };
    let event = EventData {
        partition_key: current.partition_key.clone(),
        properties: retyped(&current.properties, edit.properties)?,
        system_properties: retyped(&current.system_properties, edit.system_properties)?,
        body,
        amqp: None,
    };
    let size = event.size();
    if size > MAX_EVENT_BYTES { Err(EditError::TooLarge(size)) } else { Ok(event) }
}

/// What an edit changed, for a person.
pub(crate) fn difference(before: &EventData, after: &EventData) -> String {
    let mut text = diff::of(&before.body, &after.body);
    for (name, before, after) in [
        ("properties", &before.properties, &after.properties),
        ("system properties", &before.system_properties, &after.system_properties),
    ] {
        if before != after {
            let json = |properties| serde_json::to_vec(properties).unwrap_or_default();
            text.push_str(&format!("{name}:\n{}", diff::of(&json(before), &json(after))));
        }
    }
    text
}

/// Properties as a person wrote them. JSON knows fewer types than an event: a value that reads as it did keeps its type, and
/// so does one that fits into the type it had.
fn retyped(current: &Properties, said: Option<shapes::Properties>) -> Result<Properties, EditError> {
    let Some(shapes::Properties(said)) = said else { return Ok(current.clone()) };
    // Unchanged as a whole, also where a name comes twice.
    let same = said.len() == current.len()
        && said.iter().zip(current.iter()).all(|((name, value), (old_name, old))| {
            name == old_name && serde_json::to_value(old).is_ok_and(|old| old == *value)
        });
    if same {
        return Ok(current.clone());
    }
    said.into_iter()
        .map(|(name, value)| match typed(current.get(&name), value) {
            Some(value) => Ok((name, value)),
            None => Err(EditError::NoProperty(name)),
        })
        .collect::<Result<Vec<_>, _>>()
        .map(|list| list.into_iter().collect())
}

fn typed(old: Option<&PropertyValue>, value: Value) -> Option<PropertyValue> {
    if let Some(old) = old
        && serde_json::to_value(old).is_ok_and(|old| old == value)
    {
        return Some(old.clone());
    }
    let fitting = match (old, &value) {
        (Some(PropertyValue::Timestamp(_)), Value::String(text)) => {
            text.parse().ok().map(PropertyValue::Timestamp)
        }
        (Some(PropertyValue::Uuid(_)), Value::String(text)) => text.parse().ok().map(PropertyValue::Uuid),
        (Some(PropertyValue::Double(_)), Value::Number(number)) => number.as_f64().map(PropertyValue::Double),
        _ => None,
    };
    fitting.or_else(|| serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::Timestamp;

    use super::*;

    fn event() -> EventData {
        let properties: Properties = [
            ("time", PropertyValue::Timestamp(Timestamp::from_millis(1000))),
            ("bytes", PropertyValue::Binary(vec![1, 255])),
            ("twice", PropertyValue::Long(1)),
            ("twice", PropertyValue::Double(2.0)),
            ("id", PropertyValue::Uuid(uuid::Uuid::from_u128(7))),
        ]
        .into_iter()
        .collect();
        EventData { properties, ..EventData::new("{\"a\":1}").with_key("k") }
    }

    fn edit(json: &str) -> Result<EventData, EditError> {
        edited(&event(), serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_exported_event_is_an_edit_that_changes_nothing() {
        let properties = serde_json::to_string(&event().properties).unwrap();
        let json = format!(
            r#"{{"partition_key":"k","body":"{{\"a\":1}}","body_base64":"eyJhIjoxfQ==","properties":{properties},
                "system_properties":{{}}}}"#
        );
        assert_eq!(edit(&json).unwrap(), event());
        assert_eq!(edit("{}").unwrap(), event());
    }

    #[test]
    fn what_is_said_changes_and_types_stay() {
        let json = r#"{"body":"x","properties":{"time":"1970-01-01T00:00:02Z","bytes":[1,255],"new":true,
            "id":"no uuid","twice":3}}"#;
        let edited = edit(json).unwrap();
        assert_eq!(edited.body, "x");
        let value = |name| edited.properties.get(name).unwrap().clone();
        assert_eq!(value("time"), PropertyValue::Timestamp(Timestamp::from_millis(2000)));
        assert_eq!(value("bytes"), PropertyValue::Binary(vec![1, 255]));
        assert_eq!(value("new"), PropertyValue::Bool(true));
        assert_eq!(value("id"), PropertyValue::String("no uuid".to_owned()));
        assert_eq!(value("twice"), PropertyValue::Double(3.0));
        assert_eq!(edited.partition_key, event().partition_key);
        let difference = difference(&event(), &edited);
        assert!(difference.contains("+x\n") && difference.contains("properties:\n"), "{difference}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(edit(r#"{"partition_key":"z"}"#), Err(EditError::OtherKey(Some("k".to_owned()))));
        assert_eq!(edit(r#"{"partition_key":null}"#), Err(EditError::OtherKey(Some("k".to_owned()))));
        assert_eq!(edit(r#"{"body":"x","body_base64":"eQ=="}"#), Err(EditError::TwoBodies));
        assert!(matches!(edit(r#"{"body_base64":"%"}"#), Err(EditError::NoBase64(_))));
        assert_eq!(edit(r#"{"properties":{"a":{}}}"#), Err(EditError::NoProperty("a".to_owned())));
        let large = serde_json::json!({ "body": "x".repeat(MAX_EVENT_BYTES) });
        assert!(matches!(edit(&large.to_string()), Err(EditError::TooLarge(_))));
    }
}
