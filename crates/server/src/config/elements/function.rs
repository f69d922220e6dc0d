//! `[function.NAME]`: a function and the hub it reads.

use std::time::Duration;

use toml_edit::Item;

use tidegate_function::{Decode, JsonPointer, Merge, Upsert};
use tidegate_host::circuit::CircuitSettings;
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{Dependency, FunctionSettings, OnExhausted, Order, ParkingLimits};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::document::CollectionName;
use tidegate_model::event::HubName;
use tidegate_model::position::StartPosition;

use crate::config::elements::dependency::Names;
use crate::config::elements::duration::PositiveDuration;
use crate::config::issue::{listed, suggest};
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

/// A function and how it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionConfig {
    /// Its name.
    pub name: FunctionName,
    /// The hub it reads.
    pub hub: HubName,
    /// What it does.
    pub kind: FunctionKind,
    /// How it is run.
    pub settings: FunctionSettings,
}

/// What a function does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// Keeps one document an id, from the events' own fields.
    Upsert(UpsertConfig),
    /// The function that the program registered under this name.
    Rust,
}

/// The settings of `kind = "upsert"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpsertConfig {
    /// How events become documents.
    pub upsert: Upsert,
    /// Where the documents are.
    pub collection: CollectionName,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upsert,
    Rust,
}

word_setting!(Kind: "one of \"upsert\", \"rust\"" { Upsert = "upsert", Rust = "rust" } example "\"upsert\"");
word_setting!(Decode: "\"json\"" { Json = "json" } example "\"json\"");
word_setting!(Merge: "one of \"patch\", \"replace\"" { Patch = "patch", Replace = "replace" } example "\"patch\"");

const HUB: Key<HubName> = Key::required("hub", "The hub whose events the function is given.");
const KIND: Key<Kind> = Key::required(
    "kind",
    "\"upsert\" folds events into documents without any code; \"rust\" is the function that the program registered under \
     this name.",
);
const DECODE: Key<Decode> =
    Key::with_default("decode", "\"json\"", "How event bodies are decoded; only with kind \"upsert\".");
const KEY: Key<JsonPointer> = Key::optional(
    "key",
    "required with kind \"upsert\"",
    "Where an event says which document it is about: a JSON pointer (RFC 6901) to a text or a whole number; only with kind \
     \"upsert\".",
);
const MERGE: Key<Merge> = Key::with_default(
    "merge",
    "\"patch\"",
    "\"patch\" applies an event to its document as a JSON merge patch (RFC 7396), \"replace\" puts it in the document's \
     place; only with kind \"upsert\".",
);
const COLLECTION: Key<CollectionName> = Key::optional(
    "collection",
    "the function's name",
    "The collection the documents are in; only with kind \"upsert\".",
);
const MAX_EVENT_BATCH_SIZE: Key<usize> =
    Key::with_default("max_event_batch_size", "100", "How many events one invocation is given at most.");
const MIN_EVENT_BATCH_SIZE: Key<usize> = Key::with_default(
    "min_event_batch_size",
    "1",
    "How many events an invocation waits for, for at most `max_wait_time`.",
);
const MAX_WAIT_TIME: Key<Duration> = Key::with_default(
    "max_wait_time",
    "\"60s\"",
    "How long a batch below `min_event_batch_size` waits for more.",
);
const INITIAL_OFFSET: Key<StartPosition> = Key::with_default(
    "initial_offset",
    "\"earliest\"",
    "Where a partition begins that has no checkpoint yet: the oldest event kept, only events that come from now on, or \
     the first event enqueued at a time or later.",
);
const ORDER: Key<Order> = Key::with_default(
    "order",
    "\"partition\"",
    "Which events keep their order while one is tried again: with \"partition\" the partition waits for it; with \"key\" \
     only the events of its partition key do, parked behind it, and other keys go on; with \"none\" it is parked alone.",
);
const MAX_CONCURRENT_INVOCATIONS: Key<usize> = Key::optional(
    "max_concurrent_invocations",
    "8 with order \"none\", else 1",
    "How many invocations of one partition are under way at once at most, up to 100; above 1 only with order \"none\".",
);
const RETRY: Key<RetryPolicy> = Key::with_default(
    "retry",
    "{ strategy = \"exponential\", max_attempts = 5, min_interval = \"200ms\", max_interval = \"30s\" }",
    "What happens when an event fails for a reason that may pass.",
);
const ON_EXHAUSTED: Key<OnExhausted> = Key::with_default(
    "on_exhausted",
    "\"dead-letter\"",
    "What becomes of an event whose attempts are used up: a dead letter, so that one event never blocks a stream; or with \
     \"hold\" it waits, with what is behind it, until the circuit closes or a person decides.",
);
const PARKING: Key<ParkingLimits> = Key::with_default(
    "parking",
    "{ max_events = 100000, max_bytes = \"256MiB\", max_age = \"7d\", at_limit = \"wait\" }",
    "How much may be parked.",
);
const CIRCUIT: Key<CircuitSettings> = Key::with_default(
    "circuit",
    "{}",
    "When the function is stopped because what it depends on is away. Without keys all defaults hold; \
     `{ enabled = false }` leaves it to people.",
);
const DEPENDENCIES: Key<Names> = Key::with_default(
    "dependencies",
    "[]",
    "What the function needs, as `[dependency.NAME]`: while the circuit of one of them is open, it is given no events.",
);
const TIMEOUT: Key<PositiveDuration> = Key::with_default(
    "timeout",
    "\"5m\"",
    "How long one invocation may take. One that takes longer failed, and is tried again by `retry`.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[function.NAME]",
    doc: "A function, the hub it reads and how it is run. Several functions may read one hub; each has its own \
          checkpoints, dead letters and account.",
    keys: &[
        &HUB as &dyn KeyInfo,
        &KIND,
        &DECODE,
        &KEY,
        &MERGE,
        &COLLECTION,
        &MAX_EVENT_BATCH_SIZE,
        &MIN_EVENT_BATCH_SIZE,
        &MAX_WAIT_TIME,
        &INITIAL_OFFSET,
        &ORDER,
        &MAX_CONCURRENT_INVOCATIONS,
        &RETRY,
        &ON_EXHAUSTED,
        &PARKING,
        &CIRCUIT,
        &DEPENDENCIES,
        &TIMEOUT,
    ],
    example: "[function.aircraft]\nhub = \"flights\"\nkind = \"upsert\"\ndecode = \"json\"\nkey = \"/icao24\"\n\
              merge = \"patch\"\ncollection = \"aircraft\"\nmax_event_batch_size = 512\n",
};

/// Reads the function `name`; `None` when something of it is wrong.
pub(crate) fn read(
    name: FunctionName,
    known: &Known<'_>,
    reader: &mut Reader<'_, '_>,
) -> Option<FunctionConfig> {
    let hub = reader.get(&HUB);
    let kind = reader.get(&KIND);
    let dependencies = read_dependencies(&name, known, reader);
    let settings = read_settings(dependencies, reader);
    let kind = match kind? {
        Kind::Upsert => FunctionKind::Upsert(read_upsert(&name, reader)?),
        Kind::Rust => {
            refuse_upsert_keys(reader);
            FunctionKind::Rust
        }
    };
    Some(FunctionConfig { name, hub: hub?, kind, settings: settings? })
}

/// Where the hub's name is in the file, for a message about it.
pub(crate) fn hub_span(reader: &Reader<'_, '_>) -> Option<std::ops::Range<usize>> {
    reader.span_of(&HUB)
}

/// Where the kind is in the file, for a message about it.
pub(crate) fn kind_span(reader: &Reader<'_, '_>) -> Option<std::ops::Range<usize>> {
    reader.span_of(&KIND)
}

/// The dependencies that there are.
pub(crate) struct Known<'k> {
    /// Their names.
    pub(crate) names: &'k [&'k str],
    /// Those of them that are right; `None` when one is not, which is reported elsewhere.
    pub(crate) dependencies: Option<&'k [Dependency]>,
}

fn read_dependencies(
    function: &FunctionName,
    known: &Known<'_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Vec<Dependency>> {
    let at = reader.span_of(&DEPENDENCIES);
    let Names(names) = reader.get(&DEPENDENCIES)?;
    if known.names.contains(&function.as_str()) {
        let message =
            format!("[dependency.{function}] has the same name, and its circuit would be the same one");
        reader.contradiction(reader.span(), &message, "rename one of the two");
        return None;
    }
    let unknown: Vec<&FunctionName> =
        names.iter().filter(|name| !known.names.contains(&name.as_str())).collect();
    for name in &unknown {
        let message = format!("`dependencies` names \"{name}\", which is not declared");
        let there_are =
            if known.names.is_empty() { "there are none".to_owned() } else { listed(known.names) };
        let nearest = suggest(name.as_str(), known.names);
        let help = format!(
            "{nearest}\ndeclared dependencies: {there_are}\ndeclare it with a table [dependency.{name}]"
        );
        reader.missing(at.clone(), &message, help.trim_start());
    }
    if !unknown.is_empty() {
        return None;
    }
    let dependencies = known.dependencies?;
    let of = |name: &FunctionName| dependencies.iter().find(|dependency| dependency.name == *name).cloned();
    names.iter().map(of).collect()
}

fn read_settings(
    dependencies: Option<Vec<Dependency>>,
    reader: &mut Reader<'_, '_>,
) -> Option<FunctionSettings> {
    let max_event_batch_size = reader.get(&MAX_EVENT_BATCH_SIZE);
    let min_event_batch_size = reader.get(&MIN_EVENT_BATCH_SIZE);
    let max_wait_time = reader.get(&MAX_WAIT_TIME);
    let initial_offset = reader.get(&INITIAL_OFFSET);
    let (order, retry) = (reader.get(&ORDER), reader.get(&RETRY));
    let max_concurrent_invocations = reader.get_optional(&MAX_CONCURRENT_INVOCATIONS);
    let (on_exhausted, parking) = (reader.get(&ON_EXHAUSTED), reader.get(&PARKING));
    let circuit = reader.get(&CIRCUIT);
    let timeout = reader.get(&TIMEOUT);
    let settings = FunctionSettings {
        max_event_batch_size: max_event_batch_size?,
        min_event_batch_size: min_event_batch_size?,
        max_wait_time: max_wait_time?,
        initial_offset: initial_offset?,
        order: order?,
        max_concurrent_invocations: max_concurrent_invocations?,
        retry: retry?,
        on_exhausted: on_exhausted?,
        parking: parking?,
        circuit: circuit?,
        dependencies: dependencies?,
        timeout: timeout?.0,
    };
    match settings.validate() {
        Ok(()) => Some(settings),
        Err(cause) => {
            let at = reader.span_of(&MIN_EVENT_BATCH_SIZE);
            reader.contradiction(at, &cause.to_string(), "change one of the two");
            None
        }
    }
}

fn read_upsert(name: &FunctionName, reader: &mut Reader<'_, '_>) -> Option<UpsertConfig> {
    let decode = reader.get(&DECODE);
    let merge = reader.get(&MERGE);
    let key = reader.get(&KEY);
    if !reader.has(&KEY) {
        let help = "add `key = \"/id\"`: a JSON pointer to the field that names the document";
        let at = reader.span_of(&KEY);
        reader.contradiction(at, "kind = \"upsert\" needs a `key`", help);
    }
    let collection = if reader.has(&COLLECTION) {
        reader.get(&COLLECTION)
    } else {
        CollectionName::new(name.as_str()).ok()
    };
    let upsert = Upsert { decode: decode?, key: key?, merge: merge? };
    Some(UpsertConfig { upsert, collection: collection? })
}

fn refuse_upsert_keys(reader: &mut Reader<'_, '_>) {
    let upsert_keys = [
        ("decode", reader.has(&DECODE), reader.span_of(&DECODE)),
        ("key", reader.has(&KEY), reader.span_of(&KEY)),
        ("merge", reader.has(&MERGE), reader.span_of(&MERGE)),
        ("collection", reader.has(&COLLECTION), reader.span_of(&COLLECTION)),
    ];
    for (name, present, at) in upsert_keys {
        if present {
            let message = format!("`{name}` has no meaning with kind = \"rust\"");
            reader.contradiction(at, &message, "remove it: the function itself decides this");
        }
    }
}

impl Setting for JsonPointer {
    const TYPE: &'static str = "a JSON pointer: a text that begins with `/`";
    const EXAMPLE: &'static str = "\"/icao24\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let pointer = item.as_str().and_then(|text| Self::new(text).ok());
        if pointer.is_none() {
            place.not_a::<Self>(item);
        }
        pointer
    }
}
