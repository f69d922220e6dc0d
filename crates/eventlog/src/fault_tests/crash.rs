//! Crashes: at random operations with many producers, and at every single operation of a short script.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tidegate_model::ports::{EventAppender, EventLog};
use tidegate_model::position::{PartitionId, SequenceNumber};

use super::ledger::Ledger;
use super::*;
use crate::RetentionPolicy;

const PARTITIONS: u32 = 2;

/// Checks every partition after a start, and that it is in service.
async fn check_all(hub: &HubLog, ledger: &Mutex<Ledger>) {
    for partition in (0..PARTITIONS).map(PartitionId) {
        let status = hub.status(partition).unwrap();
        assert_eq!(status.damage, None, "a crash passed for damage");
        let events = read_all(hub, partition).await;
        assert_eq!(status.head.plus(events.len() as u64), status.tail);
        ledger.lock().check(partition, status.head, &events);
    }
}

/// One append, noted in the ledger.
async fn tracked_append(
    hub: &HubLog,
    ledger: &Mutex<Ledger>,
    partition: PartitionId,
    count: usize,
    size: usize,
) -> bool {
    let (id, events) = ledger.lock().begin(partition, count, size);
    let answer = hub.append(partition, events).await;
    ledger.lock().end(id, &answer);
    answer.is_ok()
}

/// What happens between two starts.
#[derive(Clone, Debug)]
struct Life {
    crash_in: u64,
    with_effect: bool,
    short_writes: bool,
    /// Per producer: events and bytes of each append.
    producers: Vec<Vec<(usize, usize)>>,
    retention: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let append = (1_usize..6, prop_oneof![4 => 0_usize..300, 1 => 300_usize..20_000]);
    let producer = prop::collection::vec(append, 1..20);
    (1_u64..120, any::<bool>(), any::<bool>(), prop::collection::vec(producer, 1..5), any::<bool>()).prop_map(
        |(crash_in, with_effect, short_writes, producers, retention)| Life {
            crash_in,
            with_effect,
            short_writes,
            producers,
            retention,
        },
    )
}

async fn live(storage: &FaultyStorage, options: &LogOptions, life: Life, ledger: &Arc<Mutex<Ledger>>) {
    let Ok((log, hub)) = open_hub(storage, options, PARTITIONS) else {
        assert!(storage.has_crashed(), "the log cannot be opened");
        return;
    };
    let mut producers = Vec::new();
    for (number, appends) in (0_u32..).zip(life.producers) {
        let (hub, ledger) = (Arc::clone(&hub), Arc::clone(ledger));
        producers.push(tokio::spawn(async move {
            for (count, size) in appends {
                if !tracked_append(&hub, &ledger, PartitionId(number % PARTITIONS), count, size).await {
                    return;
                }
            }
        }));
    }
    for producer in producers {
        producer.await.unwrap();
    }
    if life.retention {
        let floors: Vec<_> =
            (0..PARTITIONS).map(|partition| hub.status(PartitionId(partition)).unwrap().tail).collect();
        // It fails when the machine stops in the middle of it.
        let policy = RetentionPolicy { max_age: None, max_bytes: Some(0) };
        let _ = hub.enforce_retention(START, policy, &floors);
    }
    drop((hub, log));
}

#[test]
fn whatever_was_acknowledged_survives_random_crashes() {
    let runtime = runtime();
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let lives = prop::collection::vec(life(), 1..5);
    let segment = prop_oneof![Just(64_u64 << 10), Just(1 << 20)];
    runner
        .run(&(any::<u64>(), segment, lives), |(seed, segment_bytes, lives)| {
            runtime.block_on(async {
                let options = options(segment_bytes);
                let mut storage = FaultyStorage::new(seed);
                let ledger = Arc::new(Mutex::new(Ledger::default()));
                for life in lives {
                    storage.set_short_writes(life.short_writes);
                    storage.crash_in(life.crash_in, life.with_effect);
                    live(&storage, &options, life, &ledger).await;
                    storage = storage.after_crash();
                    // The machine may stop again while it recovers.
                    storage.crash_in(seed % 7 + 1, seed % 2 == 0);
                    drop(open_hub(&storage, &options, PARTITIONS));
                    storage = storage.after_crash();

                    let (log, hub) = open_hub(&storage, &options, PARTITIONS).unwrap();
                    check_all(&hub, &ledger).await;
                    for partition in (0..PARTITIONS).map(PartitionId) {
                        assert!(tracked_append(&hub, &ledger, partition, 3, 10).await, "not in service");
                    }
                    drop((hub, log));
                }
                let (log, hub) = open_hub(&storage, &options, PARTITIONS).unwrap();
                check_all(&hub, &ledger).await;
                drop((hub, log));
            });
            Ok(())
        })
        .unwrap();
}

/// A short life of a log: making it, appending across several segments, retention by size and by age, closing.
async fn script(storage: &FaultyStorage, options: &LogOptions, ledger: &Mutex<Ledger>) -> Option<()> {
    let (log, hub) = open_hub(storage, options, PARTITIONS).ok()?;
    let tails = |hub: &HubLog| -> Vec<SequenceNumber> {
        (0..PARTITIONS).map(|partition| hub.status(PartitionId(partition)).unwrap().tail).collect()
    };
    for size in [10, 30_000, 20_000, 100, 70_000, 5] {
        for partition in (0..PARTITIONS).map(PartitionId) {
            if !tracked_append(&hub, ledger, partition, 2, size).await {
                return None;
            }
        }
    }
    let by_size = RetentionPolicy { max_age: None, max_bytes: Some(200_000) };
    hub.enforce_retention(START, by_size, &tails(&hub)).ok()?;
    assert!(tracked_append(&hub, ledger, P0, 1, 10).await || storage.has_crashed());
    let by_age = RetentionPolicy { max_age: Some(std::time::Duration::ZERO), max_bytes: None };
    let later = START.plus(std::time::Duration::from_secs(3600));
    hub.enforce_retention(later, by_age, &tails(&hub)).ok()?;
    assert!(tracked_append(&hub, ledger, P0, 1, 10).await || storage.has_crashed());
    log.close();
    (!storage.has_crashed()).then_some(())
}

#[test]
fn a_crash_at_any_operation_loses_nothing() {
    let runtime = runtime();
    let options = LogOptions { writer_threads: 1, ..options(64 << 10) };
    for with_effect in [false, true] {
        let mut operation = 0;
        loop {
            operation += 1;
            // Several images of the medium after the same crash.
            let storage = FaultyStorage::new(operation);
            storage.crash_in(operation, with_effect);
            let ledger = Mutex::new(Ledger::default());
            let finished = runtime.block_on(script(&storage, &options, &ledger)).is_some();
            for image in 0..4 {
                let storage = storage.after_crash();
                runtime.block_on(async {
                    let (log, hub) = open_hub(&storage, &options, PARTITIONS).unwrap();
                    // Each image may have kept another part of what was not acknowledged.
                    let known = Mutex::new(ledger.lock().clone());
                    check_all(&hub, &known).await;
                    assert!(tracked_append(&hub, &known, P0, 1, 1).await, "not in service, image {image}");
                    drop((hub, log));
                    let (log, hub) = open_hub(&storage.after_crash(), &options, PARTITIONS).unwrap();
                    check_all(&hub, &known).await;
                    drop((hub, log));
                });
            }
            if finished {
                break;
            }
        }
        assert!(operation > 80, "the script has only {operation} operations");
    }
}

#[test]
fn what_is_left_of_a_torn_group_is_never_taken_for_a_later_append() {
    let options = options(64 << 10);
    let runtime = runtime();
    let storage = FaultyStorage::new(1);
    let (log, hub) = open_hub(&storage, &options, 1).unwrap();
    let writing = hub.partitions()[0].writing.lock();
    let group: Vec<_> = ["torn", "left"]
        .map(|body| {
            let hub = Arc::clone(&hub);
            runtime.spawn(async move { append(&hub, P0, &[body]).await })
        })
        .into_iter()
        .collect();
    while hub.queued_bytes() < 2 * crate::frame::frame_len(6 + 4) {
        std::thread::yield_now();
    }
    drop(writing);
    group.into_iter().for_each(|append| assert!(runtime.block_on(append).unwrap().is_ok()));
    storage.crash_in(1, false);
    drop((log, hub));
    // Of the two frames of the group, the first is torn.
    let storage = storage.after_crash();
    let path = Path::new("/log/hub/0/00000000000000000000.seg");
    storage.corrupt(path, |bytes| bytes[crate::segment::HEADER_BLOCK as usize + 50] ^= 1);

    let (log, hub) = open_hub(&storage, &options, 1).unwrap();
    assert_eq!(hub.status(P0).unwrap().tail, SequenceNumber::ZERO);
    // It takes the place of the first; the second would follow it with the right number.
    runtime.block_on(append(&hub, P0, &["next"])).unwrap();
    let storage = storage.after_crash();
    drop((log, hub));
    let (_log, hub) = open_hub(&storage, &options, 1).unwrap();
    assert_eq!(bodies(&runtime.block_on(read_all(&hub, P0))), ["next"]);
}
