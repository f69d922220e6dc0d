//! `[hub.NAME]`: an event hub.

use toml_edit::Item;

use tidegate_model::event::HubName;

use crate::config::elements::byte_size::ByteSize;
use crate::config::elements::retention::RetentionTime;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// An event hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// Its name.
    pub name: HubName,
    /// How many partitions it has.
    pub partitions: u32,
    /// How long events are kept.
    pub retention: RetentionTime,
    /// How many bytes the hub keeps at most, in equal shares for its partitions.
    pub retention_bytes: Option<ByteSize>,
}

const PARTITIONS: Key<Partitions> = Key::with_default(
    "partitions",
    "4",
    "How many partitions the hub has. Events of one key stay in one partition, and each partition is processed in order, \
     so this is also how much of a function can run at the same time. It cannot be changed once the hub exists.",
);
const RETENTION: Key<RetentionTime> = Key::with_default(
    "retention",
    "\"7d\"",
    "How long events are kept. An event that a configured function has not resolved is kept longer, until it is.",
);
const RETENTION_BYTES: Key<ByteSize> = Key::optional(
    "retention_bytes",
    "no limit",
    "How many bytes the hub keeps on disk, in equal shares for its partitions; the oldest events go first. Events that a \
     configured function has not resolved are kept all the same.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[hub.NAME]",
    doc: "An event hub: a named log with partitions, which producers publish to and functions read.",
    keys: &[&PARTITIONS as &dyn KeyInfo, &RETENTION, &RETENTION_BYTES],
    example: "[hub.flights]\npartitions = 8\nretention = \"7d\"\n",
};

/// Reads the hub `name`; `None` when something of it is wrong.
pub(crate) fn read(name: HubName, reader: &mut Reader<'_, '_>) -> Option<HubConfig> {
    let partitions = reader.get(&PARTITIONS);
    let retention = reader.get(&RETENTION);
    let wants_bytes = reader.has(&RETENTION_BYTES);
    let retention_bytes = reader.get(&RETENTION_BYTES);
    if wants_bytes && retention_bytes.is_none() {
        return None;
    }
    Some(HubConfig { name, partitions: partitions?.0, retention: retention?, retention_bytes })
}

/// The number of partitions of a hub.
struct Partitions(u32);

impl Setting for Partitions {
    const TYPE: &'static str = "a whole number from 1 to 1024";
    const EXAMPLE: &'static str = "8";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let count = item.as_integer().and_then(|number| u32::try_from(number).ok());
        let count = count.filter(|count| (1..=1024).contains(count));
        if count.is_none() {
            place.not_a::<Self>(item);
        }
        count.map(Self)
    }
}
