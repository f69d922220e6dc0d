//! A JSON object as text, with the places of its members.

use std::borrow::Cow;

use bytes::Bytes;
use tidegate_model::answer::DocumentValue;

use super::index::{MAX_TEXT_BYTES, Member, Span, View};
use super::scan::{Fault, FaultKind, Scanner};

/// A JSON object as text. Its keys, at every depth, are written in one way only: two keys are equal when their texts
/// are.
#[derive(Clone, Debug)]
pub(super) struct Object {
    text: Bytes,
    index: Vec<Member>,
}

impl Object {
    /// Checks that `text` is one object. It must be UTF-8.
    pub(super) fn parse(text: Bytes) -> Result<Self, Fault> {
        let mut index = Vec::new();
        let text = scan(text, &mut index)?;
        Ok(Self { text, index })
    }

    /// An object made of parts that are known to be right.
    pub(super) fn from_parts(text: Bytes, index: Vec<Member>) -> Self {
        Self { text, index }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { text: &self.text, index: &self.index }
    }
}

/// Checks that `text`, which must be UTF-8, is one object, and adds its members to `index`. They are places in the
/// text that is returned: the same, or another whose keys are written in the one way.
pub(super) fn scan(text: Bytes, index: &mut Vec<Member>) -> Result<Bytes, Fault> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Fault { kind: FaultKind::Syntax, at: MAX_TEXT_BYTES });
    }
    let before = index.len();
    let mut scanner = Scanner::new(&text);
    let scanned = scanner.object(index);
    if scanned.is_ok() && scanner.escaped_keys.is_empty() {
        return Ok(text);
    }
    index.truncate(before);
    scanned?;
    let text = with_plain_keys(&text, scanner.escaped_keys);
    Scanner::new(&text).object(index)?;
    Ok(text.into())
}

impl DocumentValue for Object {
    fn encode(&self) -> Result<Bytes, String> {
        Ok(self.text.clone())
    }
}

/// The index of an object that is a part of a text that was scanned before.
pub(super) fn index_of(object: &[u8]) -> Vec<Member> {
    let mut index = Vec::new();
    Scanner::new(object)
        .object(&mut index)
        .expect("the text around it was scanned, and it begins as an object");
    index
}

/// The elements of an array that is a part of a text that was scanned before.
pub(super) fn elements_of(array: &[u8]) -> Vec<Span> {
    let mut elements = Vec::new();
    Scanner::new(array)
        .array(&mut elements)
        .expect("the text around it was scanned, and it begins as an array");
    elements
}

/// The content of a JSON string that was scanned before.
pub(super) fn content_of(string: &[u8]) -> Cow<'_, str> {
    let text = std::str::from_utf8(string).expect("only UTF-8 is scanned");
    if text.contains('\\') {
        Cow::Owned(serde_json::from_str(text).expect("the string was scanned"))
    } else {
        Cow::Borrowed(&text[1..text.len() - 1])
    }
}

/// The one way a key is written.
pub(super) fn plain_key(content: &str) -> String {
    serde_json::Value::from(content).to_string()
}

/// The text with these keys written in the one way.
fn with_plain_keys(text: &[u8], mut escaped_keys: Vec<Span>) -> Vec<u8> {
    escaped_keys.sort_unstable_by_key(|key| key.start);
    let mut plain = Vec::with_capacity(text.len());
    let mut copied = 0;
    for key in escaped_keys {
        plain.extend_from_slice(&text[copied..key.start as usize]);
        plain.extend_from_slice(plain_key(&content_of(key.of(text))).as_bytes());
        copied = key.end as usize;
    }
    plain.extend_from_slice(&text[copied..]);
    plain
}

#[cfg(test)]
mod tests {
    use super::super::index::Source;
    use super::*;

    fn value<'text>(object: &'text Object, key: &[u8]) -> Option<&'text [u8]> {
        object.view().get(key).map(Source::value)
    }

    #[test]
    fn keys_are_written_in_one_way() {
        let text = r#"{"\u0061":[{"\/":1}],"é":{"\u00e9":2},"\u000a\"":3,"b":"\u0061"}"#;
        let object = Object::parse(Bytes::from(text)).expect("an object");
        assert_eq!(object.encode().expect("text"), r#"{"a":[{"/":1}],"é":{"é":2},"\n\"":3,"b":"\u0061"}"#);
        assert_eq!(value(&object, b"\"a\""), Some(&b"[{\"/\":1}]"[..]));
        assert_eq!(value(&object, plain_key("\n\"").as_bytes()), Some(&b"3"[..]));
        assert_eq!(value(&object, b"\"c\""), None);
    }

    #[test]
    fn the_last_member_of_a_key_counts() {
        let object = Object::parse(Bytes::from(r#"{"a":1,"b":2,"\u0061":3}"#)).expect("an object");
        assert_eq!(value(&object, b"\"a\""), Some(&b"3"[..]));
    }
}
