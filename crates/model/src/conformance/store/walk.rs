//! A check of everything together: random deeds, done to the store and to the reference, must lead to the same.

use std::collections::HashSet;

use crate::checkpoint::{Checkpoint, Epoch};
use crate::clock::{Clock, TestClock};
use crate::dead_letter::{DeadLetterFilter, DeadLetterId, DeadLetterStatus, StoredDeadLetter};
use crate::memory::MemoryStore;
use crate::outcome::{Outcome, OutcomeCounts};
use crate::parking::{ParkedEvent, ParkingPlace, Reparked, Turn, UnparkedEnd};
use crate::ports::{Store, StoreError};
use crate::position::SequenceNumber;
use crate::trail::{Act, TrailEntry};

use super::StoreFactory;
use super::samples::*;

/// Whatever is done in whatever order, the accounts add up, and the store tells what the reference tells.
pub async fn whatever_happens_the_accounts_agree<F: StoreFactory>(factory: &F) {
    const DEEDS: i64 = 400;
    let chance = TestClock::new(at(0), 7);
    let up_to = |limit: u64| chance.random() % (limit + 1);
    let reference = MemoryStore::new();
    let mut store = factory.open().await;
    let mut epochs = (begin(&reference, 0, 0).await, begin(&store, 0, 0).await);
    let mut seen = HashSet::new();
    for round in 0..DEEDS {
        let deed = Deed::choose(&reference, &up_to, round * 10).await;
        let expected = deed.on(&reference, &mut epochs.0).await;
        let answer = deed.on(&store, &mut epochs.1).await;
        assert_eq!(answer, expected, "round {round}: {deed:?}");
        if round % 40 == 39 {
            store = factory.reopen(store).await;
        }
        let accounts = Accounts::of(&store).await;
        accounts.add_up();
        seen.extend(accounts.letters.iter().map(|stored| stored.status));
        assert_eq!(accounts, Accounts::of(&reference).await, "round {round}, after {deed:?}");
    }
    assert_eq!(seen.len(), DeadLetterStatus::ALL.len(), "the deeds led to {seen:?} only");
}

/// Something to do to lane 0.
#[derive(Debug)]
enum Deed {
    Step { from: u64, outcomes: Vec<(Outcome, Option<&'static str>)> },
    Resolve { position: u64, events: Vec<(u64, Outcome)> },
    Stay { position: u64, event: u64, turn: Turn, tries: i64 },
    TryNow { event: u64, act: Act },
    SetAside { event: u64, act: Act },
    Release { ms: i64 },
    Redrive { ids: Vec<DeadLetterId>, force: bool, act: Act },
    Discard { ids: Vec<DeadLetterId>, act: Act },
    Edit { id: DeadLetterId, revision: u32, act: Act },
    Lease { limit: usize, until: i64, act: Act },
    ExtendLease { ids: Vec<DeadLetterId>, until: i64, act: Act },
    Seek { from: u64, to: u64, act: Act },
}

impl Deed {
    /// Chooses what to do, at `ms`, to a store that is where `store` is. Not all of it can be done.
    async fn choose(store: &impl Store, up_to: &impl Fn(u64) -> u64, ms: i64) -> Self {
        let position = position(store, 0).await;
        let waiting = store.list_parked(&lane(0), SequenceNumber(0), usize::MAX).await.unwrap();
        let waiting: Vec<_> = waiting.iter().map(|stored| stored.parked.event.sequence_number.0).collect();
        let one_waiting = match waiting.len() as u64 {
            0 => up_to(position),
            count => waiting[up_to(count - 1) as usize],
        };
        let letters = store.find_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await.unwrap();
        // Mostly the same few that can be acted on, so that some of them come back often enough.
        let unsettled = DeadLetterFilter {
            status: vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined],
            ..DeadLetterFilter::default()
        };
        let unsettled = store.find_dead_letters(&unsettled, None, 3).await.unwrap();
        let one_id = || match unsettled.len() as u64 {
            count if count > 0 && up_to(3) > 0 => unsettled[up_to(count - 1) as usize],
            _ => DeadLetterId(up_to(letters.len() as u64 + 1)),
        };
        let ids = || (0..=up_to(3)).map(|_| one_id()).collect();
        let outcome = |limit| match up_to(limit) {
            0 => Outcome::Applied,
            1 => Outcome::Filtered,
            2 => Outcome::DeadLettered,
            _ => Outcome::Parked,
        };
        let key = || [None, Some("a"), Some("b"), Some("")][up_to(3) as usize];
        let act = act(["ann", "bob"][up_to(1) as usize], ms);
        let until = ms + 10 * up_to(5) as i64;
        match up_to(30) {
            0..=5 => {
                Self::Step { from: position, outcomes: (0..=up_to(3)).map(|_| (outcome(4), key())).collect() }
            }
            6..=8 if !waiting.is_empty() => {
                let mut events: Vec<_> =
                    waiting.iter().filter(|_| up_to(3) == 0).map(|event| (*event, outcome(2))).collect();
                events.truncate(5);
                Self::Resolve { position, events }
            }
            9..=10 if !waiting.is_empty() => Self::Stay {
                position,
                event: one_waiting,
                turn: match up_to(1) {
                    0 => Turn::At(at(until)),
                    _ => Turn::Held { reason: "down".to_owned() },
                },
                tries: 1 + up_to(3) as i64,
            },
            11 => Self::TryNow { event: one_waiting, act },
            12..=13 => Self::SetAside { event: one_waiting, act },
            14 => Self::Release { ms },
            15..=20 => Self::Redrive { ids: ids(), force: up_to(3) == 0, act },
            21 => Self::Discard { ids: ids(), act },
            22..=24 => {
                let id = one_id();
                let stored = store.dead_letter(id).await.unwrap();
                let newest = stored.map_or(0, |stored| stored.revision);
                Self::Edit { id, revision: newest + u32::from(up_to(4) == 0), act }
            }
            25 => Self::Lease { limit: up_to(3) as usize, until, act },
            26..=27 => Self::ExtendLease { ids: ids(), until, act },
            28 => Self::Seek { from: position, to: position.saturating_sub(up_to(8)) + up_to(3), act },
            29 => Self::Seek { from: position.saturating_sub(up_to(1)), to: position, act },
            _ => Self::Release { ms },
        }
    }

    /// Does it; what the store said.
    async fn on(&self, store: &impl Store, epoch: &mut Epoch) -> Result<String, StoreError> {
        fn told<T: std::fmt::Debug>(answer: T) -> String {
            format!("{answer:?}")
        }
        match self {
            Self::Step { from, outcomes } => {
                let mut commit = step(0, *epoch, *from, *from + outcomes.len() as u64);
                let ours = &mut commit.lanes[0];
                ours.counts = OutcomeCounts::default();
                for (event, (outcome, key)) in (*from..).zip(outcomes) {
                    ours.counts.add(*outcome);
                    match outcome {
                        Outcome::DeadLettered => {
                            let mut letter = letter(0, event);
                            letter.event.data.partition_key = key.map(Into::into);
                            ours.dead_letters.push(letter);
                        }
                        Outcome::Parked => ours.parked.push(parked(0, event, *key)),
                        Outcome::Applied | Outcome::Filtered => {}
                    }
                }
                store.commit(&commit).await.map(|_| String::new())
            }
            Self::Resolve { position, events } => {
                let mut commit = step(0, *epoch, *position, *position);
                for (event, outcome) in events {
                    let end = match outcome {
                        Outcome::Applied => UnparkedEnd::Applied,
                        Outcome::Filtered => UnparkedEnd::Filtered,
                        _ => failed_again(*event, "timed out"),
                    };
                    commit.lanes[0].unparked.push(unparked(*event, version(store, *event).await, end));
                }
                store.commit(&commit).await.map(|_| String::new())
            }
            Self::Stay { position, event, turn, tries } => {
                let mut commit = step(0, *epoch, *position, *position);
                commit.lanes[0].reparked.push(Reparked {
                    sequence_number: SequenceNumber(*event),
                    version: version(store, *event).await,
                    turn: turn.clone(),
                    attempts: attempts(*event, *tries).attempts,
                });
                store.commit(&commit).await.map(|_| String::new())
            }
            Self::TryNow { event, act } => {
                store.try_parked_now(&lane(0), SequenceNumber(*event), act).await.map(told)
            }
            Self::SetAside { event, act } => {
                store.set_aside(&lane(0), SequenceNumber(*event), act).await.map(told)
            }
            Self::Release { ms } => store.release_held(&lane(0).function, at(*ms)).await.map(told),
            Self::Redrive { ids, force, act } => store.redrive(ids, *force, act).await.map(told),
            Self::Discard { ids, act } => store.discard(ids, act).await.map(told),
            Self::Edit { id, revision, act } => {
                let Some(stored) = store.dead_letter(*id).await? else { return Ok(String::new()) };
                let mut data = stored.letter.event.data;
                data.body = format!("revision after {revision}").into();
                let entry = line("dead-letter.edit", &id.to_string(), act.clone());
                store.edit(*id, *revision, &data, entry).await.map(told)
            }
            Self::Lease { limit, until, act } => {
                let all = DeadLetterFilter::default();
                let leased = store.lease_dead_letters(&all, *limit, at(*until), act).await?;
                Ok(told(leased.iter().map(|stored| stored.id).collect::<Vec<_>>()))
            }
            Self::ExtendLease { ids, until, act } => store.extend_lease(ids, at(*until), act).await.map(told),
            Self::Seek { from, to, act } => {
                let entry = line("checkpoint.seek", "a lane", act.clone());
                let (from, to) = (SequenceNumber(*from), SequenceNumber(*to));
                let moved = store.seek(&lane(0), from, to, entry).await?;
                *epoch = store.claim(&lane(0), "a", act.at).await?.epoch;
                Ok(told(moved))
            }
        }
    }
}

/// What must be the same in every store.
#[derive(Debug, PartialEq)]
struct Accounts {
    checkpoint: Checkpoint,
    parked: Vec<ParkedEvent>,
    place: ParkingPlace,
    parked_count: u64,
    letters: Vec<StoredDeadLetter>,
    letter_count: u64,
    /// Without the details, which are each store's own.
    trail: Vec<TrailEntry>,
}

impl Accounts {
    async fn of(store: &impl Store) -> Self {
        let of_lane = |counts| not_zero(counts).first().map_or(0, |(_, count)| *count);
        let parked = store.list_parked(&lane(0), SequenceNumber(0), usize::MAX).await.unwrap();
        let trail = store.trail(None, 0, usize::MAX).await.unwrap();
        let all = DeadLetterFilter::default();
        Self {
            checkpoint: store.checkpoint(&lane(0)).await.unwrap().expect("the lane has begun"),
            parked: parked.into_iter().map(|stored| stored.parked).collect(),
            place: without_version(store.parking_place(&lane(0)).await.unwrap()),
            parked_count: of_lane(store.count_parked().await.unwrap()),
            letters: store.list_dead_letters(&all, None, usize::MAX).await.unwrap(),
            letter_count: of_lane(store.count_dead_letters().await.unwrap()),
            trail: trail
                .into_iter()
                .map(|line| TrailEntry { detail: serde_json::Value::Null, ..line })
                .collect(),
        }
    }

    /// Checks what must hold in itself.
    fn add_up(&self) {
        let Checkpoint { start, position, counts, .. } = &self.checkpoint;
        assert_eq!(counts.total(), position.distance_from(*start));
        assert_eq!(counts.parked, self.parked_count);
        assert_eq!(counts.dead_lettered, self.letter_count);
        assert_eq!(self.place.events, self.parked.len() as u64);
        assert_eq!(self.place.bytes, self.parked.iter().map(ParkedEvent::size).sum::<u64>());
        let queued: u64 = self.place.heads.iter().map(|head| head.queued).sum();
        assert_eq!(queued, self.place.events);
    }
}
