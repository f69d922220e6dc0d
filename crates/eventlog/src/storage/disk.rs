//! The real file system.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

use super::{Access, Entry, Lock, Storage, StorageFile};

/// The machine's file system.
pub(crate) struct DiskStorage;

impl Storage for DiskStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // Every name the log gives is ASCII; a name that is not text is not the log's.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = File::options().read(true).write(access == Access::ReadWrite).open(path)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// An open file.
pub(crate) struct DiskFile(File);

impl StorageFile for DiskFile {
    fn read_at(&self, offset: u64, len: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let (start, mut missing) = (into.len(), len);
        into.reserve_exact(len);
        while missing > 0 {
            let at = offset + (len - missing) as u64;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(into), at) {
                Ok(0) => break,
                Ok(read) => missing = missing.saturating_sub(read),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The spare capacity may be larger than what was asked for.
        into.truncate(start + len);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn is_in_memory(&self, offset: u64, len: usize) -> bool {
        let cached = |at: u64| {
            let mut byte = [0];
            let mut into = [IoSliceMut::new(&mut byte)];
            let read = rustix::io::preadv2(&self.0, &mut into, at, rustix::io::ReadWriteFlags::NOWAIT);
            // A file system that cannot tell is read inline.
            !matches!(read, Err(rustix::io::Errno::AGAIN))
        };
        len == 0 || (cached(offset) && cached(offset + len as u64 - 1))
    }

    #[cfg(not(target_os = "linux"))]
    fn is_in_memory(&self, _offset: u64, _len: usize) -> bool {
        true
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, bufs, offset)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
