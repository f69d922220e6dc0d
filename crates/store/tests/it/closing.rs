//! Closing, the barrier, and the size of the write-ahead log.

use tidegate_model::ports::{Commits, StoreError};

use crate::load::{self, Place};

#[tokio::test]
async fn closing_leaves_one_file_with_everything_in_it() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    for n in 0..10 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    store.close().await.unwrap();
    assert!(!place.path().with_extension("db-wal").exists());
    assert!(matches!(load::commit(&store, epoch, 10).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.barrier().await, Err(StoreError::Unavailable { .. })));
    store.close().await.unwrap();

    let copy = Place::new();
    std::fs::copy(place.path(), copy.path()).unwrap();
    load::assert_holds(&copy.open(), 10).await;
}

#[tokio::test]
async fn dropping_leaves_one_file_with_everything_in_it() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    load::commit(&store, epoch, 0).await.unwrap();
    drop(store);
    assert!(!place.path().with_extension("db-wal").exists());
    load::assert_holds(&place.open(), 1).await;
}

/// The log is moved into the database file at 256 KiB and begun anew, so it stays near that size.
#[tokio::test]
async fn the_write_ahead_log_does_not_grow_without_bound() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    for n in 0..300 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    let size = place.path().with_extension("db-wal").metadata().unwrap().len();
    assert!(size < 1 << 20, "the log has {size} bytes");
    load::assert_holds(&store, 300).await;
}

/// A barrier changes nothing that anybody reads, and commits go on after it.
#[tokio::test]
async fn a_barrier_changes_nothing() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    for n in 0..5 {
        store.barrier().await.unwrap();
        load::commit(&store, epoch, n).await.unwrap();
        store.barrier().await.unwrap();
        load::assert_holds(&store, n + 1).await;
    }
}
