//! Lanes that should move and do not: what is done about it, what is told, and that nothing is applied twice by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_host::circuit::acts::{self, PauseTarget};
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{HostOptions, OnExhausted, Sharing};
use tidegate_host::status::{LaneState, WatchdogAction};
use tidegate_host::watchdog::WATCHDOG;
use tidegate_model::answer::{Answer, Answers};
use tidegate_model::clock::Clock;
use tidegate_model::document::{CollectionName, Document, DocumentId};
use tidegate_model::event::Event;
use tidegate_model::memory::{MemoryLog, MemoryStore};
use tidegate_model::ports::{
    CurrentDocument, DeadLetters, Documents, EventLog, Function, FunctionDescriptor, FunctionError,
    Invocation, Outbox, ReadError, Registers, Store, StoreError,
};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_model::trail::Act as Deed;
use tokio::sync::watch;

use crate::harness::{Act, Journal, World, apply, descriptor, lane};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn world(partitions: u32) -> World {
    let mut world = World::new(partitions);
    world.settings.timeout = Duration::from_secs(5);
    world
}

async fn start(
    world: &World,
    name: &str,
    act: Act,
    store: Arc<dyn Store>,
    log: Arc<dyn EventLog>,
) -> Processor {
    let function = Journal { descriptor: descriptor(), act, given: Arc::clone(&world.given) };
    let setup = FunctionSetup { function: Arc::new(function), log, settings: world.settings.clone() };
    let options = HostOptions { owner: name.to_owned(), ..world.options.clone() };
    Processor::start(store, world.clock.clone(), options, vec![setup]).await.unwrap()
}

async fn until(world: &World, what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..100_000 {
        if holds().await {
            return;
        }
        world.clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came to this: {what}; told: {:?}", told(world).await);
}

/// What was told about lanes, oldest first.
async fn told(world: &World) -> Vec<String> {
    let mut notices = world.store.recent_notices(usize::MAX).await.unwrap();
    notices.reverse();
    let about_lanes = notices.into_iter().filter(|notice| notice.notice.kind.starts_with("partition."));
    about_lanes
        .map(|notice| {
            let data = &notice.notice.data;
            let word = data.get("action").and_then(|action| action.as_str()).unwrap_or("");
            format!("{} {} {word}", notice.notice.subject, notice.notice.kind).trim_end().to_owned()
        })
        .collect()
}

async fn is_applied(world: &World, partition: u32, events: u64) -> bool {
    world.checkpoint(partition).await.counts.applied == events
}

async fn until_told(world: &World, expected: &[&str]) {
    until(world, &format!("{expected:?}"), async || told(world).await == expected).await;
}

async fn nothing_is_registered(world: &World) -> bool {
    world.store.registers(WATCHDOG).await.unwrap().is_empty()
}

/// A log that tells nobody when events come.
struct Mute {
    log: Arc<MemoryLog>,
    /// What keeps the watches open.
    tails: Mutex<Vec<watch::Sender<SequenceNumber>>>,
}

#[async_trait]
impl EventLog for Mute {
    tidegate_model::delegate_event_log!(log: status, locate, read);

    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        let (tail, receiver) = watch::channel(self.log.status(partition)?.tail);
        self.tails.lock().push(tail);
        Ok(receiver)
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_not_woken_looks_again() {
    let world = world(2);
    let log = Arc::new(Mute { log: world.log.clone(), tails: Mutex::default() });
    let processor = start(&world, "a", apply, Arc::new(world.store.clone()), log).await;
    world.clock.sleep(HOUR).await;
    assert_eq!(told(&world).await.len(), 0, "it has nothing to do");
    world.publish(1, &["a:1", "a:2"]).await;
    until(&world, "it is noticed", async || is_applied(&world, 1, 2).await).await;
    until_told(&world, &["journal/hub/1 partition.stuck read-again", "journal/hub/1 partition.moving"]).await;
    assert!(nothing_is_registered(&world).await);
    assert!(processor.status().iter().all(|lane| lane.watchdog.is_none()));
    processor.drain(MINUTE).await;
    assert_eq!(world.document("a").await, ["1", "2"]);
}

/// A redrive whose news do not reach the lane: somebody else's program made it.
#[tokio::test(start_paused = true)]
async fn a_parked_event_whose_turn_came_unnoticed_is_found() {
    static REJECTS: AtomicBool = AtomicBool::new(true);
    fn rejects(_: &Event, _: &str) -> Option<Answer> {
        REJECTS.load(Ordering::SeqCst).then(|| Answer::reject("no such device"))
    }
    let world = world(1);
    world.publish(0, &["a:1"]).await;
    let processor = world.start(rejects).await;
    processor.caught_up().await;
    world.clock.sleep(HOUR).await;
    REJECTS.store(false, Ordering::SeqCst);
    let letters = world.dead_letters().await;
    let deed = Deed { by: "ann".into(), reason: "it is back".into(), at: world.clock.now() };
    world.store.redrive(&[letters[0].id], false, &deed).await.unwrap();
    until(&world, "it is applied", async || world.document("a").await == ["1"]).await;
    until_told(&world, &["journal/hub/0 partition.stuck read-again", "journal/hub/0 partition.moving"]).await;
    processor.drain(MINUTE).await;
}

/// A store that gives no documents: so many calls never return.
struct Silent {
    store: MemoryStore,
    calls: AtomicUsize,
}

impl Silent {
    fn for_calls(world: &World, calls: usize) -> Arc<Self> {
        Arc::new(Self { store: world.store.clone(), calls: AtomicUsize::new(calls) })
    }
}

tidegate_model::delegate_store!(Silent, store: Ownerships, Checkpoints, Parking, DeadLetters, Registers, Outbox, Commits);

#[async_trait]
impl Documents for Silent {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        let left = self.calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            std::future::pending::<()>().await;
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

#[tokio::test(start_paused = true)]
async fn a_pump_that_hangs_in_a_call_is_replaced_and_the_other_lanes_go_on() {
    let world = world(2);
    let processor = start(&world, "a", apply, Silent::for_calls(&world, 1), world.log.clone()).await;
    world.publish(0, &["a:1"]).await;
    until(&world, "the function has it", async || !world.given().is_empty()).await;
    world.publish(0, &["a:2"]).await;
    world.publish(1, &["b:1"]).await;
    until(&world, "the other lane goes on", async || is_applied(&world, 1, 1).await).await;
    until(&world, "it is seen in the status", async || {
        let step = processor.status()[0].watchdog.clone();
        step.is_some_and(|step| step.action == WatchdogAction::ReadAgain && step.what.contains("2 events"))
    })
    .await;
    until(&world, "it goes on", async || is_applied(&world, 0, 2).await).await;
    until_told(
        &world,
        &[
            "journal/hub/0 partition.stuck read-again",
            "journal/hub/0 partition.stuck restarted",
            "journal/hub/0 partition.moving",
        ],
    )
    .await;
    world.publish(0, &["a:3"]).await;
    world.publish(1, &["b:2"]).await;
    processor.caught_up().await;
    processor.drain(MINUTE).await;
    assert_eq!((world.document("a").await.len(), world.document("b").await.len()), (3, 2));
}

/// Nothing helps against a store that does not answer commits. A person is told; when it answers after all, everything
/// goes on, also what was decided again meanwhile.
#[tokio::test(start_paused = true)]
async fn a_commit_that_does_not_return_is_reported_and_what_it_did_counts_when_it_returns() {
    let world = world(2);
    let processor = world.start(apply).await;
    world.store.hold_commits();
    // The commit that does not return is the other lane's; what this one decides waits behind it, twice.
    world.publish(1, &["b:1"]).await;
    until(&world, "the first commit is under way", async || !world.given().is_empty()).await;
    world.clock.sleep(MINUTE / 2).await;
    world.publish(0, &["a:1", "a:2"]).await;
    until(&world, "a person is told", async || {
        let steps = processor.status().into_iter().map(|lane| lane.watchdog.map(|step| step.action));
        steps.collect::<Vec<_>>() == [Some(WatchdogAction::Reported); 2]
    })
    .await;
    assert!(world.given().iter().filter(|event| *event == "a:1").count() > 1, "it was decided again");
    world.publish(0, &["a:3"]).await;
    let told_before = told(&world).await.len();
    assert_eq!(told_before, 6, "{:?}", told(&world).await);
    world.store.release_commits();
    processor.caught_up().await;
    until(&world, "nothing is left", async || nothing_is_registered(&world).await).await;
    let moving = told(&world).await.split_off(told_before);
    assert_eq!(moving, ["journal/hub/0 partition.moving", "journal/hub/1 partition.moving"]);
    processor.drain(MINUTE).await;
    assert_eq!(world.document("a").await, ["1", "2", "3"]);
    assert_eq!(world.document("b").await, ["1"]);
    assert_eq!(world.checkpoint(0).await.counts.applied, 3);
}

#[tokio::test(start_paused = true)]
async fn with_others_the_lane_is_left_to_them() {
    let mut world = world(2);
    world.options.sharing = Sharing::shared();
    // Whatever a does, it gets no documents.
    let a = start(&world, "a", apply, Silent::for_calls(&world, usize::MAX), world.log.clone()).await;
    until(&world, "a has both lanes", async || {
        a.status().iter().all(|lane| lane.state == LaneState::Running)
    })
    .await;
    let b = start(&world, "b", apply, Arc::new(world.store.clone()), world.log.clone()).await;
    let with_a = async || {
        let owned = a.status().into_iter().filter(|lane| lane.state != LaneState::Unowned);
        owned.map(|status| status.lane.partition.0).collect::<Vec<u32>>()
    };
    until(&world, "each has one", async || with_a().await.len() == 1).await;
    let partition = with_a().await[0];
    world.publish(partition, &["a:1", "a:2"]).await;
    until(&world, "b has done it", async || is_applied(&world, partition, 2).await).await;
    let line = |what: &str| format!("{} {what}", lane(partition));
    let expected = [
        line("partition.stuck read-again"),
        line("partition.stuck restarted"),
        line("partition.stuck handed-over"),
        line("partition.moving"),
    ];
    until_told(&world, &expected.each_ref().map(String::as_str)).await;
    assert!(nothing_is_registered(&world).await, "b has seen it moving");
    a.drain(MINUTE).await;
    b.drain(MINUTE).await;
    assert_eq!(world.document("a").await, ["1", "2"]);
}

/// Never answers.
struct Deaf {
    descriptor: FunctionDescriptor,
}

struct Listening;

#[async_trait]
impl Function for Deaf {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, _: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        Ok(Box::new(Listening))
    }
}

#[async_trait]
impl Invocation for Listening {
    fn documents(&self) -> &[DocumentId] {
        &[]
    }

    async fn run(self: Box<Self>, _: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        std::future::pending().await
    }
}

/// A function has its time, a retry its pause: neither is stuck, however short `stuck_after` is.
#[tokio::test(start_paused = true)]
async fn a_function_that_never_answers_runs_into_its_time_out_and_not_into_the_watchdog() {
    let mut world = world(1);
    world.settings.timeout = Duration::from_secs(300);
    world.settings.retry = RetryPolicy::FixedDelay { max_attempts: Some(3), delay: HOUR };
    world.options.stuck_after = Duration::from_secs(5);
    world.publish(0, &["a:1"]).await;
    let processor = world.start_function(Arc::new(Deaf { descriptor: descriptor() })).await.unwrap();
    until(&world, "it is set aside", async || !world.dead_letters().await.is_empty()).await;
    processor.drain(MINUTE).await;
    assert_eq!(told(&world).await.len(), 0, "{:?}", told(&world).await);
    assert_eq!(world.dead_letters().await[0].letter.attempts.len(), 3);
}

/// Paused, held, or waiting for the store: a lane that says why it stands is not stuck.
#[tokio::test(start_paused = true)]
async fn lanes_that_say_why_they_stand_are_left_alone() {
    fn fails(_: &Event, text: &str) -> Option<Answer> {
        (text == "bad").then(|| Answer::fail("no"))
    }
    let mut world = world(3);
    world.settings.on_exhausted = OnExhausted::Hold;
    let processor = world.start(fails).await;
    processor.caught_up().await;
    let deed = Deed { by: "ann".into(), reason: "a change of plans".into(), at: world.clock.now() };
    acts::pause(&world.store, &PauseTarget::Lane(lane(0)), &deed).await.unwrap();
    world.clock.sleep(MINUTE).await;
    world.publish(0, &["a:1"]).await;
    world.publish(1, &["b:bad", "b:2"]).await;
    world.clock.sleep(HOUR).await;
    let states: Vec<LaneState> = processor.status().into_iter().map(|lane| lane.state).collect();
    assert!(
        matches!(states[..], [LaneState::Gated { .. }, LaneState::Held { .. }, LaneState::Running]),
        "{states:?}"
    );
    for _ in 0..5000 {
        world.store.fail_next_commit(StoreError::Unavailable { detail: "gone fishing".into() });
    }
    world.publish(2, &["c:1"]).await;
    world.clock.sleep(10 * MINUTE).await;
    assert!(matches!(processor.status()[2].state, LaneState::Waiting { .. }), "{:?}", processor.status()[2]);
    assert_eq!(told(&world).await.len(), 0, "{:?}", told(&world).await);
    processor.drain(MINUTE).await;
}
