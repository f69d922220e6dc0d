//! The audit trail: a line for each act, written with it.

use rusqlite::{Connection, params};
use serde_json::Value;
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::StoreError;
use tidegate_model::trail::{Act, NewTrailEntry, TrailEntry};

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, unsigned};

/// The columns of a line, as [`read`] expects them.
const COLUMNS: &str = "number, action, subject, who, reason, at, detail, checksum";

impl SqliteStore {
    /// Removes lines of the audit trail that are from before `before`, the oldest first and at most `most`; how many were
    /// removed. It stops at the first line that is younger, so that the trail has no gap, and keeps the last line, so that
    /// no number is given twice.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn prune_trail(&self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.write(move |connection| prune(connection, before, most)).await
    }
}

fn prune(connection: &Connection, before: Timestamp, most: usize) -> Result<usize, Failure> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut oldest = connection.prepare_cached(
        "SELECT number, at FROM trail WHERE number < (SELECT max(number) FROM trail) ORDER BY number LIMIT ?1",
    )?;
    let mut rows = oldest.query([most])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before.as_millis() {
            break;
        }
        last = Some(row.get::<_, i64>(0)?);
    }
    drop(rows);
    let Some(last) = last else { return Ok(0) };
    Ok(connection.prepare_cached("DELETE FROM trail WHERE number <= ?1")?.execute([last])?)
}

/// Writes the next line.
pub(crate) fn append(connection: &Connection, entry: &NewTrailEntry) -> Result<(), Failure> {
    write(connection, entry.action, &entry.subject, &entry.act, &entry.detail)
}

/// Writes the next line.
pub(crate) fn write(
    connection: &Connection,
    action: &str,
    subject: &str,
    act: &Act,
    detail: &Value,
) -> Result<(), Failure> {
    // The last line is never removed, so the next number is one more than its own.
    let mut last = connection.prepare_cached("SELECT coalesce(max(number), 0) FROM trail")?;
    let number = last.query_row([], |row| row.get::<_, i64>(0))? + 1;
    let (at, detail) = (act.at.as_millis(), detail.to_string());
    let checksum = checksum(number, [action, subject, &act.by, &act.reason, &detail], at);
    let mut write = connection.prepare_cached(
        "INSERT INTO trail (number, action, subject, who, reason, at, detail, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    write.execute(params![number, action, subject, act.by, act.reason, at, detail, checksum])?;
    Ok(())
}

/// At most `limit` lines with numbers greater than `after`, in order; of one subject if given.
pub(crate) fn list(
    connection: &Connection,
    subject: Option<&str>,
    after: u64,
    limit: usize,
) -> Result<Vec<TrailEntry>, Failure> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // The index orders the lines of a subject by number.
    let of_subject = if subject.is_some() { "AND subject = ?3" } else { "AND ?3 IS NULL" };
    let mut page = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM trail WHERE number > ?1 {of_subject} ORDER BY number LIMIT ?2"
    ))?;
    let mut rows = page.query(params![after, limit, subject])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(read(row)?);
    }
    Ok(entries)
}

/// At most `limit` lines with numbers less than `before`, the newest first; of one subject if given.
pub(crate) fn list_back(
    connection: &Connection,
    subject: Option<&str>,
    before: u64,
    limit: usize,
) -> Result<Vec<TrailEntry>, Failure> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let of_subject = if subject.is_some() { "AND subject = ?3" } else { "AND ?3 IS NULL" };
    let mut page = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM trail WHERE number < ?1 {of_subject} ORDER BY number DESC LIMIT ?2"
    ))?;
    let mut rows = page.query(params![before, limit, subject])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(read(row)?);
    }
    Ok(entries)
}

/// Calls `each` with every line, in order.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Result<TrailEntry, Failure>),
) -> Result<(), Failure> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM trail ORDER BY number"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        each(read(row));
    }
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> Result<TrailEntry, Failure> {
    let (number, at) = (row.get(0)?, row.get(5)?);
    let texts: [String; 5] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(6)?];
    if row.get::<_, i64>(7)? != checksum(number, texts.each_ref().map(String::as_str), at) {
        return Err(Failure::Stored(format!("line {number} of the audit trail does not match its checksum")));
    }
    let [action, subject, by, reason, detail] = texts;
    let detail = serde_json::from_str(&detail).map_err(|error| {
        Failure::Stored(format!("the detail of line {number} of the audit trail: {error}"))
    })?;
    let act = Act { by, reason, at: Timestamp::from_millis(at) };
    Ok(TrailEntry { number: unsigned(number, "line's number")?, action, subject, act, detail })
}

/// The checksum of a line; `texts` are action, subject, who, reason and detail.
fn checksum(number: i64, texts: [&str; 5], at: i64) -> i64 {
    let checksum = Checksum::of("trail").number(number).number(at);
    texts.into_iter().fold(checksum, |checksum, text| checksum.bytes(text.as_bytes())).value()
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::SystemClock;
    use tidegate_model::ports::DeadLetters as _;

    use super::*;
    use crate::options::StoreOptions;

    async fn numbers(store: &SqliteStore) -> Vec<u64> {
        store.trail(None, 0, 1000).await.unwrap().iter().map(|entry| entry.number).collect()
    }

    async fn act_at(store: &SqliteStore, millis: i64) {
        let act = Act { by: "mia".to_owned(), reason: String::new(), at: Timestamp::from_millis(millis) };
        store.write(move |connection| write(connection, "test.act", "f", &act, &Value::Null)).await.unwrap();
    }

    #[tokio::test]
    async fn old_lines_go_in_small_steps_from_the_beginning_and_numbers_are_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = SqliteStore::open(&path, &StoreOptions::default(), SystemClock::shared()).unwrap();
        let prune =
            async |before, most| store.prune_trail(Timestamp::from_millis(before), most).await.unwrap();
        assert_eq!(prune(i64::MAX, 10).await, 0, "there is nothing");
        // The clock went back before the sixth.
        for at in [10, 20, 30, 40, 50, 5, 60] {
            act_at(&store, at).await;
        }
        assert_eq!(prune(10, 10).await, 0, "nothing is that old");
        assert_eq!(prune(45, 3).await, 3);
        assert_eq!(numbers(&store).await, [4, 5, 6, 7]);
        assert_eq!((prune(45, 3).await, prune(45, 3).await), (1, 0), "behind a younger line nothing goes");
        assert_eq!(numbers(&store).await, [5, 6, 7]);
        let back = async |subject, before| {
            let lines = store.newest_trail(subject, before, 2).await.unwrap();
            lines.iter().map(|entry| entry.number).collect::<Vec<_>>()
        };
        assert_eq!((back(None, None).await, back(Some("f"), Some(6)).await), (vec![7, 6], vec![5]));
        assert_eq!(back(Some("g"), None).await, [0; 0]);
        assert_eq!(prune(i64::MAX, 1000).await, 2, "the last stays");
        act_at(&store, 70).await;
        assert_eq!(numbers(&store).await, [7, 8]);
        store.close().await.unwrap();
        assert_eq!(crate::check::check(&path).unwrap().problems, [""; 0]);
    }
}
