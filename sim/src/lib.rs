//! The whole system, simulated from a seed.
//!
//! ```text
//!              producers (AMQP, HTTP, direct)          oracles: what was promised?
//!                    │                                   ▲     ▲        ▲
//!   seed ─► scenario ▼                                   │     │        │
//!            gateway ─► eventlog on a simulated disk ─► host (instances) ─► store that fails
//!                    ▲             ▲                     ▲                     ▲
//!                    └─────────────┴── crashes, outages, full disks, clocks that jump
//! ```
//!
//! The gateway, the log and the host are the real ones; disk, time, network, store and functions are simulated. Everything
//! runs on one thread, and who goes on next is drawn: the same seed gives the same trace, byte for byte. How it works,
//! what is checked and what the planted defects are is in `docs/design/simulator.md`.

mod campaign;
mod world;

mod executor;
mod random;
mod scenario;

mod amqp;
mod clock;
mod embedded;
mod event;
mod function;
mod network;
mod site;
mod store;

mod mutation;
mod oracle;
mod trace;

pub use campaign::{Campaign, Failure, campaign, caught_by, command};
pub use mutation::Mutation;
pub use oracle::Violation;
pub use scenario::StoreKind;
pub use world::{Report, run, run_on};
