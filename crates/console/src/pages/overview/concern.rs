//! What needs somebody, worst first: the sentences on top of the overview. Pure.

use std::time::Duration;

use tidegate_api::{Alert, FailureCause, FunctionOverview, HubOverview, LaneOverview, Overview, SourceState};
use tidegate_model::circuit::is_only_failing;
use tidegate_model::clock::Timestamp;

use crate::api::{address, encoded};
use crate::components::mark::Tone;
use crate::components::source::{advice, problem};
use crate::text;

/// From how many seconds of lag on a function is said to be behind. Below that a burst would be news.
const BEHIND_SECONDS: f64 = 60.0;

/// For how long a partition with work has to stand still to be called stuck, where the watchdog has said nothing.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// For how long a failure is news.
const FAILS_NOW: Duration = Duration::from_secs(60);

/// From how many parked events on it is said that they gather. A few are how a function with order by key works.
const MANY_PARKED: u64 = 1000;

/// The characters of an error in a sentence.
const SHORT: usize = 160;

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
    /// What there is to do there, as the words of a button.
    pub look: &'static str,
    /// The function it is about.
    pub function: Option<String>,
}

/// Everything, worst first.
pub fn concerns(overview: &Overview) -> Vec<Concern> {
    let mut found: Vec<Concern> = overview.hubs.iter().filter_map(of_hub).collect();
    found.extend(overview.functions.iter().flat_map(|function| of_function(function, overview.now)));
    if !overview.ready {
        found.push(Concern {
            tone: Tone::Watch,
            sentence: "The program is not ready.".to_owned(),
            advice: "It starts, stops, or waits for its disk or its store; the log says for what.".to_owned(),
            address: "/logs?level=warn".to_owned(),
            look: "Read the log",
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
        look: "Look at the alert",
        function: None,
    }
}

fn of_hub(hub: &HubOverview) -> Option<Concern> {
    let state = hub.status.as_ref().map_or(SourceState::Away, |status| status.state);
    let does_not = match state {
        SourceState::Refused => "does not let us in",
        _ => "cannot be reached",
    };
    let problem = hub.status.as_ref().and_then(problem);
    let problem =
        problem.map_or_else(String::new, |problem| format!("{}. ", text::shortened(problem, SHORT)));
    hub.away.then(|| Concern {
        tone: Tone::Act,
        sentence: format!("The hub {} {does_not}", hub.hub),
        advice: format!("{problem}{}", advice(state)),
        address: format!("/hubs/{}", encoded(&hub.hub)),
        look: "Look at the hub",
        function: None,
    })
}

/// What failed last, as the end of a sentence.
fn failed_with(failure: Option<&FailureCause>) -> String {
    failure.map_or_else(String::new, |failure| {
        format!(" It failed last with: {}.", text::shortened(&failure.error, SHORT))
    })
}

/// Why a lane that has work and should be at it makes no progress; nothing when it does.
fn stuck(lane: &LaneOverview, now: Timestamp) -> Option<String> {
    if let Some(watchdog) = &lane.watchdog {
        return Some(text::shortened(watchdog, SHORT));
    }
    let should_move = lane.lag > 0 && matches!(lane.state.as_deref(), Some("running" | "unowned"));
    let since = lane.progressed_at.filter(|at| should_move && now.since(*at) >= STUCK_AFTER)?;
    let word = if lane.owner.is_none() { "no instance owns it" } else { "it has work and an owner" };
    Some(format!("{word}, and it moved last {}", text::relative(since, now)))
}

fn of_function(function: &FunctionOverview, now: Timestamp) -> Vec<Concern> {
    let name = &function.function;
    let mut found = Vec::new();
    let mut add = |tone, sentence: String, advice: String, address: String| {
        // What is said of a function leads to where it can be put right.
        let look = match address.split('/').nth(1).unwrap_or_default() {
            "circuits" => "Look at the circuit",
            place if place.starts_with("dead-letters") => "See which failed, and why",
            "hubs" => "Look at the partition",
            _ => "Look at the function",
        };
        found.push(Concern { tone, sentence, advice, address, look, function: Some(name.clone()) });
    };
    let page = format!("/functions/{}", encoded(name));
    let circuit_page = format!("/circuits/{}", encoded(name));
    let reason = match function.circuit.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", text::shortened(reason, SHORT)),
    };
    match function.circuit.state.as_str() {
        "open" => add(
            Tone::Act,
            format!("The circuit of {name} is open{reason}"),
            format!(
                "Nothing is given to the function and nothing is lost: events wait.{} {}",
                failed_with(function.failure.as_ref()),
                match is_only_failing(&function.circuit.reason) {
                    true =>
                        "Look at the events that failed as probes: set them aside if they are at fault; else mend what the \
                             function depends on, then close the circuit.",
                    false => "Mend what it depends on, then close the circuit.",
                }
            ),
            circuit_page.clone(),
        ),
        "half-open" => add(
            Tone::Watch,
            format!("The circuit of {name} is half open{reason}"),
            format!(
                "One event at a time is let through, to see whether what the function depends on is back.{}",
                failed_with(function.failure.as_ref())
            ),
            circuit_page.clone(),
        ),
        // What it depends on may have a circuit of its own.
        _ => {
            let gated = function.lanes.iter().find(|lane| lane.state.as_deref() == Some("gated"));
            if let Some(lane) = gated.filter(|_| function.paused.is_empty()) {
                add(
                    Tone::Act,
                    format!(
                        "{name} is given no events: {}",
                        text::shortened(lane.detail.as_deref().unwrap_or("its gate is shut"), SHORT)
                    ),
                    format!("Nothing is lost: events wait.{}", failed_with(function.failure.as_ref())),
                    "/circuits".to_owned(),
                );
            }
        }
    }
    let failing = function.failure.as_ref().filter(|failure| {
        let is_news = now.since(failure.last_at) < FAILS_NOW;
        // What was rejected is a dead letter, and is said below.
        is_news && function.circuit.state == "closed" && failure.kind.as_deref() != Some("rejected")
    });
    if let Some(failure) = failing {
        add(
            Tone::Watch,
            format!("Events fail in {name}: {}", text::shortened(&failure.error, SHORT)),
            "They are tried again. When too many fail the circuit opens, and all wait.".to_owned(),
            circuit_page,
        );
    }
    let stuck: Vec<(&LaneOverview, String)> = (function.lanes.iter())
        .filter(|_| function.paused.is_empty())
        .filter_map(|lane| stuck(lane, now).map(|why| (lane, why)))
        .collect();
    if let Some((lane, why)) = stuck.first() {
        let more = match stuck.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        add(
            Tone::Act,
            format!("{name} makes no progress on partition {}{more}: {why}", lane.partition),
            "The partition's page says what it does; the log says more.".to_owned(),
            format!("/hubs/{}/partitions/{}", encoded(&function.hub), lane.partition),
        );
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
    if function.parked >= MANY_PARKED {
        add(
            Tone::Watch,
            format!("{} wait parked in {name}", text::counted(function.parked, "event", "events")),
            "Each waits behind an earlier event of its key that failed, and has its turn when that one is resolved."
                .to_owned(),
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
            look: "Look at the function",
            function: Some(name.clone()),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An overview of functions that differ in this from one that goes well.
    fn overview(differences: &[serde_json::Value], hubs: serde_json::Value) -> Overview {
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
            "version": "1", "started_at": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:00:00Z", "ready": true, "hubs": hubs,
            "functions": functions, "collections": [], "alerts": [],
        });
        serde_json::from_value(overview).unwrap()
    }

    /// What is said about them.
    fn said(differences: &[serde_json::Value]) -> Vec<(Tone, String)> {
        let found = concerns(&overview(differences, json!([])));
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
    fn why_events_fail_is_said_before_and_while_the_circuit_is_open() {
        let failure = |kind: &str, second: u32| {
            json!({ "function": "f", "kind": kind, "error": "503 from the weather", "attempts": 12, "first_at": "2026-01-01T00:00:00Z",
                "last_at": format!("2025-12-31T23:{second:02}:30Z"), "hub": "h", "partition": 1, "sequence_number": 7,
                "key": null, "fate": "parked" })
        };
        let fails = said(&[json!({ "failure": failure("transient", 59) })]);
        assert_eq!(fails, [(Tone::Watch, "Events fail in f: 503 from the weather".to_owned())]);
        assert_eq!(said(&[json!({ "failure": failure("transient", 50) })]), [], "that is over");
        assert_eq!(said(&[json!({ "failure": failure("rejected", 59) })]), [], "that is a dead letter");
        let overview = overview(
            &[json!({ "failure": failure("transient", 59), "circuit": { "state": "open" } })],
            json!([]),
        );
        let open = &concerns(&overview)[0];
        assert!(open.advice.contains("It failed last with: 503 from the weather."), "{open:?}");
    }

    #[test]
    fn what_stands_still_is_said_without_any_rule() {
        let lane = |difference: serde_json::Value| {
            let mut lane = json!({ "partition": 3, "state": "running", "detail": null, "position": 5, "tail": 9, "lag": 4,
                "parked": 0, "held": 0, "owner": "a", "epoch": 1, "progressed_at": "2025-12-31T23:55:00Z", "watchdog": null });
            lane.as_object_mut().unwrap().extend(difference.as_object().unwrap().clone());
            said(&[json!({ "lanes": [lane] })])
        };
        let stuck =
            "f makes no progress on partition 3: it has work and an owner, and it moved last 5 min ago";
        assert_eq!(lane(json!({})), [(Tone::Act, stuck.to_owned())]);
        assert_eq!(lane(json!({ "lag": 0 })), []);
        assert_eq!(lane(json!({ "progressed_at": "2025-12-31T23:59:30Z" })), []);
        let watchdog = lane(json!({ "watchdog": "its pump was started anew", "lag": 0 }));
        assert_eq!(watchdog[0].1, "f makes no progress on partition 3: its pump was started anew");
        let gated = lane(json!({ "state": "gated", "detail": "the circuit of weather is open" }));
        assert_eq!(gated, [(Tone::Act, "f is given no events: the circuit of weather is open".to_owned())]);
        assert_eq!(said(&[json!({ "parked": 999 })]), []);
        assert_eq!(
            said(&[json!({ "parked": 1000 })]),
            [(Tone::Watch, "1 000 events wait parked in f".to_owned())]
        );
    }

    #[test]
    fn a_hub_that_cannot_be_read_is_said_with_the_reason() {
        let said = |status: serde_json::Value| {
            let hub = json!([{ "hub": "yard", "source": true, "away": true, "partitions": 0, "published": 0,
                "incoming_per_s": null, "bytes_per_s": null, "status": status }]);
            let found = concerns(&overview(&[], hub)).remove(0);
            assert_eq!((found.tone, found.address.as_str()), (Tone::Act, "/hubs/yard"));
            (found.sentence, found.advice)
        };
        let problem = "[source.yard] cannot be read: no answer";
        let status = |state: &str| json!({ "state": state, "since": null, "problem": problem });
        let (away, refused, bare) = (said(status("away")), said(status("refused")), said(json!(null)));
        assert_eq!(away.0, "The hub yard cannot be reached");
        assert!(away.1.starts_with("no answer. It is tried again"), "{}", away.1);
        assert_eq!(refused.0, "The hub yard does not let us in");
        assert!(refused.1.starts_with("no answer. Somebody has to do something"), "{}", refused.1);
        assert!(bare.0 == away.0 && bare.1.starts_with("It is tried again"), "{bare:?}");
    }

    #[test]
    fn when_all_that_waits_failed_as_a_probe_these_events_are_to_be_looked_at() {
        let advice = |reason: &str| {
            let circuit = json!({ "circuit": { "state": "open", "reason": reason } });
            concerns(&overview(&[circuit], json!([]))).remove(0).advice
        };
        assert!(advice(tidegate_model::circuit::ONLY_FAILING).contains("set them aside"));
        assert!(!advice("503").contains("set them aside"));
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
