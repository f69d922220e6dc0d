//! AMQP 1.0 as Event Hubs and its clients speak it: codec and connection state machine, without I/O.
//!
//! Bytes go in and come out; sockets, time and threads belong to the caller. [`codec`] turns bytes into values,
//! performatives and messages and back; [`connection`] is the state machine of one connection, for both of its ends. With
//! the feature `tokio` the module of that name moves the bytes between it and a stream.

pub mod codec;
pub mod connection;
#[cfg(feature = "tokio")]
pub mod tokio;
