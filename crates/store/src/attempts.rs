//! The failed attempts at events that lanes wait for.

use rusqlite::{Connection, params};
use tidegate_model::attempt::EventAttempts;
use tidegate_model::checkpoint::Lane;
use tidegate_model::position::SequenceNumber;

use crate::checksum::Checksum;
use crate::codec;
use crate::error::Failure;
use crate::ownerships::lane_key;
use crate::sqlite_store::{integer, unsigned};

/// The attempts of a lane, ordered by sequence number.
pub(crate) fn of_lane(connection: &Connection, lane: &Lane) -> Result<Vec<EventAttempts>, Failure> {
    let mut of_lane = connection.prepare_cached(
        "SELECT sequence_number, attempts, checksum FROM attempts
         WHERE function = ?1 AND hub = ?2 AND partition = ?3 ORDER BY sequence_number",
    )?;
    let mut rows = of_lane.query(lane_key(lane))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let stored =
            |what: &str| Failure::Stored(format!("the attempts at event {number} of {lane}: {what}"));
        if row.get::<_, i64>(2)? != checksum(lane, number, text) {
            return Err(stored("they do not match their checksum"));
        }
        events.push(EventAttempts {
            sequence_number: SequenceNumber(unsigned(number, "sequence number")?),
            attempts: codec::decode_attempts(text).map_err(|error| stored(&error))?,
        });
    }
    Ok(events)
}

/// Makes these the attempts at their event.
pub(crate) fn write(connection: &Connection, lane: &Lane, event: &EventAttempts) -> Result<(), Failure> {
    let (function, hub, partition) = lane_key(lane);
    let number = integer(event.sequence_number.0, "sequence number")?;
    let text = codec::encode_attempts(&event.attempts);
    let mut write = connection.prepare_cached(
        "REPLACE INTO attempts (function, hub, partition, sequence_number, attempts, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    write.execute(params![function, hub, partition, number, text, checksum(lane, number, &text)])?;
    Ok(())
}

/// Removes the attempts at events before `position`.
pub(crate) fn remove_before(
    connection: &Connection,
    lane: &Lane,
    position: SequenceNumber,
) -> Result<(), Failure> {
    let (function, hub, partition) = lane_key(lane);
    let position = integer(position.0, "sequence number")?;
    let mut remove = connection.prepare_cached(
        "DELETE FROM attempts WHERE function = ?1 AND hub = ?2 AND partition = ?3 AND sequence_number < ?4",
    )?;
    remove.execute(params![function, hub, partition, position])?;
    Ok(())
}

/// Removes all attempts of a lane.
pub(crate) fn remove_all(connection: &Connection, lane: &Lane) -> Result<(), Failure> {
    let mut remove = connection
        .prepare_cached("DELETE FROM attempts WHERE function = ?1 AND hub = ?2 AND partition = ?3")?;
    remove.execute(lane_key(lane))?;
    Ok(())
}

fn checksum(lane: &Lane, sequence_number: i64, text: &str) -> i64 {
    Checksum::of("attempts").lane(lane).number(sequence_number).bytes(text.as_bytes()).value()
}
