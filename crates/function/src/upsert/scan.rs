//! A scanner that checks JSON text (RFC 8259) and says where the members of an object are, without building values.
//!
//! It accepts exactly what `serde_json` reads as a value, except that a number may be of any size: nothing is converted,
//! so nothing needs to fit. The tests hold the two against each other.

use super::index::{Member, Span, begin_member, end_member};

/// How deep arrays and objects may be nested. One level more, and `serde_json` would not read the document again.
pub(super) const MAX_DEPTH: usize = 127;

/// What is wrong with a text, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// It is not JSON.
    Syntax,
    /// It is JSON that begins with something else than `{`.
    NotAnObject,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An escape is one half of a surrogate pair without the other: no text has that character.
    LoneSurrogate,
}

/// A place in a text that is known to be UTF-8.
pub(super) struct Scanner<'text> {
    text: &'text [u8],
    at: usize,
    depth: usize,
    /// How many of the open brackets are those of arrays.
    arrays: usize,
    index: Vec<Member>,
    /// Keys that hold an escape, at any depth.
    pub(super) escaped_keys: Vec<Span>,
}

type Scanned<T> = Result<T, Fault>;

impl<'text> Scanner<'text> {
    /// A scanner at the beginning of `text`, which must be UTF-8.
    pub(super) fn new(text: &'text [u8]) -> Self {
        Self { text, at: 0, depth: 0, arrays: 0, index: Vec::new(), escaped_keys: Vec::new() }
    }

    /// Reads a text that is one object and nothing else, and adds its members to `index`. After a fault it holds those
    /// that were read.
    pub(super) fn object(&mut self, index: &mut Vec<Member>) -> Scanned<()> {
        self.skip_space();
        if self.peek().is_some_and(|byte| byte != b'{') {
            return self.fault(FaultKind::NotAnObject);
        }
        std::mem::swap(&mut self.index, index);
        let read = self.members();
        std::mem::swap(&mut self.index, index);
        read?;
        self.end()
    }

    /// Reads a text that is one array and nothing else, and adds the places of its elements to `elements`.
    pub(super) fn array(&mut self, elements: &mut Vec<Span>) -> Scanned<()> {
        self.skip_space();
        self.elements(|element| elements.push(element))?;
        self.end()
    }

    fn end(&mut self) -> Scanned<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.fault(FaultKind::Syntax) }
    }

    /// An object, from its opening brace to behind its closing one.
    fn members(&mut self) -> Scanned<()> {
        self.open(b'{')?;
        if self.next_is(b'}') {
            return self.close();
        }
        loop {
            self.skip_space();
            let start = self.at;
            let escaped = self.string()?;
            let key = Span::new(start, self.at);
            if escaped {
                self.escaped_keys.push(key);
            }
            self.expect(b':')?;
            self.skip_space();
            let start = self.at;
            if self.arrays > 0 {
                self.value()?;
            } else if self.peek() == Some(b'{') {
                let place = begin_member(&mut self.index, key);
                self.value()?;
                end_member(&mut self.index, place, Span::new(start, self.at));
            } else {
                self.value()?;
                self.index.push(Member { key, value: Span::new(start, self.at), nested: 0 });
            }
            if self.next_is(b'}') {
                return self.close();
            }
            self.expect(b',')?;
        }
    }

    /// An array, from its opening bracket to behind its closing one.
    fn elements(&mut self, mut each: impl FnMut(Span)) -> Scanned<()> {
        self.open(b'[')?;
        self.arrays += 1;
        if self.next_is(b']') {
            self.arrays -= 1;
            return self.close();
        }
        loop {
            self.skip_space();
            let start = self.at;
            self.value()?;
            each(Span::new(start, self.at));
            if self.next_is(b']') {
                self.arrays -= 1;
                return self.close();
            }
            self.expect(b',')?;
        }
    }

    /// A value of any kind.
    fn value(&mut self) -> Scanned<()> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.members(),
            Some(b'[') => self.elements(|_| ()),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.fault(FaultKind::Syntax),
        }
    }

    fn word(&mut self, word: &[u8]) -> Scanned<()> {
        if !self.text[self.at..].starts_with(word) {
            return self.fault(FaultKind::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Scanned<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Scanned<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.fault(FaultKind::Syntax) } else { Ok(()) }
    }

    /// A string, quotes included. True when it holds an escape.
    fn string(&mut self) -> Scanned<bool> {
        if self.peek() != Some(b'"') {
            return self.fault(FaultKind::Syntax);
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            while let Some(block) = self.text[self.at..].first_chunk() {
                let place = first_special(u64::from_le_bytes(*block));
                self.at += place;
                if place < 8 {
                    break;
                }
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                None | Some(..0x20) => return self.fault(FaultKind::Syntax),
                Some(_) => self.at += 1,
            }
        }
    }

    /// An escape, from its backslash to behind it.
    fn escape(&mut self) -> Scanned<()> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex()? {
                    0xd800..0xdc00 => {
                        let low = self.text[self.at..].starts_with(b"\\u");
                        if low {
                            self.at += 2;
                        }
                        if !low || !(0xdc00..0xe000).contains(&self.hex()?) {
                            return Err(Fault { kind: FaultKind::LoneSurrogate, at: start });
                        }
                        Ok(())
                    }
                    0xdc00..0xe000 => Err(Fault { kind: FaultKind::LoneSurrogate, at: start }),
                    _ => Ok(()),
                }
            }
            _ => self.fault(FaultKind::Syntax),
        }
    }

    /// Four hexadecimal digits.
    fn hex(&mut self) -> Scanned<u32> {
        let mut number = 0;
        for _ in 0..4 {
            match self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => number = number * 16 + digit,
                None => return self.fault(FaultKind::Syntax),
            }
            self.at += 1;
        }
        Ok(number)
    }

    fn open(&mut self, byte: u8) -> Scanned<()> {
        self.expect(byte)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault { kind: FaultKind::TooDeep, at: self.at - 1 });
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it ends functions that can fail")]
    fn close(&mut self) -> Scanned<()> {
        self.depth -= 1;
        Ok(())
    }

    /// Passes white space, and then `byte` if it is next.
    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Scanned<()> {
        if self.next_is(byte) { Ok(()) } else { self.fault(FaultKind::Syntax) }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault<T>(&self, kind: FaultKind) -> Scanned<T> {
        Err(Fault { kind, at: self.at })
    }
}

/// The place of the first byte of `block` that ends a run of plain characters of a string, a quote, a backslash or a
/// control character; 8 if there is none.
///
/// Eight bytes are compared at once, with the tests for a zero byte and for a byte below a bound from "Bit Twiddling
/// Hacks" (Sean Eron Anderson, public domain). They may also mark bytes *above* a true one, never below.
fn first_special(block: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = block ^ (ONES * b'"' as u64);
    let backslash = block ^ (ONES * b'\\' as u64);
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (block.wrapping_sub(ONES * 0x20) & !block);
    (found & HIGH).trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn scan(text: &str) -> Scanned<Vec<(&str, &str)>> {
        let mut index = Vec::new();
        Scanner::new(text.as_bytes()).object(&mut index)?;
        let piece = |span: Span| &text[span.start as usize..span.end as usize];
        Ok(index.into_iter().map(|member| (piece(member.key), piece(member.value))).collect())
    }

    #[test]
    fn members_are_found_as_they_are_written() {
        let text = " {\"a\" : 1.0e400 ,\n\"b\":[1, {\"x\":null}],\"\\u00e9\":\"\\\"}\" , \"a\":-0 } ";
        let found = scan(text).expect("JSON");
        assert_eq!(
            found,
            [
                ("\"a\"", "1.0e400"),
                ("\"b\"", "[1, {\"x\":null}]"),
                ("\"\\u00e9\"", "\"\\\"}\""),
                ("\"a\"", "-0")
            ]
        );
        assert_eq!(scan("{}"), Ok(vec![]));
    }

    #[test]
    fn members_within_members_follow_them() {
        let mut index = Vec::new();
        let text = br#"{"a":{"b":{"c":1},"d":[{"e":2}]},"f":{}}"#;
        Scanner::new(text).object(&mut index).expect("JSON");
        let found: Vec<_> = index.iter().map(|member| (member.key.of(text), member.nested)).collect();
        assert_eq!(found, [(&b"\"a\""[..], 3), (b"\"b\"", 1), (b"\"c\"", 0), (b"\"d\"", 0), (b"\"f\"", 0)]);
    }

    #[test]
    fn a_fault_has_a_kind_and_a_place() {
        let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(scan(&deep(MAX_DEPTH)).is_ok());
        for (text, kind, at) in [
            ("", FaultKind::Syntax, 0),
            ("[]", FaultKind::NotAnObject, 0),
            ("{\"a\":01}", FaultKind::Syntax, 6),
            ("{\"a\":1}x", FaultKind::Syntax, 7),
            ("{\"a\":\"\t\"}", FaultKind::Syntax, 6),
            ("{\"a\":\"\\ud800\"}", FaultKind::LoneSurrogate, 6),
            ("{\"a\":\"\\ud800\\u0041\"}", FaultKind::LoneSurrogate, 6),
            ("{\"a\":\"x\\udc00\"}", FaultKind::LoneSurrogate, 7),
            (&deep(MAX_DEPTH + 1), FaultKind::TooDeep, 635),
        ] {
            assert_eq!(scan(text), Err(Fault { kind, at }), "{text}");
        }
    }

    /// True when `serde_json` reads the text as an object. Numbers out of range are let through.
    fn serde_json_accepts(text: &str) -> bool {
        let raw = serde_json::from_str::<&RawValue>(text).is_ok();
        let value = serde_json::from_str::<serde_json::Value>(text);
        let accepts = match &value {
            Ok(_) => true,
            Err(error) => raw && error.to_string().starts_with("number out of range"),
        };
        accepts && text.trim_ascii_start().starts_with('{')
    }

    #[test]
    fn it_accepts_what_serde_json_accepts() {
        for number in [
            "0", "-0", "1", "10", "01", "-", "1.", ".5", "1.5", "1e", "1e+", "1e5", "1E-5", "1.5e+05", "+1",
            "0x1",
        ] {
            let text = format!("{{\"a\":{number}}}");
            assert_eq!(scan(&text).is_ok(), serde_json_accepts(&text), "{text}");
        }
        for filler in 0..20 {
            for special in
                ["\"", "\\", "\u{0}", "\u{1f}", "\u{20}", "\u{7f}", "é", "\\u12", "\\u00E9", "\\x", "\\/"]
            {
                let text =
                    format!("{{\"{}{special}b\":\"{}{special}\"}}", "x".repeat(filler), "y".repeat(filler));
                assert_eq!(scan(&text).is_ok(), serde_json_accepts(&text), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_accepts_what_serde_json_accepts_of_near_json(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"a\"", "\"\\n\"", "\"", "\\", "1", "-", "0", ".", "e", "true", "false",
                "null", "nul", " ", "\n", "\t", "é", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "{\"a\":1}", "[1,2]",
            ]), 0..12),
        ) {
            let text = pieces.concat();
            for text in [text.clone(), format!("{{\"a\":{text}}}"), format!("{{\"a\":[1,{text}],\"b\":\"{text}\"}}")] {
                prop_assert_eq!(scan(&text).is_ok(), serde_json_accepts(&text), "{}", text);
            }
        }
    }
}
