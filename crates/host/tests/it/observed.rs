//! What an observer is told: every invocation once, every outcome once, and which events failed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_host::circuit::acts;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::settings::Order;
use tidegate_model::answer::Answer;
use tidegate_model::clock::Clock;
use tidegate_model::event::Event;
use tidegate_model::observe::{CommitReport, Fate, InvocationId, InvocationReport};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::Observer;
use tidegate_model::trail::Act as Deed;

use crate::harness::{Act, Journal, World, descriptor, lane};

/// An event with its key, how often it failed, what becomes of it, and why.
type Failed = (u64, Option<String>, u64, Fate, String);

/// Keeps what it is told.
#[derive(Default)]
struct Notes {
    invoked: Mutex<Vec<InvocationId>>,
    failures: Mutex<Vec<Failed>>,
    given: Mutex<u64>,
    committed: Mutex<(OutcomeCounts, u64, BTreeSet<InvocationId>)>,
    traces: Mutex<Vec<String>>,
}

impl Observer for Notes {
    fn traces_wanted(&self) -> usize {
        2
    }

    fn invoked(&self, report: &InvocationReport<'_>) {
        self.invoked.lock().push(report.id);
        assert!(report.first <= report.last && report.events > 0);
        *self.given.lock() += report.events;
        self.traces.lock().extend(report.traces.iter().map(|trace| (*trace).to_owned()));
        self.failures.lock().extend(report.failures.iter().map(|failure| {
            let key = failure.key.map(str::to_owned);
            let error = failure.error.to_owned();
            (failure.sequence_number.0, key, failure.attempts, failure.fate, error)
        }));
    }

    fn committed(&self, report: &CommitReport<'_>) {
        let mut committed = self.committed.lock();
        for batch in report.batches {
            committed.0 += batch.decided.counts;
            committed.1 += batch.decided.enqueued.runs().iter().map(|(_, events)| events).sum::<u64>();
            committed.2.extend(batch.decided.invocation);
        }
    }
}

async fn observe(world: &World, act: Act) -> Arc<Notes> {
    let (processor, notes) = start(world, act).await;
    assert!(processor.settled().await);
    processor.drain(Duration::from_secs(10)).await;
    notes
}

async fn start(world: &World, act: Act) -> (Processor, Arc<Notes>) {
    let notes = Arc::<Notes>::default();
    let function = Arc::new(Journal { descriptor: descriptor(), act, given: Arc::clone(&world.given) });
    let setup = FunctionSetup { function, log: world.log.clone(), settings: world.settings.clone() };
    let (store, clock) = (Arc::new(world.store.clone()), world.clock.clone());
    let observer = Some(Arc::clone(&notes) as Arc<dyn Observer>);
    let started = Processor::start_observed(store, clock, world.options.clone(), vec![setup], observer);
    (started.await.unwrap(), notes)
}

fn some_fail(_: &Event, text: &str) -> Option<Answer> {
    match text {
        "poison" => Some(Answer::reject("no such device")),
        "down" => Some(Answer::fail("the sink is down")),
        "skip" => Some(Answer::Filter),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_told_once_and_failures_by_name() {
    for order in [Order::Partition, Order::Key, Order::None] {
        let mut world = World::new(2);
        world.settings.order = order;
        world.publish_keyed(0, &["a:1", "a:poison", "b:skip", "b:down", "b:2", "c:3"]).await;
        world.publish_keyed(1, &["d:1", "d:2"]).await;
        let notes = observe(&world, some_fail).await;

        let (counts, enqueued, of_invocations) = notes.committed.lock().clone();
        // What was parked on the way is counted where it ended.
        let ended = (counts.applied, counts.filtered, counts.dead_lettered);
        assert_eq!((ended, enqueued), ((5, 1, 2), 8), "{order:?}");
        let invoked = notes.invoked.lock().clone();
        assert!(invoked.is_sorted_by(|one, next| one < next), "{order:?}: numbers grow");
        assert!(of_invocations.iter().all(|id| invoked.contains(id)), "{order:?}");
        assert_eq!(*notes.given.lock(), world.given().len() as u64, "{order:?}");

        let failures = notes.failures.lock().clone();
        let poison = (1, Some("a".to_owned()), 1, Fate::DeadLettered, "no such device".to_owned());
        assert!(failures.contains(&poison), "{order:?}: {failures:?}");
        let down: Vec<_> = failures.iter().filter(|failure| failure.0 == 3).collect();
        let attempts: Vec<u64> = down.iter().map(|failure| failure.2).collect();
        assert_eq!(attempts, [1, 2, 3], "{order:?}");
        let waits = if order == Order::Partition { Fate::Retried } else { Fate::Parked };
        assert_eq!((down[0].3, down[2].3), (waits, Fate::DeadLettered), "{order:?}");
    }
}

/// A probe that fails uses up no attempt, and is a failure all the same.
#[tokio::test(start_paused = true)]
async fn why_a_probe_failed_is_told() {
    for order in [Order::Partition, Order::Key, Order::None] {
        let mut world = World::new(1);
        world.settings.order = order;
        world.publish_keyed(0, &["b:down"]).await;
        let deed = || Deed { by: "ada".to_owned(), reason: "works".to_owned(), at: world.clock.now() };
        acts::open(&world.store, &lane(0).function, &deed()).await.unwrap();
        let (processor, notes) = start(&world, some_fail).await;
        acts::probe_now(&world.store, &lane(0).function, &deed()).await.unwrap();
        while notes.failures.lock().is_empty() {
            world.clock.sleep(Duration::from_millis(10)).await;
        }
        let failures = notes.failures.lock().clone();
        let waits = if order == Order::Partition { Fate::Retried } else { Fate::Parked };
        let down = (0, Some("b".to_owned()), 0, waits, "the sink is down".to_owned());
        assert_eq!(failures, [down], "{order:?}");
        processor.drain(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_as_many_events_are_searched_for_traces_as_are_wanted() {
    use tidegate_model::event::{EventData, PropertyValue};
    use tidegate_model::ports::EventAppender;
    use tidegate_model::position::PartitionId;
    let world = World::new(1);
    let event = |name: &str, trace: &str| EventData {
        properties: [(name.to_owned(), PropertyValue::from(trace))].into_iter().collect(),
        ..EventData::new("a:1")
    };
    let events =
        vec![event("Diagnostic-Id", "one"), event("traceparent", "two"), event("traceparent", "three")];
    world.log.append(PartitionId(0), events).await.unwrap();
    let notes = observe(&world, some_fail).await;
    assert_eq!(*notes.traces.lock(), ["one", "two"]);
}
