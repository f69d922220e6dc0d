//! What differs between two texts, as a person reads it (pure).

use similar::TextDiff;

/// A text with more lines than this is not compared line by line: that could take long.
const MAX_LINES: usize = 4000;

/// The longest difference, in bytes; a longer one is cut.
const MAX_BYTES: usize = 64 * 1024;

/// The lines that differ, with three lines around them, `-` before and `+` after. Empty when nothing does. JSON is written
/// with a member a line first; what is no text is only measured.
pub(crate) fn of(before: &[u8], after: &[u8]) -> String {
    if before == after {
        return String::new();
    }
    let (Some(before_text), Some(after_text)) = (readable(before), readable(after)) else {
        return format!("- {} bytes that are no text, or long\n+ {} bytes\n", before.len(), after.len());
    };
    let mut diff = TextDiff::from_lines(&before_text, &after_text)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(false)
        .to_string();
    if diff.is_empty() {
        return "  the same JSON, written in another way\n".to_owned();
    }
    if diff.len() > MAX_BYTES {
        diff.truncate(diff.floor_char_boundary(MAX_BYTES));
        diff.push_str("\n… and more\n");
    }
    diff
}

fn readable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    // The members keep their order and the numbers their digits.
    let mut text = pretty(text).unwrap_or_else(|| text.to_owned());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    (text.lines().nth(MAX_LINES).is_none()).then_some(text)
}

/// JSON text with a member or element a line, otherwise as it is written; `None` for what is no JSON.
pub(crate) fn pretty(json: &str) -> Option<String> {
    serde_json::from_str::<&serde_json::value::RawValue>(json).ok()?;
    let mut pretty = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut characters = json.chars().peekable();
    let mut in_text = false;
    let line = |pretty: &mut String, depth: usize| {
        pretty.push('\n');
        // Deep nesting is not written wider than a person looks.
        (0..depth.min(64)).for_each(|_| pretty.push_str("  "));
    };
    while let Some(character) = characters.next() {
        if in_text {
            pretty.push(character);
            match character {
                '"' => in_text = false,
                '\\' => pretty.extend(characters.next()),
                _ => {}
            }
            continue;
        }
        match character {
            '"' => {
                in_text = true;
                pretty.push('"');
            }
            '{' | '[' => {
                pretty.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    pretty.push(end);
                } else {
                    depth += 1;
                    line(&mut pretty, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut pretty, depth);
                pretty.push(character);
            }
            ',' => {
                pretty.push(',');
                line(&mut pretty, depth);
            }
            ':' => pretty.push_str(": "),
            blank if blank.is_ascii_whitespace() => {}
            other => pretty.push(other),
        }
    }
    Some(pretty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_differs_member_by_member() {
        let before = br#"{"id":"a","n":12345678901234567890.10,"list":[1,{}],"t":"x, {y\"}"}"#;
        let after = br#"{"id":"b","n":12345678901234567890.10,"list":[1,{}],"t":"x, {y\"}"}"#;
        let diff = of(before, after);
        assert!(diff.contains("-  \"id\": \"a\",\n+  \"id\": \"b\",\n"), "{diff}");
        assert!(diff.contains("   \"n\": 12345678901234567890.10,\n"), "{diff}");
        assert_eq!(of(before, before), "");
        assert_eq!(of(b"{\"a\":1}", b"{ \"a\" : 1 }"), "  the same JSON, written in another way\n");
    }

    #[test]
    fn pretty_json_says_the_same() {
        let json = r#"{"a":[],"b":{},"c":[1,[2,{"d":"\\\""}]],"e":"{[,:"}"#;
        let shown = pretty(json).unwrap();
        let same: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(same, serde_json::from_str::<serde_json::Value>(json).unwrap());
        assert!(shown.starts_with("{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n"), "{shown}");
        assert_eq!(pretty("{\"a\":"), None);
    }

    #[test]
    fn text_and_bytes_differ_too() {
        assert!(of(b"one\ntwo", b"one\n2").contains("-two\n+2\n"));
        assert!(of(b"\xff", b"{}").starts_with("- 1 bytes that are no text"));
        let long: String = (0..MAX_LINES + 1).map(|n| format!("{n}\n")).collect();
        assert!(of(long.as_bytes(), b"x").contains("long"));
        let wide = format!("{}\n", "x".repeat(MAX_BYTES + 10));
        assert!(of(wide.as_bytes(), b"x").ends_with("… and more\n"));
    }
}
