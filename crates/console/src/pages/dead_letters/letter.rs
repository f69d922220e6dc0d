//! One dead letter: what came, what was tried, what the document was and is, and what was decided.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;

use tidegate_api::{DeadLetter, DocumentState, TrailLine};

use super::{class_in_words, status_mark};
use crate::api::{address, encoded};
use crate::bulk::Deed;
use crate::components::controls::{act, lacking, on_demand, reason, submit, submit_grave};
use crate::components::diff::{side_by_side, unified};
use crate::components::facts::facts;
use crate::components::mark::Tone;
use crate::components::payload;
use crate::components::time::{ago, at};
use crate::components::timeline::{Moment, timeline};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// One dead letter, as the API has it.
pub(super) async fn ask(visit: &Visit, id: &str) -> Outcome<DeadLetter> {
    let id: u64 = id.parse().map_err(|_| {
        Problem::not_found(format!("there is no dead letter {:?}", text::shortened(id, 32)))
            .action("all are at /dead-letters")
    })?;
    visit.api.get(&format!("/api/v1/dead-letters/{id}")).await
}

/// The page.
pub(super) async fn show(visit: Visit, Path(id): Path<String>) -> Outcome<Page> {
    let letter = ask(&visit, &id).await?;
    let page = Page::new(Section::DeadLetters, format!("Dead letter #{}", letter.id))
        .below("Dead letters", "/dead-letters")
        .below(
            text::shortened(&letter.reason, 60),
            format!("/dead-letters/groups/{}", encoded(&letter.fingerprint)),
        );
    Ok(page.body(html! {
        p class="lead w" { (status_mark(&letter.status)) " " (letter.reason) }
        (acts(&visit, &letter))
        (around(&visit, &letter))
        div class="two" {
            section aria-labelledby="event-title" {
                h2 id="event-title" { @if letter.revision > 0 { "The event, revision " (letter.revision) } @else { "The event" } }
                (event(&letter))
            }
            section aria-labelledby="attempts-title" {
                h2 id="attempts-title" { "Attempts" }
                (attempts(&letter))
                h2 { "What was done" }
                (history(&letter))
                @if visit.viewer.may(Role::Operator) { (note_form(&visit, &letter)) }
            }
        }
        (document(&letter))
    }))
}

fn is_undecided(letter: &DeadLetter) -> bool {
    matches!(letter.status.as_str(), "open" | "quarantined")
}

fn acts(visit: &Visit, letter: &DeadLetter) -> Markup {
    let form = |deed: Deed, content: &Markup| {
        act(
            visit,
            Role::Operator,
            "/dead-letters/act",
            &html! {
                input type="hidden" name="do" value=(deed.name());
                input type="hidden" name="id" value=(letter.id);
                @if letter.status == "quarantined" && deed == Deed::Redrive { input type="hidden" name="force" value="1"; }
                (content)
            },
        )
    };
    html! {
        @if !visit.viewer.may(Role::Operator) {
            (lacking(visit, Role::Operator))
        } @else if is_undecided(letter) {
            div class="choices" {
                (on_demand("Redrive…", &html! {
                    p { "The function processes the event once more" @if letter.revision > 0 { ", as it was edited" } ". If it fails again, it comes back here." }
                    @if letter.status == "quarantined" { p { "It came back " (letter.returns) " times already." } }
                    (form(Deed::Redrive, &html! { (reason("redrive-reason", true)) (submit("Redrive")) }))
                }))
                a class="button" href={ "/dead-letters/" (letter.id) "/edit" } { "Edit the event…" }
                (on_demand("Discard…", &html! {
                    p { "The event is given up. It stays here, with who did it and why." }
                    (form(Deed::Discard, &html! { (reason("discard-reason", true)) (submit_grave("Discard")) }))
                }))
            }
            @if letter.class == "permanent" && letter.revision == 0 && letter.redrives == 0 {
                p class="small" { "Redriven as it is, it fails again unless the function was changed since. Edit the event, see what the function says about it, and redrive it then." }
            }
        }
    }
}

fn around(visit: &Visit, letter: &DeadLetter) -> Markup {
    let sequence_number = letter.sequence_number.to_string();
    let partition = letter.partition.to_string();
    let trace = address(
        "/trace",
        &[
            ("hub", Some(&letter.hub)),
            ("partition", Some(&partition)),
            ("sequence_number", Some(&sequence_number)),
        ],
    );
    let mut rows = vec![
        (
            "Function",
            html! { a href={ "/functions/" (encoded(&letter.function)) } { (letter.function) } @if !letter.function_version.is_empty() { span class="small" { " version " (letter.function_version) } } },
        ),
        ("Class", html! { (letter.class) ": " (class_in_words(&letter.class)) }),
        (
            "Event",
            html! { a class="m" href=(trace) { (letter.hub) "/" (letter.partition) "/" (letter.sequence_number) } span class="small" { " everything that happened to it" } },
        ),
        (
            "Key",
            html! {
                @match &letter.partition_key {
                    Some(key) => { a class="m" href=(address("/trace", &[("key", Some(key))])) { (key) } }
                    None => span class="nothing" { "none" },
                }
            },
        ),
        ("Published", ago(letter.enqueued_at, visit.now)),
        ("Set aside", ago(letter.dead_lettered_at, visit.now)),
    ];
    if letter.redrives > 0 {
        rows.push(("Redriven", html! { (text::counted(u64::from(letter.redrives), "time", "times")) ", came back " (text::counted(u64::from(letter.returns), "time", "times")) }));
    }
    if letter.status != "open" {
        rows.push(("Status since", ago(letter.changed_at, visit.now)));
    }
    if let Some(lease) = &letter.lease {
        rows.push(("Leased by", html! { (lease.holder) ", until " (at(lease.until)) }));
    }
    facts(&rows)
}

fn event(letter: &DeadLetter) -> Markup {
    html! {
        @match &letter.event {
            Some(event) => {
                (payload::body(event.body.as_deref(), event.body_base64.as_deref().unwrap_or_default()))
                h3 { "Properties" }
                (payload::properties(&event.properties))
                @if !event.system_properties.0.is_empty() { h3 { "System properties" } (payload::properties(&event.system_properties)) }
            }
            None => {
                (payload::body(None, &letter.body_base64))
                h3 { "Properties" }
                (payload::properties(&letter.properties))
                @if !letter.system_properties.0.is_empty() { h3 { "System properties" } (payload::properties(&letter.system_properties)) }
            }
        }
        @if let Some(diff) = letter.edited_diff.as_deref().filter(|diff| !diff.is_empty()) {
            h3 { "What the edits changed" }
            (unified(diff))
        }
    }
}

fn attempts(letter: &DeadLetter) -> Markup {
    let moments: Vec<Moment> = letter
        .attempts
        .iter()
        .map(|attempt| Moment {
            at: Some(attempt.at),
            tone: Tone::Watch,
            what: html! { (serde_json::to_value(attempt.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()) ": " (attempt.error) },
            detail: None,
        })
        .chain(std::iter::once(Moment {
            at: Some(letter.dead_lettered_at),
            tone: Tone::Act,
            what: html! { "set aside" },
            detail: None,
        }))
        .collect();
    timeline(&moments)
}

fn history(letter: &DeadLetter) -> Markup {
    let lines: &[TrailLine] = letter.history.as_deref().unwrap_or_default();
    let moments: Vec<Moment> = lines.iter().map(moment).collect();
    html! {
        @if moments.is_empty() { p class="small" { "Nothing yet." } } @else { (timeline(&moments)) }
        @if letter.history_truncated == Some(true) {
            p class="small" { a href=(address("/trail", &[("subject", Some(&letter.id.to_string()))])) { "More is in the audit trail" } }
        }
    }
}

/// A line of the audit trail about a dead letter.
fn moment(line: &TrailLine) -> Moment {
    let what = line.action.strip_prefix("dead-letter.").unwrap_or(&line.action);
    let diff = line.detail.get("diff").and_then(|diff| diff.as_str()).filter(|diff| !diff.is_empty());
    Moment {
        at: Some(line.at),
        tone: if what == "note" { Tone::Calm } else { Tone::Busy },
        what: html! { strong { (what) } " by " (line.by) @if !line.reason.is_empty() { ": " (line.reason) } },
        detail: diff.map(|diff| html! { details { summary { "what changed" } (unified(diff)) } }),
    }
}

fn note_form(visit: &Visit, letter: &DeadLetter) -> Markup {
    on_demand(
        "Add a note…",
        &act(
            visit,
            Role::Operator,
            &format!("/dead-letters/{}/note", letter.id),
            &html! {
                label for="note" { "Note" }
                input type="text" name="note" id="note" required maxlength="1024" autocomplete="off";
                (submit("Add"))
            },
        ),
    )
}

/// Keeps a note.
pub(super) async fn note(visit: Visit, Path(id): Path<u64>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let note = json!({ "note": fields.text("note").trim() });
    visit
        .api
        .change(axum::http::Method::POST, &format!("/api/v1/dead-letters/{id}/note"), &note, fields.csrf())
        .await?;
    Ok(done(&format!("/dead-letters/{id}"), "The note is kept."))
}

fn document(letter: &DeadLetter) -> Markup {
    let Some(then) = &letter.document else {
        return html! { h2 { "The document" } p class="small" { "The function named no document for this event." } };
    };
    let now = letter.document_now.as_ref();
    let text = |state: Option<&DocumentState>| {
        state.and_then(|state| state.body.as_ref()).map(|body| body.get().to_owned())
    };
    let (before, after) = (text(Some(then)), text(now));
    html! {
        section aria-labelledby="document-title" {
            h2 id="document-title" {
                "The document it was meant for: "
                a href={ "/documents/" (encoded(&then.collection)) "/" (encoded(&then.id)) } { (then.collection) "/" (then.id) }
            }
            @if before == after { p class="small" { "It is as it was when the event was set aside." } }
            (side_by_side(["Then", "Now"], before.as_deref(), after.as_deref()))
        }
    }
}
