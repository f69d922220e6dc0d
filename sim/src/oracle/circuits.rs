//! The promises about circuits: an open one invokes nothing, and a half-open one lets one probe through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::Timestamp;
use tidegate_model::position::PartitionId;
use tidegate_model::register::{Register, RegisterKey, Version};

use super::Oracle;

/// An invocation as it begins.
pub(crate) struct Invoked<'a> {
    /// Who makes it.
    pub(crate) instance: &'a str,
    /// Of which function.
    pub(crate) function: &'a FunctionName,
    /// With which events.
    pub(crate) events: &'a [String],
}

/// What is known about circuits.
#[derive(Default)]
pub(super) struct Circuits {
    /// What each instance last heard of each circuit.
    heard: BTreeMap<(String, String), (Version, Circuit)>,
    /// By instance and circuit, the lanes that may still begin an invocation since the instance heard that it is not closed
    /// any more. A batch that was being prepared goes on; each lane prepares one at most.
    last_batches: BTreeMap<(String, String), BTreeSet<(FunctionName, PartitionId)>>,
    /// Every circuit that was ever changed, with when it was.
    pub(super) stored: BTreeMap<String, (Circuit, Duration)>,
    /// The probes that were let through, by circuit and version of its register.
    probes: BTreeMap<(String, Version), Vec<String>>,
}

impl Oracle {
    /// An instance was told what all circuits are like.
    pub(crate) fn circuits_seen(&self, instance: &str, registers: &[Register]) {
        for name in self.scenario.circuits() {
            let register = registers.iter().find(|register| register.name == name.as_str());
            self.register_seen(instance, &RegisterKey::new(CIRCUIT, name.as_str()), register);
        }
    }

    /// An instance was told what a register holds.
    pub(crate) fn register_seen(&self, instance: &str, key: &RegisterKey, register: Option<&Register>) {
        if key.kind != CIRCUIT {
            return;
        }
        let mut seen = self.seen.lock();
        let place = (instance.to_owned(), key.name.clone());
        let (version, circuit) = match register {
            None => (Version::NONE, Circuit::closed(Timestamp::default())),
            Some(register) => match serde_json::from_value::<Circuit>(register.value.clone()) {
                Ok(circuit) => (register.version, circuit),
                Err(error) => {
                    let detail = format!("{key} holds {}: {error}", register.value);
                    return self.violate(&mut seen, "registers can be read", detail);
                }
            },
        };
        let is_closed = circuit.state == CircuitState::Closed;
        let before = seen.circuits.heard.get(&place).map(|(version, circuit)| (*version, circuit.state));
        // An old answer may come late.
        if before.is_some_and(|(known, _)| known > version) {
            return;
        }
        if is_closed {
            seen.circuits.last_batches.remove(&place);
        } else if before.is_some_and(|(_, state)| state == CircuitState::Closed) {
            let partitions = || (0..self.scenario.partitions).map(PartitionId);
            let of = |name: &FunctionName| {
                partitions().map(|partition| (name.clone(), partition)).collect::<Vec<_>>()
            };
            let lanes = self.scenario.functions.iter().flat_map(|function| of(&function.name)).collect();
            seen.circuits.last_batches.insert(place.clone(), lanes);
        } else if circuit.state == CircuitState::Open {
            // A lane that has the probe of another circuit may have begun to write that down before this one opened again.
            let lanes = self.lanes_that_probe(&seen.circuits, instance, &key.name);
            seen.circuits.last_batches.entry(place.clone()).or_default().extend(lanes);
        }
        seen.circuits.heard.insert(place, (version, circuit));
    }

    /// The lanes whose function needs this circuit and another one, of which the instance holds the probe.
    fn lanes_that_probe(
        &self,
        circuits: &Circuits,
        instance: &str,
        name: &str,
    ) -> Vec<(FunctionName, PartitionId)> {
        let holds = |circuit: &FunctionName| {
            let heard = circuits.heard.get(&(instance.to_owned(), circuit.to_string()));
            let probe = heard.and_then(|(_, circuit)| circuit.probe.as_ref());
            circuit.as_str() != name && probe.is_some_and(|probe| probe.holder == instance)
        };
        let functions = self.scenario.functions.iter().map(|function| &function.name);
        let probing = functions.filter(|function| {
            let needed = self.scenario.circuits_of(function);
            needed.iter().any(|circuit| circuit.as_str() == name) && needed.iter().any(holds)
        });
        let partitions = || (0..self.scenario.partitions).map(PartitionId);
        probing.flat_map(|function| partitions().map(|partition| (function.clone(), partition))).collect()
    }

    /// A register was changed.
    pub(crate) fn register_changed(
        &self,
        instance: &str,
        key: &RegisterKey,
        value: Option<&serde_json::Value>,
    ) {
        let Some(Ok(circuit)) = value.cloned().map(serde_json::from_value::<Circuit>) else { return };
        if key.kind != CIRCUIT {
            return;
        }
        let mut seen = self.seen.lock();
        let now = self.trace.now();
        let before = seen.circuits.stored.insert(key.name.clone(), (circuit.clone(), now));
        let Some((before, at)) = before else { return };
        let (Some(old), Some(new)) = (before.probe, circuit.probe) else { return };
        let timeout = self.scenario.probe_timeout(&key.name);
        if new != old && now.saturating_sub(at) < timeout {
            let detail =
                format!("{instance} takes the probe of {key} from {old:?} as {new:?}, before its time is up");
            self.violate(&mut seen, "a half-open circuit lets one probe through", detail);
        }
    }

    /// An invocation begins.
    pub(crate) fn invoked(&self, invocation: Invoked<'_>) {
        self.check_pause(&invocation);
        let mut seen = self.seen.lock();
        let Invoked { instance, function, events } = invocation;
        let partition = events.first().and_then(|id| seen.places.get(id)).map(|(partition, _)| *partition);
        let mut half_open = Vec::new();
        for name in self.scenario.circuits_of(function) {
            let place = (instance.to_owned(), name.to_string());
            let Some((version, circuit)) = seen.circuits.heard.get(&place).cloned() else { continue };
            let may_end = partition.is_some_and(|partition| {
                let lane = (function.clone(), partition);
                seen.circuits.last_batches.get_mut(&place).is_some_and(|left| left.remove(&lane))
            });
            match circuit.state {
                CircuitState::Closed => {}
                CircuitState::HalfOpen => half_open.push((name, version, circuit, may_end)),
                CircuitState::Open if may_end => {}
                CircuitState::Open => {
                    let detail = format!(
                        "{instance} invokes {function} with {events:?}, and knows version {version:?} of {name}"
                    );
                    self.violate(&mut seen, "an open circuit invokes nothing", detail);
                }
            }
        }
        let is_held_back = half_open.iter().any(|(.., may_end)| !may_end);
        // What may be the last batch under one circuit may as well be its probe, which others then let through.
        half_open.sort_by_key(|(.., may_end)| *may_end);
        // Of several, one is probed after the other.
        let is_let_through = !is_held_back
            || half_open.iter().any(|(name, version, circuit, _)| {
                let is_holder = circuit.probe.as_ref().is_some_and(|probe| probe.holder == instance);
                // The same event again is the same probe: its documents could not be had the first time.
                let probe = (name.to_string(), *version);
                is_holder
                    && events.len() == 1
                    && *seen.circuits.probes.entry(probe).or_insert_with(|| events.to_vec()) == events
            });
        if !is_let_through {
            let detail =
                format!("{instance} invokes {function} with {events:?} while half-open are {half_open:?}");
            self.violate(&mut seen, "a half-open circuit lets one probe through", detail);
        }
    }
}
