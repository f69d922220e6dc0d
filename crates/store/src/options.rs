//! What can be chosen when a store is opened.

/// The size of a database page in bytes, fixed when the file is made.
///
/// Small pages nearly halve what a commit of scattered documents writes: one of 50,000 among a million documents of 300
/// bytes touches nearly as many pages of 2 KiB as of 4 KiB.
pub(crate) const PAGE_BYTES: u32 = 2048;

/// What can be chosen when a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for pages of the database, all connections together, in bytes.
    pub cache_bytes: u64,
    /// The size of the write-ahead log, in bytes, at which its pages are moved into the database file. A larger one
    /// writes a page that changes often less often to the file. A commit that is larger by itself makes it grow beyond.
    pub wal_bytes: u64,
    /// The largest size of the database file in bytes; `None` means what the disk holds. A commit that does not fit
    /// is refused as on a full disk.
    pub size_limit: Option<u64>,
    /// Connections for reading documents, checkpoints and dead letters at the same time.
    pub readers: usize,
}

impl Default for StoreOptions {
    /// 64 MiB of pages, a write-ahead log of 128 MiB, no size limit, three readers.
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, wal_bytes: 128 << 20, size_limit: None, readers: 3 }
    }
}

impl StoreOptions {
    /// The writer's part of the page memory: it alone keeps pages from one transaction to the next, the others drop
    /// theirs whenever something was committed.
    pub(crate) fn writer_cache_bytes(&self) -> u64 {
        self.cache_bytes / 4 * 3
    }

    /// The part of each reader and of the query connection.
    pub(crate) fn reader_cache_bytes(&self) -> u64 {
        self.cache_bytes / 4 / (self.readers as u64 + 1)
    }

    pub(crate) fn wal_pages(&self) -> u32 {
        pages(self.wal_bytes).max(16)
    }
}

/// How many pages hold `bytes`.
pub(crate) fn pages(bytes: u64) -> u32 {
    u32::try_from(bytes / u64::from(PAGE_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_connections_together_keep_to_the_page_memory() {
        for readers in [1, 3, 16] {
            let options = StoreOptions { readers, ..StoreOptions::default() };
            let total = options.writer_cache_bytes() + options.reader_cache_bytes() * (readers as u64 + 1);
            assert!(total <= options.cache_bytes && total > options.cache_bytes / 10 * 9);
        }
    }
}
