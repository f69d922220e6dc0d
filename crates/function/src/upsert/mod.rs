//! The upsert: documents from JSON events, by configuration alone.

mod merge;
mod object;
mod pointer;
#[cfg(test)]
mod reference;

use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use tidegate_model::answer::Rejection;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;

use crate::definition::FunctionDefinition;
use crate::per_document::{OneDocument, PerDocument};
use crate::verdict::{FoldError, Verdict};
use merge::Merger;
use object::{JsonString, Member, Object, View, kind, read_object};

pub use merge::Merge;
pub use pointer::{InvalidPointer, JsonPointer};

/// Makes a function that merges JSON events into documents, under this name.
///
/// ```
/// use tidegate_function::{Decode, JsonPointer, Merge, Upsert, upsert};
///
/// let key = JsonPointer::new("/icao24")?;
/// let function = upsert("flights", Upsert { decode: Decode::Json, key, merge: Merge::Patch });
/// # Ok::<(), tidegate_function::InvalidPointer>(())
/// ```
///
/// # Panics
/// When `name` is not the name of a function: it is a part of the program, and the first start shows it.
pub fn upsert(name: &str, settings: Upsert) -> FunctionDefinition {
    FunctionDefinition::new(name, PerDocument::new(Upserter(settings)))
}

/// How events become documents.
///
/// Each event is a JSON object. The value at [`key`](Self::key) names its document: text, or an integer, which is taken
/// as its digits. An event that is no such object or names no document is rejected.
///
/// Values are never converted: a number keeps its digits, whatever its size. A key that comes twice in an object counts
/// where it comes last. A document's members keep their order, and new ones follow them.
///
/// Values that are taken over as they are written are not decoded. So text may hold an escape that stands for no
/// character, one half of a surrogate pair such as `\ud800`, and a program that reads the document may refuse it. In
/// the key of a member that is merged, and in the document's id, such an escape rejects the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upsert {
    /// How bodies are read.
    #[serde(default)]
    pub decode: Decode,
    /// Where the id of the document is.
    pub key: JsonPointer,
    /// How an event becomes a part of its document.
    pub merge: Merge,
}

/// How bodies are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// As JSON text.
    #[default]
    Json,
}

struct Upserter(Upsert);

/// The members of all events of a batch, one event after the other, and what merging needs.
#[derive(Default)]
struct Scratch {
    members: Vec<Member>,
    merger: Merger,
}

/// An event of a batch.
struct EventObject {
    text: ByteString,
    /// Which of the members of the batch are its own.
    members: Range<usize>,
}

impl EventObject {
    fn view<'batch>(&'batch self, members: &'batch [Member]) -> View<'batch> {
        View { text: &self.text, members: &members[self.members.clone()] }
    }
}

impl OneDocument for Upserter {
    type Input = EventObject;
    type Document = Object;
    type Scratch = Scratch;

    fn read(&self, event: Event, scratch: &mut Scratch) -> Result<(DocumentId, EventObject), Rejection> {
        let Upsert { decode: Decode::Json, key, .. } = &self.0;
        if event.body().is_empty() {
            return Err(Rejection { reason: "the body is empty".to_owned() });
        }
        let first = scratch.members.len();
        let text = read_object(event.body(), &mut scratch.members)
            .map_err(|problem| Rejection { reason: format!("the body is {problem}") })?;
        let object = EventObject { text, members: first..scratch.members.len() };
        let Some(value) = key.find(object.view(&scratch.members)) else {
            return Err(Rejection { reason: format!("the body has no value at {key}") });
        };
        let id = document_id(value).map_err(|problem| Rejection {
            reason: format!("the value at {key} cannot be a document id: it {problem}"),
        })?;
        Ok((id, object))
    }

    fn load(&self, json: &Bytes) -> Result<Object, String> {
        let mut members = Vec::new();
        let text = read_object(json, &mut members).map_err(|problem| format!("it is {problem}"))?;
        // As if it were an event, so that it is known how its text is written.
        Merger::default().merge(Merge::Replace, None, View { text: &text, members: &members })
    }

    fn step(
        &self,
        current: Option<&Object>,
        event: EventObject,
        scratch: &mut Scratch,
    ) -> Result<Verdict<Object>, FoldError> {
        match scratch.merger.merge(self.0.merge, current, event.view(&scratch.members)) {
            Ok(document) => Ok(Verdict::Apply(document)),
            Err(error) => Err(FoldError::reject(format!("the document cannot be stored: {error}"))),
        }
    }
}

/// The id that a value stands for. The error continues the sentence "it ...".
fn document_id(value: &str) -> Result<DocumentId, String> {
    let id = |text: &str| DocumentId::new(text).map_err(|invalid| invalid.0.to_owned());
    match value.as_bytes().first() {
        Some(b'"') => match serde_json::from_str(value) {
            Ok(JsonString(text)) => id(&text),
            Err(error) => Err(format!("is not text: {error}")),
        },
        Some(b'-' | b'0'..=b'9') if value.contains(['.', 'e', 'E']) => {
            Err("is a number with a fraction or an exponent".to_owned())
        }
        Some(b'-' | b'0'..=b'9') => id(if value == "-0" { "0" } else { value }),
        _ => Err(format!("is {}", kind(value))),
    }
}
