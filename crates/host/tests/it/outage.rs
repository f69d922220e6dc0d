//! A downstream goes away and comes back: the circuit opens before the dead letters fill, nothing is invoked while it is
//! open, and afterwards every event is applied, once, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_host::circuit::acts;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{OnExhausted, Order};
use tidegate_host::status::LaneState;
use tidegate_model::answer::Answer;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState, is_only_failing};
use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt};
use tidegate_model::dead_letter::Acted;
use tidegate_model::document::{CollectionName, Document, DocumentId};
use tidegate_model::event::Event;
use tidegate_model::health::InstanceHealth;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{Commits, Documents, Outbox, Parking, Registers, Store, StoreError, async_trait};
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::RegisterKey;
use tidegate_model::trail::Act as Deed;

use crate::harness::{Journal, World, apply, descriptor, lane};

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

/// After a burst only what fails is tried, again and again: that says nothing about the world.
#[tokio::test(start_paused = true)]
async fn many_bad_keys_never_open_the_circuit_when_nothing_else_comes() {
    fn is_bad(key: usize) -> bool {
        key % 19 == 7
    }
    fn act(event: &Event, _: &str) -> Option<Answer> {
        let key = std::str::from_utf8(event.body()).ok()?.split_once(':')?.0;
        is_bad(key.strip_prefix('k')?.parse().ok()?).then(|| Answer::fail("this one never works"))
    }
    const ROUNDS: usize = 20;
    let bad: Vec<usize> = (0..KEYS).filter(|key| is_bad(*key)).collect();
    for order in [Order::Key, Order::None] {
        let world = world(order, OnExhausted::DeadLetter);
        publish(&world, 0..ROUNDS).await;
        world.settle(act).await;
        assert_eq!(circuit(&world).await.map(|circuit| circuit.reason), None, "{order:?}");
        assert_eq!(world.dead_letters().await.len(), bad.len() * ROUNDS);
        let mut documents = expected(ROUNDS);
        for key in &bad {
            documents.remove(&format!("k{key}"));
        }
        assert_eq!(world.documents().await, documents);
    }
}

/// Few keys in one partition are soon all parked: nothing new is tried, and no other lane says anything.
#[tokio::test(start_paused = true)]
async fn an_outage_of_few_keys_in_a_single_partition_opens_the_circuit_too() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    fn act(_: &Event, _: &str) -> Option<Answer> {
        DOWN.load(Ordering::SeqCst).then(|| Answer::fail("the downstream is away"))
    }
    const ROUNDS: usize = 60;
    let mut world = World::new(1);
    world.settings = self::world(Order::Key, OnExhausted::DeadLetter).settings;
    let keys = async |round: usize| {
        let events: Vec<String> = (0..20).map(|key| format!("k{key}:{round}")).collect();
        world.publish_keyed(0, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
    };
    keys(0).await;
    let processor = world.start(act).await;
    processor.caught_up().await;
    DOWN.store(true, Ordering::SeqCst);
    for round in 1..ROUNDS {
        keys(round).await;
    }
    until_open(&world).await;
    until_gated(&world, &processor).await;
    DOWN.store(false, Ordering::SeqCst);
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    let letters = world.dead_letters().await.len();
    assert!(letters <= 100, "{letters} dead letters");
    let applied: usize = world.documents().await.values().map(Vec::len).sum();
    assert_eq!(applied + letters, 20 * ROUNDS);
}

/// The oldest that waits may itself be at fault.
#[tokio::test(start_paused = true)]
async fn after_a_probe_that_failed_one_that_never_failed_is_tried() {
    fn act(_: &Event, text: &str) -> Option<Answer> {
        text.starts_with("poison").then(|| Answer::fail("not this one"))
    }
    let world = world(Order::Key, OnExhausted::DeadLetter);
    let processor = world.start(act).await;
    for partition in 0..PARTITIONS {
        let keys: Vec<String> = (0..20).map(|key| format!("p{partition}-{key}:poison")).collect();
        world.publish_keyed(partition, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    until_open(&world).await;
    until_gated(&world, &processor).await;
    assert!(world.parked(0).await.len() > 10);
    world.publish_keyed(3, &["good:1"]).await;
    while circuit(&world).await.is_none_or(|circuit| circuit.state != CircuitState::Closed) {
        world.clock.sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.document("good").await, ["1"]);
    let notices = world.store.recent_notices(100).await.unwrap();
    let failed = notices.iter().filter(|notice| notice.notice.kind == "circuit.probe-failed").count();
    assert!(failed <= 1, "{failed} probes failed");
    processor.drain(Duration::from_secs(10)).await;
}

/// What came in during an outage is in the log. Behind what failed it would only be written into the store and taken out
/// again.
#[tokio::test(start_paused = true)]
async fn after_an_outage_queues_are_worked_off_before_the_backlog_is_read() {
    static DOWN: AtomicBool = AtomicBool::new(false);
    fn act(_: &Event, _: &str) -> Option<Answer> {
        DOWN.load(Ordering::SeqCst).then(|| Answer::fail("the downstream is away"))
    }
    let mut world = world(Order::Key, OnExhausted::Hold);
    // Here time does not pass while there is work, and batches would not grow.
    world.settings.circuit.ramp = Duration::ZERO;
    let store = Arc::new(CountsParked { store: world.store.clone(), parked: AtomicUsize::new(0) });
    let processor = start_over(&world, store.clone(), act).await;
    publish(&world, 0..3).await;
    processor.caught_up().await;
    DOWN.store(true, Ordering::SeqCst);
    publish(&world, 3..5).await;
    until_open(&world).await;
    until_gated(&world, &processor).await;
    publish(&world, 5..20).await;
    let before = store.parked.load(Ordering::SeqCst);
    DOWN.store(false, Ordering::SeqCst);
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.documents().await, expected(20), "in order, each once");
    let (later, backlog) = (store.parked.load(Ordering::SeqCst) - before, 15 * KEYS);
    assert!(
        later <= KEYS / 4,
        "{before} were parked in the outage, and {later} of a backlog of {backlog} after it"
    );
}

/// What always fails cannot close the circuit, nor is it set aside while that is open. Somebody has to know.
#[tokio::test(start_paused = true)]
async fn when_only_events_are_left_that_always_fail_the_circuit_says_so() {
    fn act(_: &Event, text: &str) -> Option<Answer> {
        text.starts_with("poison").then(|| Answer::fail("not this one"))
    }
    let world = world(Order::Key, OnExhausted::DeadLetter);
    // In one lane: when all lanes fail, that alone opens the circuit again.
    world.publish_keyed(0, &["a:poison", "b:poison"]).await;
    let deed = || Deed { by: "ada".to_owned(), reason: "works".to_owned(), at: world.clock.now() };
    let function = &lane(0).function;
    acts::open(&world.store, function, &deed()).await.unwrap();
    let processor = world.start(act).await;
    let failed_probe = async |failed| {
        acts::probe_now(&world.store, function, &deed()).await.unwrap();
        while circuit(&world).await.unwrap().failed_probes < failed {
            world.clock.sleep(Duration::from_millis(100)).await;
        }
        circuit(&world).await.unwrap().reason
    };
    for failed in [1, 2] {
        assert_eq!(failed_probe(failed).await, "the probe failed: not this one");
    }
    let reason = failed_probe(3).await;
    assert!(
        reason.contains("all that waits has failed as a probe; the first event parked of key"),
        "{reason}"
    );
    assert!(reason.contains("set them aside or close the circuit. It said: not this one"), "{reason}");

    // One that is well is tried first.
    world.publish_keyed(1, &["c:1"]).await;
    acts::probe_now(&world.store, function, &deed()).await.unwrap();
    assert!(processor.settled().await);
    assert_eq!(circuit(&world).await.unwrap().state, CircuitState::Closed);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.dead_letters().await.len(), 2, "now their attempts are used up");
    assert_eq!(world.document("c").await, ["1"]);
}

/// The way out for who holds, as the circuit names it.
#[tokio::test(start_paused = true)]
async fn when_what_always_fails_is_set_aside_the_next_good_event_closes_the_circuit() {
    fn act(_: &Event, text: &str) -> Option<Answer> {
        text.starts_with("poison").then(|| Answer::fail("not this one"))
    }
    let world = world(Order::Key, OnExhausted::Hold);
    world.publish_keyed(0, &["a:poison", "a:2"]).await;
    world.publish_keyed(1, &["b:poison"]).await;
    let processor = world.start(act).await;
    while !circuit(&world).await.is_some_and(|circuit| is_only_failing(&circuit.reason)) {
        world.clock.sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.dead_letters().await.len(), 0);
    let deed = Deed { by: "ada".to_owned(), reason: "bad data".to_owned(), at: world.clock.now() };
    for partition in [0, 1] {
        let acted = world.store.set_aside(&lane(partition), SequenceNumber::ZERO, &deed).await.unwrap();
        assert_eq!(acted, Acted::Done);
    }
    processor.lanes().iter().for_each(|lane| lane.changed_from_outside());
    // What was behind one of them is the next probe.
    assert!(processor.settled().await);
    assert_eq!(circuit(&world).await.unwrap().state, CircuitState::Closed);
    assert_eq!(world.document("a").await, ["2"]);
    assert_eq!(world.dead_letters().await.len(), 2);
    processor.drain(Duration::from_secs(10)).await;
}

/// Counts how many events are parked in all.
struct CountsParked {
    store: MemoryStore,
    parked: AtomicUsize,
}

tidegate_model::delegate_store!(CountsParked, store: Ownerships, Checkpoints, Documents, Parking, DeadLetters, Registers, Outbox);

#[async_trait]
impl Commits for CountsParked {
    fn guarantee(&self) -> CommitGuarantee {
        self.store.guarantee()
    }

    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        self.store.health(circuit, since).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        let parked: usize = commit.lanes.iter().map(|lane| lane.parked.len()).sum();
        self.parked.fetch_add(parked, Ordering::SeqCst);
        self.store.commit(commit).await
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        self.store.barrier().await
    }
}

async fn start_over(world: &World, store: Arc<dyn Store>, act: crate::harness::Act) -> Processor {
    let function = Journal { descriptor: descriptor(), act, given: Arc::clone(&world.given) };
    let setup = FunctionSetup {
        function: Arc::new(function),
        log: world.log.clone(),
        settings: world.settings.clone(),
    };
    Processor::start(store, world.clock.clone(), world.options.clone(), vec![setup]).await.unwrap()
}

/// The circuit is slow to notice, and meanwhile the program crashes.
#[tokio::test(start_paused = true)]
async fn two_lives_set_no_more_aside_than_one() {
    fn act(_: &Event, _: &str) -> Option<Answer> {
        Some(Answer::fail("the downstream is away"))
    }
    let mut world = world(Order::Key, OnExhausted::DeadLetter);
    world.settings.retry =
        RetryPolicy::FixedDelay { max_attempts: Some(2), delay: Duration::from_millis(10) };
    world.settings.circuit.threshold = 20;
    let hour = Duration::from_secs(3600);
    (world.settings.circuit.window, world.settings.circuit.poll_interval) = (hour, hour);
    for life in 0..2 {
        let events: Vec<String> = (0..15).map(|key| format!("k{key}:{life}")).collect();
        world.publish(0, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let processor = world.start(act).await;
        world.clock.sleep(Duration::from_secs(10)).await;
        drop(processor);
    }
    assert!(circuit(&world).await.is_none(), "nobody has looked since");
    assert_eq!(world.dead_letters().await.len(), 20);
    assert_eq!(world.parked(0).await.len(), 10, "these are tried again");
}

/// A store whose documents can be away.
struct WithoutDocuments {
    store: MemoryStore,
    are_away: AtomicBool,
}

tidegate_model::delegate_store!(WithoutDocuments, store: Ownerships, Checkpoints, Parking, DeadLetters, Registers, Outbox, Commits);

#[async_trait]
impl Documents for WithoutDocuments {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        if self.are_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { detail: "gone fishing".into() });
        }
        self.store.documents(collection, ids).await
    }

    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.store.list_documents(collection, after, limit).await
    }

    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError> {
        self.store.collections().await
    }
}

/// Its documents could not be had, so it is made again and again; that ends when the circuit opens.
#[tokio::test(start_paused = true)]
async fn an_invocation_that_could_not_be_made_is_not_made_again_while_the_circuit_is_open() {
    let world = World::new(1);
    let store = Arc::new(WithoutDocuments { store: world.store.clone(), are_away: AtomicBool::new(true) });
    let processor = start_over(&world, store.clone(), apply).await;
    world.publish(0, &["a:1"]).await;
    while world.given().len() < 3 {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
    let deed = || Deed { by: "ada".to_owned(), reason: "works".to_owned(), at: world.clock.now() };
    acts::open(&*store, &lane(0).function, &deed()).await.unwrap();
    until_gated(&world, &processor).await;
    let given = world.given().len();
    world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(world.given().len(), given, "an open circuit invokes nothing");

    store.are_away.store(false, Ordering::SeqCst);
    acts::close(&*store, &lane(0).function, &deed()).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["1"]);
}
