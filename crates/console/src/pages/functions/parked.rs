//! Parked events of a function: what waits for its time, for an earlier event of its key, or for a person.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;

use tidegate_api::{Parked, ParkedResult};

use crate::api::{Listing, address, encoded};
use crate::components::controls::{act, field, filter, on_demand, reason, submit, submit_grave};
use crate::components::mark::{Tone, mark};
use crate::components::notice::empty;
use crate::components::payload;
use crate::components::table::{heads, pager, table};
use crate::components::time::{ago, ago_if};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// Events on a page.
const SHOWN: &str = "50";

/// The page.
pub(super) async fn show(visit: Visit, Path(name): Path<String>) -> Outcome<Page> {
    let (partition, key, after) =
        (visit.parameter("partition"), visit.parameter("key"), visit.parameter("after"));
    let query = [
        ("function", Some(name.as_str())),
        ("partition", partition.as_deref()),
        ("key", key.as_deref()),
        ("after", after.as_deref()),
        ("limit", Some(SHOWN)),
    ];
    let found: Listing<Parked> = visit.api.get(&address("/api/v1/parked", &query)).await?;
    let path = format!("/functions/{}/parked", encoded(&name));
    let here = |after: Option<&str>| {
        address(&path, &[("partition", partition.as_deref()), ("key", key.as_deref()), ("after", after)])
    };
    let next = found.next.as_deref().map(|next| here(Some(next)));
    let first = after.is_some().then(|| here(None));
    Ok(Page::new(Section::Functions, format!("Parked events of {name}"))
        .below("Functions", "/functions")
        .below(name.as_str(), format!("/functions/{}", encoded(&name)))
        .body(html! {
            p { "An event that failed waits here for its next try, and later events of its key wait behind it, so that their order stays. What is held waits for a person or for the circuit." }
            (filter(&path, &html! {
                (field("partition", "Partition", partition.as_deref(), "all"))
                (field("key", "Key", key.as_deref(), "any"))
            }))
            @if found.items.is_empty() && next.is_none() {
                (empty("Nothing is parked", &html! { "Every event of this function is resolved, or still in the log." }))
            } @else {
                (listed(&visit, &path, &found.items))
                (pager(first.as_deref(), next.as_deref()))
            }
        }))
}

fn listed(visit: &Visit, path: &str, events: &[Parked]) -> Markup {
    let may = visit.viewer.may(Role::Operator);
    let rows = html! {
        @for (nth, event) in events.iter().enumerate() {
            @let (partition, sequence_number) = (event.partition.to_string(), event.sequence_number.to_string());
            @let trace = address("/trace", &[("hub", Some(&event.hub)), ("partition", Some(&partition)), ("sequence_number", Some(&sequence_number))]);
            tr {
                th scope="row" class="m" { a href=(trace) { (event.hub) "/" (partition) "/" (sequence_number) } }
                td {
                    @match event.state.as_str() {
                        "held" => { (mark(Tone::Act, "held")) @if let Some(held) = &event.held { br; small class="w" { (text::shortened(held, 160)) } } }
                        "behind" => { (mark(Tone::Calm, "behind")) @if let Some(behind) = event.behind { " " small { (behind) } } }
                        _ => { (mark(Tone::Busy, "waiting")) " " (ago_if(event.due_at, visit.now)) }
                    }
                }
                td class="m w" { (text::shortened(event.partition_key.as_deref().unwrap_or(text::NOTHING), 60)) }
                td { (ago(event.parked_at, visit.now)) @if let Some(letter) = event.redrive_of { br; a href={ "/dead-letters/" (letter) } { "#" (letter) } } }
                td class="w" {
                    (text::counted(event.attempts.len() as u64, "attempt", "attempts"))
                    @if let Some(last) = event.attempts.last() { ": " (text::shortened(&last.error, 160)) }
                    details { summary { "body" } (payload::body(event.body.as_deref(), &event.body_base64)) }
                }
                @if may {
                    td {
                        @if event.state != "behind" {
                            (act(visit, Role::Operator, &format!("{path}/try"), &html! { input type="hidden" name="id" value=(event.id); (submit("Try now")) }))
                            (on_demand("Set aside…", &html! {
                                p { "It becomes a dead letter, and what waits behind it goes on." }
                                (act(visit, Role::Operator, &format!("{path}/set-aside"), &html! {
                                    input type="hidden" name="id" value=(event.id);
                                    (reason(&format!("reason-{nth}"), true))
                                    (submit_grave("Set aside"))
                                }))
                            }))
                        }
                    }
                }
            }
        }
    };
    let head = html! {
        (heads(&["Event", "State", "Key", "Parked", "Attempts"]))
        @if may { th scope="col" { span class="unseen" { "Acts" } } }
    };
    table("Parked events", &head, &rows)
}

/// Lets the turn of one come now.
pub(super) async fn try_now(visit: Visit, fields: Fields) -> Outcome<Response> {
    send(&visit, "try", &fields, "is tried now").await
}

/// Makes one a dead letter.
pub(super) async fn set_aside(visit: Visit, fields: Fields) -> Outcome<Response> {
    send(&visit, "set-aside", &fields, "is a dead letter now").await
}

async fn send(visit: &Visit, action: &str, fields: &Fields, said: &str) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let request = json!({ "id": fields.text("id"), "reason": fields.text("reason").trim() });
    let result: ParkedResult =
        visit.api.post(&format!("/api/v1/parked/{action}"), &request, fields.csrf()).await?;
    Ok(done(fields.back(), &format!("{} {said}.", result.id)))
}
