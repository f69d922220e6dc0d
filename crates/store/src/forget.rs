//! The end of a hub: what the store keeps about its lanes comes to an end, and then is forgotten.
//!
//! Dead letters stay, discarded: they hold everything about their events, and the hub does not any more. None may stay
//! unsettled, because a hub that is made anew under the name counts from zero.

use rusqlite::{Connection, TransactionBehavior};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::ports::{RegisterChange, StoreError};

use crate::accounts::{Account, Accounts};
use crate::dead_letters::counts::CauseCounts;
use crate::error::Failure;
use crate::parking::lanes;
use crate::parking::queues::PlaceChange;
use crate::parking::rows::{self, COLUMNS, ParkedRow};
use crate::sqlite_store::SqliteStore;
use crate::{attempts, checkpoints, dead_letters, ownerships, registers};

/// What waited for somebody when a hub ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Parked events that were made dead letters.
    pub parked: u64,
    /// Dead letters that were discarded, those included.
    pub dead_letters: u64,
}

impl SqliteStore {
    /// Settles some of what waits in the lanes of a hub, at most about `most` of each kind, in one transaction: parked
    /// events become dead letters, and dead letters are discarded. It is done when nothing was settled. Nobody may process
    /// the hub meanwhile.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn settle_hub(&self, hub: &HubName, at: Timestamp, most: usize) -> Result<Settled, StoreError> {
        let hub = hub.clone();
        self.write(move |connection| settle(connection, &hub, at, most)).await
    }

    /// Forgets the lanes of a hub: their checkpoints, and attempts at their events. Whoever still owns one is fenced. In the
    /// same transaction, which is on disk when the answer comes, a register changes. How many lanes had a checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Refused`] while something [waits](Self::settle_hub) in them, [`StoreError::RegisterMoved`] as
    /// [`change_register`](tidegate_model::ports::Registers::change_register); nothing happened then.
    pub async fn forget_hub(&self, hub: &HubName, change: RegisterChange) -> Result<u64, StoreError> {
        let hub = hub.clone();
        self.write_durably(move |connection| forget(connection, &hub, &change)).await
    }
}

fn settle(
    connection: &mut Connection,
    hub: &HubName,
    at: Timestamp,
    most: usize,
) -> Result<Settled, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut settled = Settled::default();
    for (number, lane) in lanes::all(&transaction)? {
        let left = most.saturating_sub(usize::try_from(settled.parked).unwrap_or(usize::MAX));
        if lane.hub == *hub && left > 0 {
            settled.parked += set_aside(&transaction, number, &lane, at, left)?;
        }
    }
    settled.dead_letters = dead_letters::discard_of_hub(&transaction, hub, at, most)?;
    transaction.commit()?;
    Ok(settled)
}

/// Makes some parked events of a lane dead letters; how many.
fn set_aside(
    connection: &Connection,
    number: i64,
    lane: &Lane,
    at: Timestamp,
    most: usize,
) -> Result<u64, Failure> {
    let rows = some(connection, number, lane, most)?;
    let count = rows.len() as u64;
    let mut place = PlaceChange::begin(connection, lane)?;
    let (mut accounts, mut counts) = (Accounts::default(), CauseCounts::default());
    for row in rows {
        let event = row.sequence_number()?;
        let parked = rows::whole(connection, lane, row.clone())?.parked;
        place.unpark(connection, row)?;
        accounts.move_event(connection, lane, event, Account::Parked, Account::DeadLettered)?;
        match parked.redrive_of {
            Some(id) => {
                let story = (!parked.attempts.is_empty()).then(|| parked.set_aside(at));
                dead_letters::change_whole(connection, id, &mut counts, |letter| {
                    letter.take_back(story, at)
                })?;
            }
            None => dead_letters::open(connection, &parked.set_aside(at), at, &mut counts)?,
        }
    }
    place.finish(connection)?;
    counts.write(connection)?;
    accounts.write(connection)?;
    Ok(count)
}

fn some(connection: &Connection, number: i64, lane: &Lane, most: usize) -> Result<Vec<ParkedRow>, Failure> {
    let mut page = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM parked WHERE lane = ?1 ORDER BY sequence_number LIMIT ?2"
    ))?;
    let mut rows = page.query((number, i64::try_from(most).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ParkedRow::read(row, lane)?);
    }
    Ok(found)
}

fn forget(connection: &mut Connection, hub: &HubName, change: &RegisterChange) -> Result<u64, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut of_hub = checkpoints::all(&transaction)?;
    of_hub.retain(|checkpoint| checkpoint.lane.hub == *hub);
    for (number, lane) in lanes::all(&transaction)? {
        if lane.hub == *hub && !some(&transaction, number, &lane, 1)?.is_empty() {
            return Err(Failure::refused(format!("events of {lane} are parked")));
        }
    }
    if dead_letters::discard_of_hub(&transaction, hub, change.at, 1)? > 0 {
        return Err(Failure::refused(format!("there are unsettled dead letters of the hub {hub}")));
    }
    for checkpoint in &of_hub {
        let lane = &checkpoint.lane;
        // The epoch stays, so that it goes on from there.
        ownerships::claim(&transaction, lane, "", change.at)?;
        attempts::remove_all(&transaction, lane)?;
        checkpoints::remove(&transaction, lane)?;
    }
    registers::apply_in(&transaction, change)?;
    transaction.commit()?;
    Ok(of_hub.len() as u64)
}
