//! A gateway with one hub, requests to it, and a look at what is in its log afterwards.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::auth::{AccessRule, Authorizer, Right, Scope, SecretKey};
use tidegate_gateway::namespace::ConsumerGroups;
use tidegate_gateway::{Gateway, http};
use tidegate_model::clock::{TestClock, Timestamp};
use tidegate_model::event::{Event, HubName};
use tidegate_model::memory::MemoryLog;
use tidegate_model::ports::{EventAppender, EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tower::ServiceExt;

/// The time the tests begin at.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Of the rule `RootManageSharedAccessKey`, which may do everything.
pub(crate) const ROOT_KEY: &str = "SAS_KEY_VALUE";

/// Of the rule `flights-send`, which may send to the hub `flights`.
pub(crate) const FLIGHTS_SEND_KEY: &str = "flights-send-key";

/// Of the rule `listen`, which may listen everywhere.
pub(crate) const LISTEN_KEY: &str = "listen-key";

pub(crate) struct Harness {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) router: Router,
}

/// A gateway in front of the hub `flights` with four partitions, in memory.
pub(crate) fn harness() -> Harness {
    harness_with(Limits::default(), |log| log)
}

/// The same for those whom this lets in.
pub(crate) fn harness_of(authorizer: Arc<Authorizer>) -> Harness {
    harness_for(authorizer, Limits::default(), |log| log)
}

/// The same with other limits, and with something put between the gateway and the log.
pub(crate) fn harness_with<A: EventAppender>(
    limits: Limits,
    wrap: impl FnOnce(Arc<MemoryLog>) -> Arc<A>,
) -> Harness {
    harness_for(authorizer(), limits, wrap)
}

fn harness_for<A: EventAppender>(
    authorizer: Arc<Authorizer>,
    limits: Limits,
    wrap: impl FnOnce(Arc<MemoryLog>) -> Arc<A>,
) -> Harness {
    let clock = TestClock::new(NOW, 7);
    let log = Arc::new(MemoryLog::new(HubName::new("flights").unwrap(), 4, clock.clone()));
    let gateway = Arc::new(Gateway::new(authorizer, limits, clock.clone()));
    let appender = wrap(log.clone());
    gateway.open_hub_with(appender, Some(log.clone()), ConsumerGroups::default()).unwrap();
    let router = http::router(gateway.clone());
    Harness { gateway, log, clock, router }
}

pub(crate) fn authorizer() -> Arc<Authorizer> {
    let rule = |name: &str, key: &str, right, scope| AccessRule {
        name: name.into(),
        keys: vec![SecretKey::new(key).unwrap()],
        rights: [right].into_iter().collect(),
        scope,
    };
    let flights = Scope::Hub(HubName::new("flights").unwrap());
    let rules = vec![
        rule("RootManageSharedAccessKey", ROOT_KEY, Right::Manage, Scope::Namespace),
        rule("flights-send", FLIGHTS_SEND_KEY, Right::Send, flights),
        rule("listen", LISTEN_KEY, Right::Listen, Scope::Namespace),
    ];
    Arc::new(Authorizer::new(rules).unwrap())
}

/// A POST with the root key and these headers.
pub(crate) fn post(uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(uri).header("Authorization", format!("Bearer {ROOT_KEY}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

pub(crate) fn batch(uri: &str, body: impl Into<Body>) -> Request<Body> {
    post(uri, &[("Content-Type", "application/vnd.microsoft.servicebus.json")], body)
}

pub(crate) fn lines(uri: &str, body: impl Into<Body>) -> Request<Body> {
    post(uri, &[("Content-Type", "application/x-ndjson")], body)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    /// Checks status and code, and gives the message.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        let json = self.json();
        assert_eq!(json["code"], code, "{json}");
        assert!(!json["action"].as_str().unwrap().is_empty(), "{json}");
        json["detail"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn acknowledged(&self) -> u64 {
        self.json()["acknowledged"].as_u64().unwrap_or_else(|| panic!("{:?}", self.body))
    }

    #[track_caller]
    pub(crate) fn created(&self) {
        assert_eq!(self.status, StatusCode::CREATED, "{:?}", self.body);
    }
}

impl Harness {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Everything in a partition.
    pub(crate) async fn read(&self, partition: u32) -> Vec<Event> {
        let limit = ReadLimit { events: usize::MAX, bytes: usize::MAX };
        EventLog::read(&*self.log, PartitionId(partition), SequenceNumber::ZERO, limit).await.unwrap()
    }

    /// Everything in the log with its partition.
    pub(crate) async fn read_all(&self) -> Vec<(u32, Event)> {
        let mut all = Vec::new();
        for partition in 0..4 {
            all.extend(self.read(partition).await.into_iter().map(|event| (partition, event)));
        }
        all
    }

    /// The bodies of everything in the log as text, in no order.
    pub(crate) async fn bodies(&self) -> Vec<String> {
        let mut bodies: Vec<_> = (self.read_all().await.iter())
            .map(|(_, event)| String::from_utf8_lossy(event.body()).into_owned())
            .collect();
        bodies.sort();
        bodies
    }
}
