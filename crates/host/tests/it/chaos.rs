//! Everything at once, from a seed: lanes that share documents, functions that fail in every way, a store that does not
//! answer, loses replies or changes underneath, stops and crashes. Whatever happened, in the end every event is in its
//! place exactly once.
//!
//! A failing seed is printed; `TIDEGATE_SEED=<seed>` runs it alone, several times.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use tidegate_host::circuit::acts;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{FunctionSettings, HostOptions, Isolation};
use tidegate_host::status::LaneState;
use tidegate_model::answer::{Answer, Answers, Body, DocumentValue};
use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::{Clock, TestClock, timeout};
use tidegate_model::commit::Commit;
use tidegate_model::dead_letter::DeadLetterFilter;
use tidegate_model::document::DocumentId;
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::memory::{MemoryLog, MemoryStore};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{
    Checkpoints, Commits, CurrentDocument, DeadLetters, Documents, EventAppender, EventLog, Function,
    FunctionDescriptor, FunctionError, Invocation, Ownerships, StoreError,
};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_model::trail::Act;

use crate::harness::{NOW, collection, entries, text_of};

const SEEDS: std::ops::Range<u64> = 0..300;
const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const FUNCTIONS: [&str; 2] = ["one", "two"];

#[test]
fn whatever_happens_every_event_ends_in_its_place_exactly_once() {
    let seeds = match std::env::var("TIDEGATE_SEED") {
        // Tokio itself chooses whom it wakes first of those who wait for one value, so a seed has a few ways to go.
        Ok(seed) => vec![seed.parse().expect("TIDEGATE_SEED is a number"); 20],
        Err(_) => SEEDS.collect(),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async { Chaos::new(seed).run().await });
        });
        if let Err(panic) = outcome {
            eprintln!("run it again with TIDEGATE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

// --- What happens ------------------------------------------------------------------------------------------------------

struct Chaos {
    seed: u64,
    chance: Arc<TestClock>,
    clock: Arc<TestClock>,
    log: Arc<MemoryLog>,
    partitions: u32,
    store: MemoryStore,
    options: HostOptions,
    settings: [FunctionSettings; 2],
    /// Every event that was published, by partition; `None` where a repair gave it up.
    published: Vec<Vec<Option<String>>>,
    seen: Arc<Mutex<Seen>>,
}

/// What the functions saw, by function and event.
#[derive(Default)]
struct Seen {
    /// How often the function really failed at the event.
    failures: HashMap<(&'static str, String), usize>,
    /// How many attempts were recorded when it was last given.
    recorded: HashMap<(&'static str, String), usize>,
    /// Events of which recorded attempts were forgotten.
    forgotten: Vec<(&'static str, String)>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let chance = TestClock::new(NOW, seed);
        let clock = TestClock::new(NOW, seed.wrapping_mul(31));
        let partitions = 1 + draw(&chance, 4) as u32;
        let log = Arc::new(MemoryLog::new(HubName::new("hub").unwrap(), partitions, clock.clone()));
        let options = HostOptions {
            document_cache_bytes: [0, 2000, 1_000_000][draw(&chance, 3)],
            in_flight_bytes: (16 * 1024) << draw(&chance, 4),
            commit_delay: draw(&chance, 30) as u32 * MS,
            commit_events: 1 + draw(&chance, 100),
            isolation: Isolation::Inline,
            ..HostOptions::default()
        };
        Self {
            seed,
            settings: [settings(&chance), settings(&chance)],
            chance,
            clock,
            log,
            partitions,
            store: MemoryStore::new(),
            options,
            published: vec![Vec::new(); partitions as usize],
            seen: Arc::default(),
        }
    }

    async fn run(mut self) {
        self.publish().await;
        for _ in 0..1 + self.draw(4) {
            let processor = self.start().await;
            for _ in 0..self.draw(12) {
                match self.draw(4) {
                    0 => self.publish().await,
                    1 => self.make_trouble().await,
                    _ => {}
                }
                match self.draw(2) {
                    0 => self.clock.sleep(self.draw(40) as u32 * MS).await,
                    _ => {
                        for _ in 0..self.draw(100) {
                            tokio::task::yield_now().await;
                        }
                    }
                }
            }
            self.check_status(&processor);
            match self.draw(3) {
                // A crash: what it left behind goes on for a moment, beside its successor.
                0 => drop(processor),
                _ => {
                    let grace = self.draw(200) as u32 * MS;
                    let release = async {
                        self.clock.sleep(300 * MS).await;
                        self.store.release_commits();
                    };
                    tokio::join!(processor.drain(grace), release);
                }
            }
        }
        self.end_the_trouble().await;
        let processor = self.start().await;
        let mut caught_up = timeout(&*self.clock, DAY, processor.caught_up()).await;
        for _ in 0..5 {
            if caught_up.is_none() {
                // The last events of all may be some that always fail: then there is nothing else to probe with.
                self.close_circuits().await;
                caught_up = timeout(&*self.clock, DAY, processor.caught_up()).await;
            }
        }
        assert!(caught_up.is_some(), "it is stuck: {:#?}", processor.status());
        self.check_status(&processor);
        processor.drain(DAY).await;
        self.check().await;
    }

    async fn close_circuits(&self) {
        let act = Act { by: "ada".to_owned(), reason: "it works".to_owned(), at: self.clock.now() };
        for function in FUNCTIONS {
            acts::close(&self.store, &FunctionName::new(function).unwrap(), &act).await.unwrap();
        }
    }

    /// Nothing but another owner stops a lane.
    fn check_status(&self, processor: &Processor) {
        for status in processor.status() {
            if let LaneState::Stopped { error } = &status.state {
                assert!(error.contains("has a new owner"), "{status:?}");
            }
        }
    }

    async fn start(&self) -> Processor {
        loop {
            let setup = |index: usize| FunctionSetup {
                function: Arc::new(Fickle {
                    descriptor: FunctionDescriptor {
                        name: FunctionName::new(FUNCTIONS[index]).unwrap(),
                        version: "1".to_owned(),
                        collection: collection(),
                    },
                    name: FUNCTIONS[index],
                    seed: self.seed,
                    max_attempts: self.max_attempts(index),
                    timeout: self.settings[index].timeout,
                    clock: self.clock.clone(),
                    store: self.store.clone(),
                    seen: Arc::clone(&self.seen),
                }),
                log: self.log.clone(),
                settings: self.settings[index].clone(),
            };
            let store = Arc::new(self.store.clone());
            let started =
                Processor::start(store, self.clock.clone(), self.options.clone(), vec![setup(0), setup(1)]);
            // Starting does not wait for a store that does not answer.
            if let Ok(processor) = started.await {
                return processor;
            }
        }
    }

    async fn publish(&mut self) {
        let partition = self.draw(self.partitions as usize);
        let texts: Vec<String> = (0..1 + self.draw(40))
            .map(|index| {
                let number = self.published[partition].len() + index;
                let document = match self.draw(3) {
                    0 => format!("shared{}", self.draw(3)),
                    _ => format!("own{partition}-{}", self.draw(5)),
                };
                format!("{document}:{partition}.{number}")
            })
            .collect();
        let events = texts.iter().map(|text| EventData::new(text.clone().into_bytes())).collect();
        let id = PartitionId(partition as u32);
        let first = self.log.append(id, events).await.unwrap().first;
        let mut published: Vec<_> = texts.into_iter().map(Some).collect();
        if self.draw(8) == 0 {
            // Nobody has read them yet: nothing else runs in between.
            let from = self.draw(published.len());
            let to = from + 1 + self.draw(published.len() - from);
            published[from..to].fill(None);
            self.log.give_up(id, first.plus(from as u64)..first.plus(to as u64)).unwrap();
        }
        self.published[partition].extend(published);
    }

    async fn make_trouble(&self) {
        let unavailable = || StoreError::Unavailable { detail: "gone fishing".to_owned() };
        match self.draw(7) {
            0 => (0..self.draw(4)).for_each(|_| self.store.fail_next_commit(unavailable())),
            1 => (0..self.draw(4)).for_each(|_| self.store.fail_next_read(unavailable())),
            2 => self.store.lose_next_reply(unavailable()),
            3 => {
                let id = DocumentId::new("shared0").unwrap();
                self.store.fail_next_commit(StoreError::DocumentChanged { collection: collection(), id });
            }
            4 => {
                // Somebody writes what is there already: it has another version now.
                let id = DocumentId::new("shared1").unwrap();
                if let Ok(documents) = self.store.documents(&collection(), std::slice::from_ref(&id)).await
                    && let Some(document) = &documents[0]
                {
                    self.store.change_document(&collection(), &id, document.body.clone(), NOW);
                }
            }
            5 => {
                self.store.hold_commits();
                self.clock.sleep(self.draw(100) as u32 * MS).await;
                self.store.release_commits();
            }
            _ if self.draw(3) == 0 => {
                self.store.steal(&self.lane(self.draw(2), self.draw(self.partitions as usize)), NOW);
            }
            _ => self.store.hold_commits(),
        }
    }

    async fn end_the_trouble(&self) {
        self.store.release_commits();
        // Whoever was left behind comes to an end.
        self.clock.sleep(DAY).await;
        let nothing = Commit { lanes: Vec::new(), documents: Vec::new(), health: Vec::new(), at: NOW };
        while self.store.commit(&nothing).await.is_err() {}
        while self.store.checkpoints().await.is_err() {}
    }

    // --- What must be true in the end -----------------------------------------------------------------------------------

    async fn check(&self) {
        let mut journals: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for document in self.store.list_documents(&collection(), None, usize::MAX).await.unwrap() {
            journals.insert(document.id.to_string(), entries(&document.body));
        }
        assert_eq!(self.seen.lock().forgotten, [], "recorded attempts were forgotten");
        let letters =
            self.store.list_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await.unwrap();
        let mut letters_checked = 0;
        let mut entries_checked = 0;
        for (index, function) in FUNCTIONS.iter().enumerate() {
            for (partition, published) in self.published.iter().enumerate() {
                let lane = self.lane(index, partition);
                let mut counts = OutcomeCounts::default();
                let mut expected_letters = Vec::new();
                let mut expected_entries: BTreeMap<&str, Vec<String>> = BTreeMap::new();
                for (number, event) in published.iter().enumerate() {
                    let Some(event) = event else {
                        counts.lost += 1;
                        continue;
                    };
                    let fate = Fate::of(self.seed, function, event, self.max_attempts(index));
                    match fate.ends(self.max_attempts(index)) {
                        End::Applied => {
                            counts.applied += 1;
                            let (document, text) = event.split_once(':').unwrap();
                            expected_entries.entry(document).or_default().push(format!("{function}/{text}"));
                        }
                        End::Filtered => counts.filtered += 1,
                        End::DeadLettered(class, attempts) => {
                            counts.dead_lettered += 1;
                            expected_letters.push((number as u64, event.clone(), class, attempts));
                        }
                    }
                }

                let checkpoint = self.store.checkpoint(&lane).await.unwrap().unwrap();
                assert_eq!(checkpoint.position, SequenceNumber(published.len() as u64), "{lane}");
                assert_eq!(checkpoint.counts, counts, "{lane}");
                assert!(self.store.attempts(&lane).await.unwrap().is_empty(), "{lane}");

                let of_lane = letters.iter().filter(|stored| stored.letter.lane == lane);
                let found: Vec<_> = of_lane
                    .map(|stored| {
                        let letter = &stored.letter;
                        let text = text_of(&letter.event).to_owned();
                        (letter.event.sequence_number.0, text, letter.class, letter.attempts.len())
                    })
                    .collect();
                assert_eq!(found, expected_letters, "{lane}: the dead letters");
                letters_checked += found.len();
                for (_, text, class, attempts) in &found {
                    let failures =
                        self.seen.lock().failures.get(&(*function, text.clone())).copied().unwrap_or(0);
                    let counted = if *class == FailureClass::Permanent { 0 } else { *attempts };
                    assert!(failures >= counted, "{lane}: {text} failed {failures} times, not {counted}");
                }

                let prefix = format!("{function}/{partition}.");
                for (document, journal) in &journals {
                    let found: Vec<_> = journal.iter().filter(|entry| entry.starts_with(&prefix)).collect();
                    let expected = expected_entries.remove(document.as_str()).unwrap_or_default();
                    assert!(
                        found.iter().copied().eq(&expected),
                        "{lane}: {document} has {found:?} instead of {expected:?}"
                    );
                    entries_checked += found.len();
                }
                assert!(expected_entries.is_empty(), "{lane}: missing {expected_entries:?}");
            }
        }
        assert_eq!(letters_checked, letters.len(), "there is no other dead letter");
        assert_eq!(entries_checked, journals.values().map(Vec::len).sum::<usize>(), "nor any other effect");
        assert!(self.store.ownerships().await.unwrap().iter().all(|ownership| ownership.owner.is_empty()));
    }

    fn draw(&self, below: usize) -> usize {
        draw(&self.chance, below)
    }

    fn max_attempts(&self, function: usize) -> usize {
        self.settings[function].retry.max_attempts().unwrap() as usize
    }

    fn lane(&self, function: usize, partition: usize) -> Lane {
        Lane {
            function: FunctionName::new(FUNCTIONS[function]).unwrap(),
            hub: EventLog::hub(&*self.log).clone(),
            partition: PartitionId(partition as u32),
        }
    }
}

fn draw(chance: &TestClock, below: usize) -> usize {
    (chance.random() % below as u64) as usize
}

fn settings(chance: &TestClock) -> FunctionSettings {
    let max_attempts = Some(1 + draw(chance, 4) as u32);
    let max_event_batch_size = [1, 2, 5, 20, 100_000][draw(chance, 5)];
    FunctionSettings {
        max_event_batch_size,
        min_event_batch_size: if draw(chance, 3) == 0 { max_event_batch_size.min(10) } else { 1 },
        max_wait_time: draw(chance, 200) as u32 * MS,
        retry: match draw(chance, 2) {
            0 => RetryPolicy::FixedDelay { max_attempts, delay: draw(chance, 20) as u32 * MS },
            _ => RetryPolicy::ExponentialBackoff { max_attempts, min_interval: MS, max_interval: 100 * MS },
        },
        timeout: 50 * MS,
        ..FunctionSettings::default()
    }
}

// --- What a function does with an event --------------------------------------------------------------------------------

/// What becomes of an event in the hands of a function: always the same for the same seed, function and event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Applied,
    Filtered,
    Rejected,
    /// It goes wrong until so many attempts are recorded.
    Fails(Way, usize),
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Answer,
    Silence,
    Error,
    Panic,
    Hang,
}

enum End {
    Applied,
    Filtered,
    DeadLettered(FailureClass, usize),
}

impl Fate {
    fn of(seed: u64, function: &str, event: &str, max_attempts: usize) -> Self {
        let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in function.bytes().chain(event.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash ^= hash >> 32;
        let (kind, way, times) = (hash % 20, hash / 20 % 5, hash as usize / 100 % (max_attempts + 2));
        match kind {
            0..12 => Self::Applied,
            12..15 => Self::Filtered,
            15 => Self::Rejected,
            _ => {
                let way = [Way::Answer, Way::Silence, Way::Error, Way::Panic, Way::Hang][way as usize];
                Self::Fails(way, times)
            }
        }
    }

    fn ends(self, max_attempts: usize) -> End {
        match self {
            Self::Applied => End::Applied,
            Self::Filtered => End::Filtered,
            Self::Rejected => End::DeadLettered(FailureClass::Permanent, 1),
            Self::Fails(_, times) if times < max_attempts => End::Applied,
            Self::Fails(..) => End::DeadLettered(FailureClass::Exhausted, max_attempts),
        }
    }
}

/// Writes each event into the journal that it names, unless its fate is another.
struct Fickle {
    descriptor: FunctionDescriptor,
    name: &'static str,
    seed: u64,
    max_attempts: usize,
    timeout: Duration,
    clock: Arc<TestClock>,
    store: MemoryStore,
    seen: Arc<Mutex<Seen>>,
}

struct Planned {
    name: &'static str,
    seed: u64,
    max_attempts: usize,
    timeout: Duration,
    clock: Arc<TestClock>,
    store: MemoryStore,
    seen: Arc<Mutex<Seen>>,
    events: Vec<Event>,
    documents: Vec<DocumentId>,
}

impl Function for Fickle {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let mut documents: Vec<DocumentId> = Vec::new();
        for event in &events {
            let id = DocumentId::new(text_of(event).split(':').next().unwrap()).unwrap();
            if !documents.contains(&id) {
                documents.push(id);
            }
        }
        Ok(Box::new(Planned {
            name: self.name,
            seed: self.seed,
            max_attempts: self.max_attempts,
            timeout: self.timeout,
            clock: self.clock.clone(),
            store: self.store.clone(),
            seen: Arc::clone(&self.seen),
            events,
            documents,
        }))
    }
}

impl Planned {
    fn remember(&self, text: &str, attempts: usize) {
        let mut seen = self.seen.lock();
        let before = seen.recorded.insert((self.name, text.to_owned()), attempts);
        if before.is_some_and(|before| before > attempts) {
            seen.forgotten.push((self.name, text.to_owned()));
        }
    }

    /// How many attempts at each event are recorded.
    async fn recorded(&self) -> HashMap<SequenceNumber, usize> {
        let partition = text_of(&self.events[0]).split([':', '.']).nth(1).unwrap().parse().unwrap();
        let lane = Lane {
            function: FunctionName::new(self.name).unwrap(),
            hub: HubName::new("hub").unwrap(),
            partition: PartitionId(partition),
        };
        loop {
            if let Ok(attempts) = self.store.attempts(&lane).await {
                return attempts
                    .into_iter()
                    .map(|event| (event.sequence_number, event.attempts.len()))
                    .collect();
            }
        }
    }
}

#[async_trait]
impl Invocation for Planned {
    fn documents(&self) -> &[DocumentId] {
        &self.documents
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let mut journals: Vec<Vec<String>> = current.iter().map(|body| read(body.as_ref())).collect();
        let recorded = self.recorded().await;
        match self.clock.random() % 4 {
            0 => self.clock.sleep((self.clock.random() % 30) as u32 * MS).await,
            yields => {
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
            }
        }
        let mut answers = Answers::default();
        for event in &self.events {
            let text = text_of(event);
            let fate = Fate::of(self.seed, self.name, text, self.max_attempts);
            let attempts = recorded.get(&event.sequence_number).copied().unwrap_or(0);
            self.remember(text, attempts);
            let answer = match fate {
                Fate::Filtered => Some(Answer::Filter),
                Fate::Rejected => Some(Answer::reject("it was to be")),
                Fate::Fails(way, times) if attempts < times => {
                    *self.seen.lock().failures.entry((self.name, text.to_owned())).or_default() += 1;
                    match way {
                        Way::Answer => Some(Answer::fail("not now")),
                        Way::Silence => None,
                        Way::Error => return Err(FunctionError { error: "not now".to_owned() }),
                        // A panic that says nothing on the terminal.
                        Way::Panic => std::panic::resume_unwind(Box::new("not now")),
                        Way::Hang => {
                            self.clock.sleep(self.timeout * 100).await;
                            None
                        }
                    }
                }
                Fate::Applied | Fate::Fails(..) => {
                    let (id, text) = text.split_once(':').unwrap();
                    let slot = self.documents.iter().position(|document| document.as_str() == id).unwrap();
                    journals[slot].push(format!("{}/{text}", self.name));
                    let body = self.body(journals[slot].clone());
                    Some(Answer::upsert(self.documents[slot].clone(), body))
                }
            };
            if let Some(answer) = answer {
                answers.push(event.sequence_number, answer);
            }
        }
        Ok(answers)
    }
}

/// The two functions keep the same documents as values of different types.
#[derive(Debug)]
struct OfOne(Vec<String>);

#[derive(Debug)]
struct OfTwo(Vec<String>);

impl DocumentValue for OfOne {
    fn encode(&self) -> Result<ByteString, String> {
        Ok(json(&self.0).try_into().expect("JSON is UTF-8"))
    }
}

impl DocumentValue for OfTwo {
    fn encode(&self) -> Result<ByteString, String> {
        Ok(json(&self.0).try_into().expect("JSON is UTF-8"))
    }
}

impl Planned {
    fn body(&self, journal: Vec<String>) -> Body {
        match (self.clock.random() % 3, self.name) {
            (0, _) => Body::Json(json(&journal)),
            (_, "one") => Body::Value(Arc::new(OfOne(journal))),
            _ => Body::Value(Arc::new(OfTwo(journal))),
        }
    }
}

fn read(body: Option<&Body>) -> Vec<String> {
    let Some(body) = body else { return Vec::new() };
    let own =
        body.value::<OfOne>().map(|value| &value.0).or_else(|| body.value::<OfTwo>().map(|value| &value.0));
    own.cloned().unwrap_or_else(|| entries(&body.encode().unwrap()))
}

fn json(journal: &[String]) -> Bytes {
    format!("[\"{}\"]", journal.join("\",\"")).into()
}
