//! The numbers of lanes: what is parked is named by a number, not by three names in every row and index.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use tidegate_model::checkpoint::Lane;

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::ownerships::{lane, lane_key};

/// The number of a lane that ever had something parked.
pub(crate) fn number_of(connection: &Connection, lane: &Lane) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached(
        "SELECT number, checksum FROM lanes WHERE function = ?1 AND hub = ?2 AND partition = ?3",
    )?;
    let found = find.query_row(lane_key(lane), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    found.map(|(number, stored)| verified(lane, number, stored)).transpose()
}

/// The number of a lane; a new one if it has none.
pub(crate) fn number_or_new(connection: &Connection, lane: &Lane) -> Result<i64, Failure> {
    if let Some(number) = number_of(connection, lane)? {
        return Ok(number);
    }
    let mut last = connection.prepare_cached("SELECT coalesce(max(number), 0) FROM lanes")?;
    let number = last.query_row([], |row| row.get::<_, i64>(0))? + 1;
    let (function, hub, partition) = lane_key(lane);
    connection
        .prepare_cached(
            "INSERT INTO lanes (function, hub, partition, number, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![function, hub, partition, number, checksum(lane, number)])?;
    Ok(number)
}

/// All lanes with numbers.
pub(crate) fn all(connection: &Connection) -> Result<BTreeMap<i64, Lane>, Failure> {
    let mut all =
        connection.prepare_cached("SELECT function, hub, partition, number, checksum FROM lanes")?;
    let mut rows = all.query([])?;
    let mut lanes = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let lane = lane(row)?;
        lanes.insert(verified(&lane, row.get(3)?, row.get(4)?)?, lane);
    }
    Ok(lanes)
}

fn verified(lane: &Lane, number: i64, stored: i64) -> Result<i64, Failure> {
    if stored == checksum(lane, number) {
        Ok(number)
    } else {
        Err(Failure::Stored(format!("the number of the lane {lane} does not match its checksum")))
    }
}

fn checksum(lane: &Lane, number: i64) -> i64 {
    Checksum::of("lanes").lane(lane).number(number).value()
}
