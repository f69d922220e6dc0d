//! An API with fixed answers: two hubs, three functions, one of them in trouble; and hostile text wherever others write.

#[path = "fixture_desk.rs"]
mod desk;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};

use tidegate_model::clock::{SharedClock, Timestamp};

/// What others may write where a page shows it.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

pub(crate) const ERROR_PAGES: &[(&str, &str)] = &[
    (
        "TG-404",
        "# TG-404: The hub, partition, collection or document does not exist\n\nThe address leads to nothing.\n",
    ),
    ("TG-503", "# TG-503: The server is stopping\n\nSend again later.\n"),
];

/// The answers, and what was asked.
pub(crate) struct Fixture {
    pub(crate) clock: SharedClock,
    pub(crate) session: Mutex<Value>,
    pub(crate) overview: Mutex<Option<Value>>,
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) acts: Mutex<Vec<(String, HeaderMap, Value)>>,
}

impl Fixture {
    pub(crate) fn new(clock: SharedClock, session: Value) -> Arc<Self> {
        Arc::new(Self {
            clock,
            session: Mutex::new(session),
            overview: Mutex::default(),
            asked: Mutex::default(),
            acts: Mutex::default(),
        })
    }

    /// How often an address was asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|asked| asked.as_str() == path).count()
    }

    fn before(&self, seconds: u64) -> Timestamp {
        self.clock.now().minus(std::time::Duration::from_secs(seconds))
    }
}

/// Somebody who may act.
pub(crate) fn operator() -> Value {
    json!({ "signed_in": true, "name": "ada", "role": "operator", "csrf": "token-of-ada" })
}

/// Somebody on this machine.
pub(crate) fn guest() -> Value {
    json!({ "signed_in": false, "role": "reader" })
}

pub(crate) fn router(fixture: Arc<Fixture>) -> Router {
    let record = |State(fixture): State<Arc<Fixture>>, request: Request, next: axum::middleware::Next| async move {
        fixture.asked.lock().push(request.uri().path().to_owned());
        next.run(request).await
    };
    Router::new()
        .route("/api/v1/session", get(session).post(sign_in).delete(sign_out))
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/series", get(series))
        .route("/api/v1/hubs", get(hubs))
        .route("/api/v1/sources", get(sources))
        .route("/api/v1/hubs/{hub}", get(hub))
        .route("/api/v1/hubs/{hub}/events", get(events))
        .route("/api/v1/checkpoints", get(checkpoints))
        .route("/api/v1/trace", get(trace))
        .route("/api/v1/logs", get(logs))
        .route("/api/v1/parked", get(parked))
        .route("/api/v1/collections/{collection}/documents/{id}", get(document))
        .route("/api/v1/act", post(act))
        .merge(desk::router())
        .layer(axum::middleware::from_fn_with_state(fixture.clone(), record))
        .with_state(fixture)
}

pub(crate) fn problem(status: StatusCode, code: &str, detail: &str, action: &str) -> Response {
    let body = json!({ "type": format!("/errors/{code}"), "title": "t", "status": status.as_u16(), "detail": detail,
        "code": code, "action": action });
    (status, Json(body)).into_response()
}

async fn session(State(fixture): State<Arc<Fixture>>) -> Response {
    let session = fixture.session.lock().clone();
    match session {
        Value::Null => problem(StatusCode::UNAUTHORIZED, "TG-401", "nobody is signed in", "sign in"),
        session => Json(session).into_response(),
    }
}

async fn sign_in(State(fixture): State<Arc<Fixture>>, Json(body): Json<Value>) -> Response {
    if body["token"] != "good" && body["link"] != "tgl_good" {
        return problem(StatusCode::UNAUTHORIZED, "TG-401", "there is no such token", "make one");
    }
    *fixture.session.lock() = operator();
    ([(SET_COOKIE, "tidegate_session=s1; Path=/; HttpOnly")], Json(operator())).into_response()
}

async fn sign_out(State(fixture): State<Arc<Fixture>>, headers: HeaderMap) -> Response {
    fixture.acts.lock().push(("sign out".to_owned(), headers, Value::Null));
    *fixture.session.lock() = guest();
    ([(SET_COOKIE, "tidegate_session=; Max-Age=0")], StatusCode::NO_CONTENT).into_response()
}

async fn act(
    State(fixture): State<Arc<Fixture>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    fixture.acts.lock().push(("act".to_owned(), headers, body));
    Json(json!({ "result": "done" }))
}

async fn overview(State(fixture): State<Arc<Fixture>>) -> Response {
    if fixture.session.lock().is_null() {
        return problem(StatusCode::UNAUTHORIZED, "TG-401", "nobody is signed in", "sign in");
    }
    let given = fixture.overview.lock().clone();
    Json(given.unwrap_or_else(|| usual(&fixture))).into_response()
}

/// How everything usually is.
pub(crate) fn usual(fixture: &Fixture) -> Value {
    let lane = |partition: u32, state: &str, lag: u64| {
        json!({ "partition": partition, "state": state, "detail": null, "position": 41_000 + u64::from(partition), "tail": 41_000 + u64::from(partition) + lag,
            "lag": lag, "parked": 0, "held": 0, "owner": "tidegate-7f3a", "epoch": 3, "progressed_at": fixture.before(1), "watchdog": null })
    };
    json!({
        "version": "0.1.0", "started_at": fixture.before(86_400 * 3), "now": fixture.clock.now(), "ready": true,
        "hubs": [
            { "hub": "flights", "source": false, "partitions": 8, "published": 1_284_505, "incoming_per_s": 1240.0, "bytes_per_s": 284_000.0 },
            { "hub": "drones", "source": true, "partitions": 4, "published": 9120, "incoming_per_s": 3.2, "bytes_per_s": 800.0,
              "status": { "state": "there", "since": fixture.before(86_400), "problem": null } },
        ],
        "functions": [
            { "function": "aircraft", "hub": "flights", "collection": "aircraft", "kind": "upsert", "order": "key",
              "circuit": { "state": "closed", "since": null, "reason": "", "failures_in_window": 2, "threshold": 100, "window_s": 30 },
              "paused": [], "lag_events": 38, "lag_s": 0.2, "workable": 38, "parked": 0, "held": 0, "dead_letters": 326,
              "oldest_unresolved_at": fixture.before(1), "incoming_per_s": 1240.0, "processed_per_s": 1236.0, "dead_lettered_per_s": 0.4, "failed_per_s": 0.4,
              "latency_ms": { "p50": 8.2, "p99": 31.0, "p999": 64.0 }, "lanes": (0..8).map(|partition| lane(partition, "running", 4)).collect::<Vec<_>>() },
            { "function": "weather", "hub": "flights", "collection": "conditions", "kind": "rust", "order": "partition",
              "circuit": { "state": "open", "since": fixture.before(132), "reason": "GET https://weather.example/v1: 503 Service Unavailable", "failures_in_window": 104, "threshold": 100, "window_s": 30 },
              "paused": [], "lag_events": 162_400, "lag_s": 132.0, "workable": 162_400, "parked": 12, "held": 3, "dead_letters": 0,
              "oldest_unresolved_at": fixture.before(132), "incoming_per_s": 1240.0, "processed_per_s": 0.0, "dead_lettered_per_s": 0.0, "failed_per_s": 0.0,
              "latency_ms": null, "lanes": (0..8).map(|partition| lane(partition, "gated", 20_300)).collect::<Vec<_>>() },
            { "function": "positions", "hub": "drones", "collection": "drones", "kind": "rust", "order": "key",
              "circuit": { "state": "closed", "since": null, "reason": "", "failures_in_window": 0, "threshold": 100, "window_s": 30 },
              "paused": [], "lag_events": 0, "lag_s": null, "workable": 0, "parked": 0, "held": 0, "dead_letters": 0,
              "oldest_unresolved_at": null, "incoming_per_s": 3.2, "processed_per_s": 3.2, "dead_lettered_per_s": 0.0, "failed_per_s": 0.0,
              "latency_ms": { "p50": 5.0, "p99": 9.4, "p999": 12.0 }, "lanes": (0..4).map(|partition| lane(partition, "running", 0)).collect::<Vec<_>>() },
        ],
        "collections": [
            { "collection": "aircraft", "documents": 213 }, { "collection": "conditions", "documents": 1874 }, { "collection": "drones", "documents": 12 },
        ],
        "alerts": [
            { "id": "circuit/weather@1", "kind": "circuit", "subject": "weather", "since": fixture.before(132), "what": "The circuit of weather is open", "severity": "critical", "open": true, "ended_at": null, "stage": "waiting", "steps": [] },
            { "id": "dead-letters/aircraft@1", "kind": "dead-letters", "subject": "aircraft", "since": fixture.before(3600), "what": "326 dead letters of aircraft", "severity": "warning", "open": true, "ended_at": null, "stage": null, "steps": [] },
        ],
    })
}

async fn series(State(fixture): State<Arc<Fixture>>, request: Request) -> Json<Value> {
    let names =
        request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("name="));
    let phase = fixture.clock.now().as_millis() as f64 / 5000.0;
    let series: Vec<Value> = names
        .map(|name| {
            let is_weather = name.contains("weather");
            let scale = if name.contains("drones") || name.contains("positions") { 3.2 } else { 1240.0 };
            let points: Vec<Value> = (0..180)
                .map(|at| {
                    let wave = ((f64::from(at) + phase) / 11.0).sin() * 0.18
                        + ((f64::from(at) + phase) / 3.1).sin() * 0.05;
                    let stopped = is_weather && at > 153;
                    let value = match name.rsplit('.').next().unwrap_or_default() {
                        "processed" if stopped => 0.0,
                        "incoming" | "processed" => scale * (1.0 + wave),
                        "failed" if is_weather && (148..154).contains(&at) => 34.0,
                        "failed" => 0.4,
                        "lag" if stopped => f64::from(at - 153) * 6000.0,
                        "lag" => scale * 0.03 * (1.2 + wave),
                        _ if stopped => return Value::Null,
                        "latency_p99" => 31.0 * (1.0 + wave),
                        _ => 8.0 * (1.0 + wave / 2.0),
                    };
                    json!(value)
                })
                .collect();
            json!({ "name": name, "unit": "events/s", "points": points })
        })
        .collect();
    Json(json!({ "step_s": 5, "from": fixture.before(900), "series": series }))
}

fn hub_value(fixture: &Fixture, name: &str) -> Value {
    let partitions: Vec<Value> = (0..8)
        .map(|partition| {
            json!({ "partition": partition, "head": 12_000, "tail": 41_004 + partition, "last_enqueued_at": fixture.before(1),
                "size_bytes": 14_200_000 + partition * 91_000, "damage": null })
        })
        .collect();
    json!({ "hub": name, "incarnation": "0192f3a0-0000-7000-8000-000000000001", "created_at": fixture.before(86_400 * 20), "declared": true,
        "retention": "7d", "retention_bytes": null, "consumer_groups": ["$Default", "reports"], "functions": ["aircraft", "weather"],
        "partitions": partitions })
}

async fn hubs(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    Json(json!({ "items": [hub_value(&fixture, "drones"), hub_value(&fixture, "flights")], "next": null }))
}

/// A hub of somebody else that cannot be reached, as the overview has it.
pub(crate) fn away(fixture: &Fixture) -> Value {
    json!({ "hub": "yard", "source": true, "away": true, "partitions": 0, "published": 0, "incoming_per_s": null, "bytes_per_s": null,
        "status": { "state": "away", "since": fixture.before(600), "problem": format!("[source.yard] cannot be read: {HOSTILE}") } })
}

async fn sources(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    let of_overview = away(&fixture);
    let checkpoint = json!({ "function": "positions", "position": 4711, "updated_at": fixture.before(700) });
    let partition = |number: u32, checkpoints: Value| json!({ "partition": number, "head": null, "tail": null, "reader": null, "checkpoints": checkpoints });
    Json(json!({ "items": [
        { "source": "drones", "state": "there", "since": fixture.before(86_400), "problem": null, "consumer_group": "$Default",
          "functions": ["positions"], "partitions": [{ "partition": 0, "head": 12, "tail": 2280, "reader": HOSTILE, "checkpoints": [checkpoint] }] },
        { "source": "yard", "state": "away", "since": of_overview["status"]["since"], "problem": of_overview["status"]["problem"],
          "consumer_group": "$Default", "functions": ["positions"], "partitions": [partition(0, json!([checkpoint])), partition(1, json!([]))] },
    ], "next": null }))
}

async fn hub(State(fixture): State<Arc<Fixture>>, Path(name): Path<String>) -> Response {
    match name.as_str() {
        "flights" | "drones" => Json(hub_value(&fixture, &name)).into_response(),
        name => {
            let detail = format!("there is no hub {name:?}");
            problem(StatusCode::NOT_FOUND, "TG-404", &detail, "hubs here: drones, flights")
        }
    }
}

pub(crate) fn event(fixture: &Fixture, sequence_number: u64) -> Value {
    use base64::Engine as _;
    let body: Vec<u8> = match sequence_number % 4 {
        0 => format!(
            "{{\"icao24\":\"3949ed\",\"altitude\":{}.50,\"note\":\"{HOSTILE}\"}}",
            sequence_number % 40_000
        )
        .replace("\"'>", "\\\"'>")
        .into_bytes(),
        1 => b"{\"icao24\":\"38a1b2\",\"latitude\":48.7".to_vec(),
        2 => HOSTILE.as_bytes().to_vec(),
        _ => vec![0xff, 0x00, b'<', b'b', b'>', 0x1b],
    };
    json!({ "partition": 3, "sequence_number": sequence_number, "offset": format!("{}", sequence_number * 40), "enqueued_at": fixture.before(60),
        "partition_key": if sequence_number.is_multiple_of(2) { HOSTILE } else { "3949ed" }, "properties": { "label": HOSTILE, "n": 1.5 },
        "system_properties": { "message-id": "m-1" }, "body": std::str::from_utf8(&body).ok(),
        "body_base64": base64::engine::general_purpose::STANDARD.encode(&body) })
}

async fn events(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    let items: Vec<Value> = (40_000..40_012).map(|number| event(&fixture, number)).collect();
    Json(json!({ "items": items, "next": "40012" }))
}

async fn checkpoints(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    let items: Vec<Value> = ["aircraft", "weather"]
        .iter()
        .flat_map(|function| (0..8).map(move |partition| (function, partition)))
        .map(|(function, partition)| {
            json!({ "function": function, "hub": "flights", "partition": partition, "incarnation": "i", "start": 0, "position": 40_980 + partition,
                "sequence_number": 40_979 + partition, "tail": 41_004 + partition, "lag": 24, "applied": 40_700, "filtered": 200, "dead_lettered": 41,
                "parked": 0, "discarded": 0, "lost": 0, "updated_at": fixture.before(1), "state": "running", "error": null, "watchdog": null })
        })
        .collect();
    Json(json!({ "items": items, "next": null }))
}

/// A dead letter.
fn letter(fixture: &Fixture) -> Value {
    json!({
        "id": 17, "status": "open", "changed_at": fixture.before(50), "fingerprint": "85944171f73967e8", "redrives": 0, "returns": 0,
        "revision": 0, "lease": null, "leases": 0, "function": "aircraft", "function_version": "1", "hub": "flights",
        "incarnation": "i", "partition": 3, "sequence_number": 40_001, "offset": "1", "enqueued_at": fixture.before(60),
        "dead_lettered_at": fixture.before(50), "partition_key": HOSTILE, "properties": {}, "system_properties": {},
        "class": "permanent", "reason": format!("not JSON: {HOSTILE}"), "attempts": [], "body_base64": "", "edited": null,
        "document": null,
    })
}

pub(crate) fn trace_value(fixture: &Fixture) -> Value {
    json!({
        "hub": "flights", "partition": 3, "sequence_number": 40_001, "event": event(fixture, 40_001),
        "functions": [
            { "function": "aircraft", "outcome": "dead-lettered",
              "attempts": [
                  { "at": fixture.before(59), "kind": "transient", "error": "connection refused" },
                  { "at": fixture.before(50), "kind": "rejected", "error": HOSTILE },
              ],
              "dead_letter": letter(fixture),
              "parked": null, "documents": [{ "collection": "aircraft", "id": "3949ed", "body": { "icao24": "3949ed" } }] },
            { "function": "weather", "outcome": "pending", "attempts": [], "dead_letter": null, "parked": null, "documents": [] },
        ],
        "logs": [
            { "at": fixture.before(50), "level": "warn", "target": "tidegate_host::pump", "message": format!("dead-lettered {HOSTILE}"), "fields": { "function": "aircraft", "key": HOSTILE } },
        ],
        "trail": [{ "number": 3, "action": "dead-letter.redrive", "subject": "17", "by": "ada (root)", "reason": HOSTILE, "at": fixture.before(10), "detail": {} }],
    })
}

async fn parked(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    let parked = json!({
        "id": "weather/flights/3/40001", "function": "weather", "hub": "flights", "incarnation": "i", "partition": 3,
        "sequence_number": 40_001, "enqueued_at": fixture.before(60), "parked_at": fixture.before(40), "state": "held",
        "due_at": null, "held": HOSTILE, "behind": null, "attempts": [], "redrive_of": null, "partition_key": HOSTILE,
        "properties": {}, "system_properties": {}, "body": HOSTILE, "body_base64": "",
    });
    Json(json!({ "items": [parked], "next": null }))
}

async fn document(
    State(fixture): State<Arc<Fixture>>,
    Path((collection, id)): Path<(String, String)>,
) -> Response {
    if collection != "aircraft" {
        return problem(StatusCode::NOT_FOUND, "TG-404", "there is no such document", "");
    }
    Json(desk::document_value(&fixture, &id, 3)).into_response()
}

async fn trace(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    Json(trace_value(&fixture))
}

async fn logs(State(fixture): State<Arc<Fixture>>) -> Json<Value> {
    let line = |seconds: u64, level: &str, message: &str| {
        json!({ "at": fixture.before(seconds), "level": level, "target": "tidegate_host::pump", "message": message,
            "fields": { "function": "aircraft", "hub": "flights", "partition": 3, "sequence_number": 40_001, "key": "3949ed" } })
    };
    Json(
        json!({ "items": [line(2, "error", HOSTILE), line(5, "warn", "an event became a dead letter"), line(9, "info", "the circuit closed")], "next": "c1" }),
    )
}
