//! Circuits: how they stand, why, what led there, and opening, closing and probing them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use serde_json::json;

use tidegate_api::{Alert, Circuit, CircuitActed, FailureCause};
use tidegate_model::circuit::is_only_failing;

use crate::Shared;
use crate::api::{Listing, address, encoded};
use crate::components::chart::{Chart, Line, Look, Unit};
use crate::components::controls::{act, lacking, on_demand, reason, submit, submit_grave};
use crate::components::facts::{Figure, facts, figures};
use crate::components::mark::{Tone, mark};
use crate::components::notice::{empty, notice};
use crate::components::table::{heads, table};
use crate::components::time::{ago, ago_if};
use crate::components::timeline::{Moment, timeline};
use crate::form::{Fields, done};
use crate::newest::Begin;
use crate::page::{Page, Section};
use crate::pages::{measured, trail};
use crate::problem::{Outcome, Problem};
use crate::series::Measured;
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// How much of the past the chart shows, in seconds.
const PAST_SECONDS: u32 = 3600;

/// Lines of the trail on the page of a circuit.
const HISTORY: usize = 30;

/// Their addresses.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/circuits", get(list))
        .route("/circuits/{function}", get(show))
        .route("/circuits/{function}/{action}", post(change))
}

fn tone(circuit: &Circuit) -> Tone {
    match circuit.state.as_str() {
        "closed" if circuit.paused.is_some() => Tone::Busy,
        "closed" => Tone::Calm,
        "half-open" => Tone::Watch,
        _ => Tone::Act,
    }
}

fn failures(circuit: &Circuit) -> Markup {
    html! {
        (text::count(circuit.failures_in_window))
        @if let Some(threshold) = circuit.threshold { span class="small" { " of " (text::count(threshold)) } }
    }
}

/// All circuits; those that are not closed first.
async fn list(visit: Visit) -> Outcome<Page> {
    let found: Listing<Circuit> = visit.api.get("/api/v1/circuits").await?;
    let mut circuits = found.items;
    circuits.sort_by_key(|circuit| std::cmp::Reverse(tone(circuit)));
    let rows = html! {
        @for circuit in &circuits {
            @let tone = tone(circuit);
            tr class=[(tone == Tone::Act).then_some("act")] {
                th scope="row" { a href={ "/circuits/" (encoded(&circuit.function)) } { (circuit.function) } }
                td { (mark(tone, &circuit.state)) @if circuit.paused.is_some() { " " (mark(Tone::Busy, "paused")) } }
                td { (ago_if(circuit.since, visit.now)) }
                td class="n" { (failures(circuit)) }
                td class="n" { (text::count(circuit.failing_in_window)) }
                td class="n" { (text::count(circuit.succeeded_in_window)) }
                td { (text::seconds(circuit.window_s as f64)) }
                td { (ago_if(circuit.next_probe_at, visit.now)) @if circuit.manual { span class="small" { " waits for a person" } } }
                td class="w" { (text::shortened(&circuit.reason, 120)) }
            }
        }
    };
    let mut page = Page::new(Section::Circuits, "Circuits");
    let table = page.live(
        "circuits",
        html! {
            @if circuits.is_empty() {
                (empty("There is no circuit yet", &html! { "Each function has one once it is configured or has run." }))
            } @else {
                (table("Circuits", &heads(&["Function", "State", "Since", ">Failures", ">Failing", ">Succeeded", "Window", "Next probe", "Reason"]), &rows))
            }
        },
    );
    Ok(page.body(html! {
        (table)
        p class="small" { "A circuit opens when more events fail within its window than its threshold allows. Then no event is lost: they wait in the log until it closes." }
    }))
}

/// One circuit.
async fn show(visit: Visit, Path(function): Path<String>) -> Outcome<Page> {
    let circuit = ask(&visit, &function).await?;
    let [failed, processed] =
        [format!("function.{function}.failed"), format!("function.{function}.processed")];
    let measured = Measured::fetch(&visit, [failed.clone(), processed.clone()], PAST_SECONDS).await?;
    let causes: Listing<FailureCause> =
        visit.api.get(&address("/api/v1/failures", &[("function", Some(&function))])).await?;
    let outages = outages(&visit, &function).await?;
    let history = trail::newest(&visit, Some(&function), Begin::Newest, HISTORY).await?;

    let mut page =
        Page::new(Section::Circuits, format!("Circuit of {function}")).below("Circuits", "/circuits");
    let state = page.live("state", state(&visit, &circuit));
    let causes = page.live("causes", causes_table(&visit, &function, &causes.items));
    let chart = page.live("chart", chart(&measured, &failed, &processed));
    Ok(page.body(html! {
        (state)
        (acts(&visit, &circuit))
        (causes)
        (chart)
        section aria-labelledby="outages-title" {
            h2 id="outages-title" { "Outages" }
            @if outages.is_empty() { p class="small" { "None is known of." } }
            @for outage in &outages { (outage_lines(&visit, outage)) }
        }
        section aria-labelledby="history-title" {
            h2 id="history-title" { "What was done by hand" }
            @if history.items.is_empty() { p class="small" { "Nothing yet." } }
            (timeline(&history.items.iter().map(|line| Moment {
                at: Some(line.at),
                tone: Tone::Busy,
                what: html! { strong { (line.action) } " by " (line.by) @if !line.reason.is_empty() { ": " (line.reason) } },
                detail: None,
            }).collect::<Vec<_>>()))
            @if history.older.is_some() { p class="small" { a href=(address("/trail", &[("subject", Some(&function))])) { "Older ones" } } }
        }
    }))
}

async fn ask(visit: &Visit, function: &str) -> Outcome<Circuit> {
    let found: Listing<Circuit> =
        visit.api.get(&address("/api/v1/circuits", &[("function", Some(function))])).await?;
    found.items.into_iter().next().ok_or_else(|| {
        Problem::not_found(format!("there is no circuit {:?}", text::shortened(function, 64)))
            .action("all are at /circuits")
    })
}

async fn outages(visit: &Visit, function: &str) -> Outcome<Vec<Alert>> {
    let found: Option<Listing<Alert>> = visit.api.find("/api/v1/alerts").await?;
    let all = found.map_or_else(Vec::new, |page| page.items);
    Ok(all
        .into_iter()
        .filter(|alert| alert.kind == "circuit" && alert.subject == function)
        .take(10)
        .collect())
}

fn state(visit: &Visit, circuit: &Circuit) -> Markup {
    let tone = tone(circuit);
    let meaning = match circuit.state.as_str() {
        "closed" => "Events flow.",
        "half-open" => "One event is let through, to see whether it works again.",
        _ => "Events wait in the log until it closes. None is lost.",
    };
    html! {
        div class={ "state " (tone.class()) } {
            p class="lead" { (mark(tone, &circuit.state)) @if let Some(since) = circuit.since { " since " (ago(since, visit.now)) } ". " (meaning) }
            @if !circuit.reason.is_empty() { p class="w" { (circuit.reason) @if !circuit.by.is_empty() { span class="small" { " (" (circuit.by) ")" } } } }
        }
        @if circuit.state != "closed" && is_only_failing(&circuit.reason) {
            (notice(Tone::Watch, &html! {
                "Every event that waits has failed as a probe; another one would say the same. If these events are at fault, "
                a href={ "/functions/" (encoded(&circuit.function)) "/parked" } { "set them aside" }
                ": they are dead letters then, and the circuit closes with the next event that goes well. If what they need was away and works again, close the circuit."
            }))
        }
        @if let Some(pause) = &circuit.paused {
            (notice(Tone::Busy, &html! { "The function is paused since " (ago(pause.since, visit.now)) " by " (pause.by) ": " (pause.reason) ". " a href={ "/functions/" (encoded(&circuit.function)) } { "Resume it" } }))
        }
        (figures(&[
            Figure::new("Failures in the window", text::count(circuit.failures_in_window)).tone(tone),
            Figure::new("Threshold", circuit.threshold.map_or_else(|| text::NOTHING.to_owned(), text::count)),
            Figure::new("Window", text::seconds(circuit.window_s as f64)),
            Figure::new("Failing for the first time", text::count(circuit.failing_in_window)),
            Figure::new("Succeeded in the window", text::count(circuit.succeeded_in_window)),
            Figure::new("Failed probes", text::count(u64::from(circuit.failed_probes))),
        ]))
        (facts(&[
            ("Function", html! { a href={ "/functions/" (encoded(&circuit.function)) } { (circuit.function) } }),
            ("Outage began", ago_if(circuit.opened_at, visit.now)),
            ("Next probe", html! { @if circuit.manual { "when a person asks for it" } @else { (ago_if(circuit.next_probe_at, visit.now)) } }),
            ("Probe under way", html! {
                @match &circuit.probe { Some(probe) => { (probe.holder) ", given up " (ago(probe.until, visit.now)) } None => span class="nothing" { (text::NOTHING) } }
            }),
        ]))
    }
}

fn acts(visit: &Visit, circuit: &Circuit) -> Markup {
    let is_closed = circuit.state == "closed";
    let form = |action: &str, button: &Markup| {
        act(
            visit,
            Role::Operator,
            &format!("/circuits/{}/{action}", encoded(&circuit.function)),
            &html! { (reason(&format!("{action}-reason"), true)) (button) },
        )
    };
    html! {
        @if !visit.viewer.may(Role::Operator) {
            (lacking(visit, Role::Operator))
        } @else {
            div class="choices" {
                @if is_closed {
                    (on_demand("Open…", &html! { p { "No event is given to the function until the circuit is closed." } (form("open", &submit_grave("Open"))) }))
                } @else {
                    (on_demand("Close…", &html! { p { "All events flow again. If they keep failing, it opens again." } (form("close", &submit("Close"))) }))
                    (on_demand("Probe now…", &html! { p { "One event is let through. If it succeeds, the circuit closes." } (form("probe", &submit("Probe"))) }))
                }
            }
        }
    }
}

/// Why events failed lately, with an example each.
fn causes_table(visit: &Visit, circuit: &str, causes: &[FailureCause]) -> Markup {
    let is_of_others = causes.iter().any(|cause| cause.function != circuit);
    let rows = html! {
        @for cause in causes {
            @let event = format!("{}/{}/{}", cause.hub, cause.partition, cause.sequence_number);
            @let trace = address("/trace", &[("hub", Some(&cause.hub)), ("partition", Some(&cause.partition.to_string())), ("sequence_number", Some(&cause.sequence_number.to_string()))]);
            tr {
                td class="n big" { (text::count(cause.attempts)) }
                th scope="row" class="w" {
                    (text::shortened(&cause.error, 300))
                    @if is_of_others { br; small { (cause.function) } }
                }
                td { @match &cause.kind { Some(kind) => (kind), None => span class="nothing" { (text::NOTHING) } } }
                td { (ago(cause.first_at, visit.now)) }
                td { (ago(cause.last_at, visit.now)) }
                td class="w" { a class="m" href=(trace) { (event) } br; small { (cause.fate) @if let Some(key) = &cause.key { ", key " code { (text::shortened(key, 60)) } } } }
            }
        }
    };
    html! {
        section aria-labelledby="causes-title" {
            h2 id="causes-title" { "Why events failed" }
            @if causes.is_empty() {
                p class="small" { "No attempt failed in the last hour." }
            } @else {
                (table("Causes of failed attempts", &heads(&[">Attempts", "Cause", "Kind", "First", "Last", "Newest event"]), &rows))
                p class="small" {
                    "Failed attempts of the last hour, on all instances. What was rejected does not count towards opening. "
                    a href=(address("/logs", &[("function", Some(circuit)), ("text", Some("an event failed"))])) { "Their log lines" }
                }
            }
        }
    }
}

fn chart(series: &Measured, failed: &str, processed: &str) -> Markup {
    html! {
        section class="charts" aria-label="Failures over time" {
            (Chart {
                title: "Failed and processed",
                unit: Unit::Rate,
                lines: &[
                    Line { name: "processed", look: Look::Area, points: series.points(processed) },
                    Line { name: "failed", look: Look::Act, points: series.points(failed) },
                ],
                span: series.span(),
                gap: false,
                tight: false,
                table: Some(measured::address_of(&[processed.to_owned(), failed.to_owned()], PAST_SECONDS)),
            }.render())
        }
    }
}

/// An outage, step by step.
pub(super) fn outage_lines(visit: &Visit, outage: &Alert) -> Markup {
    let moments: Vec<Moment> = outage
        .steps
        .iter()
        .map(|step| Moment {
            at: Some(step.at),
            tone: match step.stage.as_str() {
                "opened" => Tone::Act,
                "closed" => Tone::Calm,
                _ => Tone::Busy,
            },
            what: html! { strong { (step.stage) } " by " (step.by) @if !step.note.is_empty() { ": " (step.note) } },
            detail: None,
        })
        .collect();
    html! {
        details open[outage.open] {
            summary {
                (mark(if outage.open { Tone::Act } else { Tone::Calm }, if outage.open { "open" } else { "over" }))
                " " (ago(outage.since, visit.now)) ": " span class="w" { (text::shortened(&outage.what, 160)) }
            }
            div class="inside" { (timeline(&moments)) }
        }
    }
}

/// Opens, closes or probes it.
async fn change(
    visit: Visit,
    Path((function, action)): Path<(String, String)>,
    fields: Fields,
) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let path = format!("/api/v1/circuits/{}/{}", encoded(&function), encoded(&action));
    let acted: CircuitActed =
        visit.api.post(&path, &json!({ "reason": fields.text("reason").trim() }), fields.csrf()).await?;
    let said = match acted.unchanged {
        true => format!("The circuit of {} was {} already.", acted.function, acted.state),
        false => format!("The circuit of {} is {}.", acted.function, acted.state),
    };
    Ok(done(&format!("/circuits/{}", encoded(&function)), &said))
}
