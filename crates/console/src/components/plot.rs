//! Numbers as a picture: how often each occurs, and how one goes with another.

use maud::{Markup, html};

use crate::text;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 160.0;

/// How many values fall into each of equally wide ranges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What is counted.
    pub title: String,
    /// The beginning of the first range.
    pub least: f64,
    /// The end of the last one.
    pub most: f64,
    /// How many are in each.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// The bars, with the counts in words for who does not see them.
    pub fn render(&self) -> Markup {
        let top = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let width = WIDTH / self.counts.len().max(1) as f64;
        let step = (self.most - self.least) / self.counts.len().max(1) as f64;
        let total: u64 = self.counts.iter().sum();
        html! {
            figure class="bars" {
                figcaption { span class="title" { (self.title) } span class="small" { " " (text::counted(total, "document", "documents")) } }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                    aria-label={ (self.title) ": from " (number(self.least)) " to " (number(self.most)) ", at most " (text::count(top)) " in one range" } {
                    @for (nth, count) in self.counts.iter().enumerate() {
                        @let height = *count as f64 / top as f64 * (HEIGHT - 2.0);
                        @let from = self.least + step * nth as f64;
                        rect x=(format!("{:.1}", width * nth as f64 + 1.0)) y=(format!("{:.1}", HEIGHT - height))
                            width=(format!("{:.1}", (width - 2.0).max(1.0))) height=(format!("{height:.1}")) {
                            title { (number(from)) " to " (number(from + step)) ": " (text::count(*count)) }
                        }
                    }
                    path class="base" d={ "M0 " (HEIGHT) "H" (WIDTH) } {}
                }
                span class="span small" aria-hidden="true" { span { (number(self.least)) } span { "at most " (text::count(top)) } span { (number(self.most)) } }
            }
        }
    }
}

/// One number against another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    /// What goes to the right, and what goes up.
    pub names: [String; 2],
    /// The points.
    pub points: Vec<(f64, f64)>,
}

impl Scatter {
    /// The points. Nothing where there are none.
    pub fn render(&self) -> Markup {
        let Some((x0, x1)) = range(self.points.iter().map(|point| point.0)) else { return html! {} };
        let Some((y0, y1)) = range(self.points.iter().map(|point| point.1)) else { return html! {} };
        let [right, up] = &self.names;
        html! {
            figure class="bars scatter" {
                figcaption { span class="title" { (up) " against " (right) } span class="small" { " " (text::counted(self.points.len() as u64, "document", "documents")) } }
                span class="small" aria-hidden="true" { (up) " " (number(y1)) }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT * 1.5) } role="img"
                    aria-label={ (up) " from " (number(y0)) " to " (number(y1)) " against " (right) " from " (number(x0)) " to " (number(x1)) } {
                    @for (x, y) in &self.points {
                        circle cx=(format!("{:.1}", 4.0 + (x - x0) / (x1 - x0) * (WIDTH - 8.0)))
                            cy=(format!("{:.1}", 4.0 + (1.0 - (y - y0) / (y1 - y0)) * (HEIGHT * 1.5 - 8.0))) r="2.5" {}
                    }
                    path class="base" d={ "M0 " (HEIGHT * 1.5) "H" (WIDTH) } {}
                }
                span class="span small" aria-hidden="true" { span { (number(x0)) } span { (right) " →" } span { (number(x1)) } }
            }
        }
    }
}

/// The least and the largest of numbers; a little more where they are one. `None` without any.
pub fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    let (least, most) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
    match (least.is_finite(), least < most) {
        (false, _) => None,
        (true, true) => Some((least, most)),
        (true, false) => Some((least - 0.5, most + 0.5)),
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 { text::decimal(value) } else { format!("{}", (value * 100.0).round() / 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let histogram = Histogram { title: "<a>".to_owned(), least: 0.0, most: 20.0, counts: vec![1, 4] };
        let html = histogram.render().into_string();
        assert!(html.contains("height=\"39.5\"") && html.contains("height=\"158.0\""), "{html}");
        assert!(html.contains("10 to 20: 4") && html.contains("&lt;a&gt;"), "{html}");
    }

    #[test]
    fn one_value_has_room_around_it() {
        assert_eq!(range([3.0, f64::NAN].into_iter()), Some((2.5, 3.5)));
        assert_eq!(range([f64::INFINITY].into_iter()), None);
        let scatter = Scatter { names: ["a".to_owned(), "b".to_owned()], points: vec![(1.0, 1.0)] };
        assert!(scatter.render().into_string().contains("cx=\"300.0\""));
    }
}
