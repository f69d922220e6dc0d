//! How a hub of somebody else is: whether it can be read, since when, and what is wrong.

use maud::{Markup, html};

use tidegate_api::{SourceState, SourceStatus};
use tidegate_model::clock::Timestamp;

use crate::components::mark::{Tone, mark};
use crate::components::time::ago;
use crate::text;

/// The most characters of a problem that are shown.
const SHORT: usize = 300;

/// How a source is, in words; one that is there is no news.
pub fn word(status: &SourceStatus) -> Markup {
    let (tone, word) = match status.state {
        SourceState::There => return html! { small { "read from elsewhere" } },
        SourceState::Opening => (Tone::Busy, "being opened"),
        SourceState::Away => (Tone::Act, "cannot be reached"),
        SourceState::Refused => (Tone::Act, "does not let us in"),
        SourceState::NotRead => (Tone::Calm, "not read"),
    };
    mark(tone, word)
}

/// Since when it is so, and why.
pub fn why(status: &SourceStatus, now: Timestamp) -> Markup {
    html! {
        p class="small w" {
            @if let Some(since) = status.since { "since " (ago(since, now)) }
            @if status.since.is_some() && status.problem.is_some() { ": " }
            @if let Some(problem) = problem(status) { (text::shortened(problem, SHORT)) }
        }
    }
}

/// What is wrong, without the words that say which source it is: those stand beside it.
pub fn problem(status: &SourceStatus) -> Option<&str> {
    let problem = status.problem.as_deref()?;
    let rest = problem.strip_prefix("[source.").and_then(|rest| rest.split_once("] cannot be read: "));
    Some(rest.map_or(problem, |(_, rest)| rest))
}

/// What goes on meanwhile, and what to do.
pub fn advice(state: SourceState) -> &'static str {
    match state {
        SourceState::Refused => {
            "Somebody has to do something: check its key, its name and its consumer group, here and over there. What is changed \
             in the configuration holds from the next start; the functions go on where they were."
        }
        _ => {
            "It is tried again until it answers; then the functions go on where they were. Nothing is lost that it keeps. \
             See whether it runs, and whether it can be reached from here."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_source_is_not_said_twice() {
        let said = |problem: &str| {
            let status =
                SourceStatus { state: SourceState::Away, since: None, problem: Some(problem.to_owned()) };
            super::problem(&status).map(str::to_owned)
        };
        assert_eq!(said("[source.yard] cannot be read: no answer").as_deref(), Some("no answer"));
        assert_eq!(said("its functions cannot start").as_deref(), Some("its functions cannot start"));
    }
}
