//! What can go wrong with the log as a whole. Errors of a single append or read are the ports' own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::event::HubName;
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::storage::is_out_of_space;

/// Why the log or a hub cannot be opened, made, checked or cleaned up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another process has the log open.
    #[error("the log directory {} is in use by another process; stop that process or use another directory", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {detail}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the operating system said.
        detail: String,
        /// Whether the disk is full.
        disk_full: bool,
    },
    /// The files were written by a newer version.
    #[error(
        "{} has format {found}, but this version knows formats up to {known}; run the version that wrote it, or a newer one",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this version knows.
        known: u32,
    },
    /// A hub's description is missing or cannot be read.
    #[error(
        "{}: {problem}; restore this file from a backup, or move the directory away to begin the hub anew without its events",
        path.display()
    )]
    BadDescription {
        /// The file `hub.json`.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A hub's settings cannot be read.
    #[error("{}: {problem}; correct this file, or remove it to have the hub without settings of its own", path.display())]
    BadSettings {
        /// The file `settings.json`.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such hub.
    #[error("there is no hub {hub}")]
    NoSuchHub {
        /// The hub.
        hub: HubName,
    },
    /// The hub exists with another number of partitions.
    #[error(
        "the hub {hub} has {existing} partitions, not {wanted}; a hub keeps the number it was made with, \
         because another one would send keys to other partitions"
    )]
    PartitionCountChanged {
        /// The hub.
        hub: HubName,
        /// How many it has.
        existing: u32,
        /// How many were asked for.
        wanted: u32,
    },
    /// The number of partitions is not between 1 and the limit.
    #[error("a hub cannot have {wanted} partitions; the number must be between 1 and {limit}")]
    BadPartitionCount {
        /// How many were asked for.
        wanted: u32,
        /// The most a hub can have.
        limit: u32,
    },
    /// The log stopped because a sync failed.
    #[error("the log stopped because a write to disk failed: {detail}; restart to recover what is on disk")]
    Failed {
        /// What the operating system said and where.
        detail: String,
    },
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::Io {
            action,
            path: path.to_owned(),
            detail: error.to_string(),
            disk_full: is_out_of_space(&error),
        }
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } | Self::Io { .. } | Self::Failed { .. } | Self::Closed => {
                ErrorKind::Transient
            }
            Self::UnknownFormat { .. }
            | Self::BadDescription { .. }
            | Self::BadSettings { .. }
            | Self::NoSuchHub { .. }
            | Self::PartitionCountChanged { .. }
            | Self::BadPartitionCount { .. } => ErrorKind::Permanent,
        }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Locked { .. } => ErrorCode::DATA_DIR_LOCKED,
            Self::Io { disk_full: true, .. } => ErrorCode::DISK_FULL,
            Self::Io { .. } | Self::BadDescription { .. } | Self::BadSettings { .. } => {
                ErrorCode::DATA_DIR_IO
            }
            Self::NoSuchHub { .. } => ErrorCode::NOT_FOUND,
            Self::UnknownFormat { .. } => ErrorCode::DATA_DIR_FORMAT,
            Self::PartitionCountChanged { .. } => ErrorCode::PARTITION_COUNT_CHANGED,
            Self::BadPartitionCount { .. } => ErrorCode::CONFIG_BAD_VALUE,
            Self::Failed { .. } => ErrorCode::LOG_FAILED,
            Self::Closed => ErrorCode::STOPPING,
        }
    }
}

/// Why bytes did not get onto the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteFailure {
    /// There is no room. Nothing is wrong otherwise.
    DiskFull(String),
    /// What is on disk is not known any more.
    Broken(String),
}

impl WriteFailure {
    pub(crate) fn of_write(path: &Path, action: &str, error: &io::Error) -> Self {
        let detail = format!("cannot {action} {}: {error}", path.display());
        if is_out_of_space(error) { Self::DiskFull(detail) } else { Self::Broken(detail) }
    }

    /// A failed sync, whatever the reason: the pages it was about may be lost, and a second sync would not tell.
    pub(crate) fn of_sync(path: &Path, error: &io::Error) -> Self {
        Self::Broken(format!("cannot sync {}: {error}", path.display()))
    }
}

/// Whether the log still runs. Once it failed it stays so until the program is restarted.
#[derive(Default)]
pub(crate) struct Fate(OnceLock<String>);

impl Fate {
    /// Stops the log. The first reason is kept.
    pub(crate) fn fail(&self, detail: &str) {
        if self.0.set(detail.to_owned()).is_ok() {
            tracing::error!(detail, "the log stopped: what is on disk is not known; restart to recover");
        }
    }

    /// Why the log stopped, if it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Damage in a partition: the first place where acknowledged events cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {offset}: {problem} (event {sequence_number} of partition {partition})", file.display())]
pub(crate) struct Damage {
    pub(crate) partition: PartitionId,
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    /// The first event that cannot be read.
    pub(crate) sequence_number: SequenceNumber,
    pub(crate) problem: String,
}
