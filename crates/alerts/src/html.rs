//! Text in HTML.

use std::fmt::Write as _;

/// `text` as it is written between tags or in a quoted attribute. Control characters are left out.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(' '),
            character if character.is_control() => {}
            character => html.push(character),
        }
    }
    html
}

/// A table of two columns.
pub(crate) fn table(rows: &[(String, String)]) -> String {
    let mut html = String::from("<table>\n");
    for (name, value) in rows {
        let _ =
            writeln!(html, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(name), escaped(value));
    }
    html.push_str("</table>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            escaped("<script>alert(\"1\")</script> & 'x'\u{0}\r\n"),
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39; "
        );
    }
}
