//! Measures what waits: how many events a second are parked and unparked, and how long it takes to look at a parking place
//! and to act on many dead letters at once.
//!
//! ```text
//! cargo run --release -p tidegate-store --example parking_rate [directory]
//! ```
//!
//! Events have bodies of 300 bytes. Two loads: 1,000,000 events of one key, and two events of each of 100,000 keys.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::{Advance, Epoch, FunctionName, Lane};
use tidegate_model::clock::{Clock, SystemClock};
use tidegate_model::commit::{Commit, LaneCommit};
use tidegate_model::dead_letter::{Acted, DeadLetter, DeadLetterFilter};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::parking::{ParkedEvent, Turn, Unparked, UnparkedEnd};
use tidegate_model::ports::{Checkpoints, Commits, DeadLetters, Ownerships, Parking};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_model::trail::Act;
use tidegate_store::{SqliteStore, StoreOptions};

/// How many events a commit parks or unparks.
const PER_COMMIT: u64 = 5_000;

/// How many dead letters an act is about.
const PER_ACT: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    for (events, keys) in [(1_000_000, 1), (200_000, 100_000)] {
        let place = directory.join(format!("tidegate-parking-rate-{}", std::process::id()));
        std::fs::create_dir_all(&place)?;
        let measured = measure(&place.join("store.db"), events, keys).await;
        std::fs::remove_dir_all(&place)?;
        measured?;
    }
    Ok(())
}

async fn measure(path: &Path, events: u64, keys: u64) -> Result<(), Box<dyn Error>> {
    let clock = SystemClock::shared();
    let store = SqliteStore::open(path, &StoreOptions::default(), Arc::clone(&clock))?;
    let mut load = Load::begin(&store, &*clock, keys).await?;
    println!("{events} events of {keys} keys, {PER_COMMIT} a commit");

    let mut spent = Duration::ZERO;
    for _ in 0..events / PER_COMMIT {
        spent += load.park(&store, &*clock).await?;
    }
    println!("  parked:   {:>7.0} events/s", events as f64 / spent.as_secs_f64());

    let started = clock.monotonic();
    let place = store.parking_place(&load.lane).await?;
    let (heads, took) = (place.heads.len(), clock.monotonic() - started);
    println!("  looked at {heads} heads of {} events in {took:.1?}", place.events);

    let (mut spent, mut position) = (Duration::ZERO, 0);
    let mut longest = Duration::ZERO;
    while position < events / 2 {
        let parked = store.list_parked(&load.lane, SequenceNumber(position), PER_COMMIT as usize).await?;
        position += PER_COMMIT;
        let unparked = parked.iter().map(|stored| Unparked {
            sequence_number: stored.parked.event.sequence_number,
            version: stored.version,
            end: UnparkedEnd::Applied,
        });
        let took = load.commit(&store, &*clock, |step| step.unparked = unparked.collect()).await?;
        spent += took;
        longest = longest.max(took);
    }
    println!(
        "  unparked: {:>7.0} events/s; the longest commit took {longest:.0?}",
        position as f64 / spent.as_secs_f64()
    );

    load.set_aside(&store, &*clock).await?;
    let act = Act { by: "parking_rate".to_owned(), reason: String::new(), at: clock.now() };
    let ids = store.find_dead_letters(&DeadLetterFilter::default(), None, PER_ACT).await?;
    for (name, ids) in [("redrive", &ids[..PER_ACT / 2]), ("discard", &ids[PER_ACT / 2..])] {
        let started = clock.monotonic();
        let acted = match name {
            "redrive" => store.redrive(ids, false, &act).await?,
            _ => store.discard(ids, &act).await?,
        };
        let took = clock.monotonic() - started;
        assert!(acted.iter().all(|acted| *acted == Acted::Done), "every {name} is done");
        println!("  {name} of {} dead letters: {took:.0?}", ids.len());
    }
    store.close().await?;
    println!("  the file has {} MB", path.metadata()?.len() >> 20);
    Ok(())
}

/// A lane that parks.
struct Load {
    lane: Lane,
    epoch: Epoch,
    incarnation: Incarnation,
    position: SequenceNumber,
    keys: u64,
}

impl Load {
    async fn begin(store: &SqliteStore, clock: &dyn Clock, keys: u64) -> Result<Self, Box<dyn Error>> {
        let lane = Lane {
            function: FunctionName::new("track")?,
            hub: HubName::new("flights")?,
            partition: PartitionId(0),
        };
        let incarnation = Incarnation::new(clock);
        store.begin(&lane, incarnation, SequenceNumber::ZERO, clock.now()).await?;
        let epoch = store.claim(&lane, "parking_rate", clock.now()).await?.epoch;
        Ok(Self { lane, epoch, incarnation, position: SequenceNumber::ZERO, keys })
    }

    /// The next events; their keys come in no order.
    fn events(&mut self, clock: &dyn Clock, count: u64) -> Vec<Event> {
        let first = self.position;
        self.position = first.plus(count);
        let event = |n: u64| {
            let key = (first.0 + n).wrapping_mul(2_654_435_761) % self.keys;
            let data = EventData::new(vec![b'x'; 300]).with_key(format!("device-{key:08x}"));
            Event { sequence_number: first.plus(n), enqueued_at: clock.now(), data }
        };
        (0..count).map(event).collect()
    }

    async fn park(&mut self, store: &SqliteStore, clock: &dyn Clock) -> Result<Duration, Box<dyn Error>> {
        let from = self.position;
        let parked: Vec<_> = self
            .events(clock, PER_COMMIT)
            .into_iter()
            .map(|event| ParkedEvent {
                lane: self.lane.clone(),
                incarnation: self.incarnation,
                event,
                turn: Turn::At(clock.now()),
                attempts: Vec::new(),
                parked_at: clock.now(),
                redrive_of: None,
            })
            .collect();
        let to = self.position;
        self.commit(store, clock, |step| {
            step.advance = Advance { from, to };
            step.counts = OutcomeCounts { parked: PER_COMMIT, ..OutcomeCounts::default() };
            step.parked = parked;
        })
        .await
    }

    /// Sets the events of an act aside.
    async fn set_aside(&mut self, store: &SqliteStore, clock: &dyn Clock) -> Result<(), Box<dyn Error>> {
        let from = self.position;
        let events = self.events(clock, PER_ACT as u64);
        let to = self.position;
        let letter = |event| DeadLetter {
            lane: self.lane.clone(),
            incarnation: self.incarnation,
            event,
            function_version: "1".to_owned(),
            class: FailureClass::Permanent,
            reason: "not JSON".to_owned(),
            attempts: Vec::new(),
            dead_lettered_at: clock.now(),
            document: None,
        };
        let letters: Vec<_> = events.into_iter().map(letter).collect();
        let took = self
            .commit(store, clock, |step| {
                step.advance = Advance { from, to };
                step.counts =
                    OutcomeCounts { dead_lettered: letters.len() as u64, ..OutcomeCounts::default() };
                step.dead_letters = letters;
            })
            .await?;
        println!("  set aside: {:>6.0} events/s", PER_ACT as f64 / took.as_secs_f64());
        Ok(())
    }

    /// Commits a step of the lane; returns how long it took.
    async fn commit(
        &self,
        store: &SqliteStore,
        clock: &dyn Clock,
        fill: impl FnOnce(&mut LaneCommit),
    ) -> Result<Duration, Box<dyn Error>> {
        let mut step = LaneCommit {
            lane: self.lane.clone(),
            epoch: self.epoch,
            incarnation: self.incarnation,
            advance: Advance { from: self.position, to: self.position },
            counts: OutcomeCounts::default(),
            dead_letters: Vec::new(),
            attempts: Vec::new(),
            parked: Vec::new(),
            unparked: Vec::new(),
            reparked: Vec::new(),
        };
        fill(&mut step);
        let commit = Commit { lanes: vec![step], documents: Vec::new(), health: Vec::new(), at: clock.now() };
        let started = clock.monotonic();
        store.commit(&commit).await?;
        Ok(clock.monotonic() - started)
    }
}
