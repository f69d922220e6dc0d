//! JSON pointers (RFC 6901), for taking partition keys from events.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A pointer to a value within a JSON document, such as `/device/id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    /// The unescaped tokens, outermost first; none for the whole document.
    tokens: Vec<String>,
}

impl JsonPointer {
    /// Reads a pointer: empty, or tokens that each begin with `/`. Within a token `~1` stands for `/` and `~0` for `~`.
    pub fn parse(text: &str) -> Result<Self, InvalidPointer> {
        let refuse = |problem| Err(InvalidPointer { text: text.chars().take(64).collect(), problem });
        if text.is_empty() {
            return Ok(Self { tokens: Vec::new() });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return refuse("must begin with '/'");
        };
        let mut tokens = Vec::new();
        for token in rest.split('/') {
            let mut escapes = token.split('~');
            escapes.next();
            if escapes.any(|after| !after.starts_with(['0', '1'])) {
                return refuse("has a '~' that is not followed by 0 or 1");
            }
            // In this order, so that `~01` becomes `~1` and not `/`.
            tokens.push(token.replace("~1", "/").replace("~0", "~"));
        }
        Ok(Self { tokens })
    }

    /// The text or number the pointer leads to, as text. A number is given as it is written.
    ///
    /// `None` when there is no such value, when it is of another type, or when the document is damaged before it. The
    /// document is read only as far as the value; what comes after it is not looked at. Where a name comes twice in an
    /// object, the first one counts.
    pub fn find<'a>(&self, json: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut found = None;
        let walk = Walk { tokens: &self.tokens, found: &mut found };
        // Leaving an object early makes the parser complain about the rest: what was found counts, not its verdict.
        let _ = walk.deserialize(&mut serde_json::Deserializer::from_slice(json));
        let raw = found?.get();
        match raw.as_bytes().first()? {
            b'"' => match raw[1..raw.len() - 1].contains('\\') {
                false => Some(Cow::Borrowed(&raw[1..raw.len() - 1])),
                true => serde_json::from_str(raw).ok().map(Cow::Owned),
            },
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw)),
            _ => None,
        }
    }
}

/// Text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no JSON pointer such as /device/id: it {problem}")]
pub struct InvalidPointer {
    /// The text, shortened to 64 characters.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Follows the tokens into a document without building anything.
struct Walk<'p, 'out, 'de> {
    tokens: &'p [String],
    found: &'out mut Option<&'de RawValue>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.tokens.is_empty() {
            *self.found = Some(<&RawValue>::deserialize(deserializer)?);
            Ok(())
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else { return Ok(()) };
        while let Some(matches) = map.next_key_seed(IsName(token))? {
            if matches {
                return map.next_value_seed(Walk { tokens: rest, found: self.found });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Some((token, rest)) = self.tokens.split_first() else { return Ok(()) };
        let Some(index) = array_index(token) else { return Ok(()) };
        for _ in 0..index {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        elements.next_element_seed(Walk { tokens: rest, found: self.found })?;
        Ok(())
    }
}

/// An array index as RFC 6901 writes it: digits without a leading zero.
fn array_index(token: &str) -> Option<usize> {
    let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (token == "0" || !token.starts_with('0')) { token.parse().ok() } else { None }
}

/// Reads a name of an object and says whether it is this one.
struct IsName<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(pointer: &str, json: &str) -> Option<String> {
        JsonPointer::parse(pointer).unwrap().find(json.as_bytes()).map(Cow::into_owned)
    }

    /// The document of RFC 6901, section 5, with texts in place of the numbers 0 to 8.
    #[test]
    fn the_pointers_of_the_rfc_lead_where_it_says() {
        let json = r#"{"foo":["bar","baz"],"":"0","a/b":"1","c%d":"2","e^f":"3","g|h":"4","i\\j":"5","k\"l":"6"," ":"7","m~n":"8"}"#;
        for (pointer, value) in [
            ("/foo/0", "bar"),
            ("/foo/1", "baz"),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(find(pointer, json).as_deref(), Some(value), "{pointer}");
        }
        for nowhere in ["/foo", "/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/0/x", "/bar", ""] {
            assert_eq!(find(nowhere, json), None, "{nowhere}");
        }
    }

    #[test]
    fn texts_are_unescaped_and_numbers_taken_as_written() {
        assert_eq!(find("/a", r#"{"a":"é\u00e9\n\"x"}"#).as_deref(), Some("éé\n\"x"));
        assert_eq!(find("/a", r#"{"a":""}"#).as_deref(), Some(""));
        assert_eq!(find("/a", r#"{"a": -1.50e3 }"#).as_deref(), Some("-1.50e3"));
        assert_eq!(find("/a/b", r#"{"x":{"a":1},"a":{"c":[{}],"b":7}}"#).as_deref(), Some("7"));
        assert_eq!(find("", " 42 ").as_deref(), Some("42"));
        assert_eq!(find("/\u{e9}", r#"{"\u00e9":"x"}"#).as_deref(), Some("x"), "names are unescaped too");
        for other in ["null", "true", "{}", "[1]"] {
            assert_eq!(find("/a", &format!("{{\"a\":{other}}}")), None, "{other}");
        }
    }

    #[test]
    fn damage_before_the_value_hides_it_and_damage_after_it_does_not() {
        assert_eq!(find("/a", r#"{"x":!,"a":"k"}"#), None);
        assert_eq!(find("/a", r#"{"a":"k","#).as_deref(), Some("k"));
        assert_eq!(find("/a", r#"{"a":"k"#), None);
        assert_eq!(find("/a", ""), None);
        assert_eq!(JsonPointer::parse("/a").unwrap().find(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn a_bad_pointer_is_refused_with_the_reason() {
        assert!(JsonPointer::parse("icao24").unwrap_err().to_string().contains("must begin with '/'"));
        for bad in ["/a~", "/~2", "/a~~0"] {
            assert!(JsonPointer::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(JsonPointer::parse("/~01").unwrap().tokens, ["~1"]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser_that_builds_the_document(json in json(), pointer in pointer()) {
            let text = json.to_string();
            let expected = json.pointer(&pointer).and_then(|value| match value {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            prop_assert_eq!(find(&pointer, &text), expected);
        }

        #[test]
        fn hostile_documents_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), pointer in pointer()) {
            let _ = JsonPointer::parse(&pointer).unwrap().find(&bytes);
        }

        #[test]
        fn hostile_pointers_are_survived(pointer in ".*") {
            if let Ok(pointer) = JsonPointer::parse(&pointer) {
                let _ = pointer.find(br#"{"a":[{"b":1}]}"#);
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(find(&"/0".repeat(5000), &"[".repeat(100_000)), None);
        assert_eq!(find("/a", &format!("{{\"x\":{}", "[".repeat(100_000))), None);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[a-c~/\"\\\\é]{0,3}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::vec(("[a-b~/]{0,2}", inner), 0..4)
                    .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    fn pointer() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["[a-b]{0,2}", "(~0|~1|a){1,2}", "[0-3]"], 0..4)
            .prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect())
    }
}
