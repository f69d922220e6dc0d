//! A full disk, failed syncs, and limits of what may wait.

use std::time::Duration;

use tidegate_model::ports::{AppendError, EventAppender, EventLog};
use tidegate_model::position::SequenceNumber;

use super::*;
use crate::{LogError, RetentionPolicy};

fn body(byte: u8, len: usize) -> Vec<EventData> {
    vec![EventData::new(vec![byte; len])]
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let options = options(1 << 20);
    for copies_on_write in [false, true] {
        runtime().block_on(async {
            let storage = FaultyStorage::new(7);
            storage.set_copies_on_write(copies_on_write);
            storage.set_short_writes(true);
            let (log, hub) = open_hub(&storage, &options, 2).unwrap();
            let mut stored = Vec::new();
            let mut refused = 0;
            for round in 0..60_u8 {
                // Little room, with a little more now and then.
                storage.set_space(Some(u64::from(round % 5) * 9_000));
                match hub.append(P0, body(round, 20_000)).await {
                    Ok(appended) => stored.push((appended.first, round)),
                    Err(error) => {
                        assert!(matches!(error, AppendError::DiskFull { .. }), "{error}");
                        assert!(!error.may_have_been_stored());
                        refused += 1;
                        // Nothing of it comes back, should the machine stop right now.
                        let copy = storage.after_crash();
                        let (log, hub) = open_hub(&copy, &options, 2).unwrap();
                        assert_eq!(found(&hub).await, stored);
                        assert_eq!(hub.status(P0).unwrap().damage, None);
                        drop((log, hub));
                    }
                }
                assert_eq!(found(&hub).await, stored);
            }
            assert!(refused > 5 && stored.len() > 5, "{refused} refused, {} stored", stored.len());

            storage.set_space(None);
            for round in 60..80 {
                let appended = hub.append(P0, body(round, 20_000)).await.unwrap();
                stored.push((appended.first, round));
            }
            assert_eq!(found(&hub).await, stored);
            drop((log, hub));
            let (_log, hub) = open_hub(&storage.after_crash(), &options, 2).unwrap();
            assert_eq!(found(&hub).await, stored);
        });
    }
}

#[test]
fn a_refused_group_does_not_come_back_in_part() {
    let options = options(1 << 20);
    runtime().block_on(async {
        let storage = FaultyStorage::new(7);
        storage.set_copies_on_write(true);
        let (log, hub) = open_hub(&storage, &options, 1).unwrap();
        let writing = hub.partitions()[0].writing.lock();
        let mut group: Vec<_> = (0..3_u8).map(|byte| Box::pin(hub.append(P0, body(byte, 20_000)))).collect();
        group.iter_mut().for_each(|append| assert!(poll_once(append).is_none()));
        // The first append gets onto the disk whole, the second in part, the third not at all.
        storage.set_space(Some(30_000));
        drop(writing);
        for append in group {
            assert!(matches!(append.await, Err(AppendError::DiskFull { .. })));
        }
        for _ in 0..50 {
            let (_log, hub) = open_hub(&storage.after_crash(), &options, 1).unwrap();
            assert_eq!(found(&hub).await, []);
        }
        storage.set_space(None);
        hub.append(P0, body(9, 10)).await.unwrap();
        assert_eq!(found(&hub).await, [(SequenceNumber::ZERO, 9)]);
        log.close();
    });
}

/// The events of partition 0: their numbers and the byte they consist of.
async fn found(hub: &HubLog) -> Vec<(SequenceNumber, u8)> {
    read_all(hub, P0)
        .await
        .iter()
        .map(|event| {
            let byte = event.body()[0];
            assert!(event.body().iter().all(|other| *other == byte));
            (event.sequence_number, byte)
        })
        .collect()
}

#[test]
fn a_failed_sync_stops_the_log_until_a_restart() {
    let options = options(1 << 20);
    for seed in 0..40 {
        runtime().block_on(async {
            let storage = FaultyStorage::new(seed);
            let (log, hub) = open_hub(&storage, &options, 2).unwrap();
            append(&hub, P0, &["acknowledged"]).await.unwrap();
            assert_eq!(hub.failure(), None);
            storage.fail_sync_after(0);
            let failed = append(&hub, P0, &["unknown"]).await.unwrap_err();
            assert!(matches!(failed, AppendError::Failed { may_have_been_stored: true, .. }), "{failed}");
            for partition in [P0, PartitionId(1)] {
                let later = append(&hub, partition, &["later"]).await.unwrap_err();
                assert!(matches!(later, AppendError::Failed { may_have_been_stored: false, .. }), "{later}");
            }
            assert_eq!(bodies(&read_all(&hub, P0).await), ["acknowledged"], "what is durable stays readable");
            assert!(hub.failure().unwrap().starts_with("cannot sync "), "{:?}", hub.failure());
            let too_late = log.create_hub(&HubName::new("another").unwrap(), 1).err().unwrap();
            assert!(matches!(too_late, LogError::Failed { .. }), "{too_late}");
            drop((log, hub));

            // The program starts again, the machine does not: it may still hold the bytes as if they were on disk.
            let (log, hub) = open_hub(&storage, &options, 2).unwrap();
            assert_eq!(hub.failure(), None);
            let seen = bodies(&read_all(&hub, P0).await);
            assert_eq!(seen[0], "acknowledged");
            append(&hub, PartitionId(1), &["in service"]).await.unwrap();
            let storage = storage.after_crash();
            drop((log, hub));
            let (_log, hub) = open_hub(&storage, &options, 2).unwrap();
            assert_eq!(bodies(&read_all(&hub, P0).await), seen, "what a reader has seen survives a crash");
        });
    }
}

#[test]
fn an_append_whose_producer_has_gone_is_stored_all_the_same() {
    runtime().block_on(async {
        let storage = FaultyStorage::new(1);
        let (log, hub) = open_hub(&storage, &options(1 << 20), 1).unwrap();
        let writing = hub.partitions()[0].writing.lock();
        let mut gone = Box::pin(append(&hub, P0, &["orphan"]));
        assert!(poll_once(&mut gone).is_none(), "the writer is held");
        drop(gone);
        drop(writing);
        append(&hub, P0, &["next"]).await.unwrap();
        assert_eq!(bodies(&read_all(&hub, P0).await), ["orphan", "next"]);
        log.close();
    });
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    let options = LogOptions { queue_bytes: 100_000, ..options(1 << 20) };
    runtime().block_on(async {
        let storage = FaultyStorage::new(1);
        let (log, hub) = open_hub(&storage, &options, 1).unwrap();
        let writing = hub.partitions()[0].writing.lock();
        let mut waiting: Vec<_> =
            (0..20_u8).map(|byte| Box::pin(hub.append(P0, body(byte, 10_000)))).collect();
        let answers: Vec<_> = waiting.iter_mut().map(poll_once).collect();
        let throttled = answers
            .iter()
            .filter(|answer| matches!(answer, Some(Err(AppendError::Throttled { .. }))))
            .count();
        let admitted = answers.iter().filter(|answer| answer.is_none()).count();
        assert_eq!((admitted, throttled), (18, 2), "nine wait for the disk and nine for room");
        assert!(hub.queued_bytes() <= options.queue_bytes);

        drop(writing);
        let mut stored = 0;
        for (append, answer) in waiting.into_iter().zip(answers) {
            if answer.is_none() {
                append.await.unwrap();
                stored += 1;
            }
        }
        assert_eq!(found(&hub).await.len(), stored);
        // An append larger than the queue gets through when the queue is empty.
        hub.append(P0, body(1, 500_000)).await.unwrap();
        assert_eq!(hub.queued_bytes(), 0);
        log.close();
    });
}

#[test]
fn closing_writes_what_waits_and_refuses_the_rest() {
    runtime().block_on(async {
        let storage = FaultyStorage::new(1);
        let (log, hub) = open_hub(&storage, &options(1 << 20), 2).unwrap();
        let writing = hub.partitions()[0].writing.lock();
        let mut waiting: Vec<_> = (0..5_u8).map(|byte| Box::pin(hub.append(P0, body(byte, 100)))).collect();
        for append in &mut waiting {
            assert!(poll_once(append).is_none());
        }
        hub.close();
        drop(writing);
        log.close();
        for append in waiting {
            append.await.unwrap();
        }
        assert_eq!(append(&hub, P0, &["late"]).await, Err(AppendError::Closing));
        assert_eq!(found(&hub).await.len(), 5, "reading goes on");
    });
}

#[test]
fn retention_keeps_what_somebody_needs_and_the_head_survives() {
    let options = options(64 << 10);
    runtime().block_on(async {
        let storage = FaultyStorage::new(1);
        let (log, hub) = open_hub(&storage, &options, 2).unwrap();
        for byte in 0..20 {
            hub.append(P0, body(byte, 20_000)).await.unwrap();
        }
        let everything = |hub: &HubLog| hub.status(P0).unwrap();
        let later = START.plus(Duration::from_secs(3600));
        let by_age = RetentionPolicy { max_age: Some(Duration::from_secs(60)), max_bytes: None };
        let by_size = RetentionPolicy { max_age: None, max_bytes: Some(0) };

        assert_eq!(hub.enforce_retention(later, by_age, &[]).unwrap(), [], "without floors everything stays");
        assert_eq!(
            hub.enforce_retention(START, by_age, &[SequenceNumber(20); 2]).unwrap(),
            [],
            "nothing is old"
        );
        assert_eq!(
            hub.enforce_retention(later, by_age, &[SequenceNumber(2); 2]).unwrap(),
            [],
            "2 is still needed"
        );
        let dropped = hub.enforce_retention(later, by_age, &[SequenceNumber(8); 2]).unwrap();
        assert_eq!((dropped[0].partition, dropped[0].head, dropped[0].segments), (P0, SequenceNumber(6), 2));
        let dropped = hub.enforce_retention(START, by_size, &[SequenceNumber(20); 2]).unwrap();
        assert_eq!(dropped[0].head, SequenceNumber(18), "the segment in use stays");
        let dropped = hub.enforce_retention(later, by_age, &[SequenceNumber(20); 2]).unwrap();
        assert_eq!(dropped[0].head, SequenceNumber(20), "everything is too old");
        assert_eq!(found(&hub).await, []);
        let last = everything(&hub);
        drop((log, hub));

        let (_log, hub) = open_hub(&storage.after_crash(), &options, 2).unwrap();
        let status = everything(&hub);
        assert_eq!((status.head, status.tail), (SequenceNumber(20), SequenceNumber(20)));
        assert_eq!(status.last_enqueued_at, last.last_enqueued_at);
        assert!(hub.append(P0, body(1, 1)).await.unwrap().enqueued_at >= last.last_enqueued_at.unwrap());
    });
}

#[test]
fn on_a_full_disk_retention_makes_room_although_no_segment_can_be_begun() {
    let options = options(64 << 10);
    runtime().block_on(async {
        let storage = FaultyStorage::new(1);
        let (_log, hub) = open_hub(&storage, &options, 2).unwrap();
        hub.append(P0, body(0, 20_000)).await.unwrap();
        for byte in 0..20 {
            hub.append(P1, body(byte, 20_000)).await.unwrap();
        }
        storage.set_space(Some(0));
        let later = START.plus(Duration::from_secs(3600));
        let by_age = RetentionPolicy { max_age: Some(Duration::from_secs(60)), max_bytes: None };
        let enforce = || hub.enforce_retention(later, by_age, &[SequenceNumber(1), SequenceNumber(20)]);
        let heads = || [P0, P1].map(|partition| hub.status(partition).unwrap().head.0);

        // The one partition has nothing but the segment in use, and the other one must not wait for it.
        let refused = enforce();
        assert!(matches!(refused, Err(LogError::Io { disk_full: true, .. })), "{refused:?}");
        assert_eq!(heads(), [0, 18]);
        enforce().unwrap();
        assert_eq!(heads(), [1, 20], "there is room by now");
    });
}
