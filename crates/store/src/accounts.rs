//! What acts and commits do to the counts of checkpoints: an event leaves one count for another, and the sum stays.

use std::collections::BTreeMap;

use rusqlite::Connection;
use tidegate_model::checkpoint::{Checkpoint, Lane};
use tidegate_model::outcome::{Outcome, OutcomeCounts};
use tidegate_model::position::SequenceNumber;

use crate::checkpoints;
use crate::error::Failure;

/// One of the counts of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    Applied,
    Filtered,
    DeadLettered,
    Parked,
    Discarded,
}

impl From<Outcome> for Account {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Filtered => Self::Filtered,
            Outcome::DeadLettered => Self::DeadLettered,
            Outcome::Parked => Self::Parked,
        }
    }
}

impl Account {
    fn of(self, counts: &mut OutcomeCounts) -> &mut u64 {
        match self {
            Self::Applied => &mut counts.applied,
            Self::Filtered => &mut counts.filtered,
            Self::DeadLettered => &mut counts.dead_lettered,
            Self::Parked => &mut counts.parked,
            Self::Discarded => &mut counts.discarded,
        }
    }
}

/// Moves an event from one count to another. Events before the checkpoint's start are not counted.
pub(crate) fn move_event(
    checkpoint: &mut Checkpoint,
    event: SequenceNumber,
    from: Account,
    to: Account,
) -> Result<(), Failure> {
    if event < checkpoint.start {
        return Ok(());
    }
    let left = from.of(&mut checkpoint.counts);
    *left = left.checked_sub(1).ok_or_else(|| {
        Failure::Stored(format!(
            "the event {event} of {} is {from:?}, and the checkpoint counts none that is",
            checkpoint.lane
        ))
    })?;
    *to.of(&mut checkpoint.counts) += 1;
    Ok(())
}

/// The checkpoints of the lanes that an act changes; read once, written once.
#[derive(Default)]
pub(crate) struct Accounts(BTreeMap<Lane, Option<Checkpoint>>);

impl Accounts {
    /// The checkpoint of a lane as the act has left it so far, if it has one.
    pub(crate) fn checkpoint(
        &mut self,
        connection: &Connection,
        lane: &Lane,
    ) -> Result<Option<&mut Checkpoint>, Failure> {
        if !self.0.contains_key(lane) {
            self.0.insert(lane.clone(), checkpoints::find(connection, lane)?);
        }
        Ok(self.0.get_mut(lane).and_then(Option::as_mut))
    }

    /// Moves an event of a lane from one count to another. A lane without checkpoint counts nothing.
    pub(crate) fn move_event(
        &mut self,
        connection: &Connection,
        lane: &Lane,
        event: SequenceNumber,
        from: Account,
        to: Account,
    ) -> Result<(), Failure> {
        match self.checkpoint(connection, lane)? {
            Some(checkpoint) => move_event(checkpoint, event, from, to),
            None => Ok(()),
        }
    }

    /// Writes the checkpoints back.
    pub(crate) fn write(self, connection: &Connection) -> Result<(), Failure> {
        self.0.into_values().flatten().try_for_each(|checkpoint| checkpoints::write(connection, &checkpoint))
    }
}
