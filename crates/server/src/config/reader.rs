//! Reads one table of the configuration by its [`Element`]: every key by its description, no key unread.

use std::ops::Range;

use toml_edit::{Item, TableLike};

use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;

use crate::config::effective::{Effective, Holds, shown};
use crate::config::issue::{Issues, listed, suggest};
use crate::config::key::{Default, Element, Key, KeyInfo as _};
use crate::config::value::{Place, Setting};

/// A table being read.
pub(crate) struct Reader<'i, 't> {
    element: &'static Element,
    header: String,
    table: &'i dyn TableLike,
    span: Option<Range<usize>>,
    issues: &'i mut Issues<'t>,
}

impl<'i, 't> Reader<'i, 't> {
    /// Begins to read `item` as `element`, whose place is called `header` in messages. Unknown keys are reported now;
    /// `None` means that it is no table at all, which is reported too.
    pub(crate) fn new(
        element: &'static Element,
        header: String,
        item: &'i Item,
        span: Option<Range<usize>>,
        issues: &'i mut Issues<'t>,
    ) -> Option<Self> {
        let Some(table) = item.as_table_like() else {
            let help = format!("write it as\n{}", element.example.trim_end());
            issues.add(item.span(), ErrorCode::CONFIG_BAD_VALUE, format!("{header} must be a table"), help);
            return None;
        };
        let names = element.names();
        for (name, value) in table.iter() {
            if !names.contains(&name) {
                let at = table.key(name).and_then(toml_edit::Key::span).or_else(|| value.span());
                unknown(issues, at, &format!("key `{name}` in {header}"), name, &names, "keys");
            }
        }
        Some(Self { element, header, table, span, issues })
    }

    /// The value of a key: from the file, or its default. `None` when it is absent without a default, or wrong, which
    /// is reported.
    pub(crate) fn get<T: Setting>(&mut self, key: &Key<T>) -> Option<T> {
        let name = key.name();
        debug_assert!(
            self.element.names().contains(&name),
            "{name} is not described in {}",
            self.element.header
        );
        if let Some(item) = self.table.get(name) {
            let written = item.span().map_or("", |span| self.issues.written(span));
            self.note(name, Holds::Given(shown(item, written, T::SECRET)), T::SECRET);
            return T::read(item, &mut Place { table: &self.header, key: name, issues: self.issues });
        }
        match key.default() {
            Default::Toml(text) => {
                self.note(name, Holds::Default(text.to_owned()), T::SECRET);
                let (value, within) = read_default_at(text, &self.header, name);
                self.issues.effective.extend(within);
                value
            }
            Default::Described(meaning) => {
                self.note(name, Holds::Described(meaning), T::SECRET);
                None
            }
            Default::Required => {
                let message = format!("{} has no `{name}`", self.header);
                let help = format!("add `{name} = {}`: {}", T::EXAMPLE, key.doc());
                self.issues.add(self.span.clone(), ErrorCode::CONFIG_MISSING, message, help);
                None
            }
        }
    }

    /// The value of a key that may be absent: `Some(None)` when it is, `None` when it is wrong, which is reported.
    pub(crate) fn get_optional<T: Setting>(&mut self, key: &Key<T>) -> Option<Option<T>> {
        if self.has(key) {
            return self.get(key).map(Some);
        }
        if let Default::Described(meaning) = key.default() {
            self.note(key.name(), Holds::Described(meaning), T::SECRET);
        }
        Some(None)
    }

    fn note(&mut self, key: &'static str, value: Holds, secret: bool) {
        let read_before = self.issues.effective.iter().any(|one| one.key == key && one.table == self.header);
        if !read_before {
            self.issues.effective.push(Effective { table: self.header.clone(), key, value, secret });
        }
    }

    /// Where the table is.
    pub(crate) fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// True when the file has this key.
    pub(crate) fn has<T: Setting>(&self, key: &Key<T>) -> bool {
        self.table.contains_key(key.name())
    }

    /// Where the value of a key is, or the table when it is absent.
    pub(crate) fn span_of<T: Setting>(&self, key: &Key<T>) -> Option<Range<usize>> {
        self.table.get(key.name()).and_then(Item::span).or_else(|| self.span.clone())
    }

    /// Reports a name that this table uses and nothing declares.
    pub(crate) fn missing(&mut self, at: Option<Range<usize>>, message: &str, help: impl Into<String>) {
        let message = format!("{}: {message}", self.header);
        self.issues.add(at, ErrorCode::CONFIG_MISSING, message, help);
    }

    /// Reports a hub that this table names and nothing declares; true when it is declared.
    pub(crate) fn must_be_declared(
        &mut self,
        at: Option<Range<usize>>,
        hub: &HubName,
        declared: &[&str],
    ) -> bool {
        let known = declared.contains(&hub.as_str());
        if !known {
            let message = format!("`hub` is \"{hub}\", which is not declared");
            let hubs = if declared.is_empty() { "there are none".to_owned() } else { listed(declared) };
            let nearest = suggest(hub.as_str(), declared);
            let help = format!(
                "{nearest}\ndeclared hubs: {hubs}\ndeclare it with a table [hub.{hub}], or [source.{hub}] if it is somebody else's"
            );
            self.missing(at, &message, help.trim_start());
        }
        known
    }

    /// Reports a contradiction in this table.
    pub(crate) fn contradiction(&mut self, at: Option<Range<usize>>, message: &str, help: impl Into<String>) {
        let message = format!("{}: {message}", self.header);
        self.issues.add(at, ErrorCode::CONFIG_BAD_VALUE, message, help);
    }
}

/// Reports a key or table that does not exist, with the nearest one that does and the list of them.
pub(crate) fn unknown(
    issues: &mut Issues<'_>,
    at: Option<Range<usize>>,
    what: &str,
    name: &str,
    valid: &[&str],
    kind: &str,
) {
    let list = format!("valid {kind}: {}", listed(valid));
    let help = match suggest(name, valid) {
        nearest if nearest.is_empty() => list,
        nearest => format!("{nearest}\n{list}"),
    };
    issues.add(at, ErrorCode::CONFIG_UNKNOWN_KEY, format!("unknown {what}"), help);
}

/// The value of a key that is absent.
///
/// # Panics
/// When the key has no default that can be written; a test reads all that are.
pub(crate) fn default_of<T: Setting>(key: &Key<T>) -> T {
    match key.default() {
        Default::Toml(text) => read_default(text).expect("a test reads every default"),
        Default::Required | Default::Described(_) => panic!("`{}` has no default value", key.name()),
    }
}

/// Reads the text of a default.
pub(crate) fn read_default<T: Setting>(toml: &str) -> Option<T> {
    read_default_at(toml, "[default]", "default").0
}

/// Reads the text of a default for a key of the table that messages call `table`; with it, what holds for the keys of a
/// table within it.
fn read_default_at<T: Setting>(toml: &str, table: &str, key: &str) -> (Option<T>, Vec<Effective>) {
    let text = format!("default = {toml}");
    let Ok(document) = toml_edit::Document::parse(text.as_str()) else { return (None, Vec::new()) };
    let Some(item) = document.as_table().get("default") else { return (None, Vec::new()) };
    let mut issues = Issues::new("the default", &text);
    let value = T::read(item, &mut Place { table, key, issues: &mut issues });
    let within = issues.effective.into_iter().map(|one| match one.value {
        Holds::Given(written) => Effective { value: Holds::Default(written), ..one },
        _ => one,
    });
    (value, within.collect())
}
