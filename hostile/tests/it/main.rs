//! A little of what fuzzers and attackers do, the same each time.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod server;
mod targets;
