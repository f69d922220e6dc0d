//! Dead letters and parked events: each row, what they say of each other, and what the checkpoints count of them.

use std::collections::BTreeMap;

use rusqlite::Connection;
use tidegate_model::checkpoint::{Checkpoint, Lane};
use tidegate_model::dead_letter::{DeadLetterStatus, Fingerprint};
use tidegate_model::position::SequenceNumber;

use super::{Bad, Checker};
use crate::dead_letters;
use crate::dead_letters::states::{self, State};
use crate::error::Failure;
use crate::parking::queues::{self, Queue};
use crate::parking::rows::{self, COLUMNS, ParkedRow};
use crate::parking::{self, lanes};

impl Checker<'_> {
    pub(super) fn dead_letters(
        &mut self,
        connection: &Connection,
        checkpoints: &BTreeMap<Lane, Checkpoint>,
    ) -> Result<(), Failure> {
        let mut unsettled = BTreeMap::<Lane, u64>::new();
        let mut bad = Bad::new("dead letters");
        states::for_each(connection, |state| {
            let Some(state) = bad.see(state, self) else { return Ok(()) };
            self.report.dead_letters += 1;
            let checkpoint = checkpoints.get(&state.lane);
            let is_counted = checkpoint.is_none_or(|checkpoint| state.sequence_number >= checkpoint.start);
            if state.status.is_unsettled() && is_counted {
                *unsettled.entry(state.lane.clone()).or_default() += 1;
            }
            if state.status == DeadLetterStatus::Redriving {
                let problem = bad.see(problem_of_a_redrive(connection, &state), self);
                if let Some(problem) = problem.flatten() {
                    bad.add(problem, self);
                }
            }
            let id = state.id;
            if let Some(whole) = bad.see(dead_letters::whole(connection, state.clone()), self) {
                let letter = &whole.letter;
                let cause = Fingerprint::of(&letter.lane.function, letter.class, &letter.reason);
                if State::of(&whole) != state || cause != state.fingerprint {
                    bad.add(format!("the story and the state of the dead letter {id} differ"), self);
                }
            }
            Ok(())
        })?;
        bad.tell(self);
        for checkpoint in checkpoints.values() {
            let stored = unsettled.remove(&checkpoint.lane).unwrap_or(0);
            let (lane, counted) = (&checkpoint.lane, checkpoint.counts.dead_lettered);
            if stored != counted {
                let problem = format!("{lane} counts {counted} dead letters, and {stored} are stored");
                self.report.problems.push(problem);
            }
        }
        for (lane, stored) in unsettled {
            let problem = format!("{lane} has no checkpoint, and {stored} dead letters of it are stored");
            self.report.problems.push(problem);
        }
        self.nothing_is_lost(connection, "dead_letters", "id NOT IN (SELECT id FROM dead_letter_states)")?;
        self.nothing_is_lost(
            connection,
            "dead_letter_edits",
            "id NOT IN (SELECT id FROM dead_letter_states WHERE revision > 0)",
        )
    }

    pub(super) fn parked(
        &mut self,
        connection: &Connection,
        checkpoints: &BTreeMap<Lane, Checkpoint>,
    ) -> Result<(), Failure> {
        let last_version: i64 =
            connection.query_row("SELECT value FROM counters WHERE name = 'parked'", [], |row| row.get(0))?;
        let lanes = lanes::all(connection)?;
        let mut bad = Bad::new("parked events");
        for (number, lane) in &lanes {
            let mut all = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM parked WHERE lane = ?1 ORDER BY sequence_number"
            ))?;
            let mut found = all.query([number])?;
            while let Some(row) = found.next()? {
                let Some(row) = bad.see(ParkedRow::read(row, lane), self) else { continue };
                self.report.parked += 1;
                let checkpoint = checkpoints.get(lane);
                let problem = problem_of_a_parked(connection, &row, lane, checkpoint, last_version);
                if let Some(problem) = bad.see(problem, self).flatten() {
                    bad.add(problem, self);
                }
                let size = row.size;
                let whole = bad.see(rows::whole(connection, lane, row), self);
                if let Some(whole) = whole.filter(|whole| i64::try_from(whole.parked.size()) != Ok(size)) {
                    let (event, is) = (whole.parked.event.sequence_number, whole.parked.size());
                    bad.add(format!("the parked event {event} of {lane} has {is} bytes, not {size}"), self);
                }
            }
            self.queues(connection, *number, lane)?;
        }
        bad.tell(self);
        for (lane, checkpoint) in checkpoints {
            let number = lanes.iter().find(|(_, other)| *other == lane).map(|(number, _)| *number);
            let stored =
                number.map_or(Ok(0), |number| parking::count_from(connection, number, checkpoint.start))?;
            let counted = checkpoint.counts.parked;
            if stored != counted {
                let problem = format!("{lane} counts {counted} parked events, and {stored} are stored");
                self.report.problems.push(problem);
            }
        }
        let of_a_lane = "lane NOT IN (SELECT number FROM lanes)";
        self.nothing_is_lost(connection, "parked", of_a_lane)?;
        self.nothing_is_lost(connection, "parked_keys", of_a_lane)?;
        self.nothing_is_lost(connection, "parked_events", "number NOT IN (SELECT event FROM parked)")
    }

    /// Compares the queues of a lane with its parked events.
    fn queues(&mut self, connection: &Connection, number: i64, lane: &Lane) -> Result<(), Failure> {
        let mut stored = BTreeMap::<String, Queue>::new();
        queues::for_each(connection, number, lane, |key, queue| {
            stored.insert(key, queue);
            Ok(())
        })?;
        let mut bad = Bad::new("queues of parked events");
        for (key, counted) in queues::counted(connection, number)? {
            let found = stored.remove(&key);
            if found != Some(counted) {
                bad.add(
                    format!("the queue of the key {key:?} of {lane} is {counted:?}, not {found:?}"),
                    self,
                );
            }
        }
        for key in stored.into_keys() {
            bad.add(format!("the key {key:?} of {lane} has a queue, and nothing of it is parked"), self);
        }
        bad.tell(self);
        Ok(())
    }

    /// Tells of rows that nothing leads to.
    fn nothing_is_lost(&mut self, connection: &Connection, table: &str, lost: &str) -> Result<(), Failure> {
        let rows: i64 =
            connection
                .query_row(&format!("SELECT count(*) FROM {table} WHERE {lost}"), [], |row| row.get(0))?;
        if rows > 0 {
            self.report.problems.push(format!("nothing leads to {rows} rows of {table}"));
        }
        Ok(())
    }
}

/// A dead letter that is on its way to the function has its event parked.
fn problem_of_a_redrive(connection: &Connection, state: &State) -> Result<Option<String>, Failure> {
    let parked = match lanes::number_of(connection, &state.lane)? {
        Some(number) => rows::find(connection, number, &state.lane, state.sequence_number)?,
        None => None,
    };
    let of = parked.map(|row| row.redrive_of()).transpose()?.flatten();
    let (id, event, lane) = (state.id, state.sequence_number, &state.lane);
    Ok((of != Some(id)).then(|| {
        format!("the dead letter {id} is redriven, and the event {event} of {lane} is not parked for it")
    }))
}

/// A parked event is resolved for its checkpoint, and if it is a redrive, its dead letter knows of it.
fn problem_of_a_parked(
    connection: &Connection,
    row: &ParkedRow,
    lane: &Lane,
    checkpoint: Option<&Checkpoint>,
    last_version: i64,
) -> Result<Option<String>, Failure> {
    let event: SequenceNumber = row.sequence_number()?;
    let Some(checkpoint) = checkpoint else {
        return Ok(Some(format!("the event {event} of {lane} is parked, and the lane has no checkpoint")));
    };
    if event >= checkpoint.position {
        let at = checkpoint.position;
        return Ok(Some(format!("the event {event} of {lane} is parked, and its checkpoint is at {at}")));
    }
    if row.version > last_version {
        let version = row.version;
        return Ok(Some(format!(
            "the parked event {event} of {lane} has the version {version}, which was not given out yet"
        )));
    }
    let Some(id) = row.redrive_of()? else { return Ok(None) };
    let is_redriving = states::find(connection, id)?.is_some_and(|state| {
        state.status == DeadLetterStatus::Redriving && state.lane == *lane && state.sequence_number == event
    });
    Ok((!is_redriving).then(|| {
        format!("the event {event} of {lane} is parked as the redrive of the dead letter {id}, which is not redriven")
    }))
}
