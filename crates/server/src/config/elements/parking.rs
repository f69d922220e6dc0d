//! `parking = { … }`: how much may wait in the store.

use toml_edit::Item;

use tidegate_host::settings::{AtLimit, ParkingLimits};

use crate::config::elements::byte_size::ByteSize;
use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::number::Count;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

word_setting!(
    AtLimit: "one of \"wait\", \"dead-letter\"" { Wait = "wait", DeadLetter = "dead-letter" }
    example "\"wait\""
);

const MAX_EVENTS: Key<Count> =
    Key::with_default("max_events", "100000", "How many events of one partition may be parked.");
const MAX_BYTES: Key<ByteSize> =
    Key::with_default("max_bytes", "\"256MiB\"", "The sizes of the parked events of one partition together.");
const MAX_AGE: Key<PositiveDuration> = Key::with_default(
    "max_age",
    "\"7d\"",
    "How old the first parked event of a key may become, from when it was published; then it becomes a dead letter.",
);
const AT_LIMIT: Key<AtLimit> = Key::with_default(
    "at_limit",
    "\"wait\"",
    "What happens at `max_events` and `max_bytes`: with \"wait\" the partition waits for room; with \"dead-letter\" the \
     event becomes a dead letter, and the order of its key is given up.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "parking = { … }",
    doc: "The limits of a function's parking places, a table within `[function.NAME]`. An event is parked, durably, when it \
          cannot be resolved yet and its partition goes on without it: see `order` and `on_exhausted`. `tidegate parked` \
          shows what is there.",
    keys: &[&MAX_EVENTS as &dyn KeyInfo, &MAX_BYTES, &MAX_AGE, &AT_LIMIT],
    example: "parking = { max_events = 10000, max_age = \"1d\" }\n",
};

impl Setting for ParkingLimits {
    const TYPE: &'static str = "a table, see [parking](#parking----)";
    const EXAMPLE: &'static str = "{ max_events = 10000, max_age = \"1d\" }";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_table_like().is_none() {
            place.wrong(item, "expected a table", Self::EXAMPLE);
            return None;
        }
        let header = format!("`parking` of {}", place.table);
        let mut reader = Reader::new(&ELEMENT, header, item, item.span(), place.issues)?;
        let (max_events, max_bytes) = (reader.get(&MAX_EVENTS), reader.get(&MAX_BYTES));
        let (max_age, at_limit) = (reader.get(&MAX_AGE), reader.get(&AT_LIMIT));
        Some(Self {
            max_events: max_events?.0,
            max_bytes: max_bytes?.0,
            max_age: max_age?.0,
            at_limit: at_limit?,
        })
    }
}
