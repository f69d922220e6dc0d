//! The newest edit of each dead letter that was edited.

use rusqlite::{Connection, params};
use tidegate_model::event::EventData;

use crate::checksum::Checksum;
use crate::codec;
use crate::error::Failure;

/// Makes this the newest edit of a dead letter. Its partition key is that of the event.
pub(super) fn write(
    connection: &Connection,
    id: i64,
    revision: u32,
    event: &EventData,
) -> Result<(), Failure> {
    let properties = codec::encode_properties(&event.properties);
    let system_properties = codec::encode_properties(&event.system_properties);
    let body: &[u8] = &event.body;
    let checksum = checksum(id, revision, &properties, &system_properties, body);
    connection
        .prepare_cached(
            "REPLACE INTO dead_letter_edits (id, checksum, properties, system_properties, body)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id, checksum, properties, system_properties, body])?;
    Ok(())
}

/// The newest edit of a dead letter, which is this revision, with the partition key of `original`.
pub(super) fn find(
    connection: &Connection,
    id: i64,
    revision: u32,
    original: &EventData,
) -> Result<EventData, Failure> {
    let stored = |what: &str| Failure::Stored(format!("the edit of the dead letter {id} {what}"));
    let mut find = connection.prepare_cached(
        "SELECT checksum, properties, system_properties, body FROM dead_letter_edits WHERE id = ?1",
    )?;
    let mut rows = find.query([id])?;
    let row = rows.next()?.ok_or_else(|| stored("is missing"))?;
    let (properties, system_properties): (String, String) = (row.get(1)?, row.get(2)?);
    let body: Vec<u8> = row.get(3)?;
    if row.get::<_, i64>(0)? != checksum(id, revision, &properties, &system_properties, &body) {
        return Err(stored("does not match its checksum"));
    }
    Ok(EventData {
        partition_key: original.partition_key.clone(),
        properties: codec::decode_properties(&properties).map_err(|error| stored(&error))?,
        system_properties: codec::decode_properties(&system_properties).map_err(|error| stored(&error))?,
        body: body.into(),
        amqp: None,
    })
}

fn checksum(id: i64, revision: u32, properties: &str, system_properties: &str, body: &[u8]) -> i64 {
    Checksum::of("dead_letter_edits")
        .number(id)
        .number(revision.into())
        .bytes(properties.as_bytes())
        .bytes(system_properties.as_bytes())
        .bytes(body)
        .value()
}
