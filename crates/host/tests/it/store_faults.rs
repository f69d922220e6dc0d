//! Stores that are away, lose replies, or have new owners.

use std::time::Duration;

use tidegate_host::processor::StartError;
use tidegate_host::status::LaneState;
use tidegate_model::answer::Body;
use tidegate_model::clock::{Clock, TestClock};
use tidegate_model::document::DocumentId;
use tidegate_model::event::HubName;
use tidegate_model::memory::MemoryLog;
use tidegate_model::ports::StoreError;
use tidegate_model::position::SequenceNumber;

use crate::harness::{NOW, World, apply, collection, lane};

fn unavailable() -> StoreError {
    StoreError::Unavailable { detail: "gone fishing".into() }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_is_waited_out_and_uses_up_no_attempt() {
    let world = World::new(2);
    world.publish(0, &["a:1", "a:2"]).await;
    world.publish(1, &["b:1"]).await;
    for _ in 0..20 {
        world.store.fail_next_commit(unavailable());
        world.store.fail_next_read(unavailable());
    }
    // The first reads are those of starting, which does not wait.
    loop {
        if let Ok(processor) = world.try_start(apply).await {
            processor.caught_up().await;
            processor.drain(Duration::from_secs(10)).await;
            break;
        }
    }
    assert_eq!(world.document("a").await, ["1", "2"]);
    assert_eq!(world.document("b").await, ["1"]);
    assert!(world.dead_letters().await.is_empty());
}

/// Commits go one after the other, so the lanes behind a commit that fails wait as well, and must not look idle.
#[tokio::test(start_paused = true)]
async fn every_lane_with_something_to_commit_shows_that_it_waits_for_the_store() {
    let mut world = World::new(3);
    world.options.commit_events = 1;
    world.publish(0, &["a:1"]).await;
    world.publish(1, &["b:1"]).await;
    for _ in 0..10 {
        world.store.fail_next_commit(unavailable());
    }
    let processor = world.start(apply).await;
    let waits =
        |state: &LaneState| matches!(state, LaneState::Waiting { error } if error.contains("fishing"));
    for _ in 0..1000 {
        if processor.status().iter().any(|lane| waits(&lane.state)) {
            break;
        }
        world.clock.sleep(Duration::from_millis(1)).await;
    }
    let waiting: Vec<bool> = processor.status().iter().map(|lane| waits(&lane.state)).collect();
    assert_eq!(waiting, [true, true, false], "the third has nothing to commit");
    processor.caught_up().await;
    assert!(processor.status().iter().all(|lane| lane.state == LaneState::Running));
    processor.drain(Duration::from_secs(10)).await;
}

/// A commit fails half-way: what was folded ahead of it is taken back, and every event is applied once all the same.
#[tokio::test(start_paused = true)]
async fn what_was_folded_ahead_of_a_lost_commit_is_taken_back() {
    for seed in 0..40 {
        let mut world = World::seeded(3, seed);
        world.settings.max_event_batch_size = 3;
        world.options.commit_events = 5;
        for round in 0..30 {
            for partition in 0..3 {
                let event = format!("shared:{partition}.{round}");
                world.publish(partition, &[&event]).await;
            }
        }
        let processor = world.start(apply).await;
        let chance = TestClock::new(NOW, seed);
        for _ in 0..6 {
            for _ in 0..chance.random() % 20 {
                tokio::task::yield_now().await;
            }
            match chance.random() % 3 {
                0 => world.store.fail_next_commit(unavailable()),
                1 => world.store.lose_next_reply(unavailable()),
                _ => {
                    let id = DocumentId::new("shared").unwrap();
                    let error = StoreError::DocumentChanged { collection: collection(), id };
                    world.store.fail_next_commit(error);
                }
            }
        }
        processor.caught_up().await;
        processor.drain(Duration::from_secs(10)).await;

        let shared = world.document("shared").await;
        assert_eq!(shared.len(), 90, "seed {seed}: every event is there once: {shared:?}");
        for partition in 0..3 {
            let prefix = format!("{partition}.");
            let of_partition: Vec<_> = shared.iter().filter(|entry| entry.starts_with(&prefix)).collect();
            let expected: Vec<_> = (0..30).map(|round| format!("{partition}.{round}")).collect();
            assert!(of_partition.into_iter().eq(&expected), "seed {seed}: partition {partition} is in order");
            assert_eq!(world.checkpoint(partition).await.counts.applied, 30);
        }
    }
}

/// The last commit goes through and its reply is lost: nothing is left to commit that would say so.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_the_last_commit_is_noticed() {
    let world = World::new(1);
    let processor = world.start(apply).await;
    world.store.lose_next_reply(unavailable());
    world.publish(0, &["a:1"]).await;
    processor.caught_up().await;
    assert_eq!(processor.status()[0].lag(), 0);
    processor.drain(Duration::from_secs(1)).await;
    assert_eq!(world.document("a").await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_document_changed_from_outside_is_read_again() {
    let world = World::new(1);
    world.publish(0, &["a:1"]).await;
    let processor = world.start(apply).await;
    processor.caught_up().await;
    let id = DocumentId::new("a").unwrap();
    world.store.change_document(
        &collection(),
        &id,
        Body::Json(r#"["edited"]"#.into()).encode().unwrap(),
        NOW,
    );
    world.publish(0, &["a:2"]).await;
    processor.caught_up().await;
    processor.drain(Duration::from_secs(1)).await;
    assert_eq!(world.document("a").await, ["edited", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_with_a_new_owner_stops_and_writes_nothing_and_the_others_go_on() {
    let world = World::new(2);
    let processor = world.start(apply).await;
    world.store.steal(&lane(0), NOW);
    world.publish(0, &["a:1"]).await;
    world.publish(1, &["b:1"]).await;
    processor.caught_up().await;

    let status = processor.status();
    assert!(
        matches!(&status[0].state, LaneState::Stopped { error } if error.contains("new owner")),
        "{status:?}"
    );
    assert_eq!(status[1].lag(), 0);
    assert!(world.document("a").await.is_empty());
    assert_eq!(world.document("b").await, ["1"]);
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber::ZERO);
    processor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_another_incarnation_is_refused() {
    let mut world = World::new(1);
    world.publish(0, &["a:1"]).await;
    world.run(apply).await;
    let again = MemoryLog::new(HubName::new("hub").unwrap(), 1, TestClock::new(NOW, 99));
    world.log = std::sync::Arc::new(again);
    world.publish(0, &["a:2"]).await;
    match world.try_start(apply).await {
        Err(StartError::Store(StoreError::OtherIncarnation { lane: refused, .. })) => {
            assert_eq!(refused, lane(0))
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it was accepted"),
    }
    assert_eq!(world.document("a").await, ["1"], "nothing was touched");
}

#[tokio::test(start_paused = true)]
async fn commits_are_shared_while_the_store_is_slow_and_what_waits_is_bounded() {
    let mut world = World::new(4);
    world.options.in_flight_bytes = 64 * 1024;
    let events: Vec<String> = (0..5000).map(|number| format!("d{}:{number}", number % 10)).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    for partition in 0..4 {
        world.publish(partition, &events).await;
    }
    world.store.hold_commits();
    let processor = world.start(apply).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let ahead = world.given().len();
    assert!(ahead > 100, "the function runs ahead of the store: {ahead}");
    assert!(ahead < 4 * 5000 / 4, "but no further than memory allows: {ahead}");
    world.store.release_commits();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    let total: usize = world.documents().await.values().map(Vec::len).sum();
    assert_eq!(total, 4 * 5000);
}
