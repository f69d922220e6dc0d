//! The ports: what each stage needs from the next, one trait a file, with its contract in prose.
//!
//! | port | who implements it | who uses it |
//! |---|---|---|
//! | [`EventAppender`] | `eventlog` | `gateway` |
//! | [`EventLog`] | `eventlog`; later Kafka and Event Hubs | `host`, readers |
//! | [`Function`] | `function`, users | `host` |
//! | [`Store`] and its parts | `store`; later Postgres and Cosmos DB | `host`, readers |
//! | [`Observer`] | `telemetry` | `gateway`, `host` |

mod dead_letters;
mod delegate;
mod event_appender;
mod event_batch;
mod event_log;
mod function;
mod observer;
mod parking;
mod registers;
mod store;

pub use async_trait::async_trait;

pub use dead_letters::DeadLetters;
#[doc(hidden)]
pub use delegate::{Later, Watched};
pub use event_appender::{AppendError, Appended, EventAppender};
pub use event_batch::{EventBatch, EventPlace, EventView, PartitionEnds};
pub use event_log::{EventLog, PartitionStatus, ReadError, ReadLimit};
pub use function::{CurrentDocument, Function, FunctionDescriptor, FunctionError, Invocation};
pub use observer::Observer;
pub use parking::Parking;
pub use registers::{Outbox, RegisterChange, Registers};
pub use store::{Checkpoints, Commits, Documents, Ownerships, Store, StoreError};
