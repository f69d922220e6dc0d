//! The files of the event log, changed anywhere: a log either opens and gives what was written, or says what is wrong.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use tidegate_eventlog::{Log, LogOptions, fsck};
use tidegate_model::clock::SystemClock;
use tidegate_model::event::{EventData, HubName};
use tidegate_model::ports::{EventAppender, EventLog, ReadLimit};
use tidegate_model::position::PartitionId;

/// A log with one partition and its only segment.
struct Pristine {
    dir: tempfile::TempDir,
    segment: std::path::PathBuf,
    bodies: Vec<Vec<u8>>,
}

static PRISTINE: LazyLock<Pristine> =
    LazyLock::new(|| make().expect("a log can be made in the temporary directory"));

fn hub_name() -> HubName {
    HubName::new("hostile").expect("a good name")
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 64 << 10, writer_threads: 1, queue_bytes: 1 << 16 }
}

fn make() -> anyhow::Result<Pristine> {
    let dir = tempfile::tempdir()?;
    let log = Log::open(dir.path(), options(), SystemClock::shared())?;
    let hub = log.create_hub(&hub_name(), 1)?;
    let mut bodies = Vec::new();
    for append in 0..8_u8 {
        let events: Vec<_> =
            (0..4).map(|event| EventData::new(vec![append * 16 + event; 40]).with_key("key")).collect();
        bodies.extend(events.iter().map(|event| event.body.to_vec()));
        runtime()?.block_on(hub.append(PartitionId(0), events))?;
    }
    log.close();
    drop((hub, log));
    let segment = largest_segment(dir.path())?;
    Ok(Pristine { dir, segment, bodies })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The path of the largest file, relative to the log.
fn largest_segment(dir: &Path) -> anyhow::Result<std::path::PathBuf> {
    let files = files_in(dir)?;
    let largest = files.into_iter().max_by_key(|path| path.metadata().map_or(0, |data| data.len()));
    Ok(largest.ok_or_else(|| anyhow::anyhow!("no file"))?.strip_prefix(dir)?.to_owned())
}

fn files_in(dir: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let segment = std::fs::read(PRISTINE.dir.path().join(&PRISTINE.segment)).unwrap_or_default();
    let written = segment.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    vec![segment[..written].to_vec(), segment[..written / 2].to_vec()]
}

/// The bytes are a segment.
pub(super) fn segment(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for path in files_in(PRISTINE.dir.path()).expect("the log can be read") {
        let relative = path.strip_prefix(PRISTINE.dir.path()).expect("it is inside");
        let to = dir.path().join(relative);
        std::fs::create_dir_all(to.parent().expect("it has one")).expect("a directory");
        std::fs::copy(&path, &to).expect("a copy");
    }
    std::fs::write(dir.path().join(&PRISTINE.segment), bytes).expect("the segment is written");
    let _ = fsck::check(dir.path());
    let Ok(log) = Log::open(dir.path(), options(), SystemClock::shared()) else { return };
    if let Some(hub) = log.hub(&hub_name()) {
        read(&hub);
    }
    log.close();
}

fn read(hub: &Arc<tidegate_eventlog::HubLog>) {
    let Ok(status) = hub.status(PartitionId(0)) else { return };
    let limit = ReadLimit { events: 1000, bytes: 1 << 20 };
    let runtime = runtime().expect("a runtime");
    let Ok(events) = runtime.block_on(hub.read(PartitionId(0), status.ends().head, limit)) else { return };
    for event in events {
        let at = usize::try_from(event.sequence_number.0).unwrap_or(usize::MAX);
        let written = PRISTINE.bodies.get(at).map(Vec::as_slice);
        assert_eq!(Some(&event.data.body[..]), written, "event {at} is one that was written");
    }
}
