//! An act on many dead letters while it runs, and what came of it.

use axum::extract::Path;
use axum::response::Response;
use maud::html;

use super::act::in_words;
use super::refusal;
use crate::components::controls::{act as act_form, submit};
use crate::components::facts::facts;
use crate::components::mark::{Tone, mark};
use crate::components::time::{ago, ago_if};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

fn gone() -> Problem {
    Problem::not_found("there is no such act, or the program was started anew since")
        .action("what it did is in the audit trail, and what it did not reach is as it was: start it anew for the rest")
}

/// The page.
pub(super) async fn show(visit: Visit, Path(id): Path<String>) -> Outcome<Page> {
    visit.viewer.must_be(Role::Reader)?;
    let act = visit.shared.acts.find(&id).ok_or_else(gone)?;
    let tally = act.tally();
    let mut page = Page::new(
        Section::DeadLetters,
        format!(
            "{} dead letters",
            match act.deed {
                crate::bulk::Deed::Redrive => "Redrive",
                crate::bulk::Deed::Discard => "Discard",
            }
        ),
    )
    .below("Dead letters", "/dead-letters");
    let looked_at = tally.looked_at();
    let whole = act.expected.max(looked_at).max(1);
    let (tone, word) = match (&tally.ended_at, &tally.problem, act.is_stopped()) {
        (None, _, false) => (Tone::Busy, "under way"),
        (None, _, true) => (Tone::Busy, "stopping"),
        (Some(_), Some(_), _) => (Tone::Act, "did not get through"),
        (Some(_), None, true) => (Tone::Watch, "stopped"),
        (Some(_), None, false) => (Tone::Calm, "through"),
    };
    let progress = page.live(
        "progress",
        html! {
            p class="lead" { (mark(tone, word)) " " (in_words(act.deed, &tally)) }
            progress max=(whole) value=(looked_at) aria-label="Progress" { (looked_at) " of " (whole) }
            @if let Some(problem) = &tally.problem { (refusal(problem)) }
            (facts(&[
                ("Looked at", html! { (text::count(looked_at)) " of " (text::count(act.expected)) " that were counted" }),
                ("Began", ago(act.started_at, visit.now)),
                ("Ended", ago_if(tally.ended_at, visit.now)),
                ("Which", html! { code { (act.query) } }),
                ("Reason", html! { (act.reason) }),
            ]))
            @if tally.ended_at.is_none() && visit.viewer.may(Role::Operator) {
                (act_form(&visit, Role::Operator, &format!("/dead-letters/acts/{}/stop", act.id), &submit("Stop")))
            }
        },
    );
    Ok(page.body(html! {
        (progress)
        p { a href="/dead-letters" { "Dead letters" } ", " a href="/trail" { "audit trail" } }
    }))
}

/// Ends it.
pub(super) async fn stop(visit: Visit, Path(id): Path<String>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    // No call of the API checks the token here.
    if fields.csrf() != visit.viewer.csrf.as_deref() {
        return Err(Problem::new(
            axum::http::StatusCode::FORBIDDEN,
            "TG-403",
            "the form carries no token of this session",
        ));
    }
    visit.shared.acts.find(&id).ok_or_else(gone)?.stop();
    Ok(done(&format!("/dead-letters/acts/{id}"), "It stops after the step that is under way."))
}
