//! Where a field is: a JSON pointer (RFC 6901) in which `*` stands for every element or member.

use serde_json::Value;

use super::MASKED;

/// Names fields of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

/// A text that is no pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no JSON pointer: it begins with /, such as /position/lat or /readings/*/value")]
pub struct InvalidPointer(pub String);

impl std::str::FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let invalid = || InvalidPointer(text.chars().take(64).collect());
        let steps = text.strip_prefix('/').filter(|_| text.len() <= 512).ok_or_else(invalid)?;
        let steps = steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        Ok(Self(steps.collect()))
    }
}

impl Pointer {
    /// Masks the fields there are.
    pub(super) fn mask(&self, value: &mut Value) {
        mask(value, &self.0);
    }
}

fn mask(value: &mut Value, steps: &[String]) {
    let Some((step, rest)) = steps.split_first() else {
        *value = MASKED.into();
        return;
    };
    match value {
        Value::Object(members) if step == "*" => members.values_mut().for_each(|value| mask(value, rest)),
        Value::Object(members) => {
            if let Some(value) = members.get_mut(step) {
                mask(value, rest);
            }
        }
        Value::Array(items) if step == "*" => items.iter_mut().for_each(|value| mask(value, rest)),
        Value::Array(items) => {
            let item = step.parse().ok().and_then(|place: usize| items.get_mut(place));
            if let Some(value) = item {
                mask(value, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_its_fields() {
        for (pointer, value, masked) in [
            ("/a/b", json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": MASKED, "c": 2}})),
            (
                "/a/*/b",
                json!({"a": [{"b": 1}, {"b": [2]}, 3]}),
                json!({"a": [{"b": MASKED}, {"b": MASKED}, 3]}),
            ),
            ("/*", json!({"a": 1, "b": {}}), json!({"a": MASKED, "b": MASKED})),
            ("/a/1", json!({"a": [1, 2]}), json!({"a": [1, MASKED]})),
            ("/a~1b/~0", json!({"a/b": {"~": 1}}), json!({"a/b": {"~": MASKED}})),
            ("/", json!({"": 1}), json!({"": MASKED})),
            ("/a/b", json!({"a": 1}), json!({"a": 1})),
            ("/a/b", json!([]), json!([])),
        ] {
            let mut given = value.clone();
            pointer.parse::<Pointer>().unwrap().mask(&mut given);
            assert_eq!(given, masked, "{pointer} in {value}");
        }
        assert!("a/b".parse::<Pointer>().is_err() && "".parse::<Pointer>().is_err());
    }
}
