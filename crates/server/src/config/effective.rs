//! The effective configuration: every key that was read, with the value that holds, and whether the file says so.

use std::fmt::Write as _;

use tidegate_api::{Origin, Setting};
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
    /// Whether it is a secret.
    pub(crate) secret: bool,
}

impl Effective {
    /// As the API tells it; `file` is the configuration's.
    fn setting(&self, file: &str) -> Setting {
        let (value, meaning) = match &self.value {
            Holds::Given(written) | Holds::Default(written) => (Some(written.clone()), None),
            Holds::Described(meaning) => (None, Some((*meaning).to_owned())),
        };
        let is_given = matches!(self.value, Holds::Given(_));
        let from_variable = self.secret && value.as_deref().is_some_and(|value| value.starts_with("{ env"));
        let origin = match (is_given, from_variable) {
            (true, true) => Origin::Environment,
            (true, false) => Origin::File,
            (false, _) => Origin::Default,
        };
        let place = is_given.then(|| file.to_owned());
        let secret = self.secret;
        Setting {
            table: header(&self.table),
            key: self.key.to_owned(),
            value,
            meaning,
            origin,
            place,
            secret,
        }
    }
}

/// Everything that holds, as the API tells it; `file` is the configuration's. What a table within a table says is there
/// under its own header.
pub(crate) fn settings(all: &[Effective], file: &str) -> Vec<Setting> {
    let is_table = |one: &Effective| {
        let within = format!("`{}` of {}", one.key, one.table);
        all.iter().any(|other| other.table == within)
    };
    all.iter().filter(|one| !is_table(one)).map(|one| one.setting(file)).collect()
}

/// What a command line says instead: the value of a key that stands in a table once.
pub(crate) fn overridden(settings: &mut Vec<Setting>, table: &str, key: &str, value: String, option: &str) {
    let place = settings.iter().position(|setting| setting.table == table && setting.key == key);
    let setting = Setting {
        table: table.to_owned(),
        key: key.to_owned(),
        value: Some(value),
        meaning: None,
        origin: Origin::CommandLine,
        place: Some(option.to_owned()),
        secret: false,
    };
    match place {
        Some(place) => settings[place] = setting,
        None => settings.push(setting),
    }
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
