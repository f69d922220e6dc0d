//! What a function is written against: folds over documents, batches, and the no-code upsert.
//!
//! A function turns events into document states. There are three ways to say how, from most to least common:
//!
//! | form | for | what is written |
//! |---|---|---|
//! | [`fold`] | each event changes one document | a decoder, a key, and a function from state and event to state |
//! | [`upsert`] | JSON events that *are* changes of a document | nothing: a JSON pointer and a way to merge |
//! | [`batch`] | everything else: several documents an event, calls to other services | a [`BatchFunction`] |
//!
//! Each gives a [`FunctionDefinition`], which the program is told about and which is a
//! [`Function`]:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidegate_function::{Event, FunctionDefinition, fold, json};
//!
//! #[derive(Deserialize)]
//! struct Reading { sensor: String, celsius: f64 }
//!
//! #[derive(Clone, Default, Serialize, Deserialize)]
//! struct Sensor { readings: u64, warmest: Option<f64> }
//!
//! fn count(current: Option<Sensor>, reading: Reading, _event: &Event) -> Sensor {
//!     let sensor = current.unwrap_or_default();
//!     let warmest = sensor.warmest.map_or(reading.celsius, |before| before.max(reading.celsius));
//!     Sensor { readings: sensor.readings + 1, warmest: Some(warmest) }
//! }
//!
//! pub fn function() -> FunctionDefinition {
//!     fold("sensors").decode(json::<Reading>).key(|reading| reading.sensor.clone()).apply(count)
//! }
//! # function();
//! ```
//!
//! An event that cannot be processed now [fails](Failure), and is tried again. When that is because of something that other
//! functions need too, it should say so: `Failure::new("no answer").because_of("geocoder")`. If the function is set up with
//! that dependency, the failure counts in its circuit and not in the function's own; all functions that need it stop
//! together while it is away, and a person hears of it once.
//!
//! [`testing`] plays the host, so that a function is tested without a server.

mod batch;
mod decode;
mod definition;
mod document_set;
mod fold;
mod key;
mod per_document;
mod typed;
mod upsert;
mod verdict;

pub mod testing;

pub use batch::{Batch, BatchFunction, DocumentError, Reply, batch};
pub use decode::json;
pub use definition::{DEFAULT_VERSION, FunctionDefinition};
pub use fold::{DecodedFold, Fold, KeyedFold, fold};
pub use key::IntoDocumentId;
pub use typed::Document;
pub use upsert::{Decode, InvalidPointer, JsonPointer, Merge, Upsert, upsert};
pub use verdict::{FoldError, IntoVerdict, Verdict};

pub use tidegate_model::answer::{Failure, Rejection};
pub use tidegate_model::checkpoint::FunctionName;
pub use tidegate_model::clock::Timestamp;
pub use tidegate_model::document::{
    CollectionName, DocumentId, InvalidDocumentId, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_ID_BYTES,
};
pub use tidegate_model::event::{Event, EventData, Properties, PropertyValue};
pub use tidegate_model::ports::{Function, FunctionDescriptor, FunctionError};
pub use tidegate_model::position::SequenceNumber;
