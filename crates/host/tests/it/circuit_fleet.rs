//! Instances that share one store and look after one circuit, without a pump.

use std::sync::Arc;
use std::time::Duration;

use tidegate_host::circuit::{
    CircuitBreaker, CircuitSettings, CircuitSetup, CircuitStatus, Flow, GateState, status,
};
use tidegate_model::checkpoint::{Advance, FunctionName, Lane};
use tidegate_model::circuit::{CIRCUIT, Circuit};
use tidegate_model::clock::{Clock, TestClock, Timestamp, timeout};
use tidegate_model::commit::{Commit, LaneCommit};
use tidegate_model::event::{Event, EventData};
use tidegate_model::health::{HealthCounts, HealthRecord};
use tidegate_model::memory::MemoryStore;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::parking::{ParkedEvent, Turn};
use tidegate_model::ports::{
    Checkpoints, Commits, DeadLetters, Outbox, Ownerships, Parking, Registers, StoreError,
};
use tidegate_model::position::{Incarnation, SequenceNumber};
use tidegate_model::register::RegisterKey;
use tidegate_model::trail::Act;

use crate::harness::{NOW, lane};

pub(crate) const LANES: u64 = 8;
pub(crate) const MAX_BATCH: usize = 100;
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// The store that the instances share, and one clock for all of them.
pub(crate) struct Fleet {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) settings: CircuitSettings,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            clock: TestClock::new(NOW, 0),
            settings: CircuitSettings::default(),
        }
    }

    pub(crate) fn instance(&self, name: &str) -> CircuitBreaker {
        self.instance_by(name, self.clock.clone())
    }

    /// An instance that has its own idea of the time.
    pub(crate) fn instance_by(&self, name: &str, clock: Arc<TestClock>) -> CircuitBreaker {
        let setup = CircuitSetup::of_function(circuit(), self.settings, LANES, MAX_BATCH);
        self.settings.validate().unwrap();
        CircuitBreaker::start(Arc::new(self.store.clone()), clock, name.to_owned(), vec![setup])
    }

    /// Commits what an instance's events did.
    pub(crate) async fn record(&self, instance: &str, counts: HealthCounts) {
        self.record_for(&circuit(), instance, counts).await;
    }

    pub(crate) async fn record_for(&self, circuit: &FunctionName, instance: &str, counts: HealthCounts) {
        let at = self.clock.now();
        let second = Timestamp::from_millis(at.as_millis() / 1000 * 1000);
        let record = HealthRecord { circuit: circuit.clone(), instance: instance.to_owned(), second, counts };
        let commit = Commit { lanes: Vec::new(), documents: Vec::new(), health: vec![record], at };
        self.store.commit(&commit).await.unwrap();
    }

    /// Parks an event that is held.
    pub(crate) async fn hold_an_event(&self) -> Lane {
        let lane = lane(0);
        let (incarnation, at) = (Incarnation::new(&*self.clock), self.clock.now());
        self.store.begin(&lane, incarnation, SequenceNumber(0), at).await.unwrap();
        let epoch = self.store.claim(&lane, "a", at).await.unwrap().epoch;
        let event = Event {
            sequence_number: SequenceNumber(0),
            enqueued_at: at,
            data: EventData::new("held").with_key("key"),
        };
        let parked = ParkedEvent {
            lane: lane.clone(),
            incarnation,
            event,
            turn: Turn::Held { reason: "the bridge is up".to_owned() },
            attempts: Vec::new(),
            parked_at: at,
            redrive_of: None,
        };
        let step = LaneCommit {
            lane: lane.clone(),
            epoch,
            incarnation,
            advance: Advance { from: SequenceNumber(0), to: SequenceNumber(1) },
            counts: OutcomeCounts { parked: 1, ..OutcomeCounts::default() },
            dead_letters: Vec::new(),
            attempts: Vec::new(),
            parked: vec![parked],
            unparked: Vec::new(),
            reparked: Vec::new(),
        };
        let commit = Commit { lanes: vec![step], documents: Vec::new(), health: Vec::new(), at };
        self.store.commit(&commit).await.unwrap();
        lane
    }

    pub(crate) async fn is_held(&self, lane: &Lane) -> bool {
        let place = self.store.parking_place(lane).await.unwrap();
        matches!(place.heads[0].turn, Turn::Held { .. })
    }

    /// The circuit in the store.
    pub(crate) async fn stored(&self) -> Circuit {
        let register = self.store.register(&RegisterKey::new(CIRCUIT, "journal")).await.unwrap();
        serde_json::from_value(register.unwrap().value).unwrap()
    }

    pub(crate) async fn status(&self) -> CircuitStatus {
        let circuits = [(circuit(), self.settings)];
        status(&self.store, &circuits, self.clock.now()).await.unwrap().remove(0)
    }

    /// The kinds of all notices, oldest first.
    pub(crate) async fn notices(&self) -> Vec<String> {
        let mut notices = self.store.recent_notices(usize::MAX).await.unwrap();
        notices.reverse();
        notices.into_iter().map(|notice| notice.notice.kind).collect()
    }

    /// The actions in the audit trail, oldest first.
    pub(crate) async fn trail(&self) -> Vec<String> {
        let trail = self.store.trail(None, 0, usize::MAX).await.unwrap();
        trail
            .into_iter()
            .map(|entry| format!("{} {} by {}", entry.action, entry.subject, entry.act.by))
            .collect()
    }

    pub(crate) fn act(&self, reason: &str) -> Act {
        Act { by: "ann".to_owned(), reason: reason.to_owned(), at: self.clock.now() }
    }

    /// Lets time pass, and with it all instances look at the store.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
}

pub(crate) fn circuit() -> FunctionName {
    FunctionName::new("journal").unwrap()
}

pub(crate) fn unavailable() -> StoreError {
    StoreError::Unavailable { detail: "gone fishing".into() }
}

pub(crate) fn succeeded(succeeded: u64) -> HealthCounts {
    HealthCounts { succeeded, ..HealthCounts::default() }
}

/// An outage as the window shows it.
pub(crate) fn outage() -> HealthCounts {
    HealthCounts { failing: 150, failed_attempts: 600, failed: 150, failed_lanes: 3, succeeded: 1 }
}

/// Waits until the gate of an instance is like this. A test whose gate never is fails after two hours, which pass in no
/// time.
pub(crate) async fn until(breaker: &CircuitBreaker, is_it: impl Fn(&GateState) -> bool) -> GateState {
    let mut gate = breaker.gate(&circuit()).unwrap().watch();
    let clock = TestClock::new(NOW, 0);
    let state = timeout(&*clock, Duration::from_secs(7200), gate.wait_for(is_it))
        .await
        .map(|state| state.unwrap().clone());
    state.unwrap_or_else(|| panic!("the gate stays {:?}", breaker.gate(&circuit()).unwrap().state()))
}

pub(crate) fn flows(state: &GateState) -> bool {
    matches!(state.flow, Flow::Flowing { .. })
}

/// Stopped by the circuit, not because nothing is known yet.
pub(crate) fn is_open(state: &GateState) -> bool {
    matches!(&state.flow, Flow::Stopped { why } if why.starts_with("the circuit is open"))
}

pub(crate) fn probes(state: &GateState) -> bool {
    matches!(state.flow, Flow::Probing { .. })
}
