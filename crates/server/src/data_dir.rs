//! The data directory: one place for everything the program keeps, open in one process at a time.
//!
//! ```text
//! DIR/tidegate.json   the format's version; written first, so that anything else implies it
//! DIR/LOCK            held by whoever has the directory open
//! DIR/log/            the event log
//! DIR/store/state.db  documents, dead letters, checkpoints
//! DIR/keys.json       the keys of clients, readable by the owner only
//! DIR/link.key        what signs the links in mails, readable by the owner only
//! DIR/functions.json  which functions read which hubs, as the last server was configured
//! DIR/server.json     where the running server is; left behind by one that died, which the free LOCK shows
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::error::ErrorCode;

use crate::failure::Failure;
use crate::files;

/// The data directory where none is given.
pub const DEFAULT: &str = "./tidegate-data";

/// The version of the format that this program writes and reads.
const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "tidegate.json";
const LOCK_FILE: &str = "LOCK";
const SERVER_FILE: &str = "server.json";

/// What to do about a directory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Make it.
    Create,
    /// Fail: a command that only reads would find nothing there.
    Refuse,
}

/// An open data directory. No other process opens it until this value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// The directory's own file.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
    created_at: Timestamp,
}

/// Where a running server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAddress {
    /// Its base address, such as `http://127.0.0.1:8780`.
    pub http: String,
    /// Where clients of Event Hubs connect, such as `127.0.0.1:5672`; `None` when there is no AMQP front door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amqp: Option<String>,
    /// Its process.
    pub pid: u32,
}

impl DataDir {
    /// Opens a directory for this process alone.
    ///
    /// # Errors
    /// `TG-201` when another process has it open, `TG-202` when it is something else or of another version, `TG-205`
    /// when it is missing or cannot be read or written.
    pub fn open(path: &Path, if_missing: IfMissing, clock: &dyn Clock) -> Result<Self, Failure> {
        prepare(path, if_missing)?;
        let mut lock = take_lock(path)?;
        let io = |error| files::failure(path, "open the data directory", error);
        check_format(path, clock)?;
        // Only now is it certain that this is a data directory, and ours.
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        remove_server_file(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Like [`open`](Self::open), but waits a few seconds for a process that has the directory open: commands have it
    /// open for a moment, and a server that was just killed takes a moment to die.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn open_when_free(
        path: &Path,
        if_missing: IfMissing,
        clock: &dyn Clock,
    ) -> Result<Self, Failure> {
        let mut patience = Patience::new(clock);
        loop {
            match Self::open(path, if_missing, clock) {
                Err(failure)
                    if failure.code() == Some(ErrorCode::DATA_DIR_LOCKED) && patience.wait().await => {}
                result => return result,
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the event log is.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.path.join("store").join("state.db")
    }

    /// Leaves the server's address for commands to find.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, address: &ServerAddress) -> Result<(), Failure> {
        let json = serde_json::to_vec(address).expect("an address has a JSON form");
        let path = self.path.join(SERVER_FILE);
        files::write_atomically(&path, &json, files::Mode::Public)
            .map_err(|error| files::failure(&path, "write", error))
    }

    /// Takes the server's address away again.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn retract(&self) -> Result<(), Failure> {
        remove_server_file(&self.path)
    }
}

/// Waits for a data directory that another process has open.
pub(crate) struct Patience<'c> {
    clock: &'c dyn Clock,
    began: Duration,
}

impl<'c> Patience<'c> {
    const LIMIT: Duration = Duration::from_secs(3);
    const STEP: Duration = Duration::from_millis(30);

    /// Begins to wait.
    pub(crate) fn new(clock: &'c dyn Clock) -> Self {
        Self { clock, began: clock.monotonic() }
    }

    /// Waits a moment; false when it has been long enough.
    pub(crate) async fn wait(&mut self) -> bool {
        let patient = self.clock.monotonic().saturating_sub(self.began) < Self::LIMIT;
        if patient {
            self.clock.sleep(Self::STEP).await;
        }
        patient
    }
}

/// The server that the file in `path` names. It may have died since.
pub fn announced_server(path: &Path) -> Option<ServerAddress> {
    serde_json::from_slice(&std::fs::read(path.join(SERVER_FILE)).ok()?).ok()
}

/// Makes sure that `path` is a directory that may become or is a data directory.
fn prepare(path: &Path, if_missing: IfMissing) -> Result<(), Failure> {
    match std::fs::read_dir(path) {
        Ok(entries) => refuse_foreign(path, entries),
        Err(error) if error.kind() == ErrorKind::NotFound => match if_missing {
            IfMissing::Create => {
                std::fs::create_dir_all(path).map_err(|error| files::failure(path, "create", error))
            }
            IfMissing::Refuse => Err(Failure::new(
                ErrorCode::DATA_DIR_IO,
                format!("there is no data directory at {}", path.display()),
            )
            .help(
                "name it with --data-dir DIR, or a running server with --server URL\n`tidegate run` and `tidegate demo` make one",
            )),
        },
        Err(error) => Err(files::failure(path, "read", error)),
    }
}

/// A directory with other people's files and without our own is somebody else's.
fn refuse_foreign(path: &Path, entries: std::fs::ReadDir) -> Result<(), Failure> {
    if path.join(FORMAT_FILE).exists() {
        return Ok(());
    }
    // What a crash during the very first start may leave, and a configuration that was put there beforehand.
    let may_be_there =
        |name: &str| [LOCK_FILE, crate::config::FILE_NAME].contains(&name) || name.starts_with(FORMAT_FILE);
    for entry in entries {
        let name = entry.map_err(|error| files::failure(path, "read", error))?.file_name();
        if !name.to_str().is_some_and(may_be_there) {
            let message = format!(
                "{} is no data directory of Tidegate: it has files such as {} but no {FORMAT_FILE}",
                path.display(),
                name.display()
            );
            return Err(Failure::new(ErrorCode::DATA_DIR_FORMAT, message)
                .help("choose an empty or a new directory with --data-dir DIR"));
        }
    }
    Ok(())
}

fn take_lock(path: &Path) -> Result<File, Failure> {
    let lock_path = path.join(LOCK_FILE);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|error| files::failure(&lock_path, "open", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's number is a courtesy; without it the message still says what to do.
            let _ = (&mut lock).take(32).read_to_string(&mut holder);
            Err(locked(path, holder.trim().parse().ok()))
        }
        Err(TryLockError::Error(error)) => Err(files::failure(&lock_path, "lock", error)),
    }
}

fn locked(path: &Path, holder: Option<u32>) -> Failure {
    let by = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let way_out = match holder {
        Some(pid) => format!("stop it (kill {pid}) and wait until it has ended, or use another --data-dir"),
        None => "stop it, or use another --data-dir".to_owned(),
    };
    Failure::new(
        ErrorCode::DATA_DIR_LOCKED,
        format!("the data directory {} is in use by {by}", path.display()),
    )
    .help(way_out)
}

fn check_format(path: &Path, clock: &dyn Clock) -> Result<(), Failure> {
    let file = path.join(FORMAT_FILE);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let format = Format { format: FORMAT, created_at: clock.now() };
            let json = serde_json::to_vec(&format).expect("the format has a JSON form");
            return files::write_atomically(&file, &json, files::Mode::Public)
                .map_err(|error| files::failure(&file, "write", error));
        }
        Err(error) => return Err(files::failure(&file, "read", error)),
    };
    match serde_json::from_slice::<Format>(&bytes) {
        Ok(Format { format: FORMAT, .. }) => Ok(()),
        Ok(Format { format, .. }) => Err(Failure::new(
            ErrorCode::DATA_DIR_FORMAT,
            format!(
                "the data directory {} has format {format}; this version reads format {FORMAT}",
                path.display()
            ),
        )
        .help("use the version of tidegate that wrote it, or another --data-dir")),
        Err(error) => Err(Failure::new(
            ErrorCode::DATA_DIR_FORMAT,
            format!("{} cannot be understood: {error}", file.display()),
        )
        .help(format!(
            "restore the file; its content is {{\"format\":{FORMAT},\"created_at\":\"2026-01-31T12:00:00Z\"}}"
        ))),
    }
}

fn remove_server_file(path: &Path) -> Result<(), Failure> {
    let file = path.join(SERVER_FILE);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(files::failure(&file, "remove", error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::SystemClock;

    use super::*;

    fn open(path: &Path, if_missing: IfMissing) -> Result<DataDir, Failure> {
        DataDir::open(path, if_missing, &*SystemClock::shared())
    }

    fn address() -> ServerAddress {
        ServerAddress { http: "http://127.0.0.1:1".to_owned(), amqp: None, pid: 7 }
    }

    #[test]
    fn a_directory_is_open_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = open(&path, IfMissing::Create).unwrap();
        let second = open(&path, IfMissing::Create).unwrap_err();
        assert_eq!(second.code(), Some(ErrorCode::DATA_DIR_LOCKED));
        let message = second.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(first);
        open(&path, IfMissing::Refuse).unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_about_to_end_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let first = open(dir.path(), IfMissing::Create).unwrap();
        let mut waiting = Box::pin(DataDir::open_when_free(dir.path(), IfMissing::Create, &*clock));
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        drop(first);
        waiting.await.unwrap();
    }

    #[test]
    fn a_missing_directory_is_made_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        assert_eq!(open(&path, IfMissing::Refuse).unwrap_err().code(), Some(ErrorCode::DATA_DIR_IO));
        assert!(!path.exists());
        open(&path, IfMissing::Create).unwrap();
        assert!(path.join("tidegate.json").exists());
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.doc"), "x").unwrap();
        let refused = open(dir.path(), IfMissing::Create).unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::DATA_DIR_FORMAT));
        assert!(refused.to_string().contains("thesis.doc"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_during_the_first_start_leaves_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("LOCK"), "12").unwrap();
        std::fs::write(dir.path().join("tidegate.json.tmp"), "{\"form").unwrap();
        open(dir.path(), IfMissing::Refuse).unwrap();
    }

    #[test]
    fn another_format_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        for (content, said) in [
            ("{\"format\":99,\"created_at\":\"2026-01-31T12:00:00Z\"}", "format 99"),
            ("{\"format\":", "cannot be understood"),
        ] {
            std::fs::write(dir.path().join("tidegate.json"), content).unwrap();
            let refused = open(dir.path(), IfMissing::Create).unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::DATA_DIR_FORMAT));
            assert!(refused.to_string().contains(said), "{refused}");
            assert_eq!(std::fs::read_to_string(dir.path().join("tidegate.json")).unwrap(), content);
        }
    }

    #[test]
    fn a_dead_servers_address_goes_with_the_next_opening() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), IfMissing::Create).unwrap();
        opened.announce(&address()).unwrap();
        assert_eq!(announced_server(dir.path()), Some(address()));
        drop(opened);
        let opened = open(dir.path(), IfMissing::Create).unwrap();
        assert_eq!(announced_server(dir.path()), None);
        opened.announce(&address()).unwrap();
        opened.retract().unwrap();
        assert_eq!(announced_server(dir.path()), None);
    }
}
