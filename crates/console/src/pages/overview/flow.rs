//! The flow as one picture: hubs, what reads them, and what comes out.

use maud::{Markup, html};

use tidegate_api::{FunctionOverview, HubOverview, Overview};

use crate::api::{address, encoded};
use crate::components::mark::{Tone, mark};
use crate::components::source;
use crate::components::time::ago_if;
use crate::text;
use crate::visit::Visit;

/// The picture.
pub(super) fn flow(overview: &Overview, visit: &Visit) -> Markup {
    html! {
        section class="flow" aria-labelledby="flow-title" {
            h2 id="flow-title" { "The flow" }
            div class="flow-heads" aria-hidden="true" { span { "Hubs" } span { "Functions" } span { "Collections" } }
            @for hub in &overview.hubs {
                @let functions: Vec<&FunctionOverview> = overview.functions.iter().filter(|function| function.hub == hub.hub).collect();
                div class="stream" {
                    (hub_node(hub, visit))
                    div class="branches" {
                        @if functions.is_empty() { p class="branch none small" { "No function reads it." } }
                        @for function in &functions { (branch(function, overview, visit)) }
                    }
                }
            }
            @if !overview.hubs.is_empty() { p class="small" { "Rates are averages of the last 10 s, latencies those of the last minute." } }
        }
    }
}

fn hub_node(hub: &HubOverview, visit: &Visit) -> Markup {
    html! {
        div class=(if hub.away { "node hub act" } else { "node hub" }) {
            h3 {
                a href={ "/hubs/" (encoded(&hub.hub)) } { (hub.hub) }
                @if let Some(status) = &hub.status { (source::word(status)) }
            }
            @if let Some(status) = hub.status.as_ref().filter(|_| hub.away) { (source::why(status, visit.now)) }
            dl class="pairs" {
                div { dt { "incoming" } dd { (known(hub.incoming_per_s, text::rate)) } }
                // Of a hub that was never reached nothing is known.
                div { dt { "published" } dd { (known((hub.partitions > 0).then_some(hub.published), text::count)) } }
                div { dt { "partitions" } dd { (known((hub.partitions > 0).then_some(u64::from(hub.partitions)), text::count)) } }
            }
        }
    }
}

fn branch(function: &FunctionOverview, overview: &Overview, visit: &Visit) -> Markup {
    let (tone, word) = state(function);
    let is_cut = function.circuit.state == "open" || !function.paused.is_empty();
    let collection = function.collection.as_deref();
    let documents = overview.collections.iter().find(|known| Some(known.collection.as_str()) == collection);
    html! {
        div class="branch" {
            (wire(function.incoming_per_s, &format!(" from {}", function.hub), is_cut))
            div class={ "node function " (tone.class()) } {
                h3 { a href={ "/functions/" (encoded(&function.function)) } { (function.function) } (mark(tone, word)) }
                dl class="pairs" {
                    div { dt { "lag" } dd { (text::counted(function.lag_events, "event", "events")) } }
                    div { dt { "behind" } dd { (known(function.lag_s, text::seconds)) } }
                    div { dt { "oldest unresolved" } dd { (ago_if(function.oldest_unresolved_at, visit.now)) } }
                    div class=[(function.dead_letters > 0).then_some("watch")] {
                        dt { "dead letters" }
                        dd {
                            a href=(address("/dead-letters", &[("function", Some(&function.function))])) { (text::count(function.dead_letters)) }
                        }
                    }
                    div class=[(function.held > 0).then_some("watch")] {
                        dt { "parked" }
                        dd { (text::count(function.parked)) @if function.held > 0 { small { ", " (text::count(function.held)) " held" } } }
                    }
                    div {
                        dt { "latency p50, p99" }
                        dd {
                            @match function.latency_ms {
                                Some(latency) => { (text::milliseconds(latency.p50)) ", " (text::milliseconds(latency.p99)) }
                                None => span class="nothing" { (text::NOTHING) },
                            }
                        }
                    }
                }
            }
            (wire(function.processed_per_s, " processed", false))
            div class="node collection" {
                @match collection {
                    Some(collection) => {
                        h3 { a href={ "/documents/" (encoded(collection)) } { (collection) } }
                        dl class="pairs" {
                            div { dt { "documents" } dd { (known(documents.map(|known| known.documents), text::count)) } }
                        }
                    }
                    None => p class="small" { "effects of its own" },
                }
            }
        }
    }
}

/// The line between two boxes, with how much goes along it. One that is cut stands for a gate that is shut.
fn wire(per_second: Option<f64>, what: &str, is_cut: bool) -> Markup {
    html! {
        div class=(if is_cut { "wire cut" } else { "wire" }) {
            span { (known(per_second, text::rate)) span class="what" { (what) } }
        }
    }
}

/// How a function is, in a word.
pub(super) fn state(function: &FunctionOverview) -> (Tone, &'static str) {
    let lane = |state: &str| function.lanes.iter().any(|lane| lane.state.as_deref() == Some(state));
    match function.circuit.state.as_str() {
        "open" => return (Tone::Act, "circuit open"),
        "half-open" => return (Tone::Watch, "circuit half open"),
        _ => {}
    }
    if lane("stopped") {
        (Tone::Act, "stopped")
    } else if !function.paused.is_empty() {
        (Tone::Busy, "paused")
    } else if lane("gated") {
        (Tone::Act, "given no events")
    } else if lane("waiting") {
        (Tone::Watch, "waiting")
    } else if lane("retrying") {
        (Tone::Watch, "retrying")
    } else if lane("held") {
        (Tone::Watch, "held")
    } else if function.lanes.iter().all(|lane| lane.state.is_none()) {
        (Tone::Calm, "not running")
    } else {
        (Tone::Calm, "running")
    }
}

fn known<T>(value: Option<T>, text: impl Fn(T) -> String) -> Markup {
    html! {
        @match value {
            Some(value) => (text(value)),
            None => span class="nothing" { (text::NOTHING) },
        }
    }
}
