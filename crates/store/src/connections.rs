//! Connections: each is used by one piece of work at a time, on a thread that may block; in a simulation at once, by the
//! task that asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;
use rusqlite::Connection;
use tidegate_model::ports::StoreError;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::error::Failure;
use crate::sqlite_store::moves_when_closed;

/// Connections to one file that do the same kind of work. Work waits in order for a free one.
#[derive(Clone)]
pub(crate) struct Connections {
    path: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    size: u32,
    failed_sync: Arc<OnceLock<String>>,
    worker: Worker,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worker {
    /// A thread that may block.
    Thread,
    /// The task that asks, at once: nothing ever waits, because one piece of work ends before the next begins.
    #[cfg(any(test, feature = "simulation"))]
    Caller,
}

impl Worker {
    /// Runs `work` to its end, also if nobody waits for it; an error when that was stopped.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::Thread => tokio::task::spawn_blocking(work).await,
            #[cfg(any(test, feature = "simulation"))]
            Self::Caller => Ok(work()),
        }
    }
}

impl Connections {
    pub(crate) fn new(path: PathBuf, connections: Vec<Connection>, worker: Worker) -> Self {
        let size = u32::try_from(connections.len()).expect("a handful of connections");
        Self {
            path: path.into(),
            free: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(Mutex::new(connections)),
            size,
            failed_sync: Arc::default(),
            worker,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` with a connection. It runs to its end even if the caller does not wait for it.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| self.closed())?;
        let this = self.clone();
        let done = self.worker.run(move || {
            let _permit = permit;
            this.run_here(work)
        });
        done.await.unwrap_or_else(|stopped| {
            let detail = format!("{}: the work on it was stopped: {stopped}", self.path.display());
            Err(StoreError::Unavailable { detail })
        })
    }

    fn run_here<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        if let Some(error) = self.failed_sync.get() {
            return Err(StoreError::Unavailable { detail: error.clone() });
        }
        let mut lease = Lease { idle: &self.idle, connection: self.idle.lock().pop() };
        let connection = lease.connection.as_mut().ok_or_else(|| self.closed())?;
        work(connection).map_err(|failure| {
            let failed_sync = failure.is_failed_sync();
            let error = failure.at(&self.path);
            if !failed_sync {
                return error;
            }
            // It can only be refused for a connection that has gone wrong altogether.
            let _ = moves_when_closed(connection, false);
            let detail = match error {
                StoreError::Unavailable { detail } => detail,
                error => error.to_string(),
            };
            self.failed_sync.get_or_init(|| {
                format!("{detail}; nothing more is written until the program is started again")
            });
            // It stands in the write-ahead log, and it may be on disk or not.
            StoreError::Unavailable {
                detail: format!(
                    "{detail}; whether it was done is seen when the program is started again, and nothing more is written until then"
                ),
            }
        })
    }

    /// Waits until all connections are free and takes them away for good.
    pub(crate) async fn close(&self) -> Vec<Connection> {
        let all = self.free.acquire_many(self.size).await;
        self.free.close();
        drop(all);
        std::mem::take(&mut *self.idle.lock())
    }

    /// Why nothing is written any more, if a sync failed.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed_sync.get().cloned()
    }

    pub(crate) fn worker(&self) -> Worker {
        self.worker
    }

    fn closed(&self) -> StoreError {
        StoreError::Unavailable { detail: format!("{} is closed", self.path.display()) }
    }
}

/// A connection on loan; it goes back also when the work panics, which has rolled back its transaction then.
struct Lease<'a> {
    idle: &'a Mutex<Vec<Connection>>,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.idle.lock().extend(self.connection.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn one_connection() -> Connections {
        Connections::new("memory".into(), vec![Connection::open_in_memory().unwrap()], Worker::Thread)
    }

    #[tokio::test]
    async fn a_panic_costs_neither_the_connection_nor_the_next_work() {
        let connections = one_connection();
        let panicked = connections.run::<(), _>(|_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err(StoreError::Unavailable { .. })), "{panicked:?}");
        let one = connections.run(|connection| Ok(connection.query_row("SELECT 1", [], |row| row.get(0))?));
        assert_eq!(one.await, Ok(1));
    }

    #[test]
    fn the_caller_does_the_work_where_it_asks() {
        let memory = vec![Connection::open_in_memory().unwrap()];
        let connections = Connections::new("memory".into(), memory, Worker::Caller);
        // Without a runtime, without a thread, without waiting.
        let mut one = std::pin::pin!(connections.run(|connection| Ok(connection.query_row(
            "SELECT 1",
            [],
            |row| row.get(0)
        )?)));
        let answer = one.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert_eq!(answer, std::task::Poll::Ready(Ok(1)));
        assert_eq!(connections.failure(), None);
    }

    #[tokio::test]
    async fn after_a_failed_sync_nothing_is_done_any_more() {
        let connections = one_connection();
        let sync_fails = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None);
        let unknown = connections.run::<(), _>(move |_| Err(sync_fails().into())).await;
        assert!(
            matches!(&unknown, Err(StoreError::Unavailable { detail }) if detail.contains("whether it was done")),
            "{unknown:?}"
        );
        let refused = connections.run(|_| Ok(())).await;
        assert!(
            matches!(&refused, Err(StoreError::Unavailable { detail }) if detail.contains("started again"))
        );
        assert!(
            matches!(&refused, Err(StoreError::Unavailable { detail }) if !detail.contains("whether")),
            "what comes later is not done: {refused:?}"
        );
        // What it is about is said once.
        assert!(
            matches!(&refused, Err(StoreError::Unavailable { detail }) if detail.starts_with("memory: "))
        );
    }

    #[tokio::test]
    async fn a_closed_store_says_so() {
        let connections = one_connection();
        assert_eq!(connections.close().await.len(), 1);
        let refused = connections.run(|_| Ok(())).await;
        assert!(matches!(&refused, Err(StoreError::Unavailable { detail }) if detail.contains("closed")));
        assert!(connections.close().await.is_empty());
    }
}
