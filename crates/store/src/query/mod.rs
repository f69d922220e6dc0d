//! Read-only SQL over the documents.
//!
//! Each collection is a table under its own name. Its columns are `id`, `document` (the JSON text), `partition`,
//! `sequence_number`, `etag` and `updated_at` (RFC 3339), and one for each member that its documents have at their top
//! level, so that
//!
//! ```sql
//! SELECT id, altitude FROM aircraft WHERE altitude > 30000 ORDER BY altitude DESC
//! ```
//!
//! works as it reads. What lies deeper is reached by `document->>'$.position.lat'`. A collection with `-` or `.` in its
//! name is written in double quotes.

mod access;
mod result;
mod views;

use std::sync::Arc;
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, Error as SqlError, ErrorCode as SqlCode, Statement};
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::StoreError;

use crate::error::Failure;
use crate::sqlite_store::SqliteStore;

use self::access::{Access, Denial};
use self::views::View;

pub use self::result::QueryResult;

/// The longest text of a query in bytes.
const MAX_SQL_BYTES: i32 = 64 * 1024;

/// The largest value that a query may make, in bytes: twice the largest document.
const MAX_VALUE_BYTES: i32 = 4 * 1024 * 1024;

/// How many steps of SQLite's machine pass between two looks at the clock: well under a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// What a query may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Rows of the result; the rest is left out.
    pub max_rows: usize,
    /// Bytes of the values in the result; rows that do not fit are left out.
    pub max_bytes: usize,
    /// The time it may run.
    pub max_time: Duration,
}

impl Default for QueryLimits {
    /// 10,000 rows, 16 MiB, 10 seconds.
    fn default() -> Self {
        Self { max_rows: 10_000, max_bytes: 16 << 20, max_time: Duration::from_secs(10) }
    }
}

/// Why a query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It names a table that is no collection.
    #[error("there is no collection {name:?}; {}", listed(.collections))]
    UnknownCollection {
        /// The name in the query.
        name: String,
        /// The collections there are.
        collections: Vec<String>,
    },
    /// It would change something.
    #[error("queries are read-only: documents change only through functions")]
    ReadOnly,
    /// It uses something that is not for queries.
    #[error("{what} is not allowed in a query")]
    Forbidden {
        /// What that is.
        what: String,
    },
    /// It is no SQL, or fails on the data.
    #[error("{message}")]
    Invalid {
        /// What is wrong, for a person.
        message: String,
    },
    /// It took too long.
    #[error("the query was stopped after {limit:?}: narrow it down, or raise the limit")]
    TooSlow {
        /// The time it had.
        limit: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn listed(collections: &[String]) -> String {
    if collections.is_empty() {
        "there are none yet".to_owned()
    } else {
        format!("there are: {}", collections.join(", "))
    }
}

impl QueryError {
    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) => error.code(),
            _ => ErrorCode::QUERY_REFUSED,
        }
    }
}

impl SqliteStore {
    /// Answers one `SELECT` from the documents as they are now. It waits for no commit, and no commit for it.
    pub async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, QueryError> {
        let (sql, clock) = (sql.to_owned(), Arc::clone(&self.clock));
        // Errors of the query itself are the answer; only failures of the store go through its own error.
        let answer = self.query.run(move |connection| match run(connection, &sql, limits, &clock) {
            Ok(result) => Ok(Ok(result)),
            Err(Refusal::Query(error)) => Ok(Err(error)),
            Err(Refusal::Store(failure)) => Err(failure),
        });
        answer.await?
    }
}

/// Why a query stopped.
enum Refusal {
    Query(QueryError),
    Store(Failure),
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

fn run(
    connection: &mut Connection,
    sql: &str,
    limits: QueryLimits,
    clock: &SharedClock,
) -> Result<QueryResult, Refusal> {
    let deadline = clock.monotonic().saturating_add(limits.max_time);
    let timer = Arc::clone(clock);
    let views = views::make(connection, sql)?;
    let access = Access::default();
    let guard = |connection: &mut Connection| {
        restrict(connection)?;
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || timer.monotonic() >= deadline))?;
        connection.authorizer(Some(access.authorizer(views.iter().map(|view| view.name.clone()))))
    };
    guard(connection).map_err(Failure::Sql)?;
    let answer = answer(connection, sql, limits);
    let unguard = |connection: &mut Connection| {
        connection
            .authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>)?;
        connection.progress_handler(0, None::<fn() -> bool>)
    };
    unguard(connection).map_err(Failure::Sql)?;
    match answer {
        Ok(result) => Ok(result),
        Err(Stop::Query(error)) => Err(error.into()),
        Err(Stop::Sql(error)) => {
            let collections =
                crate::documents::collections(connection)?.into_iter().map(|found| found.name.to_string());
            Err(explain(error, access.denial(), &views, collections.collect(), limits))
        }
    }
}

/// Sets what no query may exceed or change. The first query sets it, the later ones again.
fn restrict(connection: &Connection) -> rusqlite::Result<()> {
    use rusqlite::config::DbConfig;
    // A name in double quotes that does not exist is an error, not a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.pragma_update(None, "query_only", true)
}

/// Why a statement stopped.
enum Stop {
    Query(QueryError),
    Sql(SqlError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

fn answer(connection: &Connection, sql: &str, limits: QueryLimits) -> Result<QueryResult, Stop> {
    let mut statement = connection.prepare(sql)?;
    check(&statement).map_err(Stop::Query)?;
    Ok(QueryResult::read(&mut statement, limits)?)
}

fn check(statement: &Statement<'_>) -> Result<(), QueryError> {
    let invalid = |message: &str| Err(QueryError::Invalid { message: message.to_owned() });
    if !statement.readonly() {
        return Err(QueryError::ReadOnly);
    }
    if statement.column_count() == 0 {
        return invalid("the query is empty");
    }
    if statement.parameter_count() > 0 {
        return invalid("the query has parameters; write the values themselves");
    }
    Ok(())
}

/// SQLite's error in words that help the person who wrote the query.
fn explain(
    error: SqlError,
    denial: Option<Denial>,
    views: &[View],
    collections: Vec<String>,
    limits: QueryLimits,
) -> Refusal {
    let message = match &error {
        SqlError::MultipleStatement => "a query is one statement".to_owned(),
        SqlError::SqlInputError { msg, .. } | SqlError::SqliteFailure(_, Some(msg)) => msg.clone(),
        other => other.to_string(),
    };
    if let Some(name) = message.strip_prefix("no such table: ") {
        return QueryError::UnknownCollection { name: name.to_owned(), collections }.into();
    }
    match denial {
        Some(Denial::Write) => return QueryError::ReadOnly.into(),
        Some(Denial::Table(name)) => return QueryError::UnknownCollection { name, collections }.into(),
        Some(Denial::Other(what)) => return QueryError::Forbidden { what }.into(),
        None => {}
    }
    // Said of views, before anybody is asked whether the statement may change them.
    if message.starts_with("cannot modify") || message.ends_with("may not be modified") {
        return QueryError::ReadOnly.into();
    }
    match error.sqlite_error().map(|error| error.code) {
        Some(SqlCode::OperationInterrupted) => QueryError::TooSlow { limit: limits.max_time }.into(),
        Some(SqlCode::ReadOnly) => QueryError::ReadOnly.into(),
        // "SQL logic error": the statement, or a value in it.
        Some(SqlCode::Unknown | SqlCode::TooBig | SqlCode::TypeMismatch | SqlCode::ParameterOutOfRange)
        | None => QueryError::Invalid { message: with_hints(message, views, &collections) }.into(),
        Some(_) => Refusal::Store(Failure::Sql(error)),
    }
}

fn with_hints(mut message: String, views: &[View], collections: &[String]) -> String {
    if message.starts_with("no such column") {
        for view in views {
            message.push_str(&format!("; {} has the columns {}", view.name, view.columns.join(", ")));
        }
    }
    if message.contains("syntax error") {
        for name in collections.iter().filter(|name| name.contains(['-', '.'])) {
            message.push_str(&format!("; the collection {name} is written \"{name}\", in double quotes"));
        }
    }
    message
}
