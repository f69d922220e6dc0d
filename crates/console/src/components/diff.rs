//! What differs between two texts: as the API tells it, or side by side.

use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use crate::components::payload::pretty;
use crate::text::shortened;

/// Texts with more lines than this are not compared: it could take long.
const MAX_LINES: usize = 2000;

/// The longest text that is compared, in characters.
const MAX_TEXT: usize = 64 * 1024;

/// A difference that the API found: lines that begin with `-` were, those with `+` are.
pub fn unified(diff: &str) -> Markup {
    html! {
        pre class="diff" tabindex="0" {
            @for line in shortened(diff, MAX_TEXT).lines() {
                @match line.as_bytes().first() {
                    Some(b'-') => del { (line) "\n" },
                    Some(b'+') => ins { (line) "\n" },
                    Some(b'@') => span class="place" { (line) "\n" },
                    _ => span { (line) "\n" },
                }
            }
        }
    }
}

/// One line of two texts beside each other.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    before: Option<String>,
    after: Option<String>,
    same: bool,
}

/// Two texts beside each other, with the lines that differ marked. JSON is laid out first. Nothing stands for a text that
/// is not there.
pub fn side_by_side(names: [&str; 2], before: Option<&str>, after: Option<&str>) -> Markup {
    let laid_out = |text: Option<&str>| {
        shortened(
            &text.map_or(String::new(), |text| pretty(text).unwrap_or_else(|| text.to_owned())),
            MAX_TEXT,
        )
    };
    let rows = rows(&laid_out(before), &laid_out(after));
    let cell = |line: Option<&String>, class: Option<&str>, sign: &str| {
        html! {
            td class=[class] {
                @if class.is_some() { span class="sign" aria-hidden="true" { (sign) } span class="unseen" { @if sign == "-" { "only then: " } @else { "only now: " } } }
                @if let Some(line) = line { code { (line) } }
            }
        }
    };
    html! {
        div class="scroll" role="region" aria-label={ (names[0]) " and " (names[1]) } tabindex="0" {
            table class="beside" {
                thead { tr { th scope="col" { (names[0]) } th scope="col" { (names[1]) } } }
                tbody {
                    tr class="missing" {
                        td { @if before.is_none() { span class="nothing" { "not there" } } }
                        td { @if after.is_none() { span class="nothing" { "not there" } } }
                    }
                    @for row in &rows {
                        tr {
                            (cell(row.before.as_ref(), (!row.same && row.before.is_some()).then_some("was"), "-"))
                            (cell(row.after.as_ref(), (!row.same && row.after.is_some()).then_some("is"), "+"))
                        }
                    }
                }
            }
        }
    }
}

fn rows(before: &str, after: &str) -> Vec<Row> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(before), lines(after));
    if old.len() > MAX_LINES || new.len() > MAX_LINES {
        // Line by line without looking for what moved.
        let most = old.len().max(new.len()).min(MAX_LINES);
        let row = |at: usize| {
            let (before, after) = (old.get(at).cloned(), new.get(at).cloned());
            Row { same: before == after, before, after }
        };
        return (0..most).map(row).collect();
    }
    let mut rows: Vec<Row> = Vec::new();
    // The first row of the change that is being told: what comes stands beside what went.
    let mut change = 0;
    let (before, after) = (old.join("\n"), new.join("\n"));
    for part in TextDiff::from_lines(&before, &after).iter_all_changes() {
        let line = part.value().trim_end_matches('\n').to_owned();
        match part.tag() {
            ChangeTag::Equal => {
                rows.push(Row { before: Some(line.clone()), after: Some(line), same: true });
                change = rows.len();
            }
            ChangeTag::Delete => rows.push(Row { before: Some(line), after: None, same: false }),
            ChangeTag::Insert => match rows[change..].iter_mut().find(|row| row.after.is_none()) {
                Some(row) => row.after = Some(line),
                None => rows.push(Row { before: None, after: Some(line), same: false }),
            },
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_changed_stand_beside_each_other() {
        let rows = rows("a\nb\nc", "a\nx\ny\nc");
        let told: Vec<(Option<&str>, Option<&str>, bool)> =
            rows.iter().map(|row| (row.before.as_deref(), row.after.as_deref(), row.same)).collect();
        assert_eq!(
            told,
            [
                (Some("a"), Some("a"), true),
                (Some("b"), Some("x"), false),
                (None, Some("y"), false),
                (Some("c"), Some("c"), true)
            ]
        );
    }

    #[test]
    fn nothing_in_a_difference_is_markup() {
        let html = unified("-<b>\n+</pre><script>").into_string();
        assert!(html.contains("<del>-&lt;b&gt;") && html.contains("<ins>+&lt;/pre&gt;"), "{html}");
        let html = side_by_side(["then", "now"], Some("{\"a\":\"<i>\"}"), None).into_string();
        assert!(html.contains("&lt;i&gt;") && html.contains("not there"), "{html}");
    }

    #[test]
    fn long_texts_are_told_without_being_compared() {
        let long: String = (0..MAX_LINES + 5).map(|line| format!("{line}\n")).collect();
        assert_eq!(rows(&long, "0\n").len(), MAX_LINES);
    }
}
