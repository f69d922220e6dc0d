//! The upsert: documents from JSON events, by configuration alone.

mod index;
mod merge;
mod object;
mod pointer;
#[cfg(test)]
mod reference;
mod scan;

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_model::answer::Rejection;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;

use crate::decode::text;
use crate::definition::FunctionDefinition;
use crate::per_document::{OneDocument, PerDocument};
use crate::verdict::{FoldError, Verdict};
use index::{Member, View};
use merge::Merger;
use object::{Object, content_of, scan};
use scan::{Fault, FaultKind, MAX_DEPTH};

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

/// The indexes of all events of a batch, one after the other, and what merging needs.
#[derive(Default)]
struct Scratch {
    indexes: Vec<Member>,
    merger: Merger,
}

/// An event of a batch.
struct EventObject {
    text: Bytes,
    /// Where its index is among those of the batch.
    index: Range<usize>,
}

impl EventObject {
    fn view<'batch>(&'batch self, indexes: &'batch [Member]) -> View<'batch> {
        View { text: &self.text, index: &indexes[self.index.clone()] }
    }
}

impl OneDocument for Upserter {
    type Input = EventObject;
    type Document = Object;
    type Scratch = Scratch;

    fn read(&self, event: Event, scratch: &mut Scratch) -> Result<(DocumentId, EventObject), Rejection> {
        let Upsert { decode: Decode::Json, key, .. } = &self.0;
        let body = text(event.body())?;
        let first = scratch.indexes.len();
        let text = scan(event.body().clone(), &mut scratch.indexes)
            .map_err(|fault| Rejection { reason: format!("the body is {}", problem(body, fault)) })?;
        let object = EventObject { text, index: first..scratch.indexes.len() };
        let Some(value) = key.find(object.view(&scratch.indexes)) else {
            return Err(Rejection { reason: format!("the body has no value at {key}") });
        };
        let id = document_id(value).map_err(|problem| Rejection {
            reason: format!("the value at {key} cannot be a document id: it {problem}"),
        })?;
        Ok((id, object))
    }

    fn load(&self, json: &Bytes) -> Result<Object, String> {
        let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
        let object =
            Object::parse(json.clone()).map_err(|fault| format!("it is {}", problem(text, fault)))?;
        // What merging relies on, each key once, is only certain of what was merged.
        Merger::default().merge(Merge::Replace, None, object.view())
    }

    fn step(
        &self,
        current: Option<&Object>,
        event: EventObject,
        scratch: &mut Scratch,
    ) -> Result<Verdict<Object>, FoldError> {
        match scratch.merger.merge(self.0.merge, current, event.view(&scratch.indexes)) {
            Ok(document) => Ok(Verdict::Apply(document)),
            Err(error) => Err(FoldError::reject(format!("the document cannot be stored: {error}"))),
        }
    }
}

/// The id that a value stands for. The error continues the sentence "it ...".
fn document_id(value: &[u8]) -> Result<DocumentId, &'static str> {
    match value.first() {
        Some(b'"') => DocumentId::new(&content_of(value)).map_err(|invalid| invalid.0),
        Some(b'-' | b'0'..=b'9') => match std::str::from_utf8(value) {
            Ok("-0") => DocumentId::new("0").map_err(|invalid| invalid.0),
            Ok(number) if !number.contains(['.', 'e', 'E']) => {
                DocumentId::new(number).map_err(|invalid| invalid.0)
            }
            _ => Err("is a number with a fraction or an exponent"),
        },
        Some(b't' | b'f') => Err("is true or false"),
        Some(b'n') => Err("is null"),
        Some(b'[') => Err("is an array"),
        _ => Err("is an object"),
    }
}

/// What is wrong with a text that was refused. It continues the sentence "it is ...".
fn problem(text: &str, fault: Fault) -> String {
    // serde_json says best what is wrong with a text that both refuse.
    if let Err(error) = serde_json::from_str::<&RawValue>(text) {
        return format!("not JSON: {error}");
    }
    let place = Place { text, at: fault.at };
    match fault.kind {
        FaultKind::NotAnObject => {
            let what = match text.trim_ascii_start().as_bytes().first() {
                Some(b'[') => "an array",
                Some(b'"') => "a string",
                Some(b't' | b'f') => "true or false",
                Some(b'n') => "null",
                _ => "a number",
            };
            format!("not a JSON object but {what}")
        }
        FaultKind::TooDeep => format!("nested deeper than {MAX_DEPTH} arrays and objects at {place}"),
        FaultKind::LoneSurrogate => format!("not JSON: a lone half of a surrogate pair at {place}"),
        FaultKind::Syntax => format!("not JSON: a fault at {place}"),
    }
}

/// A place in a text, for a person: line and column, both from 1, as `serde_json` counts them.
struct Place<'text> {
    text: &'text str,
    at: usize,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        write!(f, "line {line} column {column}")
    }
}
