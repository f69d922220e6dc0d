//! The audit trail: what was done by hand, by whom and why; the newest first.

use maud::{Markup, html};

use tidegate_api::TrailLine;

use crate::api::{Listing, address, encoded};
use crate::components::controls::{field, filter};
use crate::components::diff::unified;
use crate::components::notice::empty;
use crate::components::table::{heads, pager, table};
use crate::components::time::{ago, at};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// Lines on a page.
const SHOWN: usize = 50;

/// How far back is looked for the lines of one subject, as a number of lines of the whole trail.
const FURTHEST: u64 = 1 << 20;

/// The page.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let subject = visit.parameter("subject");
    let before = visit.parameter("before").and_then(|text| text.parse().ok());
    let newest = newest(&visit, subject.as_deref(), before, SHOWN).await?;
    let here = |before: Option<u64>| {
        let before = before.map(|number| number.to_string());
        address("/trail", &[("subject", subject.as_deref()), ("before", before.as_deref())])
    };
    let next = newest.older.map(|number| here(Some(number)));
    let first = before.map(|_| here(None));
    Ok(Page::new(Section::Trail, "Audit trail").body(html! {
        (filter("/trail", &field("subject", "About", subject.as_deref(), "a function, a dead letter's number, a lane")))
        @if newest.lines.is_empty() {
            (empty("Nothing was done by hand", &html! { @if subject.is_some() { "at least not to this. " a href="/trail" { "The whole trail" } } @else { "What people do here and with the commands stands here afterwards." } }))
        } @else {
            (lines(&visit, &newest.lines))
            (pager(first.as_deref(), next.as_deref()))
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
            (None, false) => { " " small class="m w" { (text::shortened(&line.detail.to_string(), 200)) } },
            (None, true) => {}
        }
    }
}

/// The newest lines, the newest first.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The lines.
    pub(super) lines: Vec<TrailLine>,
    /// Older ones are before this number; nothing when there are none, or none within reach.
    pub(super) older: Option<u64>,
}

/// The newest lines of the trail, of one subject if given, before a number if given. The API tells the trail from its
/// beginning on; where its end is, is found by halving.
///
/// # Errors
/// What the API says.
pub(super) async fn newest(
    visit: &Visit,
    subject: Option<&str>,
    before: Option<u64>,
    wanted: usize,
) -> Outcome<Newest> {
    let ask = async |after: u64, limit: usize| -> Outcome<Vec<TrailLine>> {
        let (after, limit) = (after.to_string(), limit.to_string());
        let query = [("subject", subject), ("after", Some(after.as_str())), ("limit", Some(limit.as_str()))];
        Ok(visit.api.get::<Listing<TrailLine>>(&address("/api/v1/trail", &query)).await?.items)
    };
    let end = match before {
        Some(before) => before,
        None => {
            // `low` has lines after it, or is the beginning; `high` has none.
            let (mut low, mut high) = (0_u64, 64_u64);
            while let Some(line) = ask(high, 1).await?.first() {
                (low, high) = (line.number, line.number.saturating_mul(2));
            }
            while low < high {
                let middle = low + (high - low) / 2;
                match ask(middle, 1).await?.first() {
                    Some(line) => low = line.number,
                    None => high = middle,
                }
            }
            high.saturating_add(1)
        }
    };
    // Lines of one subject are sparse: the stretch is made longer until it has enough of them.
    let mut stretch = wanted as u64;
    loop {
        let from = end.saturating_sub(1).saturating_sub(stretch);
        let mut lines = ask(from, 1000).await?;
        lines.retain(|line| line.number < end);
        if lines.len() >= wanted || from == 0 || stretch >= FURTHEST {
            let has_older =
                lines.len() > wanted || (from > 0 && !ask(0, 1).await?.iter().all(|line| line.number > from));
            lines.reverse();
            lines.truncate(wanted);
            let older = lines.last().map_or(from + 1, |line| line.number);
            return Ok(Newest { lines, older: has_older.then_some(older) });
        }
        stretch = stretch.saturating_mul(4);
    }
}
