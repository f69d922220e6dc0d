//! The events of a simulation, and the journals they are written into.
//!
//! An event's body is `document:id`. A function that applies it adds `function/id` to the journal that it names: what a
//! journal says shows which events were applied, how often, and in which order. A person who repairs an event adds `!` to
//! its body, and what comes of it has one too.

use bytes::Bytes;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::document::DocumentId;
use tidegate_model::event::{Event, EventData};

const REPAIRED: char = '!';

/// The document and the id that an event's body names.
pub(crate) fn parse(event: &Event) -> (DocumentId, String) {
    let text = String::from_utf8_lossy(event.body());
    let (document, id) = text.split_once(':').unwrap_or(("unreadable", &text));
    let id = id.trim_end_matches(REPAIRED);
    (DocumentId::new(document).expect("a good id"), id.to_owned())
}

/// The body of an event.
pub(crate) fn body(document: &str, id: &str) -> Bytes {
    format!("{document}:{id}").into()
}

/// An event as a person repairs it.
pub(crate) fn repaired(event: &EventData) -> EventData {
    let body = [original(event).body.as_ref(), REPAIRED.to_string().as_bytes()].concat();
    EventData { body: body.into(), ..event.clone() }
}

/// An event as its producer sent it.
pub(crate) fn original(event: &EventData) -> EventData {
    let sent = event.body.len() - usize::from(is_repaired(event));
    EventData { body: event.body.slice(..sent), ..event.clone() }
}

/// Whether a person has repaired it.
pub(crate) fn is_repaired(event: &EventData) -> bool {
    event.body.ends_with(REPAIRED.to_string().as_bytes())
}

/// What an event adds to its journal.
pub(crate) fn entry(function: &FunctionName, id: &str, event: &EventData) -> String {
    let mark = if is_repaired(event) { REPAIRED.to_string() } else { String::new() };
    format!("{function}/{id}{mark}")
}

/// The function and the event's id of an entry.
pub(crate) fn parse_entry(entry: &str) -> (&str, &str) {
    let (function, id) = entry.split_once('/').unwrap_or((entry, ""));
    (function, id.trim_end_matches(REPAIRED))
}

/// Whether what an entry stands for was repaired.
pub(crate) fn is_repaired_entry(entry: &str) -> bool {
    entry.ends_with(REPAIRED)
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
