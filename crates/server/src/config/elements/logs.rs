//! `[logs]`: how much of what the server logs is kept to be searched.

use crate::config::elements::byte_size::ByteSize;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;

/// The log lines that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogsConfig {
    /// How many bytes of them.
    pub keep: ByteSize,
}

const KEEP: Key<ByteSize> = Key::with_default(
    "keep",
    "\"64MiB\"",
    "How much of what the server logs is kept in the directory `logs` of the data directory, to be searched by \
     `GET /api/v1/logs`. The oldest goes first; it is never less than 128 KiB.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[logs]",
    doc: "The log lines that are kept. What is said on standard error is set by `TIDEGATE_LOG` and `TIDEGATE_LOG_FORMAT`.",
    keys: &[&KEEP as &dyn KeyInfo],
    example: "[logs]\nkeep = \"256MiB\"\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<LogsConfig> {
    Some(LogsConfig { keep: reader.get(&KEEP)? })
}
