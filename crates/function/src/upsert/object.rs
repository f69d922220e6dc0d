//! A JSON object as text, with the places of its members.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::LazyLock;

use bytes::Bytes;
use bytestring::ByteString;
use hashbrown::DefaultHashBuilder;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidegate_model::answer::DocumentValue;

/// How deep arrays and objects may be nested. One level more, and what reads documents with `serde_json` would fail.
pub(super) const MAX_DEPTH: usize = 127;

/// The longest text that is read; no event and no document comes near it.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// A piece of a text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |place| u32::try_from(place).expect("no text is longer than MAX_TEXT_BYTES");
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

/// Where a member of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The key, quotes included, as `serde_json` writes it: two keys are equal when their texts are.
    pub(super) key: Span,
    /// The value as it came.
    pub(super) value: Span,
}

/// An object: its members in their order, and the text they are in.
#[derive(Clone, Copy)]
pub(super) struct View<'text> {
    pub(super) text: &'text str,
    pub(super) members: &'text [Member],
}

impl<'text> View<'text> {
    /// An object without members.
    pub(super) const EMPTY: Self = Self { text: "{}", members: &[] };

    /// Keys and values.
    pub(super) fn members(self) -> impl Iterator<Item = (&'text str, &'text str)> {
        self.members.iter().map(move |member| (member.key.of(self.text), member.value.of(self.text)))
    }

    /// True when the text is the members in their order and nothing between them, as [`Object`]s are written.
    pub(super) fn is_compact(self) -> bool {
        let mut end = 0;
        let in_place = self.members.iter().all(|Member { key, value }| {
            let follows = key.start == end + 1 && value.start == key.end + 1;
            end = value.end;
            follows
        });
        in_place && !self.members.is_empty() && self.text.len() == end as usize + 1
    }

    /// The place of the value of the last member with this key.
    pub(super) fn find(self, key: &str) -> Option<Span> {
        self.members.iter().rfind(|member| member.key.of(self.text) == key).map(|member| member.value)
    }
}

/// What a list of keys hashes to. Equal shapes are taken for equal keys: of so many objects as there ever are, no two
/// with other keys meet in 64 bits by chance, and who would make them meet needs the seed of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape(u64);

impl Shape {
    pub(super) fn of(object: View<'_>) -> Self {
        static SEED: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
        let mut hasher = SEED.build_hasher();
        for (key, _) in object.members() {
            key.hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

/// A state of a document.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) text: ByteString,
    pub(super) members: Vec<Member>,
    /// Of its keys, each of which comes once. It spares a look at text and members, which are seldom in the
    /// processor's cache.
    pub(super) shape: Shape,
}

impl Object {
    pub(super) fn new(text: &str, members: &[Member]) -> Self {
        let shape = Shape::of(View { text, members });
        Self { text: text.into(), members: members.to_vec(), shape }
    }

    pub(super) fn view(&self) -> View<'_> {
        View { text: &self.text, members: &self.members }
    }
}

impl DocumentValue for Object {
    fn encode(&self) -> Result<ByteString, String> {
        Ok(self.text.clone())
    }
}

/// Reads an object as [`read_members`] does, and checks that it is not too large and not nested too deep.
pub(super) fn read_object(json: &Bytes, members: &mut Vec<Member>) -> Result<ByteString, String> {
    if json.len() > MAX_TEXT_BYTES {
        return Err(format!("longer than {MAX_TEXT_BYTES} bytes"));
    }
    let json = ByteString::try_from(json.clone())
        .map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to()))?;
    let before = members.len();
    let text = match read_members(&json, members)? {
        Cow::Borrowed(_) => json.clone(),
        Cow::Owned(text) => text.into(),
    };
    // A value that is nested so deep has as many brackets.
    let may_be_deep = |member: &Member| member.value.of(&json).len() >= 2 * MAX_DEPTH;
    match members[before..].iter().any(may_be_deep).then(|| too_deep(&json)).flatten() {
        None => Ok(text),
        Some(place) => Err(format!("nested deeper than {MAX_DEPTH} arrays and objects from byte {place} on")),
    }
}

/// Reads the text of an object and adds its members to `members`. Their places are in the text that is returned:
/// `json`, followed by keys that are written otherwise in it. The error continues the sentence "it is ...".
pub(super) fn read_members<'json>(
    json: &'json str,
    members: &mut Vec<Member>,
) -> Result<Cow<'json, str>, String> {
    let mut reader = Reader { json, members, keys: String::new() };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match deserializer.deserialize_map(&mut reader).and_then(|()| deserializer.end()) {
        Ok(()) if reader.keys.is_empty() => Ok(Cow::Borrowed(json)),
        Ok(()) => Ok(Cow::Owned([json, &reader.keys].concat())),
        Err(error) if error.is_data() => Err(format!("not a JSON object but {}", kind(json.trim_start()))),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

struct Reader<'json, 'members> {
    json: &'json str,
    members: &'members mut Vec<Member>,
    /// The keys that are not written in `json` as `serde_json` writes them.
    keys: String,
}

/// The content of a JSON string: a part of the text where it holds no escapes.
#[derive(serde::Deserialize)]
pub(super) struct JsonString<'json>(#[serde(borrow)] pub(super) Cow<'json, str>);

impl<'json> Visitor<'json> for &mut Reader<'json, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'json>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(JsonString(key)) = map.next_key()? {
            let key = match key {
                Cow::Borrowed(content) => {
                    let start = self.place(content);
                    Span::new(start - 1, start + content.len() + 1)
                }
                Cow::Owned(content) => {
                    let start = self.json.len() + self.keys.len();
                    self.keys.push_str(&written(&content));
                    Span::new(start, self.json.len() + self.keys.len())
                }
            };
            let value = map.next_value::<&RawValue>()?.get();
            let start = self.place(value);
            self.members.push(Member { key, value: Span::new(start, start + value.len()) });
        }
        Ok(())
    }
}

impl Reader<'_, '_> {
    /// Where a piece of the text begins.
    fn place(&self, piece: &str) -> usize {
        piece.as_ptr().addr() - self.json.as_ptr().addr()
    }
}

/// What kind of value this is, by how it begins.
pub(super) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A string as `serde_json` writes it.
pub(super) fn written(content: &str) -> String {
    serde_json::Value::from(content).to_string()
}

/// The place of the first bracket of JSON text that is nested deeper than [`MAX_DEPTH`]. `serde_json` sets no limit to
/// values that it leaves as text.
fn too_deep(json: &str) -> Option<usize> {
    let (mut depth, mut within_string, mut escaped) = (0, false, false);
    json.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => within_string = !within_string,
            b'{' | b'[' if !within_string => depth += 1,
            b'}' | b']' if !within_string => depth -= 1,
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(json: &str) -> Result<Object, String> {
        let mut members = Vec::new();
        let text = read_object(&Bytes::copy_from_slice(json.as_bytes()), &mut members)?;
        Ok(Object::new(&text, &members))
    }

    fn members(json: &str) -> Vec<(String, String)> {
        let object = read(json).expect("an object");
        object.view().members().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn values_are_found_as_they_are_written_and_keys_in_one_way() {
        let json = r#" {"a" : 1.0e400 ,"\u00e9":[1, {"\/":null}],
            "":"\"}" , "\u000a\"":-0,"\u0061":{ } } "#;
        let expected = [
            (r#""a""#, "1.0e400"),
            (r#""é""#, r#"[1, {"\/":null}]"#),
            (r#""""#, r#""\"}""#),
            (r#""\n\"""#, "-0"),
            (r#""a""#, "{ }"),
        ];
        assert_eq!(members(json), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(members("{}"), []);
    }

    #[test]
    fn the_last_member_of_a_key_is_found() {
        let object = read(r#"{"a":1,"b":2,"\u0061":3}"#).expect("an object");
        let value = |key: &str| object.view().find(&written(key)).map(|value| value.of(&object.text));
        assert_eq!((value("a"), value("b"), value("c")), (Some("3"), Some("2"), None));
    }

    /// An object whose only member is nested so deep.
    fn nested(open: &str, depth: usize, close: &str) -> String {
        format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn nesting_is_limited_to_what_serde_json_reads_as_a_value() {
        for (open, close) in [("[", "]"), ("{\"[\\\"{\":", "}"), (" [ \"[\", ", " ] ")] {
            let json = nested(open, MAX_DEPTH - 1, close);
            assert!(read(&json).is_ok(), "{json}");
            assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
            let json = nested(open, MAX_DEPTH, close);
            assert!(serde_json::from_str::<Value>(&json).is_err(), "{json}");
            let problem = read(&json).expect_err("too deep");
            assert!(problem.starts_with("nested deeper than 127 arrays and objects from byte "), "{problem}");
        }
        let problem = read(&nested("[", 500_000, "]")).expect_err("too deep");
        assert_eq!(problem, "nested deeper than 127 arrays and objects from byte 131 on");
        let wide = format!("{{\"a\":[{}1]}}", "[{}],".repeat(1000));
        assert!(read(&wide).is_ok());
    }
}
