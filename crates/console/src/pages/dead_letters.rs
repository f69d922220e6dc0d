//! Dead letters: grouped by what caused them, listed, and where they are looked at and decided one by one or together.

mod act;
mod act_progress;
mod edit;
mod filter;
mod letter;
mod trend;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use maud::{Markup, html};

use tidegate_api::{DeadLetter, DeadLetterGroup};

use crate::Shared;
use crate::api::{Listing, address, encoded};
use crate::components::controls;
use crate::components::facts::{Figure, facts, figures};
use crate::components::mark::{Tone, mark};
use crate::components::notice::{empty, notice};
use crate::components::payload;
use crate::components::table::{heads, pager_by_age, table};
use crate::components::time::ago;
use crate::newest::{self, Begin};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

use filter::Filter;
use trend::Trends;

/// Dead letters on a page of the list.
const SHOWN: usize = 50;

/// The characters of a reason or key in a list.
const SHORT: usize = 160;

/// The characters of a body in a list.
const PREVIEW: usize = 100;

/// Their addresses.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/dead-letters", get(show))
        .route("/dead-letters/groups/{cause}", get(group))
        .route("/dead-letters/act", get(act::confirm).post(act::act))
        .route("/dead-letters/acts/{id}", get(act_progress::show))
        .route("/dead-letters/acts/{id}/stop", post(act_progress::stop))
        .route("/dead-letters/{id}", get(letter::show))
        .route("/dead-letters/{id}/note", post(letter::note))
        .route("/dead-letters/{id}/edit", get(edit::show).post(edit::edit))
}

/// How a status is shown.
pub(super) fn status_mark(status: &str) -> Markup {
    let tone = match status {
        "open" => Tone::Act,
        "quarantined" => Tone::Watch,
        "redriving" => Tone::Busy,
        _ => Tone::Calm,
    };
    mark(tone, status)
}

/// A page of them: by cause, or one by one.
async fn show(visit: Visit) -> Outcome<Page> {
    let filter = Filter::of(&visit);
    let is_list = visit.parameter("view").as_deref() == Some("list");
    let view = |list: bool| filter.address("/dead-letters", &[("view", list.then_some("list"))]);
    let content = if is_list {
        list(&visit, &filter, "/dead-letters", &[("view", Some("list"))]).await
    } else {
        groups(&visit, &filter).await
    };
    let mut page = Page::new(Section::DeadLetters, "Dead letters");
    let lately = page.live("lately", act_progress::lately(&visit).await?);
    Ok(page.body(html! {
        (lately)
        (controls::tabs("View", &[("By cause", view(false), !is_list), ("One by one", view(true), is_list)]))
        (filter.form(is_list))
        (or_refusal(content)?)
    }))
}

/// A filter that the API does not take is said where it is; anything else is a page of its own.
fn or_refusal(content: Outcome<Markup>) -> Outcome<Markup> {
    match content {
        Err(problem) if problem.status == axum::http::StatusCode::BAD_REQUEST => Ok(refusal(&problem)),
        content => content,
    }
}

/// What was refused, in a sentence.
pub(super) fn refusal(problem: &Problem) -> Markup {
    html! {
        div role="alert" {
            (notice(Tone::Act, &html! {
                (problem.detail) "."
                @if !problem.action.is_empty() { " " span class="lines" { (problem.action) } }
                @if !problem.code.is_empty() { " " a href={ "/errors/" (encoded(&problem.code)) } { (problem.code) } }
            }))
        }
    }
}

fn nothing(filter: &Filter) -> Markup {
    match filter.is_narrow() {
        true => empty(
            "No dead letter matches",
            &html! { "Widen the filter, or " a href="/dead-letters" { "look at all that wait for a decision" } "." },
        ),
        false => empty(
            "No dead letter waits for a decision",
            &html! { "An event becomes one when its function rejects it, or when its attempts are used up." },
        ),
    }
}

async fn groups(visit: &Visit, filter: &Filter) -> Outcome<Markup> {
    let found: Listing<DeadLetterGroup> = visit
        .api
        .get(&format!("/api/v1/dead-letter-groups?{}&limit=200", filter.api_query(visit.now)))
        .await?;
    if found.items.is_empty() {
        return Ok(nothing(filter));
    }
    let trends = Trends::ask(visit).await?;
    let total: u64 = found.items.iter().map(|group| group.count).sum();
    let or_more = |number: String| if found.truncated { format!("over {number}") } else { number };
    let first = found.items.iter().map(|group| group.first_at).min();
    let last = found.items.iter().map(|group| group.last_at).max();
    let rows = html! {
        @for group in &found.items {
            @let at = filter.address(&format!("/dead-letters/groups/{}", encoded(&group.fingerprint)), &[("function", None), ("class", None), ("cause", None)]);
            tr {
                td class="n big" { (text::count(group.count)) }
                th scope="row" class="w" { a href=(at) { (text::shortened(&group.reason, SHORT)) } br; small { (group.function) ", " (group.class) ": " (class_in_words(&group.class)) } }
                td class="wide" { (ago(group.first_at, visit.now)) }
                td class="wide" { (ago(group.last_at, visit.now)) }
                @if trends.are_known() { td class="wide" { (trends.spark(&group.fingerprint)) } }
                td class="acts" {
                    @if visit.viewer.may(Role::Operator) {
                        a href=(act::address(crate::bulk::Deed::Redrive, &filter.with("cause", &group.fingerprint))) { "Redrive" span class="unseen" { " all of this cause" } }
                        a href=(act::address(crate::bulk::Deed::Discard, &filter.with("cause", &group.fingerprint))) { "Discard" span class="unseen" { " all of this cause" } }
                    }
                }
            }
        }
    };
    let mut wide = vec!["First", "Last"];
    if trends.are_known() {
        wide.push("Last day");
    }
    let head = html! {
        (heads(&[">Count", "Cause"]))
        @for name in wide { th scope="col" class="wide" { (name) } }
        th scope="col" { span class="unseen" { "Acts" } }
    };
    Ok(html! {
        (figures(&[
            Figure::new(filter.meaning(), or_more(text::count(total))),
            Figure::new("Causes", or_more(text::count(found.items.len() as u64))),
            Figure::new("First", first.map_or_else(|| text::NOTHING.to_owned(), |at| text::relative(at, visit.now))),
            Figure::new("Last", last.map_or_else(|| text::NOTHING.to_owned(), |at| text::relative(at, visit.now))),
        ]))
        (table("Dead letters by cause", &head, &rows))
        @if found.truncated { p { "These are the most frequent causes; a narrower filter shows others." } }
        p class="small" { "Events have one cause when the same function fails on them with the same words, apart from numbers and names." }
    })
}

/// The list of those that match, the newest first, with a box each. `path` and `more` are the page's own address.
///
/// Of one cause, all failed for the reason above: then it is the events that differ.
async fn list(visit: &Visit, filter: &Filter, path: &str, more: &[(&str, Option<&str>)]) -> Outcome<Markup> {
    let of_one_cause = filter.get("cause").is_some();
    let begin = Begin::of(visit);
    let listing = format!("/api/v1/dead-letters?{}", filter.api_query(visit.now));
    let found = newest::page(visit, &listing, begin, SHOWN, |letter: &DeadLetter| letter.id).await?;
    if found.items.is_empty() && begin == Begin::Newest {
        return Ok(nothing(filter));
    }
    let may = visit.viewer.may(Role::Operator);
    let rows = html! {
        @for letter in &found.items {
            tr {
                @if may {
                    td { input type="checkbox" name="id" value=(letter.id) id={ "pick-" (letter.id) }; label class="unseen" for={ "pick-" (letter.id) } { "Dead letter " (letter.id) } }
                }
                th scope="row" class="n" { a href={ "/dead-letters/" (letter.id) } { "#" (letter.id) } }
                td { (status_mark(&letter.status)) }
                @if of_one_cause {
                    td class="m w" { (preview(letter)) }
                } @else {
                    td class="w" { (text::shortened(&letter.reason, SHORT)) }
                    td class="wide" { (letter.function) br; small { (letter.class) } }
                }
                td class="m wide" { (letter.hub) "/" (letter.partition) "/" (letter.sequence_number) }
                td class="m wide" { (text::shortened(letter.partition_key.as_deref().unwrap_or(text::NOTHING), 40)) }
                td class="wide" { (ago(letter.dead_lettered_at, visit.now)) }
                td class="n wide" { (letter.attempts.len()) @if letter.returns > 0 { br; small { "came back " (letter.returns) "×" } } }
            }
        }
    };
    let head = html! {
        @if may { th scope="col" { span class="unseen" { "Select" } } }
        (heads(&[">Number", "Status"]))
        @if of_one_cause { th scope="col" { "What came" } } @else { th scope="col" { "Reason" } th scope="col" class="wide" { "Function" } }
        @for name in ["Event", "Key", "Since"] { th scope="col" class="wide" { (name) } }
        th scope="col" class="n wide" { "Attempts" }
    };
    let listing = table("Dead letters", &head, &rows);
    let from = |name: &str, number: u64| {
        let number = number.to_string();
        let mut more = more.to_vec();
        more.push((name, Some(&number)));
        filter.address(path, &more)
    };
    let first = filter.address(path, more);
    let (newer, older) =
        (found.newer.map(|number| from("after", number)), found.older.map(|number| from("before", number)));
    Ok(html! {
        @if may {
            form method="get" action="/dead-letters/act" class="picked" {
                input type="hidden" name="picks" value="1";
                (listing)
                p class="deed" {
                    button type="submit" name="do" value="redrive" { "Redrive selected" }
                    button type="submit" name="do" value="discard" { "Discard selected" }
                    span class="small" { "or, of all that match: " }
                    a href=(act::address(crate::bulk::Deed::Redrive, filter)) { "redrive" }
                    a href=(act::address(crate::bulk::Deed::Discard, filter)) { "discard" }
                }
            }
        } @else {
            (listing)
        }
        (pager_by_age(&first, newer.as_deref(), older.as_deref()))
    })
}

/// The beginning of the event's body.
fn preview(letter: &DeadLetter) -> String {
    match &letter.event {
        Some(event) => {
            payload::line(event.body.as_deref(), event.body_base64.as_deref().unwrap_or_default(), PREVIEW)
        }
        None => payload::line(None, &letter.body_base64, PREVIEW),
    }
}

/// All of one cause.
async fn group(visit: Visit, Path(cause): Path<String>) -> Outcome<Page> {
    let filter = Filter::of(&visit).with("cause", &cause);
    let found: Listing<DeadLetterGroup> =
        visit.api.get(&format!("/api/v1/dead-letter-groups?{}&limit=1", filter.api_query(visit.now))).await?;
    let path = format!("/dead-letters/groups/{}", encoded(&cause));
    // The cause is in the address already.
    let beside = filter.without("cause");
    let page = Page::new(Section::DeadLetters, "Dead letters of one cause")
        .below("Dead letters", beside.address("/dead-letters", &[]));
    let Some(group) = found.items.first() else {
        return Ok(page.body(html! {
            (beside.status_tabs(&path))
            (empty("None of this cause are there", &html! { "They were decided, or the filter leaves them out. " a href=(address(&path, &[("status", Some("all"))])) { "Show all of this cause" } "." }))
        }));
    };
    let trends = Trends::ask(&visit).await?;
    let list = list(&visit, &beside.with("cause", &cause), &path, &[("cause", None)]).await?;
    Ok(page.body(html! {
        p class="lead w" { (group.reason) }
        div class="two" {
            (facts(&[
                (filter.meaning(), html! { strong { (text::count(group.count)) } }),
                ("Function", html! { a href={ "/functions/" (encoded(&group.function)) } { (group.function) } }),
                ("Class", html! { (group.class) ": " (class_in_words(&group.class)) }),
                ("First", ago(group.first_at, visit.now)),
                ("Last", ago(group.last_at, visit.now)),
                ("Cause", html! { code { (group.fingerprint) } }),
            ]))
            (trends.chart(&group.fingerprint))
        }
        @if visit.viewer.may(Role::Operator) {
            p class="deed" {
                a class="button" href=(act::address(crate::bulk::Deed::Redrive, &filter)) { "Redrive all…" }
                a class="button" href=(act::address(crate::bulk::Deed::Discard, &filter)) { "Discard all…" }
                span class="small" { "First it is said how many there are, and a reason is asked." }
            }
            @if group.class == "permanent" {
                p class="small" {
                    "Redriven as they are, they fail again unless the function was changed since. Open one by its number to see it \
                     whole, to edit it and to redrive what the function takes then; discard what is worth nothing."
                }
            }
        } @else {
            (controls::lacking(&visit, Role::Operator))
        }
        (beside.status_tabs(&path))
        (list)
    }))
}

/// What a class means.
pub(super) fn class_in_words(class: &str) -> &'static str {
    match class {
        "permanent" => "it can never be processed as it is",
        "exhausted" => "its attempts were used up; it may work when its cause is gone",
        _ => "",
    }
}
