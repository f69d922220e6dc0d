//! Events become documents: in order, each once, whoever shares a document.

use tidegate_model::answer::Answer;
use tidegate_model::attempt::FailureClass;
use tidegate_model::event::Event;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::harness::{World, apply};

#[tokio::test(start_paused = true)]
async fn events_are_applied_in_order_and_the_checkpoint_says_so() {
    let world = World::new(2);
    world.publish(0, &["a:1", "b:2", "a:3"]).await;
    world.publish(1, &["c:4"]).await;
    world.run(apply).await;

    assert_eq!(world.document("a").await, ["1", "3"]);
    assert_eq!(world.document("b").await, ["2"]);
    assert_eq!(world.document("c").await, ["4"]);
    let checkpoint = world.checkpoint(0).await;
    assert_eq!(checkpoint.position, SequenceNumber(3));
    assert_eq!(checkpoint.counts, OutcomeCounts { applied: 3, ..OutcomeCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn what_was_processed_is_not_processed_again_after_a_restart() {
    let world = World::new(1);
    world.publish(0, &["a:1"]).await;
    world.run(apply).await;
    world.publish(0, &["a:2"]).await;
    world.run(apply).await;
    assert_eq!(world.document("a").await, ["1", "2"]);
    assert_eq!(world.given(), ["a:1", "a:2"]);
}

#[tokio::test(start_paused = true)]
async fn rejected_and_filtered_events_have_their_own_places() {
    fn act(_: &Event, text: &str) -> Option<Answer> {
        match text {
            "bad" => Some(Answer::reject("no good")),
            "dull" => Some(Answer::Filter),
            _ => None,
        }
    }
    let world = World::new(1);
    world.publish(0, &["a:1", "a:bad", "a:dull", "a:4"]).await;
    world.run(act).await;

    assert_eq!(world.document("a").await, ["1", "4"]);
    let counts = world.checkpoint(0).await.counts;
    assert_eq!(
        counts,
        OutcomeCounts { applied: 2, filtered: 1, dead_lettered: 1, ..OutcomeCounts::default() }
    );
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].letter;
    assert_eq!(letter.event.body().as_ref(), b"a:bad");
    assert_eq!(letter.event.sequence_number, SequenceNumber(1));
    assert_eq!((letter.class, letter.reason.as_str()), (FailureClass::Permanent, "no good"));
    assert_eq!(letter.attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_that_a_repair_gave_up_are_counted_as_lost() {
    let range = |from, to| SequenceNumber(from)..SequenceNumber(to);
    for lost in [
        vec![range(0, 2)],
        vec![range(2, 4)],
        vec![range(3, 6)],
        vec![range(1, 2), range(5, 6)],
        vec![range(0, 6)],
    ] {
        let world = World::new(1);
        world.publish(0, &["a:0", "a:1", "a:2", "a:3", "a:4", "a:5"]).await;
        for lost in lost.clone() {
            world.log.give_up(PartitionId(0), lost).unwrap();
        }
        world.run(apply).await;
        let kept: Vec<_> = (0..6)
            .filter(|number| !lost.iter().any(|lost| lost.contains(&SequenceNumber(*number))))
            .map(|number| number.to_string())
            .collect();
        assert_eq!(world.document("a").await, kept, "{lost:?}");
        let checkpoint = world.checkpoint(0).await;
        assert_eq!(checkpoint.position, SequenceNumber(6), "{lost:?}");
        assert_eq!(checkpoint.counts.applied, kept.len() as u64);
        assert_eq!(checkpoint.counts.lost, 6 - kept.len() as u64);

        // And it goes on behind them.
        world.publish(0, &["b:6"]).await;
        world.run(apply).await;
        assert_eq!(world.document("b").await, ["6"]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_document_fed_by_several_partitions_gets_every_event_once_and_each_partition_in_order() {
    for seed in 0..20 {
        let world = World::seeded(4, seed);
        for round in 0..50 {
            for partition in 0..4 {
                let events = [format!("shared:{partition}.{round}"), format!("own{partition}:{round}")];
                world.publish(partition, &events.each_ref().map(String::as_str)).await;
            }
        }
        let mut world = world;
        world.settings.max_event_batch_size = 1 + (seed as usize % 7);
        world.run(apply).await;

        let shared = world.document("shared").await;
        assert_eq!(shared.len(), 200, "seed {seed}: every event is there once");
        for partition in 0..4 {
            let prefix = format!("{partition}.");
            let of_partition: Vec<_> = shared.iter().filter(|entry| entry.starts_with(&prefix)).collect();
            let expected: Vec<_> = (0..50).map(|round| format!("{partition}.{round}")).collect();
            assert!(of_partition.into_iter().eq(&expected), "seed {seed}: partition {partition} is in order");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_holds_a_tenth_of_the_documents_changes_nothing_but_memory() {
    let mut world = World::new(2);
    // About 200 bytes a document with its overhead.
    world.options.document_cache_bytes = 100 * 250;
    world.options.commit_events = 50;
    for round in 0..3 {
        for partition in 0..2 {
            let events: Vec<String> =
                (0..500).map(|number| format!("p{partition}-{number}:{round}")).collect();
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            world.publish(partition, &events).await;
        }
    }
    world.run(apply).await;
    let documents = world.documents().await;
    assert_eq!(documents.len(), 1000);
    for (id, entries) in documents {
        assert_eq!(entries, ["0", "1", "2"], "document {id}");
    }
}
