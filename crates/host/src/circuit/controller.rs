//! Looks after the circuits of an instance: reads what all have decided, judges, changes, and moves the gates.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState, PAUSE, Pause, Probe};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::ErrorKind;
use tidegate_model::health::BUCKET_MILLIS;
use tidegate_model::ports::{RegisterChange, Store, StoreError};
use tidegate_model::register::{RegisterKey, Version};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use super::acts::{parse_circuit, to_json};
use super::candidates::{Candidates, Offer};
use super::decide::{Decision, Evidence, Finding, decide};
use super::exchange::{Exchange, exchange};
use super::gate::{Flow, Gate, GateState, StepAside};
use super::probe::ProbeLease;
use super::ramp::ramp;
use super::settings::CircuitSettings;
use super::status::{lanes_of, parse_pause};
use super::transition::{self, TIDEGATE};
use super::window::read_window;
use crate::tasks::{self, Task};

/// The kind of the registers in which instances announce their oldest event for a probe. A register's name is
/// `circuit/instance`.
pub const PROBE_OFFER: &str = "probe-offer";

/// The kind of the registers of instances that step aside. A register's name is `circuit/instance`.
pub const STEP_ASIDE: &str = "step-aside";

/// How many looks at the store may at most be asked for in a poll interval.
const CHECKS_PER_POLL: u32 = 10;

/// The shorter windows that show how it is lately, in seconds.
const LATELY: [u64; 5] = [1, 2, 5, 10, 20];

/// A circuit that an instance takes part in.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitSetup {
    /// Its name: a function's, or a dependency's.
    pub name: FunctionName,
    /// Its settings.
    pub settings: CircuitSettings,
    /// How many lanes it is about, at all instances together.
    pub lanes: u64,
    /// The size of a full batch; what the [ramp](super::ramp) grows to.
    pub max_batch: usize,
    /// The functions whose held events are tried when it closes: the function itself, or those that need the dependency.
    pub functions: Vec<FunctionName>,
}

impl CircuitSetup {
    /// The circuit of a function.
    pub fn of_function(name: FunctionName, settings: CircuitSettings, lanes: u64, max_batch: usize) -> Self {
        Self { functions: vec![name.clone()], name, settings, lanes, max_batch }
    }
}

/// The circuits of one instance. Clones are the same; when the last is dropped, nothing is looked after any more and the
/// gates stay as they are.
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
    _looker: Arc<Looker>,
}

/// The task that looks at the store now and then.
struct Looker(Task);

impl Drop for Looker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl CircuitBreaker {
    /// Begins to look after these circuits. The settings must be [valid](CircuitSettings::validate).
    ///
    /// `instance` is the id of the running program that also stands in its
    /// [health records](tidegate_model::health::HealthRecord). Nothing flows until the store has said how the circuits
    /// stand, which is asked at once.
    pub fn start(
        store: Arc<dyn Store>,
        clock: SharedClock,
        instance: String,
        circuits: Vec<CircuitSetup>,
    ) -> Self {
        let intervals = circuits.iter().map(|setup| setup.settings.poll_interval);
        let poll_interval = intervals.min().unwrap_or(CircuitSettings::default().poll_interval);
        let watch = |setup: CircuitSetup| (setup.name.clone(), Watched::new(setup, poll_interval));
        let shared = Arc::new(Shared {
            store,
            clock,
            instance,
            circuits: circuits.into_iter().map(watch).collect(),
            poll_interval,
            wake: Notify::new(),
            others: Mutex::default(),
        });
        let looker = tasks::spawn(Arc::clone(&shared).look_now_and_then());
        Self { shared, _looker: Arc::new(Looker(looker)) }
    }

    /// The gate of a circuit; `None` if this instance takes no part in it.
    pub fn gate(&self, circuit: &FunctionName) -> Option<Gate> {
        self.shared.circuits.get(circuit).map(|watched| Gate { state: watched.gate.subscribe() })
    }

    /// Asks for a look at the store without waiting for the next poll: failures were committed. It returns at once, and
    /// many calls are one look.
    pub fn request_check(&self) {
        self.shared.wake.notify_one();
    }

    /// Says which other instances are there now. An instance leaves its lanes to others only if there are any; until this is
    /// called there are none.
    pub fn set_others(&self, others: impl IntoIterator<Item = String>) {
        *self.shared.others.lock() = others.into_iter().collect();
    }

    /// Claims the probe of a half-open circuit for an event that was enqueued at `oldest`, the oldest that the caller has.
    ///
    /// `None` when there is no probe to be had now: another event is older, as far as that is
    /// [known](super#what-is-guaranteed), another instance has it, or the circuit is not half-open. A caller that still
    /// wants it asks again after each poll interval, as [`probe_turn`](Self::probe_turn) does; whoever does not is forgotten
    /// after three intervals.
    ///
    /// A caller that goes away while this is under way may have made a claim: it is given back, but that takes time.
    pub async fn try_probe(&self, circuit: &FunctionName, oldest: Timestamp) -> Option<ProbeLease> {
        let shared = &self.shared;
        let watched = shared.circuits.get(circuit)?;
        let now = shared.clock.monotonic();
        let (seen, claim) = {
            let mut known = watched.known.lock();
            let is_stopped = known.aside.is_some() || known.pauses.as_ref()?.function.is_some();
            let seen = known.seen.clone()?;
            if is_stopped || known.probe_is_out || seen.circuit.state != CircuitState::HalfOpen {
                return None;
            }
            if seen.circuit.probe.is_some() && !shared.probe_ran_out(watched, &seen) {
                return None;
            }
            let is_new = known.candidates.own(now).is_none();
            let is_oldest = known.candidates.ask(oldest, now);
            if is_new {
                shared.wake.notify_one();
            }
            if !is_oldest || !known.candidates.may_claim(now) {
                return None;
            }
            let until = shared.clock.now().plus(watched.setup.settings.probe_timeout);
            let claim = Probe { holder: shared.instance.clone(), until };
            known.probe_is_out = true;
            known.claim = Some(claim.clone());
            (seen, claim)
        };
        // From here on it is given back however this ends, also when the caller goes away.
        let mut lease = ProbeLease {
            shared: Arc::clone(shared),
            name: circuit.clone(),
            claimed: None,
            ends: now + watched.setup.settings.probe_timeout,
        };
        let next = transition::with_probe(&seen.circuit, Some(claim));
        match shared.transition(watched, &seen, next, None).await {
            Ok(claimed) => lease.claimed = Some(claimed?),
            Err(error) => {
                warn!(%circuit, %error, "the probe was not claimed: the store does not answer");
                return None;
            }
        }
        Some(lease)
    }

    /// Waits for the probe, as [`try_probe`](Self::try_probe) tells to. `None` as soon as the circuit is not half-open, or
    /// its function is paused.
    pub async fn probe_turn(&self, circuit: &FunctionName, oldest: Timestamp) -> Option<ProbeLease> {
        let watched = self.shared.circuits.get(circuit)?;
        let mut gate = watched.gate.subscribe();
        loop {
            {
                let state = gate.borrow_and_update();
                if !matches!(state.flow, Flow::Probing { .. }) || state.paused.is_some() {
                    return None;
                }
            }
            // From before it asks, so that nothing is missed in between.
            let claimable = watched.claimable.notified();
            if let Some(lease) = self.try_probe(circuit, oldest).await {
                return Some(lease);
            }
            tokio::select! {
                biased;
                () = claimable => {}
                _ = gate.changed() => {}
                () = self.shared.clock.sleep(self.shared.poll_interval) => {}
            }
        }
    }
}

impl std::fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let circuits: Vec<_> = self.shared.circuits.keys().collect();
        f.debug_struct("CircuitBreaker")
            .field("instance", &self.shared.instance)
            .field("circuits", &circuits)
            .finish()
    }
}

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: SharedClock,
    pub(super) circuits: BTreeMap<FunctionName, Watched>,
    pub(super) wake: Notify,
    instance: String,
    poll_interval: Duration,
    /// The other instances that are there.
    others: Mutex<BTreeSet<String>>,
}

/// A circuit with what is known about it.
pub(super) struct Watched {
    pub(super) setup: CircuitSetup,
    pub(super) known: Mutex<Known>,
    gate: watch::Sender<GateState>,
    /// Wakes the lanes that wait for the probe when one of them may claim it. It is not the gate that wakes them: its other
    /// watchers would drop the claim under way.
    claimable: Notify,
}

pub(super) struct Known {
    /// True while a [`ProbeLease`] of this circuit exists here.
    pub(super) probe_is_out: bool,
    /// The probe that was claimed here last, or that was tried to be claimed and nobody knows whether it was.
    claim: Option<Probe>,
    /// The circuit as it was seen last; `None` until the store has answered.
    seen: Option<Seen>,
    /// `None` until the store has answered.
    pauses: Option<Pauses>,
    candidates: Candidates,
    aside: Option<Aside>,
    /// The circuit closed, and what was held is still to be released.
    release_is_due: bool,
    /// There may be announcements that nobody needs any more.
    offers_remain: bool,
    /// The register holds something else than a circuit, which has been said.
    is_unreadable: bool,
}

/// A circuit, and when this instance saw it first like this, on its steady clock.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) circuit: Circuit,
    pub(super) at: Duration,
}

struct Pauses {
    function: Option<Pause>,
    lanes: BTreeMap<String, Pause>,
}

/// This instance steps aside.
struct Aside {
    step: StepAside,
    ends: Duration,
    version: Version,
}

#[derive(Serialize, Deserialize)]
struct StoredOffer {
    oldest: Timestamp,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct StoredAside {
    since: Timestamp,
    until: Timestamp,
    reason: String,
}

impl Watched {
    fn new(setup: CircuitSetup, poll_interval: Duration) -> Self {
        let known = Known {
            probe_is_out: false,
            claim: None,
            seen: None,
            pauses: None,
            candidates: Candidates::new(poll_interval),
            aside: None,
            release_is_due: false,
            offers_remain: true,
            is_unreadable: false,
        };
        let gate = GateState {
            flow: not_known_yet(),
            paused: None,
            paused_lanes: BTreeMap::new(),
            step_aside: None,
        };
        Self { setup, known: Mutex::new(known), gate: watch::Sender::new(gate), claimable: Notify::new() }
    }

    fn key(&self) -> RegisterKey {
        RegisterKey::new(CIRCUIT, self.setup.name.as_str())
    }

    /// The register of this kind that an instance has for this circuit.
    fn key_of(&self, kind: &'static str, instance: &str) -> RegisterKey {
        RegisterKey::new(kind, format!("{}/{instance}", self.setup.name))
    }

    fn seen_in(&self, state: CircuitState) -> Option<Seen> {
        self.known.lock().seen.clone().filter(|seen| seen.circuit.state == state)
    }
}

fn not_known_yet() -> Flow {
    Flow::Stopped { why: "the store has not said yet how the circuit stands".to_owned() }
}

impl Shared {
    async fn look_now_and_then(self: Arc<Self>) {
        let mut is_away = false;
        let shortest = self.poll_interval / CHECKS_PER_POLL;
        loop {
            match AssertUnwindSafe(self.look()).catch_unwind().await {
                Ok(Ok(())) => is_away = false,
                Ok(Err(error)) => {
                    if !is_away {
                        warn!(%error, "the circuits cannot be looked after: they stay as they are");
                    }
                    is_away = true;
                }
                Err(_) => {
                    error!("looking after the circuits panicked: this is a defect of the host; it goes on");
                }
            }
            self.move_gates();
            self.clock.sleep(shortest).await;
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = self.clock.sleep(self.poll_interval.saturating_sub(shortest)) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let version_of = |watched: &Watched| watched.known.lock().seen.as_ref().map(|seen| seen.version);
        let before: Vec<_> = self.circuits.values().map(version_of).collect();
        let registers = self.store.registers(CIRCUIT).await?;
        for (watched, before) in self.circuits.values().zip(before) {
            let key = watched.key();
            let register = registers.iter().find(|register| register.name == key.name);
            match parse_circuit(&key, register) {
                Ok((version, circuit)) => self.learn_read(watched, before, version, circuit),
                Err(error) => self.complain(watched, &error),
            }
        }

        let mut pauses = BTreeMap::new();
        for register in self.store.registers(PAUSE).await? {
            let (name, pause) = parse_pause(register);
            pauses.insert(name, pause);
        }
        for (name, watched) in &self.circuits {
            let function = pauses.get(name.as_str()).cloned();
            watched.known.lock().pauses = Some(Pauses { function, lanes: lanes_of(name, &pauses) });
        }
        self.move_gates();

        let mut problem = None;
        for watched in self.circuits.values() {
            match self.look_after(watched).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Transient => return Err(error),
                // It is about this circuit alone.
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(()), Err)
    }

    async fn look_after(&self, watched: &Watched) -> Result<(), StoreError> {
        if watched.known.lock().release_is_due {
            self.release_held(watched).await?;
            watched.known.lock().release_is_due = false;
            // Who waits with what was held looks again.
            watched.claimable.notify_waiters();
        }
        self.come_back(watched).await?;
        if let Some(seen) = watched.seen_in(CircuitState::Closed)
            && watched.setup.settings.enabled
            && watched.known.lock().aside.is_none()
        {
            self.judge(watched, &seen).await?;
        }
        if let Some(seen) = watched.seen_in(CircuitState::Open)
            && self.probe_is_due(watched, &seen)
        {
            let why = transition::probe_is_due(&seen.circuit, &watched.setup.settings);
            let next = transition::half_open(&seen.circuit, TIDEGATE, why, self.clock.now());
            self.transition(watched, &seen, next, None).await?;
        }
        match watched.seen_in(CircuitState::HalfOpen) {
            Some(seen) => self.look_for_a_probe(watched, &seen).await,
            None => self.clear_offers(watched).await,
        }
    }

    // ---------------------------------------------------------------- what is known

    /// Takes in what was read from the store, unless it is older than what this instance has changed since.
    fn learn_read(&self, watched: &Watched, before: Option<Version>, version: Version, circuit: Circuit) {
        let is_news = {
            let known = watched.known.lock();
            let now = known.seen.as_ref().map(|seen| seen.version);
            // A version that went back is a store that was restored from a backup: what it says is true.
            if now == before { now != Some(version) } else { now < Some(version) }
        };
        if is_news {
            self.learn(watched, version, circuit);
        }
    }

    /// Takes in a newer version of a circuit.
    fn learn(&self, watched: &Watched, version: Version, circuit: Circuit) -> Seen {
        let seen = Seen { version, circuit, at: self.clock.monotonic() };
        let mut known = watched.known.lock();
        known.is_unreadable = false;
        let (was, is) = (known.seen.as_ref().map(|seen| seen.circuit.state), seen.circuit.state);
        if was != Some(is) {
            if was.is_some() || is != CircuitState::Closed {
                let Circuit { by, reason, .. } = &seen.circuit;
                info!(circuit = %watched.setup.name, by, reason, "the circuit is {}", is.as_str());
            }
            known.release_is_due |= was.is_some() && is == CircuitState::Closed;
            known.offers_remain |= was == Some(CircuitState::HalfOpen);
            known.candidates.reset();
        } else if seen.circuit.probe.is_some() {
            known.candidates.reset();
        }
        known.seen = Some(seen.clone());
        self.move_gate(watched, &known);
        seen
    }

    fn complain(&self, watched: &Watched, error: &StoreError) {
        let mut known = watched.known.lock();
        if !known.is_unreadable {
            error!(circuit = %watched.setup.name, %error, "the circuit stays as it is known here; open or close it by hand");
        }
        known.is_unreadable = true;
    }

    /// How long a circuit is as it is. The time of day may have gone back; then it is as long as this instance has seen it.
    fn age(&self, seen: &Seen) -> Duration {
        self.clock.now().since(seen.circuit.since).max(self.watched_for(seen))
    }

    fn watched_for(&self, seen: &Seen) -> Duration {
        self.clock.monotonic().saturating_sub(seen.at)
    }

    fn probe_is_due(&self, watched: &Watched, seen: &Seen) -> bool {
        let delay = watched.setup.settings.probe.delay(seen.circuit.failed_probes);
        !seen.circuit.manual && delay.is_some_and(|delay| self.age(seen) >= delay)
    }

    /// Whether the holder of the probe has had all its time. Only the steady clock counts: it began when this instance
    /// first saw the claim, which is after the holder made it.
    fn probe_ran_out(&self, watched: &Watched, seen: &Seen) -> bool {
        self.watched_for(seen) >= watched.setup.settings.probe_timeout
    }

    fn move_gates(&self) {
        for watched in self.circuits.values() {
            let known = watched.known.lock();
            self.move_gate(watched, &known);
        }
    }

    fn move_gate(&self, watched: &Watched, known: &Known) {
        let flow = match (&known.aside, &known.seen, &known.pauses) {
            (Some(Aside { step: StepAside { reason, until }, .. }), ..) => {
                Flow::Stopped { why: format!("this instance steps aside until {until}: {reason}") }
            }
            (None, Some(seen), Some(_)) => self.flow(watched, seen),
            _ => not_known_yet(),
        };
        let state = GateState {
            flow,
            paused: known.pauses.as_ref().and_then(|pauses| pauses.function.clone()),
            paused_lanes: known.pauses.as_ref().map(|pauses| pauses.lanes.clone()).unwrap_or_default(),
            step_aside: known.aside.as_ref().map(|aside| aside.step.clone()),
        };
        watched.gate.send_if_modified(|now| {
            let is_new = *now != state;
            *now = state;
            is_new
        });
    }

    fn flow(&self, watched: &Watched, seen: &Seen) -> Flow {
        let CircuitSetup { settings, max_batch, .. } = &watched.setup;
        match seen.circuit.state {
            CircuitState::Open => Flow::Stopped { why: transition::why_stopped(&seen.circuit, settings) },
            // In turn with the oldest: it is known to need what was away, and an untried one perhaps does not.
            CircuitState::HalfOpen => Flow::Probing { untried_first: seen.circuit.failed_probes % 2 == 1 },
            // One that was never open has nothing to recover from.
            CircuitState::Closed if seen.circuit.opened_at.is_none() => Flow::Flowing { max_batch: None },
            CircuitState::Closed => {
                Flow::Flowing { max_batch: ramp(self.age(seen), settings.ramp, *max_batch) }
            }
        }
    }

    // ---------------------------------------------------------------- changes

    /// Changes a circuit, with the notice if its state changes. The circuit as it is then, or `None` when somebody else
    /// changed it before; what they made of it is known then.
    pub(super) async fn transition(
        &self,
        watched: &Watched,
        from: &Seen,
        next: Circuit,
        finding: Option<&Finding>,
    ) -> Result<Option<Seen>, StoreError> {
        let CircuitSetup { name, settings, .. } = &watched.setup;
        let notices = if next.state == from.circuit.state {
            Vec::new()
        } else {
            vec![transition::notice(name, &next, Some(settings), finding)]
        };
        let key = watched.key();
        let change = RegisterChange {
            key: key.clone(),
            from: from.version,
            value: Some(to_json(&next)?),
            at: self.clock.now(),
            notices,
            trail: Vec::new(),
        };
        match exchange(&*self.store, change).await? {
            Exchange::Done(version) => Ok(Some(self.learn(watched, version, next))),
            Exchange::Moved => {
                let before = watched.known.lock().seen.as_ref().map(|seen| seen.version);
                let (version, circuit) = parse_circuit(&key, self.store.register(&key).await?.as_ref())?;
                self.learn_read(watched, before, version, circuit);
                Ok(None)
            }
        }
    }

    /// Lets what was held be tried again.
    pub(super) async fn release_held(&self, watched: &Watched) -> Result<(), StoreError> {
        for function in &watched.setup.functions {
            let released = self.store.release_held(function, self.clock.now()).await?;
            if released > 0 {
                info!(%function, released, "held events are released: the circuit closes");
            }
        }
        Ok(())
    }

    async fn judge(&self, watched: &Watched, seen: &Seen) -> Result<(), StoreError> {
        let CircuitSetup { name, settings, lanes, .. } = &watched.setup;
        let now = self.clock.now();
        let window = read_window(&*self.store, name, settings.window, &seen.circuit, now).await?;
        let mut lately = Vec::new();
        // Without failures there is nothing to look closer at.
        if window.iter().any(|one| one.counts.failed_attempts > 0) {
            for seconds in
                LATELY.into_iter().map(Duration::from_secs).filter(|short| *short < settings.window)
            {
                lately.push(read_window(&*self.store, name, seconds, &seen.circuit, now).await?);
            }
        }
        let others = self.others.lock().clone();
        let mut evidence = Evidence {
            window: &window,
            lately: &lately,
            lanes: *lanes,
            instance: &self.instance,
            others: &others,
            can_step_aside: true,
        };
        let mut decision = decide(settings, &evidence);
        if let Decision::StepAside(_) = decision {
            evidence.can_step_aside = !self.another_is_aside(watched, now).await?
                && self.others_succeed(watched, seen, &others, now).await?;
            decision = decide(settings, &evidence);
        }
        match decision {
            Decision::Nothing => {}
            Decision::Open(finding) => {
                let next = transition::opened(settings, &finding, now);
                self.transition(watched, seen, next, Some(&finding)).await?;
            }
            Decision::StepAside(finding) => self.step_aside(watched, &finding, now).await?,
        }
        Ok(())
    }

    // ---------------------------------------------------------------- stepping aside

    async fn another_is_aside(&self, watched: &Watched, now: Timestamp) -> Result<bool, StoreError> {
        let mut is_another = false;
        for register in self.store.registers(STEP_ASIDE).await? {
            let Some((circuit, instance)) = register.name.split_once('/') else { continue };
            if circuit != watched.setup.name.as_str() {
                continue;
            }
            // One that is too far ahead is from before the clock went back.
            let latest = now.plus(watched.setup.settings.step_aside * 2);
            let is_aside = serde_json::from_value(register.value.clone())
                .is_ok_and(|StoredAside { until, .. }| until > now && until <= latest);
            if is_aside {
                is_another |= instance != self.instance;
            } else {
                // It came to its end without removing it, or will never come back.
                let key = RegisterKey::new(STEP_ASIDE, register.name.clone());
                exchange(&*self.store, removal(key, register.version, now)).await?;
            }
        }
        Ok(is_another)
    }

    /// Whether one of the `others` had success lately, in the newest third of the window.
    async fn others_succeed(
        &self,
        watched: &Watched,
        seen: &Seen,
        others: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let CircuitSetup { name, settings, .. } = &watched.setup;
        let lately = (settings.window / 3).max(Duration::from_millis(3 * BUCKET_MILLIS.unsigned_abs()));
        let window = read_window(&*self.store, name, lately, &seen.circuit, now).await?;
        Ok(window.iter().any(|one| others.contains(&one.instance) && one.counts.succeeded > 0))
    }

    async fn step_aside(
        &self,
        watched: &Watched,
        finding: &Finding,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let CircuitSetup { name, settings, .. } = &watched.setup;
        let key = watched.key_of(STEP_ASIDE, &self.instance);
        let from = self.store.register(&key).await?.map_or(Version::NONE, |register| register.version);
        let until = now.plus(settings.step_aside);
        let stored = StoredAside { since: now, until, reason: finding.reason.clone() };
        let change = RegisterChange {
            key,
            from,
            value: Some(to_json(&stored)?),
            at: now,
            notices: vec![transition::stepped_aside(name, &self.instance, finding, settings, now)],
            trail: Vec::new(),
        };
        if let Exchange::Done(version) = exchange(&*self.store, change).await? {
            warn!(circuit = %name, reason = finding.reason, "this instance steps aside");
            let step = StepAside { reason: finding.reason.clone(), until };
            let ends = self.clock.monotonic() + settings.step_aside;
            let mut known = watched.known.lock();
            known.aside = Some(Aside { step, ends, version });
            self.move_gate(watched, &known);
        }
        Ok(())
    }

    /// Ends stepping aside when it is time.
    async fn come_back(&self, watched: &Watched) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        let over =
            watched.known.lock().aside.as_ref().filter(|aside| aside.ends <= now).map(|aside| aside.version);
        let Some(version) = over else { return Ok(()) };
        let key = watched.key_of(STEP_ASIDE, &self.instance);
        exchange(&*self.store, removal(key, version, self.clock.now())).await?;
        info!(circuit = %watched.setup.name, "this instance is back");
        let mut known = watched.known.lock();
        known.aside = None;
        self.move_gate(watched, &known);
        Ok(())
    }

    // ---------------------------------------------------------------- the probe

    /// While the probe is nobody's: announces this instance's oldest event, hears of the others, and wakes the lanes when
    /// one of them may claim it.
    async fn look_for_a_probe(&self, watched: &Watched, seen: &Seen) -> Result<(), StoreError> {
        if let Some(probe) = &seen.circuit.probe {
            let is_orphan = {
                let known = watched.known.lock();
                !known.probe_is_out && known.claim.as_ref() == Some(probe)
            };
            if is_orphan {
                let next = transition::with_probe(&seen.circuit, None);
                self.transition(watched, seen, next, None).await?;
                return Ok(());
            }
            if !self.probe_ran_out(watched, seen) {
                return Ok(());
            }
        }
        let (own, others) = self.offers(watched).await?;
        let oldest = {
            let mut known = watched.known.lock();
            let now = self.clock.monotonic();
            known.candidates.heard(others, now);
            known.candidates.own(now)
        };
        let key = watched.key_of(PROBE_OFFER, &self.instance);
        let at = self.clock.now();
        match (oldest, own) {
            (Some(oldest), own) => {
                let value = Some(to_json(&StoredOffer { oldest, at })?);
                let from = own.unwrap_or(Version::NONE);
                let change = RegisterChange { key, from, value, at, notices: Vec::new(), trail: Vec::new() };
                if let Exchange::Done(_) = exchange(&*self.store, change).await? {
                    watched.known.lock().candidates.announced(self.clock.monotonic());
                }
            }
            (None, Some(version)) => {
                exchange(&*self.store, removal(key, version, at)).await?;
            }
            (None, None) => {}
        }
        if watched.known.lock().candidates.may_claim(self.clock.monotonic()) {
            watched.claimable.notify_waiters();
        }
        Ok(())
    }

    /// The version of this instance's announcement, and the announcements of the others.
    async fn offers(&self, watched: &Watched) -> Result<(Option<Version>, Vec<Offer>), StoreError> {
        let (mut own, mut others) = (None, Vec::new());
        for register in self.store.registers(PROBE_OFFER).await? {
            let Some((circuit, instance)) = register.name.split_once('/') else { continue };
            if circuit != watched.setup.name.as_str() {
                continue;
            }
            if instance == self.instance {
                own = Some(register.version);
                continue;
            }
            // One that cannot be read is no candidate, but is cleared away like the others.
            let oldest = serde_json::from_value(register.value)
                .map_or(Timestamp::from_millis(i64::MAX), |offer: StoredOffer| offer.oldest);
            others.push(Offer { instance: instance.to_owned(), version: register.version, oldest });
        }
        Ok((own, others))
    }

    /// Removes announcements that nobody needs: this instance's, and those of instances that are gone.
    async fn clear_offers(&self, watched: &Watched) -> Result<(), StoreError> {
        if !watched.known.lock().offers_remain {
            return Ok(());
        }
        let (own, others) = self.offers(watched).await?;
        let gone: Vec<Offer> = {
            let mut known = watched.known.lock();
            let now = self.clock.monotonic();
            known.candidates.heard(others.iter().cloned(), now);
            others.iter().filter(|other| !known.candidates.is_alive(&other.instance, now)).cloned().collect()
        };
        let mine = own.map(|version| (self.instance.clone(), version));
        let removed: Vec<_> =
            gone.iter().map(|offer| (offer.instance.clone(), offer.version)).chain(mine).collect();
        for (instance, version) in &removed {
            let key = watched.key_of(PROBE_OFFER, instance);
            exchange(&*self.store, removal(key, *version, self.clock.now())).await?;
        }
        if gone.len() == others.len() {
            watched.known.lock().offers_remain = false;
        }
        Ok(())
    }
}

fn removal(key: RegisterKey, from: Version, at: Timestamp) -> RegisterChange {
    RegisterChange { key, from, value: None, at, notices: Vec::new(), trail: Vec::new() }
}
