//! What a query may touch: the views of the collections, the documents behind them, and functions of values.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::schema;

/// What a query was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// To change something.
    Write,
    /// To read a table that is no collection.
    Table(String),
    /// Anything else; says what.
    Other(String),
}

/// Decides, while SQLite compiles a query, what it may touch, and remembers the first denial.
#[derive(Default)]
pub(super) struct Access {
    denial: Arc<Mutex<Option<Denial>>>,
}

impl Access {
    /// The hook for SQLite. `views` are the names that a query may read.
    pub(super) fn authorizer(
        &self,
        views: impl Iterator<Item = String>,
    ) -> impl FnMut(AuthContext<'_>) -> Authorization + Send + 'static {
        let views: HashSet<String> = views.map(|name| name.to_ascii_lowercase()).collect();
        let denial = Arc::clone(&self.denial);
        move |context| match decide(&context, &views) {
            Ok(()) => Authorization::Allow,
            Err(denied) => {
                denial.lock().get_or_insert(denied);
                Authorization::Deny
            }
        }
    }

    /// What was denied, if anything was.
    pub(super) fn denial(&self) -> Option<Denial> {
        self.denial.lock().clone()
    }
}

fn decide(context: &AuthContext<'_>, views: &HashSet<String>) -> Result<(), Denial> {
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Read { table_name, column_name } => {
            if may_read(table_name, column_name, context, views) {
                Ok(())
            } else {
                Err(Denial::Table(table_name.to_owned()))
            }
        }
        AuthAction::Function { function_name } if is_function_of_values(function_name) => Ok(()),
        AuthAction::Function { function_name } => Err(Denial::Other(format!("the function {function_name}"))),
        AuthAction::Pragma { pragma_name, .. } => Err(Denial::Other(format!("PRAGMA {pragma_name}"))),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Err(Denial::Other("ATTACH".to_owned())),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Err(Denial::Other("a transaction".to_owned()))
        }
        _ => Err(Denial::Write),
    }
}

fn may_read(table: &str, column: &str, context: &AuthContext<'_>, views: &HashSet<String>) -> bool {
    let table = table.to_ascii_lowercase();
    match context.database_name {
        Some("temp") => views.contains(&table),
        Some(_) if table == "json_each" || table == "json_tree" => true,
        Some(_) if table.starts_with("documents_") => {
            // Through a view, which SQLite does not tell for a query that reads no column, such as count(*).
            let by_a_view = context.accessor.is_some_and(|view| views.contains(&view.to_ascii_lowercase()));
            by_a_view || column.is_empty()
        }
        Some(_) => false,
        // A table that the query itself makes, or a name that no column is read of.
        None => views.contains(&table) || !is_kept_out(&table),
    }
}

/// True for the names of tables that are there and no collections.
fn is_kept_out(table: &str) -> bool {
    schema::TABLE_NAMES.contains(&table)
        || ["documents_", "sqlite_", "pragma_", "dbstat"].iter().any(|prefix| table.starts_with(prefix))
}

/// True unless the function loads code, reaches into SQLite itself, or belongs to a full-text or spatial index.
fn is_function_of_values(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let kept_out =
        ["load_extension", "fts", "rtree", "sqlite_", "highlight", "snippet", "offsets", "optimize", "match"];
    !kept_out.iter().any(|prefix| name.starts_with(prefix))
}
