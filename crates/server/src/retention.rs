//! Retention: what each hub may drop, what the audit trail may, and the task that drops it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tidegate_eventlog::{HubLog, Log, LogError, RetentionPolicy};
use tidegate_model::checkpoint::Checkpoint;
use tidegate_model::clock::SharedClock;
use tidegate_model::event::HubName;
use tidegate_model::ports::{Checkpoints, Commits, EventLog, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_store::SqliteStore;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::config::elements::retention::RetentionTime;
use crate::config::{Config, FunctionConfig, HubConfig};
use crate::failure::Failure;

/// How often old events are looked for.
const PERIOD: Duration = Duration::from_secs(30);

/// How many lines of the audit trail go in one transaction, so that commits do not wait for long.
const TRAIL_STEP: usize = 500;

/// The places in the log that somebody may go back to. Held while old events are dropped, from the reading of the checkpoints
/// on, and while checkpoints are moved by hand, from the finding of the place on: else a checkpoint could be set back to events
/// that are being dropped because it did not need them before.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<()>>);

impl Places {
    /// Until this is dropped no event is dropped, or no checkpoint is moved by hand, by anybody else.
    pub(crate) async fn hold(&self) -> OwnedMutexGuard<()> {
        self.0.clone().lock_owned().await
    }
}

/// Drops what is old again and again, until it is cancelled.
pub(crate) async fn run(
    places: Places,
    log: Arc<Log>,
    store: Arc<SqliteStore>,
    clock: SharedClock,
    config: Arc<Config>,
) -> Infallible {
    loop {
        clock.sleep(PERIOD).await;
        if let Err(failure) = once(&places, &log, &*store, &clock, &config).await {
            tracing::error!(error = %failure, "old events could not be dropped; trying again later");
        }
        match trail(&store, &clock, config.audit.keep).await {
            Ok(0) => {}
            Ok(lines) => tracing::info!(lines, "dropped old lines of the audit trail"),
            Err(error) => {
                tracing::error!(%error, "old lines of the audit trail could not be dropped; trying again later");
            }
        }
    }
}

/// Drops the lines of the audit trail that are old enough; how many they were.
async fn trail(store: &SqliteStore, clock: &SharedClock, keep: RetentionTime) -> Result<usize, StoreError> {
    let RetentionTime::For(age) = keep else { return Ok(0) };
    let before = clock.now().minus(age);
    let mut lines = 0;
    loop {
        match store.prune_trail(before, TRAIL_STEP).await? {
            0 => return Ok(lines),
            step => lines += step,
        }
    }
}

/// Drops the events of every hub that are old enough and resolved by every configured function.
async fn once<S: Checkpoints + Commits>(
    places: &Places,
    log: &Log,
    store: &S,
    clock: &SharedClock,
    config: &Config,
) -> Result<(), Failure> {
    let _held = places.hold().await;
    let checkpoints = store.checkpoints().await?;
    // What the checkpoints say must be on disk before the events are not.
    store.barrier().await?;
    let mut failed = Ok(());
    for hub_log in log.hubs() {
        let hub = EventLog::hub(&*hub_log);
        let declared = config.hubs.iter().find(|declared| declared.name == *hub);
        // A hub that nobody ever said it for keeps its events.
        let Some(policy) = declared.map(policy).or(hub_log.settings().retention) else { continue };
        let (floors, now) =
            (floors(hub, hub_log.partition_count(), &config.functions, &checkpoints), clock.now());
        let dropped = tokio::task::spawn_blocking(move || drop_old(&hub_log, policy, now, &floors));
        match dropped.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            // The second: somebody deleted it meanwhile.
            Ok(()) | Err(LogError::NoSuchHub { .. }) => {}
            // It must not fill the disk with the events of the others.
            Err(error) => failed = Err(error.into()),
        }
    }
    failed
}

fn drop_old(
    hub: &HubLog,
    policy: RetentionPolicy,
    now: tidegate_model::clock::Timestamp,
    floors: &[SequenceNumber],
) -> Result<(), LogError> {
    for dropped in hub.enforce_retention(now, policy, floors)? {
        tracing::info!(
            hub = %tidegate_model::ports::EventLog::hub(hub), partition = %dropped.partition, head = %dropped.head,
            bytes = dropped.bytes, "dropped old events"
        );
    }
    Ok(())
}

/// What the configuration says about a hub.
pub(crate) fn policy(hub: &HubConfig) -> RetentionPolicy {
    RetentionPolicy {
        max_age: match hub.retention {
            RetentionTime::For(age) => Some(age),
            RetentionTime::Forever => None,
        },
        max_bytes: hub.retention_bytes.map(|size| size.0),
    }
}

/// The first event of each partition that a configured function still needs (pure). A function without a checkpoint
/// needs everything; a hub that no function reads has nothing that is needed.
fn floors(
    hub: &HubName,
    partition_count: u32,
    functions: &[FunctionConfig],
    checkpoints: &[Checkpoint],
) -> Vec<SequenceNumber> {
    let of_hub = || functions.iter().filter(|function| function.hub == *hub);
    let position = |function: &FunctionConfig, partition| {
        let lane = checkpoints.iter().find(|checkpoint| {
            checkpoint.lane.function == function.name
                && checkpoint.lane.hub == *hub
                && checkpoint.lane.partition == partition
        });
        lane.map_or(SequenceNumber::ZERO, |checkpoint| checkpoint.position)
    };
    (0..partition_count)
        .map(PartitionId)
        .map(|partition| {
            of_hub().map(|function| position(function, partition)).min().unwrap_or(SequenceNumber(u64::MAX))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use async_trait::async_trait;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use futures_util::poll;
    use tidegate_eventlog::LogOptions;
    use tidegate_model::checkpoint::{FunctionName, Lane};
    use tidegate_model::clock::{Clock as _, TestClock, Timestamp};
    use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt};
    use tidegate_model::event::EventData;
    use tidegate_model::health::InstanceHealth;
    use tidegate_model::outcome::OutcomeCounts;
    use tidegate_model::ports::{DeadLetters as _, EventAppender, RegisterChange, Registers as _};
    use tidegate_model::position::Incarnation;
    use tidegate_model::register::{RegisterKey, Version};
    use tidegate_model::trail::{Act, NewTrailEntry};
    use tidegate_store::StoreOptions;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;
    use crate::config::Registered;
    use crate::data_dir::{DataDir, IfMissing};
    use crate::node::{Node, NodeConfig};

    fn config(functions: &[&str]) -> Config {
        let mut text = "[hub.flights]\npartitions = 2\n[hub.other]\n".to_owned();
        for name in functions {
            text.push_str(&format!(
                "[function.{name}]\nhub = \"flights\"\nkind = \"upsert\"\nkey = \"/id\"\n"
            ));
        }
        Config::parse(&text, "test", Registered::Any).unwrap()
    }

    fn checkpoint(function: &str, partition: u32, position: u64) -> Checkpoint {
        let lane = Lane {
            function: FunctionName::new(function).unwrap(),
            hub: HubName::new("flights").unwrap(),
            partition: PartitionId(partition),
        };
        Checkpoint {
            lane,
            incarnation: Incarnation(uuid::Uuid::nil()),
            start: SequenceNumber::ZERO,
            position: SequenceNumber(position),
            counts: OutcomeCounts::default(),
            updated_at: Timestamp::default(),
        }
    }

    fn of(hub: &str, config: &Config, checkpoints: &[Checkpoint]) -> Vec<u64> {
        floors(&HubName::new(hub).unwrap(), 2, &config.functions, checkpoints)
            .into_iter()
            .map(|floor| floor.0)
            .collect()
    }

    #[tokio::test]
    async fn old_events_go_only_when_every_configured_function_has_resolved_them() {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let shared: SharedClock = clock.clone();
        let log = Log::open(&dir.path().join("log"), LogOptions::default(), shared.clone()).unwrap();
        let store = SqliteStore::open(&dir.path().join("state.db"), &StoreOptions::default(), shared.clone())
            .unwrap();
        let hub = log.create_hub(&HubName::new("flights").unwrap(), 2).unwrap();
        for partition in [0, 1] {
            let events = vec![EventData::new("x"), EventData::new("y")];
            EventAppender::append(&*hub, PartitionId(partition), events).await.unwrap();
        }
        // The function is through with partition 0 only.
        for (partition, position) in [(0, 2), (1, 0)] {
            let lane = checkpoint("a", partition, 0).lane;
            store
                .begin(&lane, EventAppender::incarnation(&*hub), SequenceNumber(position), clock.now())
                .await
                .unwrap();
        }
        let heads = || [0, 1].map(|partition| hub.status(PartitionId(partition)).unwrap().head.0);

        once(&Places::default(), &log, &store, &shared, &config(&["a"])).await.unwrap();
        assert_eq!(heads(), [0, 0], "nothing is old");
        clock.set_now(clock.now().plus(Duration::from_secs(8 * 86_400)));
        once(&Places::default(), &log, &store, &shared, &config(&["a", "b"])).await.unwrap();
        assert_eq!(heads(), [0, 0], "b has not begun");
        once(&Places::default(), &log, &store, &shared, &config(&["a"])).await.unwrap();
        assert_eq!(heads(), [2, 0]);
        once(&Places::default(), &log, &store, &shared, &config(&[])).await.unwrap();
        assert_eq!(heads(), [2, 2], "nobody needs them");
    }

    #[tokio::test]
    async fn one_hub_whose_events_cannot_be_dropped_does_not_keep_the_others_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let shared: SharedClock = clock.clone();
        let log_dir = dir.path().join("log");
        let log = Log::open(&log_dir, LogOptions::default(), shared.clone()).unwrap();
        let store = SqliteStore::open(&dir.path().join("state.db"), &StoreOptions::default(), shared.clone())
            .unwrap();
        let hubs = ["flights", "other"].map(|name| log.create_hub(&HubName::new(name).unwrap(), 1).unwrap());
        for hub in &hubs {
            EventAppender::append(&**hub, PartitionId(0), vec![EventData::new("x")]).await.unwrap();
        }
        // In the place of each segment of the first is something that cannot be deleted as a file.
        for segment in std::fs::read_dir(log_dir.join("flights").join("0")).unwrap() {
            let path = segment.unwrap().path();
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
        clock.set_now(clock.now().plus(Duration::from_secs(8 * 86_400)));
        let failure = once(&Places::default(), &log, &store, &shared, &config(&[])).await.unwrap_err();
        assert!(failure.to_string().contains("flights"), "{failure}");
        let heads = hubs.map(|hub| hub.status(PartitionId(0)).unwrap().head.0);
        assert_eq!(heads, [0, 1], "the other's are gone");
    }

    /// A store that says when it is asked for a barrier, and waits.
    struct SlowBarrier {
        store: Arc<SqliteStore>,
        is_asked: Notify,
        goes_on: Notify,
    }

    tidegate_model::delegate_store!(SlowBarrier, store: Checkpoints);

    #[async_trait]
    impl Commits for SlowBarrier {
        fn guarantee(&self) -> CommitGuarantee {
            self.store.guarantee()
        }

        async fn health(
            &self,
            circuit: &FunctionName,
            since: Timestamp,
        ) -> Result<Vec<InstanceHealth>, StoreError> {
            self.store.health(circuit, since).await
        }

        async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
            self.store.commit(commit).await
        }

        async fn barrier(&self) -> Result<(), StoreError> {
            self.is_asked.notify_one();
            self.goes_on.notified().await;
            self.store.barrier().await
        }
    }

    #[tokio::test]
    async fn a_checkpoint_that_is_set_back_while_old_events_are_dropped_is_at_one_that_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let shared: SharedClock = clock.clone();
        let config = config(&["a"]);
        let data_dir = DataDir::open(dir.path(), IfMissing::Create, &*shared).unwrap();
        let node = Node::open(data_dir, NodeConfig::Declared(&config), shared.clone()).await.unwrap();
        let hub =
            node.log.hubs().into_iter().find(|hub| EventLog::hub(&**hub).as_str() == "flights").unwrap();
        EventAppender::append(&*hub, PartitionId(0), vec![EventData::new("x"), EventData::new("y")])
            .await
            .unwrap();
        let lane = checkpoint("a", 0, 0).lane;
        let incarnation = EventAppender::incarnation(&*hub);
        node.store.begin(&lane, incarnation, SequenceNumber(2), clock.now()).await.unwrap();
        clock.set_now(clock.now().plus(Duration::from_secs(8 * 86_400)));

        let slow = SlowBarrier { store: node.store.clone(), is_asked: Notify::new(), goes_on: Notify::new() };
        let drop_old = once(&node.places, &node.log, &slow, &shared, &config);
        let seek = async {
            slow.is_asked.notified().await;
            // The checkpoints are read, and nothing is dropped yet.
            let body = r#"{"function":"a","to":"earliest","partition":0,"reason":"replay"}"#;
            let request = Request::post("/api/v1/checkpoints/seek")
                .header("authorization", format!("Bearer {}", node.root_key().unwrap()))
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap();
            let mut answer = pin!(node.router().oneshot(request));
            for _ in 0..1000 {
                assert!(poll!(&mut answer).is_pending(), "it was set back to what is being dropped");
                tokio::task::yield_now().await;
            }
            slow.goes_on.notify_one();
            answer.await.unwrap().status()
        };
        let (dropped, status) = tokio::join!(drop_old, seek);
        dropped.unwrap();
        assert_eq!(status, StatusCode::OK);
        let head = hub.status(PartitionId(0)).unwrap().head;
        assert_eq!(head, SequenceNumber(2), "they were old");
        assert_eq!(node.store.checkpoint(&lane).await.unwrap().unwrap().position, head);
    }

    #[tokio::test]
    async fn lines_of_the_audit_trail_go_when_they_are_old_enough_however_many_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let shared: SharedClock = clock.clone();
        let path = dir.path().join("state.db");
        let store = SqliteStore::open(&path, &StoreOptions::default(), shared.clone()).unwrap();
        let entries = |count: usize| -> Vec<NewTrailEntry> {
            let act = Act { by: "mia".to_owned(), reason: "why".to_owned(), at: clock.now() };
            let entry = NewTrailEntry {
                action: "test.act",
                subject: "f".to_owned(),
                act,
                detail: serde_json::Value::Null,
            };
            vec![entry; count]
        };
        let act = async |name: &str, count| {
            let change = RegisterChange {
                key: RegisterKey::new("test", name),
                from: Version::NONE,
                value: Some(serde_json::Value::Null),
                at: clock.now(),
                notices: Vec::new(),
                trail: entries(count),
            };
            store.change_register(change).await.unwrap();
        };
        act("old", 3 * TRAIL_STEP / 2).await;
        clock.set_now(clock.now().plus(Duration::from_secs(86_000)));
        act("young", 2).await;
        let day = RetentionTime::For(Duration::from_secs(86_400));
        assert_eq!(trail(&store, &shared, day).await.unwrap(), 0, "a day is not over");
        clock.set_now(clock.now().plus(Duration::from_secs(500)));
        assert_eq!(trail(&store, &shared, RetentionTime::Forever).await.unwrap(), 0);
        assert_eq!(trail(&store, &shared, day).await.unwrap(), 3 * TRAIL_STEP / 2);
        assert_eq!(store.trail(None, 0, 10).await.unwrap().len(), 2);
    }

    #[test]
    fn events_are_kept_for_the_slowest_configured_function() {
        let checkpoints =
            [checkpoint("a", 0, 10), checkpoint("a", 1, 20), checkpoint("b", 0, 30), checkpoint("b", 1, 5)];
        assert_eq!(of("flights", &config(&["a", "b"]), &checkpoints), [10, 5]);
        assert_eq!(of("flights", &config(&["b"]), &checkpoints), [30, 5], "a is configured no more");
        assert_eq!(of("flights", &config(&["a", "c"]), &checkpoints), [0, 0], "c has not begun");
        assert_eq!(of("other", &config(&["a"]), &checkpoints), [u64::MAX, u64::MAX], "nobody reads it");
    }
}
