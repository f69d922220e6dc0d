//! `[processor]`: what all functions of the program share.

use std::time::Duration;

use tidegate_host::settings::{HostOptions, Sharing};

use crate::config::elements::byte_size::ByteSize;
use crate::config::elements::duration::PositiveDuration;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::word_setting;

/// What all functions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorConfig {
    /// The options of the host.
    pub host: HostOptions,
    /// How long a stop waits for work in flight.
    pub drain_timeout: Duration,
}

/// Whether other programs process from the same store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instances {
    One,
    Several,
}

word_setting!(
    Instances: "one of \"one\", \"several\"" { One = "one", Several = "several" }
    example "\"several\""
);

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
     caught up is committed at once, or within this time after a commit of many documents.",
);
const COMMIT_EVENTS: Key<usize> =
    Key::with_default("commit_events", "250000", "How many events a commit waits for at most.");
const DRAIN_TIMEOUT: Key<Duration> = Key::with_default(
    "drain_timeout",
    "\"30s\"",
    "How long a stop waits for invocations in flight. What is not finished then stays unresolved and is processed after \
     the next start.",
);
const INSTANCES: Key<Instances> = Key::with_default(
    "instances",
    "\"one\"",
    "Whether other programs process from the same store. \"one\" takes every partition at once when it starts. \
     \"several\" share the partitions out among themselves, and take over those of one that is silent. Only one program \
     can have the embedded store open, so for it \"one\" is right.",
);
const HEARTBEAT: Key<PositiveDuration> = Key::with_default(
    "heartbeat",
    "\"1s\"",
    "How often each of several instances says that it is there, and looks who is.",
);
const EXPIRES_AFTER: Key<PositiveDuration> = Key::with_default(
    "expires_after",
    "\"10s\"",
    "After how long without a sign of life others take the partitions of an instance; at least three heartbeats.",
);
const STUCK_AFTER: Key<PositiveDuration> = Key::with_default(
    "stuck_after",
    "\"60s\"",
    "How long a partition with work may make no progress before the watchdog acts: it looks again at what is there, begins \
     the partition anew, leaves it to another instance, and tells a person at last. A partition has the time that its \
     function may take (`timeout`) in any case. `tidegate checkpoints` shows what was done.",
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
        &INSTANCES,
        &HEARTBEAT,
        &EXPIRES_AFTER,
        &STUCK_AFTER,
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
    let instances = reader.get(&INSTANCES);
    let (heartbeat, expires_after) = (reader.get(&HEARTBEAT), reader.get(&EXPIRES_AFTER));
    let stuck_after = reader.get(&STUCK_AFTER);
    let sharing = match instances? {
        Instances::One => Sharing::Alone,
        Instances::Several => Sharing::Shared { heartbeat: heartbeat?.0, expires_after: expires_after?.0 },
    };
    let host = HostOptions {
        document_cache_bytes: document_cache?.in_memory(),
        in_flight_bytes: in_flight?.in_memory(),
        commit_delay: commit_delay?,
        commit_events: commit_events?,
        sharing,
        stuck_after: stuck_after?.0,
        ..HostOptions::default()
    };
    if let Err(cause) = host.validate() {
        let at = reader.span_of(&EXPIRES_AFTER);
        reader.contradiction(at, &cause.to_string(), "make `expires_after` longer or `heartbeat` shorter");
        return None;
    }
    Some(ProcessorConfig { host, drain_timeout: drain_timeout? })
}
