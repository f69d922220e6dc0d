//! Files of somebody else on the simulated disk: of a program's store, which shares the disk with the log in many places.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::faulty::FaultyStorage;
use super::{Access, Storage, StorageFile, write_all_at};

impl FaultyStorage {
    /// Makes a directory for the files of somebody else, and those above it. No error when it exists.
    ///
    /// # Errors
    /// The disk fails.
    pub fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir(path)
    }

    /// A file for reading and writing, made if there is none and `make` says so.
    ///
    /// # Errors
    /// There is none, or the disk fails.
    pub fn guest_file(&self, path: &Path, make: bool) -> io::Result<GuestFile> {
        let opened = match self.open(path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => self.create(path),
            opened => opened,
        };
        Ok(GuestFile { file: opened? })
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// The disk fails.
    pub fn has_guest_file(&self, path: &Path) -> io::Result<bool> {
        match self.open(path, Access::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a file out of its directory.
    ///
    /// # Errors
    /// There is none, or the disk fails.
    pub fn remove_guest_file(&self, path: &Path) -> io::Result<()> {
        self.remove_file(path)
    }

    /// Returns after the names in a directory are durable.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync_guest_dir(&self, dir: &Path) -> io::Result<()> {
        self.sync_dir(dir)
    }
}

/// An open file of somebody else.
pub struct GuestFile {
    file: Arc<dyn StorageFile>,
}

impl GuestFile {
    /// Reads from `offset` on; how many bytes, fewer than asked for only at the end of the file.
    ///
    /// # Errors
    /// The disk fails.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut bytes = Vec::with_capacity(into.len());
        self.file.read_at(offset, into.len(), &mut bytes)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Writes all of `bytes`, however many writes that takes.
    ///
    /// # Errors
    /// The disk fails or is full; a part may be written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&*self.file, &mut [IoSlice::new(bytes)], offset)
    }

    /// Cuts or extends the file; the new part reads as zeros.
    ///
    /// # Errors
    /// The disk fails.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Returns after the bytes are durable.
    ///
    /// # Errors
    /// The disk fails; then nothing is known about what was written since the last success.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// The disk fails.
    pub fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// The disk fails.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
