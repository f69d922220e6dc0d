//! Where dead letters are in their lives: small rows that acts rewrite and that are searched, apart from the stories.

use rusqlite::{Connection, Row, params};
use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{
    DeadLetter, DeadLetterId, DeadLetterStatus, Fingerprint, Lease, StoredDeadLetter,
};
use tidegate_model::position::SequenceNumber;

use super::counts::CauseCounts;
use crate::checksum::Checksum;
use crate::error::Failure;
use crate::ownerships::{lane, lane_key};
use crate::sqlite_store::{integer, unsigned};

/// The columns of a state, as [`read`] expects them.
const COLUMNS: &str = "function, hub, partition, id, sequence_number, partition_key, class, fingerprint, dead_lettered_at, status, \
                       changed_at, revision, redrives, returns, lease_holder, lease_until, leases, checksum";

/// The state of a dead letter, with a copy of what it is searched by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) id: DeadLetterId,
    pub(crate) lane: Lane,
    pub(crate) sequence_number: SequenceNumber,
    pub(crate) partition_key: Option<String>,
    pub(crate) class: FailureClass,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) dead_lettered_at: Timestamp,
    pub(crate) status: DeadLetterStatus,
    pub(crate) changed_at: Timestamp,
    pub(crate) revision: u32,
    pub(crate) redrives: u32,
    pub(crate) returns: u32,
    pub(crate) lease: Option<Lease>,
    pub(crate) leases: u32,
}

impl State {
    /// Of a dead letter as the store keeps it.
    pub(crate) fn of(stored: &StoredDeadLetter) -> Self {
        let DeadLetter { lane, event, class, dead_lettered_at, .. } = &stored.letter;
        Self {
            id: stored.id,
            lane: lane.clone(),
            sequence_number: event.sequence_number,
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            class: *class,
            fingerprint: stored.fingerprint,
            dead_lettered_at: *dead_lettered_at,
            status: stored.status,
            changed_at: stored.changed_at,
            revision: stored.revision,
            redrives: stored.redrives,
            returns: stored.returns,
            lease: stored.lease.clone(),
            leases: stored.leases,
        }
    }

    /// True when somebody else than `who` holds a lease that has not run out at `at`.
    pub(crate) fn is_leased_to_another(&self, who: &str, at: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_held(at) && lease.holder != who)
    }

    fn checksum(&self, id: i64, sequence_number: i64) -> i64 {
        let lease = self.lease.as_ref();
        Checksum::of("dead_letter_states")
            .number(id)
            .lane(&self.lane)
            .number(sequence_number)
            .optional(self.partition_key.as_ref().map(String::as_bytes))
            .bytes(self.class.as_str().as_bytes())
            .number(stored_fingerprint(self.fingerprint))
            .number(self.dead_lettered_at.as_millis())
            .bytes(self.status.as_str().as_bytes())
            .number(self.changed_at.as_millis())
            .number(self.revision.into())
            .number(self.redrives.into())
            .number(self.returns.into())
            .optional(lease.map(|lease| lease.holder.as_bytes()))
            .optional_number(lease.map(|lease| lease.until.as_millis()))
            .number(self.leases.into())
            .value()
    }
}

/// A fingerprint as SQLite's signed integer: the same bits.
pub(crate) fn stored_fingerprint(fingerprint: Fingerprint) -> i64 {
    fingerprint.0.cast_signed()
}

/// The state of a dead letter, if there is one.
pub(crate) fn find(connection: &Connection, id: DeadLetterId) -> Result<Option<State>, Failure> {
    let Ok(id) = i64::try_from(id.0) else { return Ok(None) };
    let mut find =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letter_states WHERE id = ?1"))?;
    let mut rows = find.query([id])?;
    rows.next()?.map(read).transpose()
}

/// Calls `each` with every state, in the order of numbers.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Result<State, Failure>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM dead_letter_states ORDER BY id"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        each(read(row))?;
    }
    Ok(())
}

/// Adds the state of a new dead letter.
pub(crate) fn insert(
    connection: &Connection,
    state: &State,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    counts.came(state);
    let (function, hub, partition) = lane_key(&state.lane);
    let (id, sequence_number) = numbers(state)?;
    let lease = state.lease.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO dead_letter_states (id, function, hub, partition, sequence_number, partition_key, class,
                                             fingerprint, dead_lettered_at, status, changed_at, revision, redrives,
                                             returns, lease_holder, lease_until, leases, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            id,
            function,
            hub,
            partition,
            sequence_number,
            state.partition_key,
            state.class.as_str(),
            stored_fingerprint(state.fingerprint),
            state.dead_lettered_at.as_millis(),
            state.status.as_str(),
            state.changed_at.as_millis(),
            state.revision,
            state.redrives,
            state.returns,
            lease.map(|lease| &lease.holder),
            lease.map(|lease| lease.until.as_millis()),
            state.leases,
            state.checksum(id, sequence_number),
        ])?;
    Ok(())
}

/// Brings a dead letter to another status, which ends its lease.
pub(crate) fn change(
    connection: &Connection,
    mut state: State,
    status: DeadLetterStatus,
    at: Timestamp,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    counts.went(&state);
    state.status = status;
    state.changed_at = at;
    state.lease = None;
    counts.came(&state);
    update(connection, &state)
}

/// Writes what acts change besides the status, which [`change`] does: revision, redrives, returns and lease.
pub(crate) fn update(connection: &Connection, state: &State) -> Result<(), Failure> {
    let (id, sequence_number) = numbers(state)?;
    let lease = state.lease.as_ref();
    connection
        .prepare_cached(
            "UPDATE dead_letter_states SET status = ?2, changed_at = ?3, revision = ?4, redrives = ?5, returns = ?6,
                                           lease_holder = ?7, lease_until = ?8, leases = ?9, checksum = ?10
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            state.status.as_str(),
            state.changed_at.as_millis(),
            state.revision,
            state.redrives,
            state.returns,
            lease.map(|lease| &lease.holder),
            lease.map(|lease| lease.until.as_millis()),
            state.leases,
            state.checksum(id, sequence_number),
        ])?;
    Ok(())
}

/// Writes all of a state whose dead letter has a new story, in place of what it was.
pub(crate) fn replace(
    connection: &Connection,
    was: &State,
    state: &State,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    let (id, _) = numbers(state)?;
    connection.prepare_cached("DELETE FROM dead_letter_states WHERE id = ?1")?.execute([id])?;
    counts.went(was);
    insert(connection, state, counts)
}

fn numbers(state: &State) -> Result<(i64, i64), Failure> {
    let id = integer(state.id.0, "dead letter's number")?;
    Ok((id, integer(state.sequence_number.0, "sequence number")?))
}

fn read(row: &Row<'_>) -> Result<State, Failure> {
    let (id, sequence_number): (i64, i64) = (row.get(3)?, row.get(4)?);
    let stored = |what: &str| Failure::Stored(format!("the state of the dead letter {id} {what}"));
    let text = |index| Ok::<_, Failure>(row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?);
    let lease = match (row.get(14)?, row.get::<_, Option<i64>>(15)?) {
        (Some(holder), Some(until)) => Some(Lease { holder, until: Timestamp::from_millis(until) }),
        (None, None) => None,
        _ => return Err(stored("has half a lease")),
    };
    let state = State {
        id: DeadLetterId(unsigned(id, "dead letter's number")?),
        lane: lane(row)?,
        sequence_number: SequenceNumber(unsigned(sequence_number, "sequence number")?),
        partition_key: row.get(5)?,
        class: text(6)?.parse().map_err(|()| stored("has an unknown class"))?,
        fingerprint: Fingerprint(row.get::<_, i64>(7)?.cast_unsigned()),
        dead_lettered_at: Timestamp::from_millis(row.get(8)?),
        status: text(9)?.parse().map_err(|()| stored("has an unknown status"))?,
        changed_at: Timestamp::from_millis(row.get(10)?),
        revision: row.get(11)?,
        redrives: row.get(12)?,
        returns: row.get(13)?,
        lease,
        leases: row.get(16)?,
    };
    if row.get::<_, i64>(17)? == state.checksum(id, sequence_number) {
        Ok(state)
    } else {
        Err(stored("does not match its checksum"))
    }
}
