//! Opening: what is no store of ours is refused with a way out.

use rusqlite::Connection;
use tidegate_model::clock::SystemClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::StoreError;
use tidegate_store::{OpenError, SqliteStore, StoreOptions};

use crate::load::{self, Place};

fn refused(place: &Place) -> OpenError {
    let opened = SqliteStore::open(&place.path(), &StoreOptions::default(), SystemClock::shared());
    let error = opened.err().expect("the store is refused");
    assert!(error.to_string().contains("store.db"), "{error}");
    error
}

#[tokio::test]
async fn a_later_format_is_refused_and_left_alone() {
    let place = Place::new();
    place.open().close().await.unwrap();
    Connection::open(place.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let error = refused(&place);
    assert!(matches!(error, OpenError::NewerFormat { found: 99, known: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("run the version that wrote it"), "{error}");
    assert_eq!(error.code(), ErrorCode::DATA_DIR_FORMAT);
    assert!(before == std::fs::read(place.path()).unwrap(), "the file was changed");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let place = Place::new();
    Connection::open(place.path()).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let error = refused(&place);
    assert!(matches!(error, OpenError::NotAStore { application_id: 0, .. }), "{error:?}");
    let tables = Connection::open(place.path()).unwrap().query_row(
        "SELECT group_concat(name) FROM sqlite_schema",
        [],
        |row| row.get::<_, String>(0),
    );
    assert_eq!(tables.as_deref(), Ok("mine"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = Place::new();
    std::fs::write(place.path(), "these are not the bytes you are looking for\n".repeat(100)).unwrap();
    assert!(matches!(refused(&place), OpenError::Store(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn a_place_that_does_not_exist_is_named() {
    let place = Place::new();
    let path = place.path().join("missing/store.db");
    let opened = SqliteStore::open(&path, &StoreOptions::default(), SystemClock::shared());
    let error = opened.err().expect("there is no such directory");
    assert!(matches!(error, OpenError::Store(StoreError::Unavailable { .. })), "{error:?}");
    assert!(error.to_string().contains("missing/store.db"), "{error}");
    assert_eq!(error.code(), ErrorCode::DATA_DIR_IO);
}

/// A crash may come between any two steps of making the file.
#[tokio::test]
async fn a_file_that_was_half_made_becomes_a_store() {
    for half_made in ["", "PRAGMA page_size = 2048; PRAGMA journal_mode = WAL;"] {
        let place = Place::new();
        std::fs::write(place.path(), "").unwrap();
        Connection::open(place.path()).unwrap().execute_batch(half_made).unwrap();
        let store = place.open();
        let epoch = load::begin(&store).await;
        load::commit(&store, epoch, 0).await.unwrap();
        store.close().await.unwrap();
        load::assert_holds(&place.open(), 1).await;
    }
}

/// The tables are in the database file itself, so losing the log does not look like a new store.
#[tokio::test]
async fn a_new_store_is_one_without_its_log() {
    let place = Place::new();
    let store = place.open();
    let copy = Place::new();
    std::fs::copy(place.path(), copy.path()).unwrap();
    drop(store);
    let report = tidegate_store::check::check(&copy.path()).unwrap();
    assert_eq!(report.problems, [""; 0]);
}

#[tokio::test]
async fn a_missing_table_is_damage() {
    let place = Place::new();
    place.open().close().await.unwrap();
    Connection::open(place.path()).unwrap().execute_batch("DROP TABLE attempts").unwrap();
    let error = refused(&place);
    assert!(
        matches!(&error, OpenError::Store(StoreError::Damaged { detail }) if detail.contains("attempts")),
        "{error}"
    );
}
