//! The effective configuration: every key that was read, with the value that holds, and whether the file says so.

use std::fmt::Write as _;

use toml_edit::Item;

/// One key of one table, as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    /// The table as messages call it, such as `[hub.flights]`.
    pub(crate) table: String,
    /// The key.
    pub(crate) key: &'static str,
    /// What holds.
    pub(crate) value: Holds,
}

/// What holds for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// What the file says, as it is written there; a secret is not repeated.
    Given(String),
    /// A default, as it would be written.
    Default(String),
    /// What the words describe.
    Described(&'static str),
}

/// A value as the listing shows it: `written` as it stands, or where a secret is.
pub(crate) fn shown(item: &Item, written: &str, secret: bool) -> String {
    let says_where_it_is = item.as_table_like().is_some_and(|table| {
        let mut names = table.iter().map(|(name, value)| (name, value.is_str()));
        matches!((names.next(), names.next()), (Some(("env" | "file", true)), None))
    });
    if secret && !says_where_it_is { "\"(secret)\"".to_owned() } else { written.trim().to_owned() }
}

/// The listing as a TOML file. What the file says stands as it is, defaults are comments: some have no meaning beside what the
/// file says, such as those of another `strategy`. Tables within tables, such as `retry`, are written out.
pub(crate) fn listing(all: &[Effective]) -> String {
    let mut tables: Vec<&str> = Vec::new();
    for one in all {
        if !tables.contains(&one.table.as_str()) {
            tables.push(&one.table);
        }
    }
    let mut text = String::from("# What holds. Lines that begin with # are defaults.\n");
    for table in &tables {
        let _ = writeln!(text, "\n{}", header(table));
        for one in all.iter().filter(|one| one.table == *table) {
            // Its keys follow under a header of their own.
            if tables.contains(&format!("`{}` of {table}", one.key).as_str()) {
                continue;
            }
            let _ = match &one.value {
                Holds::Given(written) => writeln!(text, "{} = {written}", one.key),
                Holds::Default(written) => writeln!(text, "# {} = {written}", one.key),
                Holds::Described(meaning) => writeln!(text, "# {}: {meaning}", one.key),
            };
        }
    }
    text
}

/// How a table is written that messages call by this name: `` `retry` of [function.f] `` is `[function.f.retry]`.
fn header(table: &str) -> String {
    let (parent, within) = match table.strip_prefix('`').and_then(|rest| rest.split_once("` of ")) {
        Some((key, parent)) => (parent, format!(".{key}")),
        None => (table, String::new()),
    };
    let path = parent.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(parent);
    match path.split_once('.') {
        Some((kind, name))
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) =>
        {
            // The escapes of JSON are among those of TOML.
            format!("[{kind}.{}{within}]", serde_json::Value::from(name))
        }
        _ => format!("[{path}{within}]"),
    }
}
