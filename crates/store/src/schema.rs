//! The tables, and how a file becomes a store.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Failure, OpenError, store_error};

/// `application_id` of a store file: "Tide".
pub(crate) const APPLICATION_ID: i64 = 0x5469_6465;

/// The format that this version writes; kept in `user_version`.
pub(crate) const FORMAT: i64 = 1;

/// The tables of format 1; `documents_<n>` comes with the first document of collection n. Times are milliseconds since
/// 1970 in UTC, checksums those of [`crate::checksum`].
const TABLES: &str = "
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
";

/// The tables of [`TABLES`].
pub(crate) const TABLE_NAMES: [&str; 6] =
    ["counters", "ownerships", "checkpoints", "attempts", "dead_letters", "collections"];

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

/// Makes sure that the file is a store of a format that this version knows; an empty one becomes one.
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
        transaction.execute_batch(TABLES).map_err(failed)?;
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
    if format < FORMAT {
        let detail = format!("it says that it has store format {format}, which never was");
        return Err(OpenError::Store(Failure::Stored(detail).at(path)));
    }
    read_a_row_of_each_table(&transaction).map_err(failed)
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
