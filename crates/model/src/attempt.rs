//! Attempts: how often an event was tried, and what went wrong each time.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::position::SequenceNumber;

/// One failed try at one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// What kind of failure it was.
    #[serde(default)]
    pub kind: FailureKind,
    /// What went wrong, for a person.
    pub error: String,
}

/// What kind of failure an attempt ended with; it decides what happens next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The function said that it may work later, or its invocation failed.
    #[default]
    Transient,
    /// A downstream asked to be left alone for a while (`Retry-After`).
    Throttled,
    /// The function did not answer in time.
    TimedOut,
    /// The function panicked.
    Panicked,
    /// The program ended while the function had the event, and nothing else ran.
    Interrupted,
    /// The function rejected the event for good.
    Rejected,
}

/// The longest error text kept with an attempt, in bytes; a longer one is cut.
pub const MAX_ERROR_BYTES: usize = 4096;

/// The failed attempts at one event that is not resolved yet. They are stored, so a restart does not start the count
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventAttempts {
    /// The event.
    pub sequence_number: SequenceNumber,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// Why an event ended as a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// It can never be processed: it cannot be decoded, or the function rejected it.
    Permanent,
    /// It might be processed some time, but its attempts are used up.
    Exhausted,
}

impl FailureClass {
    /// The word used in stored data and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Exhausted => "exhausted",
        }
    }
}

impl std::str::FromStr for FailureClass {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "permanent" => Ok(Self::Permanent),
            "exhausted" => Ok(Self::Exhausted),
            _ => Err(()),
        }
    }
}

/// Cuts an error text to [`MAX_ERROR_BYTES`] at a character boundary.
pub fn bounded_error(mut error: String) -> String {
    if error.len() > MAX_ERROR_BYTES {
        error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
    }
    error
}
