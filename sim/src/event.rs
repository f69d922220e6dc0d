//! The events of a simulation, and the journals they are written into.
//!
//! An event's body is `document:id`. A function that applies it adds `function/id` to the journal that it names: what a
//! journal says shows which events were applied, how often, and in which order.

use bytes::Bytes;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;

/// The document and the id that an event's body names.
pub(crate) fn parse(event: &Event) -> (DocumentId, String) {
    let text = String::from_utf8_lossy(event.body());
    let (document, id) = text.split_once(':').unwrap_or(("unreadable", &text));
    (DocumentId::new(document).expect("a good id"), id.to_owned())
}

/// The body of an event.
pub(crate) fn body(document: &str, id: &str) -> Bytes {
    format!("{document}:{id}").into()
}

/// What an event adds to its journal.
pub(crate) fn entry(function: &FunctionName, id: &str) -> String {
    format!("{function}/{id}")
}

/// The function and the event's id of an entry.
pub(crate) fn parse_entry(entry: &str) -> (&str, &str) {
    entry.split_once('/').unwrap_or((entry, ""))
}

/// A journal as JSON text.
pub(crate) fn journal(entries: &[String]) -> Bytes {
    format!("[\"{}\"]", entries.join("\",\"")).into()
}

/// The entries of a journal.
pub(crate) fn entries(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let inner = text.trim_matches(['[', ']', '"']);
    inner.split("\",\"").filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}
