//! Whether what can be observed is what was promised.
//!
//! The oracles know nothing of how the host works. They see what anybody could see: what producers were told, what is in
//! the log, what is in the store after each commit, who claimed which lane, which registers hold what, and which events
//! functions were invoked with. Each promise is checked as soon as it could be broken.

mod circuits;
mod clients;
mod commits;
mod ending;
mod losses;
mod people;
mod sends;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_model::attempt::Attempt;
use tidegate_model::checkpoint::{Epoch, FunctionName, Lane};
use tidegate_model::clock::Timestamp;
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::Properties;
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::function::Downstream;
use crate::scenario::{Scenario, StoreKind};
use crate::trace::Trace;

pub(crate) use circuits::Invoked;
pub(crate) use clients::Beginning;
pub(crate) use commits::{now, try_now};
pub(crate) use sends::Told;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Which promise.
    pub promise: &'static str,
    /// How, for a person.
    pub detail: String,
}

/// All oracles of a run.
pub(crate) struct Oracle {
    scenario: Scenario,
    downstream: Arc<Downstream>,
    trace: Trace,
    /// Whether the store may lose commits in a power failure.
    may_lose: bool,
    seen: Mutex<Seen>,
}

/// What was observed.
#[derive(Default)]
struct Seen {
    violation: Option<Violation>,
    sends: sends::Sends,
    /// The events of each partition, as far as anybody read them.
    log: BTreeMap<PartitionId, Vec<LoggedEvent>>,
    /// Up to where retention may have dropped the events of each partition.
    dropped: BTreeMap<PartitionId, SequenceNumber>,
    /// Where each event is.
    places: BTreeMap<String, (PartitionId, SequenceNumber)>,
    owners: BTreeMap<Lane, (String, Epoch)>,
    positions: BTreeMap<Lane, SequenceNumber>,
    journals: BTreeMap<(CollectionName, DocumentId), Vec<String>>,
    /// Which events each function applied.
    applied: BTreeSet<(FunctionName, String)>,
    /// The last applied event of each key; of a lane without keys in partition order.
    last_applied: BTreeMap<(Lane, Option<String>), SequenceNumber>,
    attempts: BTreeMap<(Lane, SequenceNumber), Vec<Attempt>>,
    people: people::People,
    circuits: circuits::Circuits,
    clients: clients::Clients,
    losses: losses::Losses,
    commits: u64,
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
struct LoggedEvent {
    id: String,
    key: Option<String>,
    body: Bytes,
    properties: Properties,
    enqueued_at: Timestamp,
}

impl Oracle {
    /// Oracles that have seen nothing.
    pub(crate) fn new(scenario: Scenario, downstream: Arc<Downstream>, trace: Trace) -> Arc<Self> {
        let may_lose = scenario.store == StoreKind::Embedded;
        Arc::new(Self { scenario, downstream, trace, may_lose, seen: Mutex::default() })
    }

    /// The first promise that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.seen.lock().violation.clone()
    }

    /// How many commits went through.
    pub(crate) fn commits(&self) -> u64 {
        self.seen.lock().commits
    }

    /// Says that a promise was broken.
    pub(crate) fn report(&self, promise: &'static str, detail: String) {
        let mut seen = self.seen.lock();
        self.violate(&mut seen, promise, detail);
    }

    fn violate(&self, seen: &mut Seen, promise: &'static str, detail: String) {
        self.trace.note("oracle", format_args!("{promise}: {detail}"));
        seen.violation.get_or_insert(Violation { promise, detail });
    }

    /// Somebody owns a lane from now on.
    pub(crate) fn claimed(&self, instance: &str, lane: &Lane, epoch: Epoch) {
        let mut seen = self.seen.lock();
        seen.people.moved_from.remove(lane);
        seen.owners.insert(lane.clone(), (instance.to_owned(), epoch));
    }

    /// Who claimed a lane last.
    pub(crate) fn owner(&self, lane: &Lane) -> Option<String> {
        self.seen.lock().owners.get(lane).map(|(owner, _)| owner.clone())
    }

    /// Whether an instance is the last that claimed a lane.
    pub(crate) fn owns(&self, instance: &str, lane: &Lane) -> bool {
        self.owner(lane).is_some_and(|owner| owner == instance)
    }
}
