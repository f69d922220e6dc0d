//! What can go wrong with another hub, and what to do about it.

use std::time::Duration;

use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::AmqpError;

use super::credential::TokenError;

/// What a failure means for whoever meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It may work later.
    Transient,
    /// It will not work by trying again: the request, or this program, is wrong.
    Permanent,
    /// Another receiver took the partition over.
    Stolen,
    /// The hub does not let us in. It may work after a person has changed a key or a right.
    Unauthorized,
    /// There is no such hub, consumer group or partition.
    NotFound,
}

/// A failure. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no connection to the server.
    #[error("{server} cannot be reached: {detail}")]
    Unreachable {
        /// The server.
        server: String,
        /// What the operating system said.
        detail: String,
    },
    /// TLS cannot be agreed on.
    #[error("no encrypted connection to {server} can be made: {detail}")]
    Tls {
        /// The server.
        server: String,
        /// What is wrong.
        detail: String,
    },
    /// The server does not let us in.
    #[error("{server} does not let us in: {detail}")]
    NotLetIn {
        /// The server.
        server: String,
        /// What it said.
        detail: String,
    },
    /// No token could be had.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// The server refused something.
    #[error("{what} was refused: {condition}: {description}")]
    Refused {
        /// What.
        what: String,
        /// The condition, as AMQP and Event Hubs name it.
        condition: String,
        /// What the server says, shortened.
        description: String,
    },
    /// The server answered a request with a status that is no success.
    #[error("{what} was answered with status {status}: {description}")]
    Status {
        /// The request.
        what: &'static str,
        /// The status code, as in HTTP.
        status: i64,
        /// What the server says, shortened.
        description: String,
    },
    /// An answer cannot be understood.
    #[error("the answer to {what} cannot be understood: {problem}")]
    Answer {
        /// The request.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The connection ended.
    #[error("the connection to {server} ended: {detail}")]
    Ended {
        /// The server.
        server: String,
        /// Why, as far as that is known.
        detail: String,
    },
    /// Something took too long.
    #[error("{what} took more than {} s", .limit.as_secs())]
    TimedOut {
        /// What.
        what: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// What is to be sent is larger than the hub takes.
    #[error("the message of {bytes} bytes is above the hub's limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A command that the connection cannot carry out.
    #[error("{what}: {problem}")]
    Command {
        /// What was to be done.
        what: &'static str,
        /// What the connection said.
        problem: String,
    },
}

/// How much of a server's text is kept, in characters.
const MAX_TEXT: usize = 400;

impl ClientError {
    /// A refusal.
    pub(super) fn refused(what: impl Into<String>, error: &AmqpError) -> Self {
        Self::Refused {
            what: what.into(),
            condition: shortened(error.condition.as_str()),
            description: shortened(error.description.as_deref().unwrap_or("no reason was given")),
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Ended { .. }
            | Self::TimedOut { .. }
            | Self::Command { .. } => FailureKind::Transient,
            Self::NotLetIn { .. } => FailureKind::Unauthorized,
            Self::NoToken(error) => error.kind(),
            Self::Refused { condition, .. } => kind_of(condition),
            Self::Status { status: 401 | 403, .. } => FailureKind::Unauthorized,
            Self::Status { status: 404 | 410, .. } => FailureKind::NotFound,
            Self::Status { status: 400, .. } | Self::Answer { .. } | Self::TooLarge { .. } => {
                FailureKind::Permanent
            }
            Self::Status { .. } => FailureKind::Transient,
        }
    }
}

/// What a condition means. Which ones are worth another try is what the official clients think.
fn kind_of(name: &str) -> FailureKind {
    let is = |condition: tidegate_amqp::codec::value::Symbol| condition.as_str() == name;
    if is(condition::LINK_STOLEN) || is(condition::PARTITION_NOT_OWNED) {
        FailureKind::Stolen
    } else if is(condition::UNAUTHORIZED_ACCESS) || is(condition::AUTH_FAILED) {
        FailureKind::Unauthorized
    } else if is(condition::NOT_FOUND) || is(condition::RESOURCE_DELETED) {
        FailureKind::NotFound
    } else if [
        condition::DECODE_ERROR,
        condition::NOT_ALLOWED,
        condition::NOT_IMPLEMENTED,
        condition::INVALID_FIELD,
        condition::PRECONDITION_FAILED,
        condition::MESSAGE_SIZE_EXCEEDED,
        condition::ARGUMENT_ERROR,
        condition::ARGUMENT_OUT_OF_RANGE,
        condition::FRAME_SIZE_TOO_SMALL,
    ]
    .into_iter()
    .any(is)
    {
        FailureKind::Permanent
    } else {
        FailureKind::Transient
    }
}

/// A server's text, on one line and not longer than a person reads.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_what_to_do() {
        for (condition, kind) in [
            ("amqp:link:stolen", FailureKind::Stolen),
            ("amqp:unauthorized-access", FailureKind::Unauthorized),
            ("amqp:not-found", FailureKind::NotFound),
            ("com.microsoft:argument-error", FailureKind::Permanent),
            ("com.microsoft:server-busy", FailureKind::Transient),
            ("amqp:connection:forced", FailureKind::Transient),
            ("amqp:resource-limit-exceeded", FailureKind::Transient),
            ("somebody:else", FailureKind::Transient),
        ] {
            let error = ClientError::refused("a link", &AmqpError::new(condition.into(), "x\ny"));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().ends_with("x y"));
        }
    }
}
