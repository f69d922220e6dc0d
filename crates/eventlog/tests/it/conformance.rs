//! The suite that every implementation of the log's ports passes.

use std::ops::Deref;
use std::sync::Arc;

use tempfile::TempDir;
use tidegate_eventlog::{HubLog, Log, LogOptions, RetentionPolicy};
use tidegate_model::clock::{Clock, TestClock};
use tidegate_model::conformance::event_log::LogUnderTest;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventLog;
use tidegate_model::position::{PartitionId, SequenceNumber};

/// A hub with the log and the directory that it lives in; they are dropped in this order.
struct OnDisk {
    hub: Arc<HubLog>,
    log: Log,
    dir: TempDir,
    clock: Arc<TestClock>,
}

impl Deref for OnDisk {
    type Target = HubLog;

    fn deref(&self) -> &HubLog {
        &self.hub
    }
}

/// Segments small enough that the suite fills several.
fn options() -> LogOptions {
    LogOptions { segment_bytes: 300 * 1024, writer_threads: 2, ..LogOptions::default() }
}

struct Disk;

impl LogUnderTest for Disk {
    type Log = OnDisk;

    async fn open(&self, hub: HubName, partition_count: u32, clock: Arc<TestClock>) -> OnDisk {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = Log::open(dir.path(), options(), clock.clone()).expect("an empty directory");
        let hub = log.create_hub(&hub, partition_count).expect("a new hub");
        OnDisk { hub, log, dir, clock }
    }

    async fn reopen(&self, OnDisk { hub, log, dir, .. }: OnDisk, clock: Arc<TestClock>) -> OnDisk {
        let name = EventLog::hub(&*hub).clone();
        log.close();
        drop((hub, log));
        let log = Log::open(dir.path(), options(), clock.clone()).expect("the log is intact");
        let hub = log.hub(&name).expect("the hub exists");
        OnDisk { hub, log, dir, clock }
    }

    async fn expire(&self, log: &OnDisk, partition: PartitionId, head: SequenceNumber) {
        let mut floors = vec![SequenceNumber::ZERO; EventLog::partition_count(&*log.hub) as usize];
        floors[partition.0 as usize] = head;
        let policy = RetentionPolicy { max_age: None, max_bytes: Some(0) };
        log.hub.enforce_retention(log.clock.now(), policy, &floors).expect("files can be deleted");
    }

    async fn delete(&self, log: &OnDisk) {
        log.log.delete_hub(EventLog::hub(&*log.hub)).expect("the hub exists");
    }
}

tidegate_model::event_log_suite!(Disk);
