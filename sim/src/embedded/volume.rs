//! What one program has open on the simulated disk: its files, and the locks and the memory that its connections share.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use rusqlite::ffi;
use tidegate_eventlog::simulation::{FaultyStorage, GuestFile};

use crate::mutation::Mutation;

/// How many locks there are on the index of a write-ahead log.
const SLOTS: usize = ffi::SQLITE_SHM_NLOCK as usize;

/// The disk as one program has it, from its start to its end.
pub(crate) struct Volume {
    disk: FaultyStorage,
    mutation: Option<Mutation>,
    shared: Mutex<BTreeMap<PathBuf, Arc<Mutex<Shared>>>>,
}

impl Volume {
    /// The disk as a program finds it that starts now.
    pub(crate) fn new(disk: FaultyStorage, mutation: Option<Mutation>) -> Arc<Self> {
        Arc::new(Self { disk, mutation, shared: Mutex::default() })
    }

    /// Opens a file; one without a name is gone when it is closed.
    pub(super) fn open(self: &Arc<Self>, path: Option<&Path>, flags: i32) -> io::Result<Handle> {
        let Some(path) = path else {
            return Ok(Handle::new(self, Arc::default(), Content::Temporary(Vec::new())));
        };
        let is_new = flags & ffi::SQLITE_OPEN_CREATE != 0 && !self.disk.has_guest_file(path)?;
        let file = self.disk.guest_file(path, is_new)?;
        let shared = Arc::clone(self.shared.lock().entry(path.to_owned()).or_default());
        let is_log = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
        let mut handle = Handle::new(self, shared, Content::File(file));
        // As SQLite has it on Unix: the first sync of a new log syncs its name too.
        handle.dir_to_sync = path.parent().filter(|_| is_new && is_log).map(Path::to_owned);
        handle.is_database = !is_log;
        Ok(handle)
    }

    pub(super) fn delete(&self, path: &Path, syncs_dir: bool) -> io::Result<()> {
        self.disk.remove_guest_file(path)?;
        match path.parent() {
            Some(dir) if syncs_dir => self.disk.sync_guest_dir(dir),
            _ => Ok(()),
        }
    }

    /// Writes a log over itself, and syncs it and its name.
    pub(super) fn write_again(self: &Arc<Self>, path: &Path) -> io::Result<()> {
        if !self.has(path)? {
            return Ok(());
        }
        let mut log = self.open(Some(path), ffi::SQLITE_OPEN_WAL)?;
        let mut bytes = vec![0; index(log.len()?)];
        let read = log.read(0, &mut bytes)?;
        if read > 0 {
            log.write(0, &bytes[..read])?;
        }
        log.dir_to_sync = path.parent().map(Path::to_owned);
        log.sync()
    }

    pub(super) fn has(&self, path: &Path) -> io::Result<bool> {
        self.disk.has_guest_file(path)
    }
}

/// What the connections to one file share.
#[derive(Default)]
struct Shared {
    /// Who reads: how many connections.
    readers: u32,
    /// Who is about to write, and who keeps others from beginning to read: a connection's number.
    reserved: Option<u64>,
    exclusive: Option<u64>,
    next: u64,
    /// Locks on the index: how many share each, and who has it alone.
    slots: [(u32, Option<u64>); SLOTS],
    /// The index, region by region, and how many connections have it.
    memory: Vec<Box<[AtomicU64]>>,
    mapped: u32,
}

enum Content {
    File(GuestFile),
    Temporary(Vec<u8>),
}

/// An open file of one connection.
pub(super) struct Handle {
    volume: Arc<Volume>,
    content: Content,
    is_database: bool,
    dir_to_sync: Option<PathBuf>,
    /// How often it was synced.
    syncs: u32,
    shared: Arc<Mutex<Shared>>,
    /// Which of the connections it is.
    number: u64,
    level: i32,
    /// The slots that it shares.
    shares: [bool; SLOTS],
    has_memory: bool,
}

impl Handle {
    fn new(volume: &Arc<Volume>, shared: Arc<Mutex<Shared>>, content: Content) -> Self {
        let number = {
            let mut shared = shared.lock();
            shared.next += 1;
            shared.next
        };
        Self {
            volume: Arc::clone(volume),
            content,
            is_database: false,
            dir_to_sync: None,
            syncs: 0,
            shared,
            number,
            level: ffi::SQLITE_LOCK_NONE,
            shares: [false; SLOTS],
            has_memory: false,
        }
    }

    // --- Content --------------------------------------------------------------------------------------------------------

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match &self.content {
            Content::File(file) => file.read_at(offset, into),
            Content::Temporary(bytes) => {
                let from = bytes.len().min(index(offset));
                let len = into.len().min(bytes.len() - from);
                into[..len].copy_from_slice(&bytes[from..from + len]);
                Ok(len)
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        match &mut self.content {
            Content::File(file) => file.write_at(offset, from),
            Content::Temporary(bytes) => {
                let (offset, end) = (index(offset), index(offset) + from.len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset..end].copy_from_slice(from);
                Ok(())
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        match &mut self.content {
            Content::File(file) => file.set_len(len),
            Content::Temporary(bytes) => {
                bytes.resize(index(len), 0);
                Ok(())
            }
        }
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Content::File(file) = &self.content else { return Ok(()) };
        let is_ignored = match self.volume.mutation {
            Some(Mutation::UnsyncedCommit) => !self.is_database,
            // Not from the beginning, or the store would not even be there.
            Some(Mutation::UnsyncedPages) => self.is_database && self.syncs > 3,
            _ => false,
        };
        self.syncs += 1;
        if is_ignored {
            return Ok(());
        }
        file.sync()?;
        match self.dir_to_sync.take() {
            Some(dir) => self.volume.disk.sync_guest_dir(&dir),
            None => Ok(()),
        }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        match &self.content {
            Content::File(file) => file.len(),
            Content::Temporary(bytes) => Ok(bytes.len() as u64),
        }
    }

    // --- Locks on the file: https://sqlite.org/lockingv3.html -----------------------------------------------------------

    /// Raises the lock; false when another connection is in the way.
    pub(super) fn lock(&mut self, level: i32) -> bool {
        let mut shared = self.shared.lock();
        let (me, is_others) = (self.number, |who: Option<u64>| who.is_some_and(|who| who != self.number));
        if self.level < ffi::SQLITE_LOCK_SHARED {
            if shared.exclusive.is_some() {
                return false;
            }
            shared.readers += 1;
            self.level = ffi::SQLITE_LOCK_SHARED;
        }
        if level >= ffi::SQLITE_LOCK_RESERVED && self.level < level {
            if is_others(shared.reserved) || is_others(shared.exclusive) {
                return false;
            }
            shared.reserved = Some(me);
            self.level = self.level.max(ffi::SQLITE_LOCK_RESERVED);
        }
        if level > ffi::SQLITE_LOCK_RESERVED && self.level < level {
            // Nobody begins to read from here on.
            shared.exclusive = Some(me);
            self.level = ffi::SQLITE_LOCK_PENDING;
            if level == ffi::SQLITE_LOCK_EXCLUSIVE {
                if shared.readers > 1 {
                    return false;
                }
                self.level = level;
            }
        }
        true
    }

    /// Lowers the lock.
    pub(super) fn unlock(&mut self, level: i32) {
        let mut shared = self.shared.lock();
        if shared.exclusive == Some(self.number) {
            shared.exclusive = None;
        }
        if shared.reserved == Some(self.number) {
            shared.reserved = None;
        }
        if level == ffi::SQLITE_LOCK_NONE && self.level > ffi::SQLITE_LOCK_NONE {
            shared.readers -= 1;
        }
        self.level = self.level.min(level);
    }

    pub(super) fn is_reserved(&self) -> bool {
        let shared = self.shared.lock();
        shared.reserved.is_some() || shared.exclusive.is_some()
    }

    // --- The index of the write-ahead log: https://sqlite.org/walformat.html#the_wal_index_file_format -------------------

    /// The address of a region of the index, which stays where it is until the last connection has no use for it.
    pub(super) fn memory(&mut self, region: usize, bytes: usize, extends: bool) -> Option<*mut u64> {
        let mut shared = self.shared.lock();
        if !self.has_memory {
            self.has_memory = true;
            shared.mapped += 1;
        }
        while extends && shared.memory.len() <= region {
            shared.memory.push((0..bytes / 8).map(|_| AtomicU64::new(0)).collect());
        }
        shared.memory.get(region).map(|region| region.as_ptr().cast::<u64>().cast_mut())
    }

    pub(super) fn unmap_memory(&mut self) {
        if !std::mem::take(&mut self.has_memory) {
            return;
        }
        let mut shared = self.shared.lock();
        shared.mapped -= 1;
        if shared.mapped == 0 {
            shared.memory.clear();
        }
    }

    /// Takes or gives back locks on the index; false when another connection is in the way.
    pub(super) fn lock_memory(&mut self, offset: i32, count: i32, flags: i32) -> bool {
        let mut shared = self.shared.lock();
        let slots = index(offset)..index(offset + count).min(SLOTS);
        let (is_shared, me) = (flags & ffi::SQLITE_SHM_SHARED != 0, self.number);
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            for slot in slots {
                if std::mem::take(&mut self.shares[slot]) {
                    shared.slots[slot].0 -= 1;
                } else if shared.slots[slot].1 == Some(me) {
                    shared.slots[slot].1 = None;
                }
            }
            return true;
        }
        let is_free = |slot: usize| {
            let (sharing, alone) = shared.slots[slot];
            let others = sharing - u32::from(self.shares[slot]);
            alone.is_none_or(|who| who == me) && (is_shared || others == 0)
        };
        if !slots.clone().all(is_free) {
            return false;
        }
        for slot in slots {
            if !is_shared {
                shared.slots[slot].1 = Some(me);
            } else if !std::mem::replace(&mut self.shares[slot], true) {
                shared.slots[slot].0 += 1;
            }
        }
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.lock_memory(0, ffi::SQLITE_SHM_NLOCK, ffi::SQLITE_SHM_UNLOCK);
        self.unmap_memory();
        self.unlock(ffi::SQLITE_LOCK_NONE);
    }
}

fn index(offset: impl TryInto<usize>) -> usize {
    offset.try_into().unwrap_or(usize::MAX)
}
