//! The part of the API with fixed answers where people look into failures and act: dead letters, circuits, functions,
//! settings, tokens; documents and queries.

#![allow(clippy::unwrap_used, reason = "a fixture that is asked wrongly says where")]

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::HashMap;

use super::{Fixture, HOSTILE, problem};

type From = State<Arc<Fixture>>;
type Given = Query<HashMap<String, String>>;

pub(super) fn router() -> Router<Arc<Fixture>> {
    Router::new()
        .route("/api/v1/dead-letters", get(letters))
        .route("/api/v1/dead-letters/{id}", get(letter_of))
        .route("/api/v1/dead-letters/{id}/edit", post(edit))
        .route("/api/v1/dead-letters/{id}/note", post(note))
        .route("/api/v1/dead-letters/redrive", post(act_on_many))
        .route("/api/v1/dead-letters/discard", post(act_on_many))
        .route("/api/v1/dead-letter-ids", get(ids))
        .route("/api/v1/dead-letter-groups", get(groups))
        .route("/api/v1/dead-letter-trend", get(trend))
        .route("/api/v1/circuits", get(circuits))
        .route("/api/v1/failures", get(failures))
        .route("/api/v1/dead-letter-acts", get(bulk_acts).post(start_bulk_act))
        .route("/api/v1/dead-letter-acts/{id}", get(bulk_act))
        .route("/api/v1/dead-letter-acts/{id}/stop", post(stop_bulk_act))
        .route("/api/v1/circuits/{function}/{action}", post(circuit_act))
        .route("/api/v1/pauses/{function}/{action}", post(pause))
        .route("/api/v1/checkpoints/seek", post(seek))
        .route("/api/v1/parked/try", post(parked_act))
        .route("/api/v1/parked/set-aside", post(parked_act))
        .route("/api/v1/functions", get(functions))
        .route("/api/v1/functions/{function}", get(function))
        .route("/api/v1/functions/{function}/dry-run", post(dry_run))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/notices", get(notices))
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/sessions/{id}/end", post(end_session))
        .route("/api/v1/configuration", get(configuration))
        .route("/api/v1/trail", get(trail))
        .route("/api/v1/tokens", get(tokens).post(create_token))
        .route("/api/v1/tokens/{id}/revoke", post(revoke_token))
        .route("/api/v1/collections", get(collections))
        .route("/api/v1/collections/{collection}/documents", get(documents))
        .route("/api/v1/collections/{collection}/documents/{id}/history", get(history))
        .route("/api/v1/query", post(query))
}

fn keep(fixture: &Fixture, method: &Method, uri: &Uri, headers: HeaderMap, body: Value) {
    fixture.acts.lock().push((format!("{method} {uri}"), headers, body));
}

fn page(items: Vec<Value>) -> Json<Value> {
    Json(json!({ "items": items, "next": null }))
}

/// A page of things with numbers, in the order that is asked for.
fn page_of(
    numbers: impl DoubleEndedIterator<Item = u64>,
    given: &HashMap<String, String>,
    item: impl Fn(u64) -> Value,
) -> Value {
    let limit: usize = given.get("limit").map_or(1000, |limit| limit.parse().unwrap());
    let after: Option<u64> = given.get("after").map(|after| after.parse().unwrap());
    let mut numbers: Vec<u64> = match given.get("order").map(String::as_str) {
        Some("newest") => numbers.rev().filter(|number| after.is_none_or(|after| *number < after)).collect(),
        _ => numbers.filter(|number| after.is_none_or(|after| *number > after)).collect(),
    };
    let more = numbers.len() > limit;
    numbers.truncate(limit);
    let next = numbers.last().filter(|_| more).map(ToString::to_string);
    json!({ "items": numbers.into_iter().map(item).collect::<Vec<_>>(), "next": next })
}

const REASONS: [&str; 3] = [
    "altitude 99999 is above the ceiling of 60000 ft",
    "GET https://weather.example/v1/stations/EDDS: 503 Service Unavailable (5 attempts)",
    "latitude is missing",
];

fn letter(fixture: &Fixture, id: u64) -> Value {
    let body = json!({ "icao24": "3949ed", "callsign": "AFR1234", "latitude": 48.7, "longitude": 9.2, "altitude": 99_999, "note": HOSTILE }).to_string();
    let event = json!({ "partition_key": "3949ed", "properties": { "source": HOSTILE, "n": 1.5 }, "system_properties": {}, "body": body });
    let status = match id {
        19 => "quarantined",
        20 => "redriven",
        _ => "open",
    };
    let reason = if id == 17 { format!("not JSON: {HOSTILE}") } else { REASONS[id as usize % 3].to_owned() };
    let mut letter = json!({
        "id": id, "status": status, "changed_at": fixture.before(50), "fingerprint": "85944171f73967e8", "redrives": id % 3, "returns": id % 2,
        "revision": 0, "lease": null, "leases": 0, "function": "aircraft", "function_version": "7", "hub": "flights",
        "incarnation": "i", "partition": 3, "sequence_number": 40_000 + id, "offset": "1", "enqueued_at": fixture.before(60),
        "dead_lettered_at": fixture.before(50), "partition_key": "3949ed", "properties": { "source": HOSTILE }, "system_properties": {},
        "class": "permanent", "reason": reason,
        "attempts": [
            { "at": fixture.before(58), "kind": "transient", "error": "connection refused" },
            { "at": fixture.before(50), "kind": "rejected", "error": HOSTILE },
        ],
        "body_base64": base64::engine::general_purpose::STANDARD.encode(&body), "edited": null,
    });
    let more = json!({
        "document": { "collection": "aircraft", "id": "3949ed", "body": { "icao24": "3949ed", "altitude": 36_000, "callsign": "AFR1234" } },
        "event": event,
        "document_now": { "collection": "aircraft", "id": "3949ed", "body": { "icao24": "3949ed", "altitude": 37_000, "callsign": "AFR1234" } },
        "document_diff": "",
        "history": [
            { "number": 4, "action": "dead-letter.note", "subject": "17", "by": "ada (token 1)", "reason": HOSTILE, "at": fixture.before(20), "detail": {} },
            { "number": 5, "action": "dead-letter.edit", "subject": "17", "by": "ada (token 1)", "reason": "the feet were metres", "at": fixture.before(10), "detail": { "diff": "-  \"altitude\": 99999\n+  \"altitude\": 39999\n" } },
        ],
        "history_truncated": false,
    });
    letter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    letter
}

async fn letters(State(fixture): From, Query(given): Given) -> Response {
    if given.get("partition").is_some_and(|partition| partition.parse::<u32>().is_err()) {
        return problem(
            StatusCode::BAD_REQUEST,
            "TG-400",
            "the parameter partition cannot be \"x\"",
            "partition is a number",
        );
    }
    Json(page_of(1..131, &given, |id| letter(&fixture, id))).into_response()
}

async fn letter_of(State(fixture): From, Path(id): Path<u64>) -> Response {
    if id > 100 {
        return problem(
            StatusCode::NOT_FOUND,
            "TG-404",
            &format!("there is no dead letter {id}"),
            "list them",
        );
    }
    Json(letter(&fixture, id)).into_response()
}

async fn ids(State(fixture): From, uri: Uri, Query(given): Given) -> Json<Value> {
    fixture.acts.lock().push((format!("GET {uri}"), HeaderMap::new(), Value::Null));
    let limit: u64 = given["limit"].parse().unwrap();
    let from: u64 = given.get("after").map_or(0, |after| after.parse().unwrap());
    let to = (from + limit).min(326);
    let items: Vec<Value> = (from + 1..=to).map(|id| json!({ "id": id })).collect();
    Json(json!({ "items": items, "next": (to < 326).then(|| to.to_string()) }))
}

async fn groups(State(fixture): From, Query(given): Given) -> Json<Value> {
    if given.get("status").is_some_and(|status| status == "discarded") {
        return page(vec![]);
    }
    let group = |fingerprint: &str, function: &str, class: &str, reason: String, count: u64, example: u64| {
        json!({ "fingerprint": fingerprint, "function": function, "class": class, "reason": reason, "count": count,
            "first_at": fixture.before(7200), "last_at": fixture.before(30), "example": example })
    };
    let all = vec![
        group("85944171f73967e8", "aircraft", "permanent", format!("not JSON: {HOSTILE}"), 211, 17),
        group("0f0f0f0f0f0f0f0f", "aircraft", "permanent", REASONS[0].to_owned(), 103, 18),
        group("00000000000000ff", "weather", "exhausted", REASONS[1].to_owned(), 12, 20),
    ];
    let is_quarantined = given.get("status").is_some_and(|status| status == "quarantined");
    let cause = given.get("cause");
    let fits = |group: &Value| cause.is_none_or(|cause| group["fingerprint"] == cause.as_str());
    let mut found: Vec<Value> =
        all.into_iter().filter(fits).take(if is_quarantined { 1 } else { 9 }).collect();
    if is_quarantined {
        found.iter_mut().for_each(|group| group["count"] = json!(2));
    }
    page(found)
}

async fn trend(State(fixture): From) -> Json<Value> {
    let counts = |scale: u64| {
        (0..48).map(|at| if at % 7 < 3 { 0 } else { (at * 13 % 11) * scale }).collect::<Vec<u64>>()
    };
    Json(json!({ "from": fixture.before(86_400), "step_s": 1800, "groups": [
        { "fingerprint": "85944171f73967e8", "counts": counts(2) }, { "fingerprint": "0f0f0f0f0f0f0f0f", "counts": counts(1) } ] }))
}

async fn act_on_many(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    let items = body["ids"].as_array().unwrap().iter().map(|id| match id.as_u64() {
        Some(19) => json!({ "id": id, "result": "wrong-status", "status": "quarantined" }),
        _ => json!({ "id": id, "result": "done" }),
    });
    let items = items.collect();
    keep(&fixture, &Method::POST, &uri, headers, body);
    page(items)
}

fn judged() -> Value {
    json!({ "outcome": "applied", "collection": "aircraft", "document_id": "3949ed", "before": { "altitude": 36_000 }, "after": { "altitude": 39_999, "note": HOSTILE },
        "diff": "", "reason": null, "documents": 1 })
}

async fn edit(State(fixture): From, uri: Uri, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let dry_run = body["dry_run"] == true;
    let refused = body["event"]["body"].as_str().is_some_and(|body| body.contains("too large"));
    keep(&fixture, &Method::POST, &uri, headers, body);
    if refused {
        return problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TG-413",
            "the event would have 2000000 bytes",
            "make it smaller",
        );
    }
    let result = if dry_run { "would-be-edited" } else { "edited" };
    let diff = format!("-  \"altitude\": 99999\n+  \"altitude\": 39999\n   {HOSTILE}\n");
    Json(json!({ "id": 17, "result": result, "revision": if dry_run { 0 } else { 1 }, "diff": diff }))
        .into_response()
}

async fn dry_run(State(fixture): From, uri: Uri, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    keep(&fixture, &Method::POST, &uri, headers, body);
    Json(judged())
}

async fn note(State(fixture): From, uri: Uri, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    keep(&fixture, &Method::POST, &uri, headers, body);
    (StatusCode::CREATED, Json(json!({}))).into_response()
}

fn bulk(fixture: &Fixture, id: &str, state: &str) -> Value {
    let is_over = state != "running";
    json!({ "id": id, "act": "redrive", "filter": { "status": "open", "until": "2026-01-01T00:00:00Z" }, "force": false, "reason": HOSTILE,
        "by": "ada (token 1)", "started_at": fixture.before(30), "state": state, "ended_at": is_over.then(|| fixture.before(2)),
        "expected": 326, "done": if is_over { 325 } else { 200 }, "refused": if is_over { json!({ "quarantined": 1 }) } else { json!({}) },
        "resumed": 1 })
}

async fn bulk_acts(State(fixture): From) -> Json<Value> {
    page(vec![bulk(&fixture, "b1", "running")])
}

async fn bulk_act(State(fixture): From, Path(id): Path<String>) -> Response {
    match id.as_str() {
        "b1" => Json(bulk(&fixture, "b1", "running")).into_response(),
        "b2" => Json(bulk(&fixture, "b2", "ended")).into_response(),
        _ => problem(StatusCode::NOT_FOUND, "TG-404", "there is no such act", "the last 50 are kept"),
    }
}

async fn start_bulk_act(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    keep(&fixture, &Method::POST, &uri, headers, body);
    (StatusCode::ACCEPTED, Json(bulk(&fixture, "b1", "running"))).into_response()
}

async fn stop_bulk_act(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    keep(&fixture, &Method::POST, &uri, headers, body);
    Json(bulk(&fixture, "b1", "stopped"))
}

async fn failures(State(fixture): From, Query(given): Given) -> Response {
    let causes = match given.get("function").map(String::as_str) {
        Some("weather") => vec![json!({
            "function": "weather", "kind": "throttled", "error": format!("503 {HOSTILE}"), "attempts": 104,
            "first_at": fixture.before(300), "last_at": fixture.before(132), "hub": "flights", "partition": 3, "sequence_number": 41_003,
            "key": "4b1801", "fate": "held",
        })],
        _ => Vec::new(),
    };
    page(causes).into_response()
}

async fn circuits(State(fixture): From, Query(given): Given) -> Response {
    let circuit = |function: &str, state: &str| {
        let is_open = state == "open";
        json!({ "function": function, "state": state, "since": fixture.before(132), "reason": if is_open { format!("503 Service Unavailable {HOSTILE}") } else { String::new() },
            "by": if is_open { "tidegate" } else { "" }, "opened_at": is_open.then(|| fixture.before(132)), "manual": false,
            "next_probe_at": is_open.then(|| fixture.clock.now().plus(std::time::Duration::from_secs(20))), "probe": null, "failed_probes": if is_open { 2 } else { 0 },
            "failures_in_window": if is_open { 104 } else { 2 }, "failing_in_window": 3, "succeeded_in_window": if is_open { 0 } else { 37_100 }, "threshold": 100, "window_s": 30,
            "paused": (function == "positions").then(|| json!({ "since": fixture.before(600), "reason": HOSTILE, "by": "ada" })),
            "paused_lanes": {} })
    };
    let all = [circuit("aircraft", "closed"), circuit("positions", "closed"), circuit("weather", "open")];
    let found: Vec<Value> = all
        .into_iter()
        .filter(|circuit| {
            given.get("function").is_none_or(|function| circuit["function"] == function.as_str())
        })
        .collect();
    if found.is_empty() {
        return problem(
            StatusCode::NOT_FOUND,
            "TG-404",
            "no such function has run here",
            "functions here: aircraft",
        );
    }
    page(found).into_response()
}

async fn circuit_act(
    State(fixture): From,
    uri: Uri,
    Path((function, action)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    keep(&fixture, &Method::POST, &uri, headers, body);
    let state = match action.as_str() {
        "open" => "open",
        "close" => "closed",
        _ => "half-open",
    };
    Json(
        json!({ "function": function, "state": state, "since": fixture.before(0), "reason": "", "unchanged": false }),
    )
}

async fn pause(
    State(fixture): From,
    uri: Uri,
    Path((function, action)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    keep(&fixture, &Method::POST, &uri, headers, body);
    Json(json!({ "paused": function, "result": format!("{action}d"), "unchanged": false }))
}

async fn seek(State(fixture): From, uri: Uri, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let (dry_run, to) = (body["dry_run"] == true, body["to"].as_str().unwrap_or_default().to_owned());
    keep(&fixture, &Method::POST, &uri, headers, body);
    if to == "yesterday" {
        return problem(
            StatusCode::BAD_REQUEST,
            "TG-400",
            "\"yesterday\" is no place in a partition",
            "it is earliest, latest, a number or a time",
        );
    }
    let lane = |partition: u32| {
        json!({ "function": "aircraft", "hub": "flights", "partition": partition, "from": 41_000, "to": 12_000, "repeated": 29_000, "skipped": 0,
            "dead_letters_replayed": 41, "parked_replayed": 0, "done": !dry_run })
    };
    page((0..8).map(lane).collect()).into_response()
}

async fn parked_act(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    let id = body["id"].clone();
    keep(&fixture, &Method::POST, &uri, headers, body);
    Json(json!({ "id": id, "result": "to-be-tried" }))
}

fn function_value(name: &str, hub: &str, collection: &str, kind: &str) -> Value {
    json!({ "function": name, "hub": hub, "collection": collection, "kind": kind, "version": "7", "running": true, "settings": {
        "order": "key", "max_event_batch_size": 500, "min_event_batch_size": 1, "max_wait_time_ms": 50, "invocation_timeout_ms": 30_000,
        "retry": { "strategy": "exponential-backoff", "max_attempts": 5, "delay_ms": 1000, "max_delay_ms": 60_000 },
        "circuit": { "enabled": true, "threshold": 100, "window_s": 30, "minimum_volume": 50, "failure_ratio": 0.5, "probe": "automatic", "probe_after_s": 30 } } })
}

async fn functions() -> Json<Value> {
    page(vec![
        function_value("aircraft", "flights", "aircraft", "upsert"),
        function_value("positions", "drones", "drones", "rust"),
        function_value("weather", "flights", "conditions", "rust"),
    ])
}

async fn function(Path(name): Path<String>) -> Response {
    match name.as_str() {
        "aircraft" => Json(function_value("aircraft", "flights", "aircraft", "upsert")).into_response(),
        "weather" => Json(function_value("weather", "flights", "conditions", "rust")).into_response(),
        "positions" => Json(function_value("positions", "drones", "drones", "rust")).into_response(),
        _ => problem(
            StatusCode::NOT_FOUND,
            "TG-404",
            "no such function has run here",
            "functions here: aircraft",
        ),
    }
}

async fn alerts(State(fixture): From) -> Json<Value> {
    let step = |stage: &str, seconds: u64| json!({ "stage": stage, "at": fixture.before(seconds), "by": "tidegate", "note": if stage == "opened" { HOSTILE } else { "" } });
    page(vec![
        json!({ "id": "circuit/weather@1", "kind": "circuit", "subject": "weather", "since": fixture.before(132), "what": format!("503 Service Unavailable {HOSTILE}"),
            "severity": "critical", "open": true, "ended_at": null, "stage": "notified", "steps": [step("opened", 132), step("notified", 130)] }),
        json!({ "id": "dead-letters-growing/aircraft@1", "kind": "dead-letters-growing", "subject": "aircraft", "since": fixture.before(3600), "what": "dead letters become more",
            "severity": "warning", "open": true, "ended_at": null, "stage": null, "steps": [] }),
        json!({ "id": "circuit/weather@0", "kind": "circuit", "subject": "weather", "since": fixture.before(90_000), "what": "connection refused",
            "severity": "critical", "open": false, "ended_at": fixture.before(89_000), "stage": "closed", "steps": [step("opened", 90_000), step("closed", 89_000)] }),
    ])
}

async fn notices(State(fixture): From) -> Json<Value> {
    let delivery = |target: &str, state: &str, seconds: u64, tries: u32, error: Option<&str>| json!({ "target": target, "state": state, "at": fixture.before(seconds), "tries": tries, "error": error });
    page(vec![
        json!({ "id": 3, "kind": "circuit.opened", "subject": "weather", "at": fixture.before(132), "deliveries": [
            delivery("ops:mia@example.com", "delivered", 130, 1, None),
            delivery("chat", "due", 0, 4, Some(&format!("503 {HOSTILE}"))),
        ] }),
        json!({ "id": 2, "kind": "dead-letters-growing", "subject": "aircraft", "at": fixture.before(3600), "deliveries": [
            delivery("ops:mia@example.com", "given-up", 60, 12, Some("550 no such user")),
        ] }),
        json!({ "id": 1, "kind": "partition.stuck", "subject": "aircraft/flights/3", "at": fixture.before(8000), "deliveries": [] }),
    ])
}

async fn sessions(State(fixture): From) -> Json<Value> {
    let session = |id: &str, name: &str, token: Option<&str>, current: bool| {
        json!({ "id": id, "name": name, "role": "operator", "token": token, "opened_at": fixture.before(7200), "used_at": fixture.before(30),
            "current": current })
    };
    page(vec![
        session("00c0ffee0001", "root", Some("00c0ffee00aa"), true),
        session("00c0ffee0002", HOSTILE, None, false),
    ])
}

async fn end_session(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    keep(&fixture, &Method::POST, &uri, headers, body);
    Json(json!({}))
}

async fn configuration() -> Json<Value> {
    let setting = |table: &str,
                   key: &str,
                   value: Option<&str>,
                   meaning: Option<&str>,
                   origin: &str,
                   place: Option<&str>,
                   secret: bool| {
        json!({ "table": table, "key": key, "value": value, "meaning": meaning, "origin": origin, "place": place, "secret": secret })
    };
    page(vec![
        setting("[server]", "http", Some("\"127.0.0.1:8780\""), None, "default", None, false),
        setting("[server]", "name", Some(HOSTILE), None, "environment", Some("TIDEGATE_NAME"), false),
        setting("[hub.flights]", "partitions", Some("8"), None, "file", Some("tidegate.toml:12"), false),
        setting("[hub.flights]", "retention", Some("\"7d\""), None, "file", Some("tidegate.toml:13"), false),
        setting("[hub.flights]", "retention_bytes", None, Some("without limit"), "default", None, false),
        setting(
            "[mail]",
            "password",
            Some("the file /etc/tidegate/mail"),
            None,
            "file",
            Some("tidegate.toml:31"),
            true,
        ),
    ])
}

async fn trail(State(fixture): From, Query(given): Given) -> Json<Value> {
    let about = |number: u64| {
        if number.is_multiple_of(3) { ("circuit.open", "weather") } else { ("dead-letter.redrive", "17") }
    };
    let line = |number: u64| {
        let (action, subject) = about(number);
        json!({ "number": number, "action": action, "subject": subject, "by": "ada (token 1)", "reason": format!("reason {number} {HOSTILE}"),
            "at": fixture.before(10_000 - number * 10), "detail": { "n": number } })
    };
    let numbers =
        (1..131).filter(|number| given.get("subject").is_none_or(|subject| about(*number).1 == subject));
    Json(page_of(numbers, &given, line))
}

fn token(fixture: &Fixture, id: &str, name: &str, role: &str) -> Value {
    json!({ "id": id, "name": name, "role": role, "state": "active", "created_at": fixture.before(86_400), "created_by": "root", "expires_at": null,
        "revoked_at": null, "revoked_by": null, "last_used_at": fixture.before(3600) })
}

async fn tokens(State(fixture): From) -> Json<Value> {
    page(vec![
        token(&fixture, "00c0ffee00aa", "ada", "admin"),
        token(&fixture, "00c0ffee00ab", HOSTILE, "reader"),
    ])
}

async fn create_token(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    keep(&fixture, &Method::POST, &uri, headers, body);
    if name.is_empty() {
        return problem(StatusCode::BAD_REQUEST, "TG-400", "a token needs a name", "say who has it");
    }
    let mut made = token(&fixture, "00c0ffee00ac", &name, "operator");
    made["token"] = json!("tg_secret_text");
    (StatusCode::CREATED, Json(made)).into_response()
}

async fn revoke_token(
    State(fixture): From,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    keep(&fixture, &Method::POST, &uri, headers, body);
    Json(json!({ "unchanged": false }))
}

async fn collections() -> Json<Value> {
    page(vec![
        json!({ "collection": "aircraft", "documents": 213 }),
        json!({ "collection": "conditions", "documents": 1874 }),
        json!({ "collection": "drones", "documents": 12 }),
    ])
}

pub(super) fn document_value(fixture: &Fixture, id: &str, nth: u64) -> Value {
    let spread = nth as f64;
    json!({ "id": id, "document": { "icao24": id, "callsign": format!("AFR{nth:04}"), "latitude": 48.7 + (spread * 1.7).sin() * 4.0, "longitude": 7.2 + (spread * 2.3).cos() * 7.0,
        "altitude": 12_000 + nth * 731 % 27_000, "on_ground": nth.is_multiple_of(9), "note": HOSTILE, "track": { "deep": [1, 2] } },
        "partition": nth % 8, "sequence_number": 40_000 + nth, "etag": "e", "updated_at": fixture.before(60 + nth) })
}

async fn documents(State(fixture): From, Query(given): Given) -> Json<Value> {
    let after = given.get("after").cloned().unwrap_or_default();
    let ids = (0..30).map(|nth| (format!("39{:04x}", 0x4000 + nth * 17), nth)).filter(|(id, _)| *id > after);
    let items: Vec<Value> = ids.map(|(id, nth)| document_value(&fixture, &id, nth)).collect();
    Json(json!({ "items": items, "next": "394200" }))
}

async fn history(State(fixture): From, Path((collection, id)): Path<(String, String)>) -> Response {
    if collection == "conditions" {
        return problem(
            StatusCode::NOT_FOUND,
            "TG-404",
            "no function is known here that writes it",
            "ask a running server",
        );
    }
    let writers: Vec<Value> = (0..24_u64)
        .map(|nth| {
            let at = 24.0 - nth as f64;
            let preview = match nth {
                3 => json!(HOSTILE),
                _ => json!(json!({ "latitude": 47.0 + at * 0.09, "longitude": 5.0 + at * 0.2 + (at / 3.0).sin() * 0.3, "altitude": 36_000.0 - (at - 12.0) * (at - 12.0) * 200.0 }).to_string()),
            };
            json!({ "partition": 3, "sequence_number": 40_100 - nth * 7, "enqueued_at": fixture.before(60 + nth * 20),
                "outcome": match nth { 0 => "pending", 3 => "dead-lettered", _ => "resolved" }, "dead_letter": if nth == 3 { json!(17) } else { Value::Null }, "preview": preview })
        })
        .collect();
    Json(json!({ "collection": collection, "id": id, "function": "aircraft", "hub": "flights", "partition": 3, "partition_key": "3949ed", "writers": writers,
        "next": 39_900, "head": 12_000, "looked_at": 900 }))
    .into_response()
}

async fn query(State(fixture): From, uri: Uri, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let sql = body["sql"].as_str().unwrap_or_default().to_owned();
    keep(&fixture, &Method::POST, &uri, headers, body);
    if sql.contains("DELETE") {
        return problem(
            StatusCode::BAD_REQUEST,
            "TG-400",
            &format!("queries are read-only: {HOSTILE}"),
            "documents change only through functions",
        );
    }
    if sql.contains("count(*)") {
        return page((0..40).map(|bar| json!({ "bar": bar, "count(*)": 3 + bar * 7 % 19 })).collect())
            .into_response();
    }
    if sql.contains("min(") {
        return page(vec![json!({ "min": 1200, "max": 41_000 })]).into_response();
    }
    if sql.contains("AND typeof(") {
        let point = |nth: u64| json!({ "x": (nth as f64 * 0.7).sin() * 9.0, "y": nth as f64 * 0.3 });
        return page((0..60).map(point).collect()).into_response();
    }
    let rows = (0..60_u64).map(|nth| {
        let spread = nth as f64;
        json!({ "id": format!("39{:04x}", 0x4000 + nth * 17), "latitude": 48.7 + (spread * 1.7).sin() * 4.0, "longitude": 7.2 + (spread * 2.3).cos() * 7.0, "note": HOSTILE, "nothing": null })
    });
    Json(json!({ "items": rows.collect::<Vec<_>>(), "next": null, "truncated": sql.contains("flood") }))
        .into_response()
}
