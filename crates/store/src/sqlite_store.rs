//! The store: its connections, how it is opened and closed, and the barrier.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tidegate_model::clock::SharedClock;
use tidegate_model::ports::StoreError;

use crate::connections::{Connections, Worker};
use crate::error::{Failure, OpenError, store_error};
#[cfg(any(test, feature = "simulation"))]
use crate::file::SimulatedFiles;
use crate::file::StoreFile;
use crate::options::{PAGE_BYTES, StoreOptions, pages};
use crate::schema;

/// How long a connection waits for a lock that another program holds on the file.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How many prepared statements a connection keeps.
const PREPARED_STATEMENTS: usize = 128;

/// A store in one SQLite file, with its write-ahead log beside it.
///
/// One connection writes; a few read, each from the snapshot of when it began, so that neither waits for the other. All
/// work runs on threads that may block. Meant to be used by one program at a time.
///
/// [`close`](Self::close) it at the end. A store that is dropped loses nothing, but moves the write-ahead log into the
/// database file on the thread that drops it.
pub struct SqliteStore {
    // The writer is dropped last: only a connection that may write can tidy up when it is the last to go.
    pub(crate) readers: Connections,
    pub(crate) query: Connections,
    pub(crate) writer: Connections,
    pub(crate) clock: SharedClock,
    /// The time up to which old health was forgotten, in milliseconds.
    pub(crate) health_forgotten: Arc<AtomicI64>,
    wal: Arc<WriteAheadLog>,
}

/// What is known about the write-ahead log.
struct WriteAheadLog {
    /// Its pages after the last commit.
    pages: Arc<AtomicU32>,
    /// How many are enough to move them into the database file.
    limit: u32,
    /// True while that is under way or about to be.
    being_moved: AtomicBool,
}

impl SqliteStore {
    /// Opens the store in the file `path`, or makes one if there is no such file. Blocks on the file system. Time
    /// limits of queries are measured by `clock`.
    ///
    /// After a crash, the commits in the write-ahead log are taken up to the first that is not whole.
    ///
    /// # Errors
    /// When the file belongs to another program or a later version, is damaged, or cannot be read or written. Damage
    /// is looked for only where it costs nothing; [`check`](crate::check::check) looks everywhere.
    pub fn open(path: &Path, options: &StoreOptions, clock: SharedClock) -> Result<Self, OpenError> {
        Self::open_file(StoreFile::real(path), options, clock)
    }

    /// Opens the store in the file `path` of a simulated file system. All its work, moving the write-ahead log included, runs at once where it is asked for: nothing waits, and no thread is
    /// needed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_simulated(
        file_system: SimulatedFiles,
        path: &Path,
        options: &StoreOptions,
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        Self::open_file(StoreFile::simulated(file_system, path), options, clock)
    }

    /// Why nothing is written any more until the store is opened again: a sync failed.
    pub fn failure(&self) -> Option<String> {
        self.writer.failure()
    }

    fn open_file(file: StoreFile<'_>, options: &StoreOptions, clock: SharedClock) -> Result<Self, OpenError> {
        let (path, worker) = (file.path(), file.worker());
        let failed = |error: rusqlite::Error| OpenError::Store(store_error(&error, path));
        file.renew_write_ahead_log().map_err(|error| OpenError::Store(not_renewed(&error, path)))?;
        let mut writer = file.open(flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(failed)?;
        moves_when_closed(&writer, false).map_err(failed)?;
        set_up(&writer, options.writer_cache_bytes()).map_err(failed)?;
        // Takes effect only while the file is empty.
        writer.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
        let mode: String =
            writer.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            return Err(OpenError::NoWriteAheadLog { path: path.to_owned(), mode });
        }
        schema::prepare(&mut writer, path)?;
        move_what_is_left(&writer, path)?;
        moves_when_closed(&writer, true).map_err(failed)?;
        let wal = Arc::new(WriteAheadLog {
            pages: Arc::default(),
            limit: options.wal_pages(),
            being_moved: AtomicBool::new(false),
        });
        set_up_writer(&mut writer, options, &wal).map_err(failed)?;

        let reader = || {
            let read_only = flags(OpenFlags::SQLITE_OPEN_READ_ONLY);
            let connection = file.open(read_only)?;
            set_up(&connection, options.reader_cache_bytes())?;
            Ok(connection)
        };
        let readers: Result<Vec<_>, _> = (0..options.readers.max(1)).map(|_| reader()).collect();
        Ok(Self {
            writer: Connections::new(path.to_owned(), vec![writer], worker),
            readers: Connections::new(path.to_owned(), readers.map_err(failed)?, worker),
            query: Connections::new(path.to_owned(), vec![reader().map_err(failed)?], worker),
            clock,
            health_forgotten: Arc::new(AtomicI64::new(i64::MIN)),
            wal,
        })
    }

    /// Moves everything into the database file and closes it. What runs is waited for; what comes later is refused. After
    /// a sync that failed, everything stays in the write-ahead log.
    pub async fn close(&self) -> Result<(), StoreError> {
        drop(self.query.close().await);
        drop(self.readers.close().await);
        let writer = self.writer.close().await;
        let path = self.writer.path().to_owned();
        let is_durable = self.writer.failure().is_none();
        let closing = self.writer.worker().run(move || {
            for connection in writer {
                moves_when_closed(&connection, false)?;
                if is_durable {
                    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
                    // Nothing is left in the log, which goes with the connection.
                    moves_when_closed(&connection, true)?;
                }
                connection.close().map_err(|(_, error)| error)?;
            }
            Ok(())
        });
        let closed: Result<(), rusqlite::Error> = closing.await.unwrap_or(Ok(()));
        closed.map_err(|error| store_error(&error, &path))
    }

    /// Changes the largest size of the database file; `None` means what the disk holds. A file that is larger already
    /// stays as it is and does not grow.
    pub async fn set_size_limit(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        self.writer.run(move |connection| Ok(limit_size(connection, bytes)?)).await
    }

    /// Everything committed before is on disk when this returns.
    ///
    /// A transaction under `synchronous=FULL` syncs the write-ahead log after its commit record; every earlier commit
    /// is before that record in the same file, or already in the database file, which is synced before the log is
    /// begun anew.
    pub(crate) async fn sync(&self) -> Result<(), StoreError> {
        self.write_durably(|connection| Ok(advance_barrier(connection)?)).await
    }

    /// Runs `work`, which is one transaction.
    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let written = self.writer.run(work).await;
        self.tend_write_ahead_log();
        written
    }

    /// Runs `work`, which is one transaction, and returns after that and every commit before it is on disk: as
    /// [`sync`](Self::sync) does, without a transaction of its own.
    pub(crate) async fn write_durably<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let written = self
            .writer
            .run(|connection| {
                connection.pragma_update(None, "synchronous", "FULL")?;
                let written = work(connection);
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                written
            })
            .await;
        self.tend_write_ahead_log();
        written
    }

    /// Has the write-ahead log moved into the database file if it has grown enough. The commit that made it grow does
    /// not wait for that; the next one does.
    pub(crate) fn tend_write_ahead_log(&self) {
        let wal = Arc::clone(&self.wal);
        if wal.pages.load(Ordering::Relaxed) < wal.limit || wal.being_moved.swap(true, Ordering::AcqRel) {
            return;
        }
        let writer = self.writer.clone();
        let moving = async move {
            // Pages that a reader still needs stay in the log; the next commit tries again.
            let moved = writer
                .run(|connection| Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?))
                .await;
            wal.being_moved.store(false, Ordering::Release);
            if let Err(error) = moved {
                tracing::warn!(%error, "the write-ahead log could not be moved into the database file; it keeps growing");
            }
        };
        match self.writer.worker() {
            Worker::Thread => drop(tokio::spawn(moving)),
            #[cfg(any(test, feature = "simulation"))]
            Worker::Caller => {
                use std::task::{Context, Waker};
                let done = std::pin::pin!(moving).poll(&mut Context::from_waker(Waker::noop()));
                debug_assert!(done.is_ready(), "what the caller does itself never waits");
            }
        }
    }
}

/// Moves a write-ahead log that an earlier program left into the database file.
///
/// Of a new store these are the tables: losing the log must not make it look like a new one again.
fn move_what_is_left(writer: &Connection, path: &Path) -> Result<(), OpenError> {
    let moved = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    match moved.map_err(|error| store_error(&error, path)) {
        Ok(()) => Ok(()),
        // The log holds it as well; there may be room later.
        Err(error @ StoreError::DiskFull { .. }) => {
            tracing::warn!(%error, "the write-ahead log could not be moved into the database file");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether SQLite moves the write-ahead log by itself when this connection is the last to go. It must not where a sync has
/// failed: it would take the log for durable, and overwrite pages of the database with nothing behind it.
pub(crate) fn moves_when_closed(writer: &Connection, moves: bool) -> rusqlite::Result<()> {
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !moves).map(|_| ())
}

fn not_renewed(error: &io::Error, path: &Path) -> StoreError {
    let detail =
        format!("the write-ahead log of {} cannot be written and synced again: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull { detail },
        _ => StoreError::Unavailable { detail },
    }
}

/// A connection is used by one thread at a time, so SQLite need not lock it.
fn flags(access: OpenFlags) -> OpenFlags {
    let create = match access {
        OpenFlags::SQLITE_OPEN_READ_WRITE => OpenFlags::SQLITE_OPEN_CREATE,
        _ => OpenFlags::empty(),
    };
    access | create | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn set_up(connection: &Connection, cache_bytes: u64) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    // Statements name their index. Without this, SQLite compiles each that has a `LIMIT ?` again whenever it is bound, to plan
    // with the number: a tenth of the CPU of a redrive.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Negative means KiB.
    connection.pragma_update(None, "cache_size", -i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX))?;
    // Finds damaged pages when they are read instead of when their cells are.
    connection.pragma_update(None, "cell_size_check", true)
}

fn set_up_writer(
    connection: &mut Connection,
    options: &StoreOptions,
    wal: &WriteAheadLog,
) -> rusqlite::Result<()> {
    // The write-ahead log is synced before its pages are moved, not at each commit: see `SqliteStore::sync`.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Where a plain sync stops at the drive's cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    let size_limit = i64::try_from(options.wal_bytes).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", size_limit, |_| Ok(()))?;
    limit_size(connection, options.size_limit)?;
    let pages = Arc::clone(&wal.pages);
    // Takes the place of SQLite's own trigger, which would make the commit wait and would not tell of errors.
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
        pages.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))
}

fn limit_size(connection: &Connection, bytes: Option<u64>) -> rusqlite::Result<()> {
    // SQLite's own limit: 2^32 - 2 pages.
    let most = bytes.map_or(u32::MAX - 1, |bytes| pages(bytes).max(1));
    connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
}

fn advance_barrier(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE counters SET value = value + 1 WHERE name = 'barrier'", [])?;
    transaction.commit()
}

/// A value as SQLite's signed integer.
pub(crate) fn integer(value: u64, what: &str) -> Result<i64, Failure> {
    i64::try_from(value).map_err(|_| Failure::refused(format!("the {what} {value} is larger than 2^63 - 1")))
}

/// A stored integer that never was negative.
pub(crate) fn unsigned(value: i64, what: &str) -> Result<u64, Failure> {
    u64::try_from(value).map_err(|_| Failure::Stored(format!("a {what} is {value}")))
}
