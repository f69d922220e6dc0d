use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tidegate_eventlog::LogOptions;
use tidegate_model::clock::{TestClock, Timestamp};
use tidegate_model::ports::DeadLetters as _;
use tidegate_store::StoreOptions;
use tower::ServiceExt as _;

use super::*;
use crate::config::{Config, Registered};
use crate::data_dir::{DataDir, IfMissing};
use crate::node::{Node, NodeConfig};

struct Begun {
    log: Arc<Log>,
    store: SqliteStore,
    clock: SharedClock,
    _dir: tempfile::TempDir,
}

impl Begun {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let log = Log::open(&dir.path().join("log"), LogOptions::default(), clock.clone()).unwrap();
        let path = dir.path().join("state.db");
        let store = SqliteStore::open(&path, &StoreOptions::default(), clock.clone()).unwrap();
        Self { log: Arc::new(log), store, clock, _dir: dir }
    }

    /// The crash came when the register said this.
    async fn register(&self, record: &Record) {
        let change = change(&name(), Version::NONE, Some(record), None, &self.clock);
        self.store.change_register(change).await.unwrap();
    }

    async fn finish(&self) -> Result<BTreeMap<HubName, Vec<ConsumerGroupName>>, Failure> {
        finish(&self.log, &self.store, &self.clock).await
    }

    async fn record(&self) -> Option<Record> {
        let register = self.store.register(&key_of(&name())).await.unwrap();
        register.map(|register| stored(&register).unwrap().record)
    }

    async fn actions(&self) -> Vec<String> {
        let trail = self.store.trail(None, 0, 100).await.unwrap();
        trail.into_iter().map(|entry| format!("{} by {}", entry.action, entry.act.by)).collect()
    }
}

fn name() -> HubName {
    HubName::new("flights").unwrap()
}

fn act() -> Act {
    Act { by: "mia".to_owned(), reason: String::new(), at: Timestamp::from_millis(1) }
}

fn new() -> NewHub {
    let retention = RetentionPolicy { max_age: Some(Duration::from_secs(60)), max_bytes: Some(7) };
    NewHub {
        name: name(),
        partitions: 3,
        retention,
        groups: vec![ConsumerGroupName::new("Billing").unwrap()],
    }
}

#[tokio::test]
async fn a_hub_that_was_being_made_is_made_whether_or_not_the_log_had_it() {
    for had in [false, true] {
        let begun = Begun::new();
        begun.register(&Record::creating(&new(), act())).await;
        if had {
            make(&begun.log, &new()).await.unwrap();
        }
        let groups = begun.finish().await.unwrap();
        assert_eq!(groups[&name()], new().groups);
        let hub = begun.log.hub(&name()).unwrap();
        assert_eq!((hub.partition_count(), hub.settings().retention), (3, Some(new().retention)));
        assert_eq!(begun.actions().await, ["hub.create by mia"]);
        let standing = Record::Standing { consumer_groups: vec!["Billing".to_owned()] };
        assert_eq!(begun.record().await, Some(standing));
        begun.finish().await.unwrap();
        assert_eq!(begun.actions().await.len(), 1, "it is done once");
    }
}

#[tokio::test]
async fn a_hub_that_was_being_deleted_is_gone_and_another_life_of_it_is_left_alone() {
    for had in [Some(true), Some(false), None] {
        let begun = Begun::new();
        let mut incarnation = Incarnation(uuid::Uuid::from_u128(7));
        if let Some(same) = had {
            let hub = make(&begun.log, &new()).await.unwrap();
            if same {
                incarnation = tidegate_model::ports::EventLog::incarnation(&*hub);
            }
        }
        begun.register(&Record::Deleting { incarnation, partitions: 3, events: 9, act: act() }).await;
        assert!(begun.finish().await.unwrap().is_empty());
        assert_eq!(begun.log.hub(&name()).is_some(), had == Some(false));
        assert_eq!(
            (begun.record().await, begun.actions().await),
            (None, vec!["hub.delete by mia".to_owned()])
        );
    }
}

#[tokio::test]
async fn a_hub_that_was_made_and_is_not_in_the_log_is_a_lost_one() {
    let begun = Begun::new();
    begun.register(&Record::Standing { consumer_groups: Vec::new() }).await;
    let failure = begun.finish().await.unwrap_err();
    assert_eq!(failure.code(), Some(ErrorCode::CHECKPOINT_BEYOND_LOG));
    assert!(begun.log.hub(&name()).is_none(), "no empty one is put in its place");
}

/// An open data directory, and the API over it.
struct Opened {
    node: Node,
    config: Config,
    clock: SharedClock,
    dir: tempfile::TempDir,
}

impl Opened {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::parse("[hub.other]\n", "test", Registered::Any).unwrap();
        let clock: SharedClock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let node = Self::node(&dir, &config, &clock).await;
        Self { node, config, clock, dir }
    }

    async fn node(dir: &tempfile::TempDir, config: &Config, clock: &SharedClock) -> Node {
        let data_dir = DataDir::open(dir.path(), IfMissing::Create, &**clock).unwrap();
        Node::open(data_dir, NodeConfig::Declared(config), clock.clone()).await.unwrap()
    }

    /// The store cannot say that a hub stands, until it can.
    fn store_fails(&self, fails: bool) {
        let state = rusqlite::Connection::open(self.dir.path().join("store/state.db")).unwrap();
        let sql = match fails {
            true => {
                "CREATE TRIGGER fails BEFORE INSERT ON registers WHEN NEW.value LIKE '%standing%' \
                 BEGIN SELECT RAISE(ABORT, 'told to'); END"
            }
            false => "DROP TRIGGER fails",
        };
        state.execute_batch(sql).unwrap();
    }

    async fn send(&self, request: axum::http::request::Builder, body: &str) -> (StatusCode, Value) {
        let request = request
            .header("authorization", format!("Bearer {}", self.node.root_key().unwrap()))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let answer = self.node.router().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn create(&self, partitions: u32) -> (StatusCode, Value) {
        let body = format!(r#"{{"hub":"flights","partitions":{partitions},"consumer_groups":["Billing"]}}"#);
        self.send(Request::post("/api/v1/hubs"), &body).await
    }

    /// Whether clients can send to the hub.
    async fn takes_events(&self) -> bool {
        let (status, _) = self.send(Request::post("/flights/messages"), "{}").await;
        status == StatusCode::CREATED
    }
}

#[tokio::test]
async fn a_hub_that_was_made_and_not_recorded_is_finished_by_the_next_attempt() {
    let opened = Opened::new().await;
    opened.store_fails(true);
    let (status, error) = opened.create(3).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{error}");
    let told = error.to_string();
    assert!(told.contains("the hub flights is made, but that could not be recorded"), "{told}");
    assert!(told.contains("told to") && told.contains("make it again with the same settings"), "{told}");
    assert!(!opened.takes_events().await);

    opened.store_fails(false);
    let (status, error) = opened.create(2).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(error.to_string().contains("the hub flights was begun with other settings"), "{error}");
    let (status, hub) = opened.create(3).await;
    assert_eq!(status, StatusCode::CREATED, "{hub}");
    assert_eq!(hub["consumer_groups"], serde_json::json!(["$Default", "Billing"]));
    assert!(opened.takes_events().await);
    let trail = opened.node.store.trail(None, 0, 100).await.unwrap();
    assert_eq!(trail.iter().filter(|entry| entry.action == "hub.create").count(), 1);
    let (status, error) = opened.create(3).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(error.to_string().contains("is there already"), "{error}");
}

#[tokio::test]
async fn a_hub_that_was_made_and_not_recorded_can_be_deleted_or_is_finished_by_the_next_start() {
    for deletes in [true, false] {
        let opened = Opened::new().await;
        opened.store_fails(true);
        opened.create(3).await;
        opened.store_fails(false);
        if deletes {
            let (status, said) =
                opened.send(Request::post("/api/v1/hubs/flights/delete"), r#"{"reason":"x"}"#).await;
            assert_eq!(status, StatusCode::OK, "{said}");
            assert_eq!(opened.create(2).await.0, StatusCode::CREATED);
            assert!(opened.takes_events().await);
            continue;
        }
        let Opened { node, config, clock, dir } = opened;
        node.close().await.unwrap();
        let node = Opened::node(&dir, &config, &clock).await;
        assert!(Opened { node, config, clock, dir }.takes_events().await);
    }
}
