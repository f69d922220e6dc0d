//! The port through which the host runs a function.

use async_trait::async_trait;

use crate::answer::{Answers, Body};
use crate::checkpoint::FunctionName;
use crate::document::{CollectionName, DocumentId};
use crate::event::Event;

/// A function: turns events into document states.
///
/// # Contract
///
/// An invocation has two halves, so that the documents are at hand when the function needs them and nothing is decoded
/// twice. [`plan`](Self::plan) decodes the batch and names the documents it is about; the host brings their current
/// states, with everything in them that earlier events did, whether it is committed already or not; then
/// [`Invocation::run`] answers for each event.
///
/// - A function's batches of one partition run one after the other, in order, unless it is set up without order: then
///   several run at the same time, as those of different partitions do. Batches that share a document always run one after
///   the other; those of one partition in the order of their events.
/// - A batch may be given again, whole or in part, until it is resolved: after a failure, a time-out, a restart. Only
///   the answers that were committed count, and each is committed once. Effects elsewhere must be idempotent.
/// - A function that panics or takes too long fails that invocation and nothing else. One that never returns costs a
///   thread until the program ends.
/// - Answers are taken up to the first event that failed or was not answered; the host asks again from there. An event
///   may therefore be answered again after its neighbours, with the documents as those left them.
/// - Of one invocation the host accepts either every answer up to the first event that failed or was not answered, or,
///   when one of them breaks this contract or a document cannot be written as JSON, none at all. A function that stops
///   at its first failure may therefore give each of its answers for a document that document's last state.
#[async_trait]
pub trait Function: Send + Sync + 'static {
    /// Who the function is.
    fn descriptor(&self) -> &FunctionDescriptor;

    /// The first half: decodes `events` and names the documents they are about. May take CPU time, must not wait.
    ///
    /// # Errors
    /// Only when nothing can be said about any event; an event that cannot be decoded is answered with
    /// [`Answer::Reject`](crate::answer::Answer::Reject) by the second half.
    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError>;
}

/// A planned invocation: the second half of a [`Function`]'s work on one batch.
#[async_trait]
pub trait Invocation: Send {
    /// The documents that the batch reads or writes, each once. An answer may write only these.
    fn documents(&self) -> &[DocumentId];

    /// Answers for the batch. `current` holds the documents' states in the order of [`documents`](Self::documents).
    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError>;
}

/// The state of a document before a batch; `None` when there is no such document.
///
/// It is the [`Body`] that this function answered with last, if the host still has it: a function that answered with
/// its own type finds that value again and need not parse it.
pub type CurrentDocument = Option<Body>;

/// Who a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionDescriptor {
    /// Its name.
    pub name: FunctionName,
    /// Its version, recorded in dead letters.
    pub version: String,
    /// The collection its documents are in.
    pub collection: CollectionName,
}

/// A whole invocation failed. It is retried by the function's policy, as if each of its events had failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct FunctionError {
    /// What went wrong, for a person.
    pub error: String,
}
