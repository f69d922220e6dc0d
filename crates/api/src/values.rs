//! Values that are kept as they are written: JSON text, and the members of an object in their order.

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use tidegate_model::event::Properties as EventProperties;

/// JSON as it is stored: numbers keep their digits, and members their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(pub Box<RawValue>);

impl JsonText {
    /// JSON text. Text that is no JSON, which a store never gives, becomes a JSON string.
    pub fn new(json: &Bytes) -> Self {
        let text = String::from_utf8_lossy(json);
        Self(RawValue::from_string(text.clone().into_owned()).unwrap_or_else(|_| {
            let quoted = Value::from(text.into_owned()).to_string();
            RawValue::from_string(quoted).expect("a quoted text is JSON")
        }))
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// Properties of an event: the members of an object in the order they are written, also where a name comes twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties(pub Vec<(String, Value)>);

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Properties;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Properties(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl From<&EventProperties> for Properties {
    fn from(properties: &EventProperties) -> Self {
        let written = |(name, value): (&str, &tidegate_model::event::PropertyValue)| {
            (name.to_owned(), serde_json::to_value(value).unwrap_or_default())
        };
        Self(properties.iter().map(written).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_come_as_often_as_they_are_written() {
        let json = r#"{"z":1,"a":[2.50],"z":null}"#;
        let read: Properties = serde_json::from_str(json).unwrap();
        let names: Vec<&str> = read.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "a", "z"]);
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"z":1,"a":[2.5],"z":null}"#);
        assert!(serde_json::from_str::<Properties>("[]").is_err());
    }

    #[test]
    fn json_text_stays_as_it_is() {
        let text = r#"{"n":12345678901234567890.10}"#;
        assert_eq!(serde_json::to_string(&JsonText::new(&Bytes::from(text))).unwrap(), text);
        assert_eq!(JsonText::new(&Bytes::from_static(b"{\"")).get(), r#""{\"""#);
    }
}
