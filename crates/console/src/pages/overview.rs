//! The first page: what is wrong in one sentence, the flow as one picture, and how it went in the last minutes.

mod concern;
mod flow;

use maud::{Markup, html};

use tidegate_api::{FunctionOverview, Overview};

use crate::api::address;
use crate::components::chart::{Chart, Line, Look, Unit};
use crate::components::mark::{Tone, mark, shape};
use crate::components::time::ago;
use crate::page::{Page, Section};
use crate::pages::measured;
use crate::problem::Outcome;
use crate::series::Measured;
use crate::text;
use crate::visit::Visit;

pub use concern::{Concern, concerns};

/// How much of the past the charts show, in seconds.
const PAST_SECONDS: u32 = 900;

/// How many functions have charts here; those that need somebody come first, all have their own page.
const CHARTED: usize = 6;

/// The page.
///
/// # Errors
/// What the API says.
pub async fn show(visit: Visit) -> Outcome<Page> {
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let concerns = concerns(&overview);
    let charted = charted(&overview, &concerns);
    let names = charted.iter().flat_map(|function| series_of(function));
    let series = Measured::fetch(&visit, names, PAST_SECONDS).await?;
    let mut page = Page::new(Section::Overview, "Overview").without_heading();
    let state = page.live("state", state(&overview, &concerns, &visit));
    let flow = page.live("flow", flow::flow(&overview, &visit));
    let charts = page.live("charts", charts(&charted, &series));
    let alerts = page.live("alerts", alerts(&overview, &concerns, &visit));
    Ok(page.body(html! { (state) (flow) (charts) (alerts) }))
}

/// What the charts of a function are made of.
fn series_of(function: &FunctionOverview) -> [String; 6] {
    let name = &function.function;
    [
        format!("hub.{}.incoming", function.hub),
        format!("function.{name}.processed"),
        format!("function.{name}.failed"),
        format!("function.{name}.lag"),
        format!("function.{name}.latency_p50"),
        format!("function.{name}.latency_p99"),
    ]
}

fn charted<'o>(overview: &'o Overview, concerns: &[Concern]) -> Vec<&'o FunctionOverview> {
    let tone = |function: &FunctionOverview| {
        let theirs =
            concerns.iter().filter(|concern| concern.function.as_deref() == Some(&function.function));
        theirs.map(|concern| concern.tone).max()
    };
    let mut functions: Vec<&FunctionOverview> = overview.functions.iter().collect();
    // A stable sort: those of one tone keep the order of the picture.
    functions.sort_by_key(|function| std::cmp::Reverse(tone(function)));
    functions.truncate(CHARTED);
    functions
}

fn state(overview: &Overview, concerns: &[Concern], visit: &Visit) -> Markup {
    let (first, others) = match concerns {
        [] => (None, concerns),
        [first, others @ ..] => (Some(first), others),
    };
    html! {
        div class={ "state " (first.map_or(Tone::Calm, |first| first.tone).class()) } {
            h1 {
                (shape(first.map_or(Tone::Calm, |first| first.tone)))
                @match first {
                    Some(first) => a href=(first.address) { (first.sentence) },
                    None => span { (well(overview)) },
                }
            }
            @if let Some(first) = first {
                p { (first.advice) }
                p { a class="button" href=(first.address) { (first.look) } }
            }
            @if !others.is_empty() {
                ul class="others" {
                    @for other in others { li { (shape(other.tone)) a href=(other.address) { (other.sentence) } } }
                }
            }
            p class="small" {
                "Tidegate " (overview.version) ", running since " (ago(overview.started_at, visit.now))
                @if !overview.ready { ", not ready" }
            }
        }
    }
}

fn well(overview: &Overview) -> &'static str {
    if overview.hubs.is_empty() {
        "There is no hub yet: nothing can be published."
    } else if overview.functions.is_empty() {
        "Events are kept, and no function reads them yet."
    } else {
        "All is well: every event is on its way or where it belongs."
    }
}

fn charts(functions: &[&FunctionOverview], series: &Measured) -> Markup {
    let span = series.span();
    html! {
        @if !functions.is_empty() {
            section class="charts" aria-labelledby="charts-title" {
                h2 id="charts-title" { "The last " (text::seconds(span.seconds)) }
                @for function in functions {
                    @let names = series_of(function);
                    @let [incoming, processed, failed, lag, p50, p99] = names.each_ref().map(|name| series.points(name));
                    div class="row" {
                        (Chart {
                            title: &format!("{}: in and out", function.function),
                            unit: Unit::Rate,
                            lines: &[
                                Line { name: "incoming", look: Look::Area, points: incoming },
                                Line { name: "processed", look: Look::Strong, points: processed },
                                Line { name: "failed", look: Look::Act, points: failed },
                            ],
                            span,
                            gap: true,
                            tight: false,
                            table: Some(measured::address_of(&names[..3], PAST_SECONDS)),
                        }.render())
                        (Chart {
                            title: "Lag",
                            unit: Unit::Events,
                            lines: &[Line { name: "unresolved", look: Look::Area, points: lag }],
                            span,
                            gap: false,
                            tight: false,
                            table: Some(measured::address_of(&names[3..4], PAST_SECONDS)),
                        }.render())
                        (Chart {
                            title: "Latency",
                            unit: Unit::Milliseconds,
                            lines: &[
                                Line { name: "p99", look: Look::Strong, points: p99 },
                                Line { name: "p50", look: Look::Dashed, points: p50 },
                            ],
                            span,
                            gap: false,
                            tight: false,
                            table: Some(measured::address_of(&names[4..], PAST_SECONDS)),
                        }.render())
                    }
                }
                p class="small" {
                    "Hatched: more came in than went out. A point of a rate is the average of " (text::duration(std::time::Duration::from_secs_f64(span.step_s))) ", a point of the \
                     lag its most in that time. Latency is from being published to being resolved, of all events of the minute before \
                     each point. Point at a chart, or focus it and use the arrow keys, for single values. "
                    a href="/functions" { "All functions" }
                }
            }
        }
    }
}

fn alerts(overview: &Overview, concerns: &[Concern], visit: &Visit) -> Markup {
    html! {
        section aria-labelledby="alerts-title" {
            h2 id="alerts-title" { a href="/alerts" { "Active alerts" } }
            @if overview.alerts.is_empty() {
                p class="small" {
                    @if concerns.is_empty() { "None." }
                    @else { "No rule has raised one; what needs somebody is said at the top, with or without rules." }
                }
            } @else {
                ul class="plainlist" {
                    @for alert in &overview.alerts {
                        li {
                            (mark(concern::tone_of(alert), &alert.severity)) " "
                            a href=(address("/alerts", &[("subject", Some(&alert.subject))])) { (alert.subject) ": " (alert.what) }
                            small { " since " (ago(alert.since, visit.now)) }
                        }
                    }
                }
            }
        }
    }
}
