//! Reads one table of the configuration by its [`Element`]: every key by its description, no key unread.

use std::ops::Range;

use toml_edit::{Item, TableLike};

use tidegate_model::error::ErrorCode;

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
            return T::read(item, &mut Place { table: &self.header, key: name, issues: self.issues });
        }
        match key.default() {
            Default::Toml(text) => read_default(text),
            Default::Described(_) => None,
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
        if self.has(key) { self.get(key).map(Some) } else { Some(None) }
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

/// Reads the text of a default.
pub(crate) fn read_default<T: Setting>(toml: &str) -> Option<T> {
    let text = format!("default = {toml}");
    let document = toml_edit::Document::parse(text.as_str()).ok()?;
    let mut issues = Issues::new("the default", &text);
    let item = document.as_table().get("default")?;
    T::read(item, &mut Place { table: "[default]", key: "default", issues: &mut issues })
}
