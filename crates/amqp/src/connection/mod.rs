//! The state machine of one connection, for both of its ends.
//!
//! A [`Connection`] turns bytes from the peer into [`Event`]s and commands into bytes for the peer. It reads no clock, owns
//! no socket and never waits. What it keeps is bounded by [`Limits`], whatever the peer does: a peer that goes beyond them
//! is told so with the error that the specification has for it, and the session, the link or the connection ends.
//!
//! Whoever drives it repeats:
//!
//! 1. take events until there is none ([`Connection::next_event`]), and act on them;
//! 2. send what there is to send while a link [can](Connection::can_send);
//! 3. wait until one of these is possible: read into [`Connection::read_buffer`] if it
//!    [wants that](Connection::wants_read), write [`Connection::output`] if it [wants that](Connection::wants_write), or
//!    [`Connection::next_deadline`] passes, and then [`Connection::tick`];
//! 4. stop when it [is finished](Connection::is_finished).
//!
//! Reading and writing must not wait for each other: a client that writes may not read meanwhile.
//!
//! The parts: `engine` has the phases and the loop, `handshake` the first frames, `sessions` and `links` what comes and
//! goes, `receiving` and `sending` the deliveries. `session` and `link` are the state they work on, `output` and `wire` what
//! is to be written.

mod engine;
mod error;
mod event;
mod handshake;
mod idle;
mod link;
mod links;
mod options;
mod output;
mod receiving;
mod sending;
mod serial;
mod session;
mod sessions;
mod unsettled;
mod wire;

pub use engine::Connection;
pub use error::{CommandError, SendError};
pub use event::{Credentials, Delivery, Ending, Event, LinkId, Party, SessionId};
pub use link::CreditPolicy;
pub use links::Accept;
pub use options::{Door, Limits, Login, Mechanism, Options};
pub use output::Output;
pub use sending::{Outgoing, Part};
