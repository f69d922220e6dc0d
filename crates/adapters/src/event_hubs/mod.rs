//! Hubs of others, read over AMQP as Event Hubs' own clients do: Event Hubs, the built-in endpoint of IoT Hub, or another
//! Tidegate.
//!
//! ```text
//! another hub ─► client: one connection ─► feed: a receiver and its buffer ─► RemoteLog: the port EventLog
//!                  ├─ $cbs: tokens, renewed         (several a partition)
//!                  └─ $management: where partitions begin and end
//! ```
//!
//! [`blobs`] has the checkpoints and ownerships that Event Hubs' clients share, as they write them.
//!
//! What is tested, and against what: against this program's own front door all that is AMQP, against
//! Azurite all that is blobs; against the live service nothing,
//! which could not be reached where this was written. What the service expects is taken from the sources of its clients and
//! from traces of them.

mod backoff;
pub mod blobs;
pub mod client;
pub mod log;

pub use log::{Buffered, RemoteLog, RemoteLogOptions};
