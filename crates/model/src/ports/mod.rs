//! The ports: what each stage needs from the next, one trait a file, with its contract in prose.
//!
//! | port | who implements it | who uses it |
//! |---|---|---|
//! | [`EventAppender`] | `eventlog` | `gateway` |
//! | [`EventLog`] | `eventlog`; later Kafka and Event Hubs | `host`, readers |
//! | [`Function`] | `function`, users | `host` |
//! | [`Store`] and its parts | `store`; later Postgres and Cosmos DB | `host`, readers |

mod event_appender;
mod event_log;
mod function;
mod store;

pub use event_appender::{AppendError, Appended, EventAppender};
pub use event_log::{EventLog, PartitionStatus, ReadError, ReadLimit};
pub use function::{CurrentDocument, Function, FunctionDescriptor, FunctionError, Invocation};
pub use store::{
    Checkpoints, Commits, DeadLetterFilter, DeadLetters, Documents, Ownerships, Store, StoreError,
};
