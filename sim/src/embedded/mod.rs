//! The real embedded store on the simulated disk.
//!
//! All its work is done where it is asked for, in the task of the simulation that asks, so that it takes no thread and no
//! time. What it writes is on the disk of the machine with the log: the same power failures, failed syncs and full disks
//! meet both.

mod file_system;
mod volume;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use tidegate_eventlog::simulation::FaultyStorage;
use tidegate_model::clock::SharedClock;
use tidegate_model::ports::StoreError;
use tidegate_store::{OpenError, SqliteStore, StoreOptions, check};

use self::volume::Volume;
use crate::mutation::Mutation;

const DIR: &str = "/store";
const PATH: &str = "/store/store.db";

/// The store of a program, from its start to its end.
pub(crate) struct Embedded {
    store: Arc<SqliteStore>,
}

/// Why the store could not be opened.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The store says so.
    Open(OpenError),
    /// The disk did, before that.
    Disk(std::io::Error),
}

impl Embedded {
    /// Opens the store on a disk.
    ///
    /// # Errors
    /// The disk fails meanwhile, or what it holds is no store.
    pub(crate) fn open(
        disk: &FaultyStorage,
        wal_bytes: u64,
        clock: SharedClock,
        mutation: Option<Mutation>,
    ) -> Result<Self, Unopened> {
        let make_dir = || {
            disk.make_dir(Path::new(DIR))?;
            disk.sync_guest_dir(Path::new("/"))
        };
        make_dir().map_err(Unopened::Disk)?;
        file_system::mount(Some(Volume::new(disk.clone(), mutation)));
        let options = StoreOptions { cache_bytes: 1 << 20, wal_bytes, size_limit: None, readers: 1 };
        let store = SqliteStore::open_simulated(file_system::FILES, Path::new(PATH), &options, clock);
        Ok(Self { store: Arc::new(store.map_err(Unopened::Open)?) })
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<SqliteStore> {
        Arc::clone(&self.store)
    }

    /// Why the store takes nothing any more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    /// What is wrong with the file, as `tidegate fsck` finds it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn problems(&self) -> Result<Vec<String>, StoreError> {
        Ok(check::check_simulated(file_system::FILES, Path::new(PATH))?.problems)
    }

    /// How many commits are in the file: each takes the next number.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn commits(&self) -> rusqlite::Result<u64> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(PATH, flags, file_system::NAME)?;
        let count = "SELECT value FROM counters WHERE name = 'etag'";
        connection.query_row(count, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }
}

/// Nothing is opened on any disk any more.
pub(crate) fn unmount() {
    file_system::mount(None);
}
