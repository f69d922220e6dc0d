//! Values over time, as a picture that stretches with the page. Without scripts and styles of its own: geometry is in
//! attributes, colours are in classes, and the words are outside the picture so that they keep their size.

use std::fmt::Write as _;

use maud::{Markup, html};

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

/// A chart.
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How a value is written, unit included.
    pub format: fn(f64) -> String,
    /// The lines, all over the same time.
    pub lines: &'a [Line<'a>],
    /// How long the whole width is, in seconds.
    pub seconds: f64,
    /// Marks where the first line is above the second: what came in and was not done.
    pub gap: bool,
}

impl Chart<'_> {
    /// The chart with its legend.
    pub fn render(&self) -> Markup {
        let top = nice_top(self.lines.iter().flat_map(|line| line.points.iter().flatten().copied()));
        let nothing = self.lines.iter().all(|line| line.points.iter().all(Option::is_none));
        html! {
            figure class="chart" {
                figcaption {
                    span class="title" { (self.title) }
                    span class="legend" {
                        @for line in self.lines {
                            span class={ "key " (line.look.class()) } {
                                (line.name) " "
                                b { (newest(line.points).map_or_else(|| crate::text::NOTHING.to_owned(), self.format)) }
                            }
                        }
                    }
                }
                div class="plot" {
                    span class="top" aria-hidden="true" { @if !nothing { ((self.format)(top)) } }
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                        aria-label=(self.described()) {
                        path class="grid" d={ "M0 .5H" (WIDTH) "M0 " (HEIGHT / 2.0) "H" (WIDTH) } {}
                        path class="base" d={ "M0 " (HEIGHT) "H" (WIDTH) } {}
                        @for line in self.lines {
                            @if line.look == Look::Area { path class="area-fill" d=(area(line.points, top)) {} }
                        }
                        @if self.gap && let [above, below, ..] = self.lines {
                            path class="gap" d=(gap(above.points, below.points, top)) {}
                        }
                        @for line in self.lines {
                            path class={ "line " (line.look.class()) } d=(path(line.points, top)) {}
                        }
                    }
                    span class="span" aria-hidden="true" {
                        span { @if nothing { "no measurements yet" } @else { (crate::text::seconds(self.seconds)) " ago" } }
                        span { "now" }
                    }
                }
            }
        }
    }

    /// The chart in words.
    fn described(&self) -> String {
        let lines =
            self.lines.iter().map(|line| {
                let most =
                    line.points.iter().flatten().copied().fold(None, |most: Option<f64>, point| {
                        Some(most.map_or(point, |most| most.max(point)))
                    });
                match (newest(line.points), most) {
                    (Some(now), Some(most)) => {
                        format!("{} now {}, at most {}", line.name, (self.format)(now), (self.format)(most))
                    }
                    _ => format!("{}: no measurements", line.name),
                }
            });
        format!("{}: {}", self.title, lines.collect::<Vec<_>>().join("; "))
    }
}

/// A small line without words, for tables.
pub fn spark(label: &str, points: &[Option<f64>]) -> Markup {
    let top = nice_top(points.iter().flatten().copied());
    html! {
        svg class="spark" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
            path class="line strong" d=(path(points, top)) {}
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

fn place(at: usize, of: usize, value: f64, top: f64) -> (f64, f64) {
    let x = if of > 1 { at as f64 / (of - 1) as f64 * WIDTH } else { WIDTH };
    (x, HEIGHT - (value / top).clamp(0.0, 1.0) * (HEIGHT - 1.0))
}

/// The values that follow each other without a hole, with their places.
fn runs(points: &[Option<f64>], top: f64) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (at, point) in points.iter().enumerate() {
        match (point.filter(|point| point.is_finite()), runs.last_mut()) {
            (Some(value), Some(run)) => run.push(place(at, points.len(), value, top)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn path(points: &[Option<f64>], top: f64) -> String {
    let mut d = String::new();
    for run in runs(points, top) {
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

fn area(points: &[Option<f64>], top: f64) -> String {
    let mut d = String::new();
    for run in runs(points, top) {
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
fn gap(above: &[Option<f64>], below: &[Option<f64>], top: f64) -> String {
    let count = above.len();
    let mut d = String::new();
    let known = |at: usize| Some((above.get(at).copied()??, below.get(at).copied()??));
    for at in 1..count {
        let (Some((over0, under0)), Some((over1, under1))) = (known(at - 1), known(at)) else { continue };
        if over0 <= under0 && over1 <= under1 {
            continue;
        }
        let ((x0, top0), (x1, top1)) =
            (place(at - 1, count, over0.max(under0), top), place(at, count, over1.max(under1), top));
        let ((_, low0), (_, low1)) = (place(at - 1, count, under0, top), place(at, count, under1, top));
        let _ = write!(d, "M{x0:.1} {top0:.1}L{x1:.1} {top1:.1}L{x1:.1} {low1:.1}L{x0:.1} {low0:.1}Z");
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(path(&points, 1.0), "M0.0 120.0L150.0 1.0M450.0 1.0h.01");
        assert_eq!(area(&points[..2], 1.0), "M0.0 120L0.0 120.0L600.0 1.0L600.0 120Z");
        assert_eq!(path(&[], 1.0), "");
    }

    #[test]
    fn what_came_in_and_was_not_done_is_marked_and_nothing_else() {
        let (coming, done) = ([Some(1.0), Some(1.0), Some(1.0)], [Some(1.0), Some(1.0), Some(0.0)]);
        let marked = gap(&coming, &done, 1.0);
        assert_eq!(marked.matches('Z').count(), 1, "{marked}");
        assert_eq!(gap(&done, &coming, 1.0), "");
        assert_eq!(gap(&coming, &[None, Some(0.0)], 1.0), "");
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let chart = Chart {
            title: "Events",
            format: crate::text::rate,
            lines: &[Line { name: "incoming", look: Look::Area, points: &[Some(3.0), Some(1.0)] }],
            seconds: 900.0,
            gap: false,
        };
        let said = chart.described().replace(crate::text::THIN, " ");
        assert_eq!(said, "Events: incoming now 1.0 /s, at most 3.0 /s");
    }
}
