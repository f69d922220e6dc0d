//! Searching lines, the newest first.

use std::io;
use std::path::Path;

use serde_json::Value;
use tidegate_api::LogLine;
use tidegate_model::clock::Timestamp;

use super::segment::{Cursor, numbers_in, path_of};

/// How many bytes one search looks through at most; then it tells where to go on.
const MOST_BYTES: u64 = 256 << 20;

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For who looks for a defect.
    Debug,
    /// What the program does.
    Info,
    /// What is odd, and goes on by itself.
    Warn,
    /// What needs a person.
    Error,
}

impl std::str::FromStr for LogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return Err(()),
        })
    }
}

/// Which lines are asked for. What is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// About this hub.
    pub hub: Option<String>,
    /// About this partition.
    pub partition: Option<u32>,
    /// About this event, or about events it is among.
    pub sequence_number: Option<u64>,
    /// About events of this key.
    pub key: Option<String>,
    /// About this function.
    pub function: Option<String>,
    /// About this invocation: its 16 digits.
    pub invocation: Option<String>,
    /// At least this serious.
    pub level: Option<LogLevel>,
    /// With this text in the message or a field, whatever the case of its letters.
    pub text: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Older than this place.
    pub after: Option<Cursor>,
    /// So many at most.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Lines, the newest first.
    pub lines: Vec<LogLine>,
    /// Where to go on; `None` when everything was looked through.
    pub next: Option<Cursor>,
}

impl LogQuery {
    /// Whether a line is asked for (pure).
    pub fn wants(&self, line: &LogLine) -> bool {
        let field = |name: &str| line.fields.get(name);
        let is = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| field(name).is_some_and(|value| is_text(value, wanted)))
        };
        is("hub", &self.hub)
            && is("key", &self.key)
            && is("function", &self.function)
            && is("invocation", &self.invocation)
            && self.partition.is_none_or(|wanted| field("partition").and_then(number) == Some(wanted.into()))
            && self.sequence_number.is_none_or(|wanted| is_among(line, wanted))
            && self.level.is_none_or(|least| line.level.parse().is_ok_and(|level: LogLevel| level >= least))
            && self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
            && self.text.as_ref().is_none_or(|text| has_text(line, &text.to_lowercase()))
    }

    /// Texts that are in every line that is asked for, as they are written in it. Most lines are told apart by them alone.
    fn needles(&self) -> Vec<&str> {
        let texts = [&self.hub, &self.key, &self.function, &self.invocation];
        let is_plain = |text: &&str| text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
        texts.into_iter().flatten().map(String::as_str).filter(is_plain).collect()
    }
}

fn is_text(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        other => {
            let written = other.to_string();
            written == wanted
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn is_among(line: &LogLine, wanted: u64) -> bool {
    let field = |name: &str| line.fields.get(name).and_then(number);
    match (field("sequence_number"), field("first"), field("last")) {
        (Some(number), ..) => number == wanted,
        (None, Some(first), Some(last)) => (first..=last).contains(&wanted),
        _ => false,
    }
}

fn has_text(line: &LogLine, wanted: &str) -> bool {
    line.message.to_lowercase().contains(wanted)
        || line.fields.values().any(|value| match value {
            Value::String(text) => text.to_lowercase().contains(wanted),
            other => other.to_string().contains(wanted),
        })
}

/// Looks through the segments of a directory. Lines that cannot be read, such as a torn last one, are skipped.
pub(super) fn search(dir: &Path, query: &LogQuery) -> io::Result<Found> {
    let mut found = Found { lines: Vec::new(), next: None };
    let mut looked_at = 0;
    let mut numbers = numbers_in(dir)?;
    numbers.retain(|number| query.after.is_none_or(|after| *number <= after.segment));
    let needles = query.needles();
    for number in numbers.into_iter().rev() {
        let mut bytes = match std::fs::read(path_of(dir, number)) {
            Ok(bytes) => bytes,
            // It was the oldest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some(after) = query.after.filter(|after| after.segment == number) {
            bytes.truncate(usize::try_from(after.offset).unwrap_or(usize::MAX));
        }
        looked_at += bytes.len() as u64;
        let text = String::from_utf8_lossy(&bytes);
        let mut is_too_old = query.since.is_some();
        let mut end = text.len();
        while end > 0 {
            let begin = text[..end - 1].rfind('\n').map_or(0, |before| before + 1);
            let line = &text[begin..end];
            let place = Cursor { segment: number, offset: begin as u64 };
            end = begin;
            // The last one may be torn, also if it happens to be JSON.
            let Some(line) = line.strip_suffix('\n') else { continue };
            if !is_too_old && !needles.iter().all(|needle| line.contains(needle)) {
                continue;
            }
            let Ok(line) = serde_json::from_str::<LogLine>(line) else { continue };
            is_too_old &= query.since.is_some_and(|since| line.at < since);
            if !query.wants(&line) {
                continue;
            }
            found.lines.push(line);
            if found.lines.len() >= query.limit {
                found.next = Some(place);
                return Ok(found);
            }
        }
        if is_too_old && !bytes.is_empty() {
            return Ok(found);
        }
        if looked_at >= MOST_BYTES {
            found.next = Some(Cursor { segment: number, offset: 0 });
            return Ok(found);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: Value) -> LogLine {
        let fields = fields.as_object().unwrap().clone().into_iter().collect();
        LogLine {
            at: Timestamp::from_millis(1000),
            level: "warn".to_owned(),
            target: "t".to_owned(),
            message: "An event FAILED".to_owned(),
            fields,
        }
    }

    #[test]
    fn each_condition_counts() {
        let line = line(serde_json::json!({
            "hub": "flights", "partition": 3, "sequence_number": 17, "key": "a b", "function": "fold",
            "invocation": "00000000000000ab", "error": "no such Device",
        }));
        let wants = |query: LogQuery| query.wants(&line);
        let text = |text: &str| Some(text.to_owned());
        assert!(wants(LogQuery::default()));
        assert!(wants(LogQuery {
            hub: text("flights"),
            partition: Some(3),
            sequence_number: Some(17),
            key: text("a b"),
            function: text("fold"),
            invocation: text("00000000000000ab"),
            level: Some(LogLevel::Warn),
            text: text("DEVICE"),
            since: Some(Timestamp::from_millis(1000)),
            until: Some(Timestamp::from_millis(1001)),
            ..LogQuery::default()
        }));
        assert!(wants(LogQuery { text: text("event failed"), ..LogQuery::default() }));
        for unwanted in [
            LogQuery { hub: text("flight"), ..LogQuery::default() },
            LogQuery { partition: Some(1), ..LogQuery::default() },
            LogQuery { sequence_number: Some(1), ..LogQuery::default() },
            LogQuery { key: text("a"), ..LogQuery::default() },
            LogQuery { function: text("other"), ..LogQuery::default() },
            LogQuery { invocation: text("00"), ..LogQuery::default() },
            LogQuery { level: Some(LogLevel::Error), ..LogQuery::default() },
            LogQuery { text: text("absent"), ..LogQuery::default() },
            LogQuery { since: Some(Timestamp::from_millis(1001)), ..LogQuery::default() },
            LogQuery { until: Some(Timestamp::from_millis(1000)), ..LogQuery::default() },
        ] {
            assert!(!wants(unwanted.clone()), "{unwanted:?}");
        }
    }

    #[test]
    fn an_event_is_found_in_the_batch_it_is_among() {
        let batch = line(serde_json::json!({ "first": 10, "last": 19 }));
        let wants = |number| LogQuery { sequence_number: Some(number), ..LogQuery::default() }.wants(&batch);
        assert!(wants(10) && wants(19) && !wants(9) && !wants(20));
    }
}
