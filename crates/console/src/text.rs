//! Numbers, sizes and times in words, as all pages write them. Pure.

use std::time::Duration;

use tidegate_model::clock::Timestamp;

/// What stands between groups of three digits, and between a number and its unit: a narrow space that does not break.
pub const THIN: char = '\u{202f}';

/// What stands where there is nothing to show.
pub const NOTHING: &str = "–";

/// A whole number with its digits in groups: `12 345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// A whole number with the word for what is counted: `1 event`, `12 345 events`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A rate in events a second, with as many digits as tell something.
pub fn rate(per_second: f64) -> String {
    format!("{}{THIN}/s", decimal(per_second))
}

/// A number with three digits that count: `0`, `0.04`, `3.2`, `47`, `12 345`.
pub fn decimal(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        NOTHING.to_owned()
    } else if size < 0.005 {
        "0".to_owned()
    } else if size < 1.0 {
        format!("{number:.2}")
    } else if size < 9.95 {
        format!("{number:.1}")
    } else {
        let sign = if number < 0.0 { "-" } else { "" };
        // A cast of a large float is held at the largest number.
        format!("{sign}{}", count(size.round() as u64))
    }
}

/// A size: `812 B`, `4.1 kB`, `12 MB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = if unit > 0 && size < 9.95 { 1 } else { 0 };
    format!("{size:.digits$}{THIN}{}", UNITS[unit])
}

/// Milliseconds: `0.4 ms`, `12 ms`, `3.4 s`.
pub fn milliseconds(ms: f64) -> String {
    if ms.is_finite() && ms >= 999.5 { seconds(ms / 1000.0) } else { format!("{}{THIN}ms", decimal(ms)) }
}

/// Seconds: `0.3 s`, `42 s`, `7 min`, `3 h`, `12 d`.
pub fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NOTHING.to_owned();
    }
    if seconds < 9.95 {
        return format!("{}{THIN}s", decimal(seconds));
    }
    // A length of time counts whole seconds only; a half and more is the next one.
    duration(Duration::from_secs_f64(seconds.min(1e12).round()))
}

/// A length of time in its largest unit, and the next one where it still counts: `42 s`, `7 min`, `3 h 10 min`, `12 d`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}{THIN}s"),
        (0, 0, _) => format!("{minutes}{THIN}min"),
        (0, 1..10, _) if !minutes.is_multiple_of(60) => format!("{hours}{THIN}h {}{THIN}min", minutes % 60),
        (0, _, _) => format!("{hours}{THIN}h"),
        _ => format!("{days}{THIN}d"),
    }
}

/// How long before or after `now` something is: `just now`, `12 s ago`, `in 3 min`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let (past, ahead) = (now.since(at), at.since(now));
    if ahead >= Duration::from_secs(1) {
        format!("in {}", duration(ahead))
    } else if past < Duration::from_secs(1) {
        "just now".to_owned()
    } else {
        format!("{} ago", duration(past))
    }
}

/// The exact time for a person: `2026-01-31 12:00:00.250 UTC`.
pub fn exact(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix('Z') {
        Some(text) => format!("{} UTC", text.replacen('T', " ", 1)),
        None => text,
    }
}

/// Text cut to a number of characters, with a mark where it was.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(THIN, " ")
    }

    #[test]
    fn numbers_are_grouped_and_rounded_to_what_counts() {
        let counts: Vec<String> = [0, 999, 1000, 1_234_567].map(|number| plain(&count(number))).into();
        assert_eq!(counts, ["0", "999", "1 000", "1 234 567"]);
        let decimals: Vec<String> = [0.0, 0.004, 0.042, 0.5, 3.24, 9.96, 47.3, 12_345.6, f64::NAN]
            .map(|number| plain(&decimal(number)))
            .into();
        assert_eq!(decimals, ["0", "0", "0.04", "0.50", "3.2", "10", "47", "12 346", "–"]);
        assert_eq!(plain(&rate(1240.0)), "1 240 /s");
        assert_eq!(counted(1, "event", "events"), "1 event");
    }

    #[test]
    fn sizes_and_times_take_the_unit_that_fits() {
        let sizes: Vec<String> =
            [0, 999, 1000, 4096, 12_000_000, u64::MAX].map(|size| plain(&bytes(size))).into();
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "4.1 kB", "12 MB", "18447 PB"]);
        let times: Vec<String> = [0, 59, 60, 3599, 3600, 11_400, 36_000, 86_400 * 12]
            .map(|s| plain(&duration(Duration::from_secs(s))))
            .into();
        assert_eq!(times, ["0 s", "59 s", "1 min", "59 min", "1 h", "3 h 10 min", "10 h", "12 d"]);
        assert_eq!(plain(&milliseconds(0.42)), "0.42 ms");
        assert_eq!(plain(&milliseconds(3400.0)), "3.4 s");
        let measured: Vec<String> =
            [0.3, 9.94, 9.97, 10.5, 42.4, 59.4, 59.7, 3599.8, -1.0].map(|s| plain(&seconds(s))).into();
        assert_eq!(measured, ["0.30 s", "9.9 s", "10 s", "11 s", "42 s", "59 s", "1 min", "1 h", "–"]);
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_millis(1_000_000);
        let of = |ms| plain(&relative(Timestamp::from_millis(ms), now));
        assert_eq!(
            [of(1_000_000), of(988_000), of(1_180_000), of(1_000_400)],
            ["just now", "12 s ago", "in 3 min", "just now"]
        );
        assert_eq!(exact(Timestamp::from_millis(1_633_608_001_250)), "2021-10-07 12:00:01.250 UTC");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äöü…");
    }
}
