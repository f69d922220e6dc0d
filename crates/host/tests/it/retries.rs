//! Failed events: when they are tried again, what is remembered of it, and how they end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_host::retry::RetryPolicy;
use tidegate_host::status::LaneState;
use tidegate_model::answer::{Answer, Failure};
use tidegate_model::attempt::FailureClass;
use tidegate_model::clock::Clock;
use tidegate_model::event::Event;
use tidegate_model::ports::Checkpoints;
use tidegate_model::position::SequenceNumber;

use crate::harness::{World, lane};

fn always_down(_: &Event, text: &str) -> Option<Answer> {
    (text == "poison").then(|| Answer::fail("the sink is down"))
}

#[tokio::test(start_paused = true)]
async fn a_failed_event_holds_its_lane_until_its_attempts_are_used_up() {
    let world = World::new(1);
    world.publish(0, &["a:1", "a:poison", "a:3"]).await;
    world.run(always_down).await;

    assert_eq!(world.document("a").await, ["1", "3"]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].letter;
    assert_eq!(letter.class, FailureClass::Exhausted);
    assert_eq!(letter.reason, "the sink is down");
    assert_eq!(letter.attempts.len(), 3, "max_attempts is 3 and the first try counts");
    let document = letter.document.as_ref().expect("the document it was meant for");
    assert_eq!(document.id.as_str(), "a");
    assert_eq!(document.body.as_deref(), Some(&br#"["1"]"#[..]), "as it was at the time");
    // Its neighbours were not processed again while it was retried.
    assert_eq!(world.given().iter().filter(|event| *event == "a:1").count(), 1);
    assert!(world.store.attempts(&lane(0)).await.unwrap().is_empty(), "nothing is left to remember");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_recovers_is_applied_and_its_neighbours_are_not_applied_again() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    fn recovers(_: &Event, text: &str) -> Option<Answer> {
        (text == "2" && TRIES.fetch_add(1, Ordering::SeqCst) < 2).then(|| Answer::fail("not yet"))
    }
    let world = World::new(1);
    world.publish(0, &["a:1", "a:2", "a:3"]).await;
    world.run(recovers).await;
    assert_eq!(world.document("a").await, ["1", "2", "3"]);
    assert!(world.dead_letters().await.is_empty());
}

/// Three attempts stay three attempts although the program stops after each of them.
#[tokio::test(start_paused = true)]
async fn a_restart_does_not_start_the_count_again() {
    let mut world = World::new(1);
    world.settings.retry =
        RetryPolicy::FixedDelay { max_attempts: Some(3), delay: Duration::from_secs(3600) };
    world.publish(0, &["a:poison"]).await;
    for attempt in 1..=2 {
        let processor = world.start(always_down).await;
        loop {
            tokio::task::yield_now().await;
            let attempts = world.store.attempts(&lane(0)).await.unwrap();
            if attempts.first().is_some_and(|record| record.attempts.len() == attempt) {
                break;
            }
        }
        processor.drain(Duration::from_secs(1)).await;
        assert_eq!(world.given().len(), attempt);
    }
    world.run(always_down).await;
    assert_eq!(world.given().len(), 3);
    assert_eq!(world.dead_letters().await[0].letter.attempts.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_downstream_asks() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    fn throttled(_: &Event, _: &str) -> Option<Answer> {
        (TRIES.fetch_add(1, Ordering::SeqCst) == 0)
            .then(|| Answer::Fail(Failure::new("429").retry_after(Duration::from_secs(100))))
    }
    let world = World::new(1);
    world.publish(0, &["a:1"]).await;
    let processor = world.start(throttled).await;
    let began = world.clock.monotonic();
    processor.caught_up().await;
    // Time is paused and moves only when everything waits, so this is no measurement.
    assert!(world.clock.monotonic() - began >= Duration::from_secs(100));
    processor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_stays_before_an_unresolved_event_and_a_restart_delivers_it_again() {
    fn stuck(_: &Event, text: &str) -> Option<Answer> {
        (text == "3").then(|| Answer::fail("stuck"))
    }
    let mut world = World::new(1);
    world.settings.retry = RetryPolicy::FixedDelay { max_attempts: None, delay: Duration::from_secs(1) };
    world.publish(0, &["a:1", "a:2", "a:3", "a:4"]).await;
    let processor = world.start(stuck).await;
    while !matches!(processor.status()[0].state, LaneState::Retrying { failures: 3, .. }) {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(processor.status()[0].lag(), 2);
    processor.drain(Duration::from_secs(1)).await;
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber(2));

    world.run(crate::harness::apply).await;
    assert_eq!(world.document("a").await, ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn poison_in_a_row_and_at_the_start_of_a_partition_ends_in_the_dead_letters() {
    let world = World::new(1);
    world.publish(0, &["a:poison", "a:poison", "a:poison", "a:poison", "a:poison", "a:6"]).await;
    world.run(always_down).await;
    assert_eq!(world.document("a").await, ["6"]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|stored| stored.letter.attempts.len() == 3));
}
