//! The embedded store: documents, parked events, dead letters, attempts, checkpoints, ownership, registers and notices in
//! one SQLite file, written in one transaction.
//!
//! [`SqliteStore`] implements the store ports of [`tidegate_model`]. Beside them it answers read-only SQL over the
//! documents ([`SqliteStore::query`]), and [`check`](check::check) examines a store file for damage. The format of the
//! file and what a crash leaves of it are described in `docs/design/store-format.md`.

mod connections;
mod error;
mod file;
mod migration;
mod options;
mod schema;
mod sqlite_store;

mod accounts;
mod attempts;
mod checkpoints;
mod commit;
mod dead_letters;
mod documents;
mod forget;
mod health;
mod outbox;
mod ownerships;
mod parking;
mod registers;
mod seek;
mod trail;

mod checksum;
mod codec;

pub mod check;
pub mod query;

pub use dead_letters::Causes;
pub use error::OpenError;
#[cfg(any(test, feature = "simulation"))]
pub use file::SimulatedFiles;
pub use forget::Settled;
pub use options::StoreOptions;
pub use sqlite_store::SqliteStore;
