//! What a connection tells its caller.

use bytes::Bytes;
use bytestring::ByteString;

use super::options::Mechanism;
use crate::codec::performative::{AmqpError, Attach, DeliveryState, DeliveryTag, Open};

/// A session of this connection. It is never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

/// A link of this connection. It is never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(super) session: u16,
    pub(super) slot: u16,
    pub(super) generation: u32,
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// On a server: the client wants in. Answer with [`Connection::authenticated`](super::Connection::authenticated);
    /// until then nothing more is read.
    Authenticate(Box<Credentials>),
    /// The peer's open has come, and this end's has been sent: what the peer says of itself.
    Opened(Box<Open>),
    /// A session can be used.
    SessionBegun {
        /// The session.
        session: SessionId,
        /// The peer asked for it; otherwise it is the answer to [`Connection::begin`](super::Connection::begin).
        by_peer: bool,
    },
    /// The peer wants a link. Answer with [`Connection::accept_attach`](super::Connection::accept_attach) or
    /// [`Connection::reject_attach`](super::Connection::reject_attach), now or later.
    AttachRequested {
        /// The session it belongs to.
        session: SessionId,
        /// The link that it will be.
        link: LinkId,
        /// What the peer asks for. Its role is the peer's.
        attach: Box<Attach>,
    },
    /// The peer took a link that [`Connection::attach`](super::Connection::attach) asked for. A refused one is
    /// [`Event::Detached`] instead.
    Attached {
        /// The link.
        link: LinkId,
        /// What the peer says of it.
        attach: Box<Attach>,
    },
    /// A whole message has come.
    Delivery(Delivery),
    /// A message has come that is larger than the link takes; its bytes are thrown away. If it is not settled, settle it
    /// as rejected, with `amqp:link:message-size-exceeded`; if it is, the sender can only be told by a detach.
    TooLarge {
        /// The link.
        link: LinkId,
        /// The delivery's number in the session.
        delivery_id: u32,
        /// The sender has settled it.
        settled: bool,
    },
    /// A link that sends has got credit, or has lost it.
    Credit {
        /// The link.
        link: LinkId,
        /// How many deliveries may be sent.
        credit: u32,
        /// The receiver wants what there is, and the rest of the credit back: send, then call
        /// [`Connection::drained`](super::Connection::drained).
        drain: bool,
    },
    /// The session's window towards the peer has opened again: its links may go on sending.
    WindowOpened {
        /// The session.
        session: SessionId,
    },
    /// The sender has used up the credit of a link or given it back, as [`Connection::drain`](super::Connection::drain)
    /// asked.
    Drained {
        /// The link.
        link: LinkId,
    },
    /// The peer told the state of deliveries that this end sent. Which of them it does not know any more is not kept
    /// here: match the range with what is waited for.
    Settled {
        /// The session.
        session: SessionId,
        /// The first delivery.
        first: u32,
        /// The last delivery; not before `first`, and never one that was not sent yet.
        last: u32,
        /// Their state.
        state: Option<DeliveryState>,
        /// The peer has settled them.
        settled: bool,
    },
    /// A link is gone: the peer detached or refused it, or answered a detach, or this end had to detach it. It needs no
    /// answer. Deliveries that were not settled are forgotten.
    Detached {
        /// The link.
        link: LinkId,
        /// Who ended it.
        by: Party,
        /// It is over, and not to be resumed.
        closed: bool,
        /// Why, if something is wrong.
        error: Option<AmqpError>,
    },
    /// A session is gone, with all its links, which are not told one by one. It needs no answer.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Who ended it.
        by: Party,
        /// Why, if something is wrong.
        error: Option<AmqpError>,
    },
    /// The connection is over, with all its sessions. It comes once, and is the last event. Write what is left of the
    /// output until the connection [is finished](super::Connection::is_finished).
    Closed(Ending),
}

/// An end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The peer.
    Peer,
    /// This end's caller.
    Caller,
    /// This end by itself, because of what the peer did.
    Protocol,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The peer closed it.
    Peer(Option<AmqpError>),
    /// The caller closed it, and the peer has answered, or did not in time.
    Caller,
    /// The peer broke the protocol or a limit, and was told so.
    Violation(AmqpError),
    /// The client was not let in; on the client, why the server cannot let it in.
    NotAuthenticated(&'static str),
    /// The peer does not speak AMQP 1.0 (or not the layer that is wanted): its first eight bytes.
    OtherProtocol([u8; 8]),
    /// The peer did not open the connection in time.
    OpenTimeout,
    /// Nothing came from the peer for twice the idle time-out, or it took nothing of what was to be written for as long.
    IdleTimeout,
    /// The transport ended without a close.
    Disconnected,
}

/// What a client says to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// How it wants in.
    pub mechanism: Mechanism,
    /// With `PLAIN`, the user's name.
    pub user: Option<ByteString>,
    /// With `PLAIN`, the password.
    pub password: Option<ByteString>,
    /// The host it wants to talk to.
    pub hostname: Option<ByteString>,
}

impl std::fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

/// A whole message, as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The link.
    pub link: LinkId,
    /// The delivery's number in the session. Numbers ascend, with gaps.
    pub delivery_id: u32,
    /// The delivery's name on the link.
    pub tag: DeliveryTag,
    /// The format of the message.
    pub message_format: u32,
    /// The sender has settled it; otherwise it is to be [settled](super::Connection::settle).
    pub settled: bool,
    /// The message. If it came in one frame, it is a part of the input buffer and keeps that alive.
    pub payload: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::options::Login;

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials {
            mechanism: Mechanism::Plain,
            user: Some("reader".into()),
            password: Some("s3cret".into()),
            hostname: None,
        };
        let login = Login::Plain { user: "reader".to_owned(), password: "s3cret".to_owned() };
        for text in [format!("{credentials:?}"), format!("{login:?}")] {
            assert!(text.contains("reader") && !text.contains("s3cret"), "{text}");
        }
    }
}
