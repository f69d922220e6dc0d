//! From earlier formats to the one that this version writes.

use rusqlite::{Row, Transaction};
use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::Checkpoint;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterId, DeadLetterStatus, Fingerprint};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::position::{Incarnation, SequenceNumber};

use crate::checkpoints;
use crate::checksum::Checksum;
use crate::dead_letters::counts::CauseCounts;
use crate::dead_letters::states::{self, State};
use crate::error::Failure;
use crate::ownerships::lane;
use crate::schema::{FORMAT, TABLES_SINCE_2, TABLES_SINCE_3};
use crate::sqlite_store::unsigned;

/// Brings a store of an earlier format to the one that this version writes. It all happens in this transaction.
pub(crate) fn from(transaction: &Transaction<'_>, format: i64) -> Result<(), Failure> {
    tracing::info!("the store has format {format} and is brought to format {FORMAT}");
    if format == 1 {
        from_1(transaction)?;
    }
    if format <= 2 {
        // The dead letters of each cause are counted here once, and from then on as they change.
        transaction.execute_batch(TABLES_SINCE_3)?;
    }
    if format == 3 {
        // The counts are right, and whoever changes a state counts it now.
        transaction.execute_batch(
            "DROP TRIGGER dead_letter_came; DROP TRIGGER dead_letter_changed; DROP TRIGGER dead_letter_went;",
        )?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(())
}

/// Brings a store of format 1 to format 2: checkpoints count what was discarded, and dead letters, all of them open, get
/// states. Stories of dead letters are read, but not their bodies.
///
/// A checkpoint that is damaged ends it: a new checksum would make the damage pass for a checkpoint.
fn from_1(transaction: &Transaction<'_>) -> Result<(), Failure> {
    transaction.execute_batch(
        "ALTER TABLE checkpoints RENAME TO checkpoints_of_format_1;
         DROP INDEX dead_letters_by_function;
         DROP INDEX dead_letters_by_lane;",
    )?;
    transaction.execute_batch(TABLES_SINCE_2)?;
    take_over_checkpoints(transaction)?;
    give_states(transaction)?;
    transaction.execute_batch("DROP TABLE checkpoints_of_format_1")?;
    Ok(())
}

fn take_over_checkpoints(transaction: &Transaction<'_>) -> Result<(), Failure> {
    let mut all = transaction.prepare(
        "SELECT function, hub, partition, incarnation, start, position, applied, filtered, dead_lettered, parked, lost,
                updated_at, checksum FROM checkpoints_of_format_1",
    )?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        checkpoints::write(transaction, &checkpoint_of_format_1(row)?)?;
    }
    Ok(())
}

fn checkpoint_of_format_1(row: &Row<'_>) -> Result<Checkpoint, Failure> {
    let lane = lane(row)?;
    let incarnation: [u8; 16] = row.get(3)?;
    let mut numbers = [0_i64; 8];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = row.get(4 + index)?;
    }
    let checksum = Checksum::of("checkpoints").lane(&lane).bytes(&incarnation);
    let checksum = numbers.iter().fold(checksum, |checksum, number| checksum.number(*number)).value();
    if row.get::<_, i64>(12)? != checksum {
        return Err(Failure::Stored(format!("the checkpoint of {lane} does not match its checksum")));
    }
    let [start, position, applied, filtered, dead_lettered, parked, lost, updated_at] = numbers;
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
            discarded: 0,
            lost: unsigned(lost, "count")?,
        },
        updated_at: Timestamp::from_millis(updated_at),
    })
}

fn give_states(transaction: &Transaction<'_>) -> Result<(), Failure> {
    let mut all = transaction.prepare(
        "SELECT function, hub, partition, id, sequence_number, partition_key, class, reason, dead_lettered_at
         FROM dead_letters ORDER BY id",
    )?;
    // What is brought to format 2 is counted on the way to format 3.
    let mut uncounted = CauseCounts::default();
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        states::insert(transaction, &state_of_format_1(row)?, &mut uncounted)?;
    }
    Ok(())
}

fn state_of_format_1(row: &Row<'_>) -> Result<State, Failure> {
    let (lane, id) = (lane(row)?, row.get(3)?);
    let text = |index| Ok::<_, Failure>(row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?);
    let class: FailureClass = text(6)?
        .parse()
        .map_err(|()| Failure::Stored(format!("the dead letter {id} is of an unknown class")))?;
    let dead_lettered_at = Timestamp::from_millis(row.get(8)?);
    Ok(State {
        id: DeadLetterId(unsigned(id, "dead letter's number")?),
        sequence_number: SequenceNumber(unsigned(row.get(4)?, "sequence number")?),
        partition_key: row.get(5)?,
        class,
        fingerprint: Fingerprint::of(&lane.function, class, text(7)?),
        lane,
        dead_lettered_at,
        status: DeadLetterStatus::Open,
        changed_at: dead_lettered_at,
        revision: 0,
        redrives: 0,
        returns: 0,
        lease: None,
        leases: 0,
    })
}
