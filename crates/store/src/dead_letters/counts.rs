//! How many dead letters of each cause are in each status: what a transaction changes in these counts.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::dead_letter::DeadLetterStatus;

use super::states::{State, stored_fingerprint};
use crate::error::Failure;

/// The changes of the counts, gathered while a transaction writes states and written once before it commits: a commit that
/// settles a thousand dead letters of one cause writes two rows. Triggers, which count at each state, took four fifths of the
/// time of an act.
///
/// Only [`states`](super::states) can change the status of a dead letter, and does it with these at hand. A check compares
/// the counts with the states.
#[derive(Default)]
pub(crate) struct CauseCounts(BTreeMap<(i64, &'static str), Change>);

struct Change {
    by: i64,
    function: FunctionName,
    class: FailureClass,
}

impl CauseCounts {
    /// A dead letter has come to the status that its state says.
    pub(super) fn came(&mut self, state: &State) {
        self.add(state, state.status, 1);
    }

    /// A dead letter has left the status that its state says.
    pub(super) fn went(&mut self, state: &State) {
        self.add(state, state.status, -1);
    }

    fn add(&mut self, state: &State, status: DeadLetterStatus, by: i64) {
        self.0
            .entry((stored_fingerprint(state.fingerprint), status.as_str()))
            .or_insert_with(|| Change { by: 0, function: state.lane.function.clone(), class: state.class })
            .by += by;
    }

    /// Writes them. A cause that has no dead letters in a status any more has no row for it.
    pub(crate) fn write(self, connection: &Connection) -> Result<(), Failure> {
        for ((fingerprint, status), Change { by, function, class }) in self.0 {
            if by == 0 {
                continue;
            }
            let left: i64 = connection
                .prepare_cached(
                    "INSERT INTO dead_letter_causes (fingerprint, status, function, class, dead_letters)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET dead_letters = dead_letters + excluded.dead_letters
                     RETURNING dead_letters",
                )?
                .query_row(params![fingerprint, status, function.as_str(), class.as_str(), by], |row| {
                    row.get(0)
                })?;
            if left == 0 {
                connection
                    .prepare_cached("DELETE FROM dead_letter_causes WHERE fingerprint = ?1 AND status = ?2")?
                    .execute(params![fingerprint, status])?;
            }
        }
        Ok(())
    }
}
