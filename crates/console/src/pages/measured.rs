//! What the charts are drawn from, as a table: for who wants the numbers, or does not see the pictures.

use maud::{Markup, html};

use tidegate_api::Series;

use crate::api::{address, encoded};
use crate::components::chart::Unit;
use crate::components::controls::tabs;
use crate::components::notice::empty;
use crate::components::table::{heads, table};
use crate::components::time::at;
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::series::condensed;
use crate::text;
use crate::visit::Visit;

/// How many series one page shows.
const MOST_NAMES: usize = 8;

/// How far back there is to look: the words, the seconds, and the seconds that a row stands for.
const SPANS: [(&str, u64, u64); 4] =
    [("5 min", 300, 10), ("15 min", 900, 60), ("1 h", 3600, 60), ("24 h", 86_400, 1800)];

/// The address of the table with these series.
pub(super) fn address_of(names: &[String], seconds: u32) -> String {
    address("/measured", &[("names", Some(&names.join(","))), ("seconds", Some(&seconds.to_string()))])
}

/// The page.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let names = visit.parameter("names").unwrap_or_default();
    let asked: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).take(MOST_NAMES).collect();
    if asked.is_empty() {
        return Err(Problem::bad_request("no measured value is named")
            .action("charts lead here; begin at the overview"));
    }
    let wanted: Option<u64> = visit.parameter("seconds").and_then(|seconds| seconds.parse().ok());
    let (_, seconds, step_s) =
        SPANS.into_iter().find(|(_, seconds, _)| Some(*seconds) == wanted).unwrap_or(SPANS[1]);
    let query: Vec<String> = asked.iter().map(|name| format!("name={}", encoded(name))).collect();
    let path = format!("/api/v1/series?{}&seconds={seconds}", query.join("&"));
    let found: Option<Series> = visit.api.find(&path).await?;
    let spans: Vec<(&str, String, bool)> = SPANS
        .into_iter()
        .map(|(word, of, _)| {
            let there = address("/measured", &[("names", Some(&names)), ("seconds", Some(&of.to_string()))]);
            (word, there, of == seconds)
        })
        .collect();
    let mut page = Page::new(Section::Elsewhere, "Measured values").below("Overview", "/");
    let rows = found.map(|series| rows(&condensed(&series, step_s)));
    let values = page.live("values", rows.unwrap_or_else(nothing));
    Ok(page.body(html! {
        (tabs("How far back", &spans))
        (values)
        p class="small" {
            "Each row is " (text::seconds(step_s as f64)) ": the average of rates, and the largest of anything else. The newest row is not \
             over yet. Latencies are of the last minute at each moment."
        }
    }))
}

fn nothing() -> Markup {
    empty(
        "Nothing is measured",
        &html! { "Measuring begins with the program, and is kept for a day in its memory." },
    )
}

fn rows(series: &Series) -> Markup {
    let many = series.series.iter().map(|line| line.points.len()).max().unwrap_or(0);
    if series.series.iter().all(|line| line.points.iter().all(Option::is_none)) {
        return nothing();
    }
    let names: Vec<String> = std::iter::once("Begins".to_owned())
        .chain(series.series.iter().map(|line| {
            let unit = line.unit.as_deref().map_or_else(String::new, |unit| format!(" ({unit})"));
            format!(">{}{unit}", line.name)
        }))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let step = std::time::Duration::from_secs(series.step_s);
    let begins = |nth: usize| series.from.plus(step.saturating_mul(u32::try_from(nth).unwrap_or(u32::MAX)));
    let body = html! {
        @for nth in (0..many).rev() {
            tr {
                th scope="row" { (at(begins(nth))) }
                @for line in &series.series {
                    td class="n" { @match line.points.get(nth).copied().flatten() { Some(value) => (written(line.unit.as_deref(), value)), None => span class="nothing" { (text::NOTHING) } } }
                }
            }
        }
    };
    table("Measured values", &heads(&names), &body)
}

/// A value without its unit, which the head of the column has; a time has it, because it may be of another size.
fn written(unit: Option<&str>, value: f64) -> String {
    match unit {
        Some("ms") => Unit::Milliseconds.write(value),
        Some("s") => text::seconds(value),
        Some("bytes/s") => Unit::ByteRate.write(value),
        Some("events") => text::count(value.max(0.0).round() as u64),
        _ => text::decimal(value),
    }
}
