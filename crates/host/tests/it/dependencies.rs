//! Circuits of what functions need: they report on it, share its circuit, and stop together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_host::circuit::{CircuitSettings, status};
use tidegate_host::processor::{FunctionSetup, Processor, StartError};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{Dependency, FunctionSettings, OnExhausted, Order};
use tidegate_host::status::LaneState;
use tidegate_model::answer::{Answer, Failure};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::Clock;
use tidegate_model::document::CollectionName;
use tidegate_model::event::Event;
use tidegate_model::ports::{FunctionDescriptor, Outbox};

use crate::harness::{Act, Journal, World};

const PARTITIONS: u32 = 2;

fn name(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

fn needs(world: &World, dependencies: &[&str]) -> FunctionSettings {
    let circuit = CircuitSettings { threshold: 20, minimum_volume: 10, ..CircuitSettings::default() };
    let dependency = |dependency: &&str| Dependency { name: name(dependency), circuit };
    FunctionSettings { dependencies: dependencies.iter().map(dependency).collect(), ..world.settings.clone() }
}

async fn start(world: &World, functions: &[(&str, Act, FunctionSettings)]) -> Result<Processor, StartError> {
    let setup = |(function, act, settings): &(&str, Act, FunctionSettings)| FunctionSetup {
        function: Arc::new(Journal {
            descriptor: FunctionDescriptor {
                name: name(function),
                version: "1".to_owned(),
                collection: CollectionName::new(function).unwrap(),
            },
            act: *act,
            given: Arc::clone(&world.given),
        }),
        log: world.log.clone(),
        settings: settings.clone(),
    };
    let functions = functions.iter().map(setup).collect();
    Processor::start(Arc::new(world.store.clone()), world.clock.clone(), world.options.clone(), functions)
        .await
}

async fn publish(world: &World, rounds: std::ops::Range<usize>) {
    for partition in 0..PARTITIONS {
        let events: Vec<String> =
            rounds.clone().flat_map(|round| (0..30).map(move |key| format!("k{key}:{round}"))).collect();
        world.publish_keyed(partition, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

async fn state(world: &World, circuit: &str) -> CircuitState {
    let all = [(name(circuit), CircuitSettings::default())];
    status(&world.store, &all, world.clock.now()).await.unwrap()[0].state
}

fn gated(processor: &Processor, function: &str) -> usize {
    let is_gated = |lane: &&tidegate_host::status::LaneStatus| {
        lane.lane.function.as_str() == function && matches!(lane.state, LaneState::Gated { .. })
    };
    processor.status().iter().filter(is_gated).count()
}

#[tokio::test(start_paused = true)]
async fn functions_that_need_what_is_away_stop_together_and_the_others_go_on() {
    static IS_AWAY: AtomicBool = AtomicBool::new(false);
    fn needs_it(_: &Event, _: &str) -> Option<Answer> {
        let is_away = IS_AWAY.load(Ordering::SeqCst);
        is_away.then(|| Answer::Fail(Failure::new("no answer").because_of("geocoder")))
    }
    let mut world = World::new(PARTITIONS);
    world.settings.order = Order::Key;
    world.settings.on_exhausted = OnExhausted::Hold;
    world.settings.retry = RetryPolicy::FixedDelay { max_attempts: Some(3), delay: Duration::from_secs(1) };
    let functions: [(&str, Act, FunctionSettings); 3] = [
        ("places", needs_it, needs(&world, &["geocoder"])),
        ("routes", needs_it, needs(&world, &["geocoder", "weather"])),
        ("alone", |_, _| None, needs(&world, &["weather"])),
    ];
    let processor = start(&world, &functions).await.unwrap();
    publish(&world, 0..2).await;
    processor.caught_up().await;

    IS_AWAY.store(true, Ordering::SeqCst);
    publish(&world, 2..4).await;
    while state(&world, "geocoder").await != CircuitState::Open {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
    world.clock.sleep(Duration::from_secs(5)).await;
    assert_eq!(["places", "routes", "alone"].map(|function| gated(&processor, function)), [2, 2, 0]);
    for closed in ["places", "routes", "alone", "weather"] {
        assert_eq!(state(&world, closed).await, CircuitState::Closed, "{closed}");
    }
    let why = processor.status().into_iter().find_map(|lane| match lane.state {
        LaneState::Gated { why } => Some(why),
        _ => None,
    });
    assert!(why.unwrap().starts_with("geocoder: the circuit is open"));
    let given = world.given().len();
    world.clock.sleep(Duration::from_secs(60)).await;
    let probes = world.given().len() - given;
    assert!((1..=2).contains(&probes), "one event of all functions at a time, not {probes}");

    IS_AWAY.store(false, Ordering::SeqCst);
    assert!(processor.settled().await);
    assert_eq!(state(&world, "geocoder").await, CircuitState::Closed);
    processor.drain(Duration::from_secs(10)).await;
    assert!(world.dead_letters().await.is_empty());
    let notices = world.store.recent_notices(100).await.unwrap();
    let told: Vec<_> = notices.iter().map(|notice| (&*notice.notice.kind, &*notice.notice.subject)).collect();
    assert!(told.iter().all(|(_, subject)| *subject == "geocoder"), "{told:?}");
    assert_eq!(told.iter().filter(|(kind, _)| *kind == "circuit.opened").count(), 1, "{told:?}");
}

/// What nobody said that it needs cannot be blamed.
#[tokio::test(start_paused = true)]
async fn a_failure_because_of_something_unknown_is_the_functions_own() {
    let mut world = World::new(PARTITIONS);
    world.settings.order = Order::Key;
    world.settings.circuit.threshold = 20;
    let fails: Act = |_, _| Some(Answer::Fail(Failure::new("no answer").because_of("geocodr")));
    let settings = needs(&world, &["geocoder"]);
    let processor = start(&world, &[("places", fails, settings)]).await.unwrap();
    publish(&world, 0..4).await;
    while state(&world, "places").await != CircuitState::Open {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state(&world, "geocoder").await, CircuitState::Closed);
    processor.drain(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_circuit_has_one_name_and_one_setup() {
    let world = World::new(1);
    let apply: Act = |_, _| None;
    let other = |mut settings: FunctionSettings| {
        settings.dependencies[0].circuit.threshold = 7;
        settings
    };
    for (functions, problem) in [
        (vec![("a", apply, needs(&world, &["geocoder", "geocoder"]))], "named twice"),
        (vec![("a", apply, needs(&world, &["b"])), ("b", apply, needs(&world, &[]))], "name of a function"),
        (
            vec![
                ("a", apply, needs(&world, &["geocoder"])),
                ("b", apply, other(needs(&world, &["geocoder"]))),
            ],
            "another circuit",
        ),
    ] {
        let refused = start(&world, &functions).await.err().unwrap();
        assert!(refused.to_string().contains(problem), "{refused}");
    }
}
