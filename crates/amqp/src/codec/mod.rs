//! Bytes to values, performatives and messages, and back.
//!
//! What comes in is checked and never trusted: every function here returns a [`DecodeError`] that names the field and the
//! byte, none panics, and none allocates more than the bytes at hand justify. What goes out carries every field, nulls at
//! the end included: the Python client of Event Hubs counts on it.
//!
//! The parts, from the bottom up:
//! - [`value`]: the type system of AMQP;
//! - [`performative`]: `open`, `attach`, `transfer` and the others, and what they hold;
//! - [`sasl`]: the frames of the security layer;
//! - [`frame`]: protocol headers and frames, out of a read buffer and into a write buffer;
//! - [`message`]: the sections of a message, batches of messages, and messages as they are delivered.

pub mod error;
pub mod frame;
pub mod message;
pub mod names;
pub mod performative;
pub mod sasl;
pub mod value;

mod read;
mod write;

pub use error::{DecodeError, DecodeProblem};
