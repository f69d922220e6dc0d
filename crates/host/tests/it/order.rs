//! Order by key, by partition and none; what is parked, and how it leaves the parking place.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_host::circuit::acts::{self, PauseTarget};
use tidegate_host::settings::{AtLimit, OnExhausted, Order};
use tidegate_host::status::LaneState;
use tidegate_model::answer::Answer;
use tidegate_model::attempt::FailureClass;
use tidegate_model::clock::Clock;
use tidegate_model::dead_letter::{Acted, DeadLetterId, DeadLetterStatus};
use tidegate_model::event::Event;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, DeadLetters, Parking, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_model::trail::{Act as Deed, NewTrailEntry};

use crate::harness::{NOW, World, apply, lane};

fn world(order: Order) -> World {
    let mut world = World::new(1);
    world.settings.order = order;
    world
}

fn deed() -> Deed {
    Deed { by: "ada".to_owned(), reason: "it was fixed".to_owned(), at: NOW }
}

fn seeks() -> NewTrailEntry {
    NewTrailEntry {
        action: "checkpoint.seek",
        subject: lane(0).to_string(),
        act: deed(),
        detail: serde_json::Value::Null,
    }
}

fn poison_is_down(_: &Event, text: &str) -> Option<Answer> {
    text.starts_with("poison").then(|| Answer::fail("the sink is down"))
}

#[tokio::test(start_paused = true)]
async fn only_the_key_of_a_failing_event_waits_and_its_events_keep_their_order() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    fn recovers(_: &Event, text: &str) -> Option<Answer> {
        (text == "2" && TRIES.fetch_add(1, Ordering::SeqCst) < 2).then(|| Answer::fail("not yet"))
    }
    let world = world(Order::Key);
    world.publish_keyed(0, &["a:1", "a:2", "b:1", "a:3", "b:two", "a:4", "c:1"]).await;
    let processor = world.start(recovers).await;
    processor.caught_up().await;
    assert_eq!(world.document("b").await, ["1", "two"], "others go on");
    assert_eq!(world.document("c").await, ["1"]);
    let checkpoint = world.checkpoint(0).await;
    assert_eq!(checkpoint.position, SequenceNumber(7), "and so does the checkpoint");
    assert_eq!(checkpoint.counts, OutcomeCounts { applied: 4, parked: 3, ..OutcomeCounts::default() });
    assert_eq!(world.parked(0).await, ["a:2", "a:3", "a:4"]);

    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["1", "2", "3", "4"]);
    let counts = world.checkpoint(0).await.counts;
    assert_eq!(counts, OutcomeCounts { applied: 7, ..OutcomeCounts::default() });
    assert_eq!(TRIES.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_never_succeeds_is_set_aside_and_those_behind_it_go_on() {
    let world = world(Order::Key);
    world.publish_keyed(0, &["a:1", "a:poison", "b:1", "a:2", "a:poison2", "a:3"]).await;
    world.settle(poison_is_down).await;
    assert_eq!(world.document("a").await, ["1", "2", "3"]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 2);
    for stored in &letters {
        assert_eq!(stored.letter.class, FailureClass::Exhausted);
        assert_eq!(stored.letter.attempts.len(), 3);
    }
    let counts = world.checkpoint(0).await.counts;
    assert_eq!(counts, OutcomeCounts { applied: 4, dead_lettered: 2, ..OutcomeCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_outlives_the_program() {
    let mut world = world(Order::Key);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.publish_keyed(0, &["a:poison", "a:2", "b:1"]).await;
    world.settle(poison_is_down).await;
    assert_eq!(world.parked(0).await, ["a:poison", "a:2"], "held, and waiting behind it");
    world.publish_keyed(0, &["a:3", "b:2"]).await;
    world.settle(poison_is_down).await;
    assert_eq!(world.parked(0).await, ["a:poison", "a:2", "a:3"]);
    assert_eq!(world.document("b").await, ["1", "2"]);

    assert_eq!(world.store.release_held(&lane(0).function, NOW).await.unwrap(), 1);
    world.settle(apply).await;
    assert_eq!(world.document("a").await, ["poison", "2", "3"]);
    assert!(world.parked(0).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_person_sets_a_held_event_aside_while_the_program_runs_and_its_key_goes_on() {
    let mut world = world(Order::Key);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.publish_keyed(0, &["a:poison", "a:2"]).await;
    let processor = world.start(poison_is_down).await;
    assert!(processor.settled().await);
    assert_eq!((processor.status()[0].parked, processor.status()[0].held), (2, 1));

    let acted = world.store.set_aside(&lane(0), SequenceNumber(0), &deed()).await.unwrap();
    assert_eq!(acted, Acted::Done);
    processor.lanes()[0].changed_from_outside();
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["2"]);
    assert_eq!(world.dead_letters().await[0].letter.reason, "the sink is down");
}

#[tokio::test(start_paused = true)]
async fn in_partition_order_the_lane_waits_behind_a_held_event() {
    static DOWN: AtomicBool = AtomicBool::new(true);
    fn down(_: &Event, text: &str) -> Option<Answer> {
        (text == "2" && DOWN.load(Ordering::SeqCst)).then(|| Answer::fail("down"))
    }
    let mut world = world(Order::Partition);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.publish_keyed(0, &["a:1", "a:2", "b:1"]).await;
    let processor = world.start(down).await;
    while !matches!(processor.status()[0].state, LaneState::Held { events: 1 }) {
        world.clock.sleep(Duration::from_millis(1)).await;
    }
    world.clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(world.parked(0).await, ["a:2"]);
    assert!(world.document("b").await.is_empty(), "it waits");

    DOWN.store(false, Ordering::SeqCst);
    world.store.release_held(&lane(0).function, NOW).await.unwrap();
    processor.lanes()[0].changed_from_outside();
    processor.settled().await;
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["1", "2"]);
    assert_eq!(world.given().last().map(String::as_str), Some("b:1"));
}

#[tokio::test(start_paused = true)]
async fn a_redrive_that_nobody_told_of_does_not_take_the_place_of_a_held_event() {
    static DOWN: AtomicBool = AtomicBool::new(true);
    fn down(_: &Event, text: &str) -> Option<Answer> {
        match text {
            "bad" if DOWN.load(Ordering::SeqCst) => Some(Answer::reject("bad")),
            "2" if DOWN.load(Ordering::SeqCst) => Some(Answer::fail("down")),
            _ => None,
        }
    }
    DOWN.store(true, Ordering::SeqCst);
    let mut world = world(Order::Partition);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.publish_keyed(0, &["a:bad", "a:2", "b:1"]).await;
    let processor = world.start(down).await;
    while !matches!(processor.status()[0].state, LaneState::Held { events: 1 }) {
        world.clock.sleep(Duration::from_millis(1)).await;
    }

    // Another instance redrives what comes before the held event; then that is tried again, and finds the other before it.
    world.store.redrive(&[DeadLetterId(1)], false, &deed()).await.unwrap();
    DOWN.store(false, Ordering::SeqCst);
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["bad", "2"]);
    let given = world.given();
    assert_eq!(given[given.len() - 3..], ["a:bad", "a:2", "b:1"]);
}

#[tokio::test(start_paused = true)]
async fn without_order_an_event_that_failed_waits_alone() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    fn recovers(_: &Event, text: &str) -> Option<Answer> {
        (text == "1" && TRIES.fetch_add(1, Ordering::SeqCst) < 1).then(|| Answer::fail("not yet"))
    }
    let world = world(Order::None);
    world.publish_keyed(0, &["a:1", "a:2", "a:3"]).await;
    world.settle(recovers).await;
    assert_eq!(world.document("a").await, ["2", "3", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_redriven_event_goes_to_the_function_and_closes_its_dead_letter() {
    static DOWN: AtomicBool = AtomicBool::new(true);
    fn down(_: &Event, text: &str) -> Option<Answer> {
        (text.starts_with("bad") && DOWN.load(Ordering::SeqCst)).then(|| Answer::reject("bad"))
    }
    for order in [Order::Partition, Order::Key, Order::None] {
        DOWN.store(true, Ordering::SeqCst);
        let world = world(order);
        world.publish_keyed(0, &["a:1", "a:bad", "a:2", "b:bad"]).await;
        let processor = world.start(down).await;
        processor.caught_up().await;
        assert_eq!(world.dead_letters().await.len(), 2);

        // It fails again, and comes back under its old number.
        world.store.redrive(&[DeadLetterId(1)], false, &deed()).await.unwrap();
        processor.lanes()[0].changed_from_outside();
        assert!(processor.settled().await);
        let letters = world.dead_letters().await;
        assert_eq!((letters.len(), letters[0].status, letters[0].returns), (2, DeadLetterStatus::Open, 1));

        DOWN.store(false, Ordering::SeqCst);
        let acted = world.store.redrive(&[DeadLetterId(1), DeadLetterId(2)], false, &deed()).await.unwrap();
        assert_eq!(acted, [Acted::Done, Acted::Done]);
        processor.lanes()[0].changed_from_outside();
        assert!(processor.settled().await);
        processor.drain(Duration::from_secs(10)).await;
        assert_eq!(world.document("a").await, ["1", "2", "bad"], "{order:?}");
        assert_eq!(world.document("b").await, ["bad"]);
        let letters = world.dead_letters().await;
        assert!(letters.iter().all(|stored| stored.status == DeadLetterStatus::Redriven), "{letters:?}");
        let counts = world.checkpoint(0).await.counts;
        assert_eq!(counts, OutcomeCounts { applied: 4, ..OutcomeCounts::default() });
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_behind_one_event_drains_in_order_and_in_batches() {
    static DOWN: AtomicBool = AtomicBool::new(true);
    fn down(_: &Event, text: &str) -> Option<Answer> {
        (text == "0" && DOWN.load(Ordering::SeqCst)).then(|| Answer::fail("down"))
    }
    let mut world = world(Order::Key);
    world.settings.on_exhausted = OnExhausted::Hold;
    let events: Vec<String> = (0..2000).map(|number| format!("a:{number}")).collect();
    world.publish_keyed(0, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let processor = world.start(down).await;
    assert!(processor.settled().await);
    assert_eq!(world.checkpoint(0).await.counts.parked, 2000);
    let given = world.given().len();
    assert!(given < 1000, "{given} events were given to the function for three attempts at one");
    let commits = world.store.commit_count();
    world.clock.sleep(Duration::from_secs(3600)).await;
    let tried = world.given().split_off(given);
    assert!(tried.len() <= 20 && tried.iter().all(|event| event == "a:0"), "in an hour: {tried:?}");
    let commits = world.store.commit_count() - commits;
    assert!(commits <= 2 * tried.len() as u64, "{commits} commits in an hour of waiting");

    DOWN.store(false, Ordering::SeqCst);
    let acted = world.store.try_parked_now(&lane(0), SequenceNumber(0), &deed()).await.unwrap();
    assert_eq!(acted, Acted::Done);
    processor.lanes()[0].changed_from_outside();
    assert!(processor.settled().await);
    let commits = world.store.commit_count();
    assert!(commits < 100, "{commits} commits");
    processor.drain(Duration::from_secs(10)).await;
    let expected: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    assert_eq!(world.document("a").await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_full_parking_place_makes_the_lane_wait() {
    static DOWN: AtomicBool = AtomicBool::new(true);
    fn down(_: &Event, text: &str) -> Option<Answer> {
        (text == "1" && DOWN.load(Ordering::SeqCst)).then(|| Answer::fail("down"))
    }
    let mut world = world(Order::Key);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.settings.parking.max_events = 3;
    world.publish_keyed(0, &["a:1", "a:2", "a:3", "a:4", "b:1"]).await;
    let processor = world.start(down).await;
    while !matches!(&processor.status()[0].state, LaneState::Waiting { error } if error.contains("no room")) {
        world.clock.sleep(Duration::from_millis(1)).await;
    }
    world.clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(world.parked(0).await, ["a:1", "a:2", "a:3"]);
    assert!(world.document("b").await.is_empty());

    DOWN.store(false, Ordering::SeqCst);
    world.store.release_held(&lane(0).function, NOW).await.unwrap();
    processor.lanes()[0].changed_from_outside();
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["1", "2", "3", "4"]);
    assert_eq!(world.document("b").await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_parking_place_may_also_set_events_aside() {
    let mut world = world(Order::Key);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.settings.parking.max_events = 2;
    world.settings.parking.at_limit = AtLimit::DeadLetter;
    world.publish_keyed(0, &["a:poison", "a:2", "a:3", "b:1"]).await;
    world.settle(poison_is_down).await;
    assert_eq!(world.parked(0).await, ["a:poison", "a:2"]);
    assert_eq!(world.document("b").await, ["1"]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].letter.reason.contains("no room"), "{}", letters[0].letter.reason);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_too_long_is_set_aside() {
    let mut world = world(Order::Key);
    world.settings.on_exhausted = OnExhausted::Hold;
    world.settings.parking.max_age = Duration::from_secs(3600);
    world.publish_keyed(0, &["a:poison", "a:2"]).await;
    let processor = world.start(poison_is_down).await;
    assert!(processor.settled().await);
    assert_eq!(world.parked(0).await.len(), 2);
    while !world.parked(0).await.is_empty() {
        world.clock.sleep(Duration::from_secs(60)).await;
    }
    processor.drain(Duration::from_secs(10)).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 2, "both are too old by then");
    let attempts = letters[0].letter.attempts.len();
    assert!(attempts > 3, "it was tried now and then, {attempts} times in all");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_moved_back_repeats_the_events_from_there_while_the_program_runs() {
    let world = world(Order::Key);
    world.publish_keyed(0, &["a:1", "a:2", "a:3"]).await;
    let processor = world.start(apply).await;
    processor.caught_up().await;
    world.store.seek(&lane(0), SequenceNumber(3), SequenceNumber(1), seeks()).await.unwrap();
    processor.lanes()[0].checkpoint_was_moved();
    world.publish_keyed(0, &["a:4"]).await;
    while world.checkpoint(0).await.position < SequenceNumber(4) {
        world.clock.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.document("a").await, ["1", "2", "3", "2", "3", "4"]);
    assert_eq!(world.checkpoint(0).await.start, SequenceNumber(1));

    // Without being told it notices when it commits.
    world.store.seek(&lane(0), SequenceNumber(4), SequenceNumber(3), seeks()).await.unwrap();
    world.publish_keyed(0, &["a:5"]).await;
    while world.checkpoint(0).await.position < SequenceNumber(5) {
        world.clock.sleep(Duration::from_millis(1)).await;
    }
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["1", "2", "3", "2", "3", "4", "4", "5"]);
}

/// Its commit is refused as one of an old term, and nobody says for a while whether it has another owner.
#[tokio::test(start_paused = true)]
async fn a_lane_whose_checkpoint_was_moved_goes_on_also_if_the_store_does_not_say_so_at_once() {
    let world = world(Order::Key);
    world.publish_keyed(0, &["a:1", "a:2"]).await;
    let processor = world.start(apply).await;
    processor.caught_up().await;
    world.store.hold_commits();
    world.publish_keyed(0, &["a:3"]).await;
    while world.given().len() < 3 {
        world.clock.sleep(Duration::from_millis(1)).await;
    }
    world.store.seek(&lane(0), SequenceNumber(2), SequenceNumber(1), seeks()).await.unwrap();
    for _ in 0..20 {
        world.store.fail_next_read(StoreError::Unavailable { detail: "gone fishing".into() });
    }
    world.store.release_commits();
    processor.caught_up().await;
    let status = processor.status();
    assert_eq!(status[0].state, LaneState::Running, "{status:?}");
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber(3));
    assert_eq!(world.document("a").await, ["1", "2", "2", "3"]);
}

/// Retention follows the checkpoint, and this pump has not heard yet that somebody moved it.
#[tokio::test(start_paused = true)]
async fn a_lane_whose_next_events_are_gone_because_its_checkpoint_was_moved_goes_on_from_there() {
    let world = world(Order::Key);
    world.publish_keyed(0, &["a:1", "a:2", "a:3"]).await;
    let processor = world.start(apply).await;
    processor.caught_up().await;
    let function = PauseTarget::Function(lane(0).function);
    acts::pause(&world.store, &function, &deed()).await.unwrap();
    while !matches!(processor.status()[0].state, LaneState::Gated { .. }) {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
    world.publish_keyed(0, &["a:4", "a:5", "a:6"]).await;
    let (from, to) = (SequenceNumber(3), SequenceNumber(5));
    world.store.seek(&lane(0), from, to, seeks()).await.unwrap();
    assert_eq!(world.log.drop_before(PartitionId(0), to), Some(to));
    acts::resume(&world.store, &function, &deed()).await.unwrap();
    processor.caught_up().await;
    assert_eq!(processor.status()[0].state, LaneState::Running);
    processor.drain(Duration::from_secs(10)).await;
    assert_eq!(world.document("a").await, ["1", "2", "3", "6"]);
}
