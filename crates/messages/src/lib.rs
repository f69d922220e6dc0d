//! Messages to events, and events to messages: what AMQP carries, in the words of the model.
//!
//! An event keeps the bytes of its producer's message; what functions are given is decoded from them once, when the event
//! comes. On the way to a receiver the bytes are copied as they are, behind the broker's stamp. An event that came over
//! HTTP has no such bytes, and is put together.
//!
//! The front door takes what producers send ([`events_of`]) and writes what receivers get ([`write_event`]). A client of
//! another hub is on the other side: it writes what it sends ([`write_message`]) and takes what it is given
//! ([`received`]).

mod incoming;
mod outgoing;
mod properties;
mod received;
#[cfg(test)]
mod tests;

pub use incoming::{Sent, Unacceptable, events_of};
pub use outgoing::{Runtime, write_event, write_message};
pub use received::{NotAnEvent, PartitionEnd, Received, received};
