//! Sizes in bytes: a whole number and a unit.

use toml_edit::Item;

use crate::config::value::{Place, Setting};

/// The units, each 1024 times the one before.
const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number as a size in memory, held at what the machine can address.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Setting for ByteSize {
    const TYPE: &'static str =
        "a size above zero: a whole number and one of the units `B`, `KiB`, `MiB`, `GiB`, `TiB`";
    const EXAMPLE: &'static str = "\"64MiB\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let size = item.as_str().and_then(parse);
        if size.is_none() {
            place.not_a::<Self>(item);
        }
        size
    }
}

/// The size that a text such as `64MiB` means.
pub(crate) fn parse(text: &str) -> Option<ByteSize> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*bytes).filter(|size| *size > 0).map(ByteSize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_number_and_a_unit() {
        assert_eq!(parse("64MiB"), Some(ByteSize(64 << 20)));
        assert_eq!(parse("1B"), Some(ByteSize(1)));
        for wrong in ["", "64", "0MiB", "64MB", "64 MiB", "-1B", "1.5GiB", "99999999999999TiB"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
