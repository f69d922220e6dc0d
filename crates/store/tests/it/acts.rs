//! A long row of steps that touches everything a store keeps beside documents: commits that park, unpark and set aside,
//! and all that people do. The memory store takes the same steps; after each, both must tell the same.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tidegate_model::attempt::{Attempt, EventAttempts, FailureClass, FailureKind};
use tidegate_model::checkpoint::{Advance, Checkpoint, FunctionName, Lane, Ownership};
use tidegate_model::clock::{Clock, SystemClock, TestClock, Timestamp};
use tidegate_model::commit::{Commit, LaneCommit};
use tidegate_model::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterId, DeadLetterStatus, StoredDeadLetter,
};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::health::{HealthCounts, HealthRecord, InstanceHealth};
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::{DeliveryState, NewNotice, Notice, NoticeId};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::parking::{
    ParkedEvent, ParkedVersion, ParkingPlace, Reparked, StoredParked, Turn, Unparked, UnparkedEnd,
};
use tidegate_model::ports::{RegisterChange, Store, StoreError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_model::register::{Register, RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry, TrailEntry};
use tidegate_store::check::check;
use tidegate_store::{SqliteStore, StoreOptions};

use crate::load::{self, Place};

const KINDS: [&str; 2] = ["circuit", "pause"];

/// After so many steps there is something in every table.
pub(crate) const STEPS_TO_EVERY_TABLE: u64 = 105;

/// All that a store tells, apart from documents. Versions of parked events are left out: they grow, and no more is said.
#[derive(Debug, PartialEq)]
pub(crate) struct Everything {
    ownerships: Vec<Ownership>,
    checkpoints: Vec<Checkpoint>,
    attempts: Vec<Vec<EventAttempts>>,
    places: Vec<ParkingPlace>,
    parked: Vec<Vec<ParkedEvent>>,
    queues: Vec<Vec<ParkedEvent>>,
    parked_counts: Vec<(Lane, u64)>,
    dead_letters: Vec<StoredDeadLetter>,
    groups: Vec<Vec<DeadLetterGroup>>,
    by_status: Vec<Vec<DeadLetterId>>,
    dead_letter_counts: Vec<(Lane, u64)>,
    trail: Vec<TrailEntry>,
    registers: Vec<Vec<Register>>,
    notices: Vec<Notice>,
    health: Vec<InstanceHealth>,
}

impl Everything {
    pub(crate) async fn of(store: &impl Store) -> Result<Self, StoreError> {
        let checkpoints = store.checkpoints().await?;
        let (mut attempts, mut places) = (Vec::new(), Vec::new());
        let (mut parked, mut queues) = (Vec::new(), Vec::new());
        for Checkpoint { lane, .. } in &checkpoints {
            attempts.push(store.attempts(lane).await?);
            let place = store.parking_place(lane).await?;
            let listed = store.list_parked(lane, SequenceNumber::ZERO, usize::MAX).await?;
            for head in &place.heads {
                let Some(key) = &head.key else { continue };
                let queue =
                    store.parked_of_key(lane, key, SequenceNumber::ZERO, usize::MAX, usize::MAX).await?;
                queues.push(queue.into_iter().map(|stored| stored.parked).collect());
            }
            // How many versions were used up is each store's own affair.
            places.push(ParkingPlace { version: ParkedVersion::default(), ..place });
            parked.push(listed.into_iter().map(|stored| stored.parked).collect());
        }
        let mut by_status = Vec::new();
        for status in DeadLetterStatus::ALL {
            let filter = DeadLetterFilter { status: vec![status], ..DeadLetterFilter::default() };
            by_status.push(store.find_dead_letters(&filter, None, usize::MAX).await?);
        }
        let mut registers = Vec::new();
        for kind in KINDS {
            registers.push(store.registers(kind).await?);
        }
        let dead_letters = store.list_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await?;
        let mut notices = store.recent_notices(usize::MAX).await?;
        notices
            .iter_mut()
            .for_each(|notice| notice.deliveries.sort_by(|one, other| one.target.cmp(&other.target)));
        Ok(Self {
            ownerships: store.ownerships().await?,
            checkpoints,
            attempts,
            places,
            parked,
            queues,
            parked_counts: store.count_parked().await?,
            dead_letters: dead_letters.clone(),
            groups: group(store, &dead_letters).await?,
            by_status,
            dead_letter_counts: store.count_dead_letters().await?,
            trail: store.trail(None, 0, usize::MAX).await?,
            registers,
            notices,
            health: store.health(&lane(0).function, Timestamp::from_millis(0)).await?,
        })
    }
}

/// The causes of all dead letters, and of those that some filters leave: by status, by cause, and by time.
async fn group(
    store: &impl Store,
    letters: &[StoredDeadLetter],
) -> Result<Vec<Vec<DeadLetterGroup>>, StoreError> {
    let all = DeadLetterFilter::default();
    let mut filters = vec![
        all.clone(),
        DeadLetterFilter {
            status: vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined],
            ..all.clone()
        },
        DeadLetterFilter { class: Some(FailureClass::Exhausted), ..all.clone() },
    ];
    if let Some(middle) = letters.get(letters.len() / 2) {
        let (at, lane) = (middle.letter.dead_lettered_at, &middle.letter.lane);
        filters.extend([
            DeadLetterFilter { until: Some(at), ..all.clone() },
            DeadLetterFilter { since: Some(at), status: vec![middle.status], ..all.clone() },
            DeadLetterFilter { since: Some(Timestamp::from_millis(0)), until: Some(at), ..all.clone() },
            DeadLetterFilter {
                fingerprint: Some(middle.fingerprint),
                function: Some(lane.function.clone()),
                ..all.clone()
            },
            DeadLetterFilter { partition: Some(lane.partition), ..all },
        ]);
    }
    let mut groups = Vec::new();
    for filter in filters {
        groups.push(store.group_dead_letters(&filter).await?);
    }
    Ok(groups)
}

/// Takes step number `n`, which depends on nothing but the number and what the store holds; what the store said to it.
pub(crate) async fn step(store: &impl Store, n: u64) -> Result<String, StoreError> {
    let random = TestClock::new(at(n), n);
    let chosen = |count: usize| usize::try_from(random.random() % count.max(1) as u64).unwrap_or(0);
    let lane = lane(u32::try_from(random.random() % 2).unwrap_or(0));
    let act = Act { by: format!("person {}", random.random() % 3), reason: format!("step {n}"), at: at(n) };
    let parked = store.list_parked(&lane, SequenceNumber::ZERO, usize::MAX).await?;
    let any_parked = parked
        .get(chosen(parked.len()))
        .map_or(SequenceNumber(7), |stored| stored.parked.event.sequence_number);
    let letters = store.find_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await?;
    let any_letters: Vec<_> =
        (0..5).map(|_| letters.get(chosen(letters.len())).copied().unwrap_or(DeadLetterId(n + 1))).collect();
    let any_letter = any_letters[0];
    let open = DeadLetterFilter {
        function: random.random().is_multiple_of(2).then(|| lane.function.clone()),
        since: random.random().is_multiple_of(2).then(|| at(n.saturating_sub(40))),
        ..DeadLetterFilter::default()
    };
    Ok(match random.random() % 20 {
        0..8 => {
            let commit = commit(store, &lane, n, &random, &parked).await?;
            format!("{:?}", store.commit(&commit).await.map(|_| ()))
        }
        8 | 9 => format!("{:?}", store.redrive(&any_letters, n.is_multiple_of(2), &act).await?),
        10 => format!("{:?}", store.discard(&any_letters[..2], &act).await?),
        11 => {
            let stored = store.dead_letter(any_letter).await?;
            let mut event =
                stored.as_ref().map_or_else(EventData::default, |stored| stored.letter.event.data.clone());
            event.body = format!("edited in step {n}").into();
            let revision =
                stored.map_or(0, |stored| stored.revision).saturating_sub(u32::from(n.is_multiple_of(7)));
            let entry = entry("dead-letter.edit", any_letter.to_string(), act);
            format!("{:?}", store.edit(any_letter, revision, &event, entry).await?)
        }
        12 => format!("{:?}", store.lease_dead_letters(&open, 3, at(n + 30), &act).await?),
        13 => format!("{:?}", store.extend_lease(&any_letters, at(n + chosen(20) as u64), &act).await?),
        14 => format!("{:?}", store.set_aside(&lane, any_parked, &act).await?),
        15 => format!("{:?}", store.try_parked_now(&lane, any_parked, &act).await?),
        16 => format!("{:?}", store.release_held(&lane.function, at(n)).await?),
        17 | 18 => {
            let key = RegisterKey::new(KINDS[chosen(2)], format!("r{}", chosen(3)));
            let stored = store.register(&key).await?;
            let change = RegisterChange {
                from: stored.map_or(Version::NONE, |stored| stored.version),
                value: (!n.is_multiple_of(5)).then(|| serde_json::json!({ "step": n })),
                at: at(n),
                notices: vec![NewNotice {
                    kind: "circuit.opened".to_owned(),
                    subject: key.name.clone(),
                    at: at(n),
                    data: serde_json::json!([n]),
                }],
                trail: vec![entry("circuit.open", key.name.clone(), act)],
                key,
            };
            format!("{:?}", store.change_register(change).await)
        }
        _ if n.is_multiple_of(4) => {
            let Some(checkpoint) = store.checkpoint(&lane).await? else { return Ok(String::new()) };
            let to = SequenceNumber(checkpoint.position.0.saturating_sub(random.random() % 30));
            let entry = entry("checkpoint.seek", lane.to_string(), act);
            format!("{:?}", store.seek(&lane, checkpoint.position, to, entry).await)
        }
        _ => {
            let target = format!("target {}", chosen(2));
            let due = store.due_notices(std::slice::from_ref(&target), at(n), 2).await?;
            let id = due.first().map_or(NoticeId(n), |notice| notice.id);
            let (state, error) = match chosen(3) {
                0 => (DeliveryState::Due(at(n + 5)), Some("no answer")),
                1 => (DeliveryState::Delivered(at(n)), None),
                _ => (DeliveryState::GivenUp(at(n)), Some("never")),
            };
            store.record_delivery(id, &target, state, error).await?;
            store.prune_notices(at(n)).await?;
            format!("{:?}", due.into_iter().map(|notice| notice.notice).collect::<Vec<_>>())
        }
    })
}

/// A commit of ten more events of the lane, which also ends or tries some of those that are parked.
async fn commit(
    store: &impl Store,
    lane: &Lane,
    n: u64,
    random: &TestClock,
    parked: &[StoredParked],
) -> Result<Commit, StoreError> {
    let from = store.checkpoint(lane).await?.map_or(SequenceNumber::ZERO, |checkpoint| checkpoint.position);
    let ownership = store.ownerships().await?.into_iter().find(|ownership| ownership.lane == *lane);
    let mut step = LaneCommit {
        lane: lane.clone(),
        epoch: ownership.map(|ownership| ownership.epoch).unwrap_or(tidegate_model::checkpoint::Epoch(0)),
        incarnation: incarnation(),
        advance: Advance { from, to: from.plus(10) },
        counts: OutcomeCounts {
            applied: 4,
            filtered: 2,
            dead_lettered: 2,
            parked: 2,
            ..OutcomeCounts::default()
        },
        dead_letters: vec![
            letter(lane, event(from.plus(3), n), n, 1),
            letter(lane, event(from.plus(6), n), n, 2),
        ],
        attempts: vec![EventAttempts { sequence_number: from.plus(10), attempts: attempts(n, 1) }],
        parked: [from.plus(1), from.plus(8)].map(|number| parked_event(lane, event(number, n), n)).into(),
        unparked: Vec::new(),
        reparked: Vec::new(),
    };
    for StoredParked { version, parked } in parked {
        let sequence_number = parked.event.sequence_number;
        let version = match random.random() % 40 {
            // Somebody else was there: the whole commit is refused.
            0 => ParkedVersion(version.0 + 1),
            _ => *version,
        };
        let end = match random.random() % 12 {
            0 | 1 => UnparkedEnd::Applied,
            2 => UnparkedEnd::Filtered,
            3..6 => UnparkedEnd::DeadLettered(Box::new(letter(lane, parked.event.clone(), n, 3))),
            6 | 7 => {
                let turn = match random.random() % 2 {
                    0 => Turn::Held { reason: format!("held in step {n}") },
                    _ => Turn::At(at(n + 3)),
                };
                let mut tried = parked.attempts.clone();
                tried.extend(attempts(n, 1));
                step.reparked.push(Reparked { sequence_number, version, turn, attempts: tried });
                continue;
            }
            _ => continue,
        };
        step.unparked.push(Unparked { sequence_number, version, end });
    }
    let health = HealthRecord {
        circuit: lane.function.clone(),
        instance: format!("instance {}", n % 2),
        second: Timestamp::from_millis(at(n).as_millis() / 1000 * 1000),
        counts: HealthCounts { succeeded: 6, failing: 2, failed_attempts: n, ..HealthCounts::default() },
    };
    Ok(Commit { lanes: vec![step], documents: Vec::new(), health: vec![health], at: at(n) })
}

/// Begins and claims the two lanes.
pub(crate) async fn begin(store: &impl Store) {
    for partition in 0..2 {
        store.begin(&lane(partition), incarnation(), SequenceNumber(5), at(0)).await.unwrap();
        store.claim(&lane(partition), "the steps", at(0)).await.unwrap();
    }
}

fn lane(partition: u32) -> Lane {
    Lane {
        function: FunctionName::new("track").unwrap(),
        hub: HubName::new("flights").unwrap(),
        partition: PartitionId(partition),
    }
}

fn incarnation() -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(7))
}

fn at(n: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + n as i64 * 100)
}

fn event(sequence_number: SequenceNumber, n: u64) -> Event {
    let data = EventData::new(vec![n as u8; (n * 131 % 2000) as usize]);
    let data = match sequence_number.0 % 4 {
        0 => data,
        key => data.with_key(format!("key {key}")),
    };
    Event { sequence_number, enqueued_at: at(n), data }
}

fn attempts(n: u64, count: u64) -> Vec<Attempt> {
    let attempt = |of| Attempt { at: at(n + of), kind: FailureKind::TimedOut, error: format!("in step {n}") };
    (0..count).map(attempt).collect()
}

fn parked_event(lane: &Lane, event: Event, n: u64) -> ParkedEvent {
    ParkedEvent {
        lane: lane.clone(),
        incarnation: incarnation(),
        event,
        turn: Turn::At(at(n)),
        attempts: attempts(n, n % 2),
        parked_at: at(n),
        redrive_of: None,
    }
}

fn letter(lane: &Lane, event: Event, n: u64, cause: u64) -> DeadLetter {
    DeadLetter {
        lane: lane.clone(),
        incarnation: incarnation(),
        event,
        function_version: "1".to_owned(),
        class: if cause == 1 { FailureClass::Permanent } else { FailureClass::Exhausted },
        reason: format!(
            "{} in step {n}",
            ["not text", "not JSON", "no such plane", "no answer"][(cause % 4) as usize]
        ),
        attempts: attempts(n, cause),
        dead_lettered_at: at(n),
        document: None,
    }
}

fn entry(action: &'static str, subject: String, act: Act) -> NewTrailEntry {
    NewTrailEntry { action, subject, act, detail: serde_json::json!({ "note": "by hand" }) }
}

#[tokio::test]
async fn the_store_does_what_the_memory_store_does() {
    let place = Place::new();
    let (store, memory) = (place.open(), MemoryStore::new());
    begin(&store).await;
    begin(&memory).await;
    let (mut refused, mut seen) = (0, Vec::new());
    for n in 0..600 {
        let (answer, expected) = (step(&store, n).await.unwrap(), step(&memory, n).await.unwrap());
        assert_eq!(answer, expected, "step {n}");
        refused += u32::from(answer.starts_with("Err"));
        if n % 5 == 0 {
            let everything = Everything::of(&store).await.unwrap();
            assert_eq!(everything, Everything::of(&memory).await.unwrap(), "after step {n}");
            seen.extend(everything.dead_letters.into_iter().map(|stored| stored.status));
        }
        if n % 50 == 0 {
            assert_eq!(check(&place.path()).unwrap().problems, [""; 0], "after step {n}");
        }
    }
    let never: Vec<_> = DeadLetterStatus::ALL.into_iter().filter(|status| !seen.contains(status)).collect();
    assert!(refused > 5 && never.is_empty(), "{refused} refused, no dead letter was ever {never:?}");
    let everything = Everything::of(&store).await;
    store.close().await.unwrap();
    assert_eq!(Everything::of(&place.open()).await, everything);
    assert_eq!(check(&place.path()).unwrap().problems, [""; 0]);
}

/// The write-ahead log of some steps, cut at each of its frames: what a crash leaves at each write of each step. It must be
/// what the memory store holds after a number of whole steps, and never less than for a shorter log.
#[tokio::test]
async fn a_crash_leaves_whole_steps() {
    /// Format of the write-ahead log: https://sqlite.org/fileformat2.html#walformat
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 2048;
    const STEPS: u64 = 30;

    let place = Place::new();
    let options = StoreOptions { wal_bytes: 1 << 30, ..StoreOptions::default() };
    let store = SqliteStore::open(&place.path(), &options, SystemClock::shared()).unwrap();
    begin(&store).await;
    for n in 0..STEPS {
        step(&store, n).await.unwrap();
    }
    let wal_path = |path: &Path| path.with_extension("db-wal");
    let wal = std::fs::read(wal_path(&place.path())).unwrap();
    let frames = (wal.len() - HEADER) / FRAME;
    assert!(frames > 150, "the steps are in the log: {frames} frames");

    let memory = MemoryStore::new();
    begin(&memory).await;
    let mut expected = Everything::of(&memory).await.unwrap();
    let (mut has_begun, mut taken) = (false, 0);
    for cut in 0..=frames {
        let copy = Place::new();
        std::fs::copy(place.path(), copy.path()).unwrap();
        std::fs::write(wal_path(&copy.path()), &wal[..HEADER + cut * FRAME]).unwrap();
        let left = copy.open();
        let found = Everything::of(&left).await.unwrap();
        left.close().await.unwrap();
        // Until both lanes are begun and claimed there is nothing to compare.
        has_begun |= found == expected;
        if !has_begun {
            continue;
        }
        while found != expected && taken < STEPS {
            step(&memory, taken).await.unwrap();
            taken += 1;
            expected = Everything::of(&memory).await.unwrap();
        }
        assert!(found == expected, "after {cut} of {frames} frames the store holds no whole number of steps");
        if cut % 8 == 0 {
            assert_eq!(check(&copy.path()).unwrap().problems, [""; 0], "after {cut} frames");
        }
    }
    // The last steps may change nothing.
    while taken < STEPS {
        step(&memory, taken).await.unwrap();
        taken += 1;
    }
    assert!(has_begun && expected == Everything::of(&memory).await.unwrap(), "the whole log holds all steps");
}

/// Tells the child where its store is.
const PATH: &str = "TIDEGATE_STORE_ACTS_TEST";

/// Tells the child which step is next.
const NEXT: &str = "TIDEGATE_STORE_ACTS_TEST_NEXT";

/// What a child says for each step that it took.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Run by [`a_killed_program_loses_no_act`] in a process of its own; does nothing otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let next: u64 = std::env::var(NEXT).unwrap().parse().unwrap();
    let store = load::open(path.as_ref());
    for n in next.. {
        step(&store, n).await.unwrap();
        writeln!(std::io::stdout(), "\n{ACKNOWLEDGED}{}", n + 1).unwrap();
    }
}

#[tokio::test]
async fn a_killed_program_loses_no_act() {
    let (place, memory) = (Place::new(), MemoryStore::new());
    let store = place.open();
    begin(&store).await;
    begin(&memory).await;
    store.close().await.unwrap();
    let mut next: u64 = 0;
    // How long each child lives is given in steps; what it is doing when the kill arrives is up to the machine.
    for lifetime in [0, 3, 1, 40, 7, 25, 60, 2] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "acts::child", "--nocapture"])
            .env(PATH, place.path())
            .env(NEXT, next.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = lines.filter_map(|line| line.ok()?.strip_prefix(ACKNOWLEDGED)?.parse().ok());
        let mut last = next;
        for (index, steps) in acknowledged.enumerate() {
            last = steps;
            if index == lifetime {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(last > next, "the child did nothing");
        for n in next..last {
            step(&memory, n).await.unwrap();
        }
        assert_eq!(check(&place.path()).unwrap().problems, [""; 0]);
        let store = place.open();
        let found = Everything::of(&store).await.unwrap();
        next = last;
        if found != Everything::of(&memory).await.unwrap() {
            // One more was taken, and the kill came before it said so.
            step(&memory, last).await.unwrap();
            assert_eq!(found, Everything::of(&memory).await.unwrap(), "{last} steps were acknowledged");
            next = last + 1;
        }
        store.close().await.unwrap();
    }
}
