//! Masking holds at every address of the API that tells of events or documents, also at those that are added later: each that
//! the OpenAPI document names is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{CONFIG, Place, Server};
use crate::visitor::{Shown, Visitor};

/// What nobody below an admin sees.
const SECRET: &str = "N51-SECRET";

/// A function that reads, and read APIs over its documents.
fn place() -> Place {
    let masks =
        "[mask.all]\nfields = [\"/lat\"]\nproperties = [\"pilot\"]\nerrors = true\nbelow = \"admin\"\n";
    let read = "[read_api.dronestatus]\npath = \"/api/v1/dronestatus/{deviceid}\"\ncollection = \"aircraft\"\n\
                [read_api.mapped]\npath = \"/api/v1/mapped/{deviceid}\"\ncollection = \"aircraft\"\n\
                fields = { where = \"/lat\", all = \"\", high = \"/alt\" }\n";
    Place::new(&format!("{CONFIG}\n{masks}\n{read}"))
}

/// Values for the parameters of addresses.
fn value(name: &str) -> &'static str {
    match name {
        "hub" => "flights",
        "collection" => "aircraft",
        "function" => "aircraft",
        "id" => "1",
        "deviceid" => "1",
        "sequence_number" => "0",
        "name" => "tidegate_events_total",
        "limit" => "10",
        "for" => "1m",
        "action" => "close",
        _ => "0",
    }
}

/// Bodies for those that take one; nothing for those that are of no interest here, or would end what is looked at.
fn body(path: &str) -> Option<Value> {
    let event = json!({ "body": format!(r#"{{"icao24":"1","lat":"{SECRET}-2"}}"#) });
    Some(match path {
        "/api/v1/dead-letters/{id}/edit" => {
            json!({ "revision": 0, "event": event, "reason": "x", "dry_run": true })
        }
        "/api/v1/functions/{function}/dry-run" => json!({ "event": event }),
        "/api/v1/dead-letters/lease" => json!({}),
        "/api/v1/dead-letters/{id}/note" => json!({ "note": "x" }),
        "/api/v1/query" => json!({ "sql": "SELECT document FROM aircraft" }),
        _ => return None,
    })
}

fn ask(server: &Server, token: &str, method: &str, path: &str, accept: &str, body: &str) -> Shown {
    let authorization = format!("Bearer {token}");
    let headers =
        [("authorization", authorization.as_str()), ("accept", accept), ("content-type", "application/json")];
    Visitor::at(&server.http).send(method, path, &headers, body)
}

fn tells(answer: &str) -> bool {
    // Whatever place it begins at in its three bytes.
    let encoded = (0..3).map(|pad| {
        let text = STANDARD.encode(format!("{}{SECRET}", "x".repeat(pad)));
        text[4..text.len() - 4].to_owned()
    });
    answer.contains(SECRET) || encoded.into_iter().any(|encoded| answer.contains(&encoded))
}

#[test]
fn no_address_of_the_api_tells_what_is_masked() {
    let place = place();
    let server = place.serve();
    let root = place.key();
    let good = format!(r#"{{"icao24":"1","lat":"{SECRET}","alt":7}}"#);
    let headers = format!("Bearer {root}");
    for (body, key) in
        [(good.as_str(), "1"), (&good.replace("\"icao24\":\"1\",", ""), "1"), (&good[1..], "1")]
    {
        // As a batch, which has properties.
        let batch = json!([{ "Body": body, "UserProperties": { "pilot": SECRET }, "BrokerProperties": { "PartitionKey": key } }]);
        let headers = [
            ("authorization", headers.as_str()),
            ("content-type", "application/vnd.microsoft.servicebus.json"),
        ];
        let sent = Visitor::at(&server.http).send("POST", "/flights/messages", &headers, &batch.to_string());
        assert_eq!(sent.status, 201, "{}", sent.body);
    }
    place.caught_up(3);
    let operator = place.json("tokens create ops --role operator")[0]["token"].as_str().unwrap().to_owned();
    let partition = place.json("dead-letters list")[0]["partition"].to_string();
    let document: Value = Visitor::at(&server.http).api("/api/v1/openapi.json");
    let (mut seen, mut hidden) = (Vec::new(), Vec::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            let given = match method.as_str() {
                "get" => String::new(),
                "post" => match body(path) {
                    Some(body) => body.to_string(),
                    None => continue,
                },
                _ => continue,
            };
            let mut address = path.clone();
            let mut query = Vec::new();
            let empty = Vec::new();
            for parameter in about["parameters"].as_array().unwrap_or(&empty) {
                let name = parameter["name"].as_str().unwrap();
                let text = if name == "partition" { partition.as_str() } else { value(name) };
                let is_needed = parameter["required"] == true || name == "event";
                match parameter["in"].as_str().unwrap() {
                    "path" => address = address.replace(&format!("{{{name}}}"), text),
                    "query" if name == "event" => query.push("event=true".to_owned()),
                    "query" if is_needed => query.push(format!("{name}={text}")),
                    _ => {}
                }
            }
            if !query.is_empty() {
                address = format!("{address}?{}", query.join("&"));
            }
            for accept in ["application/json", "application/x-ndjson", "*/*"] {
                let masked = ask(&server, &operator, &method.to_uppercase(), &address, accept, &given);
                assert!(!tells(&masked.body), "{method} {address} as {accept} tells: {}", masked.body);
                assert!(masked.status < 500, "{method} {address}: {}", masked.body);
                if masked.body.contains("(masked)") {
                    hidden.push(path.clone());
                }
                let whole = ask(&server, &root, &method.to_uppercase(), &address, accept, &given);
                if tells(&whole.body) {
                    seen.push(path.clone());
                }
            }
        }
    }
    seen.sort();
    seen.dedup();
    hidden.sort();
    hidden.dedup();
    // An address that tells an admin masks it for an operator, or refuses to answer.
    let refused = ["/api/v1/query".to_owned()];
    let missing: Vec<_> =
        seen.iter().filter(|path| !hidden.contains(path) && !refused.contains(path)).collect();
    assert!(missing.is_empty(), "{missing:?} tell an admin and mask nothing for an operator");
    assert!(
        hidden.iter().any(|path| path == "/api/v1/dead-letters/lease"),
        "what is leased is masked: {hidden:?}"
    );
    for path in [
        "/api/v1/hubs/{hub}/events",
        "/api/v1/trace",
        "/api/v1/collections/{collection}/documents",
        "/api/v1/collections/{collection}/documents/{id}",
        "/api/v1/collections/{collection}/documents/{id}/history",
        "/api/v1/dead-letters",
        "/api/v1/dead-letters/{id}",
        "/api/v1/dead-letters/{id}/edit",
        "/api/v1/functions/{function}/dry-run",
        "/api/v1/query",
    ] {
        assert!(seen.iter().any(|seen| seen == path), "{path} tells an admin: {seen:?}");
    }
    assert!(seen.iter().any(|path| path.contains("dronestatus")), "so does the read API: {seen:?}");

    // The pages show what the API tells, live ones as well.
    let mut browser = Visitor::at(&server.http);
    let posted = browser.post("/sign-in", &[("token", &operator)]);
    assert_eq!(posted.status, 303);
    for page in [
        "/dead-letters".to_owned(),
        "/dead-letters/1".to_owned(),
        "/dead-letters/1/edit".to_owned(),
        format!("/trace?hub=flights&partition={partition}&sequence=0"),
        format!("/hubs/flights/events?partition={partition}"),
        "/documents/aircraft".to_owned(),
        "/documents/aircraft/1".to_owned(),
        "/logs".to_owned(),
        "/".to_owned(),
    ] {
        let shown = browser.get(&page);
        assert!(shown.status == 200 && !tells(&shown.body), "{page}: {} {}", shown.status, shown.body);
    }
}
