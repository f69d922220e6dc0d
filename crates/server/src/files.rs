//! Small files, written so that a crash leaves the old content or the new, never a part.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tidegate_model::error::ErrorCode;

use crate::failure::Failure;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whoever may read the directory.
    Public,
    /// Its owner only.
    Secret,
}

/// Replaces the content of `path` with `bytes`, durably: it is written beside, synced, renamed, and the directory
/// synced.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = Path::new(&beside);
    // A leftover of a crash might have another mode; a new file has ours from the beginning.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = match mode {
        Mode::Public => 0o644,
        Mode::Secret => 0o600,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// An error of the operating system about a file of the data directory.
pub(crate) fn failure(path: &Path, doing: &str, error: io::Error) -> Failure {
    let message = format!("cannot {doing} {}: {error}", path.display());
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Failure::of_error(ErrorCode::DISK_FULL, message);
    }
    Failure::new(ErrorCode::DATA_DIR_IO, message).help(
        "check that the directory exists, that this user may read and write it, and that the disk is sound",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_a_secret_is_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        std::fs::write(dir.path().join("keys.json.tmp"), "left by a crash, readable by all").unwrap();
        write_atomically(&path, b"one", Mode::Secret).unwrap();
        write_atomically(&path, b"two", Mode::Secret).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
