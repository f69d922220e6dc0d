//! Sizes of the log.

/// Sizes of the log. The defaults suit one machine with a local disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// How large a segment grows before the next one begins, in bytes. Retention drops whole segments. Default 64 MiB,
    /// at least 64 KiB.
    pub segment_bytes: u64,
    /// How many partitions are written and synced at the same time at most. Default 4. With more, groups are smaller and
    /// syncs more: an append that waits for a thread shares its group with those that come meanwhile.
    pub writer_threads: usize,
    /// How many bytes of one hub may wait for the disk; as many again may wait for room before an append is refused.
    /// Default 64 MiB.
    pub queue_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, writer_threads: 4, queue_bytes: 64 << 20 }
    }
}

impl LogOptions {
    /// The same, with each value held in its range.
    pub(crate) fn held_in_range(self) -> Self {
        Self {
            segment_bytes: self.segment_bytes.clamp(64 << 10, 1 << 40),
            writer_threads: self.writer_threads.clamp(1, 256),
            queue_bytes: self.queue_bytes.clamp(1 << 16, 1 << 36),
        }
    }
}
