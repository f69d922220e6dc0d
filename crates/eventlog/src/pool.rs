//! The threads that write: each takes the next partition in line, commits one group, and goes on. An idle log has only
//! sleeping threads.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::error::WriteFailure;
use crate::partition::{Partition, Shared};
use crate::prewritten::Prewritten;

/// The line of partitions that have something to write, and the line of segments that need space.
#[derive(Default)]
pub(crate) struct Pool {
    ready: Line<Arc<Partition>>,
    growing: Line<Arc<Prewritten>>,
    /// Something came into one of the lines.
    #[cfg(any(test, feature = "simulation"))]
    filled: tokio::sync::Notify,
}

impl Pool {
    /// Puts a partition in line. Each is in line once at most, which the partition sees to.
    pub(crate) fn schedule(&self, partition: Arc<Partition>) {
        self.ready.push(partition);
        #[cfg(any(test, feature = "simulation"))]
        self.filled.notify_one();
    }

    /// Asks for space to be written ahead in the background.
    pub(crate) fn grow_ahead(&self, prewritten: Arc<Prewritten>) {
        self.growing.push_unless(prewritten, Arc::ptr_eq);
        #[cfg(any(test, feature = "simulation"))]
        self.filled.notify_one();
    }

    /// Lets the threads end after what is in line is done.
    pub(crate) fn close(&self) {
        self.ready.close();
        self.growing.close();
    }
}

/// Starts writers with these numbers, and with the first of them the thread that writes ahead.
pub(crate) fn start_threads(
    shared: &Arc<Shared>,
    writers: std::ops::Range<usize>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::with_capacity(writers.len() + 1);
    for number in writers {
        if number == 0 {
            let shared = Arc::clone(shared);
            let builder = thread::Builder::new().name("log-ahead".to_owned());
            threads.push(builder.spawn(move || write_ahead(&shared))?);
        }
        let shared = Arc::clone(shared);
        let builder = thread::Builder::new().name(format!("log-writer-{number}"));
        threads.push(builder.spawn(move || write_groups(&shared.pool))?);
    }
    Ok(threads)
}

fn write_groups(pool: &Pool) {
    while let Some(partition) = pool.ready.next() {
        write_group(pool, partition);
    }
}

fn write_group(pool: &Pool, partition: Arc<Partition>) {
    if panic::catch_unwind(AssertUnwindSafe(|| partition.commit_group())).is_err() {
        // The state of the partition is not known. Stopping answers everybody; nobody waits for ever.
        partition.shared.fate.fail("a writer panicked; this is a bug of the log");
    }
    // One group at a time: behind a busy partition the others get their turn.
    if partition.has_pending_or_rests() {
        pool.ready.push_back_in(partition);
    }
}

fn write_ahead(shared: &Shared) {
    while let Some(prewritten) = shared.pool.growing.next() {
        write_one_ahead(shared, &prewritten);
    }
}

fn write_one_ahead(shared: &Shared, prewritten: &Prewritten) {
    match prewritten.grow_ahead() {
        Ok(()) => {}
        // The writer meets the same error when it needs the space, and tells the producer.
        Err(WriteFailure::DiskFull(detail)) => tracing::debug!(detail, "no space to write ahead"),
        Err(WriteFailure::Broken(detail)) => shared.fate.fail(&detail),
    }
}

/// The work of the threads, done by whoever asks for it.
#[cfg(any(test, feature = "simulation"))]
impl Pool {
    /// Returns when there may be work.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Writes one group, or writes ahead once; the latter first if `ahead_first`. False when there is nothing to do.
    pub(crate) fn work_once(&self, shared: &Shared, ahead_first: bool) -> bool {
        let write = || self.ready.try_next().map(|partition| write_group(self, partition)).is_some();
        let write_ahead =
            || self.growing.try_next().map(|prewritten| write_one_ahead(shared, &prewritten)).is_some();
        (ahead_first && write_ahead()) || write() || write_ahead()
    }
}

/// A queue between threads that wait for it to have something.
struct Line<T> {
    state: Mutex<LineState<T>>,
    filled: Condvar,
}

struct LineState<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(LineState { items: VecDeque::new(), closed: false }),
            filled: Condvar::new(),
        }
    }
}

impl<T> Line<T> {
    fn push(&self, item: T) {
        self.state.lock().items.push_back(item);
        self.filled.notify_one();
    }

    /// Puts an item back without waking anybody when it is alone: the caller takes the next one itself.
    fn push_back_in(&self, item: T) {
        let mut state = self.state.lock();
        state.items.push_back(item);
        if state.items.len() > 1 {
            self.filled.notify_one();
        }
    }

    fn push_unless(&self, item: T, same: impl Fn(&T, &T) -> bool) {
        let mut state = self.state.lock();
        if state.closed || state.items.iter().any(|waiting| same(waiting, &item)) {
            return;
        }
        state.items.push_back(item);
        self.filled.notify_one();
    }

    /// The next item; waits for one. `None` after closing, when nothing is left.
    fn next(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
    }

    /// The next item, if there is one now.
    #[cfg(any(test, feature = "simulation"))]
    fn try_next(&self) -> Option<T> {
        self.state.lock().items.pop_front()
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}
