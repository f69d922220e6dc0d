//! A notice as people read it: what happened, the numbers, what to do, and the commands for it.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tidegate_model::circuit::is_only_failing;
use tidegate_model::clock::Timestamp;
use tidegate_model::notice::NewNotice;

use crate::engine::RESOLVED;
use crate::html::{escaped, table};
use crate::incident::{CIRCUIT_CLOSED, CIRCUIT_OPENED, CIRCUIT_PROBE_FAILED};

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Its subject line.
    pub subject: String,
    /// What happened, in a sentence.
    pub headline: String,
    /// The numbers: name and value.
    pub numbers: Vec<(String, String)>,
    /// Why events fail, a line each.
    pub causes: Vec<String>,
    /// What to do, one step each.
    pub steps: Vec<String>,
    /// The commands for it.
    pub commands: Vec<String>,
    /// The link that restarts a function whose circuit is open.
    pub restart_link: Option<String>,
}

/// The most rows of numbers a mail has.
const MAX_NUMBERS: usize = 40;

/// The most characters of one value.
const MAX_VALUE: usize = 400;

/// The most lines about causes.
const MAX_CAUSES: usize = 10;

/// Knows why events fail.
#[async_trait]
pub trait WhyItFails: Send + Sync + 'static {
    /// The most frequent causes of the failures that a circuit is about, shortly before `at` or after, a line each. Empty where
    /// that is not known.
    async fn lines(&self, circuit: &str, at: Timestamp) -> Vec<String>;
}

/// Writes the mail about a notice. `causes` say why events fail, a line each.
pub fn compose(notice: &NewNotice, restart_link: Option<String>, mut causes: Vec<String>) -> Mail {
    causes.truncate(MAX_CAUSES);
    let subject = shortened(&notice.subject, 120);
    let function = notice.data.get("function").and_then(Value::as_str).unwrap_or(&notice.subject);
    let told = notice.data.get("told").and_then(Value::as_u64).unwrap_or(1);
    let (mut headline, steps, commands) = match notice.kind.strip_suffix(RESOLVED) {
        Some(kind) => (format!("It is over: {}", what_happened(kind, &subject)), Vec::new(), Vec::new()),
        None => {
            let reason = notice.data.get("reason").and_then(Value::as_str).unwrap_or_default();
            let kind = match notice.kind.as_str() {
                CIRCUIT_PROBE_FAILED if is_only_failing(reason) => ONLY_FAILING_LEFT,
                kind => kind,
            };
            let (steps, commands) = what_to_do(kind, function, restart_link.is_some());
            (what_happened(&notice.kind, &subject), steps, commands)
        }
    };
    if told > 1 && !notice.kind.ends_with(RESOLVED) {
        let _ = write!(headline, " This is told for the {told}. time: it still lasts.");
    }
    let mut numbers = vec![("at".to_owned(), notice.at.to_string())];
    if let Value::Object(fields) = &notice.data {
        numbers.extend(
            fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| number(name, value)),
        );
    }
    numbers.truncate(MAX_NUMBERS);
    Mail {
        subject: format!("[tidegate] {}", subject_line(&notice.kind, &subject)),
        headline,
        numbers,
        causes: causes.iter().map(|cause| shortened(cause, MAX_VALUE)).collect(),
        steps,
        commands,
        restart_link,
    }
}

fn subject_line(kind: &str, subject: &str) -> String {
    if let Some(kind) = kind.strip_suffix(RESOLVED) {
        return format!("over: {}", subject_line(kind, subject));
    }
    match kind {
        CIRCUIT_OPENED => format!("{subject} is stopped: its circuit is open"),
        CIRCUIT_CLOSED => format!("{subject} is working again: its circuit is closed"),
        CIRCUIT_PROBE_FAILED => format!("{subject} is still stopped: a probe failed"),
        "circuit.half-open" => format!("{subject} is being probed"),
        "instance.stepped-aside" => format!("an instance leaves {subject} to the others"),
        "function.paused" | "lane.paused" => format!("{subject} was paused"),
        "function.resumed" | "lane.resumed" => format!("{subject} was resumed"),
        "dead-letters.growing" => format!("{subject}: dead letters are growing"),
        "dead-letters.ageing" => format!("{subject}: a dead letter waits for a decision"),
        "partition.stuck" => format!("{subject} stands still"),
        "input.without-output" => format!("{subject} gets events and resolves none"),
        "parking.filling" => format!("{subject}: the parking place is nearly full"),
        other => format!("{} ({subject})", shortened(other, 80)),
    }
}

fn what_happened(kind: &str, subject: &str) -> String {
    match kind {
        CIRCUIT_OPENED => format!(
            "The circuit of {subject} is open. Events are stored and wait; none is taken, none is lost, and no attempt is \
             used up."
        ),
        CIRCUIT_CLOSED => {
            format!("The circuit of {subject} is closed. Events flow again from the last checkpoint.")
        }
        CIRCUIT_PROBE_FAILED => format!(
            "A probe of {subject} failed, so its circuit is open again. Events are stored and wait; none is lost."
        ),
        "circuit.half-open" => {
            format!("The circuit of {subject} is half-open: one event is let through, to see.")
        }
        "instance.stepped-aside" => format!(
            "An instance fails at {subject} while others do not, and leaves its partitions to them for a while."
        ),
        "function.paused" | "lane.paused" => {
            format!("{subject} was paused. It gets no events until it is resumed.")
        }
        "function.resumed" | "lane.resumed" => format!("{subject} was resumed. Events flow again."),
        "dead-letters.growing" => format!("Events of {subject} are being set aside as dead letters."),
        "dead-letters.ageing" => {
            format!("A dead letter of {subject} has waited a long time for somebody to decide about it.")
        }
        "partition.stuck" => {
            format!("{subject} has events to process and an owner, and makes no progress.")
        }
        "input.without-output" => format!("Events arrive for {subject}, and none of them is resolved."),
        "parking.filling" => format!(
            "The parking place of {subject} is nearly full. When it is full, the partition waits for the failing keys."
        ),
        other => format!("{} at {subject}.", shortened(other, 80)),
    }
}

/// What there is to do when no probe can help any more; a case of a probe that failed, and no kind of notice.
const ONLY_FAILING_LEFT: &str = "circuit.only-failing-left";

/// Steps and commands. The commands name the function only if it needs no quoting in a shell.
fn what_to_do(kind: &str, function: &str, has_link: bool) -> (Vec<String>, Vec<String>) {
    let plain = !function.is_empty()
        && function.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let function = if plain { function } else { "FUNCTION" };
    let (steps, commands): (&[&str], Vec<String>) = match kind {
        CIRCUIT_OPENED | CIRCUIT_PROBE_FAILED => (
            &[
                "Look at the reason and at what the function depends on.",
                if has_link {
                    "When that works again, restart the function with the link or the command below."
                } else {
                    "When that works again, restart the function with the command below."
                },
            ],
            vec![
                format!("tidegate circuit status {function}"),
                format!("tidegate circuit close {function} --reason \"...\""),
            ],
        ),
        ONLY_FAILING_LEFT => (
            &[
                "Every event that waits has failed as a probe. Find out whether these events are at fault, or what they need.",
                "If they are: set them aside. They are dead letters then, which can be edited, redriven or discarded; the \
                 circuit closes by itself with the next event that goes well.",
                if has_link {
                    "If what they need was away and works again: restart the function with the link or the last command."
                } else {
                    "If what they need was away and works again: restart the function with the last command."
                },
            ],
            vec![
                format!("tidegate parked list --function {function}"),
                "tidegate parked set-aside EVENT --reason \"...\"".to_owned(),
                format!("tidegate circuit close {function} --reason \"...\""),
            ],
        ),
        "dead-letters.growing" | "dead-letters.ageing" => (
            &[
                "Look at the causes: many dead letters often have one.",
                "Repair the cause, then redrive them; discard those that nobody needs.",
            ],
            vec![
                format!("tidegate dead-letters list --function {function}"),
                "tidegate dead-letters show ID".to_owned(),
            ],
        ),
        "partition.stuck" | "input.without-output" => (
            &[
                "See which partitions are behind and who owns them.",
                "Look at the server's log for the errors of the function; a function that never returns holds its partition.",
            ],
            vec!["tidegate checkpoints".to_owned(), "tidegate audit".to_owned()],
        ),
        "parking.filling" => (
            &[
                "See which keys fail, and repair the cause.",
                "Set an event aside if its key must go on without it.",
            ],
            vec![format!("tidegate parked list --function {function}")],
        ),
        "instance.stepped-aside" => (
            &["Look at that instance: what does it not reach that the others reach?"],
            vec![format!("tidegate circuit status {function}")],
        ),
        _ => (&[], Vec::new()),
    };
    (steps.iter().map(|step| (*step).to_owned()).collect(), commands)
}

/// A fact of the notice with its unit made readable.
fn number(name: &str, value: &Value) -> (String, String) {
    let in_words = |name: &str| shortened(&name.replace(['_', '-'], " "), 60);
    let of_time = name.strip_suffix("_seconds").or_else(|| name.strip_suffix("_s"));
    if let (Some(name), Some(seconds)) = (of_time, value.as_u64()) {
        return (in_words(name), span(Duration::from_secs(seconds)));
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (in_words(name), shortened(&text, MAX_VALUE))
}

/// A span of time in its two largest units.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units.iter().position(|(amount, _)| *amount > 0).unwrap_or(units.len() - 1);
    units[first..]
        .iter()
        .take(2)
        .enumerate()
        .filter(|(place, (amount, _))| *place == 0 || *amount > 0)
        .map(|(_, (amount, unit))| format!("{amount} {unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `text` on one line, without control characters, and cut to `limit` characters.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let mut kept: String = text
        .chars()
        .map(|character| if matches!(character, '\n' | '\t') { ' ' } else { character })
        .filter(|character| !character.is_control())
        .take(limit + 1)
        .collect();
    if kept.chars().count() > limit {
        kept = kept.chars().take(limit.saturating_sub(1)).collect();
        kept.push('…');
    }
    kept
}

const LINK_NOTE: &str = "The link works once and for a limited time. It opens a page that changes nothing; a button on it restarts the function.";

impl Mail {
    /// The mail as plain text.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.headline);
        for (name, value) in &self.numbers {
            let _ = writeln!(text, "  {name}: {value}");
        }
        if !self.causes.is_empty() {
            text.push_str("\nWhy events fail:\n");
            for cause in &self.causes {
                let _ = writeln!(text, "  - {cause}");
            }
        }
        if !self.steps.is_empty() {
            text.push_str("\nWhat to do:\n");
            for (number, step) in (1..).zip(&self.steps) {
                let _ = writeln!(text, "  {number}. {step}");
            }
        }
        if let Some(link) = &self.restart_link {
            let _ = writeln!(text, "\nRestart:\n  {link}\n{LINK_NOTE}");
        }
        if !self.commands.is_empty() {
            text.push_str("\nCommands:\n");
            for command in &self.commands {
                let _ = writeln!(text, "  {command}");
            }
        }
        text
    }

    /// The mail as HTML.
    pub fn html(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\n\
             <body style=\"font-family:sans-serif;max-width:40em\">\n<p><strong>{}</strong></p>\n{}",
            escaped(&self.subject),
            escaped(&self.headline),
            table(&self.numbers)
        );
        if !self.causes.is_empty() {
            html.push_str("<p>Why events fail:</p>\n<ul>\n");
            for cause in &self.causes {
                let _ = writeln!(html, "<li>{}</li>", escaped(cause));
            }
            html.push_str("</ul>\n");
        }
        if !self.steps.is_empty() {
            html.push_str("<p>What to do:</p>\n<ol>\n");
            for step in &self.steps {
                let _ = writeln!(html, "<li>{}</li>", escaped(step));
            }
            html.push_str("</ol>\n");
        }
        if let Some(link) = &self.restart_link {
            let _ = writeln!(
                html,
                "<p><a href=\"{}\">Look at it and restart</a></p>\n<p>{}</p>",
                escaped(link),
                escaped(LINK_NOTE)
            );
        }
        if !self.commands.is_empty() {
            html.push_str("<p>Commands:</p>\n<pre>");
            for command in &self.commands {
                let _ = writeln!(html, "{}", escaped(command));
            }
            html.push_str("</pre>\n");
        }
        html.push_str("</body></html>\n");
        html
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_model::circuit::ONLY_FAILING;

    use super::*;

    fn notice(kind: &str, subject: &str, data: Value) -> NewNotice {
        NewNotice {
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            at: Timestamp::from_millis(1_633_608_001_250),
            data,
        }
    }

    #[test]
    fn a_mail_says_what_happened_the_numbers_what_to_do_and_how() {
        let notice = notice(
            "circuit.opened",
            "aircraft",
            json!({"reason": "120 final failures", "window_seconds": 30, "limit": 100}),
        );
        let text = compose(&notice, Some("https://tide.example.com/x".to_owned()), Vec::new()).text();
        for part in [
            "The circuit of aircraft is open.",
            "reason: 120 final failures",
            "window: 30 s",
            "limit: 100",
            "https://tide.example.com/x",
            "tidegate circuit status aircraft",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn why_events_fail_is_said_as_text_and_bounded() {
        let notice = notice("circuit.opened", "aircraft", json!({}));
        let hostile = "2 attempts: <script>\n\u{7}503";
        let causes = vec![hostile.to_owned(), "x".repeat(10_000)];
        let mail = compose(&notice, None, causes);
        assert_eq!(mail.causes[0], "2 attempts: <script> 503");
        assert_eq!(mail.causes[1].chars().count(), MAX_VALUE);
        assert!(mail.text().contains("Why events fail:\n  - 2 attempts: <script> 503\n"), "{}", mail.text());
        assert!(mail.html().contains("<li>2 attempts: &lt;script&gt; 503</li>"), "{}", mail.html());
        assert_eq!(compose(&notice, None, vec![String::new(); 100]).causes.len(), MAX_CAUSES);
        assert!(!compose(&notice, None, Vec::new()).text().contains("Why events fail"));
    }

    #[test]
    fn when_only_failing_events_are_left_the_way_out_is_to_set_them_aside() {
        let words = |reason: &str| {
            let data = json!({"reason": format!("the probe failed: {reason}")});
            compose(&notice(CIRCUIT_PROBE_FAILED, "aircraft", data), Some("https://x".to_owned()), Vec::new())
                .text()
        };
        let left = words(&format!("{ONLY_FAILING}; event 7 did 3 times"));
        for part in [
            "whether these events are at fault",
            "tidegate parked list --function aircraft",
            "set-aside EVENT",
        ] {
            assert!(left.contains(part), "{part:?} is not in:\n{left}");
        }
        assert!(!words("503").contains("set-aside"));
    }

    #[test]
    fn every_rule_has_words_of_its_own() {
        use crate::rules::Rule::{
            DeadLettersAgeing, DeadLettersGrowing, InputWithoutOutput, ParkingFilling, PartitionStuck,
        };
        for rule in
            [DeadLettersAgeing, DeadLettersGrowing, InputWithoutOutput, ParkingFilling, PartitionStuck]
        {
            let mail = compose(&notice(rule.notice_kind(), "aircraft", json!({})), None, Vec::new());
            assert!(!mail.headline.contains(rule.notice_kind()), "{rule:?} has no words");
            assert!(!mail.commands.is_empty());
        }
    }

    #[test]
    fn hostile_text_becomes_neither_markup_nor_a_header_nor_a_command() {
        let hostile = "x\r\nBcc: evil@example.com <script>`rm -rf`</script>";
        let mail = compose(&notice("circuit.opened", hostile, json!({"reason": hostile})), None, Vec::new());
        assert!(!mail.subject.contains(['\r', '\n']));
        assert!(!mail.html().contains("<script>"));
        assert!(mail.commands.iter().all(|command| !command.contains("rm -rf")), "{:?}", mail.commands);
    }

    #[test]
    fn what_is_long_is_cut() {
        let data: serde_json::Map<_, _> =
            (0..1000).map(|number| (format!("n{number}"), json!("x".repeat(10_000)))).collect();
        let mail = compose(&notice("other.kind", "aircraft", Value::Object(data)), None, Vec::new());
        assert!(mail.text().len() < 40 * 1024);
    }

    #[test]
    fn spans_are_told_in_two_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (3600, "1 h"), (5400, "1 h 30 min"), (90_061, "1 d 1 h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
