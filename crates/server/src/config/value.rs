//! Values of the configuration: how each kind is read, and how a wrong one is reported.

use toml_edit::{Item, Value};

use tidegate_model::error::ErrorCode;

use crate::config::issue::Issues;

/// A type of value that a key can have.
pub(crate) trait Setting: Sized {
    /// The kind of value in words, such as "a duration".
    const TYPE: &'static str;
    /// A valid value as TOML.
    const EXAMPLE: &'static str;
    /// Whether a value is shown to nobody, unless it only says where it is.
    const SECRET: bool = false;

    /// Reads the value. What is wrong with it is reported to `place`, and the answer is `None`.
    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self>;
}

/// Where a value is, for messages about it.
pub(crate) struct Place<'i, 't> {
    /// The table, such as `[hub.flights]`.
    pub(crate) table: &'i str,
    /// The key.
    pub(crate) key: &'i str,
    /// Where problems go.
    pub(crate) issues: &'i mut Issues<'t>,
}

impl Place<'_, '_> {
    /// Reports a value that is not of the kind `T`.
    pub(crate) fn not_a<T: Setting>(&mut self, item: &Item) {
        self.wrong(item, &format!("expected {}", T::TYPE), T::EXAMPLE);
    }

    /// Reports a value; `problem` says what is wrong with it.
    pub(crate) fn wrong(&mut self, item: &Item, problem: &str, example: &str) {
        let message = format!("`{}` of {} is {}: {problem}", self.key, self.table, self.shown(item));
        let help = format!("for example `{} = {example}`", self.key);
        self.issues.add(item.span(), ErrorCode::CONFIG_BAD_VALUE, message, help);
    }

    /// Like [`wrong`](Self::wrong), for a value that may be a secret: it is not shown.
    pub(crate) fn wrong_unseen(&mut self, item: &Item, problem: &str, example: &str) {
        let message = format!("`{}` of {}: {problem}", self.key, self.table);
        let help = format!("for example `{} = {example}`", self.key);
        self.issues.add(item.span(), ErrorCode::CONFIG_BAD_VALUE, message, help);
    }

    /// The value as a message shows it: as it is written, short, on one line.
    fn shown(&self, item: &Item) -> String {
        match item {
            Item::Value(Value::Array(_)) => return "an array".to_owned(),
            Item::Value(Value::InlineTable(_)) | Item::Table(_) => return "a table".to_owned(),
            Item::ArrayOfTables(_) => return "an array of tables".to_owned(),
            Item::None => return "absent".to_owned(),
            Item::Value(_) => {}
        }
        let written = item.span().map_or("", |span| self.issues.written(span));
        let line = written.lines().next().unwrap_or_default();
        if line.chars().count() <= 60 {
            line.to_owned()
        } else {
            line.chars().take(57).chain("...".chars()).collect()
        }
    }
}

impl Setting for String {
    const TYPE: &'static str = "a text";
    const EXAMPLE: &'static str = "\"text\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let text = item.as_str().map(str::to_owned);
        if text.is_none() {
            place.not_a::<Self>(item);
        }
        text
    }
}

impl Setting for usize {
    const TYPE: &'static str = "a whole number from 1 to 1000000";
    const EXAMPLE: &'static str = "512";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let number = item.as_integer().filter(|number| (1..=1_000_000).contains(number));
        if number.is_none() {
            place.not_a::<Self>(item);
        }
        number.and_then(|number| Self::try_from(number).ok())
    }
}

/// Reads a type as one of a few words.
macro_rules! word_setting {
    ($name:ident: $type_name:literal { $($variant:ident = $word:literal),+ } example $example:literal) => {
        impl $crate::config::value::Setting for $name {
            const TYPE: &'static str = $type_name;
            const EXAMPLE: &'static str = $example;

            fn read(item: &toml_edit::Item, place: &mut $crate::config::value::Place<'_, '_>) -> Option<Self> {
                match item.as_str() {
                    $(Some($word) => Some(Self::$variant),)+
                    _ => {
                        place.not_a::<Self>(item);
                        None
                    }
                }
            }
        }
    };
}
pub(crate) use word_setting;

/// A setting that is one of the validated names of the model.
macro_rules! name_setting {
    ($name:ty, $example:literal) => {
        impl Setting for $name {
            const TYPE: &'static str = "a name: letters, digits, and inside also `-`, `_` and `.`";
            const EXAMPLE: &'static str = $example;

            fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
                let Some(text) = item.as_str() else {
                    place.not_a::<Self>(item);
                    return None;
                };
                match Self::new(text) {
                    Ok(name) => Some(name),
                    Err(error) => {
                        place.wrong(item, &format!("a name {}", error.problem), Self::EXAMPLE);
                        None
                    }
                }
            }
        }
    };
}

name_setting!(tidegate_model::event::HubName, "\"flights\"");
name_setting!(tidegate_model::document::CollectionName, "\"aircraft\"");
