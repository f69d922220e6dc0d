//! Incidents: the story of one outage, from the circuit that opened to the circuit that closed.
//!
//! ```text
//!            a target has it        all have it           a person           closed
//!   opened ─────────────────► notified ────────► waiting ──────────► restarting ──► closed
//!                                                   ▲      probe failed   │
//!                                                   └─────────────────────┘
//! ```
//!
//! A person may restart at any stage, and the circuit may close by itself at any stage. An incident is a register of its
//! own, so it cannot change in the transaction that changes the circuit; it does not need to. Every stage follows from
//! facts that are in the store (the circuit, the deliveries), so [`next`] finds it again after a crash at any point.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::Timestamp;
use tidegate_model::error::ErrorKind;
use tidegate_model::notice::{DeliveryState, Notice};
use tidegate_model::ports::{Outbox, RegisterChange, Registers, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};

/// The [kind](RegisterKey::kind) of the registers that hold incidents. A register's name is the function's, `@`, and the
/// milliseconds of when the outage began.
pub const INCIDENT: &str = "incident";

/// The name in [`Step::by`] and [`Circuit::by`] when no person did it.
pub const TIDEGATE: &str = "tidegate";

/// The kind of the notice that a circuit opened.
pub const CIRCUIT_OPENED: &str = "circuit.opened";

/// The kind of the notice that a circuit opened again because a probe failed.
pub const CIRCUIT_PROBE_FAILED: &str = "circuit.probe-failed";

/// The kind of the notice that a circuit closed.
pub const CIRCUIT_CLOSED: &str = "circuit.closed";

/// How many steps of an incident are kept: its first half and its last.
const STEPS_KEPT: usize = 40;

/// How many closed incidents are kept.
pub const CLOSED_KEPT: usize = 200;

/// How long a closed incident is kept.
pub const CLOSED_KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// An outage of one circuit. It is the value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// The circuit: the name of a function or of a dependency.
    pub circuit: String,
    /// When the outage began.
    pub opened_at: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// How far it is.
    pub stage: Stage,
    /// How it got there, oldest first.
    pub steps: Vec<Step>,
    /// How many steps in the middle are not kept.
    pub steps_left_out: u32,
}

/// How far an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The circuit is open, and nobody was told yet.
    Opened,
    /// At least one target was told.
    Notified,
    /// Every target was told or given up: it waits for a person, or for a probe that succeeds.
    Waiting,
    /// A person has asked for a restart.
    Restarting,
    /// The circuit is closed.
    Closed,
}

impl Stage {
    /// The word used in stored data and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Notified => "notified",
            Self::Waiting => "waiting",
            Self::Restarting => "restarting",
            Self::Closed => "closed",
        }
    }
}

/// A step of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where it led.
    pub stage: Stage,
    /// When.
    pub at: Timestamp,
    /// Who: a person, or [`TIDEGATE`].
    pub by: String,
    /// What there is to say about it; may be empty.
    pub note: String,
}

impl Incident {
    fn opened(name: &str, circuit: &Circuit) -> Self {
        let opened_at = outage_of(circuit);
        Self {
            circuit: name.to_owned(),
            opened_at,
            reason: circuit.reason.clone(),
            stage: Stage::Opened,
            steps: vec![Step {
                stage: Stage::Opened,
                at: opened_at,
                by: circuit.by.clone(),
                note: circuit.reason.clone(),
            }],
            steps_left_out: 0,
        }
    }

    /// The incident one step further.
    fn step(&self, stage: Stage, at: Timestamp, by: &str, note: &str) -> Self {
        let mut next = self.clone();
        next.stage = stage;
        next.steps.push(Step { stage, at, by: by.to_owned(), note: note.to_owned() });
        if next.steps.len() > STEPS_KEPT {
            next.steps.remove(STEPS_KEPT / 2);
            next.steps_left_out = next.steps_left_out.saturating_add(1);
        }
        next
    }

    /// When it closed, if it did.
    pub fn closed_at(&self) -> Option<Timestamp> {
        self.steps.last().filter(|_| self.stage == Stage::Closed).map(|step| step.at)
    }

    fn key(&self) -> RegisterKey {
        key(&self.circuit, self.opened_at)
    }
}

/// Which outage a circuit is in.
pub(crate) fn outage_of(circuit: &Circuit) -> Timestamp {
    circuit.opened_at.unwrap_or(circuit.since)
}

fn key(circuit: &str, opened_at: Timestamp) -> RegisterKey {
    // A function's name holds no `@`.
    RegisterKey::new(INCIDENT, format!("{circuit}@{}", opened_at.as_millis()))
}

/// How many targets were told of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// None.
    Nobody,
    /// At least one.
    Somebody,
    /// All of them, as far as they were not given up.
    Everybody,
}

/// How many of `targets` were told that the circuit `name` opened in the outage that began at `opened_at`.
pub fn told(name: &str, opened_at: Timestamp, notices: &[Notice], targets: &[String]) -> Told {
    if targets.is_empty() {
        return Told::Everybody;
    }
    let of_this_outage = notices.iter().filter(|notice| {
        notice.notice.kind == CIRCUIT_OPENED && notice.notice.subject == name && notice.notice.at >= opened_at
    });
    let mut best = Told::Nobody;
    for notice in of_this_outage {
        let state_of = |target: &String| {
            notice.deliveries.iter().find(|delivery| delivery.target == *target).map(|found| found.state)
        };
        let is_told = |target| matches!(state_of(target), Some(DeliveryState::Delivered(_)));
        let is_done = |target| {
            matches!(state_of(target), Some(DeliveryState::Delivered(_) | DeliveryState::GivenUp(_)))
        };
        if targets.iter().all(is_done) {
            return Told::Everybody;
        }
        if targets.iter().any(is_told) {
            best = Told::Somebody;
        }
    }
    best
}

/// Where an incident that is not closed goes now, if it goes anywhere. `circuit` is its circuit as it is now, `None` if it
/// was removed.
pub fn next(incident: &Incident, circuit: Option<&Circuit>, told: Told, now: Timestamp) -> Option<Incident> {
    let circuit = match circuit {
        _ if incident.stage == Stage::Closed => return None,
        None => return Some(incident.step(Stage::Closed, now, TIDEGATE, "the circuit was removed")),
        Some(circuit) => circuit,
    };
    if circuit.state == CircuitState::Closed {
        return Some(incident.step(Stage::Closed, circuit.since, &circuit.by, &circuit.reason));
    }
    if outage_of(circuit) != incident.opened_at {
        return Some(incident.step(Stage::Closed, now, TIDEGATE, "the circuit closed and opened again"));
    }
    match (incident.stage, told) {
        (Stage::Opened, Told::Somebody | Told::Everybody) => {
            Some(incident.step(Stage::Notified, now, TIDEGATE, ""))
        }
        (Stage::Notified, Told::Everybody) => Some(incident.step(Stage::Waiting, now, TIDEGATE, "")),
        (Stage::Restarting, _) => {
            let asked_at = incident.steps.last().map_or(incident.opened_at, |step| step.at);
            let fell_back = circuit.state == CircuitState::Open && circuit.since > asked_at;
            fell_back.then(|| incident.step(Stage::Waiting, circuit.since, &circuit.by, &circuit.reason))
        }
        (_, _) if circuit.state == CircuitState::HalfOpen && circuit.by != TIDEGATE => {
            Some(incident.step(Stage::Restarting, circuit.since, &circuit.by, &circuit.reason))
        }
        _ => None,
    }
}

/// All incidents, the newest first. Those that cannot be read, written by a later version, are left out.
pub async fn list(registers: &dyn Registers) -> Result<Vec<Incident>, StoreError> {
    Ok(stored(registers).await?.into_iter().map(|(_, incident)| incident).collect())
}

async fn stored(registers: &dyn Registers) -> Result<Vec<(Version, Incident)>, StoreError> {
    let mut incidents: Vec<(Version, Incident)> = registers
        .registers(INCIDENT)
        .await?
        .into_iter()
        .filter_map(|register| Some((register.version, serde_json::from_value(register.value).ok()?)))
        .collect();
    incidents.sort_by(|(_, a), (_, b)| b.opened_at.cmp(&a.opened_at).then(a.circuit.cmp(&b.circuit)));
    Ok(incidents)
}

/// Brings every incident where the facts say that it is, begins those of circuits that opened, and forgets old ones. May
/// run on several instances at once: each step is made once.
pub async fn advance(
    registers: &dyn Registers,
    outbox: &dyn Outbox,
    targets: &[String],
    now: Timestamp,
) -> Result<(), StoreError> {
    let stored = stored(registers).await?;
    let circuits: Vec<(String, Circuit)> =
        registers.registers(CIRCUIT).await?.into_iter().filter_map(read_circuit).collect();

    let is_open = |circuit: &Circuit| circuit.state != CircuitState::Closed;
    let none_unfinished = stored.iter().all(|(_, incident)| incident.stage == Stage::Closed);
    if none_unfinished && !circuits.iter().any(|(_, circuit)| is_open(circuit)) {
        return forget(registers, stored, now).await;
    }

    let notices = outbox.recent_notices(RECENT_NOTICES).await?;
    for (name, circuit) in circuits.iter().filter(|(_, circuit)| is_open(circuit)) {
        let opened_at = outage_of(circuit);
        let is_known =
            stored.iter().any(|(_, incident)| incident.circuit == *name && incident.opened_at == opened_at);
        if !is_known {
            put(registers, Version::NONE, &Incident::opened(name, circuit), now).await?;
        }
    }
    for (version, incident) in &stored {
        let circuit = circuits.iter().find(|(name, _)| *name == incident.circuit).map(|(_, circuit)| circuit);
        let told = told(&incident.circuit, incident.opened_at, &notices, targets);
        if let Some(next) = next(incident, circuit, told, now) {
            put(registers, *version, &next, now).await?;
        }
    }
    forget(registers, stored, now).await
}

/// How far back is looked for the notice of an outage that nobody was told of yet.
const RECENT_NOTICES: usize = 500;

/// Records that somebody asks for a restart. An incident that nobody has begun yet is begun.
pub(crate) async fn restarting(
    registers: &dyn Registers,
    name: &str,
    circuit: &Circuit,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (version, incident) = read(registers, name, circuit).await?;
    if matches!(incident.stage, Stage::Closed | Stage::Restarting) {
        return Ok(());
    }
    put(registers, version, &incident.step(Stage::Restarting, now, by, ""), now).await
}

/// Records that a restart did not go through.
pub(crate) async fn restart_failed(
    registers: &dyn Registers,
    name: &str,
    circuit: &Circuit,
    note: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (version, incident) = read(registers, name, circuit).await?;
    if incident.stage != Stage::Restarting {
        return Ok(());
    }
    put(registers, version, &incident.step(Stage::Waiting, now, TIDEGATE, note), now).await
}

async fn read(
    registers: &dyn Registers,
    name: &str,
    circuit: &Circuit,
) -> Result<(Version, Incident), StoreError> {
    let register = registers.register(&key(name, outage_of(circuit))).await?;
    let known =
        register.and_then(|register| Some((register.version, serde_json::from_value(register.value).ok()?)));
    Ok(known.unwrap_or_else(|| (Version::NONE, Incident::opened(name, circuit))))
}

/// Writes an incident. If somebody else changed it meanwhile it stays as they left it: the next look at the facts goes on
/// from there.
async fn put(
    registers: &dyn Registers,
    from: Version,
    incident: &Incident,
    at: Timestamp,
) -> Result<(), StoreError> {
    let value = serde_json::to_value(incident)
        .map_err(|error| StoreError::Refused { detail: format!("an incident is no JSON: {error}") })?;
    change(registers, incident.key(), from, Some(value), at).await
}

async fn forget(
    registers: &dyn Registers,
    stored: Vec<(Version, Incident)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let closed = stored.into_iter().filter(|(_, incident)| incident.stage == Stage::Closed);
    for (place, (version, incident)) in closed.enumerate() {
        let is_old = incident.closed_at().is_some_and(|at| now.since(at) >= CLOSED_KEPT_FOR);
        if is_old || place >= CLOSED_KEPT {
            change(registers, incident.key(), version, None, now).await?;
        }
    }
    Ok(())
}

async fn change(
    registers: &dyn Registers,
    key: RegisterKey,
    from: Version,
    value: Option<serde_json::Value>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let change = RegisterChange { key, from, value, at, notices: Vec::new(), trail: Vec::new() };
    match registers.change_register(change).await {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        done => done.map(drop),
    }
}

/// A circuit out of its register; `None` if it cannot be read, because a later version wrote it.
pub(crate) fn read_circuit(register: Register) -> Option<(String, Circuit)> {
    match serde_json::from_value(register.value) {
        Ok(circuit) => Some((register.name, circuit)),
        Err(error) => {
            tracing::warn!(circuit = register.name, %error, "a circuit cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::notice::{Delivery, NewNotice, NoticeId};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn circuit(state: CircuitState, since: i64, by: &str) -> Circuit {
        Circuit {
            state,
            reason: "120 failures".to_owned(),
            by: by.to_owned(),
            opened_at: Some(at(100)),
            ..Circuit::closed(at(since))
        }
    }

    fn open() -> Circuit {
        circuit(CircuitState::Open, 100, TIDEGATE)
    }

    fn stages(incident: &Incident) -> Vec<Stage> {
        incident.steps.iter().map(|step| step.stage).collect()
    }

    #[test]
    fn the_story_of_an_outage_that_a_person_ends() {
        let mut incident = Incident::opened("aircraft", &open());
        let facts = [
            (open(), Told::Nobody),
            (open(), Told::Somebody),
            (open(), Told::Somebody),
            (open(), Told::Everybody),
            (circuit(CircuitState::HalfOpen, 130, TIDEGATE), Told::Everybody),
            (circuit(CircuitState::HalfOpen, 140, "mia"), Told::Everybody),
            (circuit(CircuitState::Open, 141, TIDEGATE), Told::Everybody),
            (circuit(CircuitState::HalfOpen, 150, "mia"), Told::Everybody),
            (circuit(CircuitState::Closed, 151, "mia"), Told::Everybody),
            (circuit(CircuitState::Closed, 151, "mia"), Told::Everybody),
        ];
        for (second, (circuit, told)) in (200..).zip(facts) {
            if let Some(next) = next(&incident, Some(&circuit), told, at(second)) {
                incident = next;
            }
        }
        use Stage::{Closed, Notified, Opened, Restarting, Waiting};
        assert_eq!(stages(&incident), [Opened, Notified, Waiting, Restarting, Waiting, Restarting, Closed]);
        assert_eq!(incident.closed_at(), Some(at(151)));
        assert_eq!(incident.steps.last().map(|step| step.by.as_str()), Some("mia"));
    }

    #[test]
    fn an_incident_closes_when_its_outage_is_over_also_if_the_next_one_has_begun() {
        let incident = Incident::opened("aircraft", &open());
        let reopened = Circuit { opened_at: Some(at(170)), ..open() };
        let closed = next(&incident, Some(&reopened), Told::Nobody, at(180)).unwrap();
        assert_eq!(closed.stage, Stage::Closed);
        assert_eq!(next(&closed, Some(&reopened), Told::Nobody, at(181)), None);
        assert_eq!(next(&incident, None, Told::Nobody, at(180)).unwrap().stage, Stage::Closed);
    }

    #[test]
    fn a_story_without_end_keeps_its_beginning_and_its_end() {
        let mut incident = Incident::opened("aircraft", &open());
        for round in 0..100 {
            incident = incident.step(Stage::Restarting, at(round), "mia", "");
            incident = incident.step(Stage::Waiting, at(round), TIDEGATE, "");
        }
        assert_eq!(incident.steps.len(), STEPS_KEPT);
        assert_eq!(incident.steps_left_out as usize, 201 - STEPS_KEPT);
        assert_eq!(incident.steps[0].stage, Stage::Opened);
        assert_eq!(incident.steps[STEPS_KEPT - 1].at, at(99));
    }

    #[test]
    fn who_was_told_is_read_from_the_deliveries() {
        let targets = ["mail".to_owned(), "hook".to_owned()];
        let told_when = |deliveries: &[(&str, DeliveryState)]| {
            let notice = Notice {
                id: NoticeId(1),
                notice: NewNotice {
                    kind: CIRCUIT_OPENED.to_owned(),
                    subject: "aircraft".to_owned(),
                    at: at(100),
                    data: serde_json::Value::Null,
                },
                deliveries: deliveries
                    .iter()
                    .map(|(target, state)| Delivery {
                        target: (*target).to_owned(),
                        tries: 1,
                        state: *state,
                        error: None,
                    })
                    .collect(),
            };
            told("aircraft", at(100), &[notice], &targets)
        };
        let (due, delivered, given_up) =
            (DeliveryState::Due(at(101)), DeliveryState::Delivered(at(101)), DeliveryState::GivenUp(at(101)));
        assert_eq!(told_when(&[]), Told::Nobody);
        assert_eq!(told_when(&[("mail", due), ("hook", given_up)]), Told::Nobody);
        assert_eq!(told_when(&[("mail", due), ("hook", delivered)]), Told::Somebody);
        assert_eq!(told_when(&[("mail", given_up), ("hook", delivered)]), Told::Everybody);
        assert_eq!(told("aircraft", at(100), &[], &[]), Told::Everybody);
    }
}
