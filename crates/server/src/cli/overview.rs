//! How everything stands, as `status` and `top` know it: `GET /api/v1/overview`, and what of it needs a person.

use tidegate_api::{FunctionCircuit, FunctionOverview, HubOverview, Overview};

use crate::cli::output::grouped;

/// Where it is asked for.
pub(crate) const PATH: &str = "/api/v1/overview";

/// True when events flow.
pub(crate) fn is_closed(circuit: &FunctionCircuit) -> bool {
    circuit.state == "closed"
}

/// True when a person has stopped a function in all its partitions.
pub(crate) fn is_paused(function: &FunctionOverview) -> bool {
    function.paused.iter().any(|pause| pause.paused == function.function)
}

/// True when a person has stopped a function in this partition, if only there.
pub(crate) fn is_paused_in(function: &FunctionOverview, partition: u32) -> bool {
    let lane = lane_name(function, partition);
    function.paused.iter().any(|pause| pause.paused == lane)
}

fn lane_name(function: &FunctionOverview, partition: u32) -> String {
    format!("{}/{}/{partition}", function.function, function.hub)
}

/// Something that goes on only when a person does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// What, as a sentence.
    pub(crate) what: String,
    /// The command to type, without the program's name and target.
    pub(crate) command: String,
}

/// What needs a person, the worst first; nothing when all is well. `served` says whether a server runs: without one events
/// that wait are processed by nobody.
pub(crate) fn needs(overview: &Overview, served: bool) -> Vec<Need> {
    let mut needs = Vec::new();
    for function in &overview.functions {
        stopped(function, &mut needs);
    }
    needs.extend(overview.hubs.iter().filter(|hub| hub.away).map(away));
    if served && !overview.ready && !overview.functions.is_empty() && needs.is_empty() {
        needs.push(Need::new("the server is not ready: it does not process all it should", "checkpoints"));
    }
    for function in &overview.functions {
        waiting(function, &mut needs);
    }
    for alert in &overview.alerts {
        // An open circuit was told above, with what helps.
        if alert.kind != "circuit" || !needs.iter().any(|need| need.command.starts_with("circuit ")) {
            needs.push(Need::new(format!("{} of {}: {}", alert.kind, alert.subject, alert.what), "alerts"));
        }
    }
    let waiting: u64 = overview.functions.iter().map(|function| function.lag_events).sum();
    if !served && waiting > 0 {
        let what = format!(
            "{}, and no server runs that processes them",
            counted(waiting, "event waits", "events wait")
        );
        needs.push(Need::new(what, "run"));
    }
    needs
}

/// What of a function stands still.
fn stopped(function: &FunctionOverview, needs: &mut Vec<Need>) {
    let name = &function.function;
    for lane in &function.lanes {
        let place = lane_name(function, lane.partition);
        let why = lane.detail.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        if lane.state.as_deref() == Some("stopped") {
            needs.push(Need::new(format!("{place} is stopped for good{why}"), "checkpoints"));
        } else if let Some(what) = &lane.watchdog {
            needs.push(Need::new(format!("{place} does not move: {what}"), "checkpoints"));
        }
    }
    let circuit = &function.circuit;
    if !is_closed(circuit) {
        let since = circuit.since.map_or_else(String::new, |since| format!(" since {since}"));
        let reason = if circuit.reason.is_empty() { String::new() } else { format!(": {}", circuit.reason) };
        needs.push(Need::new(
            format!("the circuit of {name} is {}{since}{reason}", circuit.state),
            format!("circuit probe {name} --reason TEXT"),
        ));
    }
    for pause in &function.paused {
        let reason = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
        let command = match pause.paused.split('/').collect::<Vec<_>>().as_slice() {
            [function, hub, partition] => format!("resume {function} --hub {hub} --partition {partition}"),
            _ => format!("resume {name}"),
        };
        let what = format!("{} is paused since {} by {}{reason}", pause.paused, pause.since, pause.by);
        needs.push(Need::new(what, command));
    }
}

/// A hub of somebody else that cannot be read.
fn away(hub: &HubOverview) -> Need {
    let Some(status) = &hub.status else {
        return Need::new(format!("the source {} is away", hub.hub), "hubs list");
    };
    let since = status.since.map_or_else(String::new, |since| format!(" since {since}"));
    let problem = status.problem.as_deref().map_or_else(String::new, |problem| format!(": {problem}"));
    Need::new(format!("the source {} is {}{since}{problem}", hub.hub, status.state.as_str()), "hubs list")
}

/// What of a function waits for a decision.
fn waiting(function: &FunctionOverview, needs: &mut Vec<Need>) {
    let name = &function.function;
    if function.dead_letters > 0 {
        let what = counted(function.dead_letters, "dead letter waits", "dead letters wait");
        needs.push(Need::new(
            format!("{what} for a decision about {name}"),
            format!("dead-letters groups --function {name}"),
        ));
    }
    // While the circuit is open they wait for it, and nobody need look at them.
    if function.held > 0 && is_closed(&function.circuit) {
        let what = counted(function.held, "parked event of", "parked events of");
        let command = format!("parked list --function {name}");
        needs.push(Need::new(format!("{what} {name} held for a person"), command));
    }
}

impl Need {
    fn new(what: impl Into<String>, command: impl Into<String>) -> Self {
        Self { what: what.into(), command: command.into() }
    }
}

/// So many of something.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An overview of a function that is well.
    pub(crate) fn well() -> Value {
        serde_json::from_str(
            r#"{
            "version": "0.1.0", "started_at": "2026-11-22T10:00:00Z", "now": "2026-11-22T12:00:00Z", "ready": true,
            "hubs": [{ "hub": "flights", "source": false, "partitions": 2, "published": 60320, "incoming_per_s": 1204.0,
                "bytes_per_s": 90000.0 }],
            "functions": [{
                "function": "aircraft", "hub": "flights", "collection": "aircraft", "kind": "upsert", "order": "key",
                "circuit": { "state": "closed", "since": null, "reason": "", "failures_in_window": 3, "threshold": 100,
                    "window_s": 30 },
                "paused": [], "lag_events": 6, "lag_s": 0.1, "workable": 6, "parked": 0, "held": 0, "dead_letters": 0,
                "oldest_unresolved_at": "2026-11-22T11:59:59.9Z", "incoming_per_s": 1204.0, "processed_per_s": 1198.0,
                "dead_lettered_per_s": 0.0, "failed_per_s": 0.0,
                "latency_ms": { "p50": 1.2, "p99": 8.0, "p999": 20.5 },
                "lanes": [
                    { "partition": 0, "state": "running", "detail": null, "position": 30160, "tail": 30166, "lag": 6,
                      "parked": 0, "held": 0, "owner": "host-1", "epoch": 4,
                      "progressed_at": "2026-11-22T11:59:59Z", "watchdog": null },
                    { "partition": 1, "state": "running", "detail": null, "position": 30160, "tail": 30160, "lag": 0,
                      "parked": 0, "held": 0, "owner": "host-1", "epoch": 4, "progressed_at": null, "watchdog": null }
                ]
            }],
            "collections": [{ "collection": "aircraft", "documents": 63 }], "alerts": []
            }"#,
        )
        .expect("it is JSON")
    }

    pub(crate) fn overview(json: Value) -> Overview {
        serde_json::from_value(json).expect("an overview")
    }

    #[test]
    fn a_function_that_is_well_needs_nobody() {
        assert_eq!(needs(&overview(well()), true), []);
        let without_server = needs(&overview(well()), false);
        assert_eq!(without_server[0].what, "6 events wait, and no server runs that processes them");
        assert_eq!(without_server[0].command, "run");
    }

    #[test]
    fn whatever_stands_still_is_told_with_the_command_that_helps() {
        for (place, value, what, command) in [
            (
                "/functions/0/circuit",
                json!({ "state": "open", "since": "2026-11-22T11:00:00Z", "reason": "503", "failures_in_window": 101,
                    "threshold": 100, "window_s": 30 }),
                "the circuit of aircraft is open since 2026-11-22T11:00:00.000Z: 503",
                "circuit probe aircraft --reason TEXT",
            ),
            (
                "/functions/0/dead_letters",
                json!(1),
                "1 dead letter waits for a decision about aircraft",
                "dead-letters groups",
            ),
            ("/functions/0/held", json!(2000), "2,000 parked events of aircraft held", "parked list"),
            (
                "/functions/0/paused",
                json!([{ "paused": "aircraft", "since": "2026-11-22T11:00:00Z", "reason": "later", "by": "ann" }]),
                "aircraft is paused since 2026-11-22T11:00:00.000Z by ann: later",
                "resume aircraft",
            ),
            (
                "/functions/0/paused",
                json!([{ "paused": "aircraft/flights/1", "since": "2026-11-22T11:00:00Z", "reason": "", "by": "ann" }]),
                "aircraft/flights/1 is paused",
                "resume aircraft --hub flights --partition 1",
            ),
            (
                "/functions/0/lanes/1",
                json!({ "partition": 1, "state": "stopped", "detail": "a gap", "lag": 0, "parked": 0, "held": 0 }),
                "aircraft/flights/1 is stopped for good: a gap",
                "checkpoints",
            ),
            (
                "/functions/0/lanes/0/watchdog",
                json!("no progress for 60 s"),
                "aircraft/flights/0 does not move: no progress for 60 s",
                "checkpoints",
            ),
            ("/ready", json!(false), "the server is not ready", "checkpoints"),
            (
                "/hubs/0",
                json!({ "hub": "theirs", "source": true, "away": true, "partitions": 0, "published": 0,
                    "status": { "state": "away", "since": "2026-11-22T11:00:00Z", "problem": "no answer" } }),
                "the source theirs is away since 2026-11-22T11:00:00.000Z: no answer",
                "hubs list",
            ),
            (
                "/alerts",
                json!([{ "id": "1", "kind": "lag", "subject": "aircraft", "since": "2026-11-22T11:00:00Z",
                    "what": "9,000 events", "severity": "warning", "open": true, "steps": [] }]),
                "lag of aircraft: 9,000 events",
                "alerts",
            ),
        ] {
            let mut changed = well();
            *changed.pointer_mut(place).expect("a place") = value;
            let needs = needs(&overview(changed), true);
            assert_eq!(needs.len(), 1, "{place}: {needs:?}");
            assert!(needs[0].what.starts_with(what), "{place}: {needs:?}");
            assert!(needs[0].command.starts_with(command), "{place}: {needs:?}");
        }
    }

    #[test]
    fn what_is_held_for_the_circuit_is_not_told_twice() {
        let mut changed = well();
        changed["functions"][0]["held"] = json!(10);
        changed["functions"][0]["circuit"]["state"] = json!("half-open");
        changed["ready"] = json!(false);
        let needs = needs(&overview(changed), true);
        assert_eq!(needs.len(), 1, "{needs:?}");
    }
}
