//! Values over time, as a picture that stretches with the page. Without scripts and styles of its own: geometry is in
//! attributes, colours are in classes, and the words are outside the picture so that they keep their size.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::series::Span;
use crate::text;

/// The size of the coordinate system. The picture is stretched to the width of its place.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// One line.
pub struct Line<'a> {
    /// What it is called in the legend.
    pub name: &'a str,
    /// How it is drawn.
    pub look: Look,
    /// Its values; nothing where nothing is known.
    pub points: &'a [Option<f64>],
}

impl Line<'_> {
    /// Its class. What needs somebody is not drawn in its colour where there is nothing of it.
    fn class(&self) -> &'static str {
        let is_there = self.points.iter().flatten().any(|value| *value > 0.0);
        if self.look == Look::Act && !is_there { Look::Thin.class() } else { self.look.class() }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A filled area in grey: what comes in.
    Area,
    /// A strong line in the accent: what is done.
    Strong,
    /// A thin line.
    Thin,
    /// A dashed line.
    Dashed,
    /// A line in the colour of what needs somebody.
    Act,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Self::Area => "area",
            Self::Strong => "strong",
            Self::Thin => "thin",
            Self::Dashed => "dashed",
            Self::Act => "act",
        }
    }
}

/// What the values of a chart are, and so how they are written. The script of the console writes them the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Events a second.
    Rate,
    /// Bytes a second.
    ByteRate,
    /// Events.
    Events,
    /// Milliseconds.
    Milliseconds,
    /// Numbers without unit.
    Number,
}

impl Unit {
    /// A value with its unit.
    pub fn write(self, value: f64) -> String {
        // A cast of a large float is held at the largest number.
        let whole = value.max(0.0).round() as u64;
        match self {
            Self::Rate => text::rate(value),
            Self::ByteRate => format!("{}/s", text::bytes(whole)),
            Self::Events => text::counted(whole, "event", "events"),
            Self::Milliseconds => text::milliseconds(value),
            Self::Number => text::decimal(value),
        }
    }

    /// A value beside the axis, where all are of the same kind.
    fn beside_axis(self, value: f64) -> String {
        match self {
            _ if value == 0.0 => "0".to_owned(),
            // There is no half event.
            Self::Events | Self::ByteRate if value.fract() != 0.0 => String::new(),
            _ => self.write(value),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::ByteRate => "byte-rate",
            Self::Events => "events",
            Self::Milliseconds => "milliseconds",
            Self::Number => "number",
        }
    }
}

/// A chart.
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What its values are.
    pub unit: Unit,
    /// The lines, all over the same time.
    pub lines: &'a [Line<'a>],
    /// What its width stands for.
    pub span: Span,
    /// Marks where the first line is above the second: what came in and was not done.
    pub gap: bool,
    /// The scale begins near the smallest value instead of at zero.
    pub tight: bool,
    /// Where the same values are as a table.
    pub table: Option<String>,
}

impl Chart<'_> {
    /// The chart with its legend.
    pub fn render(&self) -> Markup {
        let scale = self.scale();
        let nothing = self.lines.iter().all(|line| line.points.iter().all(Option::is_none));
        let from = self.span.from.map(|from| from.as_millis());
        html! {
            figure class="chart" {
                figcaption {
                    span class="title" {
                        (self.title)
                        @if let Some(table) = &self.table { a class="as-table" href=(table) { "table" span class="unseen" { " of " (self.title) } } }
                    }
                    span class="legend" {
                        @for line in self.lines {
                            span class={ "key " (line.look.class()) } {
                                (line.name) " "
                                b { (newest(line.points).map_or_else(|| text::NOTHING.to_owned(), |value| self.unit.write(value))) }
                            }
                        }
                        span class="when" {}
                    }
                }
                div class="plot" {
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" tabindex="0"
                        aria-label=(self.described()) data-unit=(self.unit.name()) data-from=[from] data-step=(self.span.step_s) {
                        path class="grid" d={ "M0 .5H" (WIDTH) "M0 " (HEIGHT / 2.0) "H" (WIDTH) } {}
                        path class="base" d={ "M0 " (HEIGHT) "H" (WIDTH) } {}
                        @for line in self.lines {
                            @if line.look == Look::Area { path class="area-fill" d=(area(line.points, scale)) {} }
                        }
                        @if self.gap && let [above, below, ..] = self.lines {
                            path class="gap" d=(gap(above.points, below.points, scale)) {}
                        }
                        @for line in self.lines {
                            path class={ "line " (line.class()) } d=(path(line.points, scale)) data-name=(line.name) data-values=(listed(line.points)) {}
                        }
                        path class="cursor" {}
                    }
                    div class="axis" aria-hidden="true" {
                        @if !nothing {
                            @for value in [scale.top, (scale.top + scale.bottom) / 2.0, scale.bottom] { span { (self.unit.beside_axis(value)) } }
                        }
                    }
                    div class="span" aria-hidden="true" {
                        @if nothing { span { "no measurements yet" } span { "now" } } @else { (self.times()) }
                    }
                }
            }
        }
    }

    /// The scale that holds every value.
    fn scale(&self) -> Scale {
        let values = || self.lines.iter().flat_map(|line| line.points.iter().flatten().copied());
        if !self.tight {
            return Scale { bottom: 0.0, top: nice_top(values()) };
        }
        let finite = || values().filter(|value| value.is_finite());
        let (least, most) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        if !least.is_finite() {
            return Scale { bottom: 0.0, top: 1.0 };
        }
        let step = nice_top(std::iter::once((most - least) / 4.0));
        let bottom = (least / step).floor() * step;
        Scale { bottom, top: ((most / step).ceil() * step).max(bottom + step) }
    }

    /// The times below: four of them, at equal distances.
    fn times(&self) -> Markup {
        html! {
            @if self.span.from.is_none() {
                // The values are not at equal distances in time.
                span { "oldest" } span { "newest" }
            } @else {
                @for third in [3.0, 2.0, 1.0] { span { (text::seconds(self.span.seconds * third / 3.0)) @if third == 3.0 { " ago" } } }
                span { "now" }
            }
        }
    }

    /// The chart in words.
    fn described(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            let most = line
                .points
                .iter()
                .flatten()
                .copied()
                .fold(None, |most: Option<f64>, point| Some(most.map_or(point, |most| most.max(point))));
            match (newest(line.points), most) {
                (Some(now), Some(most)) => {
                    format!("{} now {}, at most {}", line.name, self.unit.write(now), self.unit.write(most))
                }
                _ => format!("{}: no measurements", line.name),
            }
        });
        format!("{}: {}", self.title, lines.collect::<Vec<_>>().join("; "))
    }
}

/// Values for the script: short numbers with commas between, nothing where there is none.
fn listed(points: &[Option<f64>]) -> String {
    let mut all = String::with_capacity(points.len() * 4);
    for (nth, point) in points.iter().enumerate() {
        if nth > 0 {
            all.push(',');
        }
        if let Some(value) = point.filter(|value| value.is_finite()) {
            let rounded =
                if value.abs() >= 1000.0 { value.round() } else { (value * 1000.0).round() / 1000.0 };
            let _ = write!(all, "{rounded}");
        }
    }
    all
}

/// What the bottom and the top of the picture stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    bottom: f64,
    top: f64,
}

/// A small line without words, for tables.
pub fn spark(label: &str, points: &[Option<f64>]) -> Markup {
    let scale = Scale { bottom: 0.0, top: nice_top(points.iter().flatten().copied()) };
    html! {
        svg class="spark" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
            path class="line strong" d=(path(points, scale)) {}
        }
    }
}

fn newest(points: &[Option<f64>]) -> Option<f64> {
    // The newest place may not be measured yet.
    points.iter().rev().take(3).find_map(|point| *point)
}

/// The first of 1, 2, 5, 10, 20, 50, … that is not below any value; 1 when all are zero.
fn nice_top(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(power * 10.0)
}

fn place(at: usize, of: usize, value: f64, scale: Scale) -> (f64, f64) {
    let x = if of > 1 { at as f64 / (of - 1) as f64 * WIDTH } else { WIDTH };
    let share = (value - scale.bottom) / (scale.top - scale.bottom);
    (x, HEIGHT - share.clamp(0.0, 1.0) * (HEIGHT - 1.0))
}

/// The values that follow each other without a hole, with their places.
fn runs(points: &[Option<f64>], scale: Scale) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (at, point) in points.iter().enumerate() {
        match (point.filter(|point| point.is_finite()), runs.last_mut()) {
            (Some(value), Some(run)) => run.push(place(at, points.len(), value, scale)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn path(points: &[Option<f64>], scale: Scale) -> String {
    let mut d = String::new();
    for run in runs(points, scale) {
        for (at, (x, y)) in run.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        }
        if run.len() == 1 {
            // A single value is a dot.
            d.push_str("h.01");
        }
    }
    d
}

fn area(points: &[Option<f64>], scale: Scale) -> String {
    let mut d = String::new();
    for run in runs(points, scale) {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { continue };
        let _ = write!(d, "M{first:.1} {HEIGHT}");
        for (x, y) in &run {
            let _ = write!(d, "L{x:.1} {y:.1}");
        }
        let _ = write!(d, "L{last:.1} {HEIGHT}Z");
    }
    d
}

/// The area below the first line and above the second, where it is above.
fn gap(above: &[Option<f64>], below: &[Option<f64>], scale: Scale) -> String {
    let count = above.len();
    let mut d = String::new();
    let known = |at: usize| Some((above.get(at).copied()??, below.get(at).copied()??));
    for at in 1..count {
        let (Some((over0, under0)), Some((over1, under1))) = (known(at - 1), known(at)) else { continue };
        if over0 <= under0 && over1 <= under1 {
            continue;
        }
        let ((x0, top0), (x1, top1)) =
            (place(at - 1, count, over0.max(under0), scale), place(at, count, over1.max(under1), scale));
        let ((_, low0), (_, low1)) = (place(at - 1, count, under0, scale), place(at, count, under1, scale));
        let _ = write!(d, "M{x0:.1} {top0:.1}L{x1:.1} {top1:.1}L{x1:.1} {low1:.1}L{x0:.1} {low0:.1}Z");
    }
    d
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::Timestamp;

    use super::*;

    const ONE: Scale = Scale { bottom: 0.0, top: 1.0 };

    #[test]
    fn the_scale_is_round_and_holds_every_value() {
        let tops: Vec<f64> =
            [0.0, 0.3, 1.0, 1.1, 6.0, 4200.0].map(|most| nice_top([most, 0.0].into_iter())).into();
        assert_eq!(tops, [1.0, 0.5, 1.0, 2.0, 10.0, 5000.0]);
        assert_eq!(nice_top([f64::NAN, f64::INFINITY].into_iter()), 1.0);
    }

    #[test]
    fn holes_stay_holes() {
        let points = [Some(0.0), Some(1.0), None, Some(1.0), None];
        assert_eq!(path(&points, ONE), "M0.0 120.0L150.0 1.0M450.0 1.0h.01");
        assert_eq!(area(&points[..2], ONE), "M0.0 120L0.0 120.0L600.0 1.0L600.0 120Z");
        assert_eq!(path(&[], ONE), "");
    }

    #[test]
    fn what_came_in_and_was_not_done_is_marked_and_nothing_else() {
        let (coming, done) = ([Some(1.0), Some(1.0), Some(1.0)], [Some(1.0), Some(1.0), Some(0.0)]);
        let marked = gap(&coming, &done, ONE);
        assert_eq!(marked.matches('Z').count(), 1, "{marked}");
        assert_eq!(gap(&done, &coming, ONE), "");
        assert_eq!(gap(&coming, &[None, Some(0.0)], ONE), "");
    }

    fn chart<'a>(lines: &'a [Line<'a>], tight: bool) -> Chart<'a> {
        let span = Span { from: Some(Timestamp::from_millis(5000)), seconds: 900.0, step_s: 5.0 };
        Chart { title: "Events", unit: Unit::Rate, lines, span, gap: false, tight, table: None }
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let lines = [Line { name: "incoming", look: Look::Area, points: &[Some(3.0), Some(1.0)] }];
        let said = chart(&lines, false).described().replace(text::THIN, " ");
        assert_eq!(said, "Events: incoming now 1.0 /s, at most 3.0 /s");
    }

    #[test]
    fn the_values_are_there_for_who_points_at_them_and_the_axes_have_units() {
        let points = [Some(1240.4), None, Some(0.123_456), Some(f64::NAN)];
        let lines = [Line { name: "in <b>", look: Look::Area, points: &points }];
        let html = chart(&lines, false).render().into_string();
        assert!(html.contains("data-values=\"1240,,0.123,\""), "{html}");
        assert!(
            html.contains("data-from=\"5000\" data-step=\"5\"")
                && html.contains("data-name=\"in &lt;b&gt;\""),
            "{html}"
        );
        let plain = html.replace(text::THIN, " ");
        for said in [
            "<span>2 000 /s</span><span>1 000 /s</span><span>0</span>",
            "15 min ago",
            "<span>10 min</span>",
            "<span>5 min</span>",
            "now",
        ] {
            assert!(plain.contains(said), "{said} in {plain}");
        }
    }

    #[test]
    fn a_tight_scale_holds_negative_numbers_and_what_hardly_changes() {
        let scale_of = |points: &[Option<f64>]| {
            let lines = [Line { name: "n", look: Look::Strong, points }];
            let Scale { bottom, top } = chart(&lines, true).scale();
            (bottom, top)
        };
        assert_eq!(scale_of(&[Some(-3.0), Some(5.0)]), (-4.0, 6.0));
        assert_eq!(scale_of(&[Some(10_000.0), Some(10_040.0)]), (10_000.0, 10_040.0));
        let (bottom, top) = scale_of(&[Some(7.0)]);
        assert!(bottom <= 7.0 && top > 7.0, "{bottom} {top}");
        assert_eq!(scale_of(&[None]), (0.0, 1.0));
    }
}
