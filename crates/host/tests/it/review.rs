//! What a sceptical reader tries: pauses cut short, memory that is not counted, lanes that wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::future::BoxFuture;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::Isolation;
use tidegate_host::status::LaneState;
use tidegate_model::answer::{Answer, Answers, Body, DocumentBefore, DocumentValue, Failure};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt};
use tidegate_model::dead_letter::DocumentSnapshot;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::health::InstanceHealth;
use tidegate_model::memory::{MemoryLog, MemoryStore};
use tidegate_model::ports::{
    Commits, CurrentDocument, EventLog, Function, FunctionDescriptor, FunctionError, Invocation,
    PartitionStatus, ReadError, ReadLimit, StoreError,
};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

use crate::harness::{World, apply, collection, descriptor, text_of};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn conflict() -> StoreError {
    let id = DocumentId::new("b").unwrap();
    StoreError::DocumentChanged { collection: collection(), id }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { detail: "gone fishing".into() }
}

/// Lets the lanes work for a while, in paused time.
async fn pass(world: &World, time: Duration) {
    world.clock.sleep(time).await;
}

fn tries(world: &World, event: &str) -> usize {
    world.given().iter().filter(|given| *given == event).count()
}

// --- Retries -----------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_elsewhere_does_not_cut_a_pause_short() {
    fn throttled(_: &Event, text: &str) -> Option<Answer> {
        (text == "slow").then(|| Answer::Fail(Failure::new("429").retry_after(HOUR)))
    }
    let world = World::new(2);
    world.publish(0, &["a:1", "a:slow", "a:3"]).await;
    let processor = world.start(throttled).await;
    pass(&world, 1000 * MS).await;
    assert_eq!(tries(&world, "a:slow"), 1);
    for round in 0..10 {
        world.store.fail_next_commit(conflict());
        world.publish(1, &[&format!("b:{round}")]).await;
        pass(&world, 10_000 * MS).await;
    }
    assert_eq!(world.document("b").await.len(), 10);
    assert_eq!(tries(&world, "a:slow"), 1, "its pause is an hour");
    assert!(matches!(processor.status()[0].state, LaneState::Retrying { failures: 1, .. }));
    pass(&world, HOUR).await;
    assert_eq!(tries(&world, "a:slow"), 2);
    processor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_tried_again_does_not_wait_for_others_to_make_a_batch() {
    fn fails_once(_: &Event, text: &str) -> Option<Answer> {
        static TRIES: AtomicUsize = AtomicUsize::new(0);
        (text == "2" && TRIES.fetch_add(1, Ordering::SeqCst) == 0).then(|| Answer::fail("not yet"))
    }
    let mut world = World::new(1);
    world.settings.min_event_batch_size = 4;
    world.settings.max_wait_time = HOUR;
    world.publish(0, &["a:1", "a:2", "a:3", "a:4"]).await;
    let processor = world.start(fails_once).await;
    pass(&world, 1000 * MS).await;
    assert_eq!(tries(&world, "a:2"), 2);
    assert_eq!(world.document("a").await, ["1", "2"], "the others are too few again");
    processor.caught_up().await;
    processor.drain(Duration::from_secs(1)).await;
    assert_eq!(world.document("a").await, ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_batch_that_failed_do_not_wait_for_others_to_make_a_batch() {
    fn panics(_: &Event, text: &str) -> Option<Answer> {
        assert!(text != "bad", "cannot read it");
        None
    }
    let mut world = World::new(1);
    world.settings.min_event_batch_size = 4;
    world.settings.max_wait_time = HOUR;
    world.publish(0, &["a:1", "a:2", "a:bad", "a:4"]).await;
    let processor = world.start(panics).await;
    pass(&world, 1000 * MS).await;
    assert_eq!(world.document("a").await, ["1", "2", "4"]);
    assert_eq!(world.dead_letters().await[0].letter.attempts.len(), 3);
    processor.drain(Duration::from_secs(1)).await;
}

// --- The store ---------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_lane_that_found_out_about_a_lost_reply_does_not_look_as_if_it_still_waited() {
    let world = World::new(1);
    let processor = world.start(apply).await;
    world.store.lose_next_reply(unavailable());
    world.publish(0, &["a:1"]).await;
    processor.caught_up().await;
    pass(&world, 1000 * MS).await;
    assert_eq!(processor.status()[0].state, LaneState::Running);
    processor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_always_refuses_is_asked_less_and_less_often_and_the_status_says_so() {
    let world = World::new(1);
    for _ in 0..10_000 {
        world.store.fail_next_commit(conflict());
    }
    world.publish(0, &["b:1"]).await;
    let processor = world.start(apply).await;
    pass(&world, 60_000 * MS).await;
    assert!(tries(&world, "b:1") < 60, "{} tries in a minute", tries(&world, "b:1"));
    let status = processor.status();
    assert!(
        matches!(&status[0].state, LaneState::Waiting { error } if error.contains("changed by somebody else")),
        "{status:?}"
    );
    processor.drain(Duration::from_secs(1)).await;
    assert_eq!(world.checkpoint(0).await.position, SequenceNumber::ZERO);
}

/// A store with a defect: its commits panic.
struct Defective(MemoryStore);

#[async_trait]
impl Commits for Defective {
    fn guarantee(&self) -> CommitGuarantee {
        self.0.guarantee()
    }
    async fn commit(&self, _: &Commit) -> Result<CommitReceipt, StoreError> {
        panic!("a defect");
    }
    async fn barrier(&self) -> Result<(), StoreError> {
        self.0.barrier().await
    }
    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        self.0.health(circuit, since).await
    }
}

tidegate_model::delegate_store!(Defective, 0: Ownerships, Checkpoints, Documents, Parking, DeadLetters, Registers, Outbox);

#[tokio::test(start_paused = true)]
async fn a_defect_in_the_store_stops_the_lanes_instead_of_leaving_them_waiting_for_ever() {
    let world = World::new(2);
    world.publish(0, &["a:1"]).await;
    let setup = FunctionSetup {
        function: custom(&["a"], |_, _| Box::pin(async { Ok(Answers::default()) })),
        log: world.log.clone(),
        settings: world.settings.clone(),
    };
    let store = Arc::new(Defective(world.store.clone()));
    let processor =
        Processor::start(store, world.clock.clone(), world.options.clone(), vec![setup]).await.unwrap();
    let caught_up = tidegate_model::clock::timeout(&*world.clock, HOUR, processor.caught_up()).await;
    assert!(caught_up.is_some(), "{:?}", processor.status());
    for lane in processor.drain(Duration::from_secs(1)).await {
        assert!(
            matches!(&lane.state, LaneState::Stopped { error } if error.contains("panicked")),
            "{lane:?}"
        );
    }
}

/// Also without draining nothing of a processor is left running.
#[tokio::test(start_paused = true)]
async fn a_processor_that_is_dropped_lets_go_of_the_store() {
    let world = World::new(2);
    world.publish(0, &["a:1"]).await;
    let store = Arc::new(world.store.clone());
    let function = custom(&["a"], |_, _| Box::pin(async { Ok(Answers::default()) }));
    let setup = FunctionSetup { function, log: world.log.clone(), settings: world.settings.clone() };
    let processor = Processor::start(store.clone(), world.clock.clone(), world.options.clone(), vec![setup])
        .await
        .unwrap();
    pass(&world, 1000 * MS).await;
    drop(processor);
    pass(&world, 1000 * MS).await;
    assert_eq!(Arc::strong_count(&store), 1);
}

// --- The log -----------------------------------------------------------------------------------------------------------

/// A log that does not answer now and then.
struct Moody {
    log: Arc<MemoryLog>,
    /// How many of the next questions for the tail or the status are not answered.
    silent: AtomicUsize,
    /// How many of the next reads give nothing although there is something.
    empty: AtomicUsize,
    reads: AtomicUsize,
}

impl Moody {
    fn new(log: &Arc<MemoryLog>) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::clone(log),
            silent: AtomicUsize::new(0),
            empty: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        })
    }

    fn answer(&self, partition: PartitionId) -> Result<(), ReadError> {
        match take_one(&self.silent) {
            true => Err(ReadError::Unavailable { partition, detail: "not now".to_owned() }),
            false => Ok(()),
        }
    }
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl EventLog for Moody {
    tidegate_model::delegate_event_log!(log: locate);

    fn status(&self, partition: PartitionId) -> Result<PartitionStatus, ReadError> {
        self.answer(partition)?;
        self.log.status(partition)
    }

    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        self.answer(partition)?;
        self.log.tail(partition)
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if take_one(&self.empty) { Ok(Vec::new()) } else { self.log.read(partition, from, limit).await }
    }
}

async fn start_on(world: &World, log: Arc<Moody>) -> Processor {
    let function = custom(&["a"], |events, _| {
        let mut answers = Answers::default();
        for event in &events {
            answers.push(event.sequence_number, Answer::Filter);
        }
        Box::pin(async { Ok(answers) })
    });
    let setup = FunctionSetup { function, log, settings: world.settings.clone() };
    let store = Arc::new(world.store.clone());
    Processor::start(store, world.clock.clone(), world.options.clone(), vec![setup]).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_say_where_its_tail_is_is_asked_again() {
    let world = World::new(1);
    world.publish(0, &["a:1", "a:2"]).await;
    world.log.give_up(PartitionId(0), SequenceNumber(0)..SequenceNumber(1)).unwrap();
    let log = Moody::new(&world.log);
    let processor = start_on(&world, log.clone()).await;
    log.silent.store(5, Ordering::SeqCst);
    pass(&world, 10_000 * MS).await;
    assert_eq!(processor.status()[0].state, LaneState::Running);
    assert_eq!(processor.status()[0].lag(), 0);
    processor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_gives_nothing_although_it_should_is_no_busy_loop() {
    let world = World::new(1);
    world.publish(0, &["a:1"]).await;
    let log = Moody::new(&world.log);
    log.empty.store(1_000_000, Ordering::SeqCst);
    let processor = start_on(&world, log.clone()).await;
    pass(&world, 1000 * MS).await;
    assert!(log.reads.load(Ordering::SeqCst) < 100);
    log.empty.store(0, Ordering::SeqCst);
    processor.caught_up().await;
    processor.drain(Duration::from_secs(1)).await;
}

// --- Memory ------------------------------------------------------------------------------------------------------------

/// How many events the function is given while nothing is committed.
async fn given_ahead(world: &World, function: Arc<dyn Function>, given: &AtomicUsize) -> usize {
    world.store.hold_commits();
    let processor = world.start_function(function).await.unwrap();
    pass(world, 60_000 * MS).await;
    let ahead = given.load(Ordering::SeqCst);
    world.store.release_commits();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    ahead
}

/// Every event makes a document of its own.
fn documents_of(bytes: usize, given: &Arc<AtomicUsize>) -> Arc<dyn Function> {
    let given = Arc::clone(given);
    Arc::new(Custom {
        descriptor: descriptor(),
        documents: Box::new(|events| events.iter().map(|event| id(text_of(event))).collect()),
        run: Arc::new(move |events, _| {
            given.fetch_add(events.len(), Ordering::SeqCst);
            let mut answers = Answers::default();
            for event in &events {
                let json = Bytes::from(vec![b'1'; bytes]);
                answers.push(event.sequence_number, Answer::upsert(id(text_of(event)), Body::Json(json)));
            }
            Box::pin(async { Ok(answers) })
        }),
    })
}

#[tokio::test(start_paused = true)]
async fn large_documents_of_many_events_wait_for_memory() {
    let mut world = World::new(1);
    world.options.in_flight_bytes = 4 * 1024 * 1024;
    world.settings.max_event_batch_size = 20;
    let names: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    world.publish(0, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let given = Arc::default();
    let ahead = given_ahead(&world, documents_of(100 * 1024, &given), &given).await;
    // Two batches of 2 MiB fit, and one has its documents in hand.
    assert!(ahead <= 3 * 20, "{ahead} documents of 100 KiB are ahead of the store with 4 MiB for them");
    assert_eq!(world.checkpoint(0).await.counts.applied, 400);
}

#[tokio::test(start_paused = true)]
async fn many_tiny_events_take_the_memory_they_really_take() {
    let mut world = World::new(1);
    world.options.in_flight_bytes = 64 * 1024;
    world.settings.max_event_batch_size = 100_000;
    world.publish(0, &["a"; 20_000]).await;
    let largest = Arc::new(AtomicUsize::new(0));
    let function = custom(&[], {
        let largest = Arc::clone(&largest);
        move |events, _| {
            largest.fetch_max(events.len(), Ordering::SeqCst);
            let mut answers = Answers::default();
            for event in &events {
                answers.push(event.sequence_number, Answer::Filter);
            }
            Box::pin(async { Ok(answers) })
        }
    });
    let processor = world.start_function(function).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    // An event takes 128 bytes besides its own.
    let largest = largest.load(Ordering::SeqCst);
    assert!(largest * 128 <= 64 * 1024, "{largest} events were in memory at once");
    assert_eq!(world.checkpoint(0).await.counts.filtered, 20_000);
}

#[derive(Debug)]
struct Large;

impl DocumentValue for Large {
    fn encode(&self) -> Result<ByteString, String> {
        Ok("1".repeat(200 * 1024).into())
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_with_large_documents_wait_for_memory() {
    let mut world = World::new(1);
    world.options.in_flight_bytes = 1024 * 1024;
    world.settings.max_event_batch_size = 1;
    world.publish(0, &["large"]).await;
    world.publish(0, &["bad"; 100]).await;
    let given = Arc::new(AtomicUsize::new(0));
    let function = custom(&["a"], {
        let given = Arc::clone(&given);
        move |events, _| {
            given.fetch_add(1, Ordering::SeqCst);
            let answer = match text_of(&events[0]) {
                "large" => Answer::upsert(id("a"), Body::Value(Arc::new(Large))),
                _ => Answer::reject("bad"),
            };
            let mut answers = Answers::default();
            answers.push(events[0].sequence_number, answer);
            Box::pin(async { Ok(answers) })
        }
    });
    let ahead = given_ahead(&world, function, &given).await;
    assert!(ahead <= 8, "{ahead} dead letters with 200 KiB each are ahead of the store with 1 MiB for them");
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 100);
    assert!(letters.iter().all(|stored| stored.letter.document.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_of_a_batch_holds_the_document_that_the_function_showed() {
    let world = World::new(1);
    world.publish(0, &["good", "bad", "bad without", "bad and large"]).await;
    let function = custom(&["a"], |events, _| {
        let mut answers = Answers::default();
        for event in &events {
            let number = event.sequence_number;
            let show = |body| DocumentBefore { id: id("a"), body };
            match text_of(event) {
                "good" => answers.push(number, Answer::upsert(id("a"), Body::Json("1".into()))),
                text => {
                    answers.push(number, Answer::reject("bad"));
                    match text {
                        "bad" => answers.show(number, show(Some(Body::Json("1".into())))),
                        "bad without" => answers.show(number, show(None)),
                        _ => answers.show(number, show(Some(Body::Json(vec![b'1'; 3 << 20].into())))),
                    }
                }
            }
        }
        Box::pin(async { Ok(answers) })
    });
    let processor = world.start_function(function).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    let shown: Vec<_> = world.dead_letters().await.into_iter().map(|stored| stored.letter.document).collect();
    let snapshot = |body: Option<&'static str>| DocumentSnapshot {
        collection: collection(),
        id: id("a"),
        body: body.map(Bytes::from),
    };
    assert_eq!(
        shown,
        [Some(snapshot(Some("1"))), Some(snapshot(None)), None],
        "what is no document is left out"
    );
}

// --- Lanes that share documents ----------------------------------------------------------------------------------------

/// Lane 1 always works with x and lane 2 always with y, in turns, so that one of the two is in use at every moment;
/// lane 0 needs both at once.
#[tokio::test(start_paused = true)]
async fn a_batch_with_many_documents_gets_its_turn_among_batches_with_few() {
    let mut world = World::new(3);
    world.settings.max_event_batch_size = 2;
    world.publish(1, &["x"; 100]).await;
    world.publish(2, &["late", "y"]).await;
    world.publish(2, &["y"; 100]).await;
    world.publish(0, &["late", "late"]).await;
    world.publish(0, &["x", "y"]).await;
    let given = Arc::clone(&world.given);
    let clock = world.clock.clone();
    let function = Arc::new(Custom {
        descriptor: descriptor(),
        documents: Box::new(|events| {
            let mut ids: Vec<_> =
                events.iter().map(|event| id(text_of(event))).filter(|id| id.as_str() != "late").collect();
            ids.dedup();
            ids
        }),
        run: Arc::new(move |events, _| {
            let (given, clock) = (Arc::clone(&given), clock.clone());
            Box::pin(async move {
                let names: Vec<_> = events.iter().map(text_of).collect();
                given.lock().push(names.join("+"));
                clock.sleep(if names.contains(&"late") { 5 * MS } else { 10 * MS }).await;
                let mut answers = Answers::default();
                for event in &events {
                    answers.push(event.sequence_number, Answer::Filter);
                }
                Ok(answers)
            })
        }),
    });
    let processor = world.start_function(function).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(1)).await;
    let given = world.given();
    let turn = given.iter().position(|batch| batch == "x+y").unwrap();
    assert!(turn < 10, "it was number {turn} of {}", given.len());
}

/// A checkout that is given up does not keep its documents from others.
#[tokio::test(start_paused = true)]
async fn a_lane_that_stops_waiting_for_documents_leaves_them_to_others() {
    fn slow(_: &Event, _: &str) -> Option<Answer> {
        None
    }
    for steps in 0..40 {
        let mut world = World::seeded(3, steps);
        world.settings.max_event_batch_size = 2;
        for round in 0..20 {
            world.publish(0, &[&format!("x:0.{round}"), &format!("y:0.{round}")]).await;
            world.publish(1, &[&format!("x:1.{round}"), &format!("z:1.{round}")]).await;
            world.publish(2, &[&format!("y:2.{round}"), &format!("z:2.{round}")]).await;
        }
        let processor = world.start(slow).await;
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        // What is ahead of the store is taken back: lanes that wait for documents are cancelled.
        world.store.fail_next_commit(conflict());
        let caught_up = tidegate_model::clock::timeout(&*world.clock, HOUR, processor.caught_up()).await;
        assert!(caught_up.is_some(), "after {steps} steps: {:?}", processor.status());
        processor.drain(Duration::from_secs(1)).await;
        for document in ["x", "y", "z"] {
            assert_eq!(world.document(document).await.len(), 40, "after {steps} steps");
        }
    }
}

// --- Threads -----------------------------------------------------------------------------------------------------------

/// An event whose invocation never got a thread was not tried.
#[test]
fn waiting_for_a_thread_is_not_the_functions_time() {
    fn hangs(_: &Event, text: &str) -> Option<Answer> {
        if text == "hangs" {
            std::thread::park_timeout(Duration::from_secs(2));
        }
        None
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(2);
        world.options.isolation = Isolation::Thread;
        world.settings.timeout = Duration::from_millis(100);
        world.settings.retry = RetryPolicy::FixedDelay { max_attempts: Some(1), delay: MS };
        world.publish(0, &["a:hangs"]).await;
        let processor = world.start(hangs).await;
        while world.given().is_empty() {
            tokio::task::yield_now().await;
        }
        world.publish(1, &["b:1"]).await;
        processor.caught_up().await;
        processor.drain(Duration::from_secs(5)).await;
        assert_eq!(world.document("b").await, ["1"]);
        let letters = world.dead_letters().await;
        assert_eq!(letters.len(), 1, "the one that hung: {letters:?}");
    });
}

// --- A function made of closures ---------------------------------------------------------------------------------------

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

type Naming = dyn Fn(&[Event]) -> Vec<DocumentId> + Send + Sync;
type Run = dyn Fn(Vec<Event>, Vec<CurrentDocument>) -> BoxFuture<'static, Result<Answers, FunctionError>>
    + Send
    + Sync;

struct Custom {
    descriptor: FunctionDescriptor,
    documents: Box<Naming>,
    run: Arc<Run>,
}

/// A function that always works with these documents.
fn custom(
    documents: &'static [&'static str],
    run: impl Fn(Vec<Event>, Vec<CurrentDocument>) -> BoxFuture<'static, Result<Answers, FunctionError>>
    + Send
    + Sync
    + 'static,
) -> Arc<dyn Function> {
    Arc::new(Custom {
        descriptor: descriptor(),
        documents: Box::new(|_| documents.iter().map(|document| id(document)).collect()),
        run: Arc::new(run),
    })
}

struct Planned {
    events: Vec<Event>,
    documents: Vec<DocumentId>,
    run: Arc<Run>,
}

impl Function for Custom {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }
    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let documents = (self.documents)(&events);
        Ok(Box::new(Planned { events, documents, run: Arc::clone(&self.run) }))
    }
}

#[async_trait]
impl Invocation for Planned {
    fn documents(&self) -> &[DocumentId] {
        &self.documents
    }
    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        (self.run)(self.events, current).await
    }
}
