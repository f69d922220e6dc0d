//! What went wrong in other systems: the numbered scenarios that need an engine of others. Those of the host and of the
//! program have the rest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_adapters::event_hubs::blobs::{Claims, Mirror};
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::settings::{FunctionSettings, HostOptions, Isolation};
use tidegate_model::answer::{Answer, Answers};
use tidegate_model::clock::SystemClock;
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::Event;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{
    Checkpoints as _, CurrentDocument, DeadLetters as _, EventLog, Function, FunctionDescriptor,
    FunctionError, Invocation,
};
use tidegate_model::position::SequenceNumber;
use tokio::sync::watch;

use crate::blob_server::{BlobServer, Mood};
use crate::harness::{OtherHub, P0, P1, bodies};
use crate::through_host::lane;

/// After so many intervals without a renewal a partition is left, so this is a long time for the claims and a short one here.
const INTERVAL: Duration = Duration::from_millis(200);

/// Remembers the numbers that it is given, and asks for nothing.
struct Witness {
    descriptor: FunctionDescriptor,
    given: Arc<watch::Sender<Vec<u32>>>,
}

struct Looking {
    events: Vec<Event>,
    given: Arc<watch::Sender<Vec<u32>>>,
}

#[async_trait]
impl Function for Witness {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        Ok(Box::new(Looking { events, given: Arc::clone(&self.given) }))
    }
}

#[async_trait]
impl Invocation for Looking {
    fn documents(&self) -> &[DocumentId] {
        &[]
    }

    async fn run(self: Box<Self>, _: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let mut answers = Answers::default();
        self.events.iter().for_each(|event| answers.push(event.sequence_number, Answer::Filter));
        self.given.send_modify(|given| given.extend(bodies(&self.events)));
        Ok(answers)
    }
}

/// The account of the checkpoint blobs answers 503 for a while, whether it does what it is asked for or not; with partitions
/// that are claimed by blobs, and with blobs that are copies only.
///
/// Source: DC#3573, a checkpoint store that throttles. Nothing is lost and nothing is skipped: the store decides where a lane
/// is, and the blobs follow it.
#[tokio::test]
async fn scenario_12_the_checkpoint_blobs_answer_503_for_a_while() {
    for mood in [Mood::Refusing, Mood::LosingAnswers] {
        for claims_partitions in [true, false] {
            the_blobs_are_away(mood, claims_partitions).await;
        }
    }
}

async fn the_blobs_are_away(mood: Mood, claims_partitions: bool) {
    let (hub, server) = (OtherHub::start().await, BlobServer::start().await);
    let (store, clock) = (Arc::new(MemoryStore::new()), SystemClock::shared());
    let log = hub
        .reader_with(|options| {
            options.shares_partitions = claims_partitions;
            options.owner_level = claims_partitions.then_some(0);
        })
        .await;
    let given = Arc::new(watch::Sender::new(Vec::new()));
    let descriptor = FunctionDescriptor {
        name: lane(P0).function,
        version: "1".to_owned(),
        collection: CollectionName::new("none").unwrap(),
    };
    let setup = FunctionSetup {
        function: Arc::new(Witness { descriptor, given: Arc::clone(&given) }),
        log: log.clone(),
        settings: FunctionSettings::default(),
    };
    let options = HostOptions { isolation: Isolation::Inline, ..HostOptions::default() };
    let processor = Processor::start(store.clone(), hub.shared_clock(), options, vec![setup]).await.unwrap();
    let blobs = Arc::new(server.checkpoints());
    blobs.create().await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let claims = claims_partitions.then(|| Claims {
        log: log.clone(),
        blobs: blobs.clone(),
        functions: vec![lane(P0).function],
        store: store.clone(),
        owner: "one".to_owned(),
        interval: INTERVAL,
        clock: clock.clone(),
    });
    let claiming = claims.map(|claims| tokio::spawn(claims.run(stopped.clone())));
    let mirror = Mirror {
        store: store.clone(),
        log: log.clone(),
        blobs: blobs.clone(),
        writer: "one".to_owned(),
        interval: INTERVAL,
        clock,
    };
    let copying = tokio::spawn(mirror.run(stopped));

    let is_given = async |numbers: &[std::ops::Range<u32>]| {
        let wanted: BTreeSet<u32> = numbers.iter().cloned().flatten().collect();
        let all = |given: &Vec<u32>| wanted.iter().all(|number| given.contains(number));
        given.subscribe().wait_for(all).await.unwrap();
    };
    let copies_are_at = async |of_p0: &str, of_p1: &str| {
        let at = |path| {
            move |content: &crate::blob_server::Content| {
                content.says(path, "sequencenumber").map(str::to_owned)
            }
        };
        server
            .until(|content| {
                at("checkpoint/0")(content).as_deref() == Some(of_p0)
                    && at("checkpoint/1")(content).as_deref() == Some(of_p1)
            })
            .await;
    };
    hub.append_numbers(P0, 0..10).await;
    hub.append_numbers(P1, 1000..1003).await;
    is_given(&[0..10, 1000..1003]).await;
    copies_are_at("9", "2").await;

    server.set(mood);
    hub.append_numbers(P0, 10..20).await;
    is_given(std::slice::from_ref(&(10..20))).await;
    match log.assigned() {
        // Others may take what is not renewed, so it is left.
        Some(mut assigned) => drop(assigned.wait_for(BTreeSet::is_empty).await.unwrap()),
        None => server.until(|content| content.refused > 5).await,
    }
    hub.append_numbers(P0, 20..30).await;
    hub.append_numbers(P1, 1003..1005).await;
    if !claims_partitions {
        // Nobody waits for copies.
        is_given(&[20..30, 1003..1005]).await;
    }
    server.until(|content| content.refused > 10).await;

    server.set(Mood::Well);
    is_given(&[0..30, 1000..1005]).await;
    copies_are_at("29", "4").await;
    for (partition, events) in [(P0, 30), (P1, 5)] {
        let checkpoint = store.checkpoint(&lane(partition)).await.unwrap().unwrap();
        assert_eq!(checkpoint.position, SequenceNumber(events), "{mood:?} {claims_partitions}");
        assert_eq!(checkpoint.counts.filtered, events, "each is accounted for once: {checkpoint:?}");
    }
    let trail = store.trail(None, 0, 10).await.unwrap();
    assert!(trail.is_empty(), "no checkpoint was moved to follow a blob: {trail:?}");
    let seen = given.borrow().clone();
    for numbers in [0..30_u32, 1000..1005] {
        let mut first: Vec<u32> = Vec::new();
        for number in seen.iter().filter(|number| numbers.contains(*number)) {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        assert_eq!(first, numbers.collect::<Vec<_>>(), "{mood:?} {claims_partitions}: they come in order");
    }
    processor.drain(Duration::from_secs(10)).await;
    stop.send_replace(true);
    copying.await.unwrap();
    if let Some(claiming) = claiming {
        claiming.await.unwrap();
        let left = blobs.ownership(P0).await.unwrap().expect("the blob stays");
        assert_eq!(left.owner, None, "it is released");
    }
}
