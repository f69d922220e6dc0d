//! Measures how long people wait who look at very many dead letters: a page of them, their causes, one of them.
//!
//! ```text
//! cargo run --release -p tidegate-store --example million_dead_letters [how many] [directory]
//! ```
//!
//! A million dead letters of two functions and eight partitions with 40 causes, bodies of 300 bytes. Each question is asked
//! eleven times; told are the median and the longest.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::attempt::{Attempt, FailureClass, FailureKind};
use tidegate_model::checkpoint::{Advance, FunctionName, Lane};
use tidegate_model::clock::{SharedClock, SystemClock, Timestamp};
use tidegate_model::commit::{Commit, LaneCommit};
use tidegate_model::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterStatus, Fingerprint,
};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, Commits, DeadLetters, Ownerships, StoreError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_model::trail::Act;
use tidegate_store::{SqliteStore, StoreOptions};

const FUNCTIONS: u64 = 2;
const PARTITIONS: u64 = 8;
const CAUSES: u64 = 20;
const PER_COMMIT: u64 = 5_000;
const PAGE: usize = 50;
const TRIES: usize = 11;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let many: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let directory = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let place = directory.join(format!("tidegate-dead-letters-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let measured = measure(&place.join("store.db"), many).await;
    std::fs::remove_dir_all(&place)?;
    measured
}

fn lane(n: u64) -> Lane {
    let function = format!("function-{}", n % FUNCTIONS);
    Lane {
        function: FunctionName::new(&function).expect("it is a name"),
        hub: HubName::new("hub").expect("it is a name"),
        partition: PartitionId((n / FUNCTIONS % PARTITIONS) as u32),
    }
}

fn reason(n: u64) -> String {
    let word = char::from(b'a' + (n % CAUSES) as u8);
    format!("the value {word}{word}{word} at byte {n} is not what was agreed")
}

fn letter(lane: &Lane, n: u64, incarnation: Incarnation, sequence_number: u64) -> DeadLetter {
    let at = Timestamp::from_millis(1_700_000_000_000 + n as i64);
    DeadLetter {
        lane: lane.clone(),
        incarnation,
        event: Event {
            sequence_number: SequenceNumber(sequence_number),
            enqueued_at: at,
            data: EventData::new(vec![b'x'; 300]).with_key(format!("key-{}", n % 10_000)),
        },
        function_version: "1".to_owned(),
        class: FailureClass::Permanent,
        reason: reason(n),
        attempts: vec![Attempt { at, kind: FailureKind::Rejected, error: reason(n) }],
        dead_lettered_at: at,
        document: None,
    }
}

async fn fill(store: &SqliteStore, clock: &SharedClock, many: u64) -> Result<(), Box<dyn Error>> {
    let incarnation = Incarnation::new(&**clock);
    let lanes = FUNCTIONS * PARTITIONS;
    let mut epochs = Vec::new();
    for n in 0..lanes {
        epochs.push(store.claim(&lane(n), "me", clock.now()).await?.epoch);
        store.begin(&lane(n), incarnation, SequenceNumber::ZERO, clock.now()).await?;
    }
    let began = clock.monotonic();
    let mut positions = vec![0_u64; lanes as usize];
    let mut n = 0;
    while n < many {
        let of = ((n / PER_COMMIT) % lanes) as usize;
        let (lane, from) = (lane(of as u64), positions[of]);
        let dead_letters =
            (0..PER_COMMIT).map(|nth| letter(&lane, n + nth, incarnation, from + nth)).collect();
        let counts = OutcomeCounts { dead_lettered: PER_COMMIT, ..OutcomeCounts::default() };
        let (from, to) = (SequenceNumber(from), SequenceNumber(from + PER_COMMIT));
        let commit = LaneCommit {
            lane,
            incarnation,
            epoch: epochs[of],
            advance: Advance { from, to },
            counts,
            attempts: Vec::new(),
            dead_letters,
            parked: Vec::new(),
            reparked: Vec::new(),
            unparked: Vec::new(),
        };
        let (documents, health) = (Vec::new(), Vec::new());
        store.commit(&Commit { lanes: vec![commit], documents, health, at: clock.now() }).await?;
        positions[of] += PER_COMMIT;
        n += PER_COMMIT;
    }
    let spent = clock.monotonic().saturating_sub(began);
    println!("{many} dead letters, set aside at {:.0} a second", many as f64 / spent.as_secs_f64());
    Ok(())
}

async fn asked<T>(
    clock: &SharedClock,
    what: &str,
    mut question: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut took: Vec<Duration> = Vec::new();
    let mut answer = None;
    for _ in 0..TRIES {
        let began = clock.monotonic();
        answer = Some(question().await?);
        took.push(clock.monotonic().saturating_sub(began));
    }
    took.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    println!("  {what:<58} {:>8.2} ms, at most {:>8.2} ms", ms(took[TRIES / 2]), ms(took[TRIES - 1]));
    Ok(answer.expect("it was asked"))
}

async fn measure(path: &std::path::Path, many: u64) -> Result<(), Box<dyn Error>> {
    let clock = SystemClock::shared();
    let store = SqliteStore::open(path, &StoreOptions::default(), Arc::clone(&clock))?;
    fill(&store, &clock, many).await?;
    let all = DeadLetterFilter::default();
    let waiting = DeadLetterFilter {
        status: vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined],
        ..all.clone()
    };
    let function = Some(lane(1).function);
    let cause = Fingerprint::of(&lane(1).function, FailureClass::Permanent, &reason(3));
    let middle = Timestamp::from_millis(1_700_000_000_000 + (many / 2) as i64);
    let of_cause = DeadLetterFilter { fingerprint: Some(cause), ..waiting.clone() };
    let of_partition =
        DeadLetterFilter { function: function.clone(), partition: Some(PartitionId(3)), ..waiting.clone() };
    let of_time = DeadLetterFilter { since: Some(middle), ..waiting.clone() };
    let of_key = DeadLetterFilter { partition_key: Some("key-77".to_owned()), ..waiting.clone() };
    let before = Some(DeadLetterId(many / 2));
    let pages = [
        ("the newest of all that wait", &waiting, None),
        ("a page in the middle", &waiting, before),
        ("a page of one cause", &of_cause, before),
        ("a page of one partition of one function", &of_partition, before),
        ("a page of a range of times", &of_time, None),
        ("a page of one key", &of_key, None),
    ];
    for (what, filter, before) in pages {
        let found =
            asked(&clock, what, async || store.newest_dead_letters(filter, before, PAGE).await).await?;
        assert!(!found.is_empty(), "{what}");
    }
    let of_function = DeadLetterFilter { function, ..waiting.clone() };
    let until_now = DeadLetterFilter { until: Some(clock.now()), ..waiting.clone() };
    let groups = [
        ("causes of all that wait", &waiting),
        ("causes of one function", &of_function),
        ("causes up to now, as an act on all is confirmed", &until_now),
        ("causes of half of the time", &of_time),
        ("causes in one partition", &of_partition),
        ("causes of one key", &of_key),
    ];
    for (what, filter) in groups {
        let found = asked(&clock, what, async || store.dead_letter_causes(filter, 200).await).await?;
        assert!(found.causes > 0, "{what}");
    }
    asked(&clock, "one of them, whole", async || store.dead_letter(DeadLetterId(many / 3)).await).await?;
    let day = Timestamp::from_millis(1_700_000_000_000);
    let trend = async || store.dead_letter_trend(day, Duration::from_secs(60), 48).await;
    asked(&clock, "how they came over time", trend).await?;
    let act = Act { by: "me".to_owned(), reason: "measured".to_owned(), at: clock.now() };
    let mut next = 0;
    let step = async || {
        let ids = store.find_dead_letters(&of_cause, Some(DeadLetterId(next)), 200).await?;
        next = ids.last().map_or(next, |last| last.0);
        store.discard(&ids, &act).await
    };
    asked(&clock, "a step of an act on many: 200 found and discarded", step).await?;
    asked(&clock, "causes of all that wait, once more", async || {
        store.dead_letter_causes(&waiting, 200).await
    })
    .await?;
    store.close().await?;
    Ok(())
}
