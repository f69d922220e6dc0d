//! Moving the checkpoints of a function: first what would come of it, then a reason, then it is done.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use tidegate_api::SeekResult;

use crate::api::{Listing, encoded};
use crate::components::controls::{act, field, filter, reason, submit_grave};
use crate::components::mark::Tone;
use crate::components::notice::notice;
use crate::components::table::{heads, table};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::pages::dead_letters::refusal;
use crate::problem::{Outcome, Problem};
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// Asks where to, and says what would come of it.
pub(super) async fn show(visit: Visit, Path(name): Path<String>) -> Outcome<Page> {
    let fields = Fields::parse(visit.uri.query().unwrap_or_default().as_bytes());
    page(&visit, &name, &fields, None).await
}

fn request(name: &str, fields: &Fields, dry_run: bool) -> Outcome<Value> {
    let mut request = json!({ "function": name, "to": fields.text("to").trim(), "dry_run": dry_run, "reason": fields.text("reason").trim() });
    if !fields.text("partition").trim().is_empty() {
        request["partition"] = fields.number::<u32>("partition")?.into();
    }
    if !fields.text("hub").trim().is_empty() {
        request["hub"] = fields.text("hub").trim().into();
    }
    Ok(request)
}

async fn ask(visit: &Visit, name: &str, fields: &Fields) -> Outcome<Vec<SeekResult>> {
    let request = request(name, fields, true)?;
    // Nothing changes, so that the address of the page can be asked again; the token is the visitor's own.
    let found: Listing<SeekResult> =
        visit.api.post("/api/v1/checkpoints/seek", &request, visit.viewer.csrf.as_deref()).await?;
    Ok(found.items)
}

async fn page(visit: &Visit, name: &str, fields: &Fields, refused: Option<&Problem>) -> Outcome<Page> {
    visit.viewer.must_be(Role::Operator)?;
    super::ask(visit, name).await.map_err(|problem| match problem.status {
        axum::http::StatusCode::NOT_FOUND => super::no_function(name),
        _ => problem,
    })?;
    let to = Some(fields.text("to").trim()).filter(|to| !to.is_empty());
    let answer = match to {
        Some(_) => Some(ask(visit, name, fields).await),
        None => None,
    };
    let path = format!("/functions/{}/seek", encoded(name));
    let given = |name: &str| Some(fields.text(name)).filter(|text| !text.is_empty());
    Ok(Page::new(Section::Functions, format!("Move the checkpoint of {name}"))
        .below("Functions", "/functions")
        .below(name, format!("/functions/{}", encoded(name)))
        .body(html! {
            @if let Some(problem) = refused { (refusal(problem)) }
            p { "From its checkpoint on, a function processes events. Set back, it processes them again: documents come out the same. Set forward, it never processes those in between." }
            (filter(&path, &html! {
                (field("to", "To", to, "earliest, latest, 1200, or 2026-01-31T12:00:00Z"))
                (field("partition", "Partition", given("partition"), "all"))
                (field("hub", "Hub", given("hub"), "its own"))
            }))
            @match &answer {
                None => {}
                Some(Err(problem)) => (refusal(problem)),
                Some(Ok(lanes)) => (what_would_be(visit, &path, fields, lanes)),
            }
        }))
}

fn what_would_be(visit: &Visit, path: &str, fields: &Fields, lanes: &[SeekResult]) -> Markup {
    let sum = |of: fn(&SeekResult) -> u64| lanes.iter().map(of).sum::<u64>();
    let (repeated, skipped) = (sum(|lane| lane.repeated), sum(|lane| lane.skipped));
    let rows = html! {
        @for lane in lanes {
            tr {
                th scope="row" { (lane.hub) "/" (lane.partition) }
                td class="n" { (text::count(lane.from)) }
                td class="n" { (text::count(lane.to)) }
                td class="n" { (text::count(lane.repeated)) }
                td class="n" { (text::count(lane.skipped)) }
                td class="n" { (text::count(lane.dead_letters_replayed)) }
                td class="n" { (text::count(lane.parked_replayed)) }
            }
        }
    };
    html! {
        h2 { "What would come of it" }
        @if skipped > 0 {
            (notice(Tone::Act, &html! { strong { (text::counted(skipped, "event", "events")) } " would never be processed." }))
        }
        @if repeated > 0 {
            (notice(Tone::Watch, &html! { (text::counted(repeated, "event", "events")) " would be processed again." }))
        }
        (table("What would come of it", &heads(&["Partition", ">Now at", ">Then at", ">Processed again", ">Never processed", ">Dead letters replayed", ">Parked replayed"]), &rows))
        @if lanes.iter().all(|lane| lane.from == lane.to) {
            (notice(Tone::Calm, &html! { "It is there already." }))
        } @else {
            (act(visit, Role::Operator, path, &html! {
                @for name in ["to", "partition", "hub"] { input type="hidden" name=(name) value=(fields.text(name)); }
                (reason("reason", true))
                (submit_grave("Move it"))
            }))
        }
    }
}

/// Does it.
pub(super) async fn seek(visit: Visit, Path(name): Path<String>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let request = request(&name, &fields, false)?;
    let moved: Outcome<Listing<SeekResult>> =
        visit.api.post("/api/v1/checkpoints/seek", &request, fields.csrf()).await;
    match moved {
        Ok(lanes) => {
            let count = lanes.items.iter().filter(|lane| lane.done).count();
            let said = format!("Moved: {}.", text::counted(count as u64, "checkpoint", "checkpoints"));
            Ok(done(&format!("/functions/{}", encoded(&name)), &said))
        }
        Err(problem) if problem.status.is_client_error() && !problem.asks_to_sign_in() => {
            Ok(page(&visit, &name, &fields, Some(&problem)).await?.status(problem.status).into_response())
        }
        Err(problem) => Err(problem),
    }
}
