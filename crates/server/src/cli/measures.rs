//! Numbers, spans and courses of time as a person reads them at a glance.

use crate::cli::output::grouped;

/// So many a second: one decimal below ten, and `-` where it is not known.
pub(crate) fn rate(per_second: Option<f64>) -> String {
    number(per_second, 10.0)
}

/// A number with a decimal below `exact_below`, and `-` where it is not known.
pub(crate) fn number(value: Option<f64>, exact_below: f64) -> String {
    match value.filter(|value| value.is_finite()) {
        None => "-".to_owned(),
        Some(value) if value > 0.0 && value < exact_below => format!("{value:.1}"),
        Some(value) => grouped(whole(value)),
    }
}

/// A span of seconds in its largest unit, such as `0.4s`, `95s`, `12m`, `30h`, `9d`; `-` where it is not known.
pub(crate) fn span(seconds: Option<f64>) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    let Some(seconds) = seconds.filter(|seconds| seconds.is_finite()) else { return "-".to_owned() };
    match seconds {
        seconds if seconds <= 0.0 => "0s".to_owned(),
        seconds if seconds < 10.0 => format!("{seconds:.1}s"),
        seconds if seconds < 100.0 => format!("{}s", whole(seconds)),
        seconds if seconds < 100.0 * MINUTE => format!("{}m", whole(seconds / MINUTE)),
        seconds if seconds < 48.0 * HOUR => format!("{}h", whole(seconds / HOUR)),
        seconds => format!("{}d", grouped(whole(seconds / DAY))),
    }
}

fn whole(value: f64) -> u64 {
    // A conversion that saturates: what is below zero is none.
    value.round() as u64
}

/// The course of a value as bars, `width` of them at most, from nothing to the largest: the newest at the right. Of several
/// points under one bar the largest counts. Where nothing is known there is a gap.
pub(crate) fn course(points: &[Option<f64>], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if width == 0 || points.is_empty() {
        return String::new();
    }
    let known = |point: &Option<f64>| point.filter(|value| value.is_finite());
    let largest = points.iter().filter_map(known).fold(0.0_f64, f64::max);
    let width = width.min(points.len());
    let bar = |column: usize| {
        let (from, to) = (column * points.len() / width, (column + 1) * points.len() / width);
        let value = points[from..to].iter().filter_map(known).reduce(f64::max)?;
        if largest <= 0.0 || value <= 0.0 {
            return Some(BARS[0]);
        }
        // Whatever is more than nothing is seen to be.
        let place = (value / largest * (BARS.len() - 1) as f64).ceil() as usize;
        Some(BARS[place.clamp(1, BARS.len() - 1)])
    };
    (0..width).map(|column| bar(column).unwrap_or(' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_where_it_matters() {
        assert_eq!(rate(None), "-");
        assert_eq!(rate(Some(f64::NAN)), "-");
        assert_eq!(rate(Some(0.0)), "0");
        assert_eq!(rate(Some(0.25)), "0.2");
        assert_eq!(rate(Some(1204.4)), "1,204");
        assert_eq!(rate(Some(-1.0)), "0");
        let spans = [0.0, 0.42, 9.0, 95.0, 600.0, 7200.0, 172_800.0 * 5.0].map(|seconds| span(Some(seconds)));
        assert_eq!(spans, ["0s", "0.4s", "9.0s", "95s", "10m", "2h", "10d"]);
        assert_eq!(span(Some(f64::INFINITY)), "-");
    }

    #[test]
    fn a_course_goes_from_nothing_to_the_largest() {
        let points: Vec<Option<f64>> = vec![Some(0.0), Some(1.0), None, Some(50.0), Some(100.0)];
        assert_eq!(course(&points, 10), "▁▂ ▅█");
        assert_eq!(course(&points, 2), "▂█", "the largest of several");
        assert_eq!(course(&[Some(0.0), Some(0.0)], 5), "▁▁");
        assert_eq!(course(&[], 5), "");
        assert_eq!(course(&points, 0), "");
        assert_eq!(course(&[Some(f64::NAN), Some(f64::INFINITY)], 2), "  ");
    }
}
