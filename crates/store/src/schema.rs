//! The tables, and how a file becomes a store.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Failure, OpenError, store_error};
use crate::migration;

/// `application_id` of a store file: "Tide".
pub(crate) const APPLICATION_ID: i64 = 0x5469_6465;

/// The format that this version writes; kept in `user_version`.
pub(crate) const FORMAT: i64 = 4;

/// The tables that are what they were in format 1; `documents_<n>` comes with the first document of collection n. Times
/// are milliseconds since 1970 in UTC, checksums those of [`crate::checksum`].
const TABLES_SINCE_1: &str = "
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

CREATE TABLE collections (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    documents INTEGER NOT NULL
) STRICT;
";

/// The tables that are new in format 2, or have other columns than in format 1.
///
/// What changes in the life of a dead letter is apart from its story, which holds the event: an act rewrites a small row,
/// and what looks for dead letters or counts them reads no bodies. It is the same with what is parked.
pub(crate) const TABLES_SINCE_2: &str = "
INSERT INTO counters (name, value) VALUES ('parked', 0);

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
    discarded INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (function, hub, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
    function TEXT NOT NULL,
    hub TEXT NOT NULL,
    partition INTEGER NOT NULL,
    number INTEGER NOT NULL UNIQUE,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (function, hub, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE parked (
    lane INTEGER NOT NULL,
    sequence_number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    partition_key TEXT,
    turn_at INTEGER,
    held TEXT,
    parked_at INTEGER NOT NULL,
    redrive_of INTEGER,
    incarnation BLOB NOT NULL,
    enqueued_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    event INTEGER NOT NULL,
    attempts TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (lane, sequence_number)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_by_key ON parked (lane, partition_key, sequence_number);
CREATE INDEX parked_by_age ON parked (lane, parked_at);
CREATE INDEX parked_held ON parked (lane) WHERE held IS NOT NULL;

CREATE TABLE parked_events (
    number INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    properties TEXT NOT NULL,
    system_properties TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE parked_keys (
    lane INTEGER NOT NULL,
    partition_key TEXT NOT NULL,
    head INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (lane, partition_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letter_states (
    id INTEGER PRIMARY KEY,
    function TEXT NOT NULL,
    hub TEXT NOT NULL,
    partition INTEGER NOT NULL,
    sequence_number INTEGER NOT NULL,
    partition_key TEXT,
    class TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    dead_lettered_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    redrives INTEGER NOT NULL,
    returns INTEGER NOT NULL,
    lease_holder TEXT,
    lease_until INTEGER,
    leases INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_function ON dead_letter_states (function, status);
CREATE INDEX dead_letters_by_cause ON dead_letter_states (fingerprint, status);
CREATE INDEX dead_letters_by_time ON dead_letter_states (dead_lettered_at);
CREATE INDEX dead_letters_by_place ON dead_letter_states (function, hub, partition, sequence_number);

CREATE TABLE dead_letter_edits (
    id INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    properties TEXT NOT NULL,
    system_properties TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE trail (
    number INTEGER PRIMARY KEY,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX trail_by_subject ON trail (subject);

CREATE TABLE registers (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    value TEXT,
    changed_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    notice INTEGER NOT NULL,
    target TEXT NOT NULL,
    tries INTEGER NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    error TEXT,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (notice, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE health (
    second INTEGER NOT NULL,
    circuit TEXT NOT NULL,
    instance TEXT NOT NULL,
    succeeded INTEGER NOT NULL,
    failing INTEGER NOT NULL,
    failed_attempts INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    failed_lanes INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (second, circuit, instance)
) STRICT, WITHOUT ROWID;
";

/// What is new in format 3: how many dead letters of each cause there are in each status, an index that finds the first and
/// the last of them, and one that finds those of a key. In format 3 triggers did the counting; format 4 has none.
///
/// The counts can be counted anew from the states, and have no checksums: a check compares them.
pub(crate) const TABLES_SINCE_3: &str = "
CREATE TABLE dead_letter_causes (
    fingerprint INTEGER NOT NULL,
    status TEXT NOT NULL,
    function TEXT NOT NULL,
    class TEXT NOT NULL,
    dead_letters INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, status)
) STRICT, WITHOUT ROWID;
INSERT INTO dead_letter_causes (fingerprint, status, function, class, dead_letters)
    SELECT fingerprint, status, min(function), min(class), count(*) FROM dead_letter_states GROUP BY fingerprint, status;

CREATE INDEX dead_letters_by_cause_and_time ON dead_letter_states (fingerprint, status, dead_lettered_at);
CREATE INDEX dead_letters_by_key ON dead_letter_states (partition_key) WHERE partition_key IS NOT NULL;
";

/// The tables that every store has.
pub(crate) const TABLE_NAMES: [&str; 18] = [
    "counters",
    "ownerships",
    "checkpoints",
    "attempts",
    "dead_letters",
    "dead_letter_states",
    "dead_letter_edits",
    "dead_letter_causes",
    "collections",
    "lanes",
    "parked",
    "parked_events",
    "parked_keys",
    "trail",
    "registers",
    "notices",
    "deliveries",
    "health",
];

/// The name of the table with the documents of a collection.
pub(crate) fn documents_table(collection_number: i64) -> String {
    format!("documents_{collection_number}")
}

/// Makes the table for the documents of a collection.
///
/// It has a row number and an index over the ids, rather than the ids as its key: new documents then go to its end,
/// which takes a fifth of the time of placing each among the others.
pub(crate) fn create_documents_table(
    connection: &Connection,
    collection_number: i64,
) -> rusqlite::Result<()> {
    let table = documents_table(collection_number);
    connection.execute_batch(&format!(
        "CREATE TABLE {table} (
            id TEXT NOT NULL UNIQUE,
            partition INTEGER NOT NULL,
            sequence_number INTEGER NOT NULL,
            etag INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            body TEXT NOT NULL
        ) STRICT"
    ))
}

/// Makes sure that the file is a store of the format that this version writes: an empty one becomes one, and one of an
/// earlier format is brought up to it, whole or not at all.
pub(crate) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::Store(store_error(&error, path));
    // Decided under the write lock, so that of two programs that make the same file one does.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let pragma =
        |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    let tables =
        || transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let (application_id, format) = (pragma("application_id")?, pragma("user_version")?);
    if application_id == 0 && format == 0 && tables().map_err(failed)? == 0 {
        transaction.execute_batch(TABLES_SINCE_1).map_err(failed)?;
        transaction.execute_batch(TABLES_SINCE_2).map_err(failed)?;
        transaction.execute_batch(TABLES_SINCE_3).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
        return transaction.commit().map_err(failed);
    }
    if application_id != APPLICATION_ID {
        return Err(OpenError::NotAStore { path: path.to_owned(), application_id });
    }
    if format > FORMAT {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found: format, known: FORMAT });
    }
    match format {
        FORMAT => {}
        1..FORMAT => {
            migration::from(&transaction, format).map_err(|failure| OpenError::Store(failure.at(path)))?;
        }
        never => {
            let detail = format!("it says that it has store format {never}, which never was");
            return Err(OpenError::Store(Failure::Stored(detail).at(path)));
        }
    }
    read_a_row_of_each_table(&transaction).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// The cheap check at opening: every table can be found, and the first page of each has its form.
fn read_a_row_of_each_table(connection: &Connection) -> rusqlite::Result<()> {
    let mut tables = TABLE_NAMES.map(str::to_owned).to_vec();
    let mut numbers = connection.prepare("SELECT number FROM collections")?;
    for number in numbers.query_map([], |row| row.get(0))? {
        tables.push(documents_table(number?));
    }
    for table in tables {
        let mut rows = connection.prepare(&format!("SELECT * FROM {table} LIMIT 1"))?;
        rows.query([])?.next()?;
    }
    Ok(())
}
