//! Requests to the HTTP door: a line with method and path, lines with headers, a body.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, Method, Request};
use tidegate_gateway::admission::Limits;
use tidegate_gateway::auth::{AccessRule, Authorizer, Right, Scope, SecretKey};
use tidegate_gateway::{Gateway, http};
use tidegate_model::clock::SystemClock;
use tidegate_model::event::HubName;
use tidegate_model::memory::MemoryLog;
use tower::ServiceExt;

const KEY: &str = "hostile";

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let request = |head: &str, body: &str| format!("{head}\n\n{body}").into_bytes();
    vec![
        request("POST /flights/messages", "an event"),
        request(
            "POST /flights/messages\nContent-Type: application/vnd.microsoft.servicebus.json",
            r#"[{"Body":"one","UserProperties":{"a":1}},{"Body":"two","BrokerProperties":{"PartitionKey":"k"}}]"#,
        ),
        request(
            "POST /flights/messages?key=/id&timeout=5\nContent-Type: application/x-ndjson",
            "{\"id\":\"a\"}\n{\"id\":\"b\"}\n",
        ),
        request("POST /flights/partitions/0/messages\nBrokerProperties: {\"PartitionKey\":\"k\"}", "x"),
        request("POST /flights/publishers/p/messages\nContent-Encoding: gzip", "x"),
        request("GET /health", ""),
    ]
}

pub(super) fn requests(bytes: &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = (&bytes[..end], bytes.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut first = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(first.next().unwrap_or_default()).unwrap_or(Method::POST);
    let Ok(path) = std::str::from_utf8(first.next().unwrap_or_default()) else { return };
    let mut request = Request::builder().method(method).uri(path);
    let mut authorized = false;
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            authorized |= name == "authorization";
            request = request.header(name, value);
        }
    }
    if !authorized {
        request = request.header("authorization", format!("Bearer {KEY}"));
    }
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let response = http::router(gateway()).oneshot(request).await.expect("a router answers");
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("an answer is short");
        let status = head.status.as_u16();
        assert!(status < 500 || status == 503 || status == 507, "{status}: {body:?}");
    });
}

fn gateway() -> Arc<Gateway> {
    let rule = AccessRule {
        name: "RootManageSharedAccessKey".into(),
        keys: vec![SecretKey::new(KEY).expect("a key")],
        rights: [Right::Manage].into_iter().collect(),
        scope: Scope::Namespace,
    };
    let clock = SystemClock::shared();
    let authorizer = Arc::new(Authorizer::new(vec![rule]).expect("one rule"));
    let gateway = Gateway::new(authorizer, Limits::default(), clock.clone());
    let name = HubName::new("flights").expect("a good name");
    gateway.open_hub(Arc::new(MemoryLog::new(name, 4, clock))).expect("it is the only one");
    Arc::new(gateway)
}
