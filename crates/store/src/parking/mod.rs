//! The parking places: what is parked in each lane, and what a person does with it.

pub(crate) mod lanes;
pub(crate) mod queues;
pub(crate) mod rows;

use async_trait::async_trait;
use bytestring::ByteString;
use rusqlite::{Connection, TransactionBehavior, params};
use serde_json::json;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::Acted;
use tidegate_model::parking::{OrderKey, ParkedHead, ParkedVersion, ParkingPlace, StoredParked, Turn};
use tidegate_model::ports::{Parking, StoreError};
use tidegate_model::position::SequenceNumber;
use tidegate_model::trail::{Act, action};

use self::queues::PlaceChange;
use self::rows::{COLUMNS, ParkedRow};
use crate::accounts::{Account, Accounts};
use crate::dead_letters::counts::CauseCounts;
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, unsigned};
use crate::{checkpoints, dead_letters, trail};

#[async_trait]
impl Parking for SqliteStore {
    async fn parking_place(&self, lane: &Lane) -> Result<ParkingPlace, StoreError> {
        let lane = lane.clone();
        self.readers.run(move |connection| describe(connection, &lane)).await
    }

    async fn parked_version(&self) -> Result<ParkedVersion, StoreError> {
        self.readers
            .run(|connection| Ok(ParkedVersion(unsigned(rows::acted_at(connection)?, "version")?)))
            .await
    }

    async fn parked(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
    ) -> Result<Option<StoredParked>, StoreError> {
        let lane = lane.clone();
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                let Some(number) = lanes::number_of(&snapshot, &lane)? else { return Ok(None) };
                let row = rows::find(&snapshot, number, &lane, sequence_number)?;
                row.map(|row| rows::whole(&snapshot, &lane, row)).transpose()
            })
            .await
    }

    async fn parked_of_key(
        &self,
        lane: &Lane,
        key: &OrderKey,
        from: SequenceNumber,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        let (lane, key) = (lane.clone(), key.clone());
        self.readers.run(move |connection| of_key(connection, &lane, &key, from, limit, max_bytes)).await
    }

    async fn list_parked(
        &self,
        lane: &Lane,
        from: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<StoredParked>, StoreError> {
        let lane = lane.clone();
        self.readers.run(move |connection| list(connection, &lane, from, limit)).await
    }

    async fn try_parked_now(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        let (lane, act) = (lane.clone(), act.clone());
        self.write_durably(move |connection| try_now(connection, &lane, sequence_number, &act)).await
    }

    async fn release_held(&self, function: &FunctionName, at: Timestamp) -> Result<u64, StoreError> {
        let function = function.clone();
        self.write_durably(move |connection| release_held(connection, &function, at)).await
    }

    async fn set_aside(
        &self,
        lane: &Lane,
        sequence_number: SequenceNumber,
        act: &Act,
    ) -> Result<Acted, StoreError> {
        let (lane, act) = (lane.clone(), act.clone());
        self.write_durably(move |connection| set_aside(connection, &lane, sequence_number, &act)).await
    }

    async fn count_parked(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.readers.run(count).await
    }
}

/// Reads the heads and the sums of the queues, never the events that wait.
fn describe(connection: &mut Connection, lane: &Lane) -> Result<ParkingPlace, Failure> {
    let snapshot = connection.transaction()?;
    let version = ParkedVersion(unsigned(rows::last_version(&snapshot)?, "version")?);
    let mut place = ParkingPlace { version, ..ParkingPlace::default() };
    let Some(number) = lanes::number_of(&snapshot, lane)? else { return Ok(place) };
    queues::for_each(&snapshot, number, lane, |key, queue| {
        let head = SequenceNumber(unsigned(queue.head, "sequence number")?);
        let row = rows::find(&snapshot, number, lane, head)?;
        let row = row.ok_or_else(|| {
            Failure::Stored(format!("the head {head} of the key {key:?} of {lane} is not parked"))
        })?;
        let queued = unsigned(queue.queued, "count")?;
        place.heads.push(head_of(&row, lane, Some(ByteString::from(key)), queued)?);
        place.events += queued;
        place.bytes += unsigned(queue.bytes, "size")?;
        Ok(())
    })?;
    let mut without_key = snapshot.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM parked INDEXED BY parked_by_key WHERE lane = ?1 AND partition_key IS NULL"
    ))?;
    let mut rows = without_key.query([number])?;
    while let Some(row) = rows.next()? {
        let row = ParkedRow::read(row, lane)?;
        place.heads.push(head_of(&row, lane, None, 1)?);
        place.events += 1;
        place.bytes += unsigned(row.size, "size")?;
    }
    place.heads.sort_unstable_by_key(|head| head.sequence_number);
    let mut oldest = snapshot
        .prepare_cached("SELECT min(parked_at) FROM parked INDEXED BY parked_by_age WHERE lane = ?1")?;
    place.oldest =
        oldest.query_row([number], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp::from_millis);
    Ok(place)
}

fn head_of(row: &ParkedRow, lane: &Lane, key: Option<OrderKey>, queued: u64) -> Result<ParkedHead, Failure> {
    Ok(ParkedHead {
        sequence_number: row.sequence_number()?,
        key,
        turn: row.turn(lane)?,
        queued,
        enqueued_at: Timestamp::from_millis(row.enqueued_at),
        is_redrive: row.redrive_of.is_some(),
    })
}

fn of_key(
    connection: &mut Connection,
    lane: &Lane,
    key: &OrderKey,
    from: SequenceNumber,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<StoredParked>, Failure> {
    let snapshot = connection.transaction()?;
    let Some(number) = lanes::number_of(&snapshot, lane)? else { return Ok(Vec::new()) };
    let mut queue = snapshot.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM parked INDEXED BY parked_by_key WHERE lane = ?1 AND partition_key = ?2
         AND sequence_number >= ?3 ORDER BY sequence_number LIMIT ?4"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // No stored sequence number is larger than SQLite's integers.
    let Ok(from) = i64::try_from(from.0) else { return Ok(Vec::new()) };
    let mut rows = queue.query(params![number, &**key, from, limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0_u64);
    while let Some(row) = rows.next()? {
        let row = ParkedRow::read(row, lane)?;
        bytes = bytes.saturating_add(unsigned(row.size, "size")?);
        if !events.is_empty() && bytes > max_bytes as u64 {
            break;
        }
        events.push(rows::whole(&snapshot, lane, row)?);
    }
    Ok(events)
}

fn list(
    connection: &mut Connection,
    lane: &Lane,
    from: SequenceNumber,
    limit: usize,
) -> Result<Vec<StoredParked>, Failure> {
    let snapshot = connection.transaction()?;
    let Some(number) = lanes::number_of(&snapshot, lane)? else { return Ok(Vec::new()) };
    // No stored sequence number is larger than SQLite's integers.
    let Ok(from) = i64::try_from(from.0) else { return Ok(Vec::new()) };
    let mut page = snapshot.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM parked WHERE lane = ?1 AND sequence_number >= ?2
         ORDER BY sequence_number LIMIT ?3"
    ))?;
    let mut rows = page.query((number, from, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(rows::whole(&snapshot, lane, ParkedRow::read(row, lane)?)?);
    }
    Ok(events)
}

fn try_now(
    connection: &mut Connection,
    lane: &Lane,
    event: SequenceNumber,
    act: &Act,
) -> Result<Acted, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some((number, row)) = find(&transaction, lane, event)? else { return Ok(Acted::NotFound) };
    let version = rows::new_versions(&transaction, 1)?;
    rows::turn_to(&transaction, number, lane, row, &Turn::At(act.at), None, version)?;
    rows::is_acted_on(&transaction)?;
    write_trail(&transaction, lane, event, action::TRY_NOW, act)?;
    transaction.commit()?;
    Ok(Acted::Done)
}

fn release_held(connection: &mut Connection, function: &FunctionName, at: Timestamp) -> Result<u64, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut released = 0;
    for (number, lane) in lanes::all(&transaction)? {
        if lane.function != *function {
            continue;
        }
        // Some at a time, read before the first is changed: the change takes it out of the index.
        loop {
            let held = some_held(&transaction, number, &lane)?;
            if held.is_empty() {
                break;
            }
            released += held.len() as u64;
            let versions = rows::new_versions(&transaction, held.len())?..;
            for (version, row) in versions.zip(held) {
                rows::turn_to(&transaction, number, &lane, row, &Turn::At(at), None, version)?;
            }
        }
    }
    if released > 0 {
        rows::is_acted_on(&transaction)?;
    }
    transaction.commit()?;
    Ok(released)
}

/// A thousand held events of a lane, or what there is.
fn some_held(connection: &Connection, number: i64, lane: &Lane) -> Result<Vec<ParkedRow>, Failure> {
    let mut held = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM parked INDEXED BY parked_held WHERE lane = ?1 AND held IS NOT NULL LIMIT 1000"
    ))?;
    let mut rows = held.query([number])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ParkedRow::read(row, lane)?);
    }
    Ok(found)
}

fn set_aside(
    connection: &mut Connection,
    lane: &Lane,
    event: SequenceNumber,
    act: &Act,
) -> Result<Acted, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some((_, row)) = find(&transaction, lane, event)? else { return Ok(Acted::NotFound) };
    let StoredParked { parked, .. } = rows::whole(&transaction, lane, row.clone())?;
    let mut place = PlaceChange::begin(&transaction, lane)?;
    place.unpark(&transaction, row)?;
    place.finish(&transaction)?;
    let mut accounts = Accounts::default();
    accounts.move_event(&transaction, lane, event, Account::Parked, Account::DeadLettered)?;
    accounts.write(&transaction)?;
    let mut counts = CauseCounts::default();
    match parked.redrive_of {
        Some(id) => {
            let was_tried = !parked.attempts.is_empty();
            let story = was_tried.then(|| parked.set_aside(act.at));
            dead_letters::change_whole(&transaction, id, &mut counts, |letter| {
                letter.take_back(story, act.at)
            })?;
        }
        None => dead_letters::open(&transaction, &parked.set_aside(act.at), act.at, &mut counts)?,
    }
    counts.write(&transaction)?;
    rows::is_acted_on(&transaction)?;
    write_trail(&transaction, lane, event, action::SET_ASIDE, act)?;
    transaction.commit()?;
    Ok(Acted::Done)
}

/// The row of a parked event with its lane's number.
fn find(
    connection: &Connection,
    lane: &Lane,
    event: SequenceNumber,
) -> Result<Option<(i64, ParkedRow)>, Failure> {
    let Some(number) = lanes::number_of(connection, lane)? else { return Ok(None) };
    Ok(rows::find(connection, number, lane, event)?.map(|row| (number, row)))
}

fn write_trail(
    connection: &Connection,
    lane: &Lane,
    event: SequenceNumber,
    action: &str,
    act: &Act,
) -> Result<(), Failure> {
    trail::write(connection, action, &lane.to_string(), act, &json!({ "sequence_number": event }))
}

fn count(connection: &mut Connection) -> Result<Vec<(Lane, u64)>, Failure> {
    let snapshot = connection.transaction()?;
    let mut counts = Vec::new();
    for checkpoint in checkpoints::all(&snapshot)? {
        let Some(number) = lanes::number_of(&snapshot, &checkpoint.lane)? else { continue };
        let parked = count_from(&snapshot, number, checkpoint.start)?;
        if parked > 0 {
            counts.push((checkpoint.lane, parked));
        }
    }
    Ok(counts)
}

/// How many events a lane has parked from this one on.
pub(crate) fn count_from(connection: &Connection, number: i64, from: SequenceNumber) -> Result<u64, Failure> {
    let from = i64::try_from(from.0).unwrap_or(i64::MAX);
    // The smallest index that has all it takes.
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM parked INDEXED BY parked_by_age WHERE lane = ?1 AND sequence_number >= ?2",
    )?;
    unsigned(count.query_row([number, from], |row| row.get(0))?, "count")
}

/// Takes away what a lane has parked from this event on.
pub(crate) fn remove_from(
    connection: &Connection,
    number: i64,
    lane: &Lane,
    from: SequenceNumber,
) -> Result<(), Failure> {
    // No stored sequence number is larger than SQLite's integers.
    let Ok(from) = i64::try_from(from.0) else { return Ok(()) };
    connection
        .prepare_cached(
            "DELETE FROM parked_events
             WHERE number IN (SELECT event FROM parked WHERE lane = ?1 AND sequence_number >= ?2)",
        )?
        .execute([number, from])?;
    let removed = connection
        .prepare_cached("DELETE FROM parked WHERE lane = ?1 AND sequence_number >= ?2")?
        .execute([number, from])?;
    if removed > 0 { queues::rebuild(connection, number, lane) } else { Ok(()) }
}
