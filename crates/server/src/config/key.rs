//! How an element of the configuration describes itself: one table of keys that serves reading, the check for unknown
//! keys and the reference documentation.

use std::marker::PhantomData;

use crate::config::value::Setting;

/// A table of the configuration, such as `[hub.NAME]`.
#[derive(Clone, Copy)]
pub(crate) struct Element {
    /// How it is written, such as `[hub.NAME]`.
    pub(crate) header: &'static str,
    /// What it is, for the reference.
    pub(crate) doc: &'static str,
    /// Every key it may have.
    pub(crate) keys: &'static [&'static dyn KeyInfo],
    /// How it looks in a file.
    pub(crate) example: &'static str,
}

impl Element {
    /// The names of its keys.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name()).collect()
    }
}

/// A key whose value is a `T`.
pub(crate) struct Key<T> {
    name: &'static str,
    default: Default,
    doc: &'static str,
    value: PhantomData<fn() -> T>,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// It must be there.
    Required,
    /// This TOML text holds.
    Toml(&'static str),
    /// Something that the words describe.
    Described(&'static str),
}

impl<T: Setting> Key<T> {
    /// A key that must be there.
    pub(crate) const fn required(name: &'static str, doc: &'static str) -> Self {
        Self { name, default: Default::Required, doc, value: PhantomData }
    }

    /// A key with a default, written as in the file.
    pub(crate) const fn with_default(name: &'static str, toml: &'static str, doc: &'static str) -> Self {
        Self { name, default: Default::Toml(toml), doc, value: PhantomData }
    }

    /// A key that may be absent; `meaning` says what holds then.
    pub(crate) const fn optional(name: &'static str, meaning: &'static str, doc: &'static str) -> Self {
        Self { name, default: Default::Described(meaning), doc, value: PhantomData }
    }
}

/// A key without its type: what a person needs to know about it.
pub(crate) trait KeyInfo: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What kind of value it has, in words.
    fn type_name(&self) -> &'static str;
    /// A value it may have, as TOML.
    fn example(&self) -> &'static str;
    /// What holds when it is absent.
    fn default(&self) -> Default;
    /// What it does.
    fn doc(&self) -> &'static str;
    /// True when its default can be read.
    #[cfg(test)]
    fn default_is_valid(&self) -> bool;
}

impl<T: Setting> KeyInfo for Key<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn type_name(&self) -> &'static str {
        T::TYPE
    }

    fn example(&self) -> &'static str {
        T::EXAMPLE
    }

    fn default(&self) -> Default {
        self.default
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    #[cfg(test)]
    fn default_is_valid(&self) -> bool {
        match self.default {
            Default::Toml(text) => crate::config::reader::read_default::<T>(text).is_some(),
            Default::Required | Default::Described(_) => true,
        }
    }
}
