//! JSON pointers (RFC 6901) into JSON text.

use serde::{Deserialize, Serialize};

use serde_json::value::RawValue;

use super::object::{View, read_members, written};

/// A JSON pointer that leads to a value within a document, such as `/device/id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonPointer {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// The member's key as it is written in text.
    key: String,
    /// The element's number, if it can be one.
    index: Option<usize>,
}

impl JsonPointer {
    /// Reads a pointer: each step begins with `/`; within a step `~1` stands for `/` and `~0` for `~`.
    ///
    /// # Errors
    /// When the text is no pointer, or the empty one, which leads to the whole document.
    pub fn new(pointer: &str) -> Result<Self, InvalidPointer> {
        let refuse = |problem| Err(InvalidPointer { pointer: pointer.chars().take(64).collect(), problem });
        if pointer.is_empty() {
            return refuse("is empty and leads to the whole document; name a member, such as /id");
        }
        let Some(steps) = pointer.strip_prefix('/') else {
            return refuse("does not begin with '/'");
        };
        let Some(steps) = steps.split('/').map(Step::new).collect() else {
            return refuse("has a '~' that is not followed by 0 or 1");
        };
        Ok(Self { text: pointer.to_owned(), steps })
    }

    /// The pointer as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text of the value that the pointer leads to, if there is one.
    pub(super) fn find<'text>(&self, object: View<'text>) -> Option<&'text str> {
        let (first, rest) = self.steps.split_first()?;
        let mut value = object.find(&first.key)?.of(object.text);
        for step in rest {
            value = match value.as_bytes().first()? {
                b'{' => {
                    let mut members = Vec::new();
                    let text = read_members(value, &mut members).ok()?;
                    View { text: &text, members: &members }.find(&step.key)?.of(value)
                }
                b'[' => {
                    let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
                    elements.get(step.index?)?.get()
                }
                _ => return None,
            };
        }
        Some(value)
    }
}

impl Step {
    fn new(step: &str) -> Option<Self> {
        let mut content = String::with_capacity(step.len());
        let mut characters = step.chars();
        while let Some(character) = characters.next() {
            content.push(match character {
                '~' => match characters.next()? {
                    '0' => '~',
                    '1' => '/',
                    _ => return None,
                },
                other => other,
            });
        }
        // RFC 6901: digits without leading zeros.
        let is_index = content.bytes().all(|byte| byte.is_ascii_digit())
            && (content == "0" || !content.starts_with('0'));
        let index = if is_index { content.parse().ok() } else { None };
        Some(Self { key: written(&content), index })
    }
}

impl std::str::FromStr for JsonPointer {
    type Err = InvalidPointer;

    fn from_str(pointer: &str) -> Result<Self, InvalidPointer> {
        Self::new(pointer)
    }
}

impl TryFrom<String> for JsonPointer {
    type Error = InvalidPointer;

    fn try_from(pointer: String) -> Result<Self, InvalidPointer> {
        Self::new(&pointer)
    }
}

impl From<JsonPointer> for String {
    fn from(pointer: JsonPointer) -> Self {
        pointer.text
    }
}

impl std::fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text that is no JSON pointer to a part of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the JSON pointer {pointer:?} {problem}")]
pub struct InvalidPointer {
    /// The text, shortened to 64 characters.
    pub pointer: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_where_rfc_6901_says() {
        // The document of section 5 of the RFC, with some nesting added.
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
            "deep":{"list":[{"id":"x"},[10,11]],"0":"zero"}}"#;
        let mut members = Vec::new();
        let text = read_members(text, &mut members).expect("an object");
        let object = View { text: &text, members: &members };
        for (pointer, value) in [
            ("/foo", Some(r#"["bar","baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/e^f", Some("3")),
            ("/g|h", Some("4")),
            (r"/i\j", Some("5")),
            (r#"/k"l"#, Some("6")),
            ("/ ", Some("7")),
            ("/m~0n", Some("8")),
            ("/deep/list/0/id", Some(r#""x""#)),
            ("/deep/list/1/1", Some("11")),
            ("/deep/0", Some(r#""zero""#)),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/bar", None),
            ("/m~0n/x", None),
            ("/nothing", None),
        ] {
            let found = JsonPointer::new(pointer).expect("a pointer").find(object);
            assert_eq!(found, value, "{pointer}");
        }
    }

    #[test]
    fn text_that_is_no_pointer_is_refused() {
        let problem = |pointer| JsonPointer::new(pointer).expect_err("no pointer").to_string();
        assert_eq!(problem("icao24"), "the JSON pointer \"icao24\" does not begin with '/'");
        assert_eq!(problem("/a~2"), "the JSON pointer \"/a~2\" has a '~' that is not followed by 0 or 1");
        assert_eq!(problem("/a~"), "the JSON pointer \"/a~\" has a '~' that is not followed by 0 or 1");
        assert!(problem("").contains("leads to the whole document"));
    }
}
