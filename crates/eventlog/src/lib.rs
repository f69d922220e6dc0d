//! The embedded partitioned event log: append, group commit, read, recover, retain.
//!
//! ```text
//! append ─► record ─► frame ─► partition's line ─► pool ─► commit: write, sync ─► publish ─► acknowledge
//!                                                             │
//!            read ◄─ reader ◄─ index ◄───────────────── segment files
//! ```
//!
//! A [`Log`] is a directory; a [`HubLog`] implements the ports [`EventAppender`](tidegate_model::ports::EventAppender)
//! and [`EventLog`](tidegate_model::ports::EventLog) for one hub in it. Every byte of the files, what a crash leaves at
//! each step, and how damage is told from a torn write is in `docs/design/log-format.md`.

mod error;
mod log;
mod metrics;
mod options;

mod description;
mod hub;
mod settings;

mod commit;
mod partition;
mod pool;
mod prewritten;

mod frame;
mod index;
mod record;
mod scan;
mod segment;

mod chunk;
mod reader;
mod recovery;
mod retention;

mod storage;

pub mod fsck;

/// What a simulation of the whole system opens a log on.
#[cfg(any(test, feature = "simulation"))]
pub mod simulation {
    pub use crate::storage::faulty::FaultyStorage;
    pub use crate::storage::guest::GuestFile;
}

pub use error::LogError;
pub use hub::{HubLog, MAX_APPEND_BYTES};
pub use log::{Log, MAX_PARTITIONS};
pub use metrics::LogMetrics;
pub use options::LogOptions;
pub use retention::{Dropped, RetentionPolicy};
pub use settings::HubSettings;

#[cfg(test)]
mod fault_tests;
