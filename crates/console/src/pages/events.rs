//! The events of a partition, from any position or time, with their bodies decoded.

use axum::extract::Path;
use maud::{Markup, html};

use tidegate_api::{Event, Hub, Overview};

use crate::api::{Listing, address, encoded};
use crate::components::controls::{choice, field, filter};
use crate::components::notice::empty;
use crate::components::payload::{body, line, properties};
use crate::components::time::{ago, at as exact};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::text;
use crate::visit::Visit;

/// How many events a page shows, unless more are asked for.
const SHOWN: u64 = 25;

/// How many it shows at most.
const MOST: u64 = 100;

/// How much of a body the line of an event shows, in characters.
const LINE: usize = 110;

/// The page.
///
/// # Errors
/// What the API says.
pub(super) async fn show(visit: Visit, Path(hub): Path<String>) -> Outcome<Page> {
    let number = |name: &str| -> Outcome<Option<u64>> {
        let Some(text) = visit.parameter(name) else { return Ok(None) };
        let shown = text::shortened(&text, 64);
        text.parse().map(Some).map_err(|_| {
            Problem::bad_request(format!("{name} cannot be {shown:?}")).action("give a whole number")
        })
    };
    let partition = number("partition")?.unwrap_or(0);
    let limit = number("limit")?.unwrap_or(SHOWN).clamp(1, MOST);
    let from = visit.parameter("from").unwrap_or_else(|| "newest".to_owned());
    let at = format!("/api/v1/hubs/{}", encoded(&hub));
    let known: Option<Hub> = visit.api.find(&at).await?;
    let bounds = known.as_ref().and_then(|hub| {
        hub.partitions
            .iter()
            .find(|known| u64::from(known.partition) == partition)
            .map(|known| (known.head, known.tail))
    });
    let start = match (from.as_str(), bounds) {
        ("newest", Some((head, tail))) => tail.saturating_sub(limit).max(head).to_string(),
        ("newest", None) => "earliest".to_owned(),
        (from, _) => from.to_owned(),
    };
    let path = address(
        &format!("{at}/events"),
        &[
            ("partition", Some(&partition.to_string())),
            ("from", Some(&start)),
            ("limit", Some(&limit.to_string())),
        ],
    );
    let events: Listing<Event> = visit.api.get(&path).await?;
    let count = match &known {
        Some(hub) => hub.partitions.len() as u64,
        None => {
            let overview: Overview = visit.api.get("/api/v1/overview").await?;
            overview.hubs.iter().find(|known| known.hub == hub).map_or(1, |known| u64::from(known.partitions))
        }
    };
    let page = Page::new(Section::Hubs, format!("Events of {hub}"))
        .below("Hubs", "/hubs")
        .below(hub.clone(), format!("/hubs/{}", encoded(&hub)));
    Ok(page.body(html! {
        (fields(&hub, partition, &from, limit, count))
        @if events.items.is_empty() {
            (empty("There are no events here.", &html! { "Nothing was published at or after this position yet, or it was dropped by retention." }))
        } @else {
            (listed(&hub, &events.items, &visit))
        }
        (ways(&hub, partition, limit, &events, bounds))
    }))
}

fn fields(hub: &str, partition: u64, from: &str, limit: u64, count: u64) -> Markup {
    let partitions: Vec<(String, String)> =
        (0..count.max(partition + 1)).map(|at| (at.to_string(), at.to_string())).collect();
    let limits: Vec<(String, String)> =
        [10, SHOWN, 50, MOST].map(|at| (at.to_string(), at.to_string())).into();
    filter(
        &format!("/hubs/{}/events", encoded(hub)),
        &html! {
            (choice("partition", "Partition", Some(&partition.to_string()), &partitions))
            (field("from", "From", Some(from), "newest, earliest, 1200, 2026-01-31T12:00:00Z"))
            (choice("limit", "Events", Some(&limit.to_string()), &limits))
        },
    )
}

/// The ways to earlier and later events.
fn ways(
    hub: &str,
    partition: u64,
    limit: u64,
    events: &Listing<Event>,
    bounds: Option<(u64, u64)>,
) -> Markup {
    let to = |from: String| {
        let query = [
            ("partition", Some(partition.to_string())),
            ("from", Some(from)),
            ("limit", Some(limit.to_string())),
        ];
        let query: Vec<(&str, Option<&str>)> =
            query.iter().map(|(name, value)| (*name, value.as_deref())).collect();
        address(&format!("/hubs/{}/events", encoded(hub)), &query)
    };
    let first = events.items.first().map(|event| event.sequence_number);
    let head = bounds.map_or(0, |(head, _)| head);
    html! {
        nav class="pager" aria-label="Pages" {
            a href=(to("earliest".to_owned())) { "Oldest" }
            @if let Some(first) = first.filter(|first| *first > head) {
                a href=(to(first.saturating_sub(limit).max(head).to_string())) rel="prev" { "Earlier" }
            }
            @if let Some(next) = &events.next { a href=(to(next.clone())) rel="next" { "Later" } }
            a href=(to("newest".to_owned())) { "Newest" }
        }
    }
}

/// Events, one line each, to be opened for the whole of them.
pub(super) fn listed(hub: &str, events: &[Event], visit: &Visit) -> Markup {
    html! {
        @if !events.is_empty() {
            div class="events" {
                div class="event-heads" aria-hidden="true" { span class="n" { "Sequence" } span { "Enqueued" } span { "Key" } span { "Body" } }
                @for event in events {
                    details class="event" id={ "e" (event.partition) "-" (event.sequence_number) } {
                        summary {
                            span class="n m" { (text::count(event.sequence_number)) }
                            span { (ago(event.enqueued_at, visit.now)) }
                            span class="m cut" { (event.partition_key.as_deref().map_or_else(|| text::NOTHING.to_owned(), |key| text::shortened(key, 40))) }
                            span class="m cut" { (line(event.body.as_deref(), &event.body_base64, LINE)) }
                        }
                        div class="opened" {
                            p {
                                a class="button" href=(trace(hub, event)) { "What happened to it" }
                                " enqueued " (exact(event.enqueued_at)) ", offset " span class="m" { (event.offset) }
                            }
                            (whole(event))
                        }
                    }
                }
            }
        }
    }
}

/// An event's body and properties.
pub(super) fn whole(event: &Event) -> Markup {
    html! {
        div class="sides" {
            section { h3 { "Body" } (body(event.body.as_deref(), &event.body_base64)) }
            section {
                h3 { "Key" }
                p class="m w" { (event.partition_key.as_deref().unwrap_or(text::NOTHING)) }
                h3 { "Properties" }
                (properties(&event.properties))
                h3 { "System properties" }
                (properties(&event.system_properties))
            }
        }
    }
}

/// The address of an event's trace.
pub(super) fn trace(hub: &str, event: &Event) -> String {
    let (partition, number) = (event.partition.to_string(), event.sequence_number.to_string());
    address(
        "/trace",
        &[("hub", Some(hub)), ("partition", Some(&partition)), ("sequence_number", Some(&number))],
    )
}
