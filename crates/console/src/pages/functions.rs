//! Functions: how they are set and how they do, pausing and resuming them, moving their checkpoints, and what is parked.

mod parked;
mod seek;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use serde_json::json;

use tidegate_api::{
    Circuit, Function, FunctionOverview, FunctionSettings, LaneOverview, Overview, PauseResult,
};

use crate::Shared;
use crate::api::{Listing, address, encoded};
use crate::components::chart::{Chart, Line, Look, Unit};
use crate::components::controls::{act, lacking, on_demand, reason, submit};
use crate::components::facts::{Figure, facts, figures};
use crate::components::mark::{Tone, mark};
use crate::components::notice::{empty, notice};
use crate::components::table::{heads, table};
use crate::components::time::{ago, ago_if};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::pages::measured;
use crate::problem::{Outcome, Problem};
use crate::series::Measured;
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// How much of the past the charts show, in seconds.
const PAST_SECONDS: u32 = 900;

/// Their addresses.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/functions", get(list))
        .route("/functions/{function}", get(show))
        .route("/functions/{function}/pause", post(pause))
        .route("/functions/{function}/resume", post(resume))
        .route("/functions/{function}/seek", get(seek::show).post(seek::seek))
        .route("/functions/{function}/parked", get(parked::show))
        .route("/functions/{function}/parked/try", post(parked::try_now))
        .route("/functions/{function}/parked/set-aside", post(parked::set_aside))
}

fn state_mark(state: Option<&FunctionOverview>, function: &Function) -> Markup {
    let circuit = state.map_or("closed", |state| state.circuit.state.as_str());
    let is_paused = state.is_some_and(is_paused);
    html! {
        @if circuit == "open" { (mark(Tone::Act, "circuit open")) }
        @else if circuit == "half-open" { (mark(Tone::Watch, "circuit half-open")) }
        @else if is_paused { (mark(Tone::Busy, "paused")) }
        @else if function.running { (mark(Tone::Calm, "running")) }
        @else { (mark(Tone::Watch, "not running here")) }
    }
}

/// All functions.
async fn list(visit: Visit) -> Outcome<Page> {
    let functions: Listing<Function> = visit.api.get("/api/v1/functions").await?;
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let state_of = |function: &Function| {
        overview
            .functions
            .iter()
            .find(|state| state.function == function.function && state.hub == function.hub)
    };
    let rows = html! {
        @for function in &functions.items {
            @let state = state_of(function);
            tr {
                th scope="row" { a href={ "/functions/" (encoded(&function.function)) } { (function.function) } }
                td { (state_mark(state, function)) }
                td { a href={ "/hubs/" (encoded(&function.hub)) } { (function.hub) } }
                td { @match &function.collection { Some(collection) => a href={ "/documents/" (encoded(collection)) } { (collection) }, None => span class="nothing" { (text::NOTHING) } } }
                td { (function.kind.as_deref().unwrap_or(text::NOTHING)) @if let Some(version) = &function.version { " " small { (version) } } }
                td { (function.settings.as_ref().map_or(text::NOTHING, |settings| settings.order.as_str())) }
                td class="n" { (number(state.map(|state| state.lag_events))) }
                td class="n" { (number(state.map(|state| state.parked + state.held))) }
                td class="n" { @match state.map(|state| state.dead_letters) { Some(count) if count > 0 => a href=(address("/dead-letters", &[("function", Some(&function.function))])) { (text::count(count)) }, other => (number(other)) } }
            }
        }
    };
    let mut page = Page::new(Section::Functions, "Functions");
    let table = page.live("functions", html! {
        @if functions.items.is_empty() {
            (empty("There is no function yet", &html! { "A function reads a hub and keeps documents. It is written in Rust, or is a table " code { "[function.NAME]" } " in the configuration." }))
        } @else {
            (table("Functions", &heads(&["Function", "State", "Hub", "Collection", "Kind", "Order", ">Lag", ">Parked", ">Dead letters"]), &rows))
        }
    });
    Ok(page.body(table))
}

/// Whether a pause is on the whole function.
fn is_paused(state: &FunctionOverview) -> bool {
    state.paused.iter().any(|pause| pause.paused == state.function)
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| text::NOTHING.to_owned(), text::count)
}

/// One function.
async fn show(visit: Visit, Path(name): Path<String>) -> Outcome<Page> {
    let function = ask(&visit, &name).await?;
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let state = overview.functions.iter().find(|state| state.function == name && state.hub == function.hub);
    let circuits: Option<Listing<Circuit>> =
        visit.api.find(&address("/api/v1/circuits", &[("function", Some(&name))])).await?;
    let circuit = circuits.and_then(|page| page.items.into_iter().next());
    let names = [
        format!("hub.{}.incoming", function.hub),
        format!("function.{name}.processed"),
        format!("function.{name}.failed"),
        format!("function.{name}.lag"),
    ];
    let series = Measured::fetch(&visit, names.clone(), PAST_SECONDS).await?;

    let mut page = Page::new(Section::Functions, name.clone()).below("Functions", "/functions");
    let head = page.live("state", head(&visit, &function, state, circuit.as_ref()));
    let charts = page.live("charts", charts(&series, &names));
    let lanes = page.live("lanes", lanes(&visit, &function, state, circuit.as_ref()));
    Ok(page.body(html! {
        (head)
        (acts(&visit, &function, circuit.as_ref()))
        (charts)
        (lanes)
        (settings(&function))
    }))
}

pub(super) async fn ask(visit: &Visit, name: &str) -> Outcome<Function> {
    visit.api.get(&format!("/api/v1/functions/{}", encoded(name))).await
}

fn head(
    visit: &Visit,
    function: &Function,
    state: Option<&FunctionOverview>,
    circuit: Option<&Circuit>,
) -> Markup {
    let name = &function.function;
    let lag = state.map(|state| state.lag_events);
    let parked = state.map(|state| state.parked + state.held);
    let letters = state.map(|state| state.dead_letters);
    let is_some = |count: Option<u64>| if count.unwrap_or(0) > 0 { Tone::Watch } else { Tone::Calm };
    html! {
        p class="lead" {
            (state_mark(state, function)) " "
            a href={ "/hubs/" (encoded(&function.hub)) } { (function.hub) } " → " strong { (name) }
            @if let Some(collection) = &function.collection { " → " a href={ "/documents/" (encoded(collection)) } { (collection) } }
        }
        @if let Some(pause) = circuit.and_then(|circuit| circuit.paused.as_ref()) {
            (notice(Tone::Busy, &html! { "Paused since " (ago(pause.since, visit.now)) " by " (pause.by) ": " (pause.reason) }))
        }
        @if let Some(circuit) = circuit.filter(|circuit| circuit.state != "closed") {
            (notice(Tone::Act, &html! { "Its circuit is " (circuit.state) ": " (circuit.reason) ". " a href={ "/circuits/" (encoded(name)) } { "Look at the circuit" } }))
        }
        (figures(&[
            Figure::new("Lag", number(lag)).note(html! { @if let Some(seconds) = state.and_then(|state| state.lag_s) { (text::seconds(seconds)) } @else { "events" } }),
            Figure::new("Processed", state.and_then(|state| state.processed_per_s).map_or_else(|| text::NOTHING.to_owned(), text::rate)).note(html! { "last 10 s" }),
            Figure::new("Failed", state.and_then(|state| state.failed_per_s).map_or_else(|| text::NOTHING.to_owned(), text::rate)).note(html! { "last 10 s" }),
            Figure::new("Parked and held", number(parked)).leads_to(format!("/functions/{}/parked", encoded(name))).tone(is_some(parked)),
            Figure::new("Dead letters", number(letters)).leads_to(address("/dead-letters", &[("function", Some(name))])).tone(is_some(letters)),
            Figure::new("Latency, p99", state.and_then(|state| state.latency_ms).map(|latency| latency.p99).map_or_else(|| text::NOTHING.to_owned(), text::milliseconds)).note(html! { "last minute" }),
        ]))
    }
}

fn acts(visit: &Visit, function: &Function, circuit: Option<&Circuit>) -> Markup {
    let name = encoded(&function.function);
    let is_paused = circuit.is_some_and(|circuit| circuit.paused.is_some());
    html! {
        @if !visit.viewer.may(Role::Operator) {
            (lacking(visit, Role::Operator))
        } @else {
            div class="choices" {
                @if is_paused {
                    (on_demand("Resume…", &act(visit, Role::Operator, &format!("/functions/{name}/resume"), &html! { (reason("resume-reason", false)) (submit("Resume")) })))
                } @else {
                    (on_demand("Pause…", &html! {
                        p { "No event is given to it until it is resumed. Events wait in the log." }
                        (act(visit, Role::Operator, &format!("/functions/{name}/pause"), &html! { (reason("pause-reason", true)) (submit("Pause")) }))
                    }))
                }
                a class="button" href={ "/functions/" (name) "/seek" } { "Move its checkpoint…" }
                a class="button" href={ "/functions/" (name) "/parked" } { "Parked events" }
                a class="button" href={ "/circuits/" (name) } { "Circuit" }
            }
        }
    }
}

fn charts(series: &Measured, names: &[String; 4]) -> Markup {
    let [incoming, processed, failed, lag] = names.each_ref().map(|name| series.points(name));
    let span = series.span();
    html! {
        section class="charts" aria-label="The last minutes" {
            div class="row even" {
                (Chart { title: "In and out", unit: Unit::Rate, lines: &[
                    Line { name: "incoming", look: Look::Area, points: incoming },
                    Line { name: "processed", look: Look::Strong, points: processed },
                    Line { name: "failed", look: Look::Act, points: failed },
                ], span, gap: true, tight: false, table: Some(measured::address_of(&names[..3], PAST_SECONDS)) }.render())
                (Chart { title: "Lag", unit: Unit::Events,
                    lines: &[Line { name: "unresolved", look: Look::Area, points: lag }], span, gap: false, tight: false,
                    table: Some(measured::address_of(&names[3..], PAST_SECONDS)) }.render())
            }
        }
    }
}

fn lane_tone(lane: &LaneOverview) -> Tone {
    match lane.state.as_deref() {
        Some("stopped") => Tone::Act,
        Some("retrying" | "gated" | "held" | "waiting") => Tone::Watch,
        Some("running") => Tone::Calm,
        _ => Tone::Busy,
    }
}

fn lanes(
    visit: &Visit,
    function: &Function,
    state: Option<&FunctionOverview>,
    circuit: Option<&Circuit>,
) -> Markup {
    let Some(state) = state.filter(|state| !state.lanes.is_empty()) else { return html! {} };
    let name = encoded(&function.function);
    let may = visit.viewer.may(Role::Operator);
    let rows = html! {
        @for lane in &state.lanes {
            @let pause = circuit.and_then(|circuit| circuit.paused_lanes.get(&format!("{}/{}/{}", function.function, function.hub, lane.partition)));
            @let partition = lane.partition.to_string();
            tr {
                th scope="row" class="n" { a href={ "/hubs/" (encoded(&function.hub)) "/partitions/" (lane.partition) } { (lane.partition) } }
                td { (mark(lane_tone(lane), lane.state.as_deref().unwrap_or("not here"))) @if pause.is_some() { " " (mark(Tone::Busy, "paused")) } @if let Some(detail) = &lane.detail { br; small class="w" { (text::shortened(detail, 120)) } } }
                td class="n" { (number(lane.position)) }
                td class="n" { (number(lane.tail)) }
                td class="n" { (text::count(lane.lag)) }
                td class="n" { a href=(address(&format!("/functions/{name}/parked"), &[("partition", Some(&partition))])) { (text::count(lane.parked + lane.held)) } }
                td class="m" { (lane.owner.as_deref().unwrap_or(text::NOTHING)) @if let Some(epoch) = lane.epoch { " " small { "epoch " (epoch) } } }
                td { (ago_if(lane.progressed_at, visit.now)) }
                @if may {
                    td {
                        @let id = format!("lane-{}", lane.partition);
                        @let action = if pause.is_some() { "resume" } else { "pause" };
                        (on_demand(if pause.is_some() { "Resume…" } else { "Pause…" }, &act(visit, Role::Operator, &format!("/functions/{name}/{action}"), &html! {
                            input type="hidden" name="hub" value=(function.hub);
                            input type="hidden" name="partition" value=(lane.partition);
                            (reason(&id, pause.is_none()))
                            (submit(if pause.is_some() { "Resume" } else { "Pause" }))
                        })))
                    }
                }
            }
        }
    };
    let head = html! {
        (heads(&[">Partition", "State", ">Checkpoint", ">Tail", ">Lag", ">Parked", "Owner", "Last progress"]))
        @if may { th scope="col" { span class="unseen" { "Acts" } } }
    };
    html! { h2 { "Partitions" } (table("Partitions", &head, &rows)) }
}

fn settings(function: &Function) -> Markup {
    let ms = |ms: u64| text::milliseconds(ms as f64);
    let of = |settings: &FunctionSettings| {
        let retry = &settings.retry;
        let circuit = &settings.circuit;
        facts(&[
            ("Order", html! { (settings.order) }),
            (
                "Batches",
                html! { (settings.min_event_batch_size) " to " (settings.max_event_batch_size) " events, waiting at most " (ms(settings.max_wait_time_ms)) },
            ),
            ("Time limit", html! { (ms(settings.invocation_timeout_ms)) " for an invocation" }),
            (
                "Retry",
                html! { (retry.strategy) ", " @match retry.max_attempts { Some(most) => { (most) " attempts" } None => "without limit" } ", " (ms(retry.delay_ms)) @if retry.max_delay_ms != retry.delay_ms { " to " (ms(retry.max_delay_ms)) } },
            ),
            (
                "Circuit",
                html! {
                    @if circuit.enabled {
                        "opens above " (text::count(circuit.threshold)) " failures in " (text::seconds(circuit.window_s as f64))
                        ", from " (text::count(circuit.minimum_volume)) " events on, when " (text::decimal(circuit.failure_ratio * 100.0)) " % failed; probed "
                        @match circuit.probe_after_s { Some(after) => { "after " (text::seconds(after as f64)) } None => "by a person" }
                    } @else { "does not open by itself" }
                },
            ),
        ])
    };
    html! {
        section aria-labelledby="settings-title" {
            h2 id="settings-title" { "How it is set" }
            (facts(&[
                ("Kind", html! { (function.kind.as_deref().unwrap_or("not configured here")) }),
                ("Version", html! { (function.version.as_deref().unwrap_or(text::NOTHING)) }),
            ]))
            @match &function.settings { Some(settings) => (of(settings)), None => p class="small" { "It is not configured here: it ran once, and has checkpoints." } }
            p class="small" { "Where each value comes from is in the " a href=(address("/settings", &[("find", Some(&function.function))])) { "settings" } "." }
        }
    }
}

async fn pause(visit: Visit, Path(name): Path<String>, fields: Fields) -> Outcome<Response> {
    stop_or_go(&visit, &name, "pause", &fields).await
}

async fn resume(visit: Visit, Path(name): Path<String>, fields: Fields) -> Outcome<Response> {
    stop_or_go(&visit, &name, "resume", &fields).await
}

async fn stop_or_go(visit: &Visit, name: &str, action: &str, fields: &Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let mut request = json!({ "reason": fields.text("reason").trim() });
    if fields.is_set("partition") {
        request["partition"] = fields.number::<u32>("partition")?.into();
        request["hub"] = fields.text("hub").into();
    }
    let path = format!("/api/v1/pauses/{}/{action}", encoded(name));
    let result: PauseResult = visit.api.post(&path, &request, fields.csrf()).await?;
    let already = if result.unchanged { " already" } else { "" };
    let to = format!("/functions/{}", encoded(name));
    Ok(done(&to, &format!("{} is {}{already}.", result.paused, result.result)))
}

/// What a page of a function that is not there says.
pub(super) fn no_function(name: &str) -> Problem {
    Problem::not_found(format!("there is no function {:?}", text::shortened(name, 64)))
        .action("all are at /functions")
}
