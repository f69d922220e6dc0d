//! The next state of a circuit, and what is told about it (pure).

use serde_json::{Value, json};
use tidegate_model::attempt::bounded_error;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{Circuit, CircuitState, Probe};
use tidegate_model::clock::Timestamp;
use tidegate_model::notice::NewNotice;

use super::decide::{Finding, seconds};
use super::settings::{CircuitSettings, ProbePolicy};

/// Who acts when no person does.
pub const TIDEGATE: &str = "tidegate";

/// A circuit that opens by itself.
pub fn opened(settings: &CircuitSettings, finding: &Finding, now: Timestamp) -> Circuit {
    Circuit {
        state: CircuitState::Open,
        since: now,
        reason: finding.reason.clone(),
        by: TIDEGATE.to_owned(),
        opened_at: Some(now),
        manual: settings.probe == ProbePolicy::Manual,
        probe: None,
        failed_probes: 0,
    }
}

/// A circuit that waits for a probe.
pub fn half_open(from: &Circuit, by: &str, reason: String, now: Timestamp) -> Circuit {
    Circuit {
        state: CircuitState::HalfOpen,
        since: now,
        reason: bounded_error(reason),
        by: by.to_owned(),
        probe: None,
        ..from.clone()
    }
}

/// A circuit whose probe somebody has, or nobody.
pub fn with_probe(from: &Circuit, probe: Option<Probe>) -> Circuit {
    Circuit { probe, ..from.clone() }
}

/// A circuit whose probe failed.
pub fn probe_failed(from: &Circuit, error: &str, now: Timestamp) -> Circuit {
    Circuit {
        state: CircuitState::Open,
        since: now,
        reason: bounded_error(format!("the probe failed: {error}")),
        by: TIDEGATE.to_owned(),
        probe: None,
        failed_probes: from.failed_probes.saturating_add(1),
        ..from.clone()
    }
}

/// A circuit that closes.
pub fn closed(from: &Circuit, by: &str, reason: String, now: Timestamp) -> Circuit {
    Circuit {
        reason: bounded_error(reason),
        by: by.to_owned(),
        opened_at: from.opened_at,
        ..Circuit::closed(now)
    }
}

/// A circuit that a person opens, or whose opening they make their own. It stays open until a person closes or probes it.
pub fn opened_by_hand(from: &Circuit, by: &str, reason: String, now: Timestamp) -> Circuit {
    let began = if from.state == CircuitState::Closed { None } else { from.opened_at };
    Circuit {
        state: CircuitState::Open,
        since: if from.state == CircuitState::Open { from.since } else { now },
        reason: bounded_error(reason),
        by: by.to_owned(),
        opened_at: Some(began.unwrap_or(now)),
        manual: true,
        probe: None,
        failed_probes: from.failed_probes,
    }
}

/// The notice of a change of state: `circuit.opened`, `circuit.half-open`, `circuit.probe-failed` when it opens again after
/// that, or `circuit.closed`.
///
/// Its data is the circuit without its probe, with `outage_s` (how long it was not closed) when it closes, and what was
/// found and the settings it was found with where they are known.
pub fn notice(
    name: &FunctionName,
    circuit: &Circuit,
    settings: Option<&CircuitSettings>,
    finding: Option<&Finding>,
) -> NewNotice {
    let kind = match circuit.state {
        CircuitState::Open if circuit.failed_probes > 0 => "circuit.probe-failed",
        CircuitState::Open => "circuit.opened",
        CircuitState::HalfOpen => "circuit.half-open",
        CircuitState::Closed => "circuit.closed",
    };
    let mut data = json!({
        "circuit": name,
        "state": circuit.state,
        "since": circuit.since,
        "reason": circuit.reason,
        "by": circuit.by,
        "opened_at": circuit.opened_at,
        "manual": circuit.manual,
        "failed_probes": circuit.failed_probes,
    });
    if circuit.state == CircuitState::Closed
        && let Some(opened_at) = circuit.opened_at
    {
        data["outage_s"] = json!(circuit.since.since(opened_at).as_secs());
    }
    if let Some(settings) = settings {
        data["threshold"] = json!(settings.threshold);
        data["window_s"] = json!(settings.window.as_secs());
        data["failure_ratio"] = json!(settings.failure_ratio);
        data["next_probe_at"] = json!(next_probe_at(circuit, settings));
    }
    if let Some(finding) = finding {
        let counts = finding.counts;
        data["rule"] = json!(finding.rule.as_str());
        data["failures"] = json!(counts.failed);
        data["failing"] = json!(counts.failing);
        data["succeeded"] = json!(counts.succeeded);
        data["failed_lanes"] = json!(counts.failed_lanes);
    }
    NewNotice { kind: kind.to_owned(), subject: name.to_string(), at: circuit.since, data }
}

/// The notice `instance.stepped-aside`.
pub(super) fn stepped_aside(
    name: &FunctionName,
    instance: &str,
    finding: &Finding,
    settings: &CircuitSettings,
    now: Timestamp,
) -> NewNotice {
    let data: Value = json!({
        "circuit": name,
        "instance": instance,
        "reason": finding.reason,
        "since": now,
        "until": now.plus(settings.step_aside),
        "failures": finding.counts.failed,
        "failing": finding.counts.failing,
        "succeeded": finding.counts.succeeded,
        "threshold": settings.threshold,
        "window_s": settings.window.as_secs(),
    });
    NewNotice { kind: "instance.stepped-aside".to_owned(), subject: name.to_string(), at: now, data }
}

/// When the circuit is to be probed by itself; `None` when it is not open or waits for a person.
pub fn next_probe_at(circuit: &Circuit, settings: &CircuitSettings) -> Option<Timestamp> {
    if circuit.state != CircuitState::Open || circuit.manual {
        return None;
    }
    Some(circuit.since.plus(settings.probe.delay(circuit.failed_probes)?))
}

/// Why events stop, for a person.
pub(super) fn why_stopped(circuit: &Circuit, settings: &CircuitSettings) -> String {
    let next = match next_probe_at(circuit, settings) {
        Some(at) => format!("the next probe is at {at}"),
        None => "it waits for a person to close or probe it".to_owned(),
    };
    let Circuit { since, by, reason, .. } = circuit;
    format!("the circuit is open since {since}, opened by {by}: {reason}; {next}")
}

/// The reason of a circuit that becomes half-open by itself.
pub(super) fn probe_is_due(circuit: &Circuit, settings: &CircuitSettings) -> String {
    let delay = settings.probe.delay(circuit.failed_probes).unwrap_or_default();
    format!("{} have passed since it opened: one event is let through to see", seconds(delay))
}
