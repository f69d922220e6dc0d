//! What a function says about each event it was given.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::document::DocumentId;
use crate::position::SequenceNumber;

/// What a function says about one event. Silence is not an answer: an event without one is unresolved.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The event has an effect: these documents take these states. Most events have exactly one.
    Apply(SmallVec<[Upsert; 1]>),
    /// The event asks for nothing.
    Filter,
    /// The event can never be processed; retrying is pointless.
    Reject(Rejection),
    /// The event could not be processed now, but may be later.
    Fail(Failure),
}

impl Answer {
    /// The document `id` takes the state `body`.
    pub fn upsert(id: DocumentId, body: Body) -> Self {
        Self::Apply(SmallVec::from_buf([Upsert { id, body }]))
    }

    /// The event can never be processed, because of `reason`.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(Rejection { reason: reason.into() })
    }

    /// The event cannot be processed now, because of `error`.
    pub fn fail(error: impl Into<String>) -> Self {
        Self::Fail(Failure::new(error))
    }
}

/// The new state of one document.
#[derive(Clone, Debug)]
pub struct Upsert {
    /// Which document of the function's collection.
    pub id: DocumentId,
    /// Its whole new state.
    pub body: Body,
}

/// Why an event can never be processed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// For the person who reads the dead letter.
    pub reason: String,
}

/// Why an event could not be processed this time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// For the person who reads the attempts.
    pub error: String,
    /// What the downstream asked for (`Retry-After`); the retry waits at least as long.
    pub retry_after: Option<Duration>,
    /// What it failed because of, if that is one of the dependencies that the function is set up with: the failure counts
    /// in that dependency's circuit, which all functions that need it share. Otherwise it counts in the function's own.
    pub because_of: Option<String>,
}

impl Failure {
    /// The event could not be processed this time, because of `error`.
    pub fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry_after: None, because_of: None }
    }

    /// The same failure, and the downstream asked to be left alone for so long.
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    /// The same failure, because of a dependency.
    #[must_use]
    pub fn because_of(self, dependency: impl Into<String>) -> Self {
        Self { because_of: Some(dependency.into()), ..self }
    }
}

/// The state of a document: JSON text, perhaps not written out yet.
///
/// A function that folds many events into one document need not write each intermediate state as text: the host
/// encodes only the last one of a batch.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON text.
    Json(Bytes),
    /// A value that can be written as JSON text.
    Value(Arc<dyn DocumentValue>),
}

impl Body {
    /// The state as JSON text. The error says why the value has no JSON form.
    pub fn encode(&self) -> Result<Bytes, String> {
        match self {
            Self::Json(json) => Ok(json.clone()),
            Self::Value(value) => value.encode().map(ByteString::into_bytes),
        }
    }

    /// The value behind a [`Body::Value`] if it is a `T`.
    pub fn value<T: DocumentValue>(&self) -> Option<&T> {
        match self {
            Self::Json(_) => None,
            Self::Value(value) => (value.as_ref() as &dyn Any).downcast_ref(),
        }
    }
}

/// A document's state as the function's own type.
pub trait DocumentValue: Any + Send + Sync + std::fmt::Debug {
    /// The state as JSON text. The error says why it has no JSON form.
    fn encode(&self) -> Result<ByteString, String>;
}

/// A function's answers for one batch, in any order. The host checks them: an event answered twice or never, and an
/// answer for an event that was not in the batch, are the function's failure, not lost events.
#[derive(Debug, Default)]
pub struct Answers {
    answers: Vec<(SequenceNumber, Answer)>,
    documents: Vec<(SequenceNumber, DocumentBefore)>,
}

/// The document that an event was about, before that event.
#[derive(Clone, Debug)]
pub struct DocumentBefore {
    /// Its id.
    pub id: DocumentId,
    /// Its state; `None` when there was no such document.
    pub body: Option<Body>,
}

impl Answers {
    /// No answers yet, with room for `capacity` of them.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { answers: Vec::with_capacity(capacity), documents: Vec::new() }
    }

    /// Answers for the event with this sequence number.
    pub fn push(&mut self, event: SequenceNumber, answer: Answer) {
        self.answers.push((event, answer));
    }

    /// Says which document an event was about that was not applied. If the event is set aside, its dead letter shows
    /// the document. Optional.
    pub fn show(&mut self, event: SequenceNumber, document: DocumentBefore) {
        self.documents.push((event, document));
    }

    /// Takes what was [shown](Self::show), in that order.
    pub fn take_shown(&mut self) -> Vec<(SequenceNumber, DocumentBefore)> {
        std::mem::take(&mut self.documents)
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

impl IntoIterator for Answers {
    type Item = (SequenceNumber, Answer);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.answers.into_iter()
    }
}
