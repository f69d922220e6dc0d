//! Measures commits: how many documents a second go through, new ones and changed ones.
//!
//! ```text
//! cargo run --release -p tidegate-store --example commit_rate [directory]
//! ```
//!
//! Two loads, with documents of 300 bytes: all of 10,000 in each commit, and 50,000 of 1,000,000 in each commit.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_model::checkpoint::{Advance, Epoch, FunctionName, Lane};
use tidegate_model::clock::{Clock, SystemClock};
use tidegate_model::commit::{Commit, DocumentWrite, LaneCommit};
use tidegate_model::document::{CollectionName, DocumentId, ETag, Precondition};
use tidegate_model::event::HubName;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, Commits, Documents, Ownerships};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_store::{SqliteStore, StoreOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    for (documents, per_commit, commits) in [(10_000, 10_000, 60), (1_000_000, 50_000, 20)] {
        let place = directory.join(format!("tidegate-commit-rate-{}", std::process::id()));
        std::fs::create_dir_all(&place)?;
        let measured = measure(&place.join("store.db"), documents, per_commit, commits).await;
        std::fs::remove_dir_all(&place)?;
        measured?;
    }
    Ok(())
}

async fn measure(
    path: &Path,
    documents: usize,
    per_commit: usize,
    commits: usize,
) -> Result<(), Box<dyn Error>> {
    let clock = SystemClock::shared();
    let store = SqliteStore::open(path, &StoreOptions::default(), Arc::clone(&clock))?;
    let mut load = Load::begin(&store, &*clock, documents).await?;
    println!("{documents} documents, {per_commit} a commit");

    let (mut spent, mut position) = (Duration::ZERO, 0);
    while position < documents {
        let chosen: Vec<_> = (position..documents.min(position + per_commit)).collect();
        position += chosen.len();
        spent += load.commit(&store, &*clock, &chosen).await?;
    }
    println!("  new:     {:>7.0} documents/s", documents as f64 / spent.as_secs_f64());

    let (mut times, mut written) = (Vec::new(), 0);
    for _ in 0..commits {
        let chosen = load.choose(&*clock, per_commit);
        written += chosen.len();
        times.push(load.commit(&store, &*clock, &chosen).await?);
    }
    let total: Duration = times.iter().sum();
    times.sort();
    println!(
        "  changed: {:>7.0} documents/s; a commit takes {:.0?} (median), {:.0?} (longest)",
        written as f64 / total.as_secs_f64(),
        times[times.len() / 2],
        times[times.len() - 1],
    );

    let (mut spent, mut read) = (Duration::ZERO, 0);
    for _ in 0..20 {
        let ids: Vec<_> = load.choose(&*clock, per_commit).into_iter().map(|n| load.ids[n].clone()).collect();
        let started = clock.monotonic();
        read += store.documents(&load.collection, &ids).await?.iter().flatten().count();
        spent += clock.monotonic() - started;
    }
    println!("  read:    {:>7.0} documents/s", read as f64 / spent.as_secs_f64());

    let started = clock.monotonic();
    for _ in 0..100 {
        load.commit(&store, &*clock, &[0]).await?;
        store.barrier().await?;
    }
    println!("  one document and a barrier: {:.2?}", (clock.monotonic() - started) / 100);
    let started = clock.monotonic();
    store.close().await?;
    println!(
        "  closed in {:.0?}; the file has {} MB",
        clock.monotonic() - started,
        path.metadata()?.len() >> 20
    );
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("  {line}"));
    }
    Ok(())
}

/// A lane and the documents it writes.
struct Load {
    collection: CollectionName,
    ids: Vec<DocumentId>,
    etags: Vec<Option<ETag>>,
    lane: Lane,
    epoch: Epoch,
    incarnation: Incarnation,
    position: SequenceNumber,
}

impl Load {
    async fn begin(store: &SqliteStore, clock: &dyn Clock, documents: usize) -> Result<Self, Box<dyn Error>> {
        let lane = Lane {
            function: FunctionName::new("track")?,
            hub: HubName::new("flights")?,
            partition: PartitionId(0),
        };
        let incarnation = Incarnation::new(clock);
        store.begin(&lane, incarnation, SequenceNumber::ZERO, clock.now()).await?;
        let epoch = store.claim(&lane, "commit_rate", clock.now()).await?.epoch;
        // An odd factor: the ids come in no order, as devices do.
        let ids = (0..documents)
            .map(|n| DocumentId::new(&format!("{:08x}", (n as u32).wrapping_mul(2_654_435_761))));
        Ok(Self {
            collection: CollectionName::new("aircraft")?,
            ids: ids.collect::<Result<_, _>>()?,
            etags: vec![None; documents],
            lane,
            epoch,
            incarnation,
            position: SequenceNumber::ZERO,
        })
    }

    /// Different documents, at random unless it is all of them.
    fn choose(&self, clock: &dyn Clock, count: usize) -> Vec<usize> {
        if count >= self.ids.len() {
            return (0..self.ids.len()).collect();
        }
        let random = |_| usize::try_from(clock.random() % self.ids.len() as u64).unwrap_or(0);
        let mut chosen: Vec<_> = (0..count).map(random).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Commits new states of these documents; returns how long it took.
    async fn commit(
        &mut self,
        store: &SqliteStore,
        clock: &dyn Clock,
        chosen: &[usize],
    ) -> Result<Duration, Box<dyn Error>> {
        let to = self.position.plus(chosen.len() as u64);
        let write = |n: &usize| DocumentWrite {
            collection: self.collection.clone(),
            id: self.ids[*n].clone(),
            body: body(&self.ids[*n], to),
            partition: self.lane.partition,
            sequence_number: self.position,
            precondition: self.etags[*n].map_or(Precondition::Absent, Precondition::Matches),
        };
        let step = LaneCommit {
            lane: self.lane.clone(),
            epoch: self.epoch,
            incarnation: self.incarnation,
            advance: Advance { from: self.position, to },
            counts: OutcomeCounts { applied: chosen.len() as u64, ..OutcomeCounts::default() },
            dead_letters: Vec::new(),
            attempts: Vec::new(),
            parked: Vec::new(),
            unparked: Vec::new(),
            reparked: Vec::new(),
        };
        let commit = Commit {
            lanes: vec![step],
            documents: chosen.iter().map(write).collect(),
            health: Vec::new(),
            at: clock.now(),
        };
        let started = clock.monotonic();
        let etag = store.commit(&commit).await?.etag;
        let spent = clock.monotonic() - started;
        chosen.iter().for_each(|n| self.etags[*n] = Some(etag));
        self.position = to;
        Ok(spent)
    }
}

/// 300 bytes of JSON.
fn body(id: &DocumentId, at: SequenceNumber) -> Bytes {
    let start = format!(
        r#"{{"icao24":"{id}","messages":{at},"altitude":35000,"speed":451.5,"track":182.25,"note":""#
    );
    let padding = "x".repeat(300_usize.saturating_sub(start.len() + 2));
    Bytes::from(format!("{start}{padding}\"}}"))
}
