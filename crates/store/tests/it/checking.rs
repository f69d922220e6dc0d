//! The check finds what does not add up.

use rusqlite::Connection;
use tidegate_store::check::{Report, check};

use crate::load::{self, Place};

/// The report on a store of twelve commits that `sql` was run on.
async fn report_after(sql: &str) -> Report {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    for n in 0..12 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    store.close().await.unwrap();
    Connection::open(place.path()).unwrap().execute_batch(sql).unwrap();
    check(&place.path()).unwrap()
}

#[tokio::test]
async fn a_sound_store_is_clean_and_counted() {
    let report = report_after("").await;
    assert_eq!(report, Report { lanes: 1, documents: 8, dead_letters: 12, problems: Vec::new() });
}

#[tokio::test]
async fn what_does_not_add_up_is_named() {
    let cases = [
        ("DELETE FROM dead_letters WHERE id = 3", "counts 12 dead letters, and 11 are stored"),
        ("DELETE FROM documents_1 WHERE id = 'd2'", "counts 8 documents, and 7 are stored"),
        ("UPDATE documents_1 SET body = '{}' WHERE id = 'd2'", "document d2 does not match its checksum"),
        ("UPDATE checkpoints SET position = position - 1", "checkpoint of track/flights/0 does not match"),
        ("UPDATE ownerships SET epoch = 1", ""),
        ("UPDATE ownerships SET epoch = 9", "ownership of track/flights/0 does not match"),
        ("UPDATE attempts SET sequence_number = 3", "attempts at event 3"),
        ("UPDATE dead_letters SET body = x'00' WHERE id = 5", "dead letter 5 does not match its checksum"),
        ("UPDATE counters SET value = 3", "etag c, which was not given out yet"),
        ("DELETE FROM checkpoints", "has no checkpoint, and 12 dead letters"),
        ("DROP INDEX dead_letters_by_lane", ""),
        ("PRAGMA user_version = 5", "its format 5"),
    ];
    for (sql, problem) in cases {
        let report = report_after(sql).await;
        if problem.is_empty() {
            assert_eq!(report.problems, [""; 0], "{sql}");
        } else {
            assert!(
                report.problems.iter().any(|found| found.contains(problem)),
                "{sql}: {:?}",
                report.problems
            );
        }
    }
}

#[tokio::test]
async fn many_problems_are_counted_and_not_all_listed() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    for n in 0..150 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    store.close().await.unwrap();
    Connection::open(place.path())
        .unwrap()
        .execute_batch("UPDATE dead_letters SET reason = 'other'")
        .unwrap();
    let report = check(&place.path()).unwrap();
    assert_eq!(report.problems.len(), 101, "{:?}", report.problems.last());
    assert!(report.problems.iter().any(|problem| problem == "and 50 more dead letters"));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let place = Place::new();
    assert!(check(&place.path()).unwrap_err().to_string().contains("store.db"));
}
