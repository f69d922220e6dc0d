//! `[processor]`: what all functions of the program share.

use std::time::Duration;

use tidegate_host::settings::HostOptions;

use crate::config::elements::byte_size::ByteSize;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;

/// What all functions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorConfig {
    /// The options of the host.
    pub host: HostOptions,
    /// How long a stop waits for work in flight.
    pub drain_timeout: Duration,
}

const DOCUMENT_CACHE_BYTES: Key<ByteSize> = Key::with_default(
    "document_cache_bytes",
    "\"64MiB\"",
    "Memory for documents that are kept at hand after they were committed.",
);
const IN_FLIGHT_BYTES: Key<ByteSize> = Key::with_default(
    "in_flight_bytes",
    "\"48MiB\"",
    "Memory for events that were read and are not decided yet, over all partitions. What is decided and waits to be \
     committed may take as much again.",
);
const COMMIT_DELAY: Key<Duration> = Key::with_default(
    "commit_delay",
    "\"500ms\"",
    "How long finished batches wait for others to share a commit with while there is a backlog. A partition that has \
     caught up is committed at once.",
);
const COMMIT_EVENTS: Key<usize> =
    Key::with_default("commit_events", "250000", "How many events a commit waits for at most.");
const DRAIN_TIMEOUT: Key<Duration> = Key::with_default(
    "drain_timeout",
    "\"30s\"",
    "How long a stop waits for invocations in flight. What is not finished then stays unresolved and is processed after \
     the next start.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[processor]",
    doc: "What all functions of the program share.",
    keys: &[
        &DOCUMENT_CACHE_BYTES as &dyn KeyInfo,
        &IN_FLIGHT_BYTES,
        &COMMIT_DELAY,
        &COMMIT_EVENTS,
        &DRAIN_TIMEOUT,
    ],
    example: "[processor]\ndocument_cache_bytes = \"256MiB\"\ndrain_timeout = \"30s\"\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<ProcessorConfig> {
    let document_cache = reader.get(&DOCUMENT_CACHE_BYTES);
    let in_flight = reader.get(&IN_FLIGHT_BYTES);
    let commit_delay = reader.get(&COMMIT_DELAY);
    let commit_events = reader.get(&COMMIT_EVENTS);
    let drain_timeout = reader.get(&DRAIN_TIMEOUT);
    let host = HostOptions {
        document_cache_bytes: document_cache?.in_memory(),
        in_flight_bytes: in_flight?.in_memory(),
        commit_delay: commit_delay?,
        commit_events: commit_events?,
        ..HostOptions::default()
    };
    Some(ProcessorConfig { host, drain_timeout: drain_timeout? })
}
