//! Claims partitions by their ownership blobs, as the processors of Event Hubs' clients do: theirs and ours share the
//! partitions of a consumer group out among themselves.
//!
//! ```text
//! every `interval`: renew what is held ─► who has which? ─► take what falls to us ─► where is the group there? ─► assign
//!                     │ somebody else's ETag                                            the checkpoint blob, if it is
//!                     └─► lost: the lane is given up                                    further than our store
//! ```
//!
//! # What is guaranteed
//!
//! - A partition is read only while its blob names us and was renewed within [`EXPIRES_AFTER`] intervals. When the blobs
//!   cannot be reached for longer than that, others may take it, and it is not read any more.
//! - A partition that is taken from us is left at once. Who takes it by the blob finds our checkpoint there, some seconds
//!   old: what was resolved since is processed there again. At least once, as for every processor of the group.
//! - A reader that takes partitions without claiming them is not fought: we let the partition be, for longer each time.
//! - When the program ends the blobs are released, so that others need not wait.
//! - However the claiming ends, also by a panic, nothing is read from then on.

mod balance;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::{Clock, SharedClock};
use tidegate_model::ports::{EventLog, ReadError, Store, StoreError};
use tidegate_model::position::PartitionId;
use tidegate_model::trail::{Act, NewTrailEntry};
use tokio::sync::watch;

use balance::other_owner;
pub use balance::{Seen, to_take};

use super::checkpoints::{BlobCheckpoints, BlobOwnership};
use super::container::BlobError;
use crate::event_hubs::log::RemoteLog;

/// After how many intervals without a renewal others may take a partition: as in the clients for Python and JavaScript.
pub const EXPIRES_AFTER: u32 = 6;

/// How long a partition is let be that was taken by somebody who has not claimed it; each time twice as long.
const LET_BE: Duration = Duration::from_secs(30);

/// The longest time that such a partition is let be.
const LONGEST_LET_BE: Duration = Duration::from_secs(600);

/// How many blobs are asked for at a time.
const QUESTIONS: usize = 8;

/// Claims the partitions of a hub for the functions on it.
#[derive(Clone)]
pub struct Claims {
    /// The hub. Its option [`shares_partitions`](crate::event_hubs::RemoteLogOptions::shares_partitions) is true.
    pub log: Arc<RemoteLog>,
    /// Where the ownerships are.
    pub blobs: Arc<BlobCheckpoints>,
    /// The functions on the hub.
    pub functions: Vec<FunctionName>,
    /// Where their checkpoints are.
    pub store: Arc<dyn Store>,
    /// What this program is called in the blobs; the same each time that it runs over the same store.
    pub owner: String,
    /// How often what is held is renewed, and looked who has what.
    pub interval: Duration,
    /// The clock of the store.
    pub clock: SharedClock,
}

/// A partition whose blob names us.
struct Held {
    ownership: BlobOwnership,
    /// Whether it is read: its checkpoint is where the group is.
    is_assigned: bool,
}

/// A partition that somebody took without claiming it.
struct LetBe {
    times: u32,
    until: Duration,
}

/// Until when each partition that is held is read, on the steady clock. Others wait longer for it: there is time to leave it.
#[derive(Clone, Default)]
struct Deadlines(Arc<Mutex<BTreeMap<PartitionId, Duration>>>);

impl Deadlines {
    /// The partition was claimed or renewed by a request that began then.
    fn put(&self, partition: PartitionId, began: Duration, interval: Duration) {
        self.0.lock().insert(partition, began.saturating_add(interval * (EXPIRES_AFTER - 1)));
    }

    fn remove(&self, partition: PartitionId) {
        self.0.lock().remove(&partition);
    }

    /// Whether it is held, and may be read.
    fn has(&self, partition: PartitionId) -> bool {
        self.0.lock().contains_key(&partition)
    }

    /// Takes out those whose time is over.
    fn over(&self, now: Duration) -> Vec<PartitionId> {
        self.0.lock().extract_if(.., |_, until| *until <= now).map(|(partition, _)| partition).collect()
    }

    fn next(&self) -> Option<Duration> {
        self.0.lock().values().min().copied()
    }
}

/// Leaves partitions whose ownership was not renewed for long, however long the blobs let the renewal wait.
async fn leave_in_time(
    log: &RemoteLog,
    deadlines: &Deadlines,
    clock: &dyn Clock,
    interval: Duration,
) -> Infallible {
    loop {
        let now = clock.monotonic();
        for partition in deadlines.over(now) {
            let why = "its ownership could not be renewed in time";
            tracing::warn!(hub = %log.hub(), %partition, why, "the partition is left to others");
            log.unassign(partition, why);
        }
        let wait = deadlines.next().map_or(interval, |next| next.saturating_sub(now));
        clock.sleep(wait.min(interval)).await;
    }
}

/// Leaves all partitions when it is dropped: what nobody renews is not read.
struct Unassigns(Arc<RemoteLog>);

impl Drop for Unassigns {
    fn drop(&mut self) {
        let assigned = self.0.assigned().map(|assigned| assigned.borrow().clone());
        for partition in assigned.into_iter().flatten() {
            self.0.unassign(partition, "nobody renews its ownership any more");
        }
    }
}

/// What goes on.
struct Running {
    claims: Claims,
    held: BTreeMap<PartitionId, Held>,
    let_be: BTreeMap<PartitionId, LetBe>,
    /// What is being claimed or released: its blob may name us or not, whatever `held` says, until there is an answer.
    unsure: BTreeSet<PartitionId>,
    deadlines: Deadlines,
    trouble: Option<String>,
}

/// Why a partition that we hold is not read yet.
#[derive(Debug, thiserror::Error)]
enum NotFollowed {
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hub(#[from] ReadError),
}

impl Claims {
    /// Claims and renews until `stop` turns true; then it releases what it holds, and waits for no other answer of the blobs.
    /// However it ends, also when it is dropped or panics, no partition is assigned then.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Some(mut assigned) = self.log.assigned() else { return };
        let _unassigns = Unassigns(self.log.clone());
        let (clock, interval) = (self.clock.clone(), self.interval);
        let (log, deadlines) = (self.log.clone(), Deadlines::default());
        let mut running = Running {
            claims: self,
            held: BTreeMap::new(),
            let_be: BTreeMap::new(),
            unsure: BTreeSet::new(),
            deadlines: deadlines.clone(),
            trouble: None,
        };
        let rounds = async {
            loop {
                let result = running.round().await;
                running.tell(result.err());
                assigned.mark_unchanged();
                tokio::select! {
                    biased;
                    // A partition was taken: perhaps others fall to us.
                    _ = assigned.changed() => {}
                    () = clock.sleep(interval) => {}
                }
            }
        };
        tokio::select! {
            biased;
            never = leave_in_time(&log, &deadlines, &*clock, interval) => match never {},
            _ = stop.wait_for(|stop| *stop) => {}
            () = rounds => {}
        }
        running.release_all().await;
    }
}

impl Running {
    async fn round(&mut self) -> Result<(), NotFollowed> {
        self.notice_thefts().await;
        self.renew().await;
        let seen = self.look().await?;
        let mut claimed = Ok(());
        for partition in self.taken(&seen) {
            let known = seen.iter().find(|(of, _)| *of == partition).and_then(|(_, known)| known.as_ref());
            let began = self.claims.clock.monotonic();
            self.unsure.insert(partition);
            let claim = self.claims.blobs.claim(partition, &self.claims.owner, known).await;
            if is_sure(&claim) {
                self.unsure.remove(&partition);
            }
            match claim {
                Ok(ownership) => {
                    let from = known.and_then(|known| known.owner.as_deref()).unwrap_or("nobody");
                    tracing::info!(hub = %self.claims.log.hub(), %partition, from, "the partition is claimed");
                    self.deadlines.put(partition, began, self.claims.interval);
                    self.held.insert(partition, Held { ownership, is_assigned: false });
                }
                Err(error) if error.is_lost_race() => {}
                Err(error) => {
                    claimed = Err(error.into());
                    break;
                }
            }
        }
        let assigned = self.assign().await;
        claimed.and(assigned)
    }

    fn tell(&mut self, trouble: Option<NotFollowed>) {
        let said = trouble.map(|trouble| trouble.to_string());
        if said != self.trouble {
            let hub = self.claims.log.hub();
            match &said {
                None => tracing::info!(%hub, "partitions are shared out by their blobs again"),
                Some(error) => tracing::warn!(%hub, error, "partitions are not shared out at the moment"),
            }
        }
        self.trouble = said;
    }

    /// What the hub took away from us has somebody else.
    async fn notice_thefts(&mut self) {
        let Some(assigned) = self.claims.log.assigned() else { return };
        let assigned = assigned.borrow().clone();
        // What was left in time is held still, and is read again once it could be renewed.
        for (_, held) in self.held.iter_mut().filter(|(id, _)| !self.deadlines.has(**id)) {
            held.is_assigned = false;
        }
        let taken = self.held.extract_if(.., |id, held| held.is_assigned && !assigned.contains(id));
        let taken: Vec<(PartitionId, Held)> = taken.collect();
        for (partition, held) in taken {
            self.deadlines.remove(partition);
            // Who takes a partition by its blob has changed that before it began to read.
            self.unsure.insert(partition);
            let release = self.claims.blobs.release(partition, &held.ownership).await;
            if is_sure(&release) {
                self.unsure.remove(&partition);
            }
            match release {
                Err(error) if error.is_lost_race() => drop(self.let_be.remove(&partition)),
                _ => {
                    let times = self.let_be.get(&partition).map_or(0, |before| before.times + 1);
                    let pause = LET_BE.saturating_mul(1 << times.min(10)).min(LONGEST_LET_BE);
                    tracing::warn!(
                        hub = %self.claims.log.hub(), %partition, ?pause,
                        "a reader took the partition without claiming it; it is let be for a while"
                    );
                    let until = self.claims.clock.monotonic().saturating_add(pause);
                    self.let_be.insert(partition, LetBe { times, until });
                }
            }
        }
    }

    /// Renews what is held.
    async fn renew(&mut self) {
        let Self { claims, held, deadlines, .. } = self;
        let now = claims.clock.monotonic();
        let known: Vec<_> =
            held.iter().map(|(partition, held)| (*partition, held.ownership.clone())).collect();
        let renewals = known.into_iter().map(|(partition, known)| {
            let (blobs, owner) = (claims.blobs.clone(), claims.owner.clone());
            async move { (partition, blobs.claim(partition, &owner, Some(&known)).await) }
        });
        let renewed: Vec<_> = stream::iter(renewals).buffered(QUESTIONS).collect().await;
        for (partition, renewal) in renewed {
            let Some(known) = held.get_mut(&partition) else { continue };
            match renewal {
                Ok(ownership) => {
                    known.ownership = ownership;
                    // It may have been left while the answer was waited for.
                    known.is_assigned &= deadlines.has(partition);
                    deadlines.put(partition, now, claims.interval);
                    continue;
                }
                Err(error) if error.is_lost_race() => {}
                // It is tried again. Where that takes too long the partition is left, whatever is under way here.
                Err(_) => continue,
            }
            let why = "another processor of the consumer group claimed it";
            tracing::warn!(hub = %claims.log.hub(), %partition, why, "the partition is left to others");
            held.remove(&partition);
            deadlines.remove(partition);
            claims.log.unassign(partition, why);
        }
    }

    /// Who has which partition.
    async fn look(&self) -> Result<Vec<(PartitionId, Option<BlobOwnership>)>, BlobError> {
        let partitions = (0..self.claims.log.partition_count()).map(PartitionId);
        let questions = partitions.map(|partition| {
            let blobs = self.claims.blobs.clone();
            async move { Ok((partition, blobs.ownership(partition).await?)) }
        });
        // Who does not answer the first does not answer the others, and what is held has to be renewed meanwhile.
        stream::iter(questions).buffered(QUESTIONS).try_collect().await
    }

    /// What is to be claimed now. Tells the hub who has the others.
    fn taken(&mut self, seen: &[(PartitionId, Option<BlobOwnership>)]) -> Vec<PartitionId> {
        let (now, owner) = (self.claims.clock.monotonic(), self.claims.owner.as_str());
        let expires_after = self.claims.interval * EXPIRES_AFTER;
        let mut known: Vec<Seen<'_>> = Vec::new();
        for (partition, ownership) in seen {
            if self.held.contains_key(partition) {
                known.push((*partition, Some(owner)));
                continue;
            }
            let other = ownership.as_ref().and_then(|ownership| {
                other_owner(owner, ownership.owner.as_deref(), ownership.age, expires_after)
            });
            self.claims.log.tell_reader(*partition, other);
            if self.let_be.get(partition).is_none_or(|let_be| let_be.until <= now) {
                known.push((*partition, other));
            }
        }
        to_take(owner, &known)
    }

    /// Has what is held be read, once its checkpoints are where the group is. A partition of which that cannot be told does
    /// not keep the others from being read.
    async fn assign(&mut self) -> Result<(), NotFollowed> {
        let mut assigned = Ok(());
        for (partition, held) in self.held.iter_mut().filter(|(_, held)| !held.is_assigned) {
            if let Err(error) = self.claims.follow(*partition).await {
                assigned = assigned.and(Err(error));
                continue;
            }
            // To find out may have taken longer than others wait.
            if !self.deadlines.has(*partition) {
                continue;
            }
            self.claims.log.assign(*partition);
            held.is_assigned = true;
        }
        assigned
    }

    /// Gives up what is held. The lanes are given up before.
    async fn release_all(self) {
        let Self { claims, held, unsure, .. } = self;
        let held = held.into_iter().map(|(partition, held)| (partition, Some(held.ownership)));
        let released =
            held.chain(unsure.into_iter().map(|partition| (partition, None))).map(|(partition, known)| {
                let (blobs, owner) = (claims.blobs.clone(), claims.owner.clone());
                async move { (partition, give_up(&blobs, partition, &owner, known).await) }
            });
        let mut released = stream::iter(released).buffered(QUESTIONS);
        while let Some((partition, result)) = released.next().await {
            match result {
                Err(error) if !error.is_lost_race() => {
                    tracing::warn!(hub = %claims.log.hub(), %partition, %error, "an ownership was not released; it expires");
                }
                _ => {}
            }
            claims.log.unassign(partition, "it was released");
        }
    }
}

/// Whether an answer tells if what was asked for was done.
fn is_sure<T>(answer: &Result<T, BlobError>) -> bool {
    answer.as_ref().map_or_else(BlobError::is_lost_race, |_| true)
}

/// Releases a partition that `owner` has, so far as is `known`. What was written last may not be known: the answer of a renewal
/// or a claim was not waited for.
async fn give_up(
    blobs: &BlobCheckpoints,
    partition: PartitionId,
    owner: &str,
    known: Option<BlobOwnership>,
) -> Result<(), BlobError> {
    if let Some(known) = known {
        let release = blobs.release(partition, &known).await;
        if !release.as_ref().is_err_and(BlobError::is_lost_race) {
            return release;
        }
    }
    match blobs.ownership(partition).await? {
        Some(ours) if ours.owner.as_deref() == Some(owner) => blobs.release(partition, &ours).await,
        _ => Ok(()),
    }
}

impl Claims {
    /// Moves the checkpoints of a partition to where its group is by now, if others were further than we. What they did is
    /// not ours to do again.
    async fn follow(&self, partition: PartitionId) -> Result<(), NotFollowed> {
        let Some(copy) = self.blobs.checkpoint(partition).await? else { return Ok(()) };
        if copy.written_by.as_deref() == Some(self.owner.as_str()) {
            // It is a copy of ours. Where ours is behind it a person has put it back, or the store is an older one.
            return Ok(());
        }
        for function in &self.functions {
            let lane = Lane { function: function.clone(), hub: self.log.hub().clone(), partition };
            let Some(checkpoint) = self.store.checkpoint(&lane).await? else { continue };
            let is_ahead = copy.sequence_number.is_some_and(|number| number < checkpoint.position);
            if is_ahead || checkpoint.incarnation != self.log.incarnation() {
                continue;
            }
            let to = self.log.locate_behind(partition, copy.sequence_number, copy.offset.as_deref()).await;
            let to = match to {
                // The blob is of another life of the hub, or of one that lost its end.
                Err(ReadError::BeyondTail { tail, .. }) => {
                    tracing::warn!(%lane, ?copy, %tail, "the checkpoint blob is past the end of the hub; ours counts");
                    continue;
                }
                to => to?.unwrap_or_default(),
            };
            if to <= checkpoint.position {
                continue;
            }
            let act = Act {
                by: "tidegate".to_owned(),
                reason: "other processors of the consumer group were further".to_owned(),
                at: self.clock.now(),
            };
            let detail = serde_json::json!({ "from": checkpoint.position.0, "to": to.0 });
            let entry = NewTrailEntry { action: "checkpoint.follow", subject: lane.to_string(), act, detail };
            self.store.seek(&lane, checkpoint.position, to, entry).await?;
            tracing::info!(%lane, from = %checkpoint.position, %to, "the lane goes on where its group is");
        }
        Ok(())
    }
}
