//! Hubs that others read in our place: a lane is processed by whoever its partition is assigned to, and nobody fights.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::settings::HostOptions;
use tidegate_host::status::LaneState;
use tidegate_model::answer::Answers;
use tidegate_model::clock::{Clock as _, SharedClock};
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::memory::MemoryLog;
use tidegate_model::ports::{
    Checkpoints as _, CurrentDocument, Documents as _, EventLog, Function, FunctionDescriptor, FunctionError,
    Invocation, Ownerships as _, ReadError, ReadLimit,
};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

use crate::harness::{Journal, World, apply, descriptor, lane};

const GRACE: Duration = Duration::from_secs(60);

/// One reader's view of a hub.
struct Seen {
    log: Arc<MemoryLog>,
    assigned: Option<watch::Sender<BTreeSet<PartitionId>>>,
    /// The partitions that another reader took.
    taken: watch::Sender<BTreeSet<PartitionId>>,
}

impl Seen {
    fn new(world: &World, is_shared: bool) -> Arc<Self> {
        let assigned = is_shared.then(watch::Sender::default);
        Arc::new(Self { log: world.log.clone(), assigned, taken: watch::Sender::default() })
    }

    fn assign(&self, partitions: &[u32]) {
        let set = partitions.iter().copied().map(PartitionId).collect();
        self.assigned.as_ref().unwrap().send_replace(set);
    }
}

#[async_trait]
impl EventLog for Seen {
    tidegate_model::delegate_event_log!(log: status, tail, locate);

    fn assigned(&self) -> Option<watch::Receiver<BTreeSet<PartitionId>>> {
        self.assigned.as_ref().map(watch::Sender::subscribe)
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        if self.taken.borrow().contains(&partition) {
            let detail = "a receiver with epoch 8 is there".to_owned();
            return Err(ReadError::Fenced { partition, detail });
        }
        self.log.read(partition, from, limit).await
    }
}

async fn start(world: &World, name: &str, log: &Arc<Seen>) -> Processor {
    let function = Journal { descriptor: descriptor(), act: apply, given: Arc::clone(&world.given) };
    let setup =
        FunctionSetup { function: Arc::new(function), log: log.clone(), settings: world.settings.clone() };
    let options = HostOptions { owner: name.to_owned(), ..world.options.clone() };
    Processor::start(Arc::new(world.store.clone()), world.clock.clone(), options, vec![setup]).await.unwrap()
}

async fn until(world: &World, what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..36_000 {
        if holds().await {
            return;
        }
        world.clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came to this: {what}");
}

async fn owner_of(world: &World, partition: u32) -> String {
    let owners = world.store.ownerships().await.unwrap();
    let owner = owners.into_iter().find(|owned| owned.lane == lane(partition));
    owner.map(|owned| owned.owner).unwrap_or_default()
}

fn state_of(processor: &Processor, partition: u32) -> LaneState {
    processor.status()[partition as usize].state.clone()
}

#[tokio::test(start_paused = true)]
async fn a_lane_follows_its_partition_from_one_program_to_the_other_and_back() {
    let world = World::new(2);
    let (one, other) = (Seen::new(&world, true), Seen::new(&world, true));
    let (first, second) = (start(&world, "one", &one).await, start(&world, "other", &other).await);
    for partition in 0..2 {
        world.publish_keyed(partition, &[&format!("p{partition}:0")]).await;
    }
    let applied = async |partition: u32, events: u64| {
        world.store.checkpoint(&lane(partition)).await.unwrap().unwrap().counts.applied == events
    };
    assert_eq!(state_of(&first, 0), LaneState::Unowned, "nothing is assigned yet");
    one.assign(&[0, 1]);
    until(&world, "one has both", async || applied(0, 1).await && applied(1, 1).await).await;
    assert_eq!((owner_of(&world, 0).await, owner_of(&world, 1).await), ("one".into(), "one".into()));

    // The other reader takes one, and gives it back.
    one.assign(&[1]);
    other.assign(&[0]);
    until(&world, "the other has it", async || owner_of(&world, 0).await == "other").await;
    until(&world, "it is given up", async || state_of(&first, 0) == LaneState::Unowned).await;
    for partition in 0..2 {
        world.publish_keyed(partition, &[&format!("p{partition}:1")]).await;
    }
    until(&world, "both go on", async || applied(0, 2).await && applied(1, 2).await).await;
    other.assign(&[]);
    until(&world, "it is released", async || owner_of(&world, 0).await.is_empty()).await;
    one.assign(&[0, 1]);
    world.publish_keyed(0, &["p0:2"]).await;
    until(&world, "it is back", async || applied(0, 3).await).await;
    assert_eq!(owner_of(&world, 0).await, "one");
    assert_eq!(world.document("p0").await, ["0", "1", "2"]);
    assert_eq!(world.document("p1").await, ["0", "1"]);

    first.drain(GRACE).await;
    second.drain(GRACE).await;
    assert_eq!((owner_of(&world, 0).await, owner_of(&world, 1).await), (String::new(), String::new()));
}

/// Writes the journal, and takes its time.
struct Slow {
    journal: Journal,
    clock: SharedClock,
    begun: watch::Sender<u32>,
}

struct SlowInvocation {
    inner: Box<dyn Invocation>,
    clock: SharedClock,
}

#[async_trait]
impl Function for Slow {
    fn descriptor(&self) -> &FunctionDescriptor {
        self.journal.descriptor()
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let inner = self.journal.plan(events)?;
        self.begun.send_modify(|begun| *begun += 1);
        Ok(Box::new(SlowInvocation { inner, clock: self.clock.clone() }))
    }
}

#[async_trait]
impl Invocation for SlowInvocation {
    fn documents(&self) -> &[DocumentId] {
        self.inner.documents()
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        self.clock.sleep(Duration::from_secs(5)).await;
        self.inner.run(current).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_invocation_whose_partition_is_taken_meanwhile_changes_nothing_and_its_term_is_over() {
    let world = World::new(1);
    let log = Seen::new(&world, true);
    log.assign(&[0]);
    let journal = Journal { descriptor: descriptor(), act: apply, given: Arc::clone(&world.given) };
    let (clock, begun) = (world.clock.clone(), watch::Sender::new(0));
    let function = Slow { journal, clock: clock.clone(), begun: begun.clone() };
    let setup =
        FunctionSetup { function: Arc::new(function), log: log.clone(), settings: world.settings.clone() };
    let store = Arc::new(world.store.clone());
    let processor = Processor::start(store, clock, world.options.clone(), vec![setup]).await.unwrap();
    world.publish_keyed(0, &["p0:0"]).await;
    begun.subscribe().wait_for(|begun| *begun == 1).await.unwrap();
    let owned = world.store.ownerships().await.unwrap()[0].clone();
    assert!(!owned.owner.is_empty());

    log.assign(&[]);
    until(&world, "it is given up", async || state_of(&processor, 0) == LaneState::Unowned).await;
    let ended = world.store.ownerships().await.unwrap()[0].clone();
    assert_eq!((ended.owner.as_str(), ended.epoch > owned.epoch), ("", true), "{ended:?}");
    // The function has long answered.
    world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber::ZERO);
    assert!(world.store.collections().await.unwrap().is_empty(), "nothing was written");

    log.assign(&[0]);
    until(&world, "it is processed", async || world.document("p0").await == ["0"]).await;
    assert_eq!(*begun.borrow(), 2);
    processor.drain(GRACE).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_whose_assigned_partition_was_taken_is_given_up_until_it_is_assigned_again() {
    let world = World::new(1);
    let log = Seen::new(&world, true);
    log.assign(&[0]);
    let processor = start(&world, "one", &log).await;
    world.publish_keyed(0, &["p0:0"]).await;
    processor.caught_up().await;
    // The hub has sent the reader away, and says so before the assignment changes.
    log.taken.send_replace(BTreeSet::from([PartitionId(0)]));
    world.publish_keyed(0, &["p0:1"]).await;
    until(&world, "it is given up", async || owner_of(&world, 0).await.is_empty()).await;
    log.assign(&[]);
    until(&world, "it stays so", async || state_of(&processor, 0) == LaneState::Unowned).await;
    log.taken.send_replace(BTreeSet::new());
    log.assign(&[0]);
    until(&world, "it goes on", async || {
        world.store.checkpoint(&lane(0)).await.unwrap().unwrap().counts.applied == 2
    })
    .await;
    processor.drain(GRACE).await;
    assert_eq!(world.document("p0").await, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_alone_whose_partition_was_taken_ends_as_one_that_was_fenced_and_the_others_go_on() {
    let world = World::new(2);
    let log = Seen::new(&world, false);
    let processor = start(&world, "one", &log).await;
    log.taken.send_replace(BTreeSet::from([PartitionId(0)]));
    for partition in 0..2 {
        world.publish_keyed(partition, &[&format!("p{partition}:0")]).await;
    }
    processor.caught_up().await;
    let LaneState::Stopped { error } = state_of(&processor, 0) else {
        panic!("{:?}", state_of(&processor, 0))
    };
    assert!(error.starts_with("TG-307: partition 0 was taken over by another reader"), "{error}");
    assert!(error.contains("epoch 8") && error.contains("Nothing is lost"), "{error}");
    assert_eq!(state_of(&processor, 1), LaneState::Running);
    processor.drain(GRACE).await;
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber::ZERO, "nothing is resolved by that");
    assert_eq!(world.document("p1").await, ["0"]);
}
