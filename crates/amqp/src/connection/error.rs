//! Why a command to a connection was not carried out.

use super::event::{LinkId, SessionId};

/// A command that cannot be carried out now. Nothing was changed or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The connection is not open: not yet, or not any more.
    #[error("the connection is not open")]
    NotOpen,
    /// The session is over. Its end was told, or is about to be.
    #[error("the session is over")]
    NoSession(SessionId),
    /// The link is gone, or is not in the state for this. Its detach was told, or is about to be.
    #[error("the link is gone or not attached")]
    NoLink(LinkId),
    /// Sending on a link that receives, or the other way round.
    #[error("the link has the other direction")]
    WrongDirection,
    /// As many sessions as this end's limit or the peer's highest channel allows.
    #[error("there are as many sessions as may be")]
    TooManySessions,
    /// As many links as this end's limit or the peer's highest handle allows.
    #[error("the session has as many links as may be")]
    TooManyLinks,
    /// A link with the same name and direction exists in the session.
    #[error("the session has a link with this name")]
    NameTaken,
    /// What is to be sent does not fit into the largest frame the peer takes, and cannot be split.
    #[error("it does not fit into the largest frame the peer takes")]
    FrameTooSmall,
}

/// A delivery that was not sent. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link is gone, or is not attached.
    #[error("the link is gone or not attached")]
    NoLink,
    /// The link receives.
    #[error("the link has the other direction")]
    WrongDirection,
    /// The receiver gives no credit. [`Event::Credit`](super::Event::Credit) tells when it does.
    #[error("the receiver gives no credit")]
    NoCredit,
    /// The session's window is used up. [`Event::WindowOpened`](super::Event::WindowOpened) tells when it is not.
    #[error("the session's window is used up")]
    NoWindow,
    /// As much output waits as may be, or the delivery before is not finished. Try again after some output was written.
    #[error("as much output waits to be written as may be")]
    OutputFull,
    /// The message is above what the receiver takes.
    #[error("the message of {bytes} bytes is above the receiver's limit of {limit}")]
    TooLarge {
        /// The size of the message.
        bytes: u64,
        /// The receiver's limit.
        limit: u64,
    },
}
