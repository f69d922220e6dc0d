//! Everything that happened to one event, or to the events of one key.

mod key;

use maud::{Markup, html};

use tidegate_api::{DeadLetter, FunctionTrace, Parked, Trace};

use crate::api::{address, encoded};
use crate::components::controls::{field, filter};
use crate::components::mark::{Tone, mark};
use crate::components::notice::{empty, notice};
use crate::components::payload::json_text;
use crate::components::time::at;
use crate::components::timeline::{Moment, timeline};
use crate::page::{Page, Section};
use crate::pages::events::whole;
use crate::pages::logs;
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// The page: the search, and what it found.
///
/// # Errors
/// What the API says.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let (hub, partition, number) =
        (visit.parameter("hub"), visit.parameter("partition"), visit.parameter("sequence_number"));
    let key = visit.parameter("key");
    let search = html! {
        (filter("/trace", &html! {
            (field("hub", "Hub", hub.as_deref(), "flights"))
            (field("partition", "Partition", partition.as_deref(), "3"))
            (field("sequence_number", "Sequence number", number.as_deref(), "1200"))
        }))
        (filter("/trace", &field("key", "Or by key", key.as_deref(), "the partition key, or a document's id")))
    };
    match (hub, partition, number, key) {
        (Some(hub), Some(partition), Some(number), _) => {
            let event =
                [("hub", Some(hub.as_str())), ("partition", Some(&partition)), ("sequence_number", Some(&number))];
            let trace: Trace = visit.api.get(&address("/api/v1/trace", &event)).await?;
            Ok(one(&trace, &search))
        }
        (_, _, _, Some(key)) => key::show(&visit, &key, &search).await,
        _ => Ok(Page::new(Section::Trace, "Trace").body(html! {
            p class="lead" { "What happened to an event: how often it was tried, where it ended, what was logged about it." }
            (search)
        })),
    }
}

fn one(trace: &Trace, search: &Markup) -> Page {
    let title = format!("Event {} of partition {} of {}", trace.sequence_number, trace.partition, trace.hub);
    let mut page = Page::new(Section::Trace, title)
        .below("Hubs", "/hubs")
        .below(trace.hub.clone(), format!("/hubs/{}", encoded(&trace.hub)))
        .below(
            format!("Partition {}", trace.partition),
            format!("/hubs/{}/partitions/{}", encoded(&trace.hub), trace.partition),
        );
    let found = page.live("trace", html! {
        (verdict(trace))
        h2 { "What happened" }
        (timeline(&moments(trace)))
        @for function in &trace.functions { (documents(function)) }
        h2 { "The event" }
        @match &trace.event {
            Some(event) => (whole(event)),
            None => (empty("The log has dropped it.", &html! { "Its retention is over. What functions made of it is kept." })),
        }
        h2 { "What the program logged about it" }
        @if trace.logs.is_empty() {
            p class="small" { "Nothing that is still kept." }
        } @else {
            (logs::listed(&trace.logs))
        }
    });
    let around = trace.sequence_number.saturating_sub(5);
    page.body(html! {
        (found)
        p {
            a href={ "/hubs/" (encoded(&trace.hub)) "/events?partition=" (trace.partition) "&from=" (around) } { "The events around it" }
        }
        details class="demand" { summary { span class="button" { "Another event" } } div class="demanded" { (search) } }
    })
}

/// Where it stands with each function, in a line each.
fn verdict(trace: &Trace) -> Markup {
    html! {
        @if trace.functions.is_empty() {
            (notice(Tone::Calm, &html! { "No function reads this hub: the event is kept, and nothing is done with it." }))
        }
        @for function in &trace.functions {
            @let (tone, word, means) = outcome(&function.outcome);
            (notice(tone, &html! {
                strong { a href={ "/functions/" (encoded(&function.function)) } { (function.function) } ": " (word) } ". " (means)
                @if let Some(letter) = &function.dead_letter {
                    " " a href={ "/dead-letters/" (letter.id) } { "Dead letter #" (letter.id) }
                }
            }))
        }
    }
}

/// How much an outcome needs somebody, its word, and what it means.
fn outcome(outcome: &str) -> (Tone, &str, &'static str) {
    match outcome {
        "applied" => {
            (Tone::Calm, "applied", "Its effect is in the document, which names it as its last writer.")
        }
        "resolved" => {
            (Tone::Calm, "resolved", "Its effect is in the documents, or the function asked for nothing.")
        }
        "filtered" => (Tone::Calm, "filtered", "The function asked for nothing."),
        "dead-lettered" => {
            (Tone::Watch, "dead-lettered", "It is kept whole, and waits for a decision or had one.")
        }
        "parked" => (Tone::Watch, "parked", "It waits for its turn."),
        "pending" => (Tone::Busy, "pending", "It was not resolved yet."),
        "lost" => (Tone::Act, "lost", "A repair of the log had given it up before it was processed."),
        "before-start" => (Tone::Calm, "before the start", "It is older than what the function began with."),
        other => (Tone::Watch, other, ""),
    }
}

/// Everything that has a time, in its order.
fn moments(trace: &Trace) -> Vec<Moment> {
    let mut moments = Vec::new();
    if let Some(event) = &trace.event {
        let what = html! { "Published: durable in partition " (trace.partition) };
        moments.push(Moment { at: Some(event.enqueued_at), tone: Tone::Calm, what, detail: None });
    }
    for function in &trace.functions {
        let name = &function.function;
        for (at, attempt) in function.attempts.iter().enumerate() {
            let kind = serde_json::to_value(attempt.kind).unwrap_or_default();
            let what =
                html! { "Attempt " (at + 1) " of " (name) " failed, " (kind.as_str().unwrap_or_default()) };
            let detail = Some(html! { p class="m w" { (text::shortened(&attempt.error, 2000)) } });
            moments.push(Moment { at: Some(attempt.at), tone: Tone::Watch, what, detail });
        }
        moments.extend(function.dead_letter.as_ref().map(dead_lettered));
        moments.extend(function.parked.as_ref().map(parked));
    }
    for line in &trace.trail {
        let what = html! { (line.by) ": " (line.action) " " (line.subject) };
        let detail = (!line.reason.is_empty()).then(|| html! { p { (line.reason) } });
        moments.push(Moment { at: Some(line.at), tone: Tone::Busy, what, detail });
    }
    moments.sort_by_key(|moment| moment.at);
    for function in &trace.functions {
        if matches!(function.outcome.as_str(), "applied" | "resolved" | "filtered" | "pending") {
            let (tone, word, means) = outcome(&function.outcome);
            let what = html! { (function.function) ": " (word) };
            moments.push(Moment {
                at: None,
                tone,
                what,
                detail: Some(html! { p class="small" { (means) } }),
            });
        }
    }
    moments
}

fn dead_lettered(letter: &DeadLetter) -> Moment {
    let what = html! {
        "Set aside by " (letter.function) " as " a href={ "/dead-letters/" (letter.id) } { "dead letter #" (letter.id) }
        ", " (letter.class) ", now " (letter.status)
    };
    let detail = Some(html! { p class="m w" { (text::shortened(&letter.reason, 2000)) } });
    Moment { at: Some(letter.dead_lettered_at), tone: Tone::Watch, what, detail }
}

fn parked(parked: &Parked) -> Moment {
    let detail = html! {
        p {
            @match (parked.behind, parked.due_at, &parked.held) {
                (Some(behind), _, _) => { "It waits behind event " (text::count(behind)) " of its key." }
                (_, Some(due), _) => { "It is tried again at " (at(due)) "." }
                (_, _, Some(held)) => { "It is held: " (text::shortened(held, 500)) }
                _ => { "It waits for its turn." }
            }
        }
    };
    let what = html! { "Parked by " (parked.function) ", " (parked.state) };
    Moment { at: Some(parked.parked_at), tone: Tone::Watch, what, detail: Some(detail) }
}

fn documents(function: &FunctionTrace) -> Markup {
    html! {
        @for document in &function.documents {
            h2 {
                "Document "
                a href={ "/documents/" (encoded(&document.collection)) "/" (encoded(&document.id)) } { (document.id) }
                " in " (document.collection) " " (mark(Tone::Calm, "as it is now"))
            }
            @match &document.body {
                Some(body) => (json_text(body.get())),
                None => p class="small" { "There is none." },
            }
        }
    }
}
