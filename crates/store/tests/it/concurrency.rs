//! Readers and the writer at the same time.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rusqlite::Connection;
use tidegate_model::ports::{Commits, Documents, StoreError};

use crate::load::{self, Place};

/// A reader in the middle of its work keeps its snapshot; commits and other readers do not wait for it.
#[tokio::test]
async fn a_reader_does_not_hold_up_the_writer() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    load::commit(&store, epoch, 0).await.unwrap();

    let slow = Connection::open(place.path()).unwrap();
    slow.execute_batch("BEGIN").unwrap();
    let letters = || slow.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get::<_, i64>(0));
    assert_eq!(letters(), Ok(1));
    // Enough for the log to be full several times over while the reader needs its old pages.
    for n in 1..200 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    assert_eq!(letters(), Ok(1));
    load::assert_holds(&store, 200).await;
    slow.execute_batch("COMMIT").unwrap();
    for n in 200..210 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    load::assert_holds(&store, 210).await;
}

/// A writer in the middle of its transaction does not hold up readers, who see the state before it.
#[tokio::test]
async fn the_writer_does_not_hold_up_readers() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    load::commit(&store, epoch, 0).await.unwrap();
    let slow = Connection::open(place.path()).unwrap();
    slow.execute_batch("BEGIN IMMEDIATE; DELETE FROM dead_letters; DELETE FROM checkpoints").unwrap();
    load::assert_holds(&store, 1).await;
    slow.execute_batch("ROLLBACK").unwrap();
}

/// Many readers while the writer commits: each read is of one state, never of a mixture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_read_is_of_one_state() {
    let place = Place::new();
    let store = Arc::new(place.open());
    let epoch = load::begin(&store).await;
    load::commit(&store, epoch, 0).await.unwrap();
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let ids = [load::id("common"), load::id("common")];
                let mut last = 0;
                while last < 990 {
                    let found = store.documents(&load::collection(), &ids).await.unwrap();
                    assert_eq!(found[0], found[1]);
                    let number = found[0].as_ref().unwrap().sequence_number.0;
                    assert!(number >= last, "{number} was read after {last}");
                    last = number;
                }
            })
        })
        .collect();
    for n in 1..100 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Who waits for a commit may stop waiting: it happens whole or not at all, and trying again tells which.
#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_whole() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    for n in 0..50 {
        let commit = load::nth_commit(&store, epoch, n).await.unwrap();
        {
            let mut abandoned = pin!(store.commit(&commit));
            std::future::poll_fn(|context| {
                let _ = abandoned.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
        match store.commit(&commit).await {
            Ok(_) => {}
            Err(StoreError::CheckpointMoved { stored, .. }) => assert_eq!(stored.0, n * 10 + 10),
            Err(other) => panic!("{other:?}"),
        }
        load::assert_holds(&store, n + 1).await;
    }
}
