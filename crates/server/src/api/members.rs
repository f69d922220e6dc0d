//! The members of a JSON object in the order they are written, also where a name comes twice.

use std::marker::PhantomData;

use serde::Deserialize;

/// The members of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members<V>(pub(crate) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_come_as_often_as_they_are_written() {
        let members: Members<u8> = serde_json::from_str(r#"{"z":1,"a":2,"z":3}"#).unwrap();
        let expected = [("z", 1), ("a", 2), ("z", 3)];
        assert_eq!(members.0, expected.map(|(name, value)| (name.to_owned(), value)));
        assert!(serde_json::from_str::<Members<u8>>("[]").is_err());
    }
}
