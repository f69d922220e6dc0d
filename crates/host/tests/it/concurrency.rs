//! Without order, invocations of one lane run at the same time; and all that was promised is as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_host::processor::Processor;
use tidegate_host::settings::{FunctionSettings, Isolation, Order};
use tidegate_model::answer::{Answer, Answers};
use tidegate_model::clock::Clock;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{
    CurrentDocument, Function, FunctionDescriptor, FunctionError, Invocation, StoreError,
};
use tokio::sync::{Notify, Semaphore, watch};

use crate::harness::{Act, Journal, World, descriptor, text_of};

/// Writes a journal. Events whose text begins with "slow" wait until the test says so.
struct Slow {
    journal: Journal,
    shared: Arc<Shared>,
}

struct Shared {
    /// How many invocations are under way.
    under_way: watch::Sender<usize>,
    /// The most there ever were.
    most: Mutex<usize>,
    /// Lets those that are slow go on.
    may_end: Semaphore,
    ended: Notify,
}

struct SlowInvocation {
    inner: Box<dyn Invocation>,
    is_slow: bool,
    shared: Arc<Shared>,
}

struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.send_modify(|count| {
            *count += 1;
            let mut most = shared.most.lock();
            *most = (*most).max(*count);
        });
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
        self.0.ended.notify_waiters();
    }
}

impl Function for Slow {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.journal.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let is_slow = events.iter().any(|event| text_of(event).contains(":slow"));
        let inner = self.journal.plan(events)?;
        Ok(Box::new(SlowInvocation { inner, is_slow, shared: Arc::clone(&self.shared) }))
    }
}

#[async_trait]
impl Invocation for SlowInvocation {
    fn documents(&self) -> &[DocumentId] {
        self.inner.documents()
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let _counted = Counted::new(&self.shared);
        if self.is_slow {
            self.shared.may_end.acquire().await.unwrap().forget();
        }
        self.inner.run(current).await
    }
}

struct Concurrent {
    world: World,
    shared: Arc<Shared>,
}

impl Concurrent {
    fn new(concurrency: usize, batch: usize) -> Self {
        let mut world = World::new(1);
        world.settings.order = Order::None;
        world.settings.max_concurrent_invocations = Some(concurrency);
        world.settings.max_event_batch_size = batch;
        let shared = Shared {
            under_way: watch::Sender::new(0),
            most: Mutex::new(0),
            may_end: Semaphore::new(0),
            ended: Notify::new(),
        };
        Self { world, shared: Arc::new(shared) }
    }

    async fn start(&self, act: Act) -> Processor {
        let given = Arc::clone(&self.world.given);
        let journal = Journal { descriptor: descriptor(), act, given };
        let function = Slow { journal, shared: Arc::clone(&self.shared) };
        self.world.start_function(Arc::new(function)).await.unwrap()
    }

    async fn until_under_way(&self, count: usize) {
        let mut under_way = self.shared.under_way.subscribe();
        under_way.wait_for(|now| *now == count).await.unwrap();
    }

    fn let_go(&self, count: usize) {
        self.shared.may_end.add_permits(count);
    }

    /// Each event is in its journal exactly once, and those of a journal are in the order of the log.
    async fn assert_applied(&self, events: &[String]) {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in events {
            let (document, text) = event.split_once(':').unwrap();
            expected.entry(document.to_owned()).or_default().push(text.to_owned());
        }
        assert_eq!(self.world.documents().await, expected);
    }
}

fn events(range: std::ops::Range<usize>, event: impl Fn(usize) -> String) -> Vec<String> {
    range.map(event).collect()
}

fn texts(events: &[String]) -> Vec<&str> {
    events.iter().map(String::as_str).collect()
}

fn apply(_: &Event, _: &str) -> Option<Answer> {
    None
}

/// None of them ends before all have begun.
#[tokio::test]
async fn as_many_invocations_as_are_allowed_are_under_way_at_once() {
    for isolation in [Isolation::Inline, Isolation::Thread] {
        let mut concurrent = Concurrent::new(4, 2);
        concurrent.world.options.isolation = isolation;
        let events = events(0..40, |number| format!("d{number}:slow{number}"));
        concurrent.world.publish(0, &texts(&events)).await;
        let processor = concurrent.start(apply).await;
        concurrent.until_under_way(4).await;
        concurrent.let_go(20);
        processor.caught_up().await;
        processor.drain(Duration::from_secs(10)).await;
        assert_eq!(*concurrent.shared.most.lock(), 4);
        assert_eq!(concurrent.world.given().len(), 40, "each once");
        concurrent.assert_applied(&events).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_waits_for_a_slow_head_and_what_is_ahead_of_it_is_bounded() {
    let concurrent = Concurrent::new(3, 1);
    let world = &concurrent.world;
    let events = events(0..20, |number| {
        format!("d{number}:{}", if number == 0 { "slow".to_owned() } else { number.to_string() })
    });
    world.publish(0, &texts(&events)).await;
    let processor = concurrent.start(apply).await;
    concurrent.until_under_way(1).await;
    world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(world.given().len(), 3, "the slow one and two ahead of it");
    assert_eq!(world.checkpoint(0).await.position.0, 0);
    concurrent.let_go(1);
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    concurrent.assert_applied(&events).await;
}

#[tokio::test(start_paused = true)]
async fn invocations_that_share_documents_take_turns() {
    for act in [
        apply as Act,
        // Now and then one fails as a whole, or an event of it does.
        |_, text| (text.ends_with('7')).then(|| Answer::reject("no")),
    ] {
        let concurrent = Concurrent::new(8, 3);
        let events = events(0..200, |number| format!("d{}:{number}", number % 2));
        concurrent.world.publish(0, &texts(&events)).await;
        let processor = concurrent.start(act).await;
        processor.caught_up().await;
        processor.drain(Duration::from_secs(10)).await;
        let rejected: Vec<_> = concurrent.world.dead_letters().await;
        let applied: Vec<_> = events
            .iter()
            .filter(|event| rejected.iter().all(|stored| text_of(&stored.letter.event) != event.as_str()))
            .cloned()
            .collect();
        concurrent.assert_applied(&applied).await;
    }
}

/// What fails in one invocation fails alone: those ahead of it and behind it are applied, each once.
#[tokio::test(start_paused = true)]
async fn a_failing_event_is_parked_alone_and_the_others_go_on() {
    fn fails(_: &Event, text: &str) -> Option<Answer> {
        match text.rsplit('-').next() {
            Some("fails") => Some(Answer::fail("not now")),
            Some("panics") => std::panic::resume_unwind(Box::new("not now")),
            _ => None,
        }
    }
    for documents in [2, 50] {
        let concurrent = Concurrent::new(8, 5);
        let events = events(0..300, |number| {
            let end = match number % 29 {
                3 => "-fails",
                11 => "-panics",
                _ => "",
            };
            format!("d{}:{number}{end}", number % documents)
        });
        concurrent.world.publish(0, &texts(&events)).await;
        let processor = concurrent.start(fails).await;
        assert!(processor.settled().await);
        processor.drain(Duration::from_secs(10)).await;
        let letters: Vec<_> = concurrent
            .world
            .dead_letters()
            .await
            .iter()
            .map(|stored| {
                assert_eq!(stored.letter.attempts.len(), 3);
                text_of(&stored.letter.event).to_owned()
            })
            .collect();
        assert_eq!(concurrent.world.parked(0).await, Vec::<String>::new());
        let (fail, applied): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.ends_with('s'));
        assert_eq!(letters, fail);
        concurrent.assert_applied(&applied).await;
    }
}

/// Two lanes that each hold what the other needs next, again and again.
#[tokio::test(start_paused = true)]
async fn lanes_that_share_documents_never_wait_for_each_other_for_ever() {
    fn fails(event: &Event, text: &str) -> Option<Answer> {
        match (event.sequence_number.0 % 7, text.len() % 2) {
            (3, _) => Some(Answer::fail("not now")),
            (5, 1) => std::panic::resume_unwind(Box::new("not now")),
            _ => None,
        }
    }
    let mut concurrent = Concurrent::new(6, 2);
    let settings = concurrent.world.settings.clone();
    concurrent.world = World::new(3);
    concurrent.world.settings = settings;
    let world = &concurrent.world;
    for partition in 0..3 {
        let events = events(0..150, |number| {
            let document = (number * (partition + 1) + partition) % 5;
            format!("d{document}:{partition}.{number}")
        });
        world.publish(u32::try_from(partition).unwrap(), &texts(&events)).await;
    }
    let processor = concurrent.start(fails).await;
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    let applied: usize = world.documents().await.values().map(Vec::len).sum();
    assert_eq!(applied + world.dead_letters().await.len(), 450);
}

/// The program is killed, or what was decided is taken back, while several invocations are under way.
#[tokio::test(start_paused = true)]
async fn a_kill_and_a_refused_commit_in_the_middle_lose_nothing_and_repeat_no_effect() {
    let refused = || StoreError::DocumentChanged {
        collection: crate::harness::collection(),
        id: DocumentId::new("d1").unwrap(),
    };
    let concurrent = Concurrent::new(5, 3);
    let world = &concurrent.world;
    let mut all = Vec::new();
    for round in 0..6 {
        let more = events(round * 60..round * 60 + 60, |number| {
            format!("d{}:{}{number}", number % 7, if number % 20 == 0 { "slow" } else { "" })
        });
        world.publish(0, &texts(&more)).await;
        all.extend(more);
        let processor = concurrent.start(apply).await;
        concurrent.let_go(round % 3);
        if round % 2 == 0 {
            world.store.fail_next_commit(refused());
        }
        for _ in 0..round * 40 {
            tokio::task::yield_now().await;
        }
        match round % 3 {
            0 => drop(processor),
            _ => _ = processor.drain(Duration::from_millis(20)).await,
        }
    }
    concurrent.let_go(1000);
    let processor = concurrent.start(apply).await;
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    concurrent.assert_applied(&all).await;
}

#[test]
fn with_an_order_there_is_nothing_to_run_at_once() {
    let settings = |order, many| FunctionSettings {
        order,
        max_concurrent_invocations: many,
        ..FunctionSettings::default()
    };
    for order in [Order::Partition, Order::Key] {
        assert!(settings(order, Some(2)).validate().unwrap_err().to_string().contains("order \"none\""));
        assert_eq!(settings(order, Some(1)).validate(), Ok(()));
        assert_eq!(settings(order, None).concurrency(), 1);
    }
    assert_eq!(settings(Order::None, None).concurrency(), 8);
    assert!(settings(Order::None, Some(0)).validate().is_err());
    assert!(settings(Order::None, Some(101)).validate().is_err());
}
