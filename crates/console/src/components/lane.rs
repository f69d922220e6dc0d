//! The lanes of functions: a function on a partition, how it is, and how far it is.

use maud::{Markup, html};

use tidegate_api::LaneOverview;
use tidegate_model::clock::Timestamp;

use crate::api::encoded;
use crate::components::mark::{Tone, mark};
use crate::components::table::{heads, table};
use crate::components::time::ago_if;
use crate::text;

/// How much the state of a lane needs somebody, and its word.
pub fn state(lane: &LaneOverview) -> (Tone, &str) {
    match lane.state.as_deref() {
        None => (Tone::Calm, "not running"),
        Some(word @ "stopped") => (Tone::Act, word),
        Some(word @ ("retrying" | "held" | "waiting")) => (Tone::Watch, word),
        Some(word @ "gated") => (Tone::Busy, word),
        Some("unowned") => (Tone::Busy, "elsewhere"),
        Some(word) => (Tone::Calm, word),
    }
}

/// A table of lanes. Each comes with the name of its function, and the hub.
pub fn lanes(caption: &str, lanes: &[(&str, &str, &LaneOverview)], now: Timestamp) -> Markup {
    let names = [
        "Function",
        ">Partition",
        "State",
        ">Checkpoint",
        ">Lag",
        ">Parked",
        ">Held",
        "Last progress",
        "Owner",
        ">Epoch",
    ];
    let rows = html! {
        @for (function, hub, lane) in lanes {
            @let (tone, word) = state(lane);
            tr class=[(tone == Tone::Act).then_some("act")] {
                th scope="row" { a href={ "/functions/" (encoded(function)) } { (function) } }
                td class="n" { a href={ "/hubs/" (encoded(hub)) "/partitions/" (lane.partition) } { (lane.partition) } }
                td {
                    (mark(tone, word))
                    @if let Some(detail) = &lane.detail { div class="small w" { (text::shortened(detail, 300)) } }
                    @if let Some(watchdog) = &lane.watchdog { div class="small w" { "watchdog: " (text::shortened(watchdog, 300)) } }
                }
                td class="n" { (number(lane.position)) }
                td class="n" { (text::count(lane.lag)) }
                td class="n" { (text::count(lane.parked)) }
                td class="n" { (text::count(lane.held)) }
                td { (ago_if(lane.progressed_at, now)) }
                td class="m" { (lane.owner.as_deref().map_or_else(|| text::NOTHING.to_owned(), |owner| text::shortened(owner, 18))) }
                td class="n" { (number(lane.epoch)) }
            }
        }
    };
    table(caption, &heads(&names), &rows)
}

/// A number where there is one.
pub fn number(number: Option<u64>) -> String {
    number.map_or_else(|| text::NOTHING.to_owned(), text::count)
}
