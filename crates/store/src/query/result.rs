//! The answer to a query.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rusqlite::Statement;
use rusqlite::types::ValueRef;
use serde::Serialize;
use serde_json::Value;

use super::QueryLimits;

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryResult {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column. Objects and arrays inside documents are JSON text, truth values
    /// are 1 and 0, bytes are base64.
    pub rows: Vec<Vec<Value>>,
    /// True when rows were left out because of a limit.
    pub truncated: bool,
}

impl QueryResult {
    /// Runs `statement` for as many rows as the limits allow.
    pub(super) fn read(statement: &mut Statement<'_>, limits: QueryLimits) -> rusqlite::Result<Self> {
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut result = Self { columns, rows: Vec::new(), truncated: false };
        let mut bytes_left = limits.max_bytes;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            if result.rows.len() >= limits.max_rows {
                result.truncated = true;
                break;
            }
            let mut values = Vec::with_capacity(result.columns.len());
            for index in 0..result.columns.len() {
                let value = row.get_ref(index)?;
                let Some(left) = bytes_left.checked_sub(size(value)) else {
                    result.truncated = true;
                    return Ok(result);
                };
                bytes_left = left;
                values.push(json(value));
            }
            result.rows.push(values);
        }
        Ok(result)
    }
}

/// What a value takes in memory, about.
fn size(value: ValueRef<'_>) -> usize {
    size_of::<Value>()
        + match value {
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        }
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        // JSON has no infinity.
        ValueRef::Real(number) => serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => BASE64.encode(bytes).into(),
    }
}
