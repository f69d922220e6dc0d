//! Examines a store file for damage, and for accounts that do not add up.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use tidegate_model::checkpoint::{Checkpoint, Lane};
use tidegate_model::document::DocumentId;
use tidegate_model::ports::StoreError;

use crate::error::Failure;
use crate::schema::{APPLICATION_ID, FORMAT, documents_table};
use crate::{attempts, checkpoints, dead_letters, documents, ownerships};

/// How many problems of one kind are listed; the rest is only counted.
const LISTED_PROBLEMS: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Checkpoints that were compared with what they count.
    pub lanes: u64,
    /// Documents that were read.
    pub documents: u64,
    /// Dead letters that were read.
    pub dead_letters: u64,
    /// What is wrong, one sentence each; at most 100 of a kind.
    pub problems: Vec<String>,
}

impl Report {
    /// True when nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Examines the store in the file `path` without changing it. It reads everything, which takes about two seconds for
/// each million documents, and may run beside a program that uses the store.
///
/// - SQLite's own check of every page, index and constraint;
/// - every row against its checksum;
/// - for each lane: as many outcomes counted as events resolved, as many dead letters as counted, and no attempts at
///   events that are resolved;
/// - for each collection: as many documents as counted, none with an etag that was not given out.
///
/// # Errors
/// When the file cannot be read at all. Damage is reported, not an error, as far as reading gets beyond it.
pub fn check(path: &Path) -> Result<Report, StoreError> {
    let opened =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let mut connection = opened.map_err(|error| Failure::Sql(error).at(path))?;
    let mut checker = Checker { path, report: Report::default() };
    let snapshot = connection.transaction().map_err(|error| Failure::Sql(error).at(path))?;
    let known = checker.known_format(&snapshot);
    if checker.found(known)? != Some(true) {
        return Ok(checker.report);
    }
    // Damage in one part leaves the others to be checked.
    let pages = checker.pages(&snapshot);
    checker.found(pages)?;
    let lanes = checker.lanes(&snapshot);
    checker.found(lanes)?;
    let dead_letters = checker.dead_letters(&snapshot);
    checker.found(dead_letters)?;
    let documents = checker.documents(&snapshot);
    checker.found(documents)?;
    Ok(checker.report)
}

struct Checker<'a> {
    path: &'a Path,
    report: Report,
}

impl Checker<'_> {
    /// Takes damage into the report; anything else ends the check.
    fn found<T>(&mut self, result: Result<T, Failure>) -> Result<Option<T>, StoreError> {
        match result.map_err(|failure| failure.at(self.path)) {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Damaged { detail }) => {
                self.report.problems.push(detail);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn known_format(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (application_id, format) = (pragma("application_id")?, pragma("user_version")?);
        let known = (application_id, format) == (APPLICATION_ID, FORMAT);
        if !known {
            self.report.problems.push(format!(
                "{} is no store of format {FORMAT}: its application id is {application_id:#x}, its format {format}",
                self.path.display()
            ));
        }
        Ok(known)
    }

    fn pages(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut check = connection.prepare(&format!("PRAGMA integrity_check({LISTED_PROBLEMS})"))?;
        let mut rows = check.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" {
                self.report.problems.push(format!("{}: {line}", self.path.display()));
            }
        }
        Ok(())
    }

    fn lanes(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut letters: BTreeMap<Lane, u64> = dead_letters::count(connection)?.into_iter().collect();
        for Checkpoint { lane, start, position, counts, .. } in checkpoints::all(connection)? {
            self.report.lanes += 1;
            let problems = &mut self.report.problems;
            if position < start {
                problems.push(format!("the checkpoint of {lane} is at {position}, before its start {start}"));
            }
            let (counted, resolved) = (counts.total(), position.distance_from(start));
            if counted != resolved {
                problems.push(format!(
                    "the checkpoint of {lane} counts {counted} outcomes for the {resolved} events from {start} to \
                     {position}"
                ));
            }
            let stored = letters.remove(&lane).unwrap_or(0);
            if stored != counts.dead_lettered {
                let counted = counts.dead_lettered;
                problems.push(format!("{lane} counts {counted} dead letters, and {stored} are stored"));
            }
            for event in attempts::of_lane(connection, &lane)? {
                let event = event.sequence_number;
                if event < position {
                    problems
                        .push(format!("attempts at event {event} of {lane} are stored, and it is resolved"));
                }
            }
        }
        ownerships::all(connection)?;
        for (lane, stored) in letters {
            self.report
                .problems
                .push(format!("{lane} has no checkpoint, and {stored} dead letters of it are stored"));
        }
        Ok(())
    }

    fn dead_letters(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut bad = 0;
        dead_letters::for_each(connection, |letter| match letter {
            Ok(_) => self.report.dead_letters += 1,
            Err(failure) => {
                bad += 1;
                if bad <= LISTED_PROBLEMS {
                    self.report.problems.push(failure.at(self.path).to_string());
                }
            }
        })?;
        self.report.more("dead letters", bad);
        Ok(())
    }

    fn documents(&mut self, connection: &Connection) -> Result<(), Failure> {
        let last_etag: i64 =
            connection.query_row("SELECT value FROM counters WHERE name = 'etag'", [], |row| row.get(0))?;
        for collection in documents::collections(connection)? {
            let (mut read, mut bad) = (0, 0);
            let mut all = connection.prepare(&format!(
                "SELECT partition, sequence_number, etag, updated_at, checksum, body, id FROM {}",
                documents_table(collection.number)
            ))?;
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                read += 1;
                if let Err(problem) = document_problem(row, last_etag) {
                    bad += 1;
                    if bad <= LISTED_PROBLEMS {
                        let problem = problem.at(self.path);
                        self.report.problems.push(format!("collection {}: {problem}", collection.name));
                    }
                }
            }
            self.report.more("documents", bad);
            self.report.documents += read;
            if read != collection.documents {
                let (name, counted) = (collection.name, collection.documents);
                self.report
                    .problems
                    .push(format!("the collection {name} counts {counted} documents, and {read} are stored"));
            }
        }
        Ok(())
    }
}

fn document_problem(row: &rusqlite::Row<'_>, last_etag: i64) -> Result<(), Failure> {
    let id: String = row.get(6)?;
    let id = DocumentId::try_from(id).map_err(|error| Failure::Stored(error.to_string()))?;
    let document = documents::read(row, id)?;
    let (id, etag) = (document.id, document.etag);
    if i64::try_from(etag.0).is_ok_and(|etag| etag <= last_etag) {
        Ok(())
    } else {
        Err(Failure::Stored(format!("the document {id} has the etag {etag}, which was not given out yet")))
    }
}

impl Report {
    fn more(&mut self, what: &str, bad: usize) {
        if bad > LISTED_PROBLEMS {
            self.problems.push(format!("and {} more {what}", bad - LISTED_PROBLEMS));
        }
    }
}
