//! Hubs: all of them, and one with its partitions and who reads it.

mod source;

use axum::extract::Path;
use maud::{Markup, html};

use tidegate_api::{Hub, HubOverview, LaneOverview, Overview};

use crate::api::{Listing, encoded};
use crate::components::chart::{Chart, Line, Look, Unit};
use crate::components::facts::{Figure, facts, figures};
use crate::components::lane::lanes;
use crate::components::mark::Tone;
use crate::components::notice::{empty, notice};
use crate::components::source::{why, word};
use crate::components::table::{heads, pager, table};
use crate::components::time::{ago, ago_if};
use crate::page::{Page, Section};
use crate::pages::measured;
use crate::problem::{Outcome, Problem};
use crate::series::Measured;
use crate::text;
use crate::visit::Visit;

/// How much of the past the charts show, in seconds.
const PAST_SECONDS: u32 = 900;

/// All hubs.
///
/// # Errors
/// What the API says.
pub(super) async fn list(visit: Visit) -> Outcome<Page> {
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let after = visit.parameter("after");
    let path = crate::api::address("/api/v1/hubs", &[("after", after.as_deref())]);
    let hubs: Listing<Hub> = visit.api.get(&path).await?;
    let mut page = Page::new(Section::Hubs, "Hubs");
    let table = page.live("hubs", listed(&hubs, &overview, after.is_none(), &visit));
    let next = hubs.next.as_deref().map(|next| crate::api::address("/hubs", &[("after", Some(next))]));
    let first = after.is_some().then_some("/hubs");
    Ok(page.body(html! { (table) (pager(first, next.as_deref())) }))
}

fn listed(hubs: &Listing<Hub>, overview: &Overview, with_sources: bool, visit: &Visit) -> Markup {
    let rates = |name: &str| overview.hubs.iter().find(|hub| hub.hub == name);
    let sources = overview.hubs.iter().filter(|hub| with_sources && hub.source);
    let names = ["Hub", ">Incoming", ">Published", ">Kept", ">Size", ">Partitions", "Last event", "Read by"];
    let rows = html! {
        @for hub in &hubs.items {
            tr {
                th scope="row" { (link(&hub.hub)) }
                td class="n" { (incoming(rates(&hub.hub))) }
                td class="n" { (text::count(hub.partitions.iter().map(|partition| partition.tail).sum())) }
                td class="n" { (text::count(kept(hub))) }
                td class="n" { (text::bytes(hub.partitions.iter().map(|partition| partition.size_bytes).sum())) }
                td class="n" { (hub.partitions.len()) }
                td { (ago_if(hub.partitions.iter().filter_map(|partition| partition.last_enqueued_at).max(), visit.now)) }
                td { (readers(&hub.functions)) }
            }
        }
        @for source in sources {
            @let functions: Vec<String> = readers_of(overview, &source.hub);
            tr class=[source.away.then_some("act")] {
                th scope="row" {
                    (link(&source.hub)) " "
                    @if let Some(status) = &source.status { (word(status)) @if source.away { (why(status, visit.now)) } }
                }
                td class="n" { (incoming(Some(source))) }
                // Of one that was never reached nothing is known.
                td class="n" { (if source.partitions > 0 { text::count(source.published) } else { text::NOTHING.to_owned() }) }
                td class="n" { (text::NOTHING) }
                td class="n" { (text::NOTHING) }
                td class="n" { (if source.partitions > 0 { source.partitions.to_string() } else { text::NOTHING.to_owned() }) }
                td { (text::NOTHING) }
                td { (readers(&functions)) }
            }
        }
    };
    html! {
        @if hubs.items.is_empty() && !overview.hubs.iter().any(|hub| hub.source) {
            (empty("There is no hub yet.", &html! { "Make one: " code { "tidegate hubs create NAME" } ", or declare one in the configuration." }))
        } @else {
            (table("Hubs", &heads(&names), &rows))
        }
    }
}

fn link(hub: &str) -> Markup {
    html! { a href={ "/hubs/" (encoded(hub)) } { (hub) } }
}

fn incoming(hub: Option<&HubOverview>) -> String {
    hub.and_then(|hub| hub.incoming_per_s).map_or_else(|| text::NOTHING.to_owned(), text::rate)
}

fn kept(hub: &Hub) -> u64 {
    hub.partitions.iter().map(|partition| partition.tail.saturating_sub(partition.head)).sum()
}

fn readers(functions: &[String]) -> Markup {
    html! {
        @if functions.is_empty() { span class="nothing" { "no function" } }
        @for (at, function) in functions.iter().enumerate() {
            @if at > 0 { ", " }
            a href={ "/functions/" (encoded(function)) } { (function) }
        }
    }
}

fn readers_of(overview: &Overview, hub: &str) -> Vec<String> {
    let readers = overview.functions.iter().filter(|function| function.hub == hub);
    readers.map(|function| function.function.clone()).collect()
}

/// One hub.
///
/// # Errors
/// What the API says.
pub(super) async fn show(visit: Visit, Path(name): Path<String>) -> Outcome<Page> {
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let rates = overview.hubs.iter().find(|hub| hub.hub.eq_ignore_ascii_case(&name));
    let hub: Option<Hub> = match rates {
        // The hub of somebody else is not among ours.
        Some(rates) if rates.source => None,
        _ => Some(visit.api.get(&format!("/api/v1/hubs/{}", encoded(&name))).await?),
    };
    let Some(name) = hub.as_ref().map(|hub| &hub.hub).or(rates.map(|rates| &rates.hub)).cloned() else {
        return Err(Problem::not_found(format!("there is no hub {name:?}")));
    };
    let source = if hub.is_none() { source::ask(&visit, &name).await? } else { None };
    let series = [format!("hub.{name}.incoming"), format!("hub.{name}.bytes")];
    let measured = Measured::fetch(&visit, series.clone(), PAST_SECONDS).await?;
    let mut page = Page::new(Section::Hubs, name.clone()).below("Hubs", "/hubs");
    let numbers = page.live("numbers", numbers(hub.as_ref(), rates));
    let charts = page.live("charts", charts(&measured, &series));
    let standing = source.as_ref().map(|source| page.live("standing", source::standing(source, &visit)));
    let partitions = match (&hub, &source) {
        (Some(hub), _) => Some(page.live("partitions", partitions(hub, &visit))),
        (None, Some(source)) => Some(page.live("partitions", source::partitions(source, &visit))),
        (None, None) => None,
    };
    let theirs: Vec<(&str, &str, &LaneOverview)> = overview
        .functions
        .iter()
        .filter(|function| function.hub == name)
        .flat_map(|function| {
            function.lanes.iter().map(|lane| (function.function.as_str(), name.as_str(), lane))
        })
        .collect();
    let lanes = page.live("lanes", html! {
        @if let Some(source) = source.as_ref().filter(|source| theirs.is_empty() && !source.functions.is_empty()) {
            p { (readers(&source.functions)) " is to read it, and begins when it is there." }
        } @else if theirs.is_empty() && source.is_some() {
            p { "No function here reads it." }
        } @else if theirs.is_empty() {
            (empty("No function reads this hub.", &html! { "Its events are kept until their retention ends." }))
        } @else {
            (lanes("Functions on this hub", &theirs, visit.now))
        }
    });
    let can_be_read = rates.is_none_or(|rates| !rates.away);
    Ok(page.body(html! {
        @if let Some(standing) = standing { (standing) }
        (numbers)
        @if can_be_read { p { a class="button" href={ "/hubs/" (encoded(&name)) "/events" } { "Browse its events" } } }
        (charts)
        @if let Some(partitions) = partitions { h2 { "Partitions" } (partitions) }
        h2 { "Who reads it" }
        (lanes)
        @if let Some(hub) = &hub { h2 { "How it is set" } (settings(hub, &visit)) }
    }))
}

fn numbers(hub: Option<&Hub>, rates: Option<&HubOverview>) -> Markup {
    let rate =
        |rate: Option<f64>, form: fn(f64) -> String| rate.map_or_else(|| text::NOTHING.to_owned(), form);
    let mut all = vec![
        Figure::new("Incoming", rate(rates.and_then(|rates| rates.incoming_per_s), text::rate)),
        Figure::new(
            "Volume",
            rate(rates.and_then(|rates| rates.bytes_per_s), |bytes| Unit::ByteRate.write(bytes)),
        ),
    ];
    if let Some(hub) = hub {
        let sizes = hub.partitions.iter().map(|partition| partition.size_bytes);
        all.push(Figure::new(
            "Published",
            text::count(hub.partitions.iter().map(|partition| partition.tail).sum()),
        ));
        all.push(Figure::new("Kept", text::count(kept(hub))));
        all.push(Figure::new("On disk", text::bytes(sizes.sum())));
    } else if let Some(rates) = rates.filter(|rates| rates.partitions > 0) {
        all.push(Figure::new("Published", text::count(rates.published)));
    }
    figures(&all)
}

fn charts(series: &Measured, names: &[String; 2]) -> Markup {
    let (span, [incoming, bytes]) = (series.span(), names);
    html! {
        div class="charts" {
            div class="row even" {
                (Chart {
                    title: "Incoming",
                    unit: Unit::Rate,
                    lines: &[Line { name: "events", look: Look::Area, points: series.points(incoming) }],
                    span,
                    gap: false,
                    tight: false,
                    table: Some(measured::address_of(&names[..1], PAST_SECONDS)),
                }.render())
                (Chart {
                    title: "Volume",
                    unit: Unit::ByteRate,
                    lines: &[Line { name: "bytes", look: Look::Area, points: series.points(bytes) }],
                    span,
                    gap: false,
                    tight: false,
                    table: Some(measured::address_of(&names[1..], PAST_SECONDS)),
                }.render())
            }
        }
    }
}

fn partitions(hub: &Hub, visit: &Visit) -> Markup {
    let names = ["Partition", ">Head", ">Tail", ">Kept", ">Size", "Last event", "Events"];
    let rows = html! {
        @for partition in &hub.partitions {
            tr class=[partition.damage.is_some().then_some("act")] {
                th scope="row" { a href={ "/hubs/" (encoded(&hub.hub)) "/partitions/" (partition.partition) } { (partition.partition) } }
                td class="n" { (text::count(partition.head)) }
                td class="n" { (text::count(partition.tail)) }
                td class="n" { (text::count(partition.tail.saturating_sub(partition.head))) }
                td class="n" { (text::bytes(partition.size_bytes)) }
                td { (ago_if(partition.last_enqueued_at, visit.now)) }
                td { a href={ "/hubs/" (encoded(&hub.hub)) "/events?partition=" (partition.partition) "&from=newest" } { "newest" } }
            }
        }
    };
    html! {
        @for partition in &hub.partitions {
            @if let Some(damage) = &partition.damage {
                (notice(Tone::Act, &html! {
                    "Partition " (partition.partition) " is out of service: " (damage) ". Run " code { "tidegate fsck" } "."
                }))
            }
        }
        (table("Partitions", &heads(&names), &rows))
    }
}

fn settings(hub: &Hub, visit: &Visit) -> Markup {
    let nothing = || text::NOTHING.to_owned();
    facts(&[
        ("Retention", html! { (hub.retention.clone().unwrap_or_else(nothing)) }),
        (
            "Kept at most",
            html! { (hub.retention_bytes.map_or_else(|| "without a limit in bytes".to_owned(), text::bytes)) },
        ),
        ("Consumer groups", html! { (hub.consumer_groups.join(", ")) }),
        ("Declared", html! { @if hub.declared { "by the configuration" } @else { "made by command" } }),
        ("Made", html! { (ago(hub.created_at, visit.now)) }),
        ("Incarnation", html! { span class="m" { (hub.incarnation) } }),
    ])
}
