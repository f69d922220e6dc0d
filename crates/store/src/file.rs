//! Where the file of a store is: on a file system of the operating system, or on one that a simulation brings.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::connections::Worker;

/// The file of a store, and where it is.
#[derive(Clone, Copy)]
pub(crate) struct StoreFile<'a> {
    path: &'a Path,
    /// The name that its file system is registered with SQLite under; `None` for the operating system's.
    file_system: Option<&'a str>,
}

impl<'a> StoreFile<'a> {
    /// A file of the operating system.
    pub(crate) fn real(path: &'a Path) -> Self {
        Self { path, file_system: None }
    }

    /// A file of a simulated file system.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn simulated(file_system: &'a str, path: &'a Path) -> Self {
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
            Some(name) => Connection::open_with_flags_and_vfs(self.path, flags, name),
            None => Connection::open_with_flags(self.path, flags),
        }
    }
}
