//! The audit trail: what was done by hand, by whom and why; the newest first.

use maud::{Markup, html};

use tidegate_api::TrailLine;

use crate::api::{address, encoded};
use crate::components::controls::{field, filter};
use crate::components::diff::unified;
use crate::components::notice::empty;
use crate::components::payload::written;
use crate::components::table::{heads, pager_by_age, table};
use crate::components::time::{ago, at};
use crate::newest::{self, Begin, Newest};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// Lines on a page.
const SHOWN: usize = 50;

/// The page.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let subject = visit.parameter("subject");
    let begin = Begin::of(&visit);
    let newest = newest(&visit, subject.as_deref(), begin, SHOWN).await?;
    let from = |name: &str, number: u64| {
        address("/trail", &[("subject", subject.as_deref()), (name, Some(&number.to_string()))])
    };
    let first = address("/trail", &[("subject", subject.as_deref())]);
    let newer = newest.newer.map(|number| from("after", number));
    let older = newest.older.map(|number| from("before", number));
    Ok(Page::new(Section::Trail, "Audit trail").body(html! {
        (filter("/trail", &field("subject", "About", subject.as_deref(), "a function, a dead letter's number, a lane")))
        @if newest.items.is_empty() && begin == Begin::Newest {
            (empty("Nothing was done by hand", &html! { @if subject.is_some() { "at least not to this. " a href="/trail" { "The whole trail" } } @else { "What people do here and with the commands stands here afterwards." } }))
        } @else {
            (lines(&visit, &newest.items))
            (pager_by_age(&first, newer.as_deref(), older.as_deref()))
        }
    }))
}

/// Lines as a table.
fn lines(visit: &Visit, lines: &[TrailLine]) -> Markup {
    let rows = html! {
        @for line in lines {
            tr {
                td { (ago(line.at, visit.now)) br; small { (at(line.at)) } }
                th scope="row" { (line.action) }
                td class="m w" { (subject(line)) }
                td class="w" { (line.by) }
                td class="w" { (line.reason) (detail(line)) }
            }
        }
    };
    table("Audit trail", &heads(&["When", "What", "To what", "By", "Reason"]), &rows)
}

/// What it was done to, as a link where there is a page.
fn subject(line: &TrailLine) -> Markup {
    let to = match line.action.split('.').next() {
        Some("dead-letter") => Some(format!("/dead-letters/{}", encoded(&line.subject))),
        Some("circuit") => Some(format!("/circuits/{}", encoded(&line.subject))),
        Some("checkpoint" | "pause" | "function") => {
            Some(format!("/functions/{}", encoded(line.subject.split('/').next().unwrap_or_default())))
        }
        _ => None,
    };
    html! { @match to { Some(to) => a href=(to) { (line.subject) }, None => (line.subject) } }
}

/// What there is besides.
pub(super) fn detail(line: &TrailLine) -> Markup {
    let diff = line.detail.get("diff").and_then(|diff| diff.as_str()).filter(|diff| !diff.is_empty());
    let is_empty = match &line.detail {
        serde_json::Value::Null => true,
        serde_json::Value::Object(members) => members.is_empty(),
        _ => false,
    };
    html! {
        @match (diff, is_empty) {
            (Some(diff), _) => details { summary { "what changed" } (unified(diff)) },
            (None, false) => { " " small class="w" { (text::shortened(&told(&line.detail), 200)) } },
            (None, true) => {}
        }
    }
}

/// Members of an object one after the other; anything deeper as it is.
fn told(detail: &serde_json::Value) -> String {
    let Some(members) = detail.as_object() else { return detail.to_string() };
    let member = |(name, value): (&String, &serde_json::Value)| {
        format!("{}: {}", name.replace('_', " "), written(value))
    };
    let members = members.iter().filter(|(_, value)| !value.is_null()).map(member);
    members.collect::<Vec<_>>().join(", ")
}

/// The newest lines, of one subject if given.
///
/// # Errors
/// What the API says.
pub(super) async fn newest(
    visit: &Visit,
    subject: Option<&str>,
    begin: Begin,
    wanted: usize,
) -> Outcome<Newest<TrailLine>> {
    let subject = subject.map_or(String::new(), |subject| format!("subject={}", encoded(subject)));
    newest::page(visit, &format!("/api/v1/trail?{subject}"), begin, wanted, |line: &TrailLine| line.number)
        .await
}
