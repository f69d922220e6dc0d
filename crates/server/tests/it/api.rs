//! The API as a client meets it: listings, ETags, problems, what is known of events and functions.

use serde_json::{Value, json};

use crate::support::{Place, wait_until};

const CONFIG: &str = "[hub.h]\npartitions = 1\n\
    [function.f]\nhub = \"h\"\nkind = \"upsert\"\ndecode = \"json\"\nkey = \"/id\"\nmerge = \"patch\"\ncollection = \"c\"\n";

/// A server with three events: two about one document, and one that is no JSON.
fn place() -> Place {
    let place = Place::new(CONFIG);
    place.write("lines.ndjson", b"{\"id\":\"a\",\"n\":1}\nno json\n{\"id\":\"a\",\"n\":2}\n");
    place
}

#[test]
fn an_event_is_traced_and_a_document_knows_its_writers() {
    let place = place();
    let server = place.serve();
    let client = server.client(place.key());
    let file = place.path().join("lines.ndjson");
    place.ok(&format!("send h --partition 0 --file {}", file.display()));
    wait_until("everything is resolved", || place.json("audit")[0]["pending"] == 0);

    let trace =
        |number: u64| client.json(&format!("/api/v1/trace?hub=h&partition=0&sequence_number={number}"));
    let outcome = |number| trace(number)["functions"][0]["outcome"].clone();
    assert_eq!([outcome(0), outcome(1), outcome(2)], ["resolved", "dead-lettered", "applied"]);
    assert_eq!(trace(2)["functions"][0]["documents"][0]["body"], json!({"id":"a","n":2}));
    let dead = trace(1);
    assert_eq!(dead["functions"][0]["dead_letter"]["id"], 1);
    assert_eq!(dead["event"]["body"], "no json");

    let history = client.json("/api/v1/collections/c/documents/a/history");
    let writers: Vec<&Value> =
        history["writers"].as_array().unwrap().iter().map(|one| &one["sequence_number"]).collect();
    assert_eq!(writers, [2, 0], "{history}");
    assert_eq!(history["next"], Value::Null);
    let newest = client.json("/api/v1/collections/c/documents/a/history?limit=1");
    assert_eq!(newest["writers"].as_array().map(Vec::len), Some(1));
    let next = newest["next"].as_u64().unwrap();
    let older = client.json(&format!("/api/v1/collections/c/documents/a/history?before={next}"));
    assert_eq!(older["writers"][0]["sequence_number"], 0, "{older}");

    let overview = client.json("/api/v1/overview");
    let function = &overview["functions"][0];
    assert_eq!((&function["lag_events"], &function["dead_letters"]), (&json!(0), &json!(1)), "{overview}");
    assert_eq!(overview["hubs"][0]["published"], 3);
    assert!(server.terminate().success());
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_an_event_would_do() {
    let place = place();
    let server = place.serve();
    let client = server.client(place.key());
    let file = place.path().join("lines.ndjson");
    place.ok(&format!("send h --partition 0 --file {}", file.display()));
    wait_until("everything is resolved", || place.json("audit")[0]["pending"] == 0);
    let before =
        (client.json("/api/v1/collections/c/documents/a"), place.json("checkpoints"), place.json("trail"));

    let judged =
        client.post_json("/api/v1/functions/f/dry-run", &json!({"event":{"body":"{\"id\":\"a\",\"n\":3}"}}));
    assert_eq!((&judged["outcome"], &judged["document_id"]), (&json!("applied"), &json!("a")), "{judged}");
    assert_eq!((&judged["before"]["n"], &judged["after"]["n"]), (&json!(2), &json!(3)), "{judged}");
    let judged = client.post_json("/api/v1/functions/f/dry-run", &json!({"event":{"body":"nonsense"}}));
    assert_eq!(judged["outcome"], "rejected", "{judged}");
    let edit = json!({"revision":0, "event":{"body":"{\"id\":\"b\",\"n\":1}"}, "dry_run":true});
    let edited = client.post_json("/api/v1/dead-letters/1/edit", &edit);
    assert_eq!(edited["judged"]["outcome"], "applied", "{edited}");
    assert_eq!(edited["judged"]["document_id"], "b", "{edited}");

    let after =
        (client.json("/api/v1/collections/c/documents/a"), place.json("checkpoints"), place.json("trail"));
    assert_eq!(before, after);
    assert!(server.terminate().success());
}

#[test]
fn what_is_known_is_not_sent_again_and_what_is_edited_is_what_was_seen() {
    let place = place();
    let server = place.serve();
    let client = server.client(place.key());
    let file = place.path().join("lines.ndjson");
    place.ok(&format!("send h --partition 0 --file {}", file.display()));
    wait_until("everything is resolved", || place.json("audit")[0]["pending"] == 0);

    for path in ["/api/v1/collections/c/documents/a", "/api/v1/dead-letters/1", "/api/v1/functions/f"] {
        let first = client.ask("GET", path, &[], b"");
        let etag = first.header("etag").unwrap_or_else(|| panic!("{path} has no ETag"));
        assert_eq!(client.ask("GET", path, &[("if-none-match", &etag)], b"").status, 304, "{path}");
        assert_eq!(client.ask("GET", path, &[("if-none-match", "\"other\"")], b"").status, 200, "{path}");
    }
    let seen = client.ask("GET", "/api/v1/dead-letters/1", &[], b"").header("etag").unwrap();
    let edit = json!({"event":{"body":"{\"id\":\"b\"}"}, "reason":"it was cut"}).to_string();
    let post = |etag: &str| {
        let headers = [("if-match", etag), ("content-type", "application/json")];
        client.ask("POST", "/api/v1/dead-letters/1/edit", &headers, edit.as_bytes())
    };
    assert_eq!(post("\"r7\"").status, 412);
    assert_eq!(post(&seen).status, 200);
    let moved = post(&seen);
    assert_eq!(moved.status, 412);
    assert_eq!(moved.header("content-type").as_deref(), Some("application/problem+json"));
    let problem = moved.json();
    assert_eq!((&problem["status"], &problem["code"]), (&json!(412), &json!("TG-409")), "{problem}");
    assert_eq!(problem["type"], "/errors/TG-409");
    assert!(server.terminate().success());
}

#[test]
fn notes_and_trends_of_dead_letters_and_the_configuration_are_told() {
    let place = place();
    let server = place.serve();
    let client = server.client(place.key());
    let file = place.path().join("lines.ndjson");
    place.ok(&format!("send h --partition 0 --file {}", file.display()));
    wait_until("everything is resolved", || place.json("audit")[0]["pending"] == 0);

    let note = client.post_json("/api/v1/dead-letters/1/note", &json!({"note":"the sender is old"}));
    assert_eq!(note["note"], "the sender is old");
    let shown = client.json("/api/v1/dead-letters/1");
    assert_eq!(shown["history"][0]["action"], "dead-letter.note", "{shown}");
    assert_eq!(shown["history"][0]["reason"], "the sender is old");
    let none = client.ask(
        "POST",
        "/api/v1/dead-letters/7/note",
        &[("content-type", "application/json")],
        b"{\"note\":\"x\"}",
    );
    assert_eq!(none.status, 404);

    let trend = client.json("/api/v1/dead-letter-trend?within=1h&buckets=6");
    let counts = trend["groups"][0]["counts"].as_array().unwrap();
    assert_eq!((counts.len(), counts.iter().filter_map(Value::as_u64).sum::<u64>()), (6, 1), "{trend}");
    assert_eq!(trend["groups"][0]["fingerprint"], shown["fingerprint"]);

    let page = client.ask("GET", "/api/v1/configuration", &[("accept", "application/json")], b"");
    let page = page.json();
    let settings = page["items"].as_array().unwrap();
    let of = |table: &str, key: &str| {
        let found = settings.iter().find(|one| one["table"] == table && one["key"] == key);
        found.cloned().unwrap_or_else(|| panic!("{table} {key}: {page}"))
    };
    assert_eq!(of("[hub.h]", "partitions")["origin"], "file");
    assert_eq!(of("[hub.h]", "retention")["origin"], "default");
    assert_eq!(of("[http]", "listen")["origin"], "command-line");
    assert!(server.terminate().success());
}

/// The device-status API of the original, with its statuses.
#[test]
fn a_read_api_answers_as_the_original_did() {
    let place = Place::new(
        "[hub.h]\npartitions = 1\n[console]\nopen_on_loopback = false\n\
         [function.f]\nhub = \"h\"\nkind = \"upsert\"\ndecode = \"json\"\nkey = \"/id\"\nmerge = \"patch\"\n\
         collection = \"drones\"\n\
         [read_api.dronestatus]\npath = \"/api/v1/dronestatus/{deviceid}\"\ncollection = \"drones\"\n\
         [read_api.short]\npath = \"/api/v2/dronestatus/{id}\"\ncollection = \"drones\"\n\
         fields = { battery = \"/Battery\" }\n",
    );
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("h", "?key=/id", b"{\"id\":\"drone 1\",\"Battery\":0.50}\n"));
    wait_until("everything is resolved", || place.json("audit")[0]["pending"] == 0);

    let found = client.ask("GET", "/api/v1/dronestatus/drone%201", &[], b"");
    assert_eq!((found.status, found.json()), (200, json!({"id":"drone 1","Battery":0.5})));
    let again = [("if-none-match", &*found.header("etag").unwrap())];
    assert_eq!(client.ask("GET", "/api/v1/dronestatus/drone%201", &again, b"").status, 304);
    for (path, status) in [
        ("/api/v1/dronestatus?deviceId=drone%201", 200),
        ("/api/v1/dronestatus", 400),
        ("/api/v1/dronestatus/", 400),
        ("/api/v1/dronestatus?deviceid=", 400),
        ("/api/v1/dronestatus/nobody", 404),
    ] {
        assert_eq!(client.ask("GET", path, &[], b"").status, status, "{path}");
    }
    let short = client.ask("GET", "/api/v2/dronestatus/drone%201", &[], b"");
    assert_eq!(String::from_utf8_lossy(&short.body), r#"{"battery":0.50}"#);
    let stranger = server.client("wrong".to_owned());
    assert_eq!(stranger.ask("GET", "/api/v1/dronestatus/drone%201", &[], b"").status, 401);
    let document = client.json("/api/v1/openapi.json");
    assert!(document["paths"]["/api/v1/dronestatus/{deviceid}"]["get"].is_object());
    assert!(server.terminate().success());
}
