//! The check finds what does not add up.

use rusqlite::Connection;
use tidegate_store::check::{Report, check};

use crate::acts;
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
    assert_eq!(report, Report { lanes: 1, documents: 8, dead_letters: 12, ..Report::default() });
}

#[tokio::test]
async fn what_does_not_add_up_is_named() {
    let cases = [
        ("DELETE FROM dead_letters WHERE id = 3", "the dead letter 3 has lost its event"),
        ("DELETE FROM dead_letter_states WHERE id = 3", "counts 12 dead letters, and 11 are stored"),
        ("DELETE FROM dead_letter_states WHERE id = 3", "nothing leads to 1 rows of dead_letters"),
        ("DELETE FROM documents_1 WHERE id = 'd2'", "counts 8 documents, and 7 are stored"),
        ("UPDATE documents_1 SET body = '{}' WHERE id = 'd2'", "document d2 does not match its checksum"),
        ("UPDATE checkpoints SET position = position - 1", "checkpoint of track/flights/0 does not match"),
        ("UPDATE ownerships SET epoch = 1", ""),
        ("UPDATE ownerships SET epoch = 9", "ownership of track/flights/0 does not match"),
        ("UPDATE attempts SET sequence_number = 3", "attempts at event 3"),
        ("UPDATE dead_letters SET body = x'00' WHERE id = 5", "dead letter 5 does not match its checksum"),
        ("UPDATE counters SET value = 3", "etag c, which was not given out yet"),
        ("DELETE FROM checkpoints", "has no checkpoint, and 12 dead letters"),
        ("DROP INDEX dead_letters_by_time", ""),
        ("PRAGMA user_version = 99", "its format 99"),
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

/// Every table with what people and functions have left waiting.
#[tokio::test]
async fn what_waits_and_does_not_add_up_is_named() {
    let sound = Place::new();
    let store = sound.open();
    acts::begin(&store).await;
    // So many that there is something in every table, and redriven, parked and edited dead letters among them.
    for n in 0..acts::STEPS_TO_EVERY_TABLE {
        acts::step(&store, n).await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(check(&sound.path()).unwrap().problems, [""; 0]);
    let bytes = std::fs::read(sound.path()).unwrap();

    let one = |table: &str| format!("rowid = (SELECT max(rowid) FROM {table})");
    let last_parked = "(lane, sequence_number) = (SELECT lane, sequence_number FROM parked ORDER BY lane DESC, sequence_number DESC)";
    let redriven =
        "(lane, sequence_number) = (SELECT lane, sequence_number FROM parked WHERE redrive_of > 0)";
    let cases = [
        (
            format!("UPDATE parked SET turn_at = 1, held = NULL WHERE {last_parked}"),
            "does not match its checksum",
        ),
        (format!("UPDATE parked SET version = 1000000 WHERE {last_parked}"), "does not match its checksum"),
        (format!("DELETE FROM parked WHERE {last_parked}"), "parked events, and"),
        (format!("DELETE FROM parked WHERE {last_parked}"), "nothing leads to 1 rows of parked_events"),
        (format!("DELETE FROM parked WHERE {redriven}"), "is not parked for it"),
        (format!("DELETE FROM parked_events WHERE {}", one("parked_events")), "its body is missing"),
        (
            format!("UPDATE parked_events SET body = x'00' WHERE {}", one("parked_events")),
            "its body does not match its checksum",
        ),
        ("DELETE FROM parked_keys".to_owned(), "the queue of the key"),
        ("UPDATE parked_keys SET queued = queued + 1".to_owned(), "does not match its checksum"),
        ("UPDATE lanes SET number = number + 1".to_owned(), "the number of the lane"),
        ("DELETE FROM lanes".to_owned(), "rows of parked"),
        ("UPDATE counters SET value = 1 WHERE name = 'parked'".to_owned(), "which was not given out yet"),
        ("UPDATE dead_letter_states SET status = 'open'".to_owned(), "does not match its checksum"),
        ("UPDATE dead_letter_states SET fingerprint = 1".to_owned(), "does not match its checksum"),
        ("DELETE FROM dead_letter_states WHERE status = 'redriving'".to_owned(), "which is not redriven"),
        ("DELETE FROM dead_letter_edits".to_owned(), "the edit of the dead letter"),
        ("UPDATE dead_letter_edits SET body = x'00'".to_owned(), "the edit of the dead letter"),
        (
            "INSERT INTO dead_letter_edits VALUES (1000, 0, '', '', x'')".to_owned(),
            "rows of dead_letter_edits",
        ),
        ("UPDATE trail SET who = 'nobody'".to_owned(), "of the audit trail does not match"),
        ("UPDATE registers SET version = 1000".to_owned(), "does not match its checksum"),
        ("UPDATE notices SET subject = ''".to_owned(), "the notice"),
        ("DELETE FROM notices".to_owned(), "deliveries are of notices that are not there"),
        ("UPDATE deliveries SET tries = 1000".to_owned(), "the delivery of the notice"),
        ("UPDATE health SET failed = failed + 1".to_owned(), "the health of track"),
        ("UPDATE checkpoints SET discarded = discarded + 1".to_owned(), "checkpoint of track/flights"),
        ("DELETE FROM checkpoints".to_owned(), "has no checkpoint"),
    ];
    for (sql, problem) in cases {
        let place = Place::new();
        std::fs::write(place.path(), &bytes).unwrap();
        let changed = Connection::open(place.path()).unwrap().execute(&sql, []).unwrap();
        let report = check(&place.path()).unwrap();
        assert!(changed > 0, "{sql} changes nothing");
        assert!(report.problems.iter().any(|found| found.contains(problem)), "{sql}: {:?}", report.problems);
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
