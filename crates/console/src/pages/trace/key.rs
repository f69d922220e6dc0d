//! Everything that is known of a key: documents, dead letters, parked events, log lines.

use maud::{Markup, html};

use tidegate_api::{DeadLetter, Document, LogLine, Overview, Parked};

use crate::api::{Listing, address, encoded};
use crate::components::mark::Tone;
use crate::components::mark::mark;
use crate::components::notice::empty;
use crate::components::table::{heads, table};
use crate::components::time::ago;
use crate::page::{Page, Section};
use crate::pages::logs;
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// How many of each are shown.
const SHOWN: &str = "20";

/// In how many collections a document with this id is looked for.
const COLLECTIONS: usize = 20;

/// The page.
pub(super) async fn show(visit: &Visit, key: &str, search: &Markup) -> Outcome<Page> {
    let api = &visit.api;
    let of_key = |path: &str| address(path, &[("key", Some(key)), ("limit", Some(SHOWN))]);
    let overview: Overview = api.get("/api/v1/overview").await?;
    let mut documents: Vec<(String, Document)> = Vec::new();
    for collection in overview.collections.iter().take(COLLECTIONS) {
        let name = &collection.collection;
        let path = format!("/api/v1/collections/{}/documents/{}", encoded(name), encoded(key));
        documents.extend(api.find(&path).await?.map(|document| (name.clone(), document)));
    }
    let letters: Listing<DeadLetter> = api.get(&of_key("/api/v1/dead-letters")).await?;
    let parked: Listing<Parked> = api.get(&of_key("/api/v1/parked")).await?;
    let lines: Option<Listing<LogLine>> = api.find(&of_key("/api/v1/logs")).await?;
    let lines = lines.map_or_else(Vec::new, |lines| lines.items);
    let nothing =
        documents.is_empty() && letters.items.is_empty() && parked.items.is_empty() && lines.is_empty();
    let page = Page::new(Section::Trace, format!("Key {}", text::shortened(key, 80)));
    Ok(page.body(html! {
        @if nothing {
            (empty("Nothing is known of this key.", &html! {
                "No document has it as its id, and no event of it is parked or a dead letter. Events are found by hub, partition and sequence number."
            }))
        }
        @if !documents.is_empty() { h2 { "Documents" } (documents_table(&documents, &overview, visit)) }
        @if !letters.items.is_empty() { h2 { a href=(address("/dead-letters", &[("key", Some(key))])) { "Dead letters" } } (letters_table(&letters.items, visit)) }
        @if !parked.items.is_empty() { h2 { "Parked events" } (parked_table(&parked.items, visit)) }
        @if !lines.is_empty() { h2 { a href=(address("/logs", &[("key", Some(key))])) { "Log" } } (logs::listed(&lines)) }
        h2 { "Look for something else" }
        (search)
    }))
}

fn documents_table(documents: &[(String, Document)], overview: &Overview, visit: &Visit) -> Markup {
    let rows = html! {
        @for (collection, document) in documents {
            @let hub = overview.functions.iter().find(|function| function.collection.as_ref() == Some(collection)).map(|function| function.hub.as_str());
            tr {
                th scope="row" { a href={ "/documents/" (encoded(collection)) "/" (encoded(&document.id)) } { (collection) "/" (document.id) } }
                td { (ago(document.updated_at, visit.now)) }
                td { (event_link(hub, document.partition, document.sequence_number)) }
                td class="m w" { (text::shortened(document.document.get(), 160)) }
            }
        }
    };
    table("Documents", &heads(&["Document", "Changed", "Last writer", "What it says"]), &rows)
}

fn letters_table(letters: &[DeadLetter], visit: &Visit) -> Markup {
    let rows = html! {
        @for letter in letters {
            tr {
                th scope="row" { a href={ "/dead-letters/" (letter.id) } { "#" (letter.id) } }
                td { (letter.status) }
                td { (letter.function) }
                td { (event_link(Some(&letter.hub), letter.partition, letter.sequence_number)) }
                td { (ago(letter.dead_lettered_at, visit.now)) }
                td class="w" { (text::shortened(&letter.reason, 200)) }
            }
        }
    };
    table("Dead letters", &heads(&["Dead letter", "Status", "Function", "Event", "Set aside", "Why"]), &rows)
}

fn parked_table(parked: &[Parked], visit: &Visit) -> Markup {
    let rows = html! {
        @for parked in parked {
            tr {
                th scope="row" { (event_link(Some(&parked.hub), parked.partition, parked.sequence_number)) }
                td { (parked.function) }
                td { (mark(if parked.state == "held" { Tone::Watch } else { Tone::Busy }, &parked.state)) }
                td { (ago(parked.parked_at, visit.now)) }
                td class="n" { (parked.attempts.len()) }
            }
        }
    };
    table("Parked events", &heads(&["Event", "Function", "State", "Parked", ">Attempts"]), &rows)
}

fn event_link(hub: Option<&str>, partition: u32, sequence_number: u64) -> Markup {
    let (partition_text, number) = (partition.to_string(), sequence_number.to_string());
    html! {
        @match hub {
            Some(hub) => {
                a href=(address("/trace", &[("hub", Some(hub)), ("partition", Some(&partition_text)), ("sequence_number", Some(&number))])) {
                    (hub) "/" (partition) "/" (sequence_number)
                }
            }
            None => { (partition) "/" (sequence_number) },
        }
    }
}
