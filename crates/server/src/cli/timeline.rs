//! Everything that happened to an event, in the order in which it happened: `GET /api/v1/trace` for a person.

use std::collections::BTreeMap;

use serde_json::Value;

use tidegate_api::{Attempt, DocumentState, FunctionTrace, Parked, Trace};
use tidegate_model::clock::Timestamp;

/// An event's way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// The event, such as `flights/3/1204`.
    pub(crate) event: String,
    /// What was published: the key, if it has one, and the body.
    pub(crate) published: Vec<(&'static str, String)>,
    /// Where it ended, function by function.
    pub(crate) ends: Vec<End>,
    /// What happened, oldest first.
    pub(crate) entries: Vec<Entry>,
    /// The dead letters it became.
    pub(crate) dead_letters: Vec<u64>,
}

/// Where an event ended for a function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The function.
    pub(crate) function: String,
    /// The outcome, or that there is none yet.
    pub(crate) outcome: String,
    /// What more there is to say.
    pub(crate) detail: String,
}

/// Something that happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When.
    pub(crate) at: Timestamp,
    /// Whom it is about: a function, a person, or who wrote the line.
    pub(crate) who: String,
    /// What.
    pub(crate) what: String,
    /// Whether it is bad news.
    pub(crate) bad: bool,
}

/// What happened to an event, in its order.
pub(crate) fn timeline(trace: &Trace) -> Timeline {
    let mut entries = Vec::new();
    let mut published = Vec::new();
    match &trace.event {
        Some(event) => {
            let bytes = event.body.as_ref().map_or(event.body_base64.len() / 4 * 3, String::len);
            entries.push(entry(event.enqueued_at, "producer", format!("published, {bytes} bytes"), false));
            published.extend(event.partition_key.clone().map(|key| ("key", key)));
            let body = event.body.clone().unwrap_or_else(|| format!("base64 {}", event.body_base64));
            published.push(("body", body));
        }
        None => published.push(("body", "the log has dropped the event".to_owned())),
    }
    for function in &trace.functions {
        tell(function, &mut entries);
    }
    for log in &trace.logs {
        let what = format!("{} {}{}", log.level.to_lowercase(), log.message, fields(&log.fields));
        let bad = matches!(log.level.to_ascii_lowercase().as_str(), "error" | "warn");
        entries.push(entry(log.at, "log", what, bad));
    }
    for act in &trace.trail {
        let reason = if act.reason.is_empty() { String::new() } else { format!(": {}", act.reason) };
        entries.push(entry(act.at, &act.by, format!("{} {}{reason}", act.action, act.subject), false));
    }
    // Of what has the same time the order above is the order it happened in.
    entries.sort_by_key(|entry| entry.at);
    let letters = trace.functions.iter().filter_map(|function| function.dead_letter.as_ref());
    Timeline {
        event: format!("{}/{}/{}", trace.hub, trace.partition, trace.sequence_number),
        published,
        ends: trace.functions.iter().map(end).collect(),
        entries,
        dead_letters: letters.map(|letter| letter.id).collect(),
    }
}

fn tell(function: &FunctionTrace, entries: &mut Vec<Entry>) {
    let name = &function.function;
    // The attempts are with whatever became of the event; the same ones may be in two places.
    let letter = function.dead_letter.iter().flat_map(|letter| &letter.attempts);
    let parked = function.parked.iter().flat_map(|parked| &parked.attempts);
    let mut attempts: Vec<&Attempt> = function.attempts.iter().chain(parked).chain(letter).collect();
    attempts.sort_by_key(|attempt| attempt.at);
    attempts.dedup_by(|one, other| one == other);
    for (place, attempt) in attempts.into_iter().enumerate() {
        let what = format!("attempt {} failed, {}: {}", place + 1, kind_of(attempt), attempt.error);
        entries.push(entry(attempt.at, name, what, true));
    }
    if let Some(parked) = &function.parked {
        entries.push(entry(parked.parked_at, name, "parked".to_owned(), false));
    }
    if let Some(letter) = &function.dead_letter {
        let what = format!("dead letter {}, {}: {}", letter.id, letter.class, letter.reason);
        entries.push(entry(letter.dead_lettered_at, name, what, true));
        if letter.changed_at != letter.dead_lettered_at {
            let what = format!("dead letter {} is {}", letter.id, letter.status);
            entries.push(entry(letter.changed_at, name, what, false));
        }
    }
}

/// The word of the API for what kind of failure it was.
fn kind_of(attempt: &Attempt) -> String {
    let word = serde_json::to_value(attempt.kind).unwrap_or_default();
    word.as_str().unwrap_or("failed").to_owned()
}

fn end(function: &FunctionTrace) -> End {
    let detail = match (function.outcome.as_str(), &function.parked, &function.dead_letter) {
        (_, Some(Parked { held: Some(why), .. }), _) => format!("held: {why}"),
        (_, Some(Parked { behind: Some(head), .. }), _) => format!("behind {head} of its key"),
        (_, Some(Parked { due_at: Some(at), .. }), _) => format!("tried again at {at}"),
        (_, Some(parked), _) => parked.state.clone(),
        (_, None, Some(letter)) => format!("dead letter {}, {}: {}", letter.id, letter.status, letter.reason),
        (_, None, None) => {
            let name = |document: &DocumentState| format!("{}/{}", document.collection, document.id);
            let names: Vec<String> = function.documents.iter().map(name).collect();
            if names.is_empty() { String::new() } else { format!("document {}", names.join(", ")) }
        }
    };
    End { function: function.function.clone(), outcome: function.outcome.clone(), detail }
}

fn entry(at: Timestamp, who: &str, what: String, bad: bool) -> Entry {
    Entry { at, who: who.to_owned(), what, bad }
}

/// The fields of a log line as text.
pub(crate) fn fields(fields: &BTreeMap<String, Value>) -> String {
    fields.iter().fold(String::new(), |mut text, (name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!(" {name}={value}"));
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An event that one function set aside, one applied, and one has parked.
    pub(crate) fn failed() -> Trace {
        serde_json::from_str(
            r#"{
            "hub": "flights", "partition": 3, "sequence_number": 1204,
            "event": { "partition": 3, "sequence_number": 1204, "offset": "99", "enqueued_at": "2026-11-22T12:00:00Z",
                "partition_key": "0101de", "properties": {}, "system_properties": {}, "body": "{", "body_base64": "ew==" },
            "functions": [
                { "function": "aircraft", "outcome": "dead-lettered",
                  "attempts": [{ "at": "2026-11-22T12:00:01Z", "kind": "rejected", "error": "no JSON" }],
                  "dead_letter": { "id": 7, "status": "discarded", "changed_at": "2026-11-22T12:05:00Z",
                      "fingerprint": "85944171f73967e8", "redrives": 0, "returns": 0, "revision": 0, "leases": 0,
                      "function": "aircraft", "function_version": "1", "hub": "flights",
                      "incarnation": "67e55044-10b1-426f-9247-bb680e5fe0c8", "partition": 3, "sequence_number": 1204,
                      "offset": "99", "enqueued_at": "2026-11-22T12:00:00Z", "properties": {}, "system_properties": {},
                      "body_base64": "ew==",
                      "dead_lettered_at": "2026-11-22T12:00:02Z", "class": "permanent", "reason": "no JSON",
                      "attempts": [{ "at": "2026-11-22T12:00:01Z", "kind": "rejected", "error": "no JSON" }] },
                  "parked": null, "documents": [] },
                { "function": "positions", "outcome": "applied", "attempts": [], "dead_letter": null, "parked": null,
                  "documents": [{ "collection": "positions", "id": "0101de", "body": {} }] },
                { "function": "late", "outcome": "parked", "attempts": [], "dead_letter": null, "documents": [],
                  "parked": { "id": "late/flights/3/1204", "function": "late", "hub": "flights",
                      "incarnation": "67e55044-10b1-426f-9247-bb680e5fe0c8", "partition": 3, "sequence_number": 1204,
                      "enqueued_at": "2026-11-22T12:00:00Z", "parked_at": "2026-11-22T12:00:03Z", "state": "behind",
                      "due_at": null, "held": null, "behind": 1200, "attempts": [], "redrive_of": null,
                      "partition_key": "0101de", "properties": {}, "system_properties": {}, "body": "{",
                      "body_base64": "ew==" } }
            ],
            "logs": [{ "at": "2026-11-22T12:00:01.900Z", "level": "WARN", "target": "tidegate_host", "message": "set aside",
                "fields": { "sequence_number": 1204 } }],
            "trail": [{ "number": 1, "at": "2026-11-22T12:05:00Z", "by": "ann", "action": "dead-letter.discard",
                "subject": "7", "reason": "a test", "detail": null }]
            }"#,
        )
        .expect("a trace")
    }

    #[test]
    fn what_happened_is_told_in_its_order_and_once() {
        let timeline = timeline(&failed());
        assert_eq!(timeline.event, "flights/3/1204");
        assert_eq!(timeline.published, [("key", "0101de".to_owned()), ("body", "{".to_owned())]);
        let told: Vec<String> =
            timeline.entries.iter().map(|entry| format!("{}: {}", entry.who, entry.what)).collect();
        assert_eq!(
            told,
            [
                "producer: published, 1 bytes",
                "aircraft: attempt 1 failed, rejected: no JSON",
                "log: warn set aside sequence_number=1204",
                "aircraft: dead letter 7, permanent: no JSON",
                "late: parked",
                "aircraft: dead letter 7 is discarded",
                "ann: dead-letter.discard 7: a test",
            ]
        );
        assert_eq!(timeline.dead_letters, [7]);
        let ends = timeline.ends.iter().map(|end| format!("{} {} {}", end.function, end.outcome, end.detail));
        assert_eq!(
            ends.collect::<Vec<_>>(),
            [
                "aircraft dead-lettered dead letter 7, discarded: no JSON",
                "positions applied document positions/0101de",
                "late parked behind 1200 of its key",
            ]
        );
    }

    #[test]
    fn an_event_that_the_log_has_dropped_keeps_its_story() {
        let timeline = timeline(&Trace { event: None, ..failed() });
        assert_eq!(timeline.published[0].1, "the log has dropped the event");
        assert_eq!(timeline.entries[0].who, "aircraft");
    }
}
