//! An act on many dead letters while it runs, and what came of it.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};

use tidegate_api::{BulkAct, BulkDeed};

use super::act::in_words;
use crate::api::{Listing, encoded};
use crate::bulk::Tally;
use crate::components::controls::{act as act_form, submit};
use crate::components::facts::facts;
use crate::components::mark::{Tone, mark};
use crate::components::notice::notice;
use crate::components::time::{ago, ago_if};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// For how long the page of dead letters tells of an act that ended.
const NEWS: std::time::Duration = std::time::Duration::from_secs(15 * 60);

fn name(act: &BulkAct) -> &'static str {
    match act.act {
        BulkDeed::Redrive => "Redrive",
        BulkDeed::Discard => "Discard",
    }
}

fn state(act: &BulkAct) -> Markup {
    match act.state.as_str() {
        "running" => mark(Tone::Busy, "under way"),
        "ended" => mark(Tone::Calm, "through"),
        "failed" => mark(Tone::Act, "did not get through"),
        other => mark(Tone::Watch, other),
    }
}

/// The acts that run or ended just now, for the page of dead letters; nothing where there are none.
pub(super) async fn lately(visit: &Visit) -> Outcome<Markup> {
    let found: Option<Listing<BulkAct>> = visit.api.find("/api/v1/dead-letter-acts").await?;
    let acts = found.map_or_else(Vec::new, |page| page.items);
    let news = acts.iter().filter(|act| act.ended_at.is_none_or(|at| visit.now.since(at) < NEWS)).take(5);
    Ok(html! {
        @for act in news {
            (notice(Tone::Busy, &html! {
                (state(act)) " "
                a href={ "/dead-letters/acts/" (encoded(&act.id)) } { (name(act)) " of " (text::counted(act.expected, "dead letter", "dead letters")) }
                ", by " (act.by) " " (ago(act.started_at, visit.now)) ": " (text::shortened(&act.reason, 120))
            }))
        }
    })
}

/// The page.
pub(super) async fn show(visit: Visit, Path(id): Path<String>) -> Outcome<Page> {
    let act: BulkAct = visit.api.get(&format!("/api/v1/dead-letter-acts/{}", encoded(&id))).await?;
    let tally = Tally::from(&act);
    let mut page = Page::new(Section::DeadLetters, format!("{} dead letters", name(&act)))
        .below("Dead letters", "/dead-letters");
    let looked_at = tally.looked_at();
    let whole = if act.ended_at.is_some() { looked_at } else { act.expected.max(looked_at) }.max(1);
    let progress = page.live(
        "progress",
        html! {
            p class="lead" { (state(&act)) " " (in_words(act.act.into(), &tally)) }
            progress max=(whole) value=(looked_at) aria-label="Progress" { (looked_at) " of " (whole) }
            @if let Some(problem) = &act.problem { (notice(Tone::Watch, &html! { (problem) })) }
            (facts(&[
                ("Looked at", html! { (text::count(looked_at)) " of " (text::count(act.expected)) " that were counted" }),
                ("Began", html! { (ago(act.started_at, visit.now)) ", by " (act.by) }),
                ("Ended", ago_if(act.ended_at, visit.now)),
                ("Which", html! {
                    @for (nth, (name, value)) in act.filter.iter().enumerate() { @if nth > 0 { ", " } (name.replace('_', " ")) " " code { (value) } }
                }),
                ("Reason", html! { (act.reason) }),
            ]))
            @if act.resumed > 0 { p class="small" { "The program was started anew while it ran, and went on with it." } }
            @if act.ended_at.is_none() && visit.viewer.may(Role::Operator) {
                (act_form(&visit, Role::Operator, &format!("/dead-letters/acts/{}/stop", encoded(&act.id)), &submit("Stop")))
            }
        },
    );
    Ok(page.body(html! {
        (progress)
        p class="small" { "It goes on by itself: this page can be closed." }
        p { a href="/dead-letters" { "Dead letters" } ", " a href="/trail" { "audit trail" } }
    }))
}

/// Ends it.
pub(super) async fn stop(visit: Visit, Path(id): Path<String>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let path = format!("/api/v1/dead-letter-acts/{}/stop", encoded(&id));
    let stopped: BulkAct = visit.api.post(&path, &serde_json::json!({}), fields.csrf()).await?;
    let said = match stopped.state.as_str() {
        "stopped" => "It is stopped. What was done stays done.",
        _ => "It had ended already.",
    };
    Ok(done(&format!("/dead-letters/acts/{}", encoded(&id)), said))
}
