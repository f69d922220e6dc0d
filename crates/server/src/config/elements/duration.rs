//! Durations: a whole number and a unit.

use std::time::Duration;

use toml_edit::Item;

use crate::config::value::{Place, Setting};

/// The units, largest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Setting for Duration {
    const TYPE: &'static str = "a duration: a whole number and one of the units `ms`, `s`, `m`, `h`, `d`";
    const EXAMPLE: &'static str = "\"10s\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let duration = item.as_str().and_then(parse);
        if duration.is_none() {
            place.not_a::<Self>(item);
        }
        duration
    }
}

/// A duration above zero.
pub(crate) struct PositiveDuration(pub(crate) Duration);

impl Setting for PositiveDuration {
    const TYPE: &'static str = "a duration above zero";
    const EXAMPLE: &'static str = "\"5m\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let duration = item.as_str().and_then(parse).filter(|duration| !duration.is_zero());
        if duration.is_none() {
            place.not_a::<Self>(item);
        }
        duration.map(Self)
    }
}

/// The duration that a text such as `100ms` or `7d` means.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*milliseconds).map(Duration::from_millis)
}

/// A duration as [`parse`] understands it, in the largest unit that it is a multiple of.
pub(crate) fn text(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = |(_, length): &&(&str, u64)| milliseconds.is_multiple_of(*length);
    let (unit, length) = UNITS.iter().find(whole).expect("everything is a multiple of a millisecond");
    format!("{}{unit}", milliseconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in
            ["", "10", "s", "10 s", "-1s", "1.5s", "10sec", "99999999999999999999d", "18446744073709551615d"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_number_has_its_length_in_any_unit(number in 0u64..1_000_000, unit in 0usize..5) {
            let (name, length) = UNITS[unit];
            prop_assert_eq!(parse(&format!("{number}{name}")), Some(Duration::from_millis(number * length)));
            prop_assert_eq!(parse(&text(Duration::from_millis(number * length))), Some(Duration::from_millis(number * length)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
