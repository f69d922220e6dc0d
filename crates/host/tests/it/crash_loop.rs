//! Events that end the program: they are found, and become failed events like others.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_host::caution::{CAUTION, INTERRUPTED};
use tidegate_host::processor::Processor;
use tidegate_host::settings::{OnExhausted, Order};
use tidegate_model::answer::{Answer, Answers};
use tidegate_model::attempt::{FailureClass, FailureKind};
use tidegate_model::clock::Clock;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::parking::Turn;
use tidegate_model::ports::{
    CurrentDocument, DeadLetters, Function, FunctionDescriptor, FunctionError, Invocation, Parking, Registers,
};
use tidegate_model::position::SequenceNumber;
use tidegate_model::trail::Act;
use tokio::sync::watch;

use crate::harness::{Act as WhatItDoes, Journal, World, descriptor, lane, text_of};

/// Writes a journal, but ends the program when it has an event whose text is deadly. It is the test that ends the
/// program then: the function just does not go on.
struct Deadly {
    journal: Journal,
    deadly: &'static str,
    /// How often the program was to end.
    ends: watch::Sender<u64>,
}

struct MayEnd {
    inner: Box<dyn Invocation>,
    ends: Option<watch::Sender<u64>>,
}

impl Function for Deadly {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.journal.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let is_deadly = events.iter().any(|event| text_of(event).contains(self.deadly));
        let ends = is_deadly.then(|| self.ends.clone());
        Ok(Box::new(MayEnd { inner: self.journal.plan(events)?, ends }))
    }
}

#[async_trait]
impl Invocation for MayEnd {
    fn documents(&self) -> &[DocumentId] {
        self.inner.documents()
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        if let Some(ends) = self.ends {
            // What runs beside it is under way as well when the program ends.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            ends.send_modify(|ends| *ends += 1);
            std::future::pending::<()>().await;
        }
        self.inner.run(current).await
    }
}

struct Crashing {
    world: World,
    ends: watch::Sender<u64>,
    act: WhatItDoes,
    /// The event that ends the program has this in its text.
    deadly: &'static str,
}

impl Crashing {
    fn new(partitions: u32) -> Self {
        Self { world: World::new(partitions), ends: watch::Sender::new(0), act: |_, _| None, deadly: "boom" }
    }

    async fn start(&self) -> Processor {
        let given = Arc::clone(&self.world.given);
        let journal = Journal { descriptor: descriptor(), act: self.act, given };
        self.world
            .start_function(Arc::new(Deadly { journal, deadly: self.deadly, ends: self.ends.clone() }))
            .await
            .unwrap()
    }

    /// Starts the program again and again until everything is settled; how often it ended.
    async fn settle(&self) -> u64 {
        let before = *self.ends.borrow();
        loop {
            let mut ends = self.ends.subscribe();
            ends.mark_unchanged();
            let processor = self.start().await;
            let is_settled = tokio::select! {
                biased;
                _ = ends.changed() => false,
                settled = processor.settled() => { assert!(settled); true }
            };
            let so_far = *self.ends.borrow() - before;
            if is_settled {
                processor.drain(Duration::from_secs(10)).await;
                return so_far;
            }
            assert!(so_far < 50, "the program ends for ever");
        }
    }

    async fn assert_nothing_is_left_to_remember(&self) {
        assert_eq!(self.world.store.registers(CAUTION).await.unwrap(), [], "no lane is careful any more");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_ends_the_program_is_set_aside_when_its_attempts_are_used_up() {
    let crashing = Crashing::new(1);
    let world = &crashing.world;
    world.publish(0, &["a:1", "a:2", "a:boom", "a:3", "b:1"]).await;
    let ends = crashing.settle().await;
    assert_eq!(ends, 6, "three to find it, and its three attempts");
    assert_eq!(world.document("a").await, ["1", "2", "3"]);
    assert_eq!(world.document("b").await, ["1"]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].letter;
    assert_eq!((text_of(&letter.event), letter.class), ("a:boom", FailureClass::Exhausted));
    assert_eq!(letter.reason, INTERRUPTED);
    let kinds: Vec<_> = letter.attempts.iter().map(|attempt| attempt.kind).collect();
    assert_eq!(kinds, [FailureKind::Interrupted; 3]);
    crashing.assert_nothing_is_left_to_remember().await;
}

/// Each time the program ends, the other lanes were at work too, with events that take longer than the program lives.
#[tokio::test(start_paused = true)]
async fn nobody_else_is_blamed() {
    for order in [Order::Partition, Order::Key, Order::None] {
        let mut crashing = Crashing::new(4);
        crashing.world.settings.order = order;
        crashing.world.settings.max_event_batch_size = 4;
        let world = &crashing.world;
        let events: Vec<String> = (0..20).map(|number| format!("d{}:{number}", number % 3)).collect();
        let mut events: Vec<&str> = events.iter().map(String::as_str).collect();
        for partition in 0..3 {
            world.publish_keyed(partition, &events).await;
        }
        events.insert(13, "d0:boom");
        world.publish_keyed(3, &events).await;
        let ends = crashing.settle().await;
        assert!(ends <= 6, "{order:?}: it ended {ends} times");
        let letters = world.dead_letters().await;
        let texts: Vec<_> = letters.iter().map(|stored| text_of(&stored.letter.event)).collect();
        assert_eq!(texts, ["d0:boom"], "{order:?}");
        let applied: usize = world.documents().await.values().map(Vec::len).sum();
        assert_eq!(applied, 80, "{order:?}");
        crashing.assert_nothing_is_left_to_remember().await;
    }
}

#[tokio::test(start_paused = true)]
async fn in_key_order_its_key_waits_and_the_others_go_on_before_it_is_tried_again() {
    let mut crashing = Crashing::new(1);
    crashing.world.settings.order = Order::Key;
    crashing.world.settings.on_exhausted = OnExhausted::Hold;
    let world = &crashing.world;
    world.publish_keyed(0, &["a:1", "a:boom", "a:3", "b:1", "b:2"]).await;
    let ends = crashing.settle().await;
    assert_eq!(ends, 6);
    assert_eq!(world.parked(0).await, ["a:boom", "a:3"]);
    assert_eq!(world.document("b").await, ["1", "2"]);
    let head = world.store.parked(&lane(0), SequenceNumber(1)).await.unwrap().unwrap();
    assert!(matches!(head.parked.turn, Turn::Held { .. }));
    assert!(world.dead_letters().await.is_empty());

    // A held event is tried again by itself, but not one that ends the program.
    let processor = crashing.start().await;
    let given = world.given().len();
    world.clock.sleep(Duration::from_secs(3600)).await;
    world.publish_keyed(0, &["b:3"]).await;
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.given()[given..], ["b:3"]);
    assert_eq!(*crashing.ends.borrow(), 6);
}

/// When it ends the program it is in the parking place, and the checkpoint has long been behind it.
#[tokio::test(start_paused = true)]
async fn a_parked_event_that_ends_the_program_is_found_too() {
    let mut crashing = Crashing::new(2);
    crashing.world.settings.order = Order::Key;
    crashing.deadly = "nothing";
    crashing.act = |_, text| (text == "late").then(|| Answer::fail("not now"));
    let world = &crashing.world;
    world.publish_keyed(0, &["a:1", "a:late", "b:late", "c:late", "a:4"]).await;
    world.publish_keyed(1, &["d:late", "e:late", "f:1"]).await;
    assert_eq!(crashing.settle().await, 0);
    let ids: Vec<_> = crashing.world.dead_letters().await.iter().map(|stored| stored.id).collect();
    assert_eq!(ids.len(), 5);

    crashing.deadly = "c:late";
    crashing.act = |_, _| None;
    let act = Act { by: "ada".to_owned(), reason: String::new(), at: crashing.world.clock.now() };
    crashing.world.store.redrive(&ids, false, &act).await.unwrap();
    assert_eq!(crashing.settle().await, 6);
    let letters = crashing.world.dead_letters().await;
    let open: Vec<_> = letters.iter().filter(|stored| stored.status.is_unsettled()).collect();
    assert_eq!(open.len(), 1);
    assert_eq!((text_of(&open[0].letter.event), &*open[0].letter.reason), ("c:late", INTERRUPTED));
    crashing.assert_nothing_is_left_to_remember().await;
}

/// It was about to be tried alone, or was, when the program was told to stop: nothing speaks against it.
#[tokio::test(start_paused = true)]
async fn a_program_that_is_stopped_blames_nobody() {
    let mut crashing = Crashing::new(1);
    crashing.world.publish(0, &["a:1", "a:boom", "a:3"]).await;
    for round in 0..20 {
        let mut ends = crashing.ends.subscribe();
        ends.mark_unchanged();
        let processor = crashing.start().await;
        ends.changed().await.unwrap();
        if round < 4 {
            drop(processor);
        } else {
            processor.drain(Duration::from_millis(1)).await;
        }
    }
    crashing.deadly = "nothing";
    assert_eq!(crashing.settle().await, 0);
    assert_eq!(crashing.world.document("a").await, ["1", "boom", "3"]);
    crashing.assert_nothing_is_left_to_remember().await;
}
