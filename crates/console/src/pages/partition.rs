//! One partition: what the log holds of it, how far each function is, and its newest events.

use axum::extract::Path;
use maud::{Markup, html};

use tidegate_api::{Checkpoint, Event, Hub, LaneOverview, Overview, Partition};

use crate::api::{Listing, encoded};
use crate::components::facts::{Figure, figures};
use crate::components::lane::{lanes, number};
use crate::components::mark::Tone;
use crate::components::notice::{empty, notice};
use crate::components::table::{heads, table};
use crate::components::time::ago_if;
use crate::page::{Page, Section};
use crate::pages::events::listed;
use crate::problem::{Outcome, Problem};
use crate::text;
use crate::visit::Visit;

/// How many of the newest events are shown.
const NEWEST: u64 = 10;

/// The page.
///
/// # Errors
/// What the API says.
pub(super) async fn show(visit: Visit, Path((name, number)): Path<(String, u32)>) -> Outcome<Page> {
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let is_source = overview.hubs.iter().any(|hub| hub.source && hub.hub == name);
    let at = format!("/api/v1/hubs/{}", encoded(&name));
    let partition = match is_source {
        true => None,
        false => {
            let hub: Hub = visit.api.get(&at).await?;
            let count = hub.partitions.len();
            let found = hub.partitions.into_iter().find(|partition| partition.partition == number);
            Some(found.ok_or_else(|| {
                Problem::not_found(format!("{name} has no partition {number}; it has {count}, from 0"))
            })?)
        }
    };
    let checkpoints: Listing<Checkpoint> = visit.api.get("/api/v1/checkpoints").await?;
    let checkpoints: Vec<&Checkpoint> = checkpoints
        .items
        .iter()
        .filter(|checkpoint| checkpoint.hub == name && checkpoint.partition == number)
        .collect();
    let newest = newest(&visit, &at, partition.as_ref()).await?;
    let theirs: Vec<(&str, &str, &LaneOverview)> = overview
        .functions
        .iter()
        .filter(|function| function.hub == name)
        .flat_map(|function| {
            function.lanes.iter().map(|lane| (function.function.as_str(), name.as_str(), lane))
        })
        .filter(|(_, _, lane)| lane.partition == number)
        .collect();

    let mut page = Page::new(Section::Hubs, format!("Partition {number} of {name}"))
        .below("Hubs", "/hubs")
        .below(name.clone(), format!("/hubs/{}", encoded(&name)));
    let log = page.live("log", log(partition.as_ref(), &visit));
    let reading = page.live("reading", html! {
        @if theirs.is_empty() {
            (empty("No function reads this partition.", &html! { "Its events are kept until their retention ends." }))
        } @else {
            (lanes("Functions on this partition", &theirs, visit.now))
            (outcomes(&checkpoints))
        }
    });
    let events = page.live("newest", listed(&name, &newest, &visit));
    Ok(page.body(html! {
        (log)
        h2 { "Who reads it" }
        (reading)
        h2 { a href={ "/hubs/" (encoded(&name)) "/events?partition=" (number) "&from=newest" } { "Newest events" } }
        (events)
    }))
}

async fn newest(visit: &Visit, hub: &str, partition: Option<&Partition>) -> Outcome<Vec<Event>> {
    let Some(partition) =
        partition.filter(|partition| partition.damage.is_none() && partition.tail > partition.head)
    else {
        return Ok(Vec::new());
    };
    let from = partition.tail.saturating_sub(NEWEST).max(partition.head);
    let path = format!("{hub}/events?partition={}&from={from}&limit={NEWEST}", partition.partition);
    let mut events: Listing<Event> = visit.api.get(&path).await?;
    events.items.reverse();
    Ok(events.items)
}

fn log(partition: Option<&Partition>, visit: &Visit) -> Markup {
    html! {
        @match partition {
            None => p class="small" { "This hub is read from elsewhere: its log is not here." },
            Some(partition) => {
                @if let Some(damage) = &partition.damage {
                    (notice(Tone::Act, &html! { "Out of service: " (damage) ". Run " code { "tidegate fsck" } "." }))
                }
                (figures(&[
                    Figure::new("Head", text::count(partition.head)).note(html! { "the oldest kept event" }),
                    Figure::new("Tail", text::count(partition.tail)).note(html! { "the next event" }),
                    Figure::new("Kept", text::count(partition.tail.saturating_sub(partition.head))),
                    Figure::new("On disk", text::bytes(partition.size_bytes)),
                    Figure::new("Last event", "").note(ago_if(partition.last_enqueued_at, visit.now)),
                ]))
            }
        }
    }
}

/// What became of the events that each function had so far.
fn outcomes(checkpoints: &[&Checkpoint]) -> Markup {
    let names = [
        "Function",
        ">Began at",
        ">Applied",
        ">Filtered",
        ">Dead-lettered",
        ">Parked",
        ">Discarded",
        ">Lost",
        ">Resolved up to",
    ];
    let rows = html! {
        @for checkpoint in checkpoints {
            tr {
                th scope="row" { a href={ "/functions/" (encoded(&checkpoint.function)) } { (checkpoint.function) } }
                td class="n" { (text::count(checkpoint.start)) }
                td class="n" { (text::count(checkpoint.applied)) }
                td class="n" { (text::count(checkpoint.filtered)) }
                td class="n" { (text::count(checkpoint.dead_lettered)) }
                td class="n" { (text::count(checkpoint.parked)) }
                td class="n" { (text::count(checkpoint.discarded)) }
                td class="n" { (text::count(checkpoint.lost)) }
                td class="n" { (number(checkpoint.sequence_number)) }
            }
        }
    };
    html! {
        @if !checkpoints.is_empty() { (table("What became of its events", &heads(&names), &rows)) }
    }
}
