//! What needs somebody, worst first: the sentences on top of the overview. Pure.

use tidegate_api::{Alert, FunctionOverview, Overview};

use crate::api::{address, encoded};
use crate::components::mark::Tone;
use crate::text;

/// From how many seconds of lag on a function is said to be behind. Below that a burst would be news.
const BEHIND_SECONDS: f64 = 60.0;

/// Something that needs somebody, or that they should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// How much.
    pub tone: Tone,
    /// What it is.
    pub sentence: String,
    /// What it means, and what to do.
    pub advice: String,
    /// Where to look.
    pub address: String,
    /// The function it is about.
    pub function: Option<String>,
}

/// Everything, worst first.
pub fn concerns(overview: &Overview) -> Vec<Concern> {
    let mut found: Vec<Concern> = overview.functions.iter().flat_map(of_function).collect();
    if !overview.ready {
        found.push(Concern {
            tone: Tone::Watch,
            sentence: "The program is not ready.".to_owned(),
            advice: "It starts, stops, or waits for its disk or its store; the log says for what.".to_owned(),
            address: "/logs?level=warn".to_owned(),
            function: None,
        });
    }
    for alert in &overview.alerts {
        // What is said about its function already is not said again.
        if !found.iter().any(|concern| concern.function.as_deref() == Some(&alert.subject)) {
            found.push(of_alert(alert));
        }
    }
    found.sort_by_key(|concern| std::cmp::Reverse(concern.tone));
    found
}

/// How much an alert needs somebody.
pub(super) fn tone_of(alert: &Alert) -> Tone {
    match alert.severity.as_str() {
        "critical" => Tone::Act,
        _ => Tone::Watch,
    }
}

fn of_alert(alert: &Alert) -> Concern {
    Concern {
        tone: tone_of(alert),
        sentence: alert.what.clone(),
        advice: String::new(),
        address: address("/alerts", &[("subject", Some(&alert.subject))]),
        function: None,
    }
}

fn of_function(function: &FunctionOverview) -> Vec<Concern> {
    let name = &function.function;
    let mut found = Vec::new();
    let mut add = |tone, sentence: String, advice: String, address: String| {
        found.push(Concern { tone, sentence, advice, address, function: Some(name.clone()) });
    };
    let page = format!("/functions/{}", encoded(name));
    let circuit_page = format!("/circuits/{}", encoded(name));
    let reason = match function.circuit.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", text::shortened(reason, 160)),
    };
    match function.circuit.state.as_str() {
        "open" => add(
            Tone::Act,
            format!("The circuit of {name} is open{reason}"),
            "Nothing is given to the function and nothing is lost: events wait. Mend what it depends on, then close the circuit."
                .to_owned(),
            circuit_page,
        ),
        "half-open" => add(
            Tone::Watch,
            format!("The circuit of {name} is half open{reason}"),
            "One event at a time is let through, to see whether what the function depends on is back.".to_owned(),
            circuit_page,
        ),
        _ => {}
    }
    let stopped: Vec<_> =
        function.lanes.iter().filter(|lane| lane.state.as_deref() == Some("stopped")).collect();
    if let Some(lane) = stopped.first() {
        let more = if stopped.len() > 1 {
            format!(" and {} more partitions", stopped.len() - 1)
        } else {
            String::new()
        };
        add(
            Tone::Act,
            format!("{name} is stopped on partition {}{more}", lane.partition),
            text::shortened(lane.detail.as_deref().unwrap_or("The log of the program says why."), 300),
            format!("/hubs/{}/partitions/{}", encoded(&function.hub), lane.partition),
        );
    }
    if let Some(lane) = function.lanes.iter().find(|lane| lane.state.as_deref() == Some("waiting")) {
        add(
            Tone::Watch,
            format!(
                "{name} waits on partition {}: {}",
                lane.partition,
                text::shortened(lane.detail.as_deref().unwrap_or_default(), 160)
            ),
            "It goes on by itself when that is over.".to_owned(),
            format!("/hubs/{}/partitions/{}", encoded(&function.hub), lane.partition),
        );
    }
    if function.dead_letters > 0 {
        let (count, waits) = match function.dead_letters {
            1 => ("1 event".to_owned(), "waits"),
            many => (text::counted(many, "event", "events"), "wait"),
        };
        add(
            Tone::Watch,
            format!("{count} failed in {name} and {waits} for a decision"),
            "Each is kept whole as a dead letter. Look at the causes, then mend and redrive them, or discard them with a reason."
                .to_owned(),
            address("/dead-letters", &[("function", Some(name))]),
        );
    }
    if function.held > 0 {
        add(
            Tone::Watch,
            format!(
                "{name} holds {} until somebody decides",
                text::counted(function.held, "parked event", "parked events")
            ),
            "Later events of their keys wait behind them.".to_owned(),
            page.clone(),
        );
    }
    if !function.paused.is_empty() {
        add(
            Tone::Busy,
            format!("{name} is paused"),
            "Somebody paused it; it goes on when it is resumed.".to_owned(),
            page.clone(),
        );
    }
    let behind = function.lag_s.filter(|seconds| *seconds >= BEHIND_SECONDS && function.lag_events > 0);
    let explained =
        found.iter().any(|concern| concern.tone == Tone::Act || concern.sentence.ends_with("is paused"));
    if let Some(seconds) = behind.filter(|_| !explained) {
        let idle = function.processed_per_s.is_some_and(|rate| rate <= 0.0);
        let (tone, sentence, advice) = if idle {
            (
                Tone::Act,
                format!("{name} has stopped processing"),
                "Events come in or wait, and none is resolved. Its partitions say what they do.",
            )
        } else {
            (
                Tone::Watch,
                format!("{name} is {} behind", text::seconds(seconds)),
                "It works off what has gathered.",
            )
        };
        found.push(Concern {
            tone,
            sentence,
            advice: advice.to_owned(),
            address: page,
            function: Some(name.clone()),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is said about functions that differ in this from one that goes well.
    fn said(differences: &[serde_json::Value]) -> Vec<(Tone, String)> {
        let functions: Vec<serde_json::Value> = differences
            .iter()
            .map(|difference| {
                let mut function = json!({
                    "function": "f", "hub": "h", "collection": "c", "kind": "upsert", "order": "key", "paused": [], "lag_events": 9,
                    "lag_s": 3.0, "workable": 9, "parked": 0, "held": 0, "dead_letters": 0, "oldest_unresolved_at": null,
                    "incoming_per_s": 5.0, "processed_per_s": 5.0, "dead_lettered_per_s": 0.0, "failed_per_s": 0.0,
                    "latency_ms": null, "lanes": [],
                    "circuit": { "state": "closed", "since": null, "reason": "", "failures_in_window": 0, "threshold": 100,
                        "window_s": 30 },
                });
                for (name, value) in difference.as_object().unwrap() {
                    match (&mut function[name], value) {
                        (serde_json::Value::Object(known), serde_json::Value::Object(other)) => {
                            known.extend(other.clone());
                        }
                        (known, other) => *known = other.clone(),
                    }
                }
                function
            })
            .collect();
        let overview = json!({
            "version": "1", "started_at": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:00:00Z", "ready": true, "hubs": [],
            "functions": functions, "collections": [], "alerts": [],
        });
        let found = concerns(&serde_json::from_value(overview).unwrap());
        found.into_iter().map(|concern| (concern.tone, concern.sentence.replace(text::THIN, " "))).collect()
    }

    #[test]
    fn what_goes_well_is_not_said() {
        assert!(said(&[json!({})]).is_empty());
    }

    #[test]
    fn the_worst_is_first_and_explains_the_rest() {
        let found = said(&[
            json!({ "dead_letters": 1, "parked": 3, "held": 2 }),
            json!({ "function": "g", "circuit": { "state": "open", "reason": "503" }, "lag_s": 900.0, "processed_per_s": 0.0 }),
        ]);
        assert_eq!(
            found,
            [
                (Tone::Act, "The circuit of g is open: 503".to_owned()),
                (Tone::Watch, "1 event failed in f and waits for a decision".to_owned()),
                (Tone::Watch, "f holds 2 parked events until somebody decides".to_owned()),
            ]
        );
    }

    #[test]
    fn being_behind_is_told_apart_from_standing_still() {
        let behind = |rate: f64| said(&[json!({ "lag_s": 120.0, "processed_per_s": rate })]);
        assert_eq!(behind(5.0), [(Tone::Watch, "f is 2 min behind".to_owned())]);
        assert_eq!(behind(0.0), [(Tone::Act, "f has stopped processing".to_owned())]);
        let pause = json!([{ "paused": "f", "since": "2026-01-01T00:00:00Z", "reason": "r", "by": "ada" }]);
        let paused = said(&[json!({ "lag_s": 120.0, "processed_per_s": 0.0, "paused": pause })]);
        assert_eq!(paused, [(Tone::Busy, "f is paused".to_owned())]);
    }
}
