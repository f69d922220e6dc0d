//! The words of Tidegate and its ports.
//!
//! Every other crate knows this one and none of the others; only the program wires them together. The modules are
//! listed in the order an event meets them:
//!
//! ```text
//! producers → gateway → eventlog → host: pump → invoke → decide → commit → store → readers
//!             event       position       answer    outcome    commit   document, dead_letter, checkpoint
//! ```
//!
//! Nothing here performs I/O. A port is a trait in [`ports`] whose comment is its contract; `conformance` holds the
//! suite that every implementation of the port passes, and [`memory`] the reference implementations.

pub mod clock;
pub mod connection_string;
pub mod error;

pub mod event;
pub mod partitioner;
pub mod position;

pub mod answer;
pub mod attempt;
pub mod dead_letter;
pub mod outcome;
pub mod parking;

pub mod checkpoint;
pub mod commit;
pub mod document;

pub mod circuit;
pub mod health;
pub mod notice;
pub mod observe;
pub mod register;
pub mod trail;

pub mod memory;
pub mod ports;

#[cfg(feature = "conformance")]
pub mod conformance;

mod name;
