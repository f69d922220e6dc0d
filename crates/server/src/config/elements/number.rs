//! Numbers and switches.

use toml_edit::Item;

use crate::config::value::{Place, Setting};

impl Setting for bool {
    const TYPE: &'static str = "`true` or `false`";
    const EXAMPLE: &'static str = "true";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let switch = item.as_bool();
        if switch.is_none() {
            place.not_a::<Self>(item);
        }
        switch
    }
}

/// A whole number of things.
pub(crate) struct Count(pub(crate) u64);

impl Setting for Count {
    const TYPE: &'static str = "a whole number from 1 to 1000000000";
    const EXAMPLE: &'static str = "100";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        whole::<Self>(item, place, 1..=1_000_000_000).map(Self)
    }
}

/// A whole number of things that may be none.
pub(crate) struct CountFromZero(pub(crate) u64);

impl Setting for CountFromZero {
    const TYPE: &'static str = "a whole number from 0 to 1000000000";
    const EXAMPLE: &'static str = "10";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        whole::<Self>(item, place, 0..=1_000_000_000).map(Self)
    }
}

/// A share in hundredths.
pub(crate) struct Percent(pub(crate) u8);

impl Setting for Percent {
    const TYPE: &'static str = "a whole number from 1 to 100";
    const EXAMPLE: &'static str = "80";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        whole::<Self>(item, place, 1..=100).and_then(|number| u8::try_from(number).ok()).map(Self)
    }
}

/// A TCP port.
pub(crate) struct Port(pub(crate) u16);

impl Setting for Port {
    const TYPE: &'static str = "a whole number from 1 to 65535";
    const EXAMPLE: &'static str = "587";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        whole::<Self>(item, place, 1..=65_535).and_then(|number| u16::try_from(number).ok()).map(Self)
    }
}

/// A share of a whole.
pub(crate) struct Ratio(pub(crate) f64);

impl Setting for Ratio {
    const TYPE: &'static str = "a number above 0 and up to 1";
    const EXAMPLE: &'static str = "0.5";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let number = item.as_float().or_else(|| item.as_integer().map(|number| number as f64));
        let number = number.filter(|number| *number > 0.0 && *number <= 1.0);
        if number.is_none() {
            place.not_a::<Self>(item);
        }
        number.map(Self)
    }
}

fn whole<T: Setting>(
    item: &Item,
    place: &mut Place<'_, '_>,
    range: std::ops::RangeInclusive<i64>,
) -> Option<u64> {
    let number = item.as_integer().filter(|number| range.contains(number));
    if number.is_none() {
        place.not_a::<T>(item);
    }
    number.and_then(|number| u64::try_from(number).ok())
}
