//! What a person does with circuits, functions and lanes. It needs the store only, not a running processor: every instance
//! sees it at its next look.

use tidegate_model::attempt::bounded_error;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState, PAUSE, Pause};
use tidegate_model::clock::Timestamp;
use tidegate_model::notice::NewNotice;
use tidegate_model::ports::{RegisterChange, Store, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};

use super::exchange::{Exchange, exchange};
use super::transition;

/// How often an act is tried anew when somebody else changes the same thing at the same time.
const TRIES: u32 = 10;

/// What an act on a circuit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CircuitActed {
    /// It is like this now.
    Changed(Circuit),
    /// There was nothing to do: it was like this.
    Unchanged(Circuit),
}

impl CircuitActed {
    /// The circuit now.
    pub fn circuit(&self) -> &Circuit {
        let (Self::Changed(circuit) | Self::Unchanged(circuit)) = self;
        circuit
    }
}

/// Opens a circuit. It stays open until a person closes or probes it. One that opened by itself stays open from then on.
///
/// # Errors
/// What the store says. An act whose answer is lost is looked up, and is an error only if it did not happen.
pub async fn open(store: &dyn Store, circuit: &FunctionName, act: &Act) -> Result<CircuitActed, StoreError> {
    change_circuit(store, circuit, "circuit.open", act, |from| {
        let is_done = from.state == CircuitState::Open && from.manual;
        (!is_done).then(|| transition::opened_by_hand(from, &act.by, act.reason.clone(), act.at))
    })
    .await
}

/// Closes a circuit, whatever probes say. Events flow again, few at first, and those that were held are tried.
///
/// # Errors
/// See [`open`].
pub async fn close(store: &dyn Store, circuit: &FunctionName, act: &Act) -> Result<CircuitActed, StoreError> {
    // Before it closes, so that no crash comes between; and after it for those that were held meanwhile. The circuit of a
    // dependency is no function's: there the instances release what is held when they see it closed.
    store.release_held(circuit, act.at).await?;
    let acted = change_circuit(store, circuit, "circuit.close", act, |from| {
        let is_done = from.state == CircuitState::Closed;
        (!is_done).then(|| transition::closed(from, &act.by, act.reason.clone(), act.at))
    })
    .await?;
    store.release_held(circuit, act.at).await?;
    Ok(acted)
}

/// Lets an open circuit be probed at once. A closed one is left alone, and so is one that is being probed.
///
/// If a person had opened it and the probe fails, it waits for a person again.
///
/// # Errors
/// See [`open`].
pub async fn probe_now(
    store: &dyn Store,
    circuit: &FunctionName,
    act: &Act,
) -> Result<CircuitActed, StoreError> {
    change_circuit(store, circuit, "circuit.probe", act, |from| {
        let is_open = from.state == CircuitState::Open;
        is_open.then(|| transition::half_open(from, &act.by, act.reason.clone(), act.at))
    })
    .await
}

async fn change_circuit(
    store: &dyn Store,
    name: &FunctionName,
    action: &'static str,
    act: &Act,
    next: impl Fn(&Circuit) -> Option<Circuit>,
) -> Result<CircuitActed, StoreError> {
    let key = RegisterKey::new(CIRCUIT, name.as_str());
    for _ in 0..TRIES {
        let (version, circuit) = stored_circuit(&key, store.register(&key).await?.as_ref());
        let Some(next) = next(&circuit) else { return Ok(CircuitActed::Unchanged(circuit)) };
        let is_new_state = next.state != circuit.state;
        let change = RegisterChange {
            key: key.clone(),
            from: version,
            value: Some(to_json(&next)?),
            at: act.at,
            notices: is_new_state.then(|| transition::notice(name, &next, None, None)).into_iter().collect(),
            trail: vec![NewTrailEntry {
                action,
                subject: name.to_string(),
                act: act.clone(),
                detail: serde_json::json!({ "from": circuit.state, "to": next.state }),
            }],
        };
        if let Exchange::Done(_) = exchange(store, change).await? {
            return Ok(CircuitActed::Changed(next));
        }
    }
    Err(StoreError::RegisterMoved { register: key.to_string() })
}

/// The circuit in a register as a person finds it. One that cannot be read can be opened and closed like any other, which
/// puts it right.
fn stored_circuit(key: &RegisterKey, register: Option<&Register>) -> (Version, Circuit) {
    parse_circuit(key, register).unwrap_or_else(|error| {
        let version = register.map_or(Version::NONE, |register| register.version);
        let unreadable = Circuit {
            state: CircuitState::HalfOpen,
            reason: error.to_string(),
            ..Circuit::closed(Timestamp::default())
        };
        (version, unreadable)
    })
}

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseTarget {
    /// A function, in all its lanes.
    Function(FunctionName),
    /// One lane.
    Lane(Lane),
}

impl PauseTarget {
    fn kind(&self) -> &'static str {
        match self {
            Self::Function(_) => "function",
            Self::Lane(_) => "lane",
        }
    }
}

impl std::fmt::Display for PauseTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Function(function) => function.fmt(f),
            Self::Lane(lane) => lane.fmt(f),
        }
    }
}

/// Stops a function or lane; true if it was not stopped already. It stays stopped across restarts.
///
/// # Errors
/// See [`open`].
pub async fn pause(store: &dyn Store, target: &PauseTarget, act: &Act) -> Result<bool, StoreError> {
    let pause = Pause { since: act.at, reason: bounded_error(act.reason.clone()), by: act.by.clone() };
    change_pause(store, target, Some(pause), act).await
}

/// Lets a function or lane go on; true if it was stopped. A lane whose function is stopped stays stopped with it.
///
/// # Errors
/// See [`open`].
pub async fn resume(store: &dyn Store, target: &PauseTarget, act: &Act) -> Result<bool, StoreError> {
    change_pause(store, target, None, act).await
}

async fn change_pause(
    store: &dyn Store,
    target: &PauseTarget,
    pause: Option<Pause>,
    act: &Act,
) -> Result<bool, StoreError> {
    let key = RegisterKey::new(PAUSE, target.to_string());
    let (word, action) = if pause.is_some() { ("paused", "pause") } else { ("resumed", "resume") };
    for _ in 0..TRIES {
        let stored = store.register(&key).await?;
        if stored.is_some() == pause.is_some() {
            return Ok(false);
        }
        let change = RegisterChange {
            key: key.clone(),
            from: stored.map_or(Version::NONE, |stored| stored.version),
            value: pause.as_ref().map(to_json).transpose()?,
            at: act.at,
            notices: vec![NewNotice {
                kind: format!("{}.{word}", target.kind()),
                subject: target.to_string(),
                at: act.at,
                data: serde_json::json!({ "by": act.by, "reason": bounded_error(act.reason.clone()) }),
            }],
            trail: vec![NewTrailEntry {
                action,
                subject: target.to_string(),
                act: act.clone(),
                detail: serde_json::Value::Null,
            }],
        };
        if let Exchange::Done(_) = exchange(store, change).await? {
            return Ok(true);
        }
    }
    Err(StoreError::RegisterMoved { register: key.to_string() })
}

/// The circuit in a register. One that was never written is closed since the beginning of time.
pub(super) fn parse_circuit(
    key: &RegisterKey,
    register: Option<&Register>,
) -> Result<(Version, Circuit), StoreError> {
    let Some(register) = register else {
        return Ok((Version::NONE, Circuit::closed(Timestamp::default())));
    };
    let circuit = serde::Deserialize::deserialize(&register.value).map_err(|error| StoreError::Damaged {
        detail: format!("the register {key} cannot be read: {error}"),
    })?;
    Ok((register.version, circuit))
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::Refused { detail: error.to_string() })
}
