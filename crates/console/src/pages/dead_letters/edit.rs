//! Editing a dead letter's event: written, checked by the function itself, looked at as a difference, and only then kept as
//! a new revision.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use serde_json::{Value, json};

use tidegate_api::{DeadLetter, DeadLetterActed, DryRun, EditResult, EventData, Properties};

use super::{letter, refusal};
use crate::api::{Listing, encoded};
use crate::bulk::{Deed, Tally, request};
use crate::components::controls::{act, reason};
use crate::components::diff::{side_by_side, unified};
use crate::components::mark::Tone;
use crate::components::notice::notice;
use crate::components::payload::pretty;
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::viewer::Role;
use crate::visit::Visit;

/// What a person wrote.
struct Draft {
    revision: u32,
    body: String,
    is_base64: bool,
    properties: String,
    reason: String,
}

impl Draft {
    /// The event as it is.
    fn of(letter: &DeadLetter) -> Self {
        let original = || {
            let bytes = STANDARD.decode(&letter.body_base64).unwrap_or_default();
            let body = String::from_utf8(bytes).ok();
            EventData {
                body_base64: body.is_none().then(|| letter.body_base64.clone()),
                body,
                properties: letter.properties.clone(),
                ..EventData::default()
            }
        };
        let event = letter.event.clone().unwrap_or_else(original);
        let properties = serde_json::to_string(&event.properties).unwrap_or_default();
        let is_base64 = event.body.is_none();
        let body = event.body.or(event.body_base64).unwrap_or_default();
        Self {
            revision: letter.revision,
            // Laid out, so that it can be read; the function sees the same JSON.
            body: pretty(&body).filter(|_| !is_base64).unwrap_or(body),
            is_base64,
            properties: pretty(&properties).unwrap_or(properties),
            reason: String::new(),
        }
    }

    fn of_fields(fields: &Fields) -> Outcome<Self> {
        Ok(Self {
            revision: fields.number("revision")?,
            // Browsers send line breaks as two characters.
            body: fields.text("body").replace("\r\n", "\n"),
            is_base64: fields.text("form") == "base64",
            properties: fields.text("properties").replace("\r\n", "\n"),
            reason: fields.text("reason").trim().to_owned(),
        })
    }

    /// The event as the API takes it.
    fn event(&self) -> Outcome<Value> {
        let properties: Properties = serde_json::from_str(&self.properties).map_err(|error| {
            Problem::bad_request(format!("the properties are no JSON object: {error}"))
                .action("write them as {\"name\": \"value\"}.")
        })?;
        let body = if self.is_base64 { "body_base64" } else { "body" };
        Ok(json!({ body: self.body, "properties": properties }))
    }
}

/// The form with the event as it is.
pub(super) async fn show(visit: Visit, Path(id): Path<String>) -> Outcome<Page> {
    visit.viewer.must_be(Role::Operator)?;
    let letter = letter::ask(&visit, &id).await?;
    let draft = Draft::of(&letter);
    Ok(page(&letter).body(html! {
        p class="w" { (letter.reason) }
        (form(&visit, &letter, &draft))
    }))
}

fn page(letter: &DeadLetter) -> Page {
    Page::new(Section::DeadLetters, format!("Edit the event of #{}", letter.id))
        .below("Dead letters", "/dead-letters")
        .below(format!("#{}", letter.id), format!("/dead-letters/{}", letter.id))
}

fn form(visit: &Visit, letter: &DeadLetter, draft: &Draft) -> Markup {
    act(
        visit,
        Role::Operator,
        &format!("/dead-letters/{}/edit", letter.id),
        &html! {
            div class="sheet" {
                input type="hidden" name="revision" value=(draft.revision);
                input type="hidden" name="form" value=(if draft.is_base64 { "base64" } else { "text" });
                label for="body" { "Body" @if draft.is_base64 { " (Base64, because it is no text)" } }
                // A browser drops a line break that a text area begins with.
                textarea name="body" id="body" rows=(draft.body.lines().count().clamp(6, 28)) spellcheck="false" { "\n" (draft.body) }
                label for="properties" { "Properties (a JSON object)" }
                textarea name="properties" id="properties" rows=(draft.properties.lines().count().clamp(3, 12)) spellcheck="false" { "\n" (draft.properties) }
                p class="small" { "The key and the place in the order stay as they are. The event as it came is kept beside every revision." }
                p class="deed" {
                    button type="submit" name="do" value="check" class="first" { "Check with the function…" }
                    a class="button" href={ "/dead-letters/" (letter.id) } { "Cancel" }
                }
            }
        },
    )
}

/// Checks what was written, or keeps it.
pub(super) async fn edit(visit: Visit, Path(id): Path<String>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let letter = letter::ask(&visit, &id).await?;
    let draft = Draft::of_fields(&fields)?;
    let outcome = match fields.text("do") {
        "save" | "redrive" => save(&visit, &letter, &draft, &fields).await,
        _ => check(&visit, &letter, &draft, &fields).await.map(axum::response::IntoResponse::into_response),
    };
    match outcome {
        Ok(response) => Ok(response),
        // What was written stays, with what is wrong about it.
        Err(problem) if problem.status.is_client_error() => {
            let body = html! { (refusal(&problem)) (form(&visit, &letter, &draft)) };
            Ok(page(&letter).status(problem.status).body(body).into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn send(
    visit: &Visit,
    letter: &DeadLetter,
    draft: &Draft,
    fields: &Fields,
    dry_run: bool,
) -> Outcome<EditResult> {
    let request = json!({ "revision": draft.revision, "event": draft.event()?, "reason": draft.reason, "dry_run": dry_run });
    visit.api.post(&format!("/api/v1/dead-letters/{}/edit", letter.id), &request, fields.csrf()).await
}

async fn check(visit: &Visit, letter: &DeadLetter, draft: &Draft, fields: &Fields) -> Outcome<Page> {
    let result = send(visit, letter, draft, fields, true).await?;
    if result.result == "unchanged" {
        let body = html! { (notice(Tone::Watch, &html! { "The event is like that already: nothing would change." })) (form(visit, letter, draft)) };
        return Ok(page(letter).body(body));
    }
    let judged = match result.judged {
        Some(judged) => Ok(judged),
        None => judge(visit, letter, draft, fields).await,
    };
    let hidden = html! {
        input type="hidden" name="revision" value=(draft.revision);
        input type="hidden" name="form" value=(if draft.is_base64 { "base64" } else { "text" });
        input type="hidden" name="body" value=(draft.body);
        input type="hidden" name="properties" value=(draft.properties);
    };
    Ok(page(letter).body(html! {
        p class="lead" { "Nothing is kept yet." }
        section aria-labelledby="judged-title" {
            h2 id="judged-title" { "What " (letter.function) " says about it" }
            (judgement(&judged))
        }
        section aria-labelledby="diff-title" {
            h2 id="diff-title" { "What changes in the event" }
            (unified(&result.diff))
        }
        (act(visit, Role::Operator, &format!("/dead-letters/{}/edit", letter.id), &html! {
            (hidden)
            (reason("reason", true))
            button type="submit" name="do" value="redrive" class="first" { "Save and redrive" }
            button type="submit" name="do" value="save" { "Save" }
        }))
        (on_demand_again(visit, letter, draft))
    }))
}

fn on_demand_again(visit: &Visit, letter: &DeadLetter, draft: &Draft) -> Markup {
    crate::components::controls::on_demand("Edit further…", &form(visit, letter, draft))
}

/// Asks the function, where the API did not do so with the edit.
async fn judge(visit: &Visit, letter: &DeadLetter, draft: &Draft, fields: &Fields) -> Outcome<DryRun> {
    let mut event = draft.event()?;
    if let (Some(key), Value::Object(members)) = (&letter.partition_key, &mut event) {
        members.insert("partition_key".to_owned(), key.as_str().into());
    }
    let path = format!("/api/v1/functions/{}/dry-run", encoded(&letter.function));
    visit.api.post(&path, &json!({ "event": event }), fields.csrf()).await
}

/// What a function says about an event.
pub(super) fn judgement(judged: &Outcome<DryRun>) -> Markup {
    let judged = match judged {
        Ok(judged) => judged,
        Err(problem) => {
            return notice(
                Tone::Watch,
                &html! { "It could not be asked: " (problem.detail) ". The event can be kept all the same." },
            );
        }
    };
    let (tone, said) = match judged.outcome.as_str() {
        "applied" => (Tone::Busy, "It would be applied."),
        "filtered" => (Tone::Watch, "It would be left out: the function has nothing to do with it."),
        "rejected" => (Tone::Act, "It would be rejected, and be a dead letter again."),
        "failed" => (Tone::Act, "It would fail, and be tried again."),
        other => (Tone::Watch, other),
    };
    html! {
        (notice(tone, &html! { (said) @if let Some(reason) = &judged.reason { " " span class="w" { (reason) } } }))
        @if judged.outcome == "applied" {
            @if let Some(id) = &judged.document_id {
                h3 { "The document " code { (judged.collection) "/" (id) } @if judged.documents > 1 { ", and " (judged.documents - 1) " more" } }
            }
            (side_by_side(["As it is", "As it would be"], judged.before.as_ref().map(tidegate_api::JsonText::get), judged.after.as_ref().or(judged.before.as_ref()).map(tidegate_api::JsonText::get)))
        }
    }
}

async fn save(visit: &Visit, letter: &DeadLetter, draft: &Draft, fields: &Fields) -> Outcome<Response> {
    let result = send(visit, letter, draft, fields, false).await?;
    let to = format!("/dead-letters/{}", letter.id);
    let mut said = match result.result.as_str() {
        "unchanged" => "The event was like that already.".to_owned(),
        _ => format!("Revision {} is kept.", result.revision),
    };
    if fields.text("do") == "redrive" {
        let force = letter.status == "quarantined";
        let redriven: Outcome<Listing<DeadLetterActed>> = visit
            .api
            .post("/api/v1/dead-letters/redrive", &request(&[letter.id], force, &draft.reason), fields.csrf())
            .await;
        match redriven {
            Ok(answers) => {
                let mut tally = Tally::default();
                tally.add(&answers.items);
                said = format!("{said} {}", super::act::in_words(Deed::Redrive, &tally));
            }
            Err(problem) => said = format!("{said} It was not redriven: {}.", problem.detail),
        }
    }
    Ok(done(&to, &said))
}
