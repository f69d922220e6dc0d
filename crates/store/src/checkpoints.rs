//! How far the lanes are.

use async_trait::async_trait;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use tidegate_model::attempt::EventAttempts;
use tidegate_model::checkpoint::{Checkpoint, Lane};
use tidegate_model::clock::Timestamp;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, StoreError};
use tidegate_model::position::{Incarnation, SequenceNumber};
use tidegate_model::trail::NewTrailEntry;

use crate::attempts;
use crate::checksum::Checksum;
use crate::error::Failure;
use crate::ownerships::{lane, lane_key};
use crate::seek::seek;
use crate::sqlite_store::{SqliteStore, integer, unsigned};

/// The columns of a checkpoint, as [`read`] expects them.
const COLUMNS: &str = "function, hub, partition, incarnation, start, position, applied, filtered, dead_lettered, parked, discarded, \
                       lost, updated_at, checksum";

#[async_trait]
impl Checkpoints for SqliteStore {
    async fn checkpoint(&self, lane: &Lane) -> Result<Option<Checkpoint>, StoreError> {
        let lane = lane.clone();
        self.readers.run(move |connection| find(connection, &lane)).await
    }

    async fn begin(
        &self,
        lane: &Lane,
        incarnation: Incarnation,
        start: SequenceNumber,
        at: Timestamp,
    ) -> Result<Checkpoint, StoreError> {
        let first = Checkpoint {
            lane: lane.clone(),
            incarnation,
            start,
            position: start,
            counts: OutcomeCounts::default(),
            updated_at: at,
        };
        self.writer
            .run(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                if let Some(stored) = find(&transaction, &first.lane)? {
                    return Ok(stored);
                }
                write(&transaction, &first)?;
                transaction.commit()?;
                Ok(first)
            })
            .await
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        self.readers.run(|connection| all(connection)).await
    }

    async fn attempts(&self, lane: &Lane) -> Result<Vec<EventAttempts>, StoreError> {
        let lane = lane.clone();
        self.readers.run(move |connection| attempts::of_lane(connection, &lane)).await
    }

    async fn seek(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        to: SequenceNumber,
        entry: NewTrailEntry,
    ) -> Result<Checkpoint, StoreError> {
        let lane = lane.clone();
        self.write_durably(move |connection| seek(connection, &lane, from, to, &entry)).await
    }
}

/// All checkpoints, ordered by lane.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Checkpoint>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM checkpoints ORDER BY function, hub, partition");
    let mut all = connection.prepare_cached(&sql)?;
    let mut rows = all.query([])?;
    let mut checkpoints = Vec::new();
    while let Some(row) = rows.next()? {
        checkpoints.push(read(row)?);
    }
    Ok(checkpoints)
}

/// The checkpoint of a lane, if it has one.
pub(crate) fn find(connection: &Connection, lane: &Lane) -> Result<Option<Checkpoint>, Failure> {
    let sql =
        format!("SELECT {COLUMNS} FROM checkpoints WHERE function = ?1 AND hub = ?2 AND partition = ?3");
    let mut find = connection.prepare_cached(&sql)?;
    let mut rows = find.query(lane_key(lane))?;
    rows.next()?.map(read).transpose()
}

/// Makes this the checkpoint of its lane.
pub(crate) fn write(connection: &Connection, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let (function, hub, partition) = lane_key(&checkpoint.lane);
    let counts = checkpoint.counts;
    let numbers = [
        integer(checkpoint.start.0, "sequence number")?,
        integer(checkpoint.position.0, "sequence number")?,
        integer(counts.applied, "count")?,
        integer(counts.filtered, "count")?,
        integer(counts.dead_lettered, "count")?,
        integer(counts.parked, "count")?,
        integer(counts.discarded, "count")?,
        integer(counts.lost, "count")?,
        checkpoint.updated_at.as_millis(),
    ];
    let incarnation = checkpoint.incarnation.0.into_bytes();
    let mut write = connection.prepare_cached(
        "REPLACE INTO checkpoints (function, hub, partition, incarnation, start, position, applied, filtered,
                                   dead_lettered, parked, discarded, lost, updated_at, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let [start, position, applied, filtered, dead_lettered, parked, discarded, lost, updated_at] = numbers;
    write.execute(params![
        function,
        hub,
        partition,
        incarnation,
        start,
        position,
        applied,
        filtered,
        dead_lettered,
        parked,
        discarded,
        lost,
        updated_at,
        checksum(&checkpoint.lane, &incarnation, &numbers),
    ])?;
    Ok(())
}

/// Removes the checkpoint of a lane.
pub(crate) fn remove(connection: &Connection, lane: &Lane) -> Result<(), Failure> {
    let mut remove = connection
        .prepare_cached("DELETE FROM checkpoints WHERE function = ?1 AND hub = ?2 AND partition = ?3")?;
    remove.execute(lane_key(lane))?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Checkpoint, Failure> {
    let lane = lane(row)?;
    let incarnation: [u8; 16] = row.get(3)?;
    let mut numbers = [0; 9];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = row.get(4 + index)?;
    }
    if row.get::<_, i64>(13)? != checksum(&lane, &incarnation, &numbers) {
        return Err(Failure::Stored(format!("the checkpoint of {lane} does not match its checksum")));
    }
    let [start, position, applied, filtered, dead_lettered, parked, discarded, lost, updated_at] = numbers;
    Ok(Checkpoint {
        lane,
        incarnation: Incarnation(uuid::Uuid::from_bytes(incarnation)),
        start: SequenceNumber(unsigned(start, "sequence number")?),
        position: SequenceNumber(unsigned(position, "sequence number")?),
        counts: OutcomeCounts {
            applied: unsigned(applied, "count")?,
            filtered: unsigned(filtered, "count")?,
            dead_lettered: unsigned(dead_lettered, "count")?,
            parked: unsigned(parked, "count")?,
            discarded: unsigned(discarded, "count")?,
            lost: unsigned(lost, "count")?,
        },
        updated_at: Timestamp::from_millis(updated_at),
    })
}

fn checksum(lane: &Lane, incarnation: &[u8; 16], numbers: &[i64]) -> i64 {
    let checksum = Checksum::of("checkpoints").lane(lane).bytes(incarnation);
    numbers.iter().fold(checksum, |checksum, number| checksum.number(*number)).value()
}
