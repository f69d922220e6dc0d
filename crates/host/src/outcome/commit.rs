//! The one place where effects happen: decided batches become commits.
//!
//! One committer serves all lanes. It takes what was decided in the meantime as one commit, so the busier the host is,
//! the more events share a transaction. An outage of the store is waited out with the commit in hand: nothing is taken
//! back for it and nothing is lost. A commit that can never go through (somebody else owns a lane, a document was
//! changed underneath, the answer to an earlier try was lost) takes back everything ahead of the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::commit::{Commit, DocumentWrite, LaneCommit};
use tidegate_model::error::ErrorKind;
use tidegate_model::health::{BUCKET_MILLIS, HealthCounts, HealthRecord};
use tidegate_model::observe::{CommitReport, CommittedBatch};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Observer, Store, StoreError};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::circuit::CircuitBreaker;
use crate::lane::OwnedLane;
use crate::retry::OUTAGE;
use crate::settings::HostOptions;
use crate::workspace::{Taken, Workspace};

/// Commits what the pumps decide.
pub struct Committer {
    /// What is ahead of the store.
    pub workspace: Arc<Workspace>,
    /// Where commits go.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub clock: SharedClock,
    /// The lanes, by their index.
    pub lanes: Arc<[OwnedLane]>,
    /// How long commits are gathered.
    pub options: HostOptions,
    /// Told when failures are in the store.
    pub breaker: CircuitBreaker,
    /// Told of commits, if somebody is.
    pub observer: Option<Arc<dyn Observer>>,
    /// Turns true when waiting for the store has to end.
    pub give_up: watch::Receiver<bool>,
}

impl Committer {
    /// Commits until the workspace is closed and everything in it is committed.
    pub async fn run(mut self) {
        let (full, delay) = (self.options.commit_events, self.options.commit_delay);
        let mut refusals = 0;
        let mut rest = Duration::ZERO;
        while self.workspace.wait_for_commit(full, rest, delay, &*self.clock).await {
            let (mut taken, documents) = self.workspace.take(self.options.commit_events);
            let commit = self.assemble(&mut taken, documents);
            rest = rest_after(commit.documents.len());
            self.commit(&commit, taken, &mut refusals).await;
        }
    }

    /// Makes `commit` true, or takes back everything ahead of the store. `refusals` counts the commits in a row that
    /// were refused.
    async fn commit(&mut self, commit: &Commit, taken: Taken, refusals: &mut u32) {
        let mut failures = 0;
        let began = self.clock.monotonic();
        loop {
            let result = self.store.commit(commit).await;
            let is_answer =
                result.as_ref().map_or_else(|error| error.kind() != ErrorKind::Transient, |_| true);
            if failures > 0 && is_answer {
                for lane in &*self.lanes {
                    lane.store_answers();
                }
            }
            let error = match result {
                Ok(receipt) => {
                    *refusals = 0;
                    if commit.health.iter().any(|record| record.counts.failed_attempts > 0) {
                        self.breaker.request_check();
                    }
                    let is_current = self.workspace.committed(&taken, receipt);
                    self.tell(commit, &taken, failures, self.clock.monotonic().saturating_sub(began));
                    if failures > 0 {
                        info!(failures, "the store answers again");
                    }
                    for batch in taken.batches.iter().filter(|_| is_current) {
                        self.lanes[batch.lane].committed(batch, self.clock.now());
                    }
                    return;
                }
                Err(error) => error,
            };
            if let Some(observer) = &self.observer {
                observer.not_committed(self.clock.now(), &error);
            }
            match error.kind() {
                ErrorKind::Transient => {
                    failures += 1;
                    if failures == 1 {
                        warn!(code = %error.code(), %error, "the store does not take commits; processing waits for it");
                    }
                    // Also the lanes that are not in this commit: theirs waits behind it.
                    for lane in &*self.lanes {
                        lane.waits_for_store(&error.to_string());
                    }
                    let pause = OUTAGE.delay_after(failures, self.clock.random()).unwrap_or_default();
                    tokio::select! {
                        biased;
                        () = self.clock.sleep(pause) => {}
                        _ = self.give_up.wait_for(|give_up| *give_up) => {
                            warn!("stopping with commits that the store did not take; their events will be processed again");
                            self.workspace.rewind();
                            return;
                        }
                    }
                }
                kind => {
                    *refusals += 1;
                    self.refused(&error, kind, &taken, *refusals).await;
                    return;
                }
            }
        }
    }

    /// Tells the observer what is in the store now.
    fn tell(&self, commit: &Commit, taken: &Taken, failed_tries: u32, took: Duration) {
        let Some(observer) = &self.observer else { return };
        let batches = taken.batches.iter().filter_map(|batch| {
            let lane = &self.lanes[batch.lane].lane;
            let decided = batch.observed.as_ref()?;
            Some(CommittedBatch { lane, position: batch.advance.to, decided })
        });
        let batches: Vec<CommittedBatch<'_>> = batches.collect();
        observer.committed(&CommitReport {
            at: self.clock.now(),
            took,
            failed_tries,
            documents: commit.documents.len() as u64,
            batches: &batches,
        });
    }

    /// The commit can never go through as it is.
    async fn refused(&mut self, error: &StoreError, kind: ErrorKind, taken: &Taken, refusals: u32) {
        match error {
            StoreError::Fenced { lane, .. } if self.may_be_nobodys(lane).await => {
                warn!(%lane, "the checkpoint was moved; the lane goes on from there, unless it has another owner");
                for shared in self.lanes.iter().filter(|shared| shared.lane == *lane) {
                    shared.checkpoint_was_moved();
                }
            }
            StoreError::Fenced { lane, .. } => {
                for shared in self.lanes.iter().filter(|shared| shared.lane == *lane) {
                    shared.fenced(error);
                }
            }
            StoreError::OtherIncarnation { lane, .. } => {
                error!(code = %error.code(), %error, "a lane is stopped");
                for shared in self.lanes.iter().filter(|shared| shared.lane == *lane) {
                    shared.stop(error.to_string());
                }
            }
            _ if kind == ErrorKind::Conflict => {
                warn!(code = %error.code(), %error, "a commit was refused; its events are processed again");
                // Somebody who keeps changing things underneath must not make this a busy loop.
                for lane in &*self.lanes {
                    lane.waits_for_store(&error.to_string());
                }
                let pause = OUTAGE.delay_after(refusals, self.clock.random()).unwrap_or_default();
                tokio::select! {
                    biased;
                    () = self.clock.sleep(pause) => {}
                    _ = self.give_up.wait_for(|give_up| *give_up) => {}
                }
            }
            _ => {
                error!(code = %error.code(), %error, "the store refuses commits; the lanes are stopped");
                for batch in &taken.batches {
                    self.lanes[batch.lane].stop(error.to_string());
                }
            }
        }
        self.workspace.rewind();
    }

    /// Whether nobody owns a lane now: moving its checkpoint leaves it like that, another owner does not.
    ///
    /// When the store does not say, a lane that is shared is given up: it is claimed again if it is free. A lane that is
    /// not would be stopped for good by that. It is claimed again, and who claims asks first, again and again.
    async fn may_be_nobodys(&self, lane: &Lane) -> bool {
        match self.store.ownerships().await {
            Ok(ownerships) => {
                ownerships.iter().any(|ownership| ownership.lane == *lane && ownership.owner.is_empty())
            }
            Err(error) => {
                warn!(%lane, %error, "it is not known yet whether the lane has another owner");
                !self.lanes.iter().any(|shared| shared.lane == *lane && shared.is_shared())
            }
        }
    }

    /// One commit of all that was taken; the batches of a lane follow each other and become one step.
    fn assemble(&self, taken: &mut Taken, documents: Vec<DocumentWrite>) -> Commit {
        let mut lanes: Vec<LaneCommit> = Vec::new();
        let mut places = vec![None; self.lanes.len()];
        let mut health: BTreeMap<FunctionName, HealthCounts> = BTreeMap::new();
        for batch in &mut taken.batches {
            let index = *places[batch.lane].get_or_insert_with(|| {
                let shared = &self.lanes[batch.lane];
                lanes.push(LaneCommit {
                    lane: shared.lane.clone(),
                    epoch: shared.epoch(),
                    incarnation: shared.incarnation,
                    advance: batch.advance,
                    counts: OutcomeCounts::default(),
                    dead_letters: Vec::new(),
                    attempts: Vec::new(),
                    parked: Vec::new(),
                    unparked: Vec::new(),
                    reparked: Vec::new(),
                });
                lanes.len() - 1
            });
            let lane = &mut lanes[index];
            lane.advance.to = batch.advance.to;
            lane.counts += batch.counts;
            lane.dead_letters.append(&mut batch.dead_letters);
            lane.parked.append(&mut batch.parked);
            lane.unparked.append(&mut batch.unparked);
            lane.reparked.append(&mut batch.reparked);
            *health.entry(lane.lane.function.clone()).or_default() += batch.health.function;
            for (dependency, counts) in batch.health.dependencies.drain(..) {
                *health.entry(dependency).or_default() += counts;
            }
            if let Some(attempts) = batch.attempts.take() {
                lane.attempts.retain(|earlier| earlier.sequence_number != attempts.sequence_number);
                lane.attempts.push(attempts);
            }
            // An event that was resolved in the same commit has no attempts left to remember.
            lane.attempts.retain(|attempts| attempts.sequence_number >= batch.advance.to);
        }
        let at = self.clock.now();
        let second = second_of(at);
        let health = health
            .into_iter()
            .filter(|(_, counts)| !counts.is_empty())
            .map(|(circuit, counts)| HealthRecord {
                circuit,
                instance: self.options.owner.clone(),
                second,
                counts,
            })
            .collect();
        Commit { lanes, documents, health, at }
    }
}

/// A commit with fewer documents is followed by the next at once.
const FEW_DOCUMENTS: usize = 100;

/// What each further document puts the next commit off by. Writing one takes about 5 µs, so commits of many documents
/// take about a fifth of the writer's time; below 50,000 documents a second they hardly wait.
const REST_PER_DOCUMENT: Duration = Duration::from_micros(20);

/// How long the next commit is put off when only readers of documents wait for it, after one with so many documents.
/// Meanwhile more events gather, many of them for the same documents: lanes that keep up with a fast producer would
/// otherwise write each document again for every few of its events. It follows from the work alone, so that a commit which
/// was slow for another reason does not make the next one late.
fn rest_after(documents: usize) -> Duration {
    let many = u32::try_from(documents.saturating_sub(FEW_DOCUMENTS)).unwrap_or(u32::MAX);
    REST_PER_DOCUMENT.saturating_mul(many)
}

/// The beginning of the second that a time is in.
pub(crate) fn second_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(BUCKET_MILLIS) * BUCKET_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_of_many_documents_puts_the_next_one_off() {
        assert_eq!(rest_after(0), Duration::ZERO);
        assert_eq!(rest_after(FEW_DOCUMENTS), Duration::ZERO);
        assert_eq!(rest_after(FEW_DOCUMENTS + 1000), 1000 * REST_PER_DOCUMENT);
        assert!(rest_after(usize::MAX) > Duration::from_secs(1));
    }
}
