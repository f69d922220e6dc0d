//! What can be seen of circuits, with or without a running processor.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, CircuitState, PAUSE, Pause, Probe};
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::{Store, StoreError};
use tidegate_model::register::RegisterKey;

use super::acts::parse_circuit;
use super::decide::total;
use super::settings::CircuitSettings;
use super::transition::next_probe_at;
use super::window::read_window;

/// A circuit and what it is judged by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CircuitStatus {
    /// The function, or the dependency.
    pub function: FunctionName,
    /// Its state.
    pub state: CircuitState,
    /// Since when; `None` when nothing ever happened to it.
    pub since: Option<Timestamp>,
    /// Why, for a person.
    pub reason: String,
    /// Who brought it there.
    pub by: String,
    /// When the outage began that it is open for, or was last.
    pub opened_at: Option<Timestamp>,
    /// Whether it waits for a person.
    pub manual: bool,
    /// When it is probed next by itself.
    pub next_probe_at: Option<Timestamp>,
    /// The probe under way.
    pub probe: Option<Probe>,
    /// How many probes failed since it opened.
    pub failed_probes: u32,
    /// Events in the window whose attempts were used up, without those of keys that go on failing while others succeed.
    pub failures_in_window: u64,
    /// Events in the window that failed for the first time.
    pub failing_in_window: u64,
    /// Events in the window that were applied or filtered.
    pub succeeded_in_window: u64,
    /// More failures than this open it.
    pub threshold: u64,
    /// The window, in seconds.
    pub window_s: u64,
    /// The pause of the function.
    pub paused: Option<Pause>,
    /// The pauses of its lanes, by lane.
    pub paused_lanes: BTreeMap<String, Pause>,
}

/// How these circuits stand.
///
/// # Errors
/// What the store says; [`StoreError::Damaged`] when a register cannot be read.
pub async fn status(
    store: &dyn Store,
    circuits: &[(FunctionName, CircuitSettings)],
    now: Timestamp,
) -> Result<Vec<CircuitStatus>, StoreError> {
    let registers = store.registers(CIRCUIT).await?;
    let mut pauses = BTreeMap::new();
    for register in store.registers(PAUSE).await? {
        let (name, pause) = parse_pause(register);
        pauses.insert(name, pause);
    }
    let mut all = Vec::with_capacity(circuits.len());
    for (name, settings) in circuits {
        let register = registers.iter().find(|register| register.name == name.as_str());
        let (_, circuit) = parse_circuit(&RegisterKey::new(CIRCUIT, name.as_str()), register)?;
        let counts = total(&read_window(store, name, settings.window, &circuit, now).await?);
        all.push(CircuitStatus {
            function: name.clone(),
            state: circuit.state,
            since: register.map(|_| circuit.since),
            next_probe_at: next_probe_at(&circuit, settings),
            reason: circuit.reason,
            by: circuit.by,
            opened_at: circuit.opened_at,
            manual: circuit.manual,
            probe: circuit.probe,
            failed_probes: circuit.failed_probes,
            failures_in_window: counts.failed,
            failing_in_window: counts.failing,
            succeeded_in_window: counts.succeeded,
            threshold: settings.threshold,
            window_s: settings.window.as_secs(),
            paused: pauses.get(name.as_str()).cloned(),
            paused_lanes: lanes_of(name, &pauses),
        });
    }
    Ok(all)
}

/// The pause in a register. One that cannot be read is a pause all the same: somebody stopped something.
pub(super) fn parse_pause(register: tidegate_model::register::Register) -> (String, Pause) {
    let changed_at = register.changed_at;
    let pause = serde_json::from_value(register.value).unwrap_or_else(|error| Pause {
        since: changed_at,
        reason: format!("the stored pause cannot be read: {error}; resume it by hand"),
        by: super::transition::TIDEGATE.to_owned(),
    });
    (register.name, pause)
}

/// The pauses of a function's lanes.
pub(super) fn lanes_of(function: &FunctionName, pauses: &BTreeMap<String, Pause>) -> BTreeMap<String, Pause> {
    let is_lane = |name: &str| name.split_once('/').is_some_and(|(of, _)| of == function.as_str());
    pauses
        .iter()
        .filter(|(name, _)| is_lane(name))
        .map(|(name, pause)| (name.clone(), pause.clone()))
        .collect()
}
