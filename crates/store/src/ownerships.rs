//! Who owns a lane.

use async_trait::async_trait;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use tidegate_model::checkpoint::{Epoch, FunctionName, Lane, Ownership};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{HubName, InvalidName};
use tidegate_model::ports::{Ownerships, StoreError};
use tidegate_model::position::PartitionId;

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, integer, unsigned};

/// The columns of an ownership, as [`read`] expects them.
const COLUMNS: &str = "function, hub, partition, owner, epoch, changed_at, checksum";

#[async_trait]
impl Ownerships for SqliteStore {
    async fn claim(&self, lane: &Lane, owner: &str, at: Timestamp) -> Result<Ownership, StoreError> {
        let (lane, owner) = (lane.clone(), owner.to_owned());
        self.writer
            .run(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let claimed = claim(&transaction, &lane, &owner, at)?;
                transaction.commit()?;
                Ok(claimed)
            })
            .await
    }

    async fn release(&self, lane: &Lane, epoch: Epoch, at: Timestamp) -> Result<(), StoreError> {
        let lane = lane.clone();
        self.writer
            .run(move |connection| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let stored = find(&transaction, &lane)?;
                if let Some(ours) = stored.filter(|stored| stored.epoch == epoch) {
                    write(&transaction, &Ownership { owner: String::new(), changed_at: at, ..ours })?;
                    transaction.commit()?;
                }
                Ok(())
            })
            .await
    }

    async fn ownerships(&self) -> Result<Vec<Ownership>, StoreError> {
        self.readers.run(|connection| all(connection)).await
    }
}

/// Makes `owner` the owner of a lane, under a new epoch.
pub(crate) fn claim(
    connection: &Connection,
    lane: &Lane,
    owner: &str,
    at: Timestamp,
) -> Result<Ownership, Failure> {
    let epoch = match find(connection, lane)? {
        Some(before) => Epoch(before.epoch.0 + 1),
        None => Epoch(1),
    };
    let claimed = Ownership { lane: lane.clone(), owner: owner.to_owned(), epoch, changed_at: at };
    write(connection, &claimed)?;
    Ok(claimed)
}

/// All ownerships, ordered by lane.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Ownership>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM ownerships ORDER BY function, hub, partition");
    let mut all = connection.prepare_cached(&sql)?;
    let mut rows = all.query([])?;
    let mut ownerships = Vec::new();
    while let Some(row) = rows.next()? {
        ownerships.push(read(row)?);
    }
    Ok(ownerships)
}

/// The ownership of a lane, if it ever had an owner.
pub(crate) fn find(connection: &Connection, lane: &Lane) -> Result<Option<Ownership>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM ownerships WHERE function = ?1 AND hub = ?2 AND partition = ?3");
    let mut find = connection.prepare_cached(&sql)?;
    let mut rows = find.query(lane_key(lane))?;
    rows.next()?.map(read).transpose()
}

fn write(connection: &Connection, ownership: &Ownership) -> Result<(), Failure> {
    let Ownership { lane, owner, epoch, changed_at } = ownership;
    let (function, hub, partition) = lane_key(lane);
    let (epoch, changed_at) = (integer(epoch.0, "epoch")?, changed_at.as_millis());
    let mut write = connection.prepare_cached(
        "REPLACE INTO ownerships (function, hub, partition, owner, epoch, changed_at, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let checksum = checksum(lane, owner, epoch, changed_at);
    write.execute(params![function, hub, partition, owner, epoch, changed_at, checksum])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Ownership, Failure> {
    let lane = lane(row)?;
    let owner: String = row.get(3)?;
    let (epoch, changed_at) = (row.get(4)?, row.get(5)?);
    if row.get::<_, i64>(6)? != checksum(&lane, &owner, epoch, changed_at) {
        return Err(Failure::Stored(format!("the ownership of {lane} does not match its checksum")));
    }
    let (epoch, changed_at) = (Epoch(unsigned(epoch, "epoch")?), Timestamp::from_millis(changed_at));
    Ok(Ownership { lane, owner, epoch, changed_at })
}

fn checksum(lane: &Lane, owner: &str, epoch: i64, changed_at: i64) -> i64 {
    Checksum::of("ownerships").lane(lane).bytes(owner.as_bytes()).number(epoch).number(changed_at).value()
}

/// A lane as the columns that name it.
pub(crate) fn lane_key(lane: &Lane) -> (&str, &str, u32) {
    (lane.function.as_str(), lane.hub.as_str(), lane.partition.0)
}

/// The lane in the first three columns of a row.
pub(crate) fn lane(row: &Row<'_>) -> Result<Lane, Failure> {
    let stored = |error: InvalidName| Failure::Stored(format!("a lane has a bad name: {error}"));
    let text = |index| Ok::<_, Failure>(row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?);
    Ok(Lane {
        function: FunctionName::new(text(0)?).map_err(stored)?,
        hub: HubName::new(text(1)?).map_err(stored)?,
        partition: PartitionId(row.get(2)?),
    })
}
