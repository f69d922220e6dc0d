//! Events that are each about one document: what the fold and the upsert have in common.
//!
//! The events of a batch are applied one after the other, each to the state that the one before left. A document with
//! many events in the batch is read once, and written as JSON once, by whoever needs its text.
//!
//! Every answer of an invocation for one document carries the same body: its last state. That is right because the
//! invocation ends at its first failure, and the host takes either all answers before it or none (see the contract of
//! [`Function`](tidegate_model::ports::Function)). Events after the failure stay unanswered, and are given again.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_model::answer::{Answer, Answers, Body, DocumentBefore, DocumentValue, Rejection};
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{CurrentDocument, FunctionError, Invocation};
use tidegate_model::position::SequenceNumber;

use crate::definition::Planner;
use crate::document_set::DocumentSet;
use crate::verdict::{FoldError, Verdict};

/// How events that are each about one document are read and applied.
pub(crate) trait OneDocument: Send + Sync + 'static {
    /// A decoded event.
    type Input: Send + 'static;
    /// A state of a document.
    type Document: DocumentValue;
    /// Memory that the events of a batch share.
    type Scratch: Default + Send;

    /// Decodes an event and names its document.
    fn read(&self, event: Event, scratch: &mut Self::Scratch)
    -> Result<(DocumentId, Self::Input), Rejection>;

    /// Reads a state that is JSON text. The error says why it cannot be read.
    fn load(&self, json: &Bytes) -> Result<Self::Document, String>;

    /// Applies an event.
    fn step(
        &self,
        current: Option<&Self::Document>,
        input: Self::Input,
        scratch: &mut Self::Scratch,
    ) -> Result<Verdict<Self::Document>, FoldError>;
}

/// Plans batches for a [`OneDocument`].
pub(crate) struct PerDocument<W>(Arc<W>);

impl<W> PerDocument<W> {
    pub(crate) fn new(work: W) -> Self {
        Self(Arc::new(work))
    }
}

impl<W: OneDocument> Planner for PerDocument<W> {
    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let mut documents = DocumentSet::with_capacity(events.len());
        let mut scratch = W::Scratch::default();
        let planned = events
            .into_iter()
            .map(|event| {
                let sequence_number = event.sequence_number;
                let read = self.0.read(event, &mut scratch);
                (sequence_number, read.map(|(id, input)| (documents.insert(id), input)))
            })
            .collect();
        Ok(Box::new(Planned { work: Arc::clone(&self.0), documents, events: planned, scratch }))
    }
}

/// An event with the slot of its document, or why it has none.
type Read<Input> = Result<(usize, Input), Rejection>;

struct Planned<W: OneDocument> {
    work: Arc<W>,
    documents: DocumentSet,
    events: Vec<(SequenceNumber, Read<W::Input>)>,
    scratch: W::Scratch,
}

/// A document in the course of a batch.
enum State<D> {
    /// As the host gave it.
    Given(CurrentDocument),
    /// As it was read from JSON text, or as the last event left it.
    Known(Arc<D>),
}

impl<D: DocumentValue> State<D> {
    fn into_body(self) -> Option<Body> {
        match self {
            Self::Given(body) => body,
            Self::Known(document) => Some(Body::Value(document)),
        }
    }

    fn body(&self) -> Option<Body> {
        match self {
            Self::Given(body) => body.clone(),
            Self::Known(document) => Some(Body::Value(Arc::<D>::clone(document))),
        }
    }
}

/// What is known about an event before the last state of its document is.
enum Said {
    Apply {
        slot: usize,
    },
    /// Boxed because it is rare.
    Answer(Box<Answer>),
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

#[async_trait]
impl<W: OneDocument> Invocation for Planned<W> {
    fn documents(&self) -> &[DocumentId] {
        self.documents.ids()
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let Self { work, documents, events, mut scratch } = *self;
        let ids = documents.ids();
        if current.len() != ids.len() {
            let error =
                format!("{} documents were given for {} that were asked for", current.len(), ids.len());
            return Err(FunctionError { error });
        }
        let alone = events.len() == 1;
        let mut states: Vec<_> = current.into_iter().map(State::Given).collect();
        let mut said = Vec::with_capacity(events.len());
        let mut shown = Vec::new();
        for (sequence_number, event) in events {
            let say = match event {
                Err(rejection) => Answer::Reject(rejection).into(),
                Ok((slot, input)) => {
                    let state = &mut states[slot];
                    let say = apply(&*work, &ids[slot], slot, state, input, &mut scratch);
                    if let Said::Answer(answer) = &say
                        && let Answer::Reject(_) | Answer::Fail(_) = **answer
                    {
                        let document = DocumentBefore { id: ids[slot].clone(), body: state.body() };
                        shown.push((sequence_number, document));
                    }
                    say
                }
            };
            let failed = matches!(&say, Said::Answer(answer) if matches!(**answer, Answer::Fail(_)));
            said.push((sequence_number, say));
            if failed {
                break;
            }
        }
        let mut answers = answers(said, ids, states, alone);
        for (event, document) in shown {
            answers.show(event, document);
        }
        Ok(answers)
    }
}

/// Applies one event to its document.
fn apply<W: OneDocument>(
    work: &W,
    id: &DocumentId,
    slot: usize,
    state: &mut State<W::Document>,
    input: W::Input,
    scratch: &mut W::Scratch,
) -> Said {
    if let State::Given(Some(body)) = state
        && body.value::<W::Document>().is_none()
    {
        match body.encode().and_then(|json| work.load(&json)) {
            Ok(document) => *state = State::Known(Arc::new(document)),
            // Not the event's fault, so it is not rejected: it waits for a version that can read the document.
            Err(error) => {
                return Answer::fail(format!("the document {id} cannot be read: {error}")).into();
            }
        }
    }
    let current = match state {
        State::Given(body) => body.as_ref().and_then(Body::value::<W::Document>),
        State::Known(document) => Some(&**document),
    };
    match work.step(current, input, scratch) {
        Ok(Verdict::Apply(document)) => {
            *state = State::Known(Arc::new(document));
            Said::Apply { slot }
        }
        Ok(Verdict::Filter) => Answer::Filter.into(),
        Err(FoldError::Reject(rejection)) => Answer::Reject(rejection).into(),
        Err(FoldError::Fail(failure)) => Answer::Fail(failure).into(),
    }
}

/// The answers, now that the last state of every document is known.
///
/// The host runs a batch again event by event when a document of it cannot be written as JSON. An event that is
/// `alone` is then the one to blame.
fn answers<D: DocumentValue>(
    said: Vec<(SequenceNumber, Said)>,
    ids: &[DocumentId],
    states: Vec<State<D>>,
    alone: bool,
) -> Answers {
    let bodies: Vec<Option<Body>> = states.into_iter().map(State::into_body).collect();
    let mut answers = Answers::with_capacity(said.len());
    for (sequence_number, said) in said {
        let answer = match said {
            Said::Answer(answer) => *answer,
            Said::Apply { slot } => {
                let body = bodies[slot].clone().expect("an applied event left a state");
                match if alone { body.encode().err() } else { None } {
                    Some(error) => Answer::reject(format!("the document cannot be stored: {error}")),
                    None => Answer::upsert(ids[slot].clone(), body),
                }
            }
        };
        answers.push(sequence_number, answer);
    }
    answers
}
