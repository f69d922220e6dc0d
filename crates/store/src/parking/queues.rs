//! The queues of keys: for each key its head, and how many events and bytes wait, so that nobody has to count them.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_model::checkpoint::Lane;
use tidegate_model::parking::ParkedEvent;

use super::lanes;
use super::rows::{self, ParkedRow};
use crate::checksum::Checksum;
use crate::error::Failure;

/// The queue of a key as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    /// The sequence number of its head.
    pub(crate) head: i64,
    /// How many events it has.
    pub(crate) queued: i64,
    /// Their sizes together.
    pub(crate) bytes: i64,
}

/// The parking place of a lane while events come and go; [`finish`](Self::finish) ends it.
///
/// The rows are written at once, the queues of their keys once at the end, however many events of a key there were.
pub(crate) struct PlaceChange {
    lane: Lane,
    number: i64,
    keys: HashMap<String, KeyChange>,
}

/// What happened to the queue of a key.
#[derive(Default)]
struct KeyChange {
    queued: i64,
    bytes: i64,
    /// The lowest sequence number that was added.
    lowest_added: Option<i64>,
    /// Whether an event was taken away, perhaps the head.
    removed: bool,
}

impl PlaceChange {
    /// Begins to change the parking place of a lane.
    pub(crate) fn begin(connection: &Connection, lane: &Lane) -> Result<Self, Failure> {
        Ok(Self { lane: lane.clone(), number: lanes::number_or_new(connection, lane)?, keys: HashMap::new() })
    }

    /// The lane's number.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// Parks an event of the lane.
    pub(crate) fn park(
        &mut self,
        connection: &Connection,
        parked: &ParkedEvent,
        version: i64,
    ) -> Result<(), Failure> {
        let row = rows::insert(connection, self.number, parked, version)?;
        if let Some(key) = row.partition_key {
            let change = self.keys.entry(key).or_default();
            change.queued += 1;
            change.bytes += row.size;
            let lowest = change.lowest_added.unwrap_or(row.sequence_number);
            change.lowest_added = Some(lowest.min(row.sequence_number));
        }
        Ok(())
    }

    /// Takes a parked event away.
    pub(crate) fn unpark(&mut self, connection: &Connection, row: ParkedRow) -> Result<(), Failure> {
        rows::delete(connection, self.number, &row)?;
        if let Some(key) = row.partition_key {
            let change = self.keys.entry(key).or_default();
            change.queued -= 1;
            change.bytes -= row.size;
            change.removed = true;
        }
        Ok(())
    }

    /// Writes the queues of the keys that changed.
    pub(crate) fn finish(self, connection: &Connection) -> Result<(), Failure> {
        let mut changes: Vec<_> = self.keys.into_iter().collect();
        // Neighbours are written to the same pages, one after the other.
        changes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (key, change) in changes {
            let before = find(connection, self.number, &self.lane, &key)?;
            let queued = before.map_or(0, |before| before.queued) + change.queued;
            let bytes = before.map_or(0, |before| before.bytes) + change.bytes;
            let head = if change.removed {
                head_of(connection, self.number, &key)?
            } else {
                before.map(|before| before.head).into_iter().chain(change.lowest_added).min()
            };
            match head {
                Some(head) if queued > 0 && bytes >= 0 => {
                    let write = if before.is_some() { update } else { insert };
                    write(connection, self.number, &self.lane, &key, Queue { head, queued, bytes })?;
                }
                None if queued == 0 && bytes == 0 => {
                    connection
                        .prepare_cached("DELETE FROM parked_keys WHERE lane = ?1 AND partition_key = ?2")?
                        .execute(params![self.number, key])?;
                }
                _ => {
                    let lane = &self.lane;
                    return Err(Failure::Stored(format!(
                        "the queue of the key {key:?} of {lane} counts {queued} events of {bytes} bytes, and its head is \
                         {head:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Makes the queues of a lane anew from what is parked.
pub(crate) fn rebuild(connection: &Connection, number: i64, lane: &Lane) -> Result<(), Failure> {
    connection.execute("DELETE FROM parked_keys WHERE lane = ?1", [number])?;
    for (key, queue) in counted(connection, number)? {
        insert(connection, number, lane, &key, queue)?;
    }
    Ok(())
}

/// The queues of a lane, counted event by event, ordered by key.
pub(crate) fn counted(connection: &Connection, number: i64) -> Result<Vec<(String, Queue)>, Failure> {
    let mut count = connection.prepare_cached(
        "SELECT partition_key, min(sequence_number), count(*), sum(size) FROM parked INDEXED BY parked_by_key
         WHERE lane = ?1 AND partition_key IS NOT NULL GROUP BY partition_key ORDER BY partition_key",
    )?;
    let mut rows = count.query([number])?;
    let mut queues = Vec::new();
    while let Some(row) = rows.next()? {
        queues.push((row.get(0)?, Queue { head: row.get(1)?, queued: row.get(2)?, bytes: row.get(3)? }));
    }
    Ok(queues)
}

/// Calls `each` with the stored queues of a lane, ordered by key.
pub(crate) fn for_each(
    connection: &Connection,
    number: i64,
    lane: &Lane,
    mut each: impl FnMut(String, Queue) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut all = connection.prepare_cached(
        "SELECT head, queued, bytes, checksum, partition_key FROM parked_keys WHERE lane = ?1
         ORDER BY partition_key",
    )?;
    let mut rows = all.query([number])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(4)?;
        let queue = read(row, lane, &key)?;
        each(key, queue)?;
    }
    Ok(())
}

fn find(connection: &Connection, number: i64, lane: &Lane, key: &str) -> Result<Option<Queue>, Failure> {
    let mut find = connection.prepare_cached(
        "SELECT head, queued, bytes, checksum FROM parked_keys WHERE lane = ?1 AND partition_key = ?2",
    )?;
    let mut rows = find.query(params![number, key])?;
    rows.next()?.map(|row| read(row, lane, key)).transpose()
}

fn read(row: &Row<'_>, lane: &Lane, key: &str) -> Result<Queue, Failure> {
    let queue = Queue { head: row.get(0)?, queued: row.get(1)?, bytes: row.get(2)? };
    if row.get::<_, i64>(3)? == checksum(lane, key, queue) {
        Ok(queue)
    } else {
        Err(Failure::Stored(format!("the queue of the key {key:?} of {lane} does not match its checksum")))
    }
}

fn insert(connection: &Connection, number: i64, lane: &Lane, key: &str, queue: Queue) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO parked_keys (lane, partition_key, head, queued, bytes, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![number, key, queue.head, queue.queued, queue.bytes, checksum(lane, key, queue)])?;
    Ok(())
}

fn update(connection: &Connection, number: i64, lane: &Lane, key: &str, queue: Queue) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE parked_keys SET head = ?3, queued = ?4, bytes = ?5, checksum = ?6
             WHERE lane = ?1 AND partition_key = ?2",
        )?
        .execute(params![number, key, queue.head, queue.queued, queue.bytes, checksum(lane, key, queue)])?;
    Ok(())
}

fn head_of(connection: &Connection, number: i64, key: &str) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached(
        "SELECT sequence_number FROM parked INDEXED BY parked_by_key WHERE lane = ?1 AND partition_key = ?2
         ORDER BY sequence_number LIMIT 1",
    )?;
    Ok(find.query_row(params![number, key], |row| row.get(0)).optional()?)
}

fn checksum(lane: &Lane, key: &str, queue: Queue) -> i64 {
    Checksum::of("parked_keys")
        .lane(lane)
        .bytes(key.as_bytes())
        .number(queue.head)
        .number(queue.queued)
        .number(queue.bytes)
        .value()
}
