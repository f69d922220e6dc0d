//! The body of an event, decoded: JSON is laid out, text is shown as it is, anything else byte by byte.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use serde_json::Value;

use tidegate_api::Properties;

use crate::text;

/// The most of a body that a page shows, in bytes.
const SHOWN_BYTES: usize = 64 * 1024;

/// Bytes in a line of a dump.
const DUMP_LINE: usize = 16;

/// A body as the API gives it: `text` where it is text, and always its bytes in Base64.
pub fn body(text: Option<&str>, base64: &str) -> Markup {
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    let text = text.or_else(|| std::str::from_utf8(&bytes).ok());
    let size = text.map_or(bytes.len(), str::len);
    let (form, shown) = match text {
        Some("") => ("empty", String::new()),
        Some(text) => match pretty(text) {
            Some(json) => ("JSON", json),
            None => ("text", text.to_owned()),
        },
        None => ("bytes", dump(&bytes[..bytes.len().min(SHOWN_BYTES / 4)])),
    };
    let cut = text::shortened(&shown, SHOWN_BYTES);
    let is_cut = cut.len() < shown.len() || (text.is_none() && bytes.len() > SHOWN_BYTES / 4);
    html! {
        div class="payload" {
            p class="small" { (form) ", " (text::bytes(size as u64)) @if is_cut { "; only its beginning is shown" } }
            @if !cut.is_empty() { pre tabindex="0" { code { (cut) } } }
        }
    }
}

/// JSON, laid out.
pub fn json(value: &Value) -> Markup {
    let shown = serde_json::to_string_pretty(value).unwrap_or_default();
    html! { pre tabindex="0" { code { (text::shortened(&shown, SHOWN_BYTES)) } } }
}

/// JSON as it is stored, laid out; numbers keep their digits.
pub fn json_text(text: &str) -> Markup {
    html! { pre tabindex="0" { code { (text::shortened(&pretty(text).unwrap_or_else(|| text.to_owned()), SHOWN_BYTES)) } } }
}

/// One line of a body, for lists. Of text with a few wrong bytes in it the rest is shown.
pub fn line(body: Option<&str>, base64: &str, most: usize) -> String {
    let on_one_line = |body: &str| {
        let begin: String = body.chars().take(most * 2).collect();
        text::shortened(&begin.split_whitespace().collect::<Vec<_>>().join(" "), most)
    };
    if let Some(body) = body {
        return on_one_line(body);
    }
    // As many whole groups of four digits as make the line, whatever size the body has.
    let digits = base64.len().min((most * 2).div_ceil(3) * 4);
    let bytes = base64.get(..digits).and_then(|digits| STANDARD.decode(digits).ok()).unwrap_or_default();
    let begin = String::from_utf8_lossy(&bytes);
    let wrong = begin.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER || c.is_control()).count();
    if wrong * 10 > begin.chars().count() {
        return format!("{} of bytes", text::bytes((base64.len() / 4 * 3) as u64));
    }
    on_one_line(&begin)
}

/// Properties: names and values.
pub fn properties(properties: &Properties) -> Markup {
    html! {
        @if properties.0.is_empty() {
            p class="small" { "none" }
        } @else {
            dl class="facts plain" {
                @for (name, value) in &properties.0 {
                    div {
                        dt class="m" { (name) }
                        dd class="m w" {
                            @match value {
                                Value::String(text) => (text),
                                other => (other.to_string()),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A value as it is shown in a cell: text as it is, anything else as JSON.
pub fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// JSON as it is written, with line breaks; numbers keep their digits. Nothing if it is no JSON object or array.
pub(crate) fn pretty(text: &str) -> Option<String> {
    let begins = text.trim_start().starts_with(['{', '[']);
    // Through a raw value numbers would keep their digits, but nothing would be laid out; so the text itself is.
    (begins && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()).then(|| laid_out(text))
}

/// Valid JSON with line breaks and indents (pure). It is not parsed into numbers, so that none of their digits is lost.
fn laid_out(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        // Deep nesting is shown flat rather than as a page of blanks.
        out.extend(std::iter::repeat_n("  ", depth.min(32)));
    };
    while let Some(c) = rest.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (c != '"' || escaped, c == '\\' && !escaped);
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// Bytes by sixteen: their place, their hexadecimal digits, and those that are visible ASCII characters.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(DUMP_LINE).enumerate() {
        let hex: String = chunk.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x} ");
            hex
        });
        let visible: String = chunk
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '·' })
            .collect();
        let _ = writeln!(out, "{:06x}  {hex:48} {visible}", line * DUMP_LINE);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body_bytes: &[u8]) -> String {
        let text = std::str::from_utf8(body_bytes).ok();
        body(text, &STANDARD.encode(body_bytes)).into_string()
    }

    #[test]
    fn json_is_laid_out_and_keeps_its_digits() {
        let json = r#"{"a":1.10,"b":[],"c":[1e400,"x,\"}:y"],"d":{ }}"#;
        assert_eq!(
            laid_out(json),
            "{\n  \"a\": 1.10,\n  \"b\": [],\n  \"c\": [\n    1e400,\n    \"x,\\\"}:y\"\n  ],\n  \"d\": {}\n}"
        );
        assert!(shown(json.as_bytes()).contains("JSON, "));
    }

    #[test]
    fn text_stays_and_bytes_are_dumped_and_nothing_of_them_is_markup() {
        let text = shown(b"<script>alert(1)</script>");
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
        let bytes = shown(b"\xff<b>");
        assert!(bytes.contains("000000  ff 3c 62 3e") && bytes.contains("·&lt;b&gt;"), "{bytes}");
        assert!(shown(b"").contains("empty, 0"));
        assert!(shown(&vec![0xff; SHOWN_BYTES * 2]).contains("only its beginning"));
        assert!(shown("x".repeat(SHOWN_BYTES * 2).as_bytes()).contains("only its beginning"));
    }

    #[test]
    fn a_line_of_a_body_is_short_whatever_it_holds() {
        assert_eq!(line(Some("a\n  b"), "", 10), "a b");
        assert_eq!(line(Some(&"x".repeat(100)), "", 5), "xxxxx…");
        assert!(line(None, &STANDARD.encode([0xff; 300]), 5).ends_with("of bytes"));
        assert_eq!(
            line(None, &STANDARD.encode(b"{\"icao24\":\"\xff\",  \"x\":1}"), 100),
            "{\"icao24\":\"\u{fffd}\", \"x\":1}"
        );
        assert_eq!(line(None, &STANDARD.encode("y".repeat(1000)), 5), "yyyyy…");
        assert_eq!(line(None, "no Base64", 5), "");
    }
}
