//! `[hub.NAME]`: an event hub.

use std::time::Duration;

use toml_edit::Item;

use tidegate_gateway::namespace::{ConsumerGroupName, MAX_CONSUMER_GROUPS};
use tidegate_model::event::HubName;

use crate::config::elements::byte_size::ByteSize;
use crate::config::elements::retention::RetentionTime;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::{Reader, default_of};
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
    /// Its consumer groups beside `$Default`.
    pub consumer_groups: Vec<ConsumerGroupName>,
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
const CONSUMER_GROUPS: Key<GroupNames> = Key::with_default(
    "consumer_groups",
    "[]",
    "The consumer groups that clients may read in, beside `$Default`, which every hub has; at most 999, with names of at \
     most 50 characters that differ in more than the case of their letters. Functions need none.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[hub.NAME]",
    doc: "An event hub: a named log with partitions, which producers publish to and functions read.",
    keys: &[&PARTITIONS as &dyn KeyInfo, &RETENTION, &RETENTION_BYTES, &CONSUMER_GROUPS],
    example: "[hub.flights]\npartitions = 8\nretention = \"7d\"\nconsumer_groups = [\"billing\"]\n",
};

/// Reads the hub `name`; `None` when something of it is wrong.
pub(crate) fn read(name: HubName, reader: &mut Reader<'_, '_>) -> Option<HubConfig> {
    let partitions = reader.get(&PARTITIONS);
    let retention = reader.get(&RETENTION);
    let wants_bytes = reader.has(&RETENTION_BYTES);
    let retention_bytes = reader.get(&RETENTION_BYTES);
    let groups = reader.get(&CONSUMER_GROUPS);
    if wants_bytes && retention_bytes.is_none() {
        return None;
    }
    Some(HubConfig {
        name,
        partitions: partitions?.0,
        retention: retention?,
        retention_bytes,
        consumer_groups: groups?.0,
    })
}

impl HubConfig {
    /// A hub with all defaults but the number of its partitions and its consumer groups.
    pub(crate) fn with_defaults(
        name: HubName,
        partitions: u32,
        consumer_groups: Vec<ConsumerGroupName>,
    ) -> Self {
        let retention = default_of(&RETENTION);
        Self { name, partitions, retention, retention_bytes: None, consumer_groups }
    }
}

/// Adds a consumer group to those there are; what is wrong with it is the answer.
pub(crate) fn add_group(groups: &mut Vec<ConsumerGroupName>, name: &str) -> Result<(), String> {
    let group = ConsumerGroupName::new(name).map_err(|invalid| invalid.to_string())?;
    if group == ConsumerGroupName::default() {
        return Ok(());
    }
    if let Some(twin) = groups.iter().find(|other| **other == group) {
        return Err(format!("the consumer groups {twin} and {group} are one: case makes no difference"));
    }
    // One is `$Default`.
    if groups.len() + 1 >= MAX_CONSUMER_GROUPS {
        return Err(format!("a hub has {MAX_CONSUMER_GROUPS} consumer groups at most"));
    }
    groups.push(group);
    Ok(())
}

/// The consumer groups of a hub.
struct GroupNames(Vec<ConsumerGroupName>);

impl Setting for GroupNames {
    const TYPE: &'static str = "an array of names: letters, digits, and inside also `-`, `_` and `.`";
    const EXAMPLE: &'static str = "[\"billing\", \"audit\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let names: Option<Vec<&str>> =
            item.as_array().and_then(|array| array.iter().map(toml_edit::Value::as_str).collect());
        let Some(names) = names else {
            place.not_a::<Self>(item);
            return None;
        };
        let mut groups = Vec::new();
        for name in names {
            if let Err(problem) = add_group(&mut groups, name) {
                place.wrong(item, &problem, Self::EXAMPLE);
                return None;
            }
        }
        Some(Self(groups))
    }
}

/// How many partitions a hub has where that is not said; the default in the table above says the same.
pub(crate) const DEFAULT_PARTITIONS: u32 = 4;

/// How long a hub keeps events where that is not said; the default in the table above says the same.
pub(crate) const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many partitions a hub has at most, as on a Dedicated cluster of Event Hubs.
pub(crate) const MAX_PARTITIONS: u32 = 1024;

/// The number of partitions of a hub.
struct Partitions(u32);

impl Setting for Partitions {
    const TYPE: &'static str = "a whole number from 1 to 1024";
    const EXAMPLE: &'static str = "8";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let count = item.as_integer().and_then(|number| u32::try_from(number).ok());
        let count = count.filter(|count| (1..=MAX_PARTITIONS).contains(count));
        if count.is_none() {
            place.not_a::<Self>(item);
        }
        count.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_that_are_made_by_command_have_the_defaults_of_the_configuration() {
        assert_eq!(default_of(&PARTITIONS).0, DEFAULT_PARTITIONS);
        assert_eq!(default_of(&RETENTION), RetentionTime::For(DEFAULT_RETENTION));
    }
}
