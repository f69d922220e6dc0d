//! A store of an earlier format is brought to the one that this version writes when it is opened, with everything that was
//! in it.

use rusqlite::{Connection, params};
use tidegate_model::attempt::{Attempt, EventAttempts, FailureClass, FailureKind};
use tidegate_model::checkpoint::{Checkpoint, Epoch, FunctionName, Lane};
use tidegate_model::clock::{SystemClock, Timestamp};
use tidegate_model::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterStatus, DocumentSnapshot, Fingerprint,
    StoredDeadLetter,
};
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::{Event, EventData, HubName, PropertyValue};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, Commits, DeadLetters, Documents, Ownerships, Parking, StoreError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_model::trail::Act;
use tidegate_store::check::check;
use tidegate_store::{OpenError, SqliteStore, StoreOptions};

use crate::load::Place;

/// The tables of format 1, as the version that wrote it made them.
const FORMAT_1: &str = "
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('etag', 0), ('barrier', 0);

CREATE TABLE ownerships (
    function TEXT NOT NULL,
    hub TEXT NOT NULL,
    partition INTEGER NOT NULL,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (function, hub, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    function TEXT NOT NULL,
    hub TEXT NOT NULL,
    partition INTEGER NOT NULL,
    incarnation BLOB NOT NULL,
    start INTEGER NOT NULL,
    position INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    parked INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (function, hub, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    function TEXT NOT NULL,
    hub TEXT NOT NULL,
    partition INTEGER NOT NULL,
    sequence_number INTEGER NOT NULL,
    attempts TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (function, hub, partition, sequence_number)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    function TEXT NOT NULL,
    hub TEXT NOT NULL,
    partition INTEGER NOT NULL,
    class TEXT NOT NULL,
    incarnation BLOB NOT NULL,
    sequence_number INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    dead_lettered_at INTEGER NOT NULL,
    function_version TEXT NOT NULL,
    reason TEXT NOT NULL,
    partition_key TEXT,
    document_collection TEXT,
    document_id TEXT,
    checksum INTEGER NOT NULL,
    attempts TEXT NOT NULL,
    properties TEXT NOT NULL,
    system_properties TEXT NOT NULL,
    document_body BLOB,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_function ON dead_letters (function);
CREATE INDEX dead_letters_by_lane ON dead_letters (function, hub, partition);

CREATE TABLE collections (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    documents INTEGER NOT NULL
) STRICT;

CREATE TABLE documents_1 (
    id TEXT NOT NULL UNIQUE,
    partition INTEGER NOT NULL,
    sequence_number INTEGER NOT NULL,
    etag INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
";

/// The checksum of format 1: CRC-32C over the table's name and the fields.
struct Checksum(u32);

impl Checksum {
    fn of(table: &str) -> Self {
        Self(crc32c::crc32c(table.as_bytes()))
    }

    fn number(self, number: i64) -> Self {
        Self(crc32c::crc32c_append(self.0, &number.to_le_bytes()))
    }

    fn bytes(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let length = crc32c::crc32c_append(self.0, &(bytes.len() as u64).to_le_bytes());
        Self(crc32c::crc32c_append(length, bytes))
    }

    fn lane(self) -> Self {
        self.bytes("track").bytes("flights").number(3)
    }
}

const DEAD_LETTERS: i64 = 250;

/// Writes a store of format 1: a lane from 100 to 400 with 250 dead letters, attempts, and a document.
fn write_format_1(place: &Place) {
    let file = Connection::open(place.path()).unwrap();
    file.pragma_update(None, "page_size", 2048).unwrap();
    file.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    file.execute_batch(FORMAT_1).unwrap();
    file.pragma_update(None, "application_id", 0x5469_6465).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    file.execute("UPDATE counters SET value = 9 WHERE name = 'etag'", []).unwrap();

    let checksum = Checksum::of("ownerships").lane().bytes("a").number(4).number(70);
    file.execute(
        "INSERT INTO ownerships VALUES ('track', 'flights', 3, 'a', 4, 70, ?1)",
        [i64::from(checksum.0)],
    )
    .unwrap();

    let numbers = [100, 400, 40, 7, DEAD_LETTERS, 0, 3, 80];
    let checksum = Checksum::of("checkpoints").lane().bytes(incarnation());
    let checksum = numbers.iter().fold(checksum, |checksum, number| checksum.number(*number));
    file.execute(
        "INSERT INTO checkpoints VALUES ('track', 'flights', 3, ?1, 100, 400, 40, 7, 250, 0, 3, 80, ?2)",
        params![incarnation(), i64::from(checksum.0)],
    )
    .unwrap();

    let text = r#"[[71,"no answer"],[72,"no answer"]]"#;
    let checksum = Checksum::of("attempts").lane().number(402).bytes(text);
    file.execute(
        "INSERT INTO attempts VALUES ('track', 'flights', 3, 402, ?1, ?2)",
        params![text, i64::from(checksum.0)],
    )
    .unwrap();

    for n in 0..DEAD_LETTERS {
        let (reason, body) = (format!("not JSON at column {n}"), vec![7_u8; n as usize * 20]);
        let properties = r#"[["n","long",7]]"#;
        let checksum = Checksum::of("dead_letters")
            .lane()
            .bytes("permanent")
            .bytes(incarnation())
            .number(100 + n)
            .number(60)
            .number(65 + n)
            .bytes("v1")
            .bytes(&reason)
            .number(1)
            .bytes("key")
            .number(1)
            .bytes("planes")
            .number(1)
            .bytes("p1")
            .bytes(r#"[[61,"not JSON"]]"#)
            .bytes(properties)
            .bytes("[]")
            .number(0)
            .bytes(&body);
        file.execute(
            "INSERT INTO dead_letters (function, hub, partition, class, incarnation, sequence_number, enqueued_at,
                                       dead_lettered_at, function_version, reason, partition_key,
                                       document_collection, document_id, checksum, attempts, properties,
                                       system_properties, document_body, body)
             VALUES ('track', 'flights', 3, 'permanent', ?1, ?2, 60, ?3, 'v1', ?4, 'key', 'planes', 'p1', ?5,
                     '[[61,\"not JSON\"]]', ?6, '[]', NULL, ?7)",
            params![incarnation(), 100 + n, 65 + n, reason, i64::from(checksum.0), properties, body],
        )
        .unwrap();
    }

    let body = r#"{"height":1}"#;
    let checksum =
        Checksum::of("documents").bytes("p1").bytes(body).number(3).number(399).number(9).number(80);
    file.execute("INSERT INTO collections VALUES (1, 'planes', 1)", []).unwrap();
    file.execute(
        "INSERT INTO documents_1 VALUES ('p1', 3, 399, 9, 80, ?1, ?2)",
        params![i64::from(checksum.0), body],
    )
    .unwrap();
}

fn lane() -> Lane {
    Lane {
        function: FunctionName::new("track").unwrap(),
        hub: HubName::new("flights").unwrap(),
        partition: PartitionId(3),
    }
}

fn incarnation() -> [u8; 16] {
    [5; 16]
}

/// Dead letter number `n`, from 0, as the store keeps it now.
fn letter(n: u64) -> StoredDeadLetter {
    let attempt = |at, error: &str| Attempt {
        at: Timestamp::from_millis(at),
        kind: FailureKind::Transient,
        error: error.to_owned(),
    };
    let data = EventData {
        partition_key: Some("key".into()),
        properties: [("n", PropertyValue::Long(7))].into_iter().collect(),
        ..EventData::new(vec![7; n as usize * 20])
    };
    let enqueued_at = Timestamp::from_millis(60);
    let dead_lettered_at = Timestamp::from_millis(65 + n as i64);
    let letter = DeadLetter {
        lane: lane(),
        incarnation: Incarnation(uuid::Uuid::from_bytes(incarnation())),
        event: Event { sequence_number: SequenceNumber(100 + n), enqueued_at, data },
        function_version: "v1".to_owned(),
        class: FailureClass::Permanent,
        reason: format!("not JSON at column {n}"),
        attempts: vec![attempt(61, "not JSON")],
        dead_lettered_at,
        document: Some(DocumentSnapshot {
            collection: CollectionName::new("planes").unwrap(),
            id: DocumentId::new("p1").unwrap(),
            body: None,
        }),
    };
    StoredDeadLetter::open(DeadLetterId(n + 1), letter, dead_lettered_at)
}

#[tokio::test]
async fn a_store_of_format_1_keeps_everything() {
    let place = Place::new();
    write_format_1(&place);
    let report = check(&place.path()).unwrap();
    assert!(report.problems[0].contains("its format 1; the program brings it"), "{:?}", report.problems);

    let store = place.open();
    let report = check(&place.path()).unwrap();
    assert_eq!((report.problems, report.dead_letters, report.documents), (Vec::new(), 250, 1));

    let mut checkpoint = Checkpoint {
        lane: lane(),
        incarnation: Incarnation(uuid::Uuid::from_bytes(incarnation())),
        start: SequenceNumber(100),
        position: SequenceNumber(400),
        counts: OutcomeCounts {
            applied: 40,
            filtered: 7,
            dead_lettered: 250,
            lost: 3,
            ..OutcomeCounts::default()
        },
        updated_at: Timestamp::from_millis(80),
    };
    assert_eq!(store.checkpoints().await, Ok(vec![checkpoint.clone()]));
    assert_eq!(store.ownerships().await.unwrap()[0].epoch, Epoch(4));
    let attempt = |at| Attempt {
        at: Timestamp::from_millis(at),
        kind: FailureKind::Transient,
        error: "no answer".to_owned(),
    };
    let attempts = vec![attempt(71), attempt(72)];
    assert_eq!(
        store.attempts(&lane()).await,
        Ok(vec![EventAttempts { sequence_number: SequenceNumber(402), attempts }])
    );
    let documents = store.list_documents(&CollectionName::new("planes").unwrap(), None, 10).await.unwrap();
    assert_eq!(documents[0].body, r#"{"height":1}"#);

    let all = DeadLetterFilter::default();
    let letters = store.list_dead_letters(&all, None, usize::MAX).await.unwrap();
    assert!(letters.iter().eq(&(0..250).map(letter).collect::<Vec<_>>()));
    let groups = store.group_dead_letters(&all).await.unwrap();
    let cause = Fingerprint::of(&lane().function, FailureClass::Permanent, "not JSON at column 1");
    assert_eq!((groups.len(), groups[0].fingerprint, groups[0].count), (1, cause, 250));
    assert_eq!(store.count_dead_letters().await, Ok(vec![(lane(), 250)]));

    // What format 1 could not do.
    let act = Act { by: "a".to_owned(), reason: "mended".to_owned(), at: Timestamp::from_millis(90) };
    store.redrive(&[DeadLetterId(2), DeadLetterId(1)], false, &act).await.unwrap();
    store.discard(&[DeadLetterId(3)], &act).await.unwrap();
    checkpoint.counts.dead_lettered -= 3;
    checkpoint.counts.parked += 2;
    checkpoint.counts.discarded += 1;
    assert_eq!(store.checkpoint(&lane()).await, Ok(Some(checkpoint)));
    assert_eq!(store.parking_place(&lane()).await.unwrap().events, 2);
    assert_eq!(
        store.dead_letter(DeadLetterId(3)).await.unwrap().unwrap().status,
        DeadLetterStatus::Discarded
    );

    store.barrier().await.unwrap();
    store.close().await.unwrap();
    place.open().close().await.unwrap();
    assert_eq!(check(&place.path()).unwrap().problems, [""; 0]);
}

/// Format 2 did not count the dead letters of each cause.
#[tokio::test]
async fn a_store_of_format_2_gets_the_counts_of_its_causes() {
    let place = Place::new();
    write_format_1(&place);
    place.open().close().await.unwrap();
    Connection::open(place.path())
        .unwrap()
        .execute_batch(
            "DROP TABLE dead_letter_causes; DROP INDEX dead_letters_by_cause_and_time;
             DROP INDEX dead_letters_by_key; PRAGMA user_version = 2",
        )
        .unwrap();
    let store = place.open();
    let act = Act { by: "a".to_owned(), reason: "of no use".to_owned(), at: Timestamp::from_millis(90) };
    store.discard(&[DeadLetterId(3), DeadLetterId(4)], &act).await.unwrap();
    let open = DeadLetterFilter { status: vec![DeadLetterStatus::Open], ..DeadLetterFilter::default() };
    let causes = store.dead_letter_causes(&open, 10).await.unwrap();
    assert_eq!((causes.causes, causes.dead_letters, causes.groups[0].count), (1, 248, 248));
    let all = store.dead_letter_causes(&DeadLetterFilter::default(), 0).await.unwrap();
    assert_eq!((all.causes, all.dead_letters, all.groups.len()), (1, 250, 0));
    store.close().await.unwrap();
    assert_eq!(check(&place.path()).unwrap().problems, [""; 0]);
    // A count that is not that of the states is told.
    Connection::open(place.path())
        .unwrap()
        .execute("UPDATE dead_letter_causes SET dead_letters = 7 WHERE status = 'discarded'", [])
        .unwrap();
    let problems = check(&place.path()).unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].ends_with("counts 7 dead letters that are discarded, and there are 2"),
        "{problems:?}"
    );
}

/// The triggers that counted causes in format 3, as the version that wrote it made them.
const TRIGGERS_OF_FORMAT_3: &str = "
CREATE TRIGGER dead_letter_came AFTER INSERT ON dead_letter_states BEGIN
    INSERT INTO dead_letter_causes (fingerprint, status, function, class, dead_letters)
        VALUES (new.fingerprint, new.status, new.function, new.class, 1)
        ON CONFLICT DO UPDATE SET dead_letters = dead_letters + 1;
END;
CREATE TRIGGER dead_letter_changed AFTER UPDATE OF fingerprint, status ON dead_letter_states
WHEN old.status <> new.status OR old.fingerprint <> new.fingerprint BEGIN
    UPDATE dead_letter_causes SET dead_letters = dead_letters - 1
        WHERE fingerprint = old.fingerprint AND status = old.status;
    DELETE FROM dead_letter_causes
        WHERE fingerprint = old.fingerprint AND status = old.status AND dead_letters = 0;
    INSERT INTO dead_letter_causes (fingerprint, status, function, class, dead_letters)
        VALUES (new.fingerprint, new.status, new.function, new.class, 1)
        ON CONFLICT DO UPDATE SET dead_letters = dead_letters + 1;
END;
CREATE TRIGGER dead_letter_went AFTER DELETE ON dead_letter_states BEGIN
    UPDATE dead_letter_causes SET dead_letters = dead_letters - 1
        WHERE fingerprint = old.fingerprint AND status = old.status;
    DELETE FROM dead_letter_causes
        WHERE fingerprint = old.fingerprint AND status = old.status AND dead_letters = 0;
END;
PRAGMA user_version = 3;
";

/// With the triggers of format 3 left in place, each change would be counted twice.
#[tokio::test]
async fn a_store_of_format_3_counts_each_change_once() {
    let place = Place::new();
    write_format_1(&place);
    place.open().close().await.unwrap();
    Connection::open(place.path()).unwrap().execute_batch(TRIGGERS_OF_FORMAT_3).unwrap();
    let store = place.open();
    let act = Act { by: "a".to_owned(), reason: "of no use".to_owned(), at: Timestamp::from_millis(90) };
    store.discard(&[DeadLetterId(3), DeadLetterId(4)], &act).await.unwrap();
    let discarded =
        DeadLetterFilter { status: vec![DeadLetterStatus::Discarded], ..DeadLetterFilter::default() };
    assert_eq!(store.dead_letter_causes(&discarded, 10).await.unwrap().dead_letters, 2);
    store.close().await.unwrap();
    assert_eq!(check(&place.path()).unwrap().problems, [""; 0]);
}

/// New checksums would make the damage pass for a checkpoint.
#[tokio::test]
async fn a_damaged_checkpoint_is_not_taken_over() {
    let place = Place::new();
    write_format_1(&place);
    Connection::open(place.path()).unwrap().execute("UPDATE checkpoints SET position = 500", []).unwrap();
    for _ in 0..2 {
        let opened = SqliteStore::open(&place.path(), &StoreOptions::default(), SystemClock::shared());
        let error = opened.err().expect("the store is refused");
        assert!(
            matches!(&error, OpenError::Store(StoreError::Damaged { detail }) if detail.contains("track/flights/3")),
            "{error}"
        );
    }
    let format: i64 = Connection::open(place.path())
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(format, 1, "nothing was changed");
}

/// The log of the migration, cut at each of its frames: a crash leaves format 1, and the next start goes on from there.
#[tokio::test]
async fn a_crash_in_the_middle_leaves_format_1() {
    let place = Place::new();
    write_format_1(&place);
    let before = std::fs::read(place.path()).unwrap();
    let wal_path = place.path().with_extension("db-wal");
    // A reader holds the log back in its place until it was copied.
    let reader = Connection::open(place.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM dead_letters").unwrap();
    let watcher = Connection::open(place.path()).unwrap();
    let format = || watcher.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    let wal = std::thread::scope(|threads| {
        let opening = threads.spawn(|| place.open());
        while format() != Ok(4) {
            std::thread::yield_now();
        }
        let wal = std::fs::read(&wal_path).unwrap();
        drop(reader);
        drop(opening.join().unwrap());
        wal
    });
    let frames = (wal.len() - 32) / (24 + 2048);
    assert!(frames > 40, "{frames} frames");
    for cut in (0..frames).step_by(7) {
        let copy = Place::new();
        std::fs::write(copy.path(), &before).unwrap();
        std::fs::write(copy.path().with_extension("db-wal"), &wal[..32 + cut * (24 + 2048)]).unwrap();
        let store = copy.open();
        let letters = store.list_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await.unwrap();
        assert!(letters.iter().eq(&(0..250).map(letter).collect::<Vec<_>>()), "after {cut} frames");
        store.close().await.unwrap();
        assert_eq!(check(&copy.path()).unwrap().problems, [""; 0], "after {cut} frames");
    }
}
