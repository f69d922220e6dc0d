//! Documents of a Rust type.

use std::any::type_name;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_model::answer::DocumentValue;
use tidegate_model::document::MAX_DOCUMENT_BYTES;

/// A type that a document can be kept as: serde's traits and `Clone`. It is implemented for every such type.
pub trait Document: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Document for D {}

/// A state of a document, not written as JSON yet.
pub(crate) struct Typed<D>(pub(crate) D);

impl<D: Document> Typed<D> {
    /// Reads a state that was written as JSON text, perhaps by another version of the function.
    pub(crate) fn decode(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|error| format!("it is no {}: {error}", type_name::<D>()))
    }
}

impl<D: Document> DocumentValue for Typed<D> {
    fn encode(&self) -> Result<ByteString, String> {
        let json = serde_json::to_string(&self.0)
            .map_err(|error| format!("a {} has no JSON form: {error}", type_name::<D>()))?;
        check_size(json.len())?;
        // JSON has no NaN and no infinity, and serde_json writes null instead. A state that cannot be read again must
        // not be stored: no later event could be applied to it.
        if json.contains("null") {
            Self::decode(json.as_bytes()).map_err(|error| {
                format!(
                    "its JSON form cannot be read back, perhaps because a number is NaN or infinite: {error}"
                )
            })?;
        }
        Ok(json.into())
    }
}

impl<D> std::fmt::Debug for Typed<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Typed<{}>", type_name::<D>())
    }
}

/// Refuses a document that no store takes.
pub(crate) fn check_size(bytes: usize) -> Result<(), String> {
    if bytes > MAX_DOCUMENT_BYTES {
        Err(format!("it would be {bytes} bytes of JSON; the limit is {MAX_DOCUMENT_BYTES}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct Reading {
        value: f64,
        note: Option<String>,
    }

    #[test]
    fn a_state_is_read_back_as_it_was_written() {
        let json = Typed(Reading { value: 1.5, note: None }).encode().expect("JSON");
        assert_eq!(json, r#"{"value":1.5,"note":null}"#);
        assert_eq!(Typed::<Reading>::decode(json.as_bytes()).expect("a reading").0.value, 1.5);
    }

    #[test]
    fn a_state_that_json_cannot_hold_is_refused() {
        let error = Typed(Reading { value: f64::NAN, note: None }).encode().expect_err("NaN");
        assert!(error.contains("cannot be read back") && error.contains("NaN"), "{error}");

        let error = Typed(BTreeMap::from([((1, 2), 3)])).encode().expect_err("keys that are no text");
        assert!(error.contains("has no JSON form: key must be a string"), "{error}");

        let error = Typed("x".repeat(MAX_DOCUMENT_BYTES)).encode().expect_err("two quotes too large");
        assert_eq!(error, "it would be 2097154 bytes of JSON; the limit is 2097152");
    }
}
