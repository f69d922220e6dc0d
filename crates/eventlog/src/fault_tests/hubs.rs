//! Hubs that are made, changed and deleted while the log is in use, with a crash at every operation.

use std::time::Duration;

use tidegate_model::ports::{AppendError, EventAppender, EventLog, ReadError};
use tidegate_model::position::{Incarnation, SequenceNumber, StartPosition};

use super::*;
use crate::reader::{NotRead, Patience};
use crate::storage::Storage;
use crate::{HubSettings, RetentionPolicy};

fn keep_for(seconds: u64) -> HubSettings {
    let max_age = Some(Duration::from_secs(seconds));
    HubSettings { retention: Some(RetentionPolicy { max_age, max_bytes: None }) }
}

fn other_name() -> HubName {
    HubName::new("other").unwrap()
}

/// What a crash may leave of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Gone,
    /// As it was, with these settings, and so many events in each partition.
    Whole(Incarnation, HubSettings, u64),
}

fn left(log: &Log, name: &HubName, events: u64) -> Left {
    let Some(hub) = log.hub(name) else { return Left::Gone };
    runtime().block_on(async {
        for number in 0..EventLog::partition_count(&*hub) {
            let partition = PartitionId(number);
            assert_eq!(hub.status(partition).unwrap().damage, None, "a crash passed for damage");
            let found = read_all(&hub, partition).await;
            assert_eq!(found.len() as u64, events, "a hub came back without some of its events");
        }
    });
    Left::Whole(EventLog::incarnation(&*hub), hub.settings(), events)
}

/// No name in the log directory but the lock and hubs that exist.
fn assert_nothing_is_left_over(storage: &FaultyStorage, log: &Log) {
    for entry in storage.list(Path::new(DIR)).unwrap().into_iter().filter(|entry| entry.is_dir) {
        assert!(
            HubName::new(&entry.name).is_ok_and(|name| log.hub(&name).is_some()),
            "{} is left",
            entry.name
        );
    }
}

#[test]
fn a_crash_leaves_a_deleted_hub_whole_or_gone() {
    let options = LogOptions { writer_threads: 1, ..options(64 << 10) };
    for with_effect in [false, true] {
        let (mut outcomes, mut operation) = (std::collections::BTreeSet::new(), 0);
        loop {
            operation += 1;
            let storage = FaultyStorage::new(operation);
            let log = open(&storage, &options).unwrap();
            let hub = log.create_hub_with(&hub_name(), 2, keep_for(60)).unwrap();
            let other = log.create_hub(&other_name(), 1).unwrap();
            runtime().block_on(async {
                for body in ["a", "b", &"c".repeat(40_000), &"d".repeat(40_000)] {
                    append(&hub, P0, &[body]).await.unwrap();
                    append(&hub, PartitionId(1), &[body]).await.unwrap();
                    append(&other, P0, &["kept"]).await.unwrap();
                }
            });
            let whole = Left::Whole(EventLog::incarnation(&*hub), keep_for(60), 4);
            let kept = Left::Whole(EventLog::incarnation(&*other), HubSettings::default(), 4);
            storage.crash_in(operation, with_effect);
            let deleted = log.delete_hub(&hub_name());
            for _image in 0..4 {
                let storage = storage.after_crash();
                let log = open(&storage, &options).unwrap();
                let found = left(&log, &hub_name(), 4);
                assert!(found == Left::Gone || found == whole, "{found:?}");
                // What can be removed of the files comes after the sync, and failing there is no error.
                assert!(found == Left::Gone || deleted.is_err(), "a hub is back that was deleted");
                assert_eq!(left(&log, &other_name(), 4), kept);
                assert_nothing_is_left_over(&storage, &log);
                outcomes.insert(found == Left::Gone);
                let name = hub_name();
                assert!(found != Left::Gone || log.create_hub(&name, 3).is_ok(), "the name is not free");
                let hub = log.hub(&name).unwrap();
                assert!(runtime().block_on(append(&hub, P0, &["in service"])).is_ok());
            }
            if !storage.has_crashed() {
                break;
            }
        }
        assert!(operation > 8, "deleting has only {operation} operations");
        assert_eq!(outcomes.len(), 2, "no crash left the hub, or none removed it");
    }
}

#[test]
fn a_crash_leaves_a_new_hub_whole_or_not_at_all() {
    let options = LogOptions { writer_threads: 1, ..options(64 << 10) };
    for with_effect in [false, true] {
        let mut operation = 0;
        loop {
            operation += 1;
            let storage = FaultyStorage::new(operation);
            let log = open(&storage, &options).unwrap();
            storage.crash_in(operation, with_effect);
            let made = log.create_hub_with(&hub_name(), 2, keep_for(60));
            for _image in 0..4 {
                let storage = storage.after_crash();
                let log = open(&storage, &options).unwrap();
                match left(&log, &hub_name(), 0) {
                    Left::Gone => assert!(made.is_err(), "a hub is gone that was made"),
                    Left::Whole(_, settings, _) => assert_eq!(settings, keep_for(60)),
                }
                assert_nothing_is_left_over(&storage, &log);
            }
            if !storage.has_crashed() {
                break;
            }
        }
    }
}

#[test]
fn a_crash_leaves_the_old_settings_or_the_new() {
    let options = LogOptions { writer_threads: 1, ..options(64 << 10) };
    for with_effect in [false, true] {
        let mut operation = 0;
        loop {
            operation += 1;
            let storage = FaultyStorage::new(operation);
            let (log, hub) = open_hub(&storage, &options, 1).unwrap();
            hub.change_settings(keep_for(1)).unwrap();
            storage.crash_in(operation, with_effect);
            let changed = hub.change_settings(keep_for(2));
            assert_eq!(hub.settings(), if changed.is_ok() { keep_for(2) } else { keep_for(1) });
            for _image in 0..4 {
                let storage = storage.after_crash();
                let (_log, hub) = open_hub(&storage, &options, 1).unwrap();
                let found = hub.settings();
                assert!(found == keep_for(2) || (changed.is_err() && found == keep_for(1)), "{found:?}");
                let names = storage.list(Path::new("/log/hub")).unwrap();
                assert!(names.iter().all(|entry| !entry.name.ends_with(".tmp")), "{names:?}");
            }
            drop((log, hub));
            if !storage.has_crashed() {
                break;
            }
        }
    }
}

#[test]
fn a_hub_that_cannot_be_taken_away_goes_on() {
    let storage = FaultyStorage::new(1);
    let (log, hub) = open_hub(&storage, &options(64 << 10), 2).unwrap();
    runtime().block_on(append(&hub, P0, &["before"])).unwrap();
    storage.fail_next_rename();
    let refused = log.delete_hub(&hub_name()).unwrap_err();
    assert!(matches!(refused, LogError::Io { action: "rename", .. }), "{refused}");
    runtime().block_on(append(&hub, P0, &["after"])).unwrap();
    assert_eq!(bodies(&runtime().block_on(read_all(&hub, P0))), ["before", "after"]);
    assert!(Arc::ptr_eq(&hub, &log.hub(&hub_name()).unwrap()));
    log.delete_hub(&hub_name()).unwrap();
    assert_eq!(log.delete_hub(&hub_name()), Err(LogError::NoSuchHub { hub: hub_name() }));
    log.create_hub(&other_name(), 1).unwrap();
    log.close();
    assert_eq!(log.delete_hub(&other_name()), Err(LogError::Closed));
}

#[test]
fn appends_that_wait_in_a_deleted_hub_are_answered() {
    let storage = FaultyStorage::new(1);
    let options = LogOptions { queue_bytes: 100_000, ..options(64 << 10) };
    let clock = TestClock::new(START, 1);
    // Nothing is written before somebody asks for it.
    let log = Log::open_simulated(&storage, Path::new(DIR), options, clock).unwrap();
    let hub = log.create_hub(&hub_name(), 2).unwrap();
    // One waits for the disk, the other one for room.
    let mut waiting: Vec<_> =
        [P0, PartitionId(1)].map(|partition| Box::pin(hub.append(partition, large()))).into_iter().collect();
    waiting.iter_mut().for_each(|append| assert!(poll_once(append).is_none()));
    log.delete_hub(&hub_name()).unwrap();
    for append in &mut waiting {
        assert_eq!(poll_once(append), Some(Err(AppendError::HubDeleted { hub: hub_name() })));
    }
    drop(waiting);
    assert_eq!(hub.queued_bytes(), 0);
    while log.work_once(false) {}
    assert_eq!(storage.list(Path::new(DIR)).unwrap(), []);
}

fn large() -> Vec<EventData> {
    vec![EventData::new(vec![1; 60_000])]
}

#[test]
fn the_handle_of_a_deleted_hub_does_not_reach_into_one_with_its_name() {
    let runtime = runtime();
    let storage = FaultyStorage::new(1);
    let options = options(64 << 10);
    let (log, hub) = open_hub(&storage, &options, 2).unwrap();
    runtime.block_on(append(&hub, P0, &["old"])).unwrap();
    log.delete_hub(&hub_name()).unwrap();
    let new = log.create_hub(&hub_name(), 2).unwrap();
    assert_ne!(EventLog::incarnation(&*new), EventLog::incarnation(&*hub));
    runtime.block_on(append(&new, P0, &["new"])).unwrap();

    let read_error = ReadError::HubDeleted { hub: hub_name() };
    assert_eq!(runtime.block_on(hub.read(P0, SequenceNumber::ZERO, MUCH)), Err(read_error.clone()));
    assert_eq!(runtime.block_on(hub.locate(P0, StartPosition::Earliest)), Err(read_error.clone()));
    // A read that began before the hub was deleted finds the file of the new one.
    let late = hub.partitions()[0].read(SequenceNumber::ZERO, MUCH, Patience::MayWait);
    assert!(matches!(late, Err(NotRead::Failed(error)) if error == read_error));
    assert_eq!(hub.change_settings(keep_for(1)), Err(LogError::NoSuchHub { hub: hub_name() }));
    let policy = RetentionPolicy { max_age: None, max_bytes: Some(0) };
    assert_eq!(hub.enforce_retention(START, policy, &[SequenceNumber(u64::MAX); 2]), Ok(Vec::new()));

    assert_eq!(bodies(&runtime.block_on(read_all(&new, P0))), ["new"]);
    assert_eq!(new.settings(), HubSettings::default());
    drop((log, hub, new));
    let (_log, new) = open_hub(&storage.after_crash(), &options, 2).unwrap();
    assert_eq!(bodies(&runtime.block_on(read_all(&new, P0))), ["new"]);
}

#[test]
fn changed_settings_drop_nothing_that_somebody_needs() {
    let runtime = runtime();
    let storage = FaultyStorage::new(1);
    let (log, hub) = open_hub(&storage, &options(64 << 10), 1).unwrap();
    for byte in 0..9_u8 {
        runtime.block_on(hub.append(P0, vec![EventData::new(vec![byte; 40_000])])).unwrap();
    }
    let later = START.plus(Duration::from_secs(100));
    let head_with = |settings: HubSettings, floor: u64| {
        hub.change_settings(settings).unwrap();
        let policy = hub.settings().retention.unwrap_or_default();
        hub.enforce_retention(later, policy, &[SequenceNumber(floor)]).unwrap();
        hub.status(P0).unwrap().head.0
    };
    assert_eq!(head_with(HubSettings::default(), 9), 0, "no policy keeps everything");
    assert_eq!(head_with(keep_for(1000), 9), 0);
    assert_eq!(head_with(keep_for(10), 0), 0, "nothing is resolved");
    assert_eq!(head_with(keep_for(10), 5), 5);
    assert_eq!(head_with(keep_for(1000), 9), 5, "what is gone does not come back, and the rest stays");
    assert_eq!(head_with(keep_for(10), 9), 9);
    log.close();
}
