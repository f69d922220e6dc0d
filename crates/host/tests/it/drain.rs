//! Stopping: what is in flight is finished or left unresolved, never skipped.

use std::time::Duration;

use tidegate_host::settings::Isolation;
use tidegate_host::status::LaneState;
use tidegate_model::answer::Answer;
use tidegate_model::event::Event;
use tidegate_model::ports::Ownerships;
use tidegate_model::position::SequenceNumber;

use crate::harness::{World, apply};

#[tokio::test(start_paused = true)]
async fn draining_releases_every_lane_and_a_restart_goes_on_where_it_stopped() {
    for yields in 0..60 {
        let mut world = World::new(2);
        world.settings.max_event_batch_size = 2;
        let events: Vec<String> = (0..20).map(|number| format!("a{}:{number}", number % 3)).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        world.publish(0, &events).await;
        let processor = world.start(apply).await;
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        let status = processor.drain(Duration::from_secs(10)).await;
        assert!(status.iter().all(|lane| lane.state == LaneState::Released), "{status:?}");
        assert!(world.store.ownerships().await.unwrap().iter().all(|ownership| ownership.owner.is_empty()));
        let position = world.checkpoint(0).await.position;
        let applied: usize = world.documents().await.values().map(Vec::len).sum();
        assert_eq!(position, SequenceNumber(applied as u64), "the checkpoint is where the documents are");

        world.run(apply).await;
        let applied: usize = world.documents().await.values().map(Vec::len).sum();
        assert_eq!(applied, 20, "stopped after {yields} steps");
    }
}

/// Cancelling resolves nothing: an invocation that does not end in time is abandoned and its events come again.
#[tokio::test]
async fn an_invocation_that_does_not_end_in_time_stays_unresolved() {
    fn slow(_: &Event, _: &str) -> Option<Answer> {
        std::thread::park_timeout(Duration::from_secs(2));
        None
    }
    let mut world = World::new(1);
    world.options.isolation = Isolation::Thread;
    world.publish(0, &["a:1"]).await;
    let processor = world.start(slow).await;
    while world.given().is_empty() {
        tokio::task::yield_now().await;
    }
    processor.drain(Duration::from_millis(50)).await;
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber::ZERO);
    assert!(world.document("a").await.is_empty());

    world.run(apply).await;
    assert_eq!(world.document("a").await, ["1"]);
}
