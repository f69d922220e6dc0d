//! Series of the last minutes and hours, in memory: a value a second for a quarter of an hour, and one each 15 seconds for a
//! day.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidegate_model::clock::Timestamp;

/// How many values are kept of one a second: 15 minutes.
pub const FINE_POINTS: usize = 900;

/// The step of the coarse values, in seconds.
pub const COARSE_STEP: u64 = 15;

/// How many coarse values are kept: a day.
pub const COARSE_POINTS: usize = 24 * 3600 / COARSE_STEP as usize;

/// The longest time that is kept, in seconds.
const LONGEST: u64 = COARSE_POINTS as u64 * COARSE_STEP;

/// How many series are kept. One takes about 26 KiB when it is a day old.
pub const MOST_SERIES: usize = 512;

/// The unit of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesUnit {
    /// Events a second.
    EventsPerSecond,
    /// Bytes a second.
    BytesPerSecond,
    /// Events.
    Events,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

impl SeriesUnit {
    /// The unit as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events/s",
            Self::BytesPerSecond => "bytes/s",
            Self::Events => "events",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
        }
    }

    /// Whether a coarse value is the average of fine ones; else it is the largest of them.
    fn is_averaged(self) -> bool {
        matches!(self, Self::EventsPerSecond | Self::BytesPerSecond)
    }
}

/// A part of some series, as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesAnswer {
    /// The time between two values, in seconds.
    pub step_s: u64,
    /// The time of the first value.
    pub from: Timestamp,
    /// The series, in the order in which they were asked for. A name that is not known has no values.
    pub series: Vec<NamedSeries>,
}

/// A part of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSeries {
    /// Its name, such as `function.fold.processed`.
    pub name: String,
    /// Its unit; `None` when the name is not known.
    pub unit: Option<SeriesUnit>,
    /// Its values; `None` where there is none.
    pub points: Vec<Option<f64>>,
}

/// All series. They have one beat: the values of a second are added together.
#[derive(Debug, Default)]
pub struct Series {
    by_name: BTreeMap<String, OneSeries>,
    /// The second of the last values, on the steady clock, and its time of day.
    last: Option<(u64, Timestamp)>,
}

#[derive(Debug)]
struct OneSeries {
    unit: SeriesUnit,
    fine: VecDeque<f32>,
    coarse: VecDeque<f32>,
    /// When it last had a value.
    touched: u64,
}

impl Series {
    /// Adds the values of the second that `monotonic` is in. Of values without an earlier second nothing is taken, and
    /// seconds that were left out have no values.
    pub fn add(
        &mut self,
        monotonic: Duration,
        now: Timestamp,
        values: impl IntoIterator<Item = (String, SeriesUnit, Option<f64>)>,
    ) {
        let second = monotonic.as_secs();
        let before = self.last.map(|(last, _)| last);
        if before.is_some_and(|before| second <= before) {
            return;
        }
        let from = before.map_or(second, |before| before + 1);
        if second - from >= LONGEST {
            self.by_name.clear();
        }
        // Every series gets a place for each second; what is not said has no value.
        for missing in from.max(second.saturating_sub(LONGEST))..second {
            self.by_name.values_mut().for_each(|series| series.step(missing, None));
        }
        for (name, unit, value) in values {
            let is_room = self.by_name.len() < MOST_SERIES;
            let series = match self.by_name.get_mut(&name) {
                Some(series) => series,
                None if is_room => self.by_name.entry(name).or_insert_with(|| OneSeries::new(unit)),
                None => continue,
            };
            series.step(second, value.map(|value| value as f32));
        }
        for series in self.by_name.values_mut().filter(|series| series.touched != second) {
            series.step(second, None);
        }
        self.by_name
            .retain(|_, series| series.fine.iter().chain(&series.coarse).any(|value| !value.is_nan()));
        self.last = Some((second, now));
    }

    /// The last `seconds` of the named series: with a step of a second for a quarter of an hour at most, else with steps of
    /// 15 seconds for a day at most.
    pub fn read(&self, names: &[String], seconds: u64) -> SeriesAnswer {
        let is_fine = seconds <= FINE_POINTS as u64;
        let step = if is_fine { 1 } else { COARSE_STEP };
        let most = if is_fine { FINE_POINTS } else { COARSE_POINTS };
        let points = usize::try_from(seconds.div_ceil(step)).unwrap_or(most).clamp(1, most);
        let series = names.iter().map(|name| {
            let known = self.by_name.get(name);
            let values = known.map(|known| if is_fine { &known.fine } else { &known.coarse });
            let missing = points.saturating_sub(values.map_or(0, VecDeque::len));
            let kept =
                values.into_iter().flat_map(|values| values.iter().skip(values.len().saturating_sub(points)));
            let kept = kept.map(|value| (!value.is_nan()).then(|| f64::from(*value)));
            NamedSeries {
                name: name.clone(),
                unit: known.map(|known| known.unit),
                points: std::iter::repeat_n(None, missing).chain(kept).collect(),
            }
        });
        let (second, now) = self.last.unwrap_or_default();
        // The last coarse value is that of the last 15 seconds that are over.
        let last = if is_fine { now } else { now.minus(Duration::from_secs((second + 1) % COARSE_STEP)) };
        let from = last.minus(Duration::from_secs(step * (points as u64 - 1)));
        SeriesAnswer { step_s: step, from, series: series.collect() }
    }

    /// The average of the last `seconds` values of a series that are there.
    pub fn average(&self, name: &str, seconds: usize) -> Option<f64> {
        let fine = &self.by_name.get(name)?.fine;
        let values = fine.iter().skip(fine.len().saturating_sub(seconds)).filter(|value| !value.is_nan());
        average(values)
    }

    /// The last value of a series.
    pub fn last(&self, name: &str) -> Option<f64> {
        let value = *self.by_name.get(name)?.fine.back()?;
        (!value.is_nan()).then(|| f64::from(value))
    }

    /// The names of all series with their units.
    pub fn names(&self) -> Vec<(String, SeriesUnit)> {
        self.by_name.iter().map(|(name, series)| (name.clone(), series.unit)).collect()
    }
}

fn average<'v>(values: impl Iterator<Item = &'v f32>) -> Option<f64> {
    let (sum, many) = values.fold((0.0, 0_u32), |(sum, many), value| (sum + f64::from(*value), many + 1));
    (many > 0).then(|| sum / f64::from(many))
}

impl OneSeries {
    fn new(unit: SeriesUnit) -> Self {
        Self { unit, fine: VecDeque::new(), coarse: VecDeque::new(), touched: 0 }
    }

    /// Takes the value of a second. The coarse ones are made at the end of each 15 seconds of the steady clock.
    fn step(&mut self, second: u64, value: Option<f32>) {
        self.touched = second;
        push(&mut self.fine, value.unwrap_or(f32::NAN), FINE_POINTS);
        if (second + 1).is_multiple_of(COARSE_STEP) {
            let from = self.fine.len().saturating_sub(COARSE_STEP as usize);
            let values = self.fine.range(from..).filter(|value| !value.is_nan());
            let coarse = match self.unit.is_averaged() {
                true => average(values).map(|average| average as f32),
                false => values.copied().reduce(f32::max),
            };
            push(&mut self.coarse, coarse.unwrap_or(f32::NAN), COARSE_POINTS);
        }
    }
}

fn push(values: &mut VecDeque<f32>, value: f32, most: usize) {
    if values.len() >= most {
        values.pop_front();
    }
    values.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: SeriesUnit = SeriesUnit::EventsPerSecond;

    fn at(second: u64) -> (Duration, Timestamp) {
        (Duration::from_secs(second), Timestamp::from_millis(1_000_000 + second as i64 * 1000))
    }

    fn add(series: &mut Series, second: u64, name: &str, unit: SeriesUnit, value: f64) {
        let (monotonic, now) = at(second);
        series.add(monotonic, now, [(name.to_owned(), unit, Some(value))]);
    }

    fn points(series: &Series, name: &str, seconds: u64) -> Vec<Option<f64>> {
        series.read(&[name.to_owned()], seconds).series.remove(0).points
    }

    #[test]
    fn seconds_that_were_left_out_have_no_value() {
        let mut series = Series::default();
        for second in [100, 101, 104] {
            add(&mut series, second, "a", UNIT, second as f64);
        }
        assert_eq!(points(&series, "a", 6), [None, Some(100.0), Some(101.0), None, None, Some(104.0)]);
        let answer = series.read(&["a".to_owned(), "b".to_owned()], 2);
        assert_eq!((answer.step_s, answer.from), (1, at(103).1));
        assert_eq!((answer.series[1].unit, &*answer.series[1].points), (None, &[None, None][..]));
        assert_eq!(series.average("a", 10), Some((100.0 + 101.0 + 104.0) / 3.0));
        assert_eq!(series.last("a"), Some(104.0));
    }

    #[test]
    fn a_second_is_counted_once() {
        let mut series = Series::default();
        add(&mut series, 7, "a", UNIT, 1.0);
        add(&mut series, 7, "a", UNIT, 2.0);
        assert_eq!(points(&series, "a", 1), [Some(1.0)]);
    }

    #[test]
    fn coarse_values_are_averages_of_rates_and_the_largest_of_anything_else() {
        let mut series = Series::default();
        for second in 0..40 {
            let (monotonic, now) = at(second);
            let value = Some(second as f64);
            let values = [("rate".to_owned(), UNIT, value), ("lag".to_owned(), SeriesUnit::Events, value)];
            series.add(monotonic, now, values);
        }
        assert_eq!(points(&series, "rate", 901)[59..], [Some(7.0), Some(22.0)]);
        assert_eq!(points(&series, "lag", 901)[59..], [Some(14.0), Some(29.0)]);
        let answer = series.read(&["lag".to_owned()], 901);
        assert_eq!(answer.step_s, 15);
        assert_eq!(answer.from.plus(Duration::from_secs(60 * 15)), at(29).1, "the last one is of second 29");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut series = Series::default();
        for second in 0..FINE_POINTS as u64 * 2 {
            add(&mut series, second, "a", UNIT, 1.0);
        }
        assert_eq!(series.by_name["a"].fine.len(), FINE_POINTS);
        let (monotonic, now) = at(10_000_000);
        let many = (0..MOST_SERIES * 2).map(|n| (format!("s{n:04}"), UNIT, Some(1.0)));
        series.add(monotonic, now, many);
        assert_eq!(series.by_name.len(), MOST_SERIES);
        assert!(!series.by_name.contains_key("a"), "nothing of it is left");
        assert_eq!(points(&series, "s0001", u64::MAX).len(), COARSE_POINTS);
    }
}
