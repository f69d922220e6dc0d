//! What the log needs from a file system: a handful of operations, so that a test can stand in for the disk and fail,
//! tear or lose each of them.

mod disk;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod faulty;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod guest;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub(crate) use disk::{DiskFile, DiskStorage};

/// Directories and files. Changes to a directory are durable only after [`sync_dir`](Storage::sync_dir).
pub(crate) trait Storage: Send + Sync + 'static {
    /// Makes a directory and those above it. No error when it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// An empty file for reading and writing; one that exists is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// A file that exists.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Takes a file out of its directory.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Takes a directory with everything in it away.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or directory another name in the same directory, replacing a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns after the names in a directory are durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Holds a file locked against other processes until the answer is dropped; `None` when another one holds it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Lock>>;
}

/// A lock on a file, held until it is dropped.
pub(crate) type Lock = Box<dyn Send + Sync>;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// An open file. Positioned, so that any number of threads may use it at once.
pub(crate) trait StorageFile: Send + Sync + 'static {
    /// Appends up to `len` bytes from `offset` on to `into`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: usize, into: &mut Vec<u8>) -> io::Result<()>;

    /// Whether reading these bytes would not wait for the medium. A guess: both answers are safe.
    fn is_in_memory(&self, offset: u64, len: usize) -> bool;

    /// Writes a part of `bufs`, at least one byte, and says how much.
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Cuts or extends the file; the new part reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns after the bytes, and what is needed to find them again, are durable. After an error nothing is known
    /// about the bytes written since the last success, and a second call does not tell.
    fn sync_data(&self) -> io::Result<()>;

    /// The length of the file.
    fn len(&self) -> io::Result<u64>;
}

/// How many buffers one positioned write takes at most (`IOV_MAX` of Linux and macOS).
pub(crate) const MAX_WRITE_BUFFERS: usize = 1024;

/// Writes all of `bufs`, however many writes that takes.
pub(crate) fn write_all_at(file: &dyn StorageFile, bufs: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    write_counting(file, bufs, offset).map_err(|(_, error)| error)
}

/// Writes all of `bufs`. An error comes with how many bytes were written before it.
pub(crate) fn write_counting(
    file: &dyn StorageFile,
    mut bufs: &mut [IoSlice<'_>],
    offset: u64,
) -> Result<(), (u64, io::Error)> {
    let mut written = 0;
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match file.write_vectored_at(&bufs[..bufs.len().min(MAX_WRITE_BUFFERS)], offset + written) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(step) => {
                written += step as u64;
                IoSlice::advance_slices(&mut bufs, step);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Writes zeros from `from` up to `to`, in small writes: a file system lets one write at a time into a file, and a commit
/// should not wait for megabytes of zeros.
pub(crate) fn write_zeros(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 128 * 1024] = [0; 128 * 1024];
    let mut at = from;
    while at < to {
        let len = (to - at).min(ZEROS.len() as u64);
        let zeros = &ZEROS[..usize::try_from(len).expect("at most 128 KiB")];
        write_all_at(file, &mut [IoSlice::new(zeros)], at)?;
        at += len;
    }
    Ok(())
}

/// Exactly `len` bytes from `offset` on; an error of kind `UnexpectedEof` when the file ends before.
pub(crate) fn read_exact_at(file: &dyn StorageFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    file.read_at(offset, len, &mut bytes)?;
    if bytes.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// True for "no space" and "over quota": nothing is wrong with the medium.
pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Replaces the file at `path` so that a crash leaves the old content or the new, whole.
pub(crate) fn replace_file(storage: &dyn Storage, path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = path.with_extension("tmp");
    let file = storage.create(&temporary)?;
    write_all_at(&*file, &mut [IoSlice::new(content)], 0)?;
    file.sync_data()?;
    storage.rename(&temporary, path)?;
    storage.sync_dir(dir)
}
