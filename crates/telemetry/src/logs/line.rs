//! A line: an event of `tracing` as a JSON object.

use std::fmt::Write as _;

use serde_json::Value;
use tidegate_model::clock::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Longer texts are cut, in bytes: a line must not push all others out.
const MAX_TEXT: usize = 4096;

/// How many fields a line has at most.
const MAX_FIELDS: usize = 32;

/// The line of an event, without its end.
pub(super) fn line_of(event: &Event<'_>, at: Timestamp) -> String {
    let mut visited = Visited::default();
    event.record(&mut visited);
    let metadata = event.metadata();
    line(at, word_of(*metadata.level()), metadata.target(), &visited.message, visited.fields)
}

/// A line of these parts.
pub(super) fn line(
    at: Timestamp,
    level: &str,
    target: &str,
    message: &str,
    fields: serde_json::Map<String, Value>,
) -> String {
    let mut line = String::with_capacity(128 + message.len());
    let _ = write!(line, "{{\"at\":\"{at}\",\"level\":\"{level}\",\"target\":");
    line.push_str(&quoted(target));
    line.push_str(",\"message\":");
    line.push_str(&quoted(message));
    line.push_str(",\"fields\":");
    line.push_str(&Value::Object(fields).to_string());
    line.push('}');
    line
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The word for a level.
fn word_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[derive(Default)]
struct Visited {
    message: String,
    fields: serde_json::Map<String, Value>,
}

impl Visited {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // The name of a lane is that of three things, which are searched by themselves.
        if name == "lane"
            && let Some(lane) = value.as_str().and_then(parts_of_lane)
        {
            for (name, part) in lane {
                self.fields.insert(name.to_owned(), part);
            }
        } else if self.fields.len() < MAX_FIELDS {
            self.fields.insert(name.to_owned(), value);
        }
    }
}

/// Function, hub and partition of a lane's name. Names have no slashes.
fn parts_of_lane(lane: &str) -> Option<[(&'static str, Value); 3]> {
    let mut parts = lane.split('/');
    let (function, hub, partition) = (parts.next()?, parts.next()?, parts.next()?.parse::<u32>().ok()?);
    parts.next().is_none().then(|| {
        [
            ("function", Value::from(function)),
            ("hub", Value::from(hub)),
            ("partition", Value::from(partition)),
        ]
    })
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

impl Visit for Visited {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = bounded(value.to_owned());
        } else {
            self.put(field, Value::from(bounded(value.to_owned())));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = bounded(format!("{value:?}"));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::from(text));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_is_in_it() {
        let mut fields = serde_json::Map::new();
        fields.insert("error".to_owned(), Value::from("it said \"no\"\nand left"));
        let line = line(Timestamp::from_millis(0), "warn", "t", "a \\ b\n", fields);
        assert!(!line.contains('\n'));
        let parsed: tidegate_api::LogLine = serde_json::from_str(&line).unwrap();
        assert_eq!((parsed.message.as_str(), parsed.level.as_str()), ("a \\ b\n", "warn"));
        assert_eq!(parsed.fields["error"], "it said \"no\"\nand left");
    }

    #[test]
    fn a_lane_is_taken_apart() {
        let parts = parts_of_lane("fold/flights/7").unwrap();
        assert_eq!(parts[0].1, "fold");
        assert_eq!(parts[2].1, 7);
        assert!(parts_of_lane("fold/flights").is_none() && parts_of_lane("a/b/c").is_none());
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = bounded("ä".repeat(MAX_TEXT));
        assert!(text.len() <= MAX_TEXT + 3 && text.ends_with("ä…"));
    }
}
