//! Values inside a column: properties and attempts as JSON that gives back exactly what went in.
//!
//! A property is `[name, type, value]`, because the JSON value alone does not tell a timestamp from a number or bytes
//! from text. An attempt is `[milliseconds since 1970, error, kind]`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tidegate_model::attempt::{Attempt, FailureKind};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{Properties, PropertyValue};

/// The properties as text.
pub(crate) fn encode_properties(properties: &Properties) -> String {
    let list = properties.iter().map(|(name, value)| {
        let (kind, value) = encode_value(value);
        json!([name, kind, value])
    });
    Value::Array(list.collect()).to_string()
}

/// The properties in `text`. The error says what is wrong with it.
pub(crate) fn decode_properties(text: &str) -> Result<Properties, String> {
    let list: Vec<(String, String, Value)> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    list.into_iter()
        .map(|(name, kind, value)| match decode_value(&kind, &value) {
            Some(decoded) => Ok((name, decoded)),
            None => Err(format!("the property {name:?} of type {kind:?} has the value {value}")),
        })
        .collect()
}

fn encode_value(value: &PropertyValue) -> (&'static str, Value) {
    match value {
        PropertyValue::Null => ("null", Value::Null),
        PropertyValue::Bool(value) => ("bool", json!(value)),
        PropertyValue::Long(value) => ("long", json!(value)),
        PropertyValue::Double(value) => ("double", json!(encode_double(*value))),
        PropertyValue::String(value) => ("string", json!(value)),
        PropertyValue::Timestamp(value) => ("timestamp", json!(value.as_millis())),
        PropertyValue::Binary(value) => ("binary", json!(BASE64.encode(value))),
        PropertyValue::Uuid(value) => ("uuid", json!(value.to_string())),
    }
}

fn decode_value(kind: &str, value: &Value) -> Option<PropertyValue> {
    Some(match kind {
        "null" => value.as_null().map(|()| PropertyValue::Null)?,
        "bool" => PropertyValue::Bool(value.as_bool()?),
        "long" => PropertyValue::Long(value.as_i64()?),
        "double" => PropertyValue::Double(decode_double(value.as_str()?)?),
        "string" => PropertyValue::String(value.as_str()?.to_owned()),
        "timestamp" => PropertyValue::Timestamp(Timestamp::from_millis(value.as_i64()?)),
        "binary" => PropertyValue::Binary(BASE64.decode(value.as_str()?).ok()?),
        "uuid" => PropertyValue::Uuid(value.as_str()?.parse().ok()?),
        _ => return None,
    })
}

/// A number as the shortest text that reads back as the same one; what is no number, by its bits.
fn encode_double(value: f64) -> String {
    if value.is_nan() { format!("nan:{:016x}", value.to_bits()) } else { value.to_string() }
}

fn decode_double(text: &str) -> Option<f64> {
    match text.strip_prefix("nan:") {
        Some(bits) => u64::from_str_radix(bits, 16).ok().map(f64::from_bits),
        None => text.parse().ok(),
    }
}

/// The attempts as text.
pub(crate) fn encode_attempts(attempts: &[Attempt]) -> String {
    let list = attempts.iter().map(|attempt| json!([attempt.at.as_millis(), attempt.error, attempt.kind]));
    Value::Array(list.collect()).to_string()
}

/// An attempt as it is stored. Format 1 did not tell the kind, and had transient failures and rejections only.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum StoredAttempt {
    OfAKind(i64, String, FailureKind),
    OfFormat1(i64, String),
}

/// The attempts in `text`. The error says what is wrong with it.
pub(crate) fn decode_attempts(text: &str) -> Result<Vec<Attempt>, String> {
    let list: Vec<StoredAttempt> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let attempts = list.into_iter().map(|stored| {
        let (at, error, kind) = match stored {
            StoredAttempt::OfAKind(at, error, kind) => (at, error, kind),
            StoredAttempt::OfFormat1(at, error) => (at, error, FailureKind::Transient),
        };
        Attempt { at: Timestamp::from_millis(at), kind, error }
    });
    Ok(attempts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = PropertyValue> {
        prop_oneof![
            Just(PropertyValue::Null),
            any::<bool>().prop_map(PropertyValue::Bool),
            any::<i64>().prop_map(PropertyValue::Long),
            any::<u64>().prop_map(|bits| PropertyValue::Double(f64::from_bits(bits))),
            any::<String>().prop_map(PropertyValue::String),
            any::<i64>().prop_map(|ms| PropertyValue::Timestamp(Timestamp::from_millis(ms))),
            any::<Vec<u8>>().prop_map(PropertyValue::Binary),
            any::<u128>().prop_map(|bits| PropertyValue::Uuid(uuid::Uuid::from_u128(bits))),
        ]
    }

    fn any_kind() -> impl Strategy<Value = FailureKind> {
        prop::sample::select(vec![
            FailureKind::Transient,
            FailureKind::Throttled,
            FailureKind::TimedOut,
            FailureKind::Panicked,
            FailureKind::Interrupted,
            FailureKind::Rejected,
        ])
    }

    /// Equal, also for numbers that are not equal to themselves.
    fn same(one: &PropertyValue, other: &PropertyValue) -> bool {
        match (one, other) {
            (PropertyValue::Double(one), PropertyValue::Double(other)) => one.to_bits() == other.to_bits(),
            _ => one == other,
        }
    }

    proptest! {
        #[test]
        fn properties_come_back(list in prop::collection::vec((any::<String>(), any_value()), 0..8)) {
            let properties: Properties = list.clone().into_iter().collect();
            let back = decode_properties(&encode_properties(&properties)).unwrap();
            prop_assert_eq!(back.len(), list.len());
            for ((name, value), (back_name, back_value)) in list.iter().zip(back.iter()) {
                prop_assert!(name == back_name && same(value, back_value), "{value:?} became {back_value:?}");
            }
        }

        #[test]
        fn attempts_come_back(list in prop::collection::vec((any::<i64>(), any_kind(), any::<String>()), 0..8)) {
            let attempts: Vec<_> = list
                .into_iter()
                .map(|(at, kind, error)| Attempt { at: Timestamp::from_millis(at), kind, error })
                .collect();
            prop_assert_eq!(decode_attempts(&encode_attempts(&attempts)), Ok(attempts));
        }

        #[test]
        fn any_other_text_is_an_error_and_no_panic(text in ".*") {
            let _ = decode_properties(&text);
            let _ = decode_attempts(&text);
        }
    }

    #[test]
    fn attempts_of_format_1_are_read() {
        let read = decode_attempts(r#"[[5,"first"],[6,"second"]]"#).unwrap();
        let attempt = |at, error: &str| Attempt {
            at: Timestamp::from_millis(at),
            kind: FailureKind::Transient,
            error: error.to_owned(),
        };
        assert_eq!(read, [attempt(5, "first"), attempt(6, "second")]);
        assert!(decode_attempts(r#"[[5,"first","unheard-of"]]"#).is_err());
    }

    #[test]
    fn what_was_never_written_is_refused() {
        for text in [
            "{}",
            "[[\"a\"]]",
            "[[\"a\",\"long\",1.5]]",
            "[[\"a\",\"date\",1]]",
            "[[\"a\",\"binary\",\"%\"]]",
        ] {
            assert!(decode_properties(text).is_err(), "{text} was accepted");
        }
    }
}
