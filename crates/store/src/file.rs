//! Where the file of a store is: on a file system of the operating system, or on one that a simulation brings.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::connections::Worker;

/// The file of a store, and where it is.
#[derive(Clone, Copy)]
pub(crate) struct StoreFile<'a> {
    path: &'a Path,
    /// `None` for the operating system's.
    file_system: Option<SimulatedFiles>,
}

/// A file system that a simulation brings.
#[cfg_attr(
    not(any(test, feature = "simulation")),
    expect(unreachable_pub, reason = "only simulations are offered it")
)]
#[derive(Clone, Copy, Debug)]
pub struct SimulatedFiles {
    /// The name that it is registered with SQLite under.
    pub name: &'static str,
    /// Writes a file over itself, byte for byte, and syncs it and its name. A file that is not there stays so.
    pub write_again: fn(&Path) -> io::Result<()>,
}

impl<'a> StoreFile<'a> {
    /// A file of the operating system.
    pub(crate) fn real(path: &'a Path) -> Self {
        Self { path, file_system: None }
    }

    /// A file of a simulated file system.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn simulated(file_system: SimulatedFiles, path: &'a Path) -> Self {
        Self { path, file_system: Some(file_system) }
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// Who does the work on it.
    pub(crate) fn worker(&self) -> Worker {
        match self.file_system {
            #[cfg(any(test, feature = "simulation"))]
            Some(_) => Worker::Caller,
            _ => Worker::Thread,
        }
    }

    /// A connection to it.
    pub(crate) fn open(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        match self.file_system {
            Some(files) => Connection::open_with_flags_and_vfs(self.path, flags, files.name),
            None => Connection::open_with_flags(self.path, flags),
        }
    }

    /// Makes the write-ahead log that an earlier program left durable. After a sync that failed, the operating system
    /// may take for written what is not, and further syncs do nothing: only bytes that are written again are synced.
    ///
    /// Where the machine stops meanwhile, the log is what it was, up to the first commit that is not whole.
    pub(crate) fn renew_write_ahead_log(&self) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        let log = PathBuf::from(name);
        match self.file_system {
            Some(files) => (files.write_again)(&log),
            None => write_again(&log),
        }
    }
}

fn write_again(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut part = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            break;
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&part[..read])?;
        at += read as u64;
    }
    file.sync_all()?;
    // Elsewhere a directory cannot be synced, and need not be.
    if let Some(directory) = path.parent().filter(|_| cfg!(unix)) {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_again_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let log = dir.path().join("store.db-wal");
        let renew = || StoreFile::real(&path).renew_write_ahead_log().unwrap();
        renew();
        assert!(!log.exists());
        // More than one part, and not a whole number of them.
        let bytes: Vec<u8> = (0..(5_u32 << 19) + 7).map(|at| (at % 251) as u8).collect();
        for content in [&[][..], &bytes] {
            std::fs::write(&log, content).unwrap();
            renew();
            assert!(std::fs::read(&log).unwrap() == content);
        }
    }
}
