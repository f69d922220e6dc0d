//! Acts on many dead letters: what a person confirmed once is done in steps through the API, and can be watched and stopped.
//!
//! An act belongs to this process. When it stops, what is done is done and in the audit trail, and the rest was not
//! touched: the same act can be started anew, and finds only what is left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;

use tidegate_api::{DeadLetterActed, DeadLetterRef};
use tidegate_model::clock::{SharedClock, Timestamp};

use crate::api::{Api, Listing, encoded};
use crate::problem::{Outcome, Problem};

/// How many acts run at the same time.
const MAX_RUNNING: usize = 4;

/// How many acts are remembered.
const MAX_KEPT: usize = 50;

/// How many dead letters one step takes: each is one transaction of the store.
const STEP: usize = 200;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The functions process the events once more.
    Redrive,
    /// The events are given up.
    Discard,
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
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What ended it before it was through.
    pub problem: Option<Problem>,
}

impl Tally {
    /// Counts answers of the API.
    pub fn add(&mut self, answers: &[DeadLetterActed]) {
        for answer in answers {
            if answer.result == "done" {
                self.done += 1;
                continue;
            }
            let why = match &answer.status {
                Some(status) => format!("it is {status}"),
                None => why(&answer.result).to_owned(),
            };
            *self.refused.entry(why).or_default() += 1;
        }
    }

    /// How many were looked at.
    pub fn looked_at(&self) -> u64 {
        self.done + self.refused.values().sum::<u64>()
    }
}

/// The API's word for what was not done, as part of a sentence.
fn why(result: &str) -> &str {
    match result {
        "not-found" => "it does not exist",
        "leased" => "somebody else has leased it",
        "other-incarnation" => "its hub was made anew",
        "other-revision" => "it was edited meanwhile",
        "wrong-status" => "its status does not allow it",
        other => other,
    }
}

/// One act.
pub struct BulkAct {
    /// Its name in addresses.
    pub id: String,
    /// What is done.
    pub deed: Deed,
    /// On which dead letters: the parameters of the API.
    pub query: String,
    /// Why.
    pub reason: String,
    /// How many there were when it was confirmed.
    pub expected: u64,
    /// Also quarantined ones.
    pub force: bool,
    /// When it began.
    pub started_at: Timestamp,
    tally: Mutex<Tally>,
    stopped: AtomicBool,
}

impl BulkAct {
    /// How far it is.
    pub fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Ends it after the step that is under way.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether somebody ended it.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// What somebody confirmed.
pub struct Confirmed {
    /// What is done.
    pub deed: Deed,
    /// The parameters of the API that say on which.
    pub query: String,
    /// Why.
    pub reason: String,
    /// How many there are.
    pub expected: u64,
    /// Also quarantined ones.
    pub force: bool,
    /// The token of the form.
    pub csrf: Option<String>,
}

/// The acts of this process, the newest last.
#[derive(Default)]
pub struct BulkActs(Mutex<VecDeque<Arc<BulkAct>>>);

impl BulkActs {
    /// An act.
    pub fn find(&self, id: &str) -> Option<Arc<BulkAct>> {
        self.0.lock().iter().find(|act| act.id == id).cloned()
    }

    /// Starts an act in the name of who confirmed it.
    ///
    /// # Errors
    /// When too many run.
    pub fn start(&self, api: Api, confirmed: Confirmed, clock: SharedClock) -> Outcome<Arc<BulkAct>> {
        let Confirmed { deed, query, reason, expected, force, csrf } = confirmed;
        let mut acts = self.0.lock();
        let running = acts.iter().filter(|act| act.tally.lock().ended_at.is_none()).count();
        if running >= MAX_RUNNING {
            let detail = format!("{MAX_RUNNING} acts on many dead letters run already");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "TG-429", detail)
                .action("wait until one is through, or stop one"));
        }
        let act = Arc::new(BulkAct {
            id: format!("{:016x}{:016x}", clock.random(), clock.random()),
            deed,
            query,
            reason,
            expected,
            force,
            started_at: clock.now(),
            tally: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        if acts.len() >= MAX_KEPT
            && let Some(oldest) = acts.iter().position(|act| act.tally.lock().ended_at.is_some())
        {
            acts.remove(oldest);
        }
        acts.push_back(act.clone());
        drop(acts);
        tokio::spawn(run(api, act.clone(), csrf, clock));
        Ok(act)
    }
}

async fn run(api: Api, act: Arc<BulkAct>, csrf: Option<String>, clock: SharedClock) {
    let problem = work(&api, &act, csrf.as_deref()).await.err();
    let mut tally = act.tally.lock();
    tally.problem = problem;
    tally.ended_at = Some(clock.now());
}

async fn work(api: &Api, act: &BulkAct, csrf: Option<&str>) -> Outcome<()> {
    let mut after: Option<String> = None;
    let deed = format!("/api/v1/dead-letters/{}", act.deed.name());
    while !act.is_stopped() {
        let cursor = after.as_deref().map_or(String::new(), |after| format!("&after={}", encoded(after)));
        let path = format!("/api/v1/dead-letter-ids?{}&limit={STEP}{cursor}", act.query);
        let page: Listing<DeadLetterRef> = api.get(&path).await?;
        if !page.items.is_empty() {
            let ids: Vec<u64> = page.items.iter().map(|letter| letter.id).collect();
            let answers: Listing<DeadLetterActed> =
                api.post(&deed, &request(&ids, act.force, &act.reason), csrf).await?;
            act.tally.lock().add(&answers.items);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
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
    }
}
