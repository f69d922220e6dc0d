//! The store passes the suite of its ports.

use std::path::PathBuf;

use async_trait::async_trait;
use tidegate_model::clock::SystemClock;
use tidegate_model::conformance::store::StoreFactory;
use tidegate_store::{SqliteStore, StoreOptions};

/// A place for one store file.
struct SqliteFactory {
    directory: tempfile::TempDir,
    options: StoreOptions,
}

impl SqliteFactory {
    fn new() -> Self {
        // A small log, so that its pages are moved in the middle of the checks.
        let options = StoreOptions { wal_bytes: 64 << 10, ..StoreOptions::default() };
        Self { directory: tempfile::tempdir().unwrap(), options }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }
}

#[async_trait]
impl StoreFactory for SqliteFactory {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path(), &self.options, SystemClock::shared()).unwrap()
    }

    async fn reopen(&self, store: SqliteStore) -> SqliteStore {
        store.close().await.unwrap();
        self.open().await
    }
}

tidegate_model::store_suite!(SqliteFactory::new());

/// The suite again, with stores that are dropped instead of closed.
mod dropped {
    use super::*;

    struct DroppingFactory(SqliteFactory);

    #[async_trait]
    impl StoreFactory for DroppingFactory {
        type Store = SqliteStore;

        async fn open(&self) -> SqliteStore {
            self.0.open().await
        }

        async fn reopen(&self, store: SqliteStore) -> SqliteStore {
            drop(store);
            self.open().await
        }
    }

    tidegate_model::store_suite!(DroppingFactory(SqliteFactory::new()));
}
