//! One document, and the events that made it.

use axum::extract::Path;
use maud::{Markup, html};
use serde_json::Value;

use tidegate_api::{Document, DocumentHistory, Writer};

use crate::api::{address, encoded};
use crate::components::chart::{Chart, Line, Look, Unit};
use crate::components::controls::tabs;
use crate::components::facts::facts;
use crate::components::map::{Place, map, place_in};
use crate::components::mark::{Tone, mark};
use crate::components::payload;
use crate::components::table::{heads, pager, table};
use crate::components::time::{ago, at};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::series::Span;
use crate::text;
use crate::visit::Visit;

/// Events of the history on a page.
const SHOWN: &str = "50";

/// The most numbers that can be plotted over the history.
const PLOTS: usize = 12;

/// The page.
pub(super) async fn show(visit: Visit, Path((collection, id)): Path<(String, String)>) -> Outcome<Page> {
    let base = format!("/api/v1/collections/{}/documents/{}", encoded(&collection), encoded(&id));
    let document: Document = visit.api.get(&base).await?;
    let before = visit.parameter("before");
    let history: Option<DocumentHistory> = visit
        .api
        .find(&address(&format!("{base}/history"), &[("before", before.as_deref()), ("limit", Some(SHOWN))]))
        .await?;
    let value: Value = serde_json::from_str(document.document.get()).unwrap_or_default();
    let partition = document.partition.to_string();
    let writer = history.as_ref().map(|history| trace(&history.hub, &partition, document.sequence_number));
    let mut page = Page::new(Section::Documents, id.clone())
        .below("Documents", "/documents")
        .below(collection.as_str(), format!("/documents/{}", encoded(&collection)));
    let head = page.live("document", html! {
        (facts(&[
            ("Changed", html! { (ago(document.updated_at, visit.now)) " " small { (at(document.updated_at)) } }),
            ("Last writer", html! {
                @let place = format!("partition {}, sequence number {}", document.partition, document.sequence_number);
                @match &writer { Some(address) => a href=(address) { (place) }, None => (place) }
            }),
            ("Version", html! { code { (document.etag) } }),
        ]))
        (payload::json_text(document.document.get()))
    });
    let here = format!("/documents/{}/{}", encoded(&collection), encoded(&id));
    Ok(page.body(html! {
        div class="two" {
            (head)
            div { (where_it_is(&id, &value, history.as_ref())) }
        }
        (told(&visit, &here, before.as_deref(), history.as_ref()))
    }))
}

fn trace(hub: &str, partition: &str, sequence_number: u64) -> String {
    let sequence_number = sequence_number.to_string();
    address(
        "/trace",
        &[("hub", Some(hub)), ("partition", Some(partition)), ("sequence_number", Some(&sequence_number))],
    )
}

/// The bodies of the history that can be read, the oldest first. The API gives their beginnings: long ones cannot be.
fn bodies(history: &DocumentHistory) -> Vec<(&Writer, Value)> {
    let read = |writer: &'_ Writer| serde_json::from_str(writer.preview.as_deref()?).ok();
    history.writers.iter().rev().filter_map(|writer| Some((writer, read(writer)?))).collect()
}

/// Where it is and was.
fn where_it_is(id: &str, value: &Value, history: Option<&DocumentHistory>) -> Markup {
    let Some((latitude, longitude)) = place_in(value) else { return html! {} };
    let mut places: Vec<Place> = history
        .map(bodies)
        .unwrap_or_default()
        .iter()
        .filter_map(|(writer, value)| {
            let (latitude, longitude) = place_in(value)?;
            Some(Place { longitude, latitude, name: text::exact(writer.enqueued_at), address: None })
        })
        .collect();
    places.push(Place { longitude, latitude, name: id.to_owned(), address: None });
    map(id, &places, true)
}

fn told(visit: &Visit, here: &str, before: Option<&str>, history: Option<&DocumentHistory>) -> Markup {
    let Some(history) = history else {
        return html! { h2 { "What made it" } p class="small" { "No function is known here that writes this collection, so its events cannot be found." } };
    };
    let partition = history.partition.to_string();
    let rows = html! {
        @for writer in &history.writers {
            tr {
                th scope="row" class="m" { a href=(trace(&history.hub, &partition, writer.sequence_number)) { (writer.partition) "/" (writer.sequence_number) } }
                td { (ago(writer.enqueued_at, visit.now)) br; small { (at(writer.enqueued_at)) } }
                td {
                    (outcome(&writer.outcome))
                    @if let Some(letter) = writer.dead_letter { " " a href={ "/dead-letters/" (letter) } { "#" (letter) } }
                }
                td class="m w" { @match &writer.preview { Some(preview) => (text::shortened(preview, 200)), None => span class="nothing" { "bytes" } } }
            }
        }
    };
    let next = history.next.map(|next| address(here, &[("before", Some(&next.to_string()))]));
    html! {
        section aria-labelledby="history-title" {
            h2 id="history-title" { "What made it" }
            p class="small" {
                "Events of " a href={ "/hubs/" (encoded(&history.hub)) } { (history.hub) } ", by " a href={ "/functions/" (encoded(&history.function)) } { (history.function) } ", the newest first; "
                (text::counted(history.looked_at, "event was", "events were")) " looked at. The log begins at " (text::count(history.head)) "."
            }
            (plot(visit, history))
            @if history.writers.is_empty() {
                p class="small" { "None in this part of the log." }
            } @else {
                (table("Events that made the document", &heads(&["Event", "When", "Outcome", "Body"]), &rows))
            }
            (pager(before.map(|_| here), next.as_deref()))
        }
    }
}

fn outcome(outcome: &str) -> Markup {
    let tone = match outcome {
        "dead-lettered" => Tone::Act,
        "parked" => Tone::Watch,
        "pending" => Tone::Busy,
        _ => Tone::Calm,
    };
    mark(tone, outcome)
}

/// A number of the events over the history.
fn plot(visit: &Visit, history: &DocumentHistory) -> Markup {
    let bodies = bodies(history);
    let mut names: Vec<&String> = Vec::new();
    for (_, body) in &bodies {
        for (name, value) in body.as_object().into_iter().flatten() {
            if value.is_number() && !names.contains(&name) && names.len() < PLOTS {
                names.push(name);
            }
        }
    }
    if bodies.len() < 2 || names.is_empty() {
        return html! {};
    }
    let wanted = visit.parameter("plot");
    let chosen = names.iter().find(|name| wanted.as_deref() == Some(name.as_str())).unwrap_or(&names[0]);
    let points: Vec<Option<f64>> =
        bodies.iter().map(|(_, body)| body.get(chosen.as_str()).and_then(Value::as_f64)).collect();
    let choices: Vec<(&str, String, bool)> = names
        .iter()
        .map(|name| {
            (
                name.as_str(),
                address(
                    visit.uri.path(),
                    &[("plot", Some(name)), ("before", visit.parameter("before").as_deref())],
                ),
                name == chosen,
            )
        })
        .collect();
    let seconds = match (bodies.first(), bodies.last()) {
        (Some((first, _)), Some((last, _))) => last.enqueued_at.since(first.enqueued_at).as_secs_f64(),
        _ => 0.0,
    };
    html! {
        (tabs("Number", &choices))
        (Chart {
            title: "Event by event",
            unit: Unit::Number,
            lines: &[Line { name: chosen, look: Look::Strong, points: &points }],
            span: Span { from: None, seconds, step_s: 0.0 },
            gap: false,
            tight: true,
            table: None,
        }.render())
    }
}
