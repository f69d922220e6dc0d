//! Alerts of several engines over one store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_alerts::engine::{self, Engine, Looked, Observe};
use tidegate_alerts::rules::{FunctionObservation, Observation, RuleSettings};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::Timestamp;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{Outbox, StoreError};
use tokio::sync::{Barrier, Notify};

use crate::clock::ManualClock;
use crate::setup::{shared, store};

/// Says what the test says, and may wait in between.
#[derive(Default)]
struct Numbers {
    recent_dead_letters: Mutex<Option<u64>>,
    error: Mutex<Option<StoreError>>,
    meet: Option<Arc<Barrier>>,
    wait: Option<(Arc<Notify>, Arc<Notify>)>,
}

impl Numbers {
    fn of(recent: u64) -> Self {
        Self { recent_dead_letters: Mutex::new(Some(recent)), ..Self::default() }
    }
}

#[async_trait]
impl Observe for Numbers {
    async fn observe(&self, _now: Timestamp) -> Result<Observation, StoreError> {
        if let Some(barrier) = &self.meet {
            barrier.wait().await;
        }
        if let Some((here, go_on)) = &self.wait {
            here.notify_one();
            go_on.notified().await;
        }
        if let Some(error) = self.error.lock().take() {
            return Err(error);
        }
        let function = self.recent_dead_letters.lock().map(|recent| FunctionObservation {
            function: FunctionName::new("aircraft").unwrap(),
            open_dead_letters: recent,
            recent_dead_letters: recent,
            oldest_dead_letter: None,
            circuit: CircuitState::Closed,
            paused: false,
            lanes: Vec::new(),
        });
        Ok(Observation { functions: function.into_iter().collect() })
    }
}

fn engine(memory: &MemoryStore, numbers: &Arc<Numbers>, clock: &Arc<ManualClock>) -> Engine {
    let observe: Arc<dyn Observe> = Arc::<Numbers>::clone(numbers);
    Engine::new(&store(memory), observe, RuleSettings::default(), Vec::new(), shared(clock))
}

/// The kinds of all notices, in the order they were made.
async fn kinds(memory: &MemoryStore) -> Vec<String> {
    let mut notices = memory.recent_notices(100).await.unwrap();
    notices.reverse();
    notices.into_iter().map(|notice| notice.notice.kind).collect()
}

#[tokio::test]
async fn an_alert_is_told_at_its_beginning_while_it_lasts_and_at_its_end() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let numbers = Arc::new(Numbers::of(12));
    let engine = engine(&memory, &numbers, &clock);
    assert_eq!(engine.look().await, Ok(Looked { told: 1, outrun: 0 }));
    assert_eq!(engine.look().await, Ok(Looked { told: 0, outrun: 0 }));
    clock.advance(RuleSettings::default().repeat_every);
    engine.look().await.unwrap();

    // What is not observed any more is over as well.
    *numbers.recent_dead_letters.lock() = None;
    engine.look().await.unwrap();
    assert!(engine::list(&memory).await.unwrap()[0].firing);
    clock.advance(RuleSettings::default().settle);
    engine.look().await.unwrap();
    assert_eq!(
        kinds(&memory).await,
        ["dead-letters.growing", "dead-letters.growing", "dead-letters.growing.resolved"]
    );
    assert!(!engine::list(&memory).await.unwrap()[0].firing);
}

#[tokio::test]
async fn of_two_engines_that_see_the_same_one_tells() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    // Both have read what was told before either decides.
    let meet = Arc::new(Barrier::new(2));
    let numbers = Arc::new(Numbers { meet: Some(meet), ..Numbers::of(12) });
    let (one, two) = (engine(&memory, &numbers, &clock), engine(&memory, &numbers, &clock));
    for _ in 0..3 {
        let (a, b) = tokio::join!(one.look(), two.look());
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.told + b.told, a.outrun + b.outrun), (1, 1));
        clock.advance(RuleSettings::default().repeat_every);
    }
    assert_eq!(kinds(&memory).await.len(), 3);
}

#[tokio::test]
async fn an_engine_with_old_numbers_tells_nothing() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let (here, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let old = Arc::new(Numbers { wait: Some((Arc::clone(&here), Arc::clone(&go_on))), ..Numbers::of(12) });
    let new = Arc::new(Numbers::of(12));
    let (slow, quick) = (engine(&memory, &old, &clock), engine(&memory, &new, &clock));
    let slow = tokio::spawn(async move { slow.look().await });
    here.notified().await;
    // Meanwhile the alert begins and ends.
    quick.look().await.unwrap();
    *new.recent_dead_letters.lock() = Some(0);
    quick.look().await.unwrap();
    clock.advance(Duration::from_secs(120));
    quick.look().await.unwrap();
    go_on.notify_one();
    assert_eq!(slow.await.unwrap(), Ok(Looked { told: 0, outrun: 1 }));
    assert_eq!(kinds(&memory).await, ["dead-letters.growing", "dead-letters.growing.resolved"]);
}

#[tokio::test]
async fn without_numbers_nothing_is_decided() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let numbers = Arc::new(Numbers::of(12));
    let engine = engine(&memory, &numbers, &clock);
    engine.look().await.unwrap();
    let error = StoreError::Unavailable { detail: "busy".to_owned() };
    *numbers.error.lock() = Some(error.clone());
    clock.advance(RuleSettings::default().repeat_every);
    assert_eq!(engine.look().await, Err(error));
    assert_eq!(kinds(&memory).await.len(), 1);
    assert_eq!(engine.look().await, Ok(Looked { told: 1, outrun: 0 }));
}
