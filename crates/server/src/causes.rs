//! Why events failed lately, on all instances of a store: each writes the newest causes that it knows into a register of its
//! own now and then, and whoever asks is told those of all as one.
//!
//! The registers of a life of the program that is over stay for as long as causes are remembered, so that a restart does not
//! forget them.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_alerts::mail::WhyItFails;
use tidegate_api::FailureCause;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::dead_letter::pattern_of;
use tidegate_model::ports::{RegisterChange, Store, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_telemetry::Telemetry;
use tidegate_telemetry::failures::{Cause, REMEMBERED};

use crate::config::FunctionConfig;

/// The [kind](RegisterKey::kind) of the registers in which instances tell the others their causes. A register's name is the
/// instance's; its value is a list of [`FailureCause`].
const FAILURE_CAUSES: &str = "failure-causes";

/// How often an instance tells the others at most. The first failure after a pause is told at once.
const SHARE_EVERY: Duration = Duration::from_secs(5);

/// How many causes of one function an instance tells the others.
const MOST_OF_FUNCTION: usize = 5;

/// How many causes of all functions together.
const MOST_SHARED: usize = 64;

/// How long before the notice that it is about a mail looks back.
const MAIL_LOOKS_BACK: Duration = Duration::from_secs(10 * 60);

/// How many causes a mail names.
const MOST_IN_MAIL: usize = 3;

/// The causes that all instances know.
pub(crate) struct Causes {
    telemetry: Arc<Telemetry>,
    store: Arc<dyn Store>,
    clock: SharedClock,
    functions: Vec<FunctionConfig>,
    /// The name of this instance, once it tells the others.
    instance: OnceLock<String>,
}

impl Causes {
    /// Of what this instance sees, and what is told in the store. `functions` say which dependencies they need.
    pub(crate) fn new(
        telemetry: Arc<Telemetry>,
        store: Arc<dyn Store>,
        clock: SharedClock,
        functions: Vec<FunctionConfig>,
    ) -> Self {
        Self { telemetry, store, clock, functions, instance: OnceLock::new() }
    }

    /// Why events failed in the last hour, the newest cause first: of all functions, or of those that a circuit is about,
    /// which is a function's or a dependency's.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn of(&self, circuit: Option<&str>) -> Result<Vec<FailureCause>, StoreError> {
        let told = self.store.registers(FAILURE_CAUSES).await?;
        let now = self.clock.now();
        let others = told.into_iter().filter(|register| Some(&register.name) != self.instance.get());
        let mut causes = merged(self.own(now).into_iter().chain(others.flat_map(causes_in)));
        causes.retain(|cause| {
            cause.last_at >= now.minus(REMEMBERED)
                && circuit.is_none_or(|circuit| is_about(circuit, &cause.function, &self.functions))
        });
        Ok(causes)
    }

    /// Says how this instance is called among the others. Only the first call counts.
    pub(crate) fn call_it(&self, instance: String) {
        let _ = self.instance.set(instance);
    }

    /// Tells the others, for as long as it is not dropped.
    pub(crate) async fn share(self: Arc<Self>) -> Infallible {
        let mut changes = self.telemetry.failures().changes();
        loop {
            changes.changed().await.expect("what tells of changes is held here");
            if let Err(error) = self.share_now().await {
                tracing::debug!(%error, "the other instances cannot be told yet why events failed");
                changes.mark_changed();
            }
            self.clock.sleep(SHARE_EVERY).await;
        }
    }

    /// Tells the others what is known now, and removes what those told that are gone for long. Without a name of its own it
    /// tells nothing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn share_now(&self) -> Result<(), StoreError> {
        let Some(instance) = self.instance.get() else { return Ok(()) };
        let now = self.clock.now();
        let told = self.store.registers(FAILURE_CAUSES).await?;
        let change = |name: &str, from: Version, value| RegisterChange {
            key: RegisterKey::new(FAILURE_CAUSES, name),
            from,
            value,
            at: now,
            notices: Vec::new(),
            trail: Vec::new(),
        };
        for register in &told {
            let age = register.changed_at.since(now).max(now.since(register.changed_at));
            if register.name == *instance || age <= REMEMBERED {
                continue;
            }
            match self.store.change_register(change(&register.name, register.version, None)).await {
                // Another instance was faster.
                Ok(_) | Err(StoreError::RegisterMoved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mine = told.iter().find(|register| register.name == *instance);
        let value = serde_json::to_value(worth_telling(self.own(now)))
            .map_err(|error| StoreError::Refused { detail: format!("the causes are no JSON: {error}") })?;
        let is_told = match mine {
            Some(register) => register.value == value,
            None => value.as_array().is_some_and(Vec::is_empty),
        };
        if !is_told {
            let from = mine.map_or(Version::NONE, |register| register.version);
            self.store.change_register(change(instance, from, Some(value))).await?;
        }
        Ok(())
    }

    /// What this instance has seen itself, the newest first.
    fn own(&self, now: Timestamp) -> Vec<FailureCause> {
        let failures = self.telemetry.failures();
        let of_function = |function: FunctionName| {
            let causes = failures.of(&function, now).into_iter();
            causes.map(|cause| shape(&function, cause, self.instance.get())).collect::<Vec<_>>()
        };
        merged(failures.functions().into_iter().flat_map(of_function))
    }
}

#[async_trait]
impl WhyItFails for Causes {
    async fn lines(&self, circuit: &str, at: Timestamp) -> Vec<String> {
        match self.of(Some(circuit)).await {
            Ok(causes) => lines(causes, at),
            Err(error) => {
                tracing::warn!(circuit, %error, "a mail is sent without the causes of failures");
                Vec::new()
            }
        }
    }
}

fn shape(function: &FunctionName, cause: Cause, instance: Option<&String>) -> FailureCause {
    let Cause { kind, error, attempts, first_at, last_at, example } = cause;
    FailureCause {
        function: function.to_string(),
        kind,
        error,
        attempts,
        first_at,
        last_at,
        hub: example.hub.to_string(),
        partition: example.partition.0,
        sequence_number: example.sequence_number.0,
        key: example.key,
        fate: example.fate,
        instances: instance.cloned().into_iter().collect(),
    }
}

/// What an instance told. What cannot be read was written by a later version.
fn causes_in(register: Register) -> Vec<FailureCause> {
    serde_json::from_value(register.value).unwrap_or_default()
}

/// Whether a circuit is about a function: it is the function's own, or that of a dependency the function needs.
fn is_about(circuit: &str, function: &str, functions: &[FunctionConfig]) -> bool {
    let mut configs = functions.iter().filter(|config| config.name.as_str() == function);
    let needs = |config: &FunctionConfig| {
        config.settings.dependencies.iter().any(|dependency| dependency.name.as_str() == circuit)
    };
    circuit == function || configs.any(needs)
}

/// Causes that several instances know, as one each: the attempts of all, and the newest event. The newest cause first.
fn merged(all: impl IntoIterator<Item = FailureCause>) -> Vec<FailureCause> {
    let mut causes: BTreeMap<(String, Option<String>, String), FailureCause> = BTreeMap::new();
    for cause in all {
        match causes.entry((cause.function.clone(), cause.kind.clone(), pattern_of(&cause.error))) {
            Entry::Vacant(entry) => {
                entry.insert(cause);
            }
            Entry::Occupied(mut entry) => {
                let both = together(entry.get(), &cause);
                entry.insert(both);
            }
        }
    }
    let mut causes: Vec<FailureCause> = causes.into_values().collect();
    causes.sort_by_key(|cause| Reverse(cause.last_at));
    causes
}

fn together(one: &FailureCause, other: &FailureCause) -> FailureCause {
    // Of two that are as new, always the same one.
    let order = |cause: &FailureCause| {
        (cause.last_at, cause.hub.clone(), cause.partition, cause.sequence_number, cause.error.clone())
    };
    let newer = if order(one) >= order(other) { one } else { other };
    let instances: BTreeSet<&String> = one.instances.iter().chain(&other.instances).collect();
    FailureCause {
        attempts: one.attempts.saturating_add(other.attempts),
        first_at: one.first_at.min(other.first_at),
        instances: instances.into_iter().cloned().collect(),
        ..newer.clone()
    }
}

/// What of these causes, the newest first, the others are told.
fn worth_telling(causes: Vec<FailureCause>) -> Vec<FailureCause> {
    let mut of_function: BTreeMap<String, usize> = BTreeMap::new();
    let is_wanted = |cause: &FailureCause| {
        let told = of_function.entry(cause.function.clone()).or_default();
        *told += 1;
        *told <= MOST_OF_FUNCTION
    };
    causes.into_iter().filter(is_wanted).take(MOST_SHARED).collect()
}

/// The most frequent causes shortly before `at` or after, a line each.
fn lines(mut causes: Vec<FailureCause>, at: Timestamp) -> Vec<String> {
    causes.retain(|cause| cause.last_at >= at.minus(MAIL_LOOKS_BACK));
    causes.sort_by_key(|cause| Reverse(cause.attempts));
    causes.iter().take(MOST_IN_MAIL).map(line).collect()
}

fn line(cause: &FailureCause) -> String {
    let FailureCause { function, kind, error, attempts, instances, .. } = cause;
    let attempts = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let kind = kind.as_ref().map_or_else(String::new, |kind| format!(" ({kind})"));
    let fleet = match instances.len() {
        0 | 1 => String::new(),
        instances => format!(" on {instances} instances"),
    };
    format!("{attempts} of {function}{fleet}{kind}: {error}")
}

#[cfg(test)]
mod tests;
