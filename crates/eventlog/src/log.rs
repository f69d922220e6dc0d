//! The log: a directory with one hub each in its own directory, open in one process at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tidegate_model::clock::SharedClock;
use tidegate_model::event::HubName;

use crate::description::{self, HubDescription};
use crate::error::{Fate, LogError};
use crate::hub::HubLog;
use crate::metrics::LogMetrics;
use crate::options::LogOptions;
use crate::partition::Shared;
use crate::pool::{self, Pool};
use crate::settings::HubSettings;
use crate::storage::{DiskStorage, Lock, Storage};

/// The most partitions a hub can have, as in Event Hubs.
pub const MAX_PARTITIONS: u32 = 1024;

/// Names that begin with a dot are never hubs: the lock file, and hubs that are being made or deleted.
pub(crate) const LOCK_FILE: &str = ".lock";
const UNFINISHED_PREFIX: &str = ".creating-";
const DELETED_PREFIX: &str = ".deleting-";

/// All hubs of a directory.
///
/// ```text
/// <dir>/.lock
/// <dir>/<hub>/hub.json
/// <dir>/<hub>/settings.json
/// <dir>/<hub>/<partition>/<number of the first event>.seg
/// ```
pub struct Log {
    dir: PathBuf,
    shared: Arc<Shared>,
    hubs: Mutex<BTreeMap<HubName, Arc<HubLog>>>,
    running: Mutex<Option<Running>>,
}

/// What ends when the log is closed.
struct Running {
    threads: Vec<JoinHandle<()>>,
    writers: usize,
    /// False in a simulation, where somebody else does the work of the threads.
    has_threads: bool,
    _lock: Lock,
}

impl Log {
    /// Opens the log in `dir`, which is made if it does not exist, and recovers every partition of every hub. Blocks while
    /// it reads the segment in use of each.
    ///
    /// # Errors
    /// Another process has it open, the files cannot be read or written, or a newer version wrote them. Damage in a
    /// partition is no error here: that partition is out of service and says so in its status.
    pub fn open(dir: &Path, options: LogOptions, clock: SharedClock) -> Result<Self, LogError> {
        Self::open_in(Arc::new(DiskStorage), dir, options, clock)
    }

    /// Opens a log on a disk in memory. It has no threads: nothing is written but by [`work_once`](Self::work_once) and
    /// [`close`](Self::close), so the same calls in the same order always give the same log. Its segments may be as small
    /// as 8 KiB.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_simulated(
        disk: &crate::simulation::FaultyStorage,
        dir: &Path,
        options: LogOptions,
        clock: SharedClock,
    ) -> Result<Self, LogError> {
        let segment_bytes = options.segment_bytes.max(8 << 10);
        let options = LogOptions { segment_bytes, ..options.held_in_range() };
        Self::open_with(Arc::new(disk.clone()), dir, options, clock, false)
    }

    /// Does one piece of the work that the threads of a real log do: writes a group of appends and answers them, or
    /// writes ahead of use; the latter first if `ahead_first`. False when there is nothing to do.
    #[cfg(any(test, feature = "simulation"))]
    pub fn work_once(&self, ahead_first: bool) -> bool {
        self.shared.pool.work_once(&self.shared, ahead_first)
    }

    /// Returns when there may be something for [`work_once`](Self::work_once) to do. One waits at a time.
    #[cfg(any(test, feature = "simulation"))]
    pub async fn work_waits(&self) {
        self.shared.pool.filled().await;
    }

    pub(crate) fn open_in(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: LogOptions,
        clock: SharedClock,
    ) -> Result<Self, LogError> {
        Self::open_with(storage, dir, options.held_in_range(), clock, true)
    }

    fn open_with(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: LogOptions,
        clock: SharedClock,
        has_threads: bool,
    ) -> Result<Self, LogError> {
        make_dir(&*storage, dir)?;
        let lock = lock(&*storage, dir)?;
        let shared = Arc::new(Shared {
            storage,
            clock,
            options,
            fate: Fate::default(),
            pool: Pool::default(),
            metrics: LogMetrics::default(),
        });
        let storage = &*shared.storage;
        remove_hubs_that_are_none(storage, dir)?;
        let mut hubs = BTreeMap::new();
        for name in hub_names(storage, dir)? {
            let hub_dir = dir.join(name.as_str());
            let described = description::read(storage, &hub_dir, &name)?;
            hubs.insert(name, Arc::new(HubLog::open(&shared, &hub_dir, &described)?));
        }
        let log = Self {
            dir: dir.to_owned(),
            shared,
            hubs: Mutex::new(hubs),
            running: Mutex::new(Some(Running { threads: Vec::new(), writers: 0, has_threads, _lock: lock })),
        };
        log.start_writers()?;
        Ok(log)
    }

    /// What it counts.
    pub fn metrics(&self) -> &LogMetrics {
        &self.shared.metrics
    }

    /// A hub, if it exists.
    pub fn hub(&self, name: &HubName) -> Option<Arc<HubLog>> {
        self.hubs.lock().get(name).map(Arc::clone)
    }

    /// Every hub, ordered by name.
    pub fn hubs(&self) -> Vec<Arc<HubLog>> {
        self.hubs.lock().values().map(Arc::clone).collect()
    }

    /// The hub with this name; makes it if it does not exist. After a crash it exists whole or not at all. Blocks.
    ///
    /// # Errors
    /// It exists with another number of partitions, or cannot be made.
    pub fn create_hub(&self, name: &HubName, partition_count: u32) -> Result<Arc<HubLog>, LogError> {
        self.create_hub_with(name, partition_count, HubSettings::default())
    }

    /// As [`create_hub`](Self::create_hub), with these settings if the hub is made. One that exists keeps its own.
    ///
    /// # Errors
    /// As [`create_hub`](Self::create_hub).
    pub fn create_hub_with(
        &self,
        name: &HubName,
        partition_count: u32,
        settings: HubSettings,
    ) -> Result<Arc<HubLog>, LogError> {
        let mut hubs = self.hubs.lock();
        if let Some(hub) = hubs.get(name) {
            let existing = tidegate_model::ports::EventLog::partition_count(&**hub);
            if existing != partition_count {
                return Err(LogError::PartitionCountChanged {
                    hub: name.clone(),
                    existing,
                    wanted: partition_count,
                });
            }
            return Ok(Arc::clone(hub));
        }
        if !(1..=MAX_PARTITIONS).contains(&partition_count) {
            return Err(LogError::BadPartitionCount { wanted: partition_count, limit: MAX_PARTITIONS });
        }
        self.check_runs()?;
        let hub = Arc::new(self.make_hub(name, partition_count, settings)?);
        hubs.insert(name.clone(), Arc::clone(&hub));
        drop(hubs);
        self.start_writers()?;
        Ok(hub)
    }

    /// Deletes a hub with all its events, whether or not somebody still needs them. After a crash it is there whole or not at
    /// all. Whoever has it open is told: appends that wait and all later calls answer that the hub has been deleted. The
    /// name is free at once; a hub that is made with it is another incarnation. What `fsck` set aside of the hub stays.
    /// Blocks while the files are removed.
    ///
    /// # Errors
    /// There is no such hub; or its files cannot be taken away, and it goes on as before. If only the sync fails the hub is
    /// gone, but may be there again, whole, after a restart.
    pub fn delete_hub(&self, name: &HubName) -> Result<(), LogError> {
        let storage = &*self.shared.storage;
        let gone = {
            let mut hubs = self.hubs.lock();
            let Some(hub) = hubs.get(name).map(Arc::clone) else {
                return Err(LogError::NoSuchHub { hub: name.clone() });
            };
            self.check_runs()?;
            let hub_dir = self.dir.join(name.as_str());
            let incarnation = tidegate_model::ports::EventLog::incarnation(&*hub);
            let gone = self.dir.join(format!("{DELETED_PREFIX}{incarnation}"));
            hub.delete(|| storage.rename(&hub_dir, &gone).map_err(LogError::io("rename", &hub_dir)))?;
            hubs.remove(name);
            self.shared.metrics.forget(name);
            // Nothing is removed before: else a crash could bring the hub back without some of its files.
            storage.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
            gone
        };
        tracing::info!(hub = %name, "deleted a hub");
        if let Err(error) = storage.remove_dir_all(&gone) {
            let path = gone.display();
            tracing::warn!(%path, %error, "files of a deleted hub cannot be removed; the next start tries again");
        }
        Ok(())
    }

    /// Refuses when hubs can be neither made nor deleted.
    fn check_runs(&self) -> Result<(), LogError> {
        if self.running.lock().is_none() {
            return Err(LogError::Closed);
        }
        match self.shared.fate.failure() {
            Some(detail) => Err(LogError::Failed { detail: detail.to_owned() }),
            None => Ok(()),
        }
    }

    /// Makes the hub under another name first, so that it appears whole.
    fn make_hub(
        &self,
        name: &HubName,
        partition_count: u32,
        settings: HubSettings,
    ) -> Result<HubLog, LogError> {
        let storage = &*self.shared.storage;
        let unfinished = self.dir.join(format!("{UNFINISHED_PREFIX}{name}"));
        let hub_dir = self.dir.join(name.as_str());
        let described = HubDescription::new(name, partition_count, &*self.shared.clock);
        let made = HubLog::make(&self.shared, &unfinished, &described).and_then(|()| {
            if settings != HubSettings::default() {
                settings.write(storage, &unfinished)?;
            }
            storage.rename(&unfinished, &hub_dir).map_err(LogError::io("rename", &unfinished))?;
            storage.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))
        });
        if let Err(error) = made {
            // If this fails too, the next start removes it.
            let _ = storage.remove_dir_all(&unfinished);
            return Err(error);
        }
        HubLog::open(&self.shared, &hub_dir, &described)
    }

    /// As many writers as can be busy at once.
    fn start_writers(&self) -> Result<(), LogError> {
        let partitions: usize = self.hubs.lock().values().map(|hub| hub.partitions().len()).sum();
        let wanted = partitions.min(self.shared.options.writer_threads);
        let mut running = self.running.lock();
        let Some(running) = &mut *running else { return Err(LogError::Closed) };
        if !running.has_threads {
            return Ok(());
        }
        let started = pool::start_threads(&self.shared, running.writers..wanted)
            .map_err(LogError::io("start the writers of", &self.dir))?;
        running.writers = running.writers.max(wanted);
        running.threads.extend(started);
        Ok(())
    }

    /// Takes no more appends, writes those that wait, and lets go of the directory. Blocks until that is done. Readers
    /// may go on reading. Closing twice does nothing; dropping the log closes it.
    pub fn close(&self) {
        // In this order: a hub that is being made now is either refused or seen here.
        let Some(running) = self.running.lock().take() else { return };
        let hubs = self.hubs();
        hubs.iter().for_each(|hub| hub.close());
        self.shared.pool.close();
        #[cfg(any(test, feature = "simulation"))]
        while !running.has_threads && self.work_once(false) {}
        for thread in running.threads {
            // A writer that panicked has already stopped the log.
            let _ = thread.join();
        }
        hubs.iter().flat_map(|hub| hub.partitions()).for_each(|partition| partition.write_closing_mark());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes the log directory and those above it, durable with their names.
fn make_dir(storage: &dyn Storage, dir: &Path) -> Result<(), LogError> {
    let is_missing = |path: &&Path| matches!(storage.list(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    let missing: Vec<_> =
        dir.ancestors().filter(|path| !path.as_os_str().is_empty()).take_while(is_missing).collect();
    storage.create_dir(dir).map_err(LogError::io("make", dir))?;
    // Also when the directory exists: an earlier start may have made it and ended before it was durable.
    for path in missing.iter().copied().chain(Some(dir)) {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => continue,
        };
        match storage.sync_dir(parent) {
            // Somebody else's directory, which was there before.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && missing.is_empty() => {}
            result => result.map_err(LogError::io("sync", parent))?,
        }
    }
    Ok(())
}

/// Locks a log directory for this process.
pub(crate) fn lock(storage: &dyn Storage, dir: &Path) -> Result<Lock, LogError> {
    let path = dir.join(LOCK_FILE);
    storage
        .try_lock(&path)
        .map_err(LogError::io("lock", &path))?
        .ok_or_else(|| LogError::Locked { dir: dir.to_owned() })
}

/// The hubs in a log directory.
pub(crate) fn hub_names(storage: &dyn Storage, dir: &Path) -> Result<Vec<HubName>, LogError> {
    let entries = storage.list(dir).map_err(LogError::io("list", dir))?;
    let directories = entries.into_iter().filter(|entry| entry.is_dir);
    let mut names: Vec<_> = directories.filter_map(|entry| HubName::new(&entry.name).ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Removes what is left of hubs that were never finished, and of hubs that have been deleted.
fn remove_hubs_that_are_none(storage: &dyn Storage, dir: &Path) -> Result<(), LogError> {
    for entry in storage.list(dir).map_err(LogError::io("list", dir))? {
        let is_none = [UNFINISHED_PREFIX, DELETED_PREFIX].iter().any(|prefix| entry.name.starts_with(prefix));
        if entry.is_dir && is_none {
            let path = dir.join(entry.name);
            storage.remove_dir_all(&path).map_err(LogError::io("remove", &path))?;
        }
    }
    Ok(())
}
