//! What is wrong with a configuration: collected while reading, reported all at once.

use std::ops::Range;

use tidegate_model::error::ErrorCode;

use crate::config::effective::Effective;
use crate::failure::{Exit, Failure, Problem};

/// The text being read, and what was found wrong with it so far.
pub(crate) struct Issues<'a> {
    origin: &'a str,
    text: &'a str,
    found: Vec<(usize, Problem)>,
    /// What holds, as far as it was read.
    pub(crate) effective: Vec<Effective>,
}

impl<'a> Issues<'a> {
    /// Nothing wrong yet with `text`, which comes from the file `origin`.
    pub(crate) fn new(origin: &'a str, text: &'a str) -> Self {
        Self { origin, text, found: Vec::new(), effective: Vec::new() }
    }

    /// Adds a problem at a place of the text.
    pub(crate) fn add(
        &mut self,
        at: Option<Range<usize>>,
        code: ErrorCode,
        message: impl std::fmt::Display,
        help: impl Into<String>,
    ) {
        let offset = at.map_or(0, |range| range.start);
        let message = format!("{}:{}: {message}", self.origin, self.line_of(offset));
        self.found.push((offset, Problem { code, message, help: help.into() }));
    }

    /// The problems in the order of the text, if there are any.
    pub(crate) fn into_failure(mut self) -> Option<Failure> {
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_by_key(|(offset, _)| *offset);
        let problems = self.found.into_iter().map(|(_, problem)| problem).collect();
        Some(Failure { problems, exit: Exit::Usage })
    }

    /// What the text has at a place.
    pub(crate) fn written(&self, at: Range<usize>) -> &'a str {
        self.text.get(at).unwrap_or_default()
    }

    fn line_of(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// "did you mean" for a word that is not in a list, with the list.
pub(crate) fn suggest(word: &str, valid: &[&str]) -> String {
    let nearest = valid
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 3)
        .min();
    match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// Names in backticks, separated by commas.
pub(crate) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_is_suggested() {
        let valid = ["partitions", "retention", "retention_bytes"];
        assert_eq!(suggest("partition", &valid), "did you mean `partitions`?");
        assert_eq!(suggest("retenion", &valid), "did you mean `retention`?");
        assert_eq!(suggest("colour", &valid), "");
    }
}
