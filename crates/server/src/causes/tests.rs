use proptest::prelude::*;
use tidegate_host::settings::{Dependency, FunctionSettings};
use tidegate_model::attempt::FailureKind;
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Clock;
use tidegate_model::event::HubName;
use tidegate_model::memory::MemoryStore;
use tidegate_model::observe::{EventFailure, Fate, InvocationId, InvocationReport};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::Registers as _;
use tidegate_model::position::{PartitionId, SequenceNumber};

use tokio::sync::watch;

use super::*;
use crate::config::FunctionKind;

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn cause(function: &str, error: &str, attempts: u64, second: i64, instance: &str) -> FailureCause {
    FailureCause {
        function: function.to_owned(),
        kind: Some("transient".to_owned()),
        error: error.to_owned(),
        attempts,
        first_at: at(second - 1),
        last_at: at(second),
        hub: "flights".to_owned(),
        partition: 0,
        sequence_number: second.unsigned_abs(),
        key: None,
        fate: "held".to_owned(),
        instances: vec![instance.to_owned()],
    }
}

/// Errors, attempts, and where.
fn told(causes: &[FailureCause]) -> Vec<(&str, u64, Vec<&str>)> {
    let mut told = Vec::new();
    for cause in causes {
        let instances = cause.instances.iter().map(String::as_str).collect();
        told.push((cause.error.as_str(), cause.attempts, instances));
    }
    told
}

#[test]
fn one_cause_at_several_instances_is_one() {
    let rejected = FailureCause { kind: Some("rejected".to_owned()), ..cause("f", "503 from 9", 1, 4, "b") };
    let causes = merged([
        cause("f", "503 from 1", 40, 10, "a"),
        cause("f", "503 from 2", 2, 30, "b"),
        cause("g", "503 from 3", 5, 20, "a"),
        rejected,
    ]);
    assert_eq!(
        told(&causes),
        [("503 from 2", 42, vec!["a", "b"]), ("503 from 3", 5, vec!["a"]), ("503 from 9", 1, vec!["b"])]
    );
    assert_eq!((causes[0].first_at, causes[0].last_at, causes[0].sequence_number), (at(9), at(30), 30));
}

proptest! {
    #[test]
    fn who_is_asked_first_does_not_matter(
        some in proptest::collection::vec((0..3_u64, 1..1000_u64, 1..50_i64, 0..4_u64), 0..20),
        from: prop::sample::Index,
    ) {
        let causes = some.iter().map(|(error, attempts, second, instance)| {
            cause("f", &format!("{}{instance}", "x".repeat(*error as usize)), *attempts, *second, &instance.to_string())
        });
        let causes: Vec<FailureCause> = causes.collect();
        let mut others = causes.clone();
        others.rotate_left(if causes.is_empty() { 0 } else { from.index(causes.len()) });
        prop_assert_eq!(merged(causes.clone()), merged(others));
        let (attempts, all) = (|causes: &[FailureCause]| causes.iter().map(|cause| cause.attempts).sum::<u64>(), merged(causes.clone()));
        prop_assert_eq!(attempts(&causes), attempts(&all));
        prop_assert_eq!(merged(all.clone()), all);
    }
}

#[test]
fn what_the_others_are_told_is_bounded() {
    let causes = (0..1000).rev().map(|nth| cause(&format!("f{}", nth % 50), &"x".repeat(nth), 1, 5, "a"));
    let told = worth_telling(causes.collect());
    assert_eq!(told.len(), MOST_SHARED);
    assert_eq!(told[0].error.len(), 999, "the first are the newest");
    let of_one = (0..1000).map(|nth| cause("f", &"x".repeat(nth), 1, 5, "a"));
    assert_eq!(worth_telling(of_one.collect()).len(), MOST_OF_FUNCTION);
}

#[test]
fn a_mail_names_the_most_frequent_causes_of_the_time() {
    let fleet =
        FailureCause { instances: vec!["a".to_owned(), "b".to_owned()], ..cause("f", "503", 40, 1000, "a") };
    let unknown = FailureCause { kind: None, ..cause("f", "no answer", 1, 1010, "a") };
    let old = cause("f", "long ago", 9000, 300, "a");
    let seldom = ["x", "y", "z"].map(|error| cause("f", error, 2, 1000, "a"));
    assert_eq!(
        lines(vec![unknown.clone(), old, fleet], at(1001)),
        ["40 attempts of f on 2 instances (transient): 503", "1 attempt of f: no answer"]
    );
    let many = lines(seldom.into_iter().chain([unknown]).collect(), at(1001));
    assert_eq!(many.len(), MOST_IN_MAIL);
    assert!(many.iter().all(|line| line.starts_with("2 attempts")), "{many:?}");
}

/// A clock that is set by hand, and whoever sleeps sleeps until it is.
struct Hands(watch::Sender<Duration>);

impl Hands {
    const BEGINNING: i64 = 100_000;

    /// Time passes, and everybody does what there is to do then.
    async fn advance(&self, by: Duration) {
        self.0.send_modify(|time| *time += by);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> Timestamp {
        at(Self::BEGINNING).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.0.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let end = self.monotonic() + duration;
        self.0.subscribe().wait_for(|time| *time >= end).await.expect("the clock is there");
    }

    fn random(&self) -> u64 {
        0
    }
}

struct Fleet {
    clock: Arc<Hands>,
    store: MemoryStore,
}

impl Fleet {
    fn new() -> Self {
        Self { clock: Arc::new(Hands(watch::Sender::new(Duration::ZERO))), store: MemoryStore::default() }
    }

    fn instance(&self) -> (Arc<Telemetry>, Arc<Causes>) {
        let functions = vec![FunctionConfig {
            name: FunctionName::new("positions").unwrap(),
            hub: HubName::new("flights").unwrap(),
            kind: FunctionKind::Rust,
            settings: FunctionSettings {
                dependencies: vec![Dependency {
                    name: FunctionName::new("geocoder").unwrap(),
                    circuit: tidegate_host::circuit::CircuitSettings::default(),
                }],
                ..FunctionSettings::default()
            },
        }];
        let telemetry = Telemetry::new("1", self.clock.clone());
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let causes = Causes::new(telemetry.clone(), store, self.clock.clone(), functions);
        (telemetry, Arc::new(causes))
    }

    async fn shares(&self, causes: &Causes, instance: &str) {
        causes.call_it(instance.to_owned());
        causes.share_now().await.unwrap();
    }

    fn fail(&self, telemetry: &Telemetry, number: u64, error: &str) {
        let lane = Lane {
            function: FunctionName::new("positions").unwrap(),
            hub: HubName::new("flights").unwrap(),
            partition: PartitionId(3),
        };
        let failure = EventFailure {
            sequence_number: SequenceNumber(number),
            key: None,
            attempts: 3,
            kind: Some(FailureKind::Transient),
            error,
            fate: Fate::Held,
        };
        telemetry.observer().invoked(&InvocationReport {
            id: InvocationId(1),
            lane: &lane,
            function_version: "1",
            first: SequenceNumber(number),
            last: SequenceNumber(number),
            events: 1,
            is_parked: false,
            at: self.clock.now(),
            took: Duration::ZERO,
            counts: OutcomeCounts::default(),
            error: None,
            failed: 1,
            failures: &[failure],
            traces: &[],
        });
    }

    async fn registers(&self) -> Vec<Register> {
        self.store.registers(FAILURE_CAUSES).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_is_asked_tells_the_causes_of_the_whole_fleet_and_of_lives_before() {
    let fleet = Fleet::new();
    let ((seen_by_a, a), (seen_by_b, b), (_, c)) = (fleet.instance(), fleet.instance(), fleet.instance());
    fleet.fail(&seen_by_a, 1, "503 from 10.0.0.1");
    fleet.fail(&seen_by_b, 2, "503 from 10.0.0.2");
    fleet.fail(&seen_by_b, 3, "the certificate is not valid");
    fleet.shares(&a, "a").await;
    fleet.shares(&b, "b").await;
    for asked in [&a, &b, &c] {
        for circuit in [None, Some("positions"), Some("geocoder")] {
            let causes = asked.of(circuit).await.unwrap();
            let mut told = told(&causes);
            told.sort_unstable();
            let both = ("503 from 10.0.0.2", 2, vec!["a", "b"]);
            assert_eq!(told, [both, ("the certificate is not valid", 1, vec!["b"])], "{circuit:?}");
        }
        assert_eq!(asked.of(Some("weather")).await, Ok(Vec::new()));
    }

    // An instance that ends is still heard of, for an hour; then its register is removed by another.
    drop((seen_by_b, b));
    fleet.clock.advance(Duration::from_secs(3600)).await;
    assert_eq!(a.of(None).await.unwrap().len(), 2);
    fleet.clock.advance(Duration::from_millis(1)).await;
    assert_eq!(a.of(None).await, Ok(Vec::new()));
    fleet.shares(&c, "c").await;
    assert_eq!(fleet.registers().await, [], "an instance that has nothing to tell makes no register");
}

#[tokio::test]
async fn the_first_failure_is_told_at_once_and_then_now_and_then() {
    let fleet = Fleet::new();
    let (seen, causes) = fleet.instance();
    causes.call_it("a".to_owned());
    let sharing = tokio::spawn(causes.share());
    let turn = async || fleet.clock.advance(Duration::from_millis(1)).await;
    turn().await;
    assert_eq!(fleet.registers().await, []);
    let attempts = async || {
        let registers = fleet.registers().await;
        registers[0].value[0]["attempts"].as_u64().unwrap()
    };
    fleet.fail(&seen, 1, "503");
    turn().await;
    assert_eq!(attempts().await, 1);
    for number in 2..=100 {
        fleet.fail(&seen, number, "503");
        turn().await;
    }
    assert_eq!((attempts().await, fleet.registers().await[0].version), (1, Version(1)));
    fleet.clock.advance(SHARE_EVERY).await;
    assert_eq!((attempts().await, fleet.registers().await[0].version), (100, Version(2)));
    fleet.clock.advance(SHARE_EVERY * 10).await;
    assert_eq!(fleet.registers().await[0].version, Version(2), "nothing new is written");
    sharing.abort();
}
