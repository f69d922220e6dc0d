//! What the program logs, kept for a while where it can be searched.
//!
//! ```text
//! tracing ─► LogLayer ─► Inbox (bounded) ─► a thread of its own ─► segments, the oldest dropped ─► search
//! ```
//!
//! A line is a JSON object, the same as `GET /api/v1/logs` answers with. Whoever logs never waits: what the inbox has no room
//! for is dropped and counted. Nothing is synced; a crash of the program leaves a torn last line at most, one of the machine
//! may take the last lines.

mod inbox;
mod layer;
mod line;
mod search;
mod segment;
mod store;

pub use inbox::Inbox;
pub use layer::{LogLayer, Sink, StandardError};
pub use search::{Found, LogLevel, LogQuery};
pub use segment::Cursor;
pub use store::{LogStore, LogStoreError, search_in};
