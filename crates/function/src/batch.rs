//! Full control: a whole batch at once, any number of documents an event, and time to wait for other services.

use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use tidegate_model::answer::{Answer, Answers, Body, Failure, Rejection, Upsert};
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{CurrentDocument, FunctionError, Invocation};
use tidegate_model::position::SequenceNumber;

use crate::definition::{FunctionDefinition, Planner};
use crate::document_set::DocumentSet;
use crate::typed::{Document, Typed};

/// Makes a function of a [`BatchFunction`], under this name.
///
/// # Panics
/// When `name` is not the name of a function: it is a part of the program, and the first start shows it.
pub fn batch(name: &str, function: impl BatchFunction) -> FunctionDefinition {
    FunctionDefinition::new(name, BatchPlanner(Arc::new(function)))
}

/// A function that is given whole batches.
///
/// ```
/// use serde_json::Value;
/// use tidegate_function::{Batch, BatchFunction, DocumentId, Event, FunctionError, Rejection};
///
/// /// Keeps a copy of each event's text under its partition key.
/// struct LastText;
///
/// impl BatchFunction for LastText {
///     fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection> {
///         let key = event.data.partition_key.as_deref().unwrap_or("none");
///         let id = DocumentId::new(key).map_err(|invalid| Rejection { reason: invalid.to_string() })?;
///         Ok(vec![id])
///     }
///
///     async fn run(&self, events: Vec<Event>, batch: &mut Batch) -> Result<(), FunctionError> {
///         for event in &events {
///             let ids = self.documents(event).unwrap_or_default();
///             match std::str::from_utf8(event.body()) {
///                 Ok(text) => batch.on(event).upsert(&ids[0], Value::from(text)),
///                 Err(error) => batch.on(event).reject(error.to_string()),
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait BatchFunction: Send + Sync + 'static {
    /// The documents that an event reads or writes: all of them, and none is read that nobody names.
    ///
    /// # Errors
    /// An event that can never be processed is rejected here already, and not part of the batch that is run.
    fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection>;

    /// Answers for `events` through `batch`. An event without an answer is unresolved: it and what follows it are
    /// given again.
    ///
    /// # Errors
    /// Only when nothing can be said about any event. It is retried as if each of them had failed.
    fn run(
        &self,
        events: Vec<Event>,
        batch: &mut Batch,
    ) -> impl Future<Output = Result<(), FunctionError>> + Send;
}

/// The documents of a batch and the answers to it.
pub struct Batch {
    documents: DocumentSet,
    bodies: Vec<CurrentDocument>,
    answers: Vec<(SequenceNumber, Answer)>,
    /// The place of each event's answer.
    answered: HashMap<SequenceNumber, usize>,
    /// The first thing the function must not do and did.
    misuse: Option<String>,
}

impl Batch {
    /// The state of a document, with everything in it that this batch did so far; `None` when there is no such
    /// document.
    ///
    /// # Errors
    /// When it is not a `D`, or no event named it.
    pub fn document<D: Document>(&self, id: &DocumentId) -> Result<Option<D>, DocumentError> {
        let slot = self.documents.slot(id).ok_or_else(|| DocumentError::NotNamed { id: id.clone() })?;
        let Some(body) = &self.bodies[slot] else { return Ok(None) };
        if let Some(typed) = body.value::<Typed<D>>() {
            return Ok(Some(typed.0.clone()));
        }
        let unreadable = |error| DocumentError::Unreadable { id: id.clone(), error };
        let typed = body.encode().and_then(|json| Typed::decode(&json)).map_err(unreadable)?;
        Ok(Some(typed.0))
    }

    /// Answers for an event.
    pub fn on(&mut self, event: &Event) -> Reply<'_> {
        Reply { sequence_number: event.sequence_number, batch: self }
    }

    fn push(&mut self, event: SequenceNumber, answer: Answer) {
        if self.answered.insert(event, self.answers.len()).is_some() {
            self.misuse(format!("the function answered twice for event {event}"));
        }
        self.answers.push((event, answer));
    }

    fn misuse(&mut self, what: String) {
        self.misuse.get_or_insert(what);
    }
}

/// The answer for one event, to be given. Either it writes documents, any number of them, or it is one of the others.
#[must_use = "say what becomes of the event"]
pub struct Reply<'batch> {
    sequence_number: SequenceNumber,
    batch: &'batch mut Batch,
}

impl Reply<'_> {
    /// The event has an effect: `document` is the new state of `id`. Say it again to write another document for the
    /// same event.
    pub fn upsert<D: Document>(self, id: &DocumentId, document: D) {
        let Self { sequence_number, batch } = self;
        let Some(slot) = batch.documents.slot(id) else {
            let what = format!(
                "the function wrote the document {id} for event {sequence_number}; no event named it"
            );
            return batch.misuse(what);
        };
        let body = Body::Value(Arc::new(Typed(document)));
        batch.bodies[slot] = Some(body.clone());
        let upsert = Upsert { id: id.clone(), body };
        match batch.answered.get(&sequence_number).map(|&place| &mut batch.answers[place].1) {
            Some(Answer::Apply(upserts)) => match upserts.iter_mut().find(|earlier| earlier.id == *id) {
                Some(earlier) => *earlier = upsert,
                None => upserts.push(upsert),
            },
            _ => batch.push(sequence_number, Answer::upsert(upsert.id, upsert.body)),
        }
    }

    /// The event asks for nothing, and that is right.
    pub fn filter(self) {
        self.batch.push(self.sequence_number, Answer::Filter);
    }

    /// The event can never be processed, because of `reason`.
    pub fn reject(self, reason: impl Into<String>) {
        self.batch.push(self.sequence_number, Answer::reject(reason));
    }

    /// The event cannot be processed now, because of `failure`. What follows it in the batch is given again.
    pub fn fail(self, failure: Failure) {
        self.batch.push(self.sequence_number, Answer::Fail(failure));
    }
}

/// Why a document of a batch cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// No event of the batch named it.
    #[error(
        "the document {id} was not asked for: `documents` must name every document that is read or written"
    )]
    NotNamed {
        /// The document.
        id: DocumentId,
    },
    /// It is not of the type asked for.
    #[error("the document {id} cannot be read: {error}")]
    Unreadable {
        /// The document.
        id: DocumentId,
        /// Why.
        error: String,
    },
}

impl From<DocumentError> for FunctionError {
    fn from(error: DocumentError) -> Self {
        Self { error: error.to_string() }
    }
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        Self::new(error.to_string())
    }
}

struct BatchPlanner<F>(Arc<F>);

impl<F: BatchFunction> Planner for BatchPlanner<F> {
    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let mut planned = PlannedBatch {
            function: Arc::clone(&self.0),
            events: Vec::with_capacity(events.len()),
            documents: DocumentSet::with_capacity(events.len()),
            rejected: Vec::new(),
        };
        for event in events {
            match self.0.documents(&event) {
                Ok(ids) => {
                    ids.into_iter().for_each(|id| _ = planned.documents.insert(id));
                    planned.events.push(event);
                }
                Err(rejection) => planned.rejected.push((event.sequence_number, rejection)),
            }
        }
        Ok(Box::new(planned))
    }
}

struct PlannedBatch<F> {
    function: Arc<F>,
    events: Vec<Event>,
    documents: DocumentSet,
    rejected: Vec<(SequenceNumber, Rejection)>,
}

#[async_trait]
impl<F: BatchFunction> Invocation for PlannedBatch<F> {
    fn documents(&self) -> &[DocumentId] {
        self.documents.ids()
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let Self { function, events, documents, rejected } = *self;
        let (given, asked) = (current.len(), documents.ids().len());
        if given != asked {
            return Err(FunctionError {
                error: format!("{given} documents were given for {asked} that were asked for"),
            });
        }
        let mut batch = Batch {
            documents,
            bodies: current,
            answers: Vec::with_capacity(events.len()),
            answered: HashMap::with_capacity(events.len()),
            misuse: None,
        };
        if !events.is_empty() {
            function.run(events, &mut batch).await?;
        }
        if let Some(error) = batch.misuse {
            return Err(FunctionError { error });
        }
        let mut answers = Answers::with_capacity(batch.answers.len() + rejected.len());
        for (event, answer) in batch.answers {
            answers.push(event, answer);
        }
        for (event, rejection) in rejected {
            answers.push(event, Answer::Reject(rejection));
        }
        Ok(answers)
    }
}
