//! Examines a store file for damage, and for accounts that do not add up.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use tidegate_model::checkpoint::{Checkpoint, Lane};
use tidegate_model::document::DocumentId;
use tidegate_model::ports::StoreError;

use crate::dead_letters::causes;
use crate::error::Failure;
use crate::file::StoreFile;
use crate::schema::{APPLICATION_ID, FORMAT, documents_table};
use crate::{attempts, checkpoints, documents, health, outbox, ownerships, registers, trail};

mod waiting;

/// How many problems of one kind are listed; the rest is only counted.
const LISTED_PROBLEMS: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the program ended while it made the store: there is nothing in it, and opening it finishes it.
    pub unfinished: bool,
    /// Checkpoints that were compared with what they count.
    pub lanes: u64,
    /// Documents that were read.
    pub documents: u64,
    /// Dead letters that were read.
    pub dead_letters: u64,
    /// Parked events that were read.
    pub parked: u64,
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
/// - for each lane: as many outcomes counted as events resolved, as many unsettled dead letters and parked events from the
///   checkpoint's start on as counted, and no attempts at events that are resolved;
/// - for each dead letter: a story and a state that agree, and a parked event if it is on its way to the function;
/// - for each cause: as many dead letters in each status as counted;
/// - for each key: as many parked events and bytes as counted, and the right head;
/// - for each collection: as many documents as counted, none with an etag that was not given out.
///
/// # Errors
/// When the file cannot be read at all. Damage is reported, not an error, as far as reading gets beyond it.
pub fn check(path: &Path) -> Result<Report, StoreError> {
    check_file(StoreFile::real(path))
}

/// Examines the store in the file `path` of a simulated file system, as [`check`] does.
///
/// # Errors
/// As [`check`].
#[cfg(any(test, feature = "simulation"))]
pub fn check_simulated(file_system: crate::SimulatedFiles, path: &Path) -> Result<Report, StoreError> {
    check_file(StoreFile::simulated(file_system, path))
}

fn check_file(file: StoreFile<'_>) -> Result<Report, StoreError> {
    let path = file.path();
    let opened = file.open(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
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
    let checkpoints = checker.found(lanes)?.unwrap_or_default();
    let dead_letters = checker.dead_letters(&snapshot, &checkpoints);
    checker.found(dead_letters)?;
    let differences = causes::differences(&snapshot);
    let differences = checker.found(differences)?.unwrap_or_default();
    checker.report.problems.extend(differences.into_iter().take(LISTED_PROBLEMS));
    let parked = checker.parked(&snapshot, &checkpoints);
    checker.found(parked)?;
    let records = checker.records(&snapshot);
    checker.found(records)?;
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
        let tables =
            || connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        if (application_id, format) == (0, 0) && tables()? == 0 {
            self.report.unfinished = true;
        } else if !known {
            let older = if application_id == APPLICATION_ID && format < FORMAT {
                "; the program brings it to the newer format when it opens it"
            } else {
                ""
            };
            self.report.problems.push(format!(
                "{} is no store of format {FORMAT}: its application id is {application_id:#x}, its format {format}{older}",
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

    /// Checkpoints, ownership and attempts; the checkpoints.
    fn lanes(&mut self, connection: &Connection) -> Result<BTreeMap<Lane, Checkpoint>, Failure> {
        let mut checkpoints = BTreeMap::new();
        for checkpoint in checkpoints::all(connection)? {
            self.report.lanes += 1;
            let Checkpoint { lane, start, position, counts, .. } = &checkpoint;
            let problems = &mut self.report.problems;
            if position < start {
                problems.push(format!("the checkpoint of {lane} is at {position}, before its start {start}"));
            }
            let (counted, resolved) = (counts.total(), position.distance_from(*start));
            if counted != resolved {
                problems.push(format!(
                    "the checkpoint of {lane} counts {counted} outcomes for the {resolved} events from {start} to \
                     {position}"
                ));
            }
            for event in attempts::of_lane(connection, lane)? {
                let event = event.sequence_number;
                if event < *position {
                    problems
                        .push(format!("attempts at event {event} of {lane} are stored, and it is resolved"));
                }
            }
            checkpoints.insert(lane.clone(), checkpoint);
        }
        ownerships::all(connection)?;
        Ok(checkpoints)
    }

    /// Rows that stand for themselves: the audit trail, registers, notices and health.
    fn records(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut bad = Bad::new("lines of the audit trail");
        trail::for_each(connection, |line| drop(bad.see(line, self)))?;
        bad.tell(self);
        let mut bad = Bad::new("registers");
        registers::for_each(connection, |register| drop(bad.see(register, self)))?;
        bad.tell(self);
        let mut bad = Bad::new("notices");
        outbox::for_each(connection, |notice| drop(bad.see(notice, self)))?;
        bad.tell(self);
        let mut bad = Bad::new("rows of health");
        health::for_each(connection, |health| drop(bad.see(health, self)))?;
        bad.tell(self);
        let lost = "SELECT count(*) FROM deliveries WHERE notice NOT IN (SELECT id FROM notices)";
        let lost: i64 = connection.query_row(lost, [], |row| row.get(0))?;
        if lost > 0 {
            self.report.problems.push(format!("{lost} deliveries are of notices that are not there"));
        }
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

/// Bad rows of one kind: the first are listed, the rest is counted.
struct Bad {
    what: &'static str,
    rows: usize,
}

impl Bad {
    fn new(what: &'static str) -> Self {
        Self { what, rows: 0 }
    }

    /// Takes a row; what is in it, if that is sound.
    fn see<T>(&mut self, row: Result<T, Failure>, checker: &mut Checker<'_>) -> Option<T> {
        match row {
            Ok(row) => Some(row),
            Err(failure) => {
                self.add(failure.at(checker.path).to_string(), checker);
                None
            }
        }
    }

    fn add(&mut self, problem: String, checker: &mut Checker<'_>) {
        self.rows += 1;
        if self.rows <= LISTED_PROBLEMS {
            checker.report.problems.push(problem);
        }
    }

    fn tell(self, checker: &mut Checker<'_>) {
        checker.report.more(self.what, self.rows);
    }
}

impl Report {
    fn more(&mut self, what: &str, bad: usize) {
        if bad > LISTED_PROBLEMS {
            self.problems.push(format!("and {} more {what}", bad - LISTED_PROBLEMS));
        }
    }
}
