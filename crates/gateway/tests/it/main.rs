//! The gateway from the outside: requests in, events in a log, answers out.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod amqp;
mod authorization;
mod batches;
mod doubles;
mod errors;
mod events;
mod harness;
mod hostile;
mod lines;
mod lines_failing;
mod slow_clients;
mod throughput;
