//! A hub of somebody else: whether it can be read, and what is known of it here.

use maud::{Markup, html};

use tidegate_api::{Source, SourceCheckpoint, SourcePartition, SourceState};

use crate::api::{Listing, address, encoded};
use crate::components::lane::number;
use crate::components::mark::{Tone, shape};
use crate::components::source::{advice, why, word};
use crate::components::table::{heads, table};
use crate::components::time::ago_if;
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// The most pages of the API that are read: each has about a thousand sources.
const MAX_PAGES: usize = 10;

/// The source of this name, as the API has it.
///
/// # Errors
/// What the API says.
pub(super) async fn ask(visit: &Visit, name: &str) -> Outcome<Option<Source>> {
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page: Listing<Source> =
            visit.api.get(&address("/api/v1/sources", &[("after", after.as_deref())])).await?;
        if let Some(found) = page.items.into_iter().find(|source| source.source == name) {
            return Ok(Some(found));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(None)
}

/// How it is, since when, why, and what to do.
pub(super) fn standing(source: &Source, visit: &Visit) -> Markup {
    let status = &source.status;
    let tone = match status.state {
        SourceState::Away | SourceState::Refused => Tone::Act,
        SourceState::Opening => Tone::Busy,
        SourceState::There | SourceState::NotRead => Tone::Calm,
    };
    html! {
        div class={ "state " (tone.class()) } {
            p class="lead" {
                @if status.state == SourceState::There { (shape(Tone::Calm)) " Read from elsewhere" } @else { (word(status)) }
                @if let Some(group) = &source.consumer_group { ", in the consumer group " code { (group) } }
                "."
            }
            (why(status, visit.now))
            @if tone == Tone::Act {
                p {
                    (advice(status.state)) " "
                    a href=(address("/logs", &[("level", Some("warn")), ("text", Some("source"))])) { "What the log says" }
                }
            }
        }
    }
}

/// Its partitions, as they were known last, and how far the functions are in them.
pub(super) fn partitions(source: &Source, visit: &Visit) -> Markup {
    let is_shared = source.partitions.iter().any(|partition| partition.reader.is_some());
    let name = &source.source;
    let place = |partition: &SourcePartition| {
        html! { a href={ "/hubs/" (encoded(name)) "/partitions/" (partition.partition) } { (partition.partition) } }
    };
    let rows = html! {
        @for partition in &source.partitions {
            @for (nth, checkpoint) in partition.checkpoints.iter().enumerate() {
                (row(&place(partition), nth == 0, partition, Some(checkpoint), is_shared, visit))
            }
            @if partition.checkpoints.is_empty() { (row(&place(partition), true, partition, None, is_shared, visit)) }
        }
    };
    let mut names = vec!["Partition", ">Oldest kept", ">Next event", "Function", ">Resolved before", "Moved"];
    if is_shared {
        names.push("Other reader");
    }
    html! {
        @if source.partitions.is_empty() {
            p class="small" { "Nothing is known of its partitions until it is reached for the first time." }
        } @else {
            (table("Partitions", &heads(&names), &rows))
            @if source.status.state != SourceState::There { p class="small" { "As it was known last." } }
        }
    }
}

fn row(
    place: &Markup,
    is_first: bool,
    partition: &SourcePartition,
    checkpoint: Option<&SourceCheckpoint>,
    is_shared: bool,
    visit: &Visit,
) -> Markup {
    let nothing = || html! { span class="nothing" { (text::NOTHING) } };
    html! {
        tr {
            @if is_first {
                th scope="row" { (place) }
                td class="n" { (number(partition.head)) }
                td class="n" { (number(partition.tail)) }
            } @else {
                td {} td {} td {}
            }
            td { @match checkpoint { Some(one) => a href={ "/functions/" (encoded(&one.function)) } { (one.function) }, None => (nothing()) } }
            td class="n" { (number(checkpoint.map(|one| one.position))) }
            td { (ago_if(checkpoint.map(|one| one.updated_at), visit.now)) }
            @if is_shared { td class="m" { @match &partition.reader { Some(reader) => (text::shortened(reader, 40)), None => (nothing()) } } }
        }
    }
}
