//! Several processors on one store: they share the lanes out, and whatever becomes of them, each event is applied once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_host::ownership::INSTANCE;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{HostOptions, Order, Sharing};
use tidegate_host::status::LaneState;
use tidegate_model::answer::Answer;
use tidegate_model::checkpoint::{Epoch, Lane, Ownership};
use tidegate_model::clock::{Clock, TestClock, Timestamp};
use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt};
use tidegate_model::dead_letter::Acted;
use tidegate_model::event::Event;
use tidegate_model::health::InstanceHealth;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{
    Checkpoints, Commits, DeadLetters, Ownerships, RegisterChange, Registers, Store, StoreError,
};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::Act as Deed;
use tokio::sync::watch;

use crate::harness::{Act, Journal, NOW, World, apply, descriptor, lane};

const PARTITIONS: u32 = 8;
const GRACE: Duration = Duration::from_secs(60);

fn fleet(partitions: u32) -> World {
    let mut world = World::new(partitions);
    world.options.sharing = Sharing::shared();
    world
}

async fn join(world: &World, name: &str, act: Act) -> Processor {
    join_over(world, name, act, Arc::new(world.store.clone())).await
}

async fn join_over(world: &World, name: &str, act: Act, store: Arc<dyn Store>) -> Processor {
    let function = Journal { descriptor: descriptor(), act, given: Arc::clone(&world.given) };
    let setup = FunctionSetup {
        function: Arc::new(function),
        log: world.log.clone(),
        settings: world.settings.clone(),
    };
    let options = HostOptions { owner: name.to_owned(), ..world.options.clone() };
    Processor::start(store, world.clock.clone(), options, vec![setup]).await.unwrap()
}

/// Each partition gets its next events; they are about one document of its own.
async fn publish(world: &World, rounds: std::ops::Range<usize>) {
    for partition in 0..tidegate_model::ports::EventLog::partition_count(&*world.log) {
        let events: Vec<String> = rounds.clone().map(|round| format!("p{partition}:{round}")).collect();
        world.publish_keyed(partition, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

fn expected(partitions: u32, rounds: usize) -> BTreeMap<String, Vec<String>> {
    let numbers: Vec<String> = (0..rounds).map(|round| round.to_string()).collect();
    (0..partitions).map(|partition| (format!("p{partition}"), numbers.clone())).collect()
}

async fn until(world: &World, what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..36_000 {
        if holds().await {
            return;
        }
        world.clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came to this: {what}; owners: {:?}", owners(world).await);
}

/// Who owns which partition; those that nobody owns are left out.
async fn owners(world: &World) -> BTreeMap<u32, String> {
    let owned = world.store.ownerships().await.unwrap().into_iter();
    owned.filter(|owned| !owned.owner.is_empty()).map(|owned| (owned.lane.partition.0, owned.owner)).collect()
}

async fn count(world: &World, name: &str) -> usize {
    owners(world).await.values().filter(|owner| *owner == name).count()
}

async fn until_shared(world: &World, counts: &[(&str, usize)]) {
    until(world, &format!("{counts:?}"), async || {
        for (name, number) in counts {
            if count(world, name).await != *number {
                return false;
            }
        }
        true
    })
    .await;
}

async fn until_applied(world: &World, partitions: u32, rounds: usize) {
    until(world, &format!("{rounds} rounds are applied"), async || {
        for partition in 0..partitions {
            let checkpoint = world.store.checkpoint(&lane(partition)).await.unwrap();
            if checkpoint.is_none_or(|checkpoint| checkpoint.counts.applied != rounds as u64) {
                return false;
            }
        }
        true
    })
    .await;
    assert_eq!(world.documents().await, expected(partitions, rounds), "in order, each once");
    assert!(world.dead_letters().await.is_empty());
}

async fn instances(world: &World) -> Vec<String> {
    let registers = world.store.registers(INSTANCE).await.unwrap();
    registers.into_iter().map(|register| register.name).collect()
}

/// The partitions of the lanes that a processor works on.
fn works_on(processor: &Processor) -> BTreeSet<u32> {
    let status = processor.status().into_iter();
    status.filter(|lane| lane.state != LaneState::Unowned).map(|status| status.lane.partition.0).collect()
}

#[tokio::test(start_paused = true)]
async fn those_that_start_together_share_the_lanes_fairly() {
    let world = fleet(PARTITIONS);
    publish(&world, 0..50).await;
    let (a, b, c) =
        tokio::join!(join(&world, "a", apply), join(&world, "b", apply), join(&world, "c", apply));
    publish(&world, 50..100).await;
    until_applied(&world, PARTITIONS, 100).await;
    until(&world, "all lanes are shared out", async || {
        let mut counts = [count(&world, "a").await, count(&world, "b").await, count(&world, "c").await];
        counts.sort_unstable();
        counts == [2, 3, 3]
    })
    .await;
    world.clock.sleep(Duration::from_secs(5)).await;
    let before = world.store.ownerships().await.unwrap();
    world.clock.sleep(Duration::from_secs(600)).await;
    assert_eq!(world.store.ownerships().await.unwrap(), before, "nothing moves any more");
    let together: Vec<u32> = [&a, &b, &c].into_iter().flat_map(works_on).collect();
    assert_eq!(together.len(), PARTITIONS as usize, "each lane has one processor that works on it");
    publish(&world, 100..120).await;
    until_applied(&world, PARTITIONS, 120).await;
    for processor in [a, b, c] {
        processor.drain(GRACE).await;
    }
    assert_eq!((instances(&world).await, owners(&world).await), (vec![], BTreeMap::new()));
}

#[tokio::test(start_paused = true)]
async fn one_that_joins_later_gets_its_share_and_one_that_drains_leaves_it_at_once() {
    let world = fleet(PARTITIONS);
    publish(&world, 0..30).await;
    let a = join(&world, "a", apply).await;
    until_shared(&world, &[("a", 8)]).await;
    let b = join(&world, "b", apply).await;
    publish(&world, 30..60).await;
    until_shared(&world, &[("a", 4), ("b", 4)]).await;
    publish(&world, 60..90).await;
    until_applied(&world, PARTITIONS, 90).await;
    assert!(works_on(&a).is_disjoint(&works_on(&b)));

    publish(&world, 90..120).await;
    let status = a.drain(GRACE).await;
    assert_eq!(status.iter().filter(|lane| lane.state == LaneState::Released).count(), 4, "{status:?}");
    assert_eq!(instances(&world).await, ["b"]);
    until_shared(&world, &[("b", 8)]).await;
    publish(&world, 120..150).await;
    until_applied(&world, PARTITIONS, 150).await;
    b.caught_up().await;
    assert!(b.settled().await);
    b.drain(GRACE).await;
}

/// A lane moves only for a reason: with three that are even, the end of one moves its lanes and no others.
#[tokio::test(start_paused = true)]
async fn the_lanes_of_one_that_crashed_go_to_the_others_and_what_it_did_not_commit_is_done_again() {
    let world = fleet(9);
    let a = join(&world, "a", apply).await;
    let b = join(&world, "b", apply).await;
    let c = join(&world, "c", apply).await;
    until_shared(&world, &[("a", 3), ("b", 3), ("c", 3)]).await;
    let before = owners(&world).await;
    // What is decided and not committed dies with it.
    world.store.hold_commits();
    publish(&world, 0..40).await;
    until(&world, "everything was given to the function", async || world.given().len() >= 9 * 40).await;
    for _ in 0..40 {
        // Its own commit, should it still be under way, is lost as well.
        world.store.fail_next_commit(StoreError::Unavailable { detail: "gone".into() });
    }
    drop(b);
    world.store.release_commits();
    until(&world, "the lanes are taken over", async || count(&world, "b").await == 0).await;
    let after = owners(&world).await;
    for (partition, owner) in before.iter().filter(|(_, owner)| *owner != "b") {
        assert_eq!(after.get(partition), Some(owner), "it had no reason to move");
    }
    publish(&world, 40..60).await;
    until_applied(&world, 9, 60).await;
    until(&world, "it is forgotten", async || instances(&world).await == ["a", "c"]).await;
    a.drain(GRACE).await;
    c.drain(GRACE).await;
}

#[tokio::test(start_paused = true)]
async fn a_program_that_starts_again_under_its_name_takes_nothing_before_the_first_is_gone() {
    let world = fleet(PARTITIONS);
    let first = join(&world, "a", apply).await;
    until_shared(&world, &[("a", 8)]).await;
    let second = join(&world, "a", apply).await;
    world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!((works_on(&first).len(), works_on(&second).len()), (8, 0));
    publish(&world, 0..10).await;
    until_applied(&world, PARTITIONS, 10).await;
    drop(first);
    until(&world, "the second has the lanes", async || works_on(&second).len() == 8).await;
    publish(&world, 10..20).await;
    until_applied(&world, PARTITIONS, 20).await;
    second.drain(GRACE).await;
    assert_eq!(instances(&world).await.len(), 0);
}

/// The way of one processor to the store. It can be cut for everything but commits, and commits can be held up.
struct Way {
    store: MemoryStore,
    is_cut: Arc<AtomicBool>,
    commits_held: watch::Receiver<bool>,
}

impl Way {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { detail: "the way is cut".into() });
        }
        Ok(())
    }
}

tidegate_model::delegate_store!(Way, store: Checkpoints, Documents, Parking, DeadLetters, Outbox);

#[async_trait]
impl Ownerships for Way {
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError> {
        self.check()?;
        self.store.claim(lane, owner, at).await
    }

    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError> {
        self.check()?;
        self.store.release(lane, epoch, at).await
    }

    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError> {
        self.check()?;
        self.store.ownerships().await
    }
}

#[async_trait]
impl Registers for Way {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        self.check()?;
        self.store.register(key).await
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        self.check()?;
        self.store.registers(kind).await
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        self.check()?;
        self.store.change_register(change).await
    }
}

#[async_trait]
impl Commits for Way {
    fn guarantee(&self) -> CommitGuarantee {
        self.store.guarantee()
    }

    async fn health(
        &self,
        circuit: &tidegate_model::checkpoint::FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        self.store.health(circuit, since).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        let _ = self.commits_held.clone().wait_for(|held| !held).await;
        self.store.commit(commit).await
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        self.store.barrier().await
    }
}

fn way(world: &World) -> (Arc<Way>, Arc<AtomicBool>, watch::Sender<bool>) {
    let (is_cut, hold) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(false));
    let way = Way { store: world.store.clone(), is_cut: Arc::clone(&is_cut), commits_held: hold.subscribe() };
    (Arc::new(way), is_cut, hold)
}

/// It goes on with what it has, and does not know that others have taken it over.
#[tokio::test(start_paused = true)]
async fn one_that_nobody_hears_of_is_fenced_and_changes_nothing() {
    let world = fleet(PARTITIONS);
    let (store, is_cut, hold) = way(&world);
    let a = join_over(&world, "a", apply, store).await;
    let b = join(&world, "b", apply).await;
    until_shared(&world, &[("a", 4), ("b", 4)]).await;
    publish(&world, 0..20).await;
    until_applied(&world, PARTITIONS, 20).await;

    is_cut.store(true, Ordering::SeqCst);
    publish(&world, 20..30).await;
    until_applied(&world, PARTITIONS, 30).await;
    hold.send_replace(true);
    publish(&world, 30..60).await;
    until_shared(&world, &[("b", 8)]).await;
    until_applied(&world, PARTITIONS, 60).await;
    assert_eq!(works_on(&a).len(), 4, "it does not know yet");
    // What it has decided goes to the store now.
    let commits = world.store.commit_count();
    hold.send_replace(false);
    until(&world, "it is fenced", async || works_on(&a).len() < 4).await;
    assert_eq!(world.store.commit_count(), commits);
    // Where it had decided nothing, it finds out with the next events: one refusal takes back what all lanes decided, and
    // where others were faster nothing is left to decide.
    let mut rounds = 60;
    while !works_on(&a).is_empty() {
        assert!(rounds < 100, "it is not fenced: {:?}", a.status());
        publish(&world, rounds..rounds + 5).await;
        rounds += 5;
        until_applied(&world, PARTITIONS, rounds).await;
    }

    is_cut.store(false, Ordering::SeqCst);
    until_shared(&world, &[("a", 4), ("b", 4)]).await;
    publish(&world, rounds..rounds + 10).await;
    until_applied(&world, PARTITIONS, rounds + 10).await;
    a.drain(GRACE).await;
    b.drain(GRACE).await;
}

/// What is decided in one term must not be committed in the next, beside what is decided there again.
#[tokio::test(start_paused = true)]
async fn a_lane_that_is_lost_and_claimed_again_is_not_decided_twice() {
    let world = fleet(2);
    let (store, _is_cut, hold) = way(&world);
    let a = join_over(&world, "a", apply, store).await;
    until_shared(&world, &[("a", 2)]).await;
    hold.send_replace(true);
    world.publish(1, &["p1:0"]).await;
    until(&world, "a commit is under way", async || !world.given().is_empty()).await;
    world.clock.sleep(Duration::from_secs(2)).await;
    world.publish(0, &["p0:0"]).await;
    until(&world, "more is decided behind it", async || world.given().len() == 2).await;
    // Somebody who is never heard of.
    world.store.steal(&lane(0), world.clock.now());
    until_shared(&world, &[("a", 2)]).await;
    until(&world, "it is decided again", async || world.given().len() > 2).await;
    hold.send_replace(false);
    until_applied(&world, 2, 1).await;
    publish(&world, 1..10).await;
    until_applied(&world, 2, 10).await;
    a.drain(GRACE).await;
}

/// Nobody hears of anybody; when the store is back, nobody takes anything from anybody.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_for_all_moves_no_lane() {
    let world = fleet(PARTITIONS);
    let ((store_a, cut_a, _hold_a), (store_b, cut_b, _hold_b)) = (way(&world), way(&world));
    let a = join_over(&world, "a", apply, store_a).await;
    let b = join_over(&world, "b", apply, store_b).await;
    until_shared(&world, &[("a", 4), ("b", 4)]).await;
    let before = world.store.ownerships().await.unwrap();
    for (first, second) in [(&cut_a, &cut_b), (&cut_b, &cut_a)] {
        for minutes in 1..4 {
            // The second has seen that the first is silent, and then sees nothing for long.
            first.store(true, Ordering::SeqCst);
            world.clock.sleep(Duration::from_secs(2)).await;
            second.store(true, Ordering::SeqCst);
            world.clock.sleep(Duration::from_secs(60 * minutes)).await;
            second.store(false, Ordering::SeqCst);
            world.clock.sleep(Duration::from_secs(minutes)).await;
            first.store(false, Ordering::SeqCst);
            world.clock.sleep(Duration::from_secs(30)).await;
        }
    }
    // The time of day means nothing.
    world.clock.set_now(NOW.minus(Duration::from_secs(1_000_000)));
    world.clock.sleep(Duration::from_secs(30)).await;
    world.clock.set_now(NOW.plus(Duration::from_secs(1_000_000)));
    world.clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(world.store.ownerships().await.unwrap(), before);
    publish(&world, 0..10).await;
    until_applied(&world, PARTITIONS, 10).await;
    a.drain(GRACE).await;
    b.drain(GRACE).await;
}

/// Only one of them cannot reach its downstream: the others take its lanes, and what it had parked.
#[tokio::test(start_paused = true)]
async fn one_that_is_sick_alone_gives_its_lanes_to_the_others() {
    static IS_SICK: AtomicBool = AtomicBool::new(false);
    fn sick(_: &Event, _: &str) -> Option<Answer> {
        IS_SICK.load(Ordering::SeqCst).then(|| Answer::fail("no route to host"))
    }
    let mut world = fleet(PARTITIONS);
    world.settings.order = Order::None;
    world.settings.retry = RetryPolicy::FixedDelay { max_attempts: None, delay: Duration::from_millis(500) };
    world.settings.circuit.threshold = 20;
    world.settings.circuit.minimum_volume = 5;
    let a = join(&world, "a", sick).await;
    let b = join(&world, "b", apply).await;
    until_shared(&world, &[("a", 4), ("b", 4)]).await;
    publish(&world, 0..20).await;
    until_applied(&world, PARTITIONS, 20).await;
    IS_SICK.store(true, Ordering::SeqCst);
    let mut rounds = 20;
    while count(&world, "b").await < 8 {
        assert!(rounds < 1000, "it does not step aside: {:?}", a.status());
        publish(&world, rounds..rounds + 1).await;
        rounds += 1;
        world.clock.sleep(Duration::from_millis(200)).await;
    }
    IS_SICK.store(false, Ordering::SeqCst);
    until(&world, "b has done what a had parked", async || {
        for partition in 0..PARTITIONS {
            if world.checkpoint(partition).await.counts.applied != rounds as u64 {
                return false;
            }
        }
        true
    })
    .await;
    let mut documents = world.documents().await;
    documents.values_mut().for_each(|texts| texts.sort_by_key(|text| text.parse::<usize>().unwrap()));
    assert_eq!(documents, expected(PARTITIONS, rounds), "each once");
    until_shared(&world, &[("a", 4), ("b", 4)]).await;
    a.drain(GRACE).await;
    b.drain(GRACE).await;
}

/// A person redrives through another program, which cannot tell this one.
#[tokio::test(start_paused = true)]
async fn a_redrive_elsewhere_is_found_with_a_heartbeat() {
    static IS_BROKEN: AtomicBool = AtomicBool::new(true);
    fn broken(_: &Event, _: &str) -> Option<Answer> {
        IS_BROKEN.load(Ordering::SeqCst).then(|| Answer::reject("cannot read it"))
    }
    let world = fleet(1);
    let processor = join(&world, "a", broken).await;
    publish(&world, 0..1).await;
    until(&world, "it is set aside", async || !world.dead_letters().await.is_empty()).await;
    IS_BROKEN.store(false, Ordering::SeqCst);
    let deed = Deed { by: "ada".to_owned(), reason: "it was fixed".to_owned(), at: world.clock.now() };
    let letter = world.dead_letters().await[0].id;
    assert_eq!(world.store.redrive(&[letter], false, &deed).await, Ok(vec![Acted::Done]));
    until(&world, "it is applied", async || world.document("p0").await == ["0"]).await;
    processor.drain(GRACE).await;
}

/// They come and go, crash and are cut off, in an order that chance decides.
#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_them_each_event_is_applied_once_and_in_order() {
    for seed in 0..25 {
        let mut world = World::seeded(5, seed);
        world.options.sharing =
            Sharing::Shared { heartbeat: Duration::from_secs(1), expires_after: Duration::from_secs(4) };
        world.settings.order = if seed % 2 == 0 { Order::Partition } else { Order::Key };
        let chance = TestClock::new(NOW, seed);
        let dice = |sides: u64| chance.random() % sides;
        let mut running: Vec<(Processor, Arc<AtomicBool>, watch::Sender<bool>)> = Vec::new();
        let mut rounds = 0;
        for step in 0..60 {
            publish(&world, rounds..rounds + 3).await;
            rounds += 3;
            match dice(9) {
                0 | 1 if running.len() < 4 => {
                    let (store, is_cut, hold) = way(&world);
                    let name = format!("i{step}");
                    running.push((join_over(&world, &name, apply, store).await, is_cut, hold));
                }
                2 if !running.is_empty() => {
                    let index = usize::try_from(dice(running.len() as u64)).unwrap();
                    drop(running.swap_remove(index));
                }
                3 if !running.is_empty() => {
                    let index = usize::try_from(dice(running.len() as u64)).unwrap();
                    let (processor, is_cut, hold) = running.swap_remove(index);
                    is_cut.store(false, Ordering::SeqCst);
                    hold.send_replace(false);
                    processor.drain(Duration::from_secs(dice(3))).await;
                }
                4 | 5 => {
                    for (_, is_cut, _) in &running {
                        is_cut.store(dice(3) == 0, Ordering::SeqCst);
                    }
                }
                6 => {
                    for (_, _, hold) in &running {
                        hold.send_replace(dice(2) == 0);
                    }
                }
                7 => world.store.lose_next_reply(StoreError::Unavailable { detail: "lost".into() }),
                _ => world.store.lose_next_act_reply(StoreError::Unavailable { detail: "lost".into() }),
            }
            world.clock.sleep(Duration::from_millis(dice(4000))).await;
        }
        for (_, is_cut, hold) in &running {
            is_cut.store(false, Ordering::SeqCst);
            hold.send_replace(false);
        }
        let last = join(&world, "last", apply).await;
        until_applied(&world, 5, rounds).await;
        last.drain(GRACE).await;
        for (processor, ..) in running {
            processor.drain(GRACE).await;
        }
    }
}

/// A store that panics when it is asked for the owners of lanes.
struct Panics {
    store: MemoryStore,
    when_asked: AtomicBool,
}

tidegate_model::delegate_store!(Panics, store: Checkpoints, Documents, Parking, DeadLetters, Registers, Outbox, Commits);

#[async_trait]
impl Ownerships for Panics {
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError> {
        self.store.claim(lane, owner, at).await
    }

    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError> {
        self.store.release(lane, epoch, at).await
    }

    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError> {
        if self.when_asked.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("told to"));
        }
        self.store.ownerships().await
    }
}

/// Who keeps the lanes is gone: others will have them, and whoever looks here has to see why nothing goes on.
#[tokio::test(start_paused = true)]
async fn when_the_keeper_panics_its_lanes_say_so() {
    let world = fleet(2);
    let store = Arc::new(Panics { store: world.store.clone(), when_asked: AtomicBool::new(false) });
    let processor = join_over(&world, "a", apply, store.clone()).await;
    publish(&world, 0..1).await;
    until(&world, "both lanes are owned", async || world.documents().await == expected(2, 1)).await;
    store.when_asked.store(true, Ordering::SeqCst);
    until(&world, "both lanes are stopped", async || {
        processor.status().iter().all(
            |lane| matches!(&lane.state, LaneState::Stopped { error } if error.contains("the keeper of lanes panicked")),
        )
    })
    .await;
    processor.drain(GRACE).await;
    assert_eq!(world.documents().await, expected(2, 1));
}
