//! Values over time, for charts.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_api::{Series, SeriesLine};
use tidegate_model::clock::Timestamp;

use crate::api::encoded;
use crate::problem::Outcome;
use crate::visit::Visit;

/// How many values a chart has at most. More cannot be seen, and all are sent anew when one changes.
const MOST_POINTS: u64 = 240;

/// Measured values over time.
pub struct Measured {
    series: Option<Series>,
    span: Span,
}

/// What the width of a chart stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// When the first value was; nothing where that is not known.
    pub from: Option<Timestamp>,
    /// How long the whole is, in seconds.
    pub seconds: f64,
    /// The time that one value stands for, in seconds.
    pub step_s: f64,
}

impl Measured {
    /// The values of these names over the last seconds. Where nothing is measured there are none, and no error: everything
    /// else of a page is still worth showing.
    ///
    /// # Errors
    /// What the API says otherwise.
    pub async fn fetch(
        visit: &Visit,
        names: impl IntoIterator<Item = String>,
        seconds: u32,
    ) -> Outcome<Self> {
        let names: BTreeSet<String> = names.into_iter().collect();
        let nothing = Span { from: None, seconds: f64::from(seconds), step_s: 1.0 };
        if names.is_empty() {
            return Ok(Self { series: None, span: nothing });
        }
        let names: Vec<String> = names.iter().map(|name| format!("name={}", encoded(name))).collect();
        let path = format!("/api/v1/series?{}&seconds={seconds}", names.join("&"));
        let found: Option<Series> = visit.api.find(&path).await?;
        let series = found.map(|series| {
            let points = series.series.iter().map(|line| line.points.len()).max().unwrap_or(0) as u64;
            condensed(&series, nice_step(series.step_s, points))
        });
        let span = series.as_ref().map_or(nothing, |series| Span {
            from: Some(series.from),
            step_s: series.step_s as f64,
            ..nothing
        });
        Ok(Self { series, span })
    }

    /// The values under a name, the oldest first; none if there is no such.
    pub fn points(&self, name: &str) -> &[Option<f64>] {
        self.line(name).map_or(&[], |line| &line.points)
    }

    /// Everything under a name.
    pub fn line(&self, name: &str) -> Option<&SeriesLine> {
        self.series.as_ref()?.series.iter().find(|line| line.name == name)
    }

    /// What the values stand for.
    pub fn span(&self) -> Span {
        self.span
    }
}

/// A step of a round number of seconds that leaves no more values than a chart has.
fn nice_step(step_s: u64, points: u64) -> u64 {
    let seconds = step_s.max(1).saturating_mul(points);
    let steps = [1, 5, 15, 30, 60, 300, 600, 1800];
    let fits = |step: &u64| step.is_multiple_of(step_s.max(1)) && seconds / step <= MOST_POINTS;
    steps.into_iter().find(fits).unwrap_or(step_s.max(1))
}

/// The same in longer steps: averages of rates, and the largest of anything else. Steps begin at multiples of their length,
/// so that a value does not change once its time is over. The first one is left out if it is not whole.
pub(crate) fn condensed(series: &Series, step_s: u64) -> Series {
    let old_ms = i64::try_from(series.step_s.max(1)).unwrap_or(1).saturating_mul(1000);
    let new_ms = i64::try_from(step_s.max(1)).unwrap_or(1).saturating_mul(1000);
    let begin = series.from.as_millis();
    // The place of the first whole step.
    let first = begin.div_euclid(new_ms) + i64::from(begin.rem_euclid(new_ms) >= old_ms);
    let lines = series.series.iter().map(|line| {
        let is_rate = line.unit.as_deref().is_some_and(|unit| unit.ends_with("/s"));
        let mut points: Vec<Option<f64>> = Vec::new();
        let mut inside: Vec<f64> = Vec::new();
        let mut place = first;
        for (nth, value) in line.points.iter().enumerate() {
            let at = begin.saturating_add(old_ms.saturating_mul(i64::try_from(nth).unwrap_or(i64::MAX)));
            let step = at.div_euclid(new_ms);
            if step < first {
                continue;
            }
            while place < step {
                points.push(one_of(&inside, is_rate));
                inside.clear();
                place += 1;
            }
            inside.extend(value);
        }
        if !line.points.is_empty() {
            points.push(one_of(&inside, is_rate));
        }
        SeriesLine { points, ..line.clone() }
    });
    Series {
        step_s: step_s.max(1),
        from: Timestamp::default().plus(Duration::from_millis(u64::try_from(first * new_ms).unwrap_or(0))),
        series: lines.collect(),
    }
}

fn one_of(values: &[f64], is_rate: bool) -> Option<f64> {
    match (values.is_empty(), is_rate) {
        (true, _) => None,
        (false, true) => Some(values.iter().sum::<f64>() / values.len() as f64),
        (false, false) => values.iter().copied().reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(from_s: i64, unit: &str, points: &[Option<f64>]) -> Series {
        let line = SeriesLine { name: "a".to_owned(), unit: Some(unit.to_owned()), points: points.to_vec() };
        Series { step_s: 1, from: Timestamp::from_millis(from_s * 1000), series: vec![line] }
    }

    #[test]
    fn longer_steps_are_averages_of_rates_and_the_largest_of_the_rest() {
        let points: Vec<Option<f64>> = (0..12).map(|n| Some(f64::from(n))).collect();
        let rates = condensed(&series(100, "events/s", &points), 5);
        assert_eq!((rates.step_s, rates.from), (5, Timestamp::from_millis(100_000)));
        assert_eq!(rates.series[0].points, [Some(2.0), Some(7.0), Some(10.5)]);
        let events = condensed(&series(100, "events", &points), 5);
        assert_eq!(events.series[0].points, [Some(4.0), Some(9.0), Some(11.0)]);
    }

    #[test]
    fn a_step_that_is_over_stays_as_it_is_while_time_goes_on() {
        let points: Vec<Option<f64>> = (0..14).map(|n| (n != 7).then_some(f64::from(n))).collect();
        let before = condensed(&series(103, "events/s", &points), 5);
        // A second later the window begins a second later.
        let after = condensed(&series(104, "events/s", &points[1..]), 5);
        assert_eq!(before.from, Timestamp::from_millis(105_000));
        assert_eq!(before.series[0].points[..2], after.series[0].points[..2]);
        let hole = condensed(&series(100, "events/s", &[Some(1.0), None, None, None, None, None, None]), 3);
        assert_eq!(hole.series[0].points, [None, None]);
    }

    #[test]
    fn charts_have_no_more_values_than_can_be_seen() {
        assert_eq!((nice_step(1, 900), nice_step(15, 240), nice_step(15, 5760)), (5, 15, 600));
        assert_eq!((nice_step(1, 60), nice_step(5, 180), nice_step(0, 0)), (1, 5, 1));
    }
}
