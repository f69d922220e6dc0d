//! The codec: vectors, round trips, hostile bytes, and another implementation as an oracle.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod allocation;
mod frames;
mod hostile;
mod messages;
mod oracle;
mod performatives;
mod strategies;
mod values;
