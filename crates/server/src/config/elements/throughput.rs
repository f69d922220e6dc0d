//! `[throughput]`: how fast the namespace is.

use toml_edit::Item;

use tidegate_gateway::throughput::{MAX_UNITS, ThroughputUnits};

use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

const UNITS: Key<Units> = Key::required("units", "How many units there are.");
const AUTO_INFLATE_MAX: Key<Units> = Key::optional(
    "auto_inflate_max",
    "the units stay as they are",
    "Up to how many units there come to be by themselves when more comes in than they take: one more each second, and \
     never fewer again until a restart.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[throughput]",
    doc: "Limits to how fast events go in and out of all hubs together, as Event Hubs has them: for each unit 1 MB or 1,000 \
          events a second in, whichever is reached first, and 2 MB or 4,096 events a second out. Without this table there \
          are none. What is sent too fast over HTTP is refused with 429 and the time to wait ([TG-429](../errors/TG-429.md)); \
          uploads of lines, and AMQP clients, are slowed down.",
    keys: &[&UNITS as &dyn KeyInfo, &AUTO_INFLATE_MAX],
    example: "[throughput]\nunits = 1\nauto_inflate_max = 4\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<ThroughputUnits> {
    let (units, most) = (reader.get(&UNITS), reader.get_optional(&AUTO_INFLATE_MAX));
    let (units, most) = (units?.0, most?.map(|most| most.0));
    if most.is_some_and(|most| most < units) {
        let at = reader.span_of(&AUTO_INFLATE_MAX);
        reader.contradiction(at, "`auto_inflate_max` is below `units`", "make it larger, or leave it out");
        return None;
    }
    Some(ThroughputUnits { units, auto_inflate_max: most.unwrap_or(units) })
}

/// A number of throughput units.
struct Units(u32);

impl Setting for Units {
    const TYPE: &'static str = "a whole number from 1 to 1000";
    const EXAMPLE: &'static str = "4";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let units = item.as_integer().and_then(|number| u32::try_from(number).ok());
        let units = units.filter(|units| (1..=MAX_UNITS).contains(units));
        if units.is_none() {
            place.not_a::<Self>(item);
        }
        units.map(Self)
    }
}
