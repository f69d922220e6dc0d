//! The directory of a log: who may open it, what it costs, and what is said about files that are not in order.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tidegate_eventlog::{HubSettings, Log, LogError, LogOptions, RetentionPolicy, fsck};
use tidegate_model::clock::{SharedClock, TestClock, Timestamp};
use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::event::{EventData, HubName};
use tidegate_model::ports::{EventAppender, EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

fn clock() -> SharedClock {
    TestClock::new(Timestamp::from_millis(1_750_000_000_000), 1)
}

fn open(dir: &Path) -> Result<Log, LogError> {
    Log::open(dir, LogOptions::default(), clock())
}

fn name(name: &str) -> HubName {
    HubName::new(name).expect("a valid name")
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let refused = open(dir.path()).err().unwrap();
    assert_eq!(refused, LogError::Locked { dir: dir.path().to_owned() });
    assert_eq!(refused.code(), ErrorCode::DATA_DIR_LOCKED);
    assert!(refused.to_string().contains(dir.path().to_str().unwrap()));
    assert_eq!(fsck::check(dir.path()).err(), Some(refused.clone()));
    assert_eq!(fsck::repair(dir.path()).err(), Some(refused));
    log.close();
    assert!(open(dir.path()).is_ok(), "a closed log lets go of its directory");
    drop(log);
}

#[test]
fn a_hub_keeps_its_number_of_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let hub = log.create_hub(&name("a"), 3).unwrap();
    assert!(Arc::ptr_eq(&hub, &log.create_hub(&name("a"), 3).unwrap()));
    let refused = log.create_hub(&name("a"), 4).err().unwrap();
    assert_eq!(refused.code(), ErrorCode::PARTITION_COUNT_CHANGED);
    for count in [0, 1025] {
        assert!(matches!(log.create_hub(&name("b"), count), Err(LogError::BadPartitionCount { .. })));
    }
    assert!(log.hub(&name("b")).is_none());
    assert_eq!(log.hubs().len(), 1);
    drop((hub, log));
    let log = open(dir.path()).unwrap();
    assert_eq!(EventLog::partition_count(&*log.hub(&name("a")).unwrap()), 3);
    log.close();
    assert_eq!(log.create_hub(&name("c"), 1).err(), Some(LogError::Closed));
}

#[test]
fn the_files_of_a_deleted_hub_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let names = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.filter(|name| name != ".lock").collect();
        names.sort();
        names
    };
    let log = open(dir.path()).unwrap();
    log.create_hub(&name("a"), 3).unwrap();
    let hub = log.create_hub(&name("b"), 3).unwrap();
    log.delete_hub(&name("b")).unwrap();
    assert_eq!(names(), ["a"]);
    assert!(log.hub(&name("b")).is_none());
    let missing = log.delete_hub(&name("b")).unwrap_err();
    assert_eq!((missing.code(), missing.kind()), (ErrorCode::NOT_FOUND, ErrorKind::Permanent));
    // What a process left that ended while it removed them.
    fs::create_dir_all(dir.path().join(".deleting-0/7")).unwrap();
    drop((log, hub));
    let log = open(dir.path()).unwrap();
    assert_eq!((names(), log.hubs().len()), (vec!["a".into()], 1));
}

#[test]
fn settings_that_cannot_be_read_stop_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let policy = RetentionPolicy { max_age: None, max_bytes: Some(1 << 30) };
    let settings = HubSettings { retention: Some(policy) };
    open(dir.path()).unwrap().create_hub_with(&name("a"), 1, settings).unwrap();
    assert_eq!(open(dir.path()).unwrap().hub(&name("a")).unwrap().settings(), settings);
    let log = open(dir.path()).unwrap();
    assert_eq!(log.create_hub_with(&name("a"), 1, HubSettings::default()).unwrap().settings(), settings);
    drop(log);
    let path = dir.path().join("a/settings.json");
    fs::write(&path, "{").unwrap();
    let refused = open(dir.path()).err().unwrap();
    assert!(matches!(&refused, LogError::BadSettings { path: named, .. } if *named == path), "{refused}");
    fs::remove_file(&path).unwrap();
    assert_eq!(open(dir.path()).unwrap().hub(&name("a")).unwrap().settings(), HubSettings::default());
}

#[test]
fn a_quiet_hub_with_many_partitions_is_small() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let hub = log.create_hub(&name("quiet"), 32).unwrap();
    let bytes: u64 = (0..32).map(|number| hub.status(PartitionId(number)).unwrap().size_bytes).sum();
    assert!(bytes <= 8 << 20, "{bytes} bytes");
}

#[test]
fn names_of_hubs_and_of_the_logs_own_files_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    for hub in ["LOCK", "lock", "set-aside", "hub.json", "0"] {
        let log = open(dir.path()).unwrap();
        log.create_hub(&name(hub), 1).unwrap();
        assert!(fs::read_dir(dir.path()).unwrap().count() >= 2);
    }
    assert_eq!(open(dir.path()).unwrap().hubs().len(), 5);
}

#[test]
fn a_description_that_cannot_be_read_is_named_and_nothing_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().create_hub(&name("a"), 1).unwrap();
    let path = dir.path().join("a/hub.json");
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        "",
        "{}",
        "{\"format\": 1}",
        &good.replace("\"a\"", "\"b\""),
        &good.replace("\"partitions\": 1", "\"partitions\": 0"),
    ] {
        fs::write(&path, bad).unwrap();
        let refused = open(dir.path()).err().unwrap();
        assert!(
            matches!(&refused, LogError::BadDescription { path: named, .. } if *named == path),
            "{refused}"
        );
        assert_eq!(refused.kind(), ErrorKind::Permanent);
        let report = fsck::check(dir.path()).unwrap();
        assert!(!report.is_clean() && report.hubs[0].problem.is_some());
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::BadDescription { .. })));
    fs::write(&path, good.replace("\"format\": 1", "\"format\": 2, \"anything\": []")).unwrap();
    let refused = open(dir.path()).err().unwrap();
    assert_eq!(refused, LogError::UnknownFormat { path: path.clone(), found: 2, known: 1 });
    assert!(refused.to_string().contains("newer"));
    fs::write(&path, good).unwrap();
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_segment_of_a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().create_hub(&name("a"), 1).unwrap();
    let path = dir.path().join("a/0/00000000000000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let checksum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    for refused in [
        open(dir.path()).err().unwrap(),
        fsck::check(dir.path()).err().unwrap(),
        fsck::repair(dir.path()).err().unwrap(),
    ] {
        assert_eq!(refused, LogError::UnknownFormat { path: path.clone(), found: 2, known: 1 });
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_damaged_file_on_disk_is_repaired_and_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let hub = log.create_hub(&name("a"), 1).unwrap();
    let partition = PartitionId(0);
    for number in 0..5 {
        hub.append(partition, vec![EventData::new(format!("event {number}"))]).await.unwrap();
    }
    drop((hub, log));
    let path = dir.path().join("a/0/00000000000000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"event 2").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();

    let repaired = fsck::repair(dir.path()).unwrap();
    assert_eq!(repaired[0].lost, [SequenceNumber(2)..SequenceNumber(3)]);
    assert!(repaired[0].set_aside[0].starts_with(dir.path()) && repaired[0].set_aside[0].exists());
    let log = open(dir.path()).unwrap();
    let hub = log.hub(&name("a")).unwrap();
    let events =
        hub.read(partition, SequenceNumber::ZERO, ReadLimit { events: 10, bytes: 1000 }).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.sequence_number.0).collect();
    assert_eq!(numbers, [0, 1, 3, 4]);
    assert_eq!(hub.status(partition).unwrap().lost, [SequenceNumber(2)..SequenceNumber(3)]);
}
