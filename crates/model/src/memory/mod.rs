//! Reference implementations of the ports, in memory.
//!
//! They are the shortest readable statement of each contract, pass the same suites as the durable ones, and are what
//! the host is tested against.

mod event_log;
mod store;

pub use event_log::MemoryLog;
pub use store::MemoryStore;
