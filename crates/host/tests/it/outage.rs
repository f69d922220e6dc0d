//! A downstream goes away and comes back: the circuit opens before the dead letters fill, and afterwards every event is
//! applied, once, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_host::processor::Processor;
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{OnExhausted, Order};
use tidegate_host::status::LaneState;
use tidegate_model::answer::Answer;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::Clock;
use tidegate_model::event::Event;
use tidegate_model::ports::{Outbox, Registers};
use tidegate_model::register::RegisterKey;

use crate::harness::{World, lane};

const PARTITIONS: u32 = 4;
const KEYS: usize = 400;

fn world(order: Order, on_exhausted: OnExhausted) -> World {
    let mut world = World::new(PARTITIONS);
    world.settings.order = order;
    world.settings.on_exhausted = on_exhausted;
    world.settings.retry = RetryPolicy::ExponentialBackoff {
        max_attempts: Some(4),
        min_interval: Duration::from_millis(100),
        max_interval: Duration::from_secs(10),
    };
    world
}

/// Each key gets its next number, in its partition.
async fn publish(world: &World, rounds: std::ops::Range<usize>) {
    for round in rounds {
        for partition in 0..PARTITIONS {
            let keys = (0..KEYS).filter(|key| key % PARTITIONS as usize == partition as usize);
            let events: Vec<String> = keys.map(|key| format!("k{key}:{round}")).collect();
            world.publish_keyed(partition, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
    }
}

async fn circuit(world: &World) -> Option<Circuit> {
    let key = RegisterKey::new(CIRCUIT, lane(0).function.as_str());
    let register = world.store.register(&key).await.unwrap()?;
    Some(serde_json::from_value(register.value).unwrap())
}

async fn until_open(world: &World) {
    while circuit(world).await.is_none_or(|circuit| circuit.state != CircuitState::Open) {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
}

async fn until_gated(world: &World, processor: &Processor) {
    while !processor.status().iter().all(|lane| matches!(lane.state, LaneState::Gated { .. })) {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
}

fn expected(rounds: usize) -> BTreeMap<String, Vec<String>> {
    let numbers: Vec<String> = (0..rounds).map(|round| round.to_string()).collect();
    (0..KEYS).map(|key| (format!("k{key}"), numbers.clone())).collect()
}

async fn an_outage(
    order: Order,
    on_exhausted: OnExhausted,
    is_down: &'static AtomicBool,
    act: crate::harness::Act,
) {
    is_down.store(false, Ordering::SeqCst);
    let world = world(order, on_exhausted);
    publish(&world, 0..3).await;
    let processor = world.start(act).await;
    processor.caught_up().await;

    is_down.store(true, Ordering::SeqCst);
    publish(&world, 3..6).await;
    until_open(&world).await;
    until_gated(&world, &processor).await;
    let given = world.given().len();
    publish(&world, 6..8).await;
    world.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(world.given().len(), given, "an open circuit invokes nothing");
    // One probe after half a minute, and it fails.
    world.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(world.given().len(), given + 1, "one event of the fleet is tried");
    assert_eq!(
        circuit(&world).await.map(|circuit| (circuit.state, circuit.failed_probes)),
        Some((CircuitState::Open, 1))
    );

    is_down.store(false, Ordering::SeqCst);
    assert!(processor.settled().await);
    assert_eq!(circuit(&world).await.map(|circuit| circuit.state), Some(CircuitState::Closed));
    processor.drain(Duration::from_secs(10)).await;
    let letters = world.dead_letters().await;
    let mut documents = expected(8);
    for stored in &letters {
        let text = std::str::from_utf8(stored.letter.event.body()).unwrap();
        let (key, round) = text.split_once(':').unwrap();
        documents.get_mut(key).unwrap().retain(|entry| entry != round);
    }
    assert_eq!(world.documents().await, documents, "in order, each once");
    match on_exhausted {
        OnExhausted::Hold => assert!(letters.is_empty(), "{} dead letters", letters.len()),
        OnExhausted::DeadLetter => assert!(letters.len() <= 100, "{} dead letters", letters.len()),
    }
    let notices = world.store.recent_notices(100).await.unwrap();
    let count = |kind: &str| notices.iter().filter(|notice| notice.notice.kind == kind).count();
    assert_eq!((count("circuit.opened"), count("circuit.closed")), (1, 1), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn in_key_order_with_hold_nothing_is_set_aside() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    fn act(_: &Event, _: &str) -> Option<Answer> {
        DOWN.load(Ordering::SeqCst).then(|| Answer::fail("the downstream is away"))
    }
    an_outage(Order::Key, OnExhausted::Hold, &DOWN, act).await;
}

#[tokio::test(start_paused = true)]
async fn in_key_order_at_most_the_threshold_is_set_aside() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    fn act(_: &Event, _: &str) -> Option<Answer> {
        DOWN.load(Ordering::SeqCst).then(|| Answer::fail("the downstream is away"))
    }
    an_outage(Order::Key, OnExhausted::DeadLetter, &DOWN, act).await;
}

#[tokio::test(start_paused = true)]
async fn in_partition_order_with_hold_nothing_is_set_aside() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    fn act(_: &Event, _: &str) -> Option<Answer> {
        DOWN.load(Ordering::SeqCst).then(|| Answer::fail("the downstream is away"))
    }
    an_outage(Order::Partition, OnExhausted::Hold, &DOWN, act).await;
}

#[tokio::test(start_paused = true)]
async fn in_partition_order_at_most_the_threshold_is_set_aside() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    fn act(_: &Event, _: &str) -> Option<Answer> {
        DOWN.load(Ordering::SeqCst).then(|| Answer::fail("the downstream is away"))
    }
    an_outage(Order::Partition, OnExhausted::DeadLetter, &DOWN, act).await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_key_among_many_never_opens_the_circuit() {
    fn act(event: &Event, _: &str) -> Option<Answer> {
        event.body().starts_with(b"k7:").then(|| Answer::fail("this one never works"))
    }
    let world = world(Order::Key, OnExhausted::DeadLetter);
    publish(&world, 0..50).await;
    world.settle(act).await;
    assert_eq!(world.dead_letters().await.len(), 50);
    assert!(circuit(&world).await.is_none_or(|circuit| circuit.state == CircuitState::Closed));
    let mut documents = expected(50);
    documents.remove("k7");
    assert_eq!(world.documents().await, documents);
}
