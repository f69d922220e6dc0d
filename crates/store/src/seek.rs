//! Moving a checkpoint by hand.

use rusqlite::{Connection, TransactionBehavior};
use tidegate_model::checkpoint::{Checkpoint, Lane};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::StoreError;
use tidegate_model::position::SequenceNumber;
use tidegate_model::trail::NewTrailEntry;

use crate::error::Failure;
use crate::parking::{self, lanes};
use crate::{attempts, checkpoints, dead_letters, ownerships, trail};

/// Has a lane begin anew at `to`, under a new epoch.
pub(crate) fn seek(
    connection: &mut Connection,
    lane: &Lane,
    from: SequenceNumber,
    to: SequenceNumber,
    entry: &NewTrailEntry,
) -> Result<Checkpoint, Failure> {
    let at = entry.act.at;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(stored) = checkpoints::find(&transaction, lane)? else {
        return Err(Failure::refused(format!("the lane {lane} has no checkpoint that could be moved")));
    };
    if stored.position != from {
        let (lane, stored) = (lane.clone(), stored.position);
        return Err(StoreError::CheckpointMoved { lane, from, stored }.into());
    }
    let moved =
        Checkpoint { start: to, position: to, counts: OutcomeCounts::default(), updated_at: at, ..stored };
    checkpoints::write(&transaction, &moved)?;
    ownerships::claim(&transaction, lane, "", at)?;
    attempts::remove_all(&transaction, lane)?;
    if let Some(number) = lanes::number_of(&transaction, lane)? {
        parking::remove_from(&transaction, number, lane, to)?;
    }
    dead_letters::replay(&transaction, lane, moved.incarnation, to, at)?;
    trail::append(&transaction, entry)?;
    transaction.commit()?;
    Ok(moved)
}
