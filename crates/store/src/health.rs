//! How functions fare: a row for each second, circuit and instance, added to by commits.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::health::{BUCKET_MILLIS, HealthCounts, HealthRecord, InstanceHealth, KEPT_FOR};

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::sqlite_store::{integer, unsigned};

/// The columns of a row, as [`read`] expects them.
const COLUMNS: &str =
    "second, circuit, instance, succeeded, failing, failed_attempts, failed, failed_lanes, checksum";

/// Adds what happened to what is stored for the same second.
pub(crate) fn add(connection: &Connection, record: &HealthRecord) -> Result<(), Failure> {
    let second = record.second.as_millis();
    let (circuit, instance) = (record.circuit.as_str(), record.instance.as_str());
    let mut find = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM health WHERE second = ?1 AND circuit = ?2 AND instance = ?3"
    ))?;
    let before = find.query_row(params![second, circuit, instance], |row| Ok(read(row))).optional()?;
    let before = before.transpose()?.map(|(_, counts)| counts).unwrap_or_default();
    let sum = |before: u64, more: u64| integer(before.saturating_add(more), "count");
    let counts = [
        sum(before.succeeded, record.counts.succeeded)?,
        sum(before.failing, record.counts.failing)?,
        sum(before.failed_attempts, record.counts.failed_attempts)?,
        sum(before.failed, record.counts.failed)?,
        sum(before.failed_lanes, record.counts.failed_lanes)?,
    ];
    let [succeeded, failing, failed_attempts, failed, failed_lanes] = counts;
    connection
        .prepare_cached(
            "REPLACE INTO health (second, circuit, instance, succeeded, failing, failed_attempts, failed,
                                  failed_lanes, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            second,
            circuit,
            instance,
            succeeded,
            failing,
            failed_attempts,
            failed,
            failed_lanes,
            checksum(second, circuit, instance, &counts),
        ])?;
    Ok(())
}

/// What each instance had since `since`, ordered by instance.
pub(crate) fn since(
    connection: &Connection,
    circuit: &FunctionName,
    since: Timestamp,
) -> Result<Vec<InstanceHealth>, Failure> {
    let mut window = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM health WHERE second >= ?1 AND circuit = ?2"))?;
    let mut rows = window.query((since.as_millis(), circuit.as_str()))?;
    let mut instances = BTreeMap::<String, HealthCounts>::new();
    while let Some(row) = rows.next()? {
        let (instance, counts) = read(row)?;
        *instances.entry(instance).or_default() += counts;
    }
    let instances = instances.into_iter();
    Ok(instances.map(|(instance, counts)| InstanceHealth { instance, counts }).collect())
}

/// Forgets the seconds that are not kept at `now`. They are the first of the table, so it takes no time when there are
/// none.
pub(crate) fn forget(connection: &Connection, now: Timestamp) -> Result<(), Failure> {
    connection
        .prepare_cached("DELETE FROM health WHERE second < ?1")?
        .execute([now.minus(KEPT_FOR).as_millis()])?;
    Ok(())
}

/// The bucket that a time is in: old seconds are forgotten once in each.
pub(crate) fn bucket(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(BUCKET_MILLIS)
}

/// Calls `each` with every row.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Result<(String, HealthCounts), Failure>),
) -> Result<(), Failure> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM health"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        each(read(row));
    }
    Ok(())
}

/// The instance of a row, and its counts.
fn read(row: &Row<'_>) -> Result<(String, HealthCounts), Failure> {
    let (second, circuit, instance): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let counts: [i64; 5] = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?];
    if row.get::<_, i64>(8)? != checksum(second, &circuit, &instance, &counts) {
        let second = Timestamp::from_millis(second);
        return Err(Failure::Stored(format!(
            "the health of {circuit} at {instance} in the second {second} does not match its checksum"
        )));
    }
    let [succeeded, failing, failed_attempts, failed, failed_lanes] = counts;
    let counts = HealthCounts {
        succeeded: unsigned(succeeded, "count")?,
        failing: unsigned(failing, "count")?,
        failed_attempts: unsigned(failed_attempts, "count")?,
        failed: unsigned(failed, "count")?,
        failed_lanes: unsigned(failed_lanes, "count")?,
    };
    Ok((instance, counts))
}

fn checksum(second: i64, circuit: &str, instance: &str, counts: &[i64; 5]) -> i64 {
    let checksum = Checksum::of("health").number(second).bytes(circuit.as_bytes()).bytes(instance.as_bytes());
    counts.iter().fold(checksum, |checksum, count| checksum.number(*count)).value()
}
