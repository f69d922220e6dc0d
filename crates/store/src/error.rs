//! What SQLite says, in the words of the ports.

use std::path::{Path, PathBuf};

use rusqlite::ffi;
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::StoreError;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is a database, but none of Tidegate's.
    #[error(
        "{path} is a database of another program (application id {application_id:#x}); name another file for the \
         store, or move this one away"
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// Its application id; 0 when it has none.
        application_id: i64,
    },
    /// The file was written by a later version of Tidegate.
    #[error(
        "{path} has store format {found}, and this version of Tidegate knows {known}: run the version that wrote it or \
         a later one"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The latest format that this version knows.
        known: i64,
    },
    /// The file cannot be kept in write-ahead mode there.
    #[error(
        "{path} cannot be put into write-ahead mode (it is in mode {mode:?}): the file system must be local and allow \
         shared memory"
    )]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite settled for.
        mode: String,
    },
    /// The file is damaged or cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotAStore { .. } | Self::NewerFormat { .. } => ErrorCode::DATA_DIR_FORMAT,
            Self::NoWriteAheadLog { .. } => ErrorCode::DATA_DIR_IO,
            Self::Store(StoreError::Unavailable { .. }) => ErrorCode::DATA_DIR_IO,
            Self::Store(error) => error.code(),
        }
    }
}

/// Why an operation on a connection failed, before it is known which file it was about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// SQLite said so.
    Sql(rusqlite::Error),
    /// What is stored is not what was written; says where.
    Stored(String),
    /// The port's own answer.
    Store(StoreError),
}

impl Failure {
    /// A refusal of the request itself.
    pub(crate) fn refused(detail: impl Into<String>) -> Self {
        Self::Store(StoreError::Refused { detail: detail.into() })
    }

    /// True when a sync failed: what the operating system has of the file may differ from what is on disk, and a
    /// later sync may succeed without writing it.
    pub(crate) fn is_failed_sync(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        error.sqlite_error().is_some_and(|error| {
            matches!(error.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
        })
    }

    /// The answer of the port, with the name of the file.
    pub(crate) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sql(error) => store_error(&error, path),
            Self::Stored(detail) => StoreError::Damaged { detail: format!("{}: {detail}", path.display()) },
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// SQLite's error in the words of the port.
pub(crate) fn store_error(error: &rusqlite::Error, path: &Path) -> StoreError {
    use rusqlite::ErrorCode as Code;
    let detail = format!("{}: {error}", path.display());
    let Some(sqlite) = error.sqlite_error() else {
        // What is left are values of a type or form that was never written.
        return StoreError::Damaged { detail };
    };
    // A short read: the file ends where it says that it goes on.
    if matches!(sqlite.extended_code, ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_SHORT_READ) {
        return StoreError::Damaged { detail };
    }
    // The index of the write-ahead log is grown by writing to it, which fails when there is no room.
    if sqlite.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
        let detail = format!("{}-shm cannot grow: {error}", path.display());
        return StoreError::DiskFull { detail };
    }
    match sqlite.code {
        Code::DiskFull => StoreError::DiskFull { detail },
        Code::TooBig => StoreError::Refused { detail },
        Code::DatabaseCorrupt
        | Code::NotADatabase
        | Code::ConstraintViolation
        | Code::TypeMismatch
        | Code::Unknown => StoreError::Damaged { detail },
        _ => StoreError::Unavailable { detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::error::ErrorKind;

    #[test]
    fn sqlites_errors_get_the_ports_words() {
        let told = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("it said so".to_owned()));
            store_error(&error, Path::new("/data/store.db"))
        };
        for full in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(told(full), StoreError::DiskFull { .. }));
        }
        for transient in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CANTOPEN]
        {
            assert_eq!(told(transient).kind(), ErrorKind::Transient);
        }
        for damage in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_IOERR_CORRUPTFS] {
            assert!(matches!(told(damage), StoreError::Damaged { .. }));
        }
        let text = told(ffi::SQLITE_CORRUPT).to_string();
        assert!(text.contains("/data/store.db") && text.contains("it said so"), "{text}");
    }
}
