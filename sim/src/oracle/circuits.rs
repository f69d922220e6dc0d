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
    /// By instance and circuit, the partitions that may still begin an invocation since the instance heard that it is not
    /// closed any more. A batch that was being prepared goes on; each lane prepares one at most.
    last_batches: BTreeMap<(String, String), BTreeSet<PartitionId>>,
    /// Every circuit that was ever changed, with when it was.
    stored: BTreeMap<String, (Circuit, Duration)>,
    /// The probes that were let through, by circuit and version of its register.
    probes: BTreeMap<(String, Version), Vec<String>>,
}

impl Oracle {
    /// An instance was told what all circuits are like.
    pub(crate) fn circuits_seen(&self, instance: &str, registers: &[Register]) {
        for function in &self.scenario.functions {
            let register = registers.iter().find(|register| register.name == function.name.as_str());
            self.register_seen(instance, &RegisterKey::new(CIRCUIT, function.name.as_str()), register);
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
            let partitions = (0..self.scenario.partitions).map(PartitionId).collect();
            seen.circuits.last_batches.insert(place.clone(), partitions);
        }
        seen.circuits.heard.insert(place, (version, circuit));
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
        let timeout = (self.scenario.functions.iter())
            .find(|function| function.name.as_str() == key.name)
            .map_or(Duration::ZERO, |function| function.settings.circuit.probe_timeout);
        if new != old && now.saturating_sub(at) < timeout {
            let detail =
                format!("{instance} takes the probe of {key} from {old:?} as {new:?}, before its time is up");
            self.violate(&mut seen, "a half-open circuit lets one probe through", detail);
        }
    }

    /// An invocation begins.
    pub(crate) fn invoked(&self, invocation: Invoked<'_>) {
        let mut seen = self.seen.lock();
        let Invoked { instance, function, events } = invocation;
        let place = (instance.to_owned(), function.to_string());
        let Some((version, circuit)) = seen.circuits.heard.get(&place).cloned() else {
            return;
        };
        let partition = events.first().and_then(|id| seen.places.get(id)).map(|(partition, _)| *partition);
        let may_end = partition.is_some_and(|partition| {
            seen.circuits.last_batches.get_mut(&place).is_some_and(|left| left.remove(&partition))
        });
        if may_end {
            return;
        }
        match circuit.state {
            CircuitState::Closed => {}
            CircuitState::Open => {
                let detail =
                    format!("{instance} invokes {function} with {events:?}, and knows version {version:?}");
                self.violate(&mut seen, "an open circuit invokes nothing", detail);
            }
            CircuitState::HalfOpen => {
                let is_holder = circuit.probe.is_some_and(|probe| probe.holder == instance);
                // The same event again is the same probe: its documents could not be had the first time.
                let probe = (function.to_string(), version);
                let first = seen.circuits.probes.entry(probe).or_insert_with(|| events.to_vec()).clone();
                if !is_holder || first != events || events.len() > 1 {
                    let detail = format!(
                        "{instance} invokes {function} with {events:?} while version {version:?} is half-open; \
                         it has the probe: {is_holder}; the probe is {first:?}"
                    );
                    self.violate(&mut seen, "a half-open circuit lets one probe through", detail);
                }
            }
        }
    }
}
