//! The program's own log, searched.

use maud::{Markup, html};

use tidegate_api::LogLine;

use crate::api::{Listing, address};
use crate::components::controls::{choice, field, filter};
use crate::components::mark::{Tone, mark};
use crate::components::notice::empty;
use crate::components::table::{heads, pager, table};
use crate::components::time::at;
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// How many lines a page shows.
const SHOWN: &str = "200";

/// What a search can be narrowed by: the parameter, its label, and what it may be.
const FIELDS: &[(&str, &str, &str)] = &[
    ("text", "Text", "words of the message"),
    ("function", "Function", "its name"),
    ("hub", "Hub", "its name"),
    ("partition", "Partition", "3"),
    ("sequence_number", "Sequence number", "1200"),
    ("key", "Key", "the partition key"),
    ("since", "Since", "2026-01-31T12:00:00Z"),
    ("until", "Until", "2026-01-31T12:00:00Z"),
];

/// The page.
///
/// # Errors
/// What the API says.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let given: Vec<(&str, Option<String>)> = FIELDS
        .iter()
        .map(|(name, _, _)| *name)
        .chain(["level", "invocation"])
        .map(|name| (name, visit.parameter(name)))
        .collect();
    let after = visit.parameter("after");
    let narrowed: Vec<(&str, Option<&str>)> =
        given.iter().map(|(name, value)| (*name, value.as_deref())).collect();
    let mut query = narrowed.clone();
    query.extend([("limit", Some(SHOWN)), ("after", after.as_deref())]);
    let lines: Listing<LogLine> = visit.api.get(&address("/api/v1/logs", &query)).await?;

    let mut page = Page::new(Section::Logs, "Logs");
    let found = html! {
        @if lines.items.is_empty() {
            @if given.iter().all(|(_, value)| value.is_none()) && after.is_none() {
                (empty("Nothing is logged yet", &html! { "What the program does, and every event that fails, is kept here for a while." }))
            } @else {
                (empty("No line of the log is like this", &html! { "Only the newest lines are kept; what is older is dropped." }))
            }
        } @else {
            (listed(&lines.items))
        }
    };
    // A page further back does not change, and should not move under the reader.
    let found = if after.is_none() { page.live("lines", found) } else { found };
    let mut further = narrowed.clone();
    further.push(("after", lines.next.as_deref()));
    let next = lines.next.as_ref().map(|_| address("/logs", &further));
    let first = after.is_some().then(|| address("/logs", &narrowed));
    Ok(page.body(html! { (fields(&given)) (found) (pager(first.as_deref(), next.as_deref())) }))
}

fn fields(given: &[(&str, Option<String>)]) -> Markup {
    let value =
        |name: &str| given.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_deref());
    let levels: Vec<(String, String)> = [
        ("", "all"),
        ("error", "error"),
        ("warn", "warn and worse"),
        ("info", "info and worse"),
        ("debug", "debug and worse"),
    ]
    .map(|(sent, shown)| (sent.to_owned(), shown.to_owned()))
    .into();
    filter(
        "/logs",
        &html! {
            (choice("level", "Level", value("level"), &levels))
            @for (name, label, hint) in FIELDS { (field(name, label, value(name), hint)) }
        },
    )
}

/// Lines of the log as a table.
pub(super) fn listed(lines: &[LogLine]) -> Markup {
    let rows = html! {
        @for line in lines {
            tr {
                td { (at(line.at)) }
                td { (mark(tone(&line.level), &line.level)) }
                td class="w" {
                    (text::shortened(&line.message, 2000))
                    @if !line.fields.is_empty() {
                        div class="small m w" {
                            @for (name, value) in &line.fields {
                                span class="pair" {
                                    (name) "="
                                    @match value {
                                        serde_json::Value::String(text) => (text::shortened(text, 300)),
                                        other => (text::shortened(&other.to_string(), 300)),
                                    }
                                }
                                " "
                            }
                        }
                    }
                }
                td class="small m" { (line.target) }
            }
        }
    };
    table(
        "Lines of the log, newest first",
        &heads(&["Time", "Level", "Message", "Part of the program"]),
        &rows,
    )
}

fn tone(level: &str) -> Tone {
    match level {
        "error" => Tone::Act,
        "warn" => Tone::Watch,
        _ => Tone::Calm,
    }
}
