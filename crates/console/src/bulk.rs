//! Acts on dead letters: what is done, and what came of it in words.

use std::collections::BTreeMap;

use serde_json::json;

use tidegate_api::{BulkAct, BulkDeed, DeadLetterActed};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The functions process the events once more.
    Redrive,
    /// The events are given up.
    Discard,
}

impl From<Deed> for BulkDeed {
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::Redrive => Self::Redrive,
            Deed::Discard => Self::Discard,
        }
    }
}

impl From<BulkDeed> for Deed {
    fn from(deed: BulkDeed) -> Self {
        match deed {
            BulkDeed::Redrive => Self::Redrive,
            BulkDeed::Discard => Self::Discard,
        }
    }
}

impl Deed {
    /// The deed with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "redrive" => Some(Self::Redrive),
            "discard" => Some(Self::Discard),
            _ => None,
        }
    }

    /// Its name, as addresses have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Discard => "discard",
        }
    }

    /// What was done, as a sentence begins.
    pub fn done(self) -> &'static str {
        match self {
            Self::Redrive => "Redriven",
            Self::Discard => "Discarded",
        }
    }
}

/// What came of an act so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Dead letters on which it was done.
    pub done: u64,
    /// Those on which it was not, by why.
    pub refused: BTreeMap<String, u64>,
}

impl From<&BulkAct> for Tally {
    fn from(act: &BulkAct) -> Self {
        let refused = act.refused.iter().map(|(result, count)| (because(result), *count));
        Self { done: act.done, refused: refused.collect() }
    }
}

impl Tally {
    /// Counts answers of the API.
    pub fn add(&mut self, answers: &[DeadLetterActed]) {
        for answer in answers {
            if answer.result == "done" {
                self.done += 1;
                continue;
            }
            let why = because(answer.status.as_deref().unwrap_or(&answer.result));
            *self.refused.entry(why).or_default() += 1;
        }
    }

    /// How many were looked at.
    pub fn looked_at(&self) -> u64 {
        self.done + self.refused.values().sum::<u64>()
    }
}

/// The API's word for why it was not done, as part of a sentence: what hindered it, or the status it has.
fn because(word: &str) -> String {
    match word {
        "not-found" => "it does not exist".to_owned(),
        "leased" => "somebody else has leased it".to_owned(),
        "other-incarnation" => "its hub was made anew".to_owned(),
        "other-revision" => "it was edited meanwhile".to_owned(),
        "wrong-status" => "its status does not allow it".to_owned(),
        status => format!("it is {status}"),
    }
}

/// What the API is sent for an act on these.
pub fn request(ids: &[u64], force: bool, reason: &str) -> serde_json::Value {
    json!({ "ids": ids, "force": force, "reason": reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let acted = |result: &str, status: Option<&str>| DeadLetterActed {
            id: 1,
            result: result.to_owned(),
            status: status.map(str::to_owned),
        };
        let mut tally = Tally::default();
        tally.add(&[
            acted("done", None),
            acted("leased", None),
            acted("wrong-status", Some("redriven")),
            acted("done", None),
        ]);
        assert_eq!((tally.done, tally.looked_at()), (2, 4));
        let why: Vec<&str> = tally.refused.keys().map(String::as_str).collect();
        assert_eq!(why, ["it is redriven", "somebody else has leased it"]);
        let act = json!({ "id": "1", "act": "discard", "filter": {}, "force": false, "reason": "r", "by": "ada", "started_at": "2026-01-01T00:00:00Z",
            "state": "running", "ended_at": null, "expected": 4, "done": 2, "refused": { "leased": 1, "redriven": 1 }, "resumed": 0 });
        assert_eq!(Tally::from(&serde_json::from_value::<BulkAct>(act).unwrap()), tally);
    }
}
