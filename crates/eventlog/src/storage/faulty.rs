//! A file system in memory that loses, tears and refuses writes as real ones do, from a seed.
//!
//! What programs see (*live*) and what the medium holds (*durable*) are kept apart. A crash keeps any subset of the
//! changes that were not synced: of writes any 512-byte sectors, of directory changes any of them. That is harsher than
//! the file systems we know, which keep some order.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Component, Path};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Access, Entry, Lock, Storage, StorageFile};

const SECTOR: usize = 512;

/// The file system.
#[derive(Clone)]
pub struct FaultyStorage(Arc<Mutex<State>>);

struct State {
    nodes: Vec<Node>,
    faults: Faults,
    medium: Medium,
    random: u64,
}

/// What kind of medium it is: unlike a fault, it outlives a crash.
#[derive(Clone, Copy, Default)]
struct Medium {
    /// Whether nothing is ever read from the medium itself, so that no read waits.
    all_in_memory: bool,
    /// Whether syncs of files say that they are done and do nothing.
    ignores_syncs: bool,
}

const ROOT: usize = 0;

#[derive(Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Clone, Default)]
struct FileNode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileChange>,
}

#[derive(Clone)]
enum FileChange {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Default)]
struct DirNode {
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<DirChange>,
}

#[derive(Clone)]
enum DirChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

/// What goes wrong, and when.
#[derive(Default)]
struct Faults {
    /// Changes and syncs made so far.
    operations: u64,
    /// The operation at which the machine stops, and whether that operation still has its effect.
    crash_at: Option<(u64, bool)>,
    crashed: bool,
    /// How many syncs of files succeed before one fails.
    syncs_until_failure: Option<u64>,
    /// Whether the next renaming fails.
    rename_fails: bool,
    /// Bytes left on the medium.
    space: Option<u64>,
    /// Whether overwriting takes space, as on a file system that copies on write.
    copies_on_write: bool,
    /// Whether a write may be cut short.
    short_writes: bool,
}

impl FaultyStorage {
    /// An empty file system whose faults follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with(vec![Node::Dir(DirNode::default())], Medium::default(), seed)
    }

    fn with(nodes: Vec<Node>, medium: Medium, random: u64) -> Self {
        Self(Arc::new(Mutex::new(State { nodes, faults: Faults::default(), medium, random })))
    }

    /// Whether no read ever waits for the medium. Else some do, and are handed to a thread that may block.
    pub fn set_all_in_memory(&self, all_in_memory: bool) {
        self.0.lock().medium.all_in_memory = all_in_memory;
    }

    /// Whether syncs of files say that they are done and do nothing, as those of a medium that lies.
    pub fn set_ignores_syncs(&self, ignores: bool) {
        self.0.lock().medium.ignores_syncs = ignores;
    }

    /// Stops the machine now.
    pub fn crash(&self) {
        self.0.lock().faults.crashed = true;
    }

    /// Stops the machine at the operation `count` operations from now; that one still happens if `with_effect`.
    pub fn crash_in(&self, count: u64, with_effect: bool) {
        let mut state = self.0.lock();
        state.faults.crash_at = Some((state.faults.operations + count, with_effect));
    }

    /// Whether the machine has stopped.
    pub fn has_crashed(&self) -> bool {
        self.0.lock().faults.crashed
    }

    /// Lets `count` syncs of files succeed and the next one fail.
    pub fn fail_sync_after(&self, count: u64) {
        self.0.lock().faults.syncs_until_failure = Some(count);
    }

    /// Lets the next renaming fail without an effect.
    pub fn fail_next_rename(&self) {
        self.0.lock().faults.rename_fails = true;
    }

    /// Leaves this much room; `None` for as much as anybody needs.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.0.lock().faults.space = bytes;
    }

    /// The room that is left.
    pub fn space(&self) -> Option<u64> {
        self.0.lock().faults.space
    }

    /// Whether overwriting takes space, as on a file system that copies on write.
    pub fn set_copies_on_write(&self, copies: bool) {
        self.0.lock().faults.copies_on_write = copies;
    }

    /// Whether a write may be cut short.
    pub fn set_short_writes(&self, short: bool) {
        self.0.lock().faults.short_writes = short;
    }

    /// The medium after the machine stopped here and started again.
    pub fn after_crash(&self) -> Self {
        let mut state = self.0.lock();
        let mut random = state.random();
        let nodes = state.nodes.iter().map(|node| node.after_crash(&mut random)).collect();
        Self::with(nodes, state.medium, random)
    }

    /// The file system after a program stopped here and the machine went on: what it wrote is there, synced or not. The
    /// program itself changes nothing any more.
    pub fn after_kill(&self) -> Self {
        let mut state = self.0.lock();
        state.faults.crashed = true;
        let random = state.random();
        Self::with(state.nodes.clone(), state.medium, random)
    }

    /// Changes bytes of a file on the medium, behind everybody's back.
    #[cfg(test)]
    pub(crate) fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let id = state.find(path).unwrap();
        let Node::File(file) = &mut state.nodes[id] else { panic!("{path:?} is a directory") };
        change(&mut file.live);
        file.durable = file.live.clone();
        file.pending.clear();
    }
}

fn next_random(state: &mut u64) -> u64 {
    // SplitMix64.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Node {
    fn after_crash(&self, random: &mut u64) -> Self {
        match self {
            Self::File(file) => {
                let content = file.after_crash(random);
                Self::File(FileNode { live: content.clone(), durable: content, pending: Vec::new() })
            }
            Self::Dir(dir) => {
                let entries = dir.after_crash(random);
                Self::Dir(DirNode { live: entries.clone(), durable: entries, pending: Vec::new() })
            }
        }
    }
}

impl FileNode {
    /// Makes the pending changes durable, and nothing else: what a failed sync dropped stays dropped.
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                FileChange::SetLen(len) => self.durable.resize(len, 0),
                FileChange::Write { offset, bytes } => write_to(&mut self.durable, offset, &bytes),
            }
        }
    }

    /// How many bytes from `offset` on wait to be synced: they have their space.
    fn dirty_from(&self, offset: usize) -> usize {
        let mut end = offset;
        while let Some(further) = self.pending.iter().find_map(|change| match change {
            FileChange::Write { offset, bytes } if *offset <= end && end < offset + bytes.len() => {
                Some(offset + bytes.len())
            }
            _ => None,
        }) {
            end = further;
        }
        end - offset
    }

    fn after_crash(&self, random: &mut u64) -> Vec<u8> {
        let mut content = self.durable.clone();
        // Some crashes keep almost everything, some almost nothing, some anything between.
        let keep_in_8 = next_random(random) % 9;
        for change in &self.pending {
            match change {
                FileChange::SetLen(len) => {
                    if next_random(random) % 8 < keep_in_8 {
                        content.resize(*len, 0);
                    }
                }
                FileChange::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let sector_end = (offset + at + 1).next_multiple_of(SECTOR) - offset;
                        let end = sector_end.min(bytes.len());
                        if next_random(random) % 8 < keep_in_8 {
                            write_to(&mut content, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        // The length of the file may be durable without its bytes; then they may be anything.
        if content.len() < self.live.len() && next_random(random).is_multiple_of(2) {
            let from = content.len();
            content.resize(self.live.len(), 0);
            if next_random(random).is_multiple_of(2) {
                content[from..].fill_with(|| (next_random(random) & 0xff) as u8);
            }
        }
        content
    }
}

fn write_to(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl DirNode {
    fn after_crash(&self, random: &mut u64) -> BTreeMap<String, usize> {
        let mut entries = self.durable.clone();
        for change in &self.pending {
            if next_random(random).is_multiple_of(2) {
                continue;
            }
            match change {
                DirChange::Link(name, id) => {
                    entries.insert(name.clone(), *id);
                }
                DirChange::Unlink(name) => {
                    entries.remove(name);
                }
                DirChange::Rename(from, to) => {
                    if let Some(id) = entries.remove(from) {
                        entries.insert(to.clone(), id);
                    }
                }
            }
        }
        entries
    }
}

impl State {
    fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }

    /// Counts an operation. True when it has its effect; an error when the machine has stopped.
    fn begin(&mut self) -> io::Result<bool> {
        if self.faults.crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.faults.operations += 1;
        match self.faults.crash_at {
            Some((at, with_effect)) if self.faults.operations >= at => {
                self.faults.crashed = true;
                Ok(with_effect)
            }
            _ => Ok(true),
        }
    }

    /// The answer of an operation: the one at which the machine stops never comes back with success.
    fn end<T>(&self, value: T) -> io::Result<T> {
        if self.faults.crashed { Err(io::Error::other("the machine has stopped")) } else { Ok(value) }
    }

    fn dir(&mut self, id: usize) -> io::Result<&mut DirNode> {
        match &mut self.nodes[id] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, id: usize) -> &mut FileNode {
        match &mut self.nodes[id] {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("an open file is a file"),
        }
    }

    fn find(&mut self, path: &Path) -> io::Result<usize> {
        let mut id = ROOT;
        for name in names(path) {
            id = *self.dir(id)?.live.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    fn find_parent(&mut self, path: &Path) -> io::Result<(usize, String)> {
        let name = names(path).last().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        Ok((parent, name))
    }

    fn link(&mut self, parent: usize, name: String, node: Node) -> io::Result<usize> {
        let id = self.nodes.len();
        self.nodes.push(node);
        let dir = self.dir(parent)?;
        dir.live.insert(name.clone(), id);
        dir.pending.push(DirChange::Link(name, id));
        Ok(id)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.find_parent(path)?;
        let dir = self.dir(parent)?;
        let id = dir.live.remove(&name).ok_or(io::ErrorKind::NotFound)?;
        dir.pending.push(DirChange::Unlink(name));
        if let Node::File(file) = &self.nodes[id] {
            let freed = file.live.len() as u64;
            self.faults.space = self.faults.space.map(|space| space + freed);
        }
        Ok(())
    }
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = String> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}

impl Storage for FaultyStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.begin()? {
            let mut id = ROOT;
            for name in names(path) {
                id = match state.dir(id)?.live.get(&name) {
                    Some(known) => *known,
                    None => state.link(id, name, Node::Dir(DirNode::default()))?,
                };
            }
        }
        state.end(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.0.lock();
        state.end(())?;
        let id = state.find(dir)?;
        let entries = state.dir(id)?.live.clone();
        let entry =
            |(name, id): (String, usize)| Entry { name, is_dir: matches!(state.nodes[id], Node::Dir(_)) };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.0.lock();
        let has_effect = state.begin()?;
        let id = match state.find(path) {
            Ok(id) => {
                let file = state.file(id);
                file.live.clear();
                file.pending.push(FileChange::SetLen(0));
                id
            }
            Err(_) if has_effect => {
                let (parent, name) = state.find_parent(path)?;
                state.link(parent, name, Node::File(FileNode::default()))?
            }
            Err(error) => return Err(error),
        };
        state.end(Arc::new(FaultyFile { storage: self.clone(), id }) as Arc<dyn StorageFile>)
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.0.lock();
        state.end(())?;
        let id = state.find(path)?;
        match state.nodes[id] {
            Node::File(_) => Ok(Arc::new(FaultyFile { storage: self.clone(), id })),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.begin()? {
            state.unlink(path)?;
        }
        state.end(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let entries = self.list(path)?;
        for entry in entries {
            let path = path.join(entry.name);
            if entry.is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        self.remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.faults.rename_fails) {
            return Err(io::Error::other("the medium did not take the name"));
        }
        if state.begin()? {
            let (parent, old) = state.find_parent(from)?;
            let (new_parent, new) = state.find_parent(to)?;
            assert_eq!(parent, new_parent, "files are renamed within their directory");
            let dir = state.dir(parent)?;
            let id = dir.live.remove(&old).ok_or(io::ErrorKind::NotFound)?;
            dir.live.insert(new.clone(), id);
            dir.pending.push(DirChange::Rename(old, new));
        }
        state.end(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.begin()? {
            let id = state.find(dir)?;
            let dir = state.dir(id)?;
            dir.durable = dir.live.clone();
            dir.pending.clear();
        }
        state.end(())
    }

    fn try_lock(&self, _path: &Path) -> io::Result<Option<Lock>> {
        self.0.lock().end(Some(Box::new(()) as Lock))
    }
}

struct FaultyFile {
    storage: FaultyStorage,
    id: usize,
}

impl StorageFile for FaultyFile {
    fn read_at(&self, offset: u64, len: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.storage.0.lock();
        state.end(())?;
        let file = state.file(self.id);
        let start = file.live.len().min(offset as usize);
        let end = file.live.len().min(start + len);
        into.extend_from_slice(&file.live[start..end]);
        Ok(())
    }

    fn is_in_memory(&self, _offset: u64, _len: usize) -> bool {
        let mut state = self.storage.0.lock();
        state.medium.all_in_memory || state.random().is_multiple_of(2)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.storage.0.lock();
        let has_effect = state.begin()?;
        let offset = offset as usize;
        let mut bytes = Vec::new();
        bufs.iter().for_each(|buf| bytes.extend_from_slice(buf));
        if state.faults.short_writes && bytes.len() > 1 {
            let len = 1 + (state.random() as usize) % bytes.len();
            bytes.truncate(len);
        }
        if let Some(space) = state.faults.space {
            let copies_on_write = state.faults.copies_on_write;
            let file = state.file(self.id);
            let free = match copies_on_write {
                true => file.dirty_from(offset),
                false => file.live.len().saturating_sub(offset),
            };
            let fits = free + space as usize;
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(fits);
            state.faults.space = Some(space - bytes.len().saturating_sub(free) as u64);
        }
        let written = bytes.len();
        if has_effect {
            let file = state.file(self.id);
            write_to(&mut file.live, offset, &bytes);
            file.pending.push(FileChange::Write { offset, bytes });
        }
        state.end(written)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.storage.0.lock();
        if state.begin()? {
            let file = state.file(self.id);
            let freed = (file.live.len() as u64).saturating_sub(len);
            file.live.resize(len as usize, 0);
            file.pending.push(FileChange::SetLen(len as usize));
            state.faults.space = state.faults.space.map(|space| space + freed);
        }
        state.end(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.storage.0.lock();
        let has_effect = state.begin()?;
        if let Some(left) = state.faults.syncs_until_failure {
            state.faults.syncs_until_failure = left.checked_sub(1);
            if left == 0 {
                // As Linux does it: some pages may have got through, and the rest count as clean from now on.
                let mut random = state.random();
                let file = state.file(self.id);
                file.durable = file.after_crash(&mut random);
                file.pending.clear();
                return Err(io::Error::other("the medium did not take the bytes"));
            }
        }
        if has_effect && !state.medium.ignores_syncs {
            state.file(self.id).sync();
        }
        state.end(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.storage.0.lock();
        state.end(())?;
        Ok(state.file(self.id).live.len() as u64)
    }
}
