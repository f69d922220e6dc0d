//! A JSON object as text, with the places of its members.

use std::borrow::Cow;

use bytes::Bytes;
use tidegate_model::answer::DocumentValue;

use super::scan::{Fault, FaultKind, MAX_TEXT_BYTES, Member, Scanner, Span};

/// A JSON object as text. Its keys, at every depth, are written in one way only: two keys are equal when their texts
/// are.
#[derive(Clone, Debug)]
pub(super) struct Object {
    text: Bytes,
    members: Vec<Member>,
}

impl Object {
    /// Checks that `text` is one object. It must be UTF-8.
    pub(super) fn parse(text: Bytes) -> Result<Self, Fault> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Fault { kind: FaultKind::Syntax, at: MAX_TEXT_BYTES });
        }
        let mut members = Vec::with_capacity(16);
        let mut scanner = Scanner::new(&text);
        scanner.object(&mut members)?;
        if scanner.escaped_keys.is_empty() {
            return Ok(Self { text, members });
        }
        let text = with_plain_keys(&text, std::mem::take(&mut scanner.escaped_keys));
        members.clear();
        Scanner::new(&text).object(&mut members)?;
        Ok(Self { text: text.into(), members })
    }

    /// An object made of parts that are known to be right.
    pub(super) fn from_parts(text: Bytes, members: Vec<Member>) -> Self {
        Self { text, members }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { text: &self.text, members: &self.members }
    }
}

impl DocumentValue for Object {
    fn encode(&self) -> Result<Bytes, String> {
        Ok(self.text.clone())
    }
}

/// An object, or a part of one.
#[derive(Clone, Copy)]
pub(super) struct View<'text> {
    pub(super) text: &'text [u8],
    pub(super) members: &'text [Member],
}

impl<'text> View<'text> {
    /// An object without members.
    pub(super) const EMPTY: Self = Self { text: b"{}", members: &[] };

    /// The value of a member by the text of its key. The last one counts where a key comes twice.
    pub(super) fn get(&self, key: &[u8]) -> Option<&'text [u8]> {
        self.members.iter().rfind(|member| self.key(member) == key).map(|member| self.value(member))
    }

    /// The text of a member's key, quotes included.
    pub(super) fn key(&self, member: &Member) -> &'text [u8] {
        member.key.of(self.text)
    }

    /// The text of a member's value.
    pub(super) fn value(&self, member: &Member) -> &'text [u8] {
        member.value.of(self.text)
    }
}

/// The members of an object that is a part of a text that was scanned before.
pub(super) fn members_of(object: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    Scanner::new(object).object(&mut members).expect("the text around it was scanned, and it begins as an object");
    members
}

/// The elements of an array that is a part of a text that was scanned before.
pub(super) fn elements_of(array: &[u8]) -> Vec<Span> {
    let mut elements = Vec::new();
    Scanner::new(array).array(&mut elements).expect("the text around it was scanned, and it begins as an array");
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
    use super::*;

    #[test]
    fn keys_are_written_in_one_way() {
        let text = r#"{"\u0061":[{"\/":1}],"é":{"\u00e9":2},"\u000a\"":3,"b":"\u0061"}"#;
        let object = Object::parse(Bytes::from(text)).expect("an object");
        assert_eq!(object.encode().expect("text"), r#"{"a":[{"/":1}],"é":{"é":2},"\n\"":3,"b":"\u0061"}"#);
        assert_eq!(object.view().get(b"\"a\""), Some(&b"[{\"/\":1}]"[..]));
        assert_eq!(object.view().get(plain_key("\n\"").as_bytes()), Some(&b"3"[..]));
        assert_eq!(object.view().get(b"\"c\""), None);
    }

    #[test]
    fn the_last_member_of_a_key_counts() {
        let object = Object::parse(Bytes::from(r#"{"a":1,"b":2,"\u0061":3}"#)).expect("an object");
        assert_eq!(object.view().get(b"\"a\""), Some(&b"3"[..]));
    }
}
