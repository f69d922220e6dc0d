//! Where an event is: partition, sequence number, offset; and where reading begins.

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};

/// The number of a partition within its hub, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub u32);

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an event in its partition: 0 for the first, one more for each that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// The first of a partition.
    pub const ZERO: Self = Self(0);

    /// The number that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number before, if there is one.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// The number `count` places further.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many numbers lie from `earlier` (included) to this one (excluded); 0 when there are none.
    pub fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an event as clients name it: opaque text that orders like the sequence number within a partition
/// and stays valid when older events are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(SequenceNumber);

impl Offset {
    /// The offset of the event with this sequence number.
    pub fn of(sequence_number: SequenceNumber) -> Self {
        Self(sequence_number)
    }

    /// The sequence number of the event that has this offset.
    pub fn sequence_number(self) -> SequenceNumber {
        self.0
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|number| Self(SequenceNumber(number))).map_err(|_| InvalidOffset)
    }
}

impl Serialize for Offset {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text that no event of this log has as its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no event of this log has that offset")]
pub struct InvalidOffset;

/// One life of a hub. A hub that is deleted and made again, or whose log is wiped, has another incarnation, and
/// positions of the old one mean nothing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub uuid::Uuid);

impl Incarnation {
    /// A new life.
    pub fn new(clock: &dyn Clock) -> Self {
        let random = (u128::from(clock.random()) << 64) | u128::from(clock.random());
        Self(uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid())
    }
}

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartPosition {
    /// The oldest event that is kept.
    Earliest,
    /// Only events that come after now.
    Latest,
    /// The event with this sequence number.
    SequenceNumber(SequenceNumber),
    /// The first event after the one with this offset.
    AfterOffset(#[serde(skip)] Offset),
    /// The first event enqueued at this time or later.
    EnqueuedTime(Timestamp),
}

impl StartPosition {
    /// The position that a client names by an offset: behind the event that has it, or with that event if `inclusive`. `-1` is
    /// the beginning and `@latest` the end, as in Event Hubs.
    ///
    /// # Errors
    /// The text is neither of these nor an offset of this log.
    pub fn of_offset(text: &str, inclusive: bool) -> Result<Self, InvalidOffset> {
        Ok(match text {
            "-1" => Self::Earliest,
            "@latest" => Self::Latest,
            offset => {
                let offset: Offset = offset.parse()?;
                if inclusive {
                    Self::SequenceNumber(offset.sequence_number())
                } else {
                    Self::AfterOffset(offset)
                }
            }
        })
    }

    /// The position that a client names by a sequence number: behind the event that has it, or with that event if `inclusive`.
    /// What lies before the first event is the beginning.
    pub fn of_sequence_number(number: i64, inclusive: bool) -> Self {
        match u64::try_from(number).map(SequenceNumber) {
            Err(_) => Self::Earliest,
            Ok(number) if inclusive => Self::SequenceNumber(number),
            Ok(number) => Self::AfterOffset(Offset::of(number)),
        }
    }

    /// The position that a client names by a time: the first event enqueued after it, or at it if `inclusive`.
    pub fn of_enqueued_time(time: Timestamp, inclusive: bool) -> Self {
        // Times are whole milliseconds.
        let after = if inclusive { time } else { Timestamp::from_millis(time.as_millis().saturating_add(1)) };
        Self::EnqueuedTime(after)
    }
}

impl Default for Offset {
    fn default() -> Self {
        Self(SequenceNumber::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_name_positions_by_offset() {
        let at = |number| Offset::of(SequenceNumber(number));
        for (text, inclusive, position) in [
            ("-1", false, StartPosition::Earliest),
            ("-1", true, StartPosition::Earliest),
            ("@latest", false, StartPosition::Latest),
            ("@latest", true, StartPosition::Latest),
            ("57", false, StartPosition::AfterOffset(at(57))),
            ("57", true, StartPosition::SequenceNumber(SequenceNumber(57))),
            ("18446744073709551615", false, StartPosition::AfterOffset(at(u64::MAX))),
        ] {
            assert_eq!(StartPosition::of_offset(text, inclusive), Ok(position), "{text}");
        }
        for bad in ["", "-2", "x", "1.5", "@earliest", "18446744073709551616"] {
            assert_eq!(StartPosition::of_offset(bad, false), Err(InvalidOffset), "{bad}");
        }
    }

    #[test]
    fn clients_name_positions_by_number_and_time() {
        let number = StartPosition::of_sequence_number;
        assert_eq!(number(-1, false), StartPosition::Earliest);
        assert_eq!(number(i64::MIN, true), StartPosition::Earliest);
        assert_eq!(number(7, true), StartPosition::SequenceNumber(SequenceNumber(7)));
        assert_eq!(number(7, false), StartPosition::AfterOffset(Offset::of(SequenceNumber(7))));
        let time = |ms, inclusive| StartPosition::of_enqueued_time(Timestamp::from_millis(ms), inclusive);
        assert_eq!(time(5, true), StartPosition::EnqueuedTime(Timestamp::from_millis(5)));
        assert_eq!(time(5, false), StartPosition::EnqueuedTime(Timestamp::from_millis(6)));
        assert_eq!(time(i64::MAX, false), StartPosition::EnqueuedTime(Timestamp::from_millis(i64::MAX)));
    }
}
