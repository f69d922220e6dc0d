//! What a store may lose when its machine stops, and the promise that it loses nothing else.
//!
//! The embedded store syncs when it is asked to: at a person's acts, at changes of registers and at barriers. A power failure
//! takes commits since then: the last first, each whole. What was observed of them says nothing any more, so the oracles go
//! back to what they held true before.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_model::attempt::Attempt;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::CIRCUIT;
use tidegate_model::commit::Commit;
use tidegate_model::document::{CollectionName, DocumentId, ETag};
use tidegate_model::ports::Store;
use tidegate_model::position::{PartitionId, SequenceNumber};

use super::commits::{LaneContent, now};
use super::{Oracle, Seen};
use crate::event::entries;
use crate::scenario::hub_name;

/// What is known about commits that may be lost.
#[derive(Default)]
pub(super) struct Losses {
    /// The last commit that went through.
    last: u64,
    /// The last that is safe.
    synced: u64,
    /// What was held true after each commit since then, and before the first of them.
    after: Vec<After>,
    /// A commit of which nobody knows whether it happened, and who asked for it.
    doubtful: Option<(String, Commit)>,
}

/// What was held true after a commit, as far as commits change it.
struct After {
    commit: u64,
    positions: BTreeMap<Lane, SequenceNumber>,
    journals: BTreeMap<(CollectionName, DocumentId), Vec<String>>,
    applied: BTreeSet<(FunctionName, String)>,
    last_applied: BTreeMap<(Lane, Option<String>), SequenceNumber>,
    attempts: BTreeMap<(Lane, SequenceNumber), Vec<Attempt>>,
}

impl After {
    fn now(seen: &Seen) -> Self {
        Self {
            commit: seen.losses.last,
            positions: seen.positions.clone(),
            journals: seen.journals.clone(),
            applied: seen.applied.clone(),
            last_applied: seen.last_applied.clone(),
            attempts: seen.attempts.clone(),
        }
    }

    fn back(self, seen: &mut Seen) {
        let Self { commit: _, positions, journals, applied, last_applied, attempts } = self;
        seen.positions = positions;
        seen.journals = journals;
        seen.applied = applied;
        seen.last_applied = last_applied;
        seen.attempts = attempts;
    }
}

impl Oracle {
    /// A commit is about to be observed.
    pub(super) fn before_commit(&self, seen: &mut Seen) {
        if self.may_lose && seen.losses.after.is_empty() {
            let before = After::now(seen);
            seen.losses.after.push(before);
        }
    }

    /// Everything about a commit was observed.
    pub(super) fn after_commit(&self, seen: &mut Seen, commit: ETag) {
        seen.losses.last = commit.0;
        seen.losses.doubtful = None;
        if self.may_lose {
            let after = After::now(seen);
            seen.losses.after.push(after);
        }
    }

    /// Nobody knows whether a commit happened, until the store is opened again.
    pub(crate) fn doubtful(&self, instance: &str, commit: &Commit) {
        self.seen.lock().losses.doubtful = Some((instance.to_owned(), commit.clone()));
    }

    /// The store said that everything before is durable.
    pub(crate) fn store_synced(&self) {
        let losses = &mut self.seen.lock().losses;
        losses.synced = losses.last;
        losses.after.clear();
    }

    /// The store was opened again with so many commits in it; `power_failed` says what ended before that. What it holds is
    /// [checked](Self::check_store) when it is known which acts of people happened too.
    pub(crate) fn store_opened(&self, store: &dyn Store, commits: u64, power_failed: bool) {
        let mut seen = self.seen.lock();
        let (last, synced) = (seen.losses.last, seen.losses.synced);
        let safe = if power_failed { synced } else { last };
        if commits < safe {
            let detail = format!("the store has {commits} commits, and said that {safe} are durable");
            self.violate(&mut seen, "what the store made durable stays", detail);
        }
        self.read_owners(&mut seen, store);
        self.read_circuits(&mut seen, store);
        if commits > last {
            let Some((instance, commit)) = seen.losses.doubtful.take() else {
                let detail = format!("the store has {commits} commits, and {last} were made");
                return self.violate(&mut seen, "a commit happens whole or not at all", detail);
            };
            drop(seen);
            self.trace.note("oracle", format_args!("a commit of {instance} happened, as is seen now"));
            self.committed(&instance, &commit, ETag(commits), store);
            seen = self.seen.lock();
        } else if commits < last {
            self.trace.note("oracle", format_args!("{} commits are lost", last - commits));
            seen.losses.after.retain(|after| after.commit <= commits);
            if let Some(after) = seen.losses.after.pop() {
                after.back(&mut seen);
            }
            seen.losses.last = commits;
        }
        seen.losses.doubtful = None;
    }

    /// Who owned a lane when the power failed may not be written down.
    fn read_owners(&self, seen: &mut Seen, store: &dyn Store) {
        let owners = now(store.ownerships()).into_iter();
        seen.owners = owners.map(|owned| (owned.lane, (owned.owner, owned.epoch))).collect();
    }

    /// A circuit may have changed, and nobody heard of it.
    fn read_circuits(&self, seen: &mut Seen, store: &dyn Store) {
        let at = self.trace.now();
        for register in now(store.registers(CIRCUIT)) {
            let Ok(circuit) = serde_json::from_value(register.value) else { continue };
            let known = seen.circuits.stored.get(&register.name).map(|(circuit, _)| circuit);
            if known != Some(&circuit) {
                seen.circuits.stored.insert(register.name, (circuit, at));
            }
        }
    }

    /// What the store holds is what it held after its last commit or act: nothing of a later one, and nothing less.
    pub(crate) fn check_store(&self, store: &dyn Store) {
        let seen = &mut *self.seen.lock();
        let promise = "a commit happens whole or not at all";
        for function in &self.scenario.functions {
            for partition in (0..self.scenario.partitions).map(PartitionId) {
                let lane = Lane { function: function.name.clone(), hub: hub_name(), partition };
                let known = seen.positions.get(&lane).copied();
                let Some(content) = LaneContent::read(store, &lane, &seen.people.outdated) else {
                    if known.is_some() {
                        self.violate(seen, promise, format!("{lane} has no checkpoint any more"));
                    }
                    continue;
                };
                if known.is_some_and(|known| known != content.position) {
                    let detail = format!("{lane} is at {}, and was at {known:?}", content.position);
                    self.violate(seen, promise, detail);
                }
                self.check_attempts(seen, &lane, &content);
            }
        }
        let mut journals = BTreeMap::new();
        for (collection, _) in now(store.collections()) {
            for document in now(store.list_documents(&collection, None, usize::MAX)) {
                journals.insert((collection.clone(), document.id.clone()), entries(&document.body));
            }
        }
        if journals != seen.journals {
            let detail = format!("the journals are {journals:?}, and were {:?}", seen.journals);
            self.violate(seen, promise, detail);
        }
    }
}
