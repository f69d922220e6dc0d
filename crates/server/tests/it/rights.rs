//! Who may change what: each endpoint that changes something needs the right `manage`.

use serde_json::Value;

use crate::dead_letters::processed;
use crate::support::text;

const CHANGES: [(&str, &str); 14] = [
    ("/api/v1/dead-letters/redrive", r#"{"ids":[1],"reason":"x"}"#),
    ("/api/v1/dead-letters/discard", r#"{"ids":[1],"reason":"x"}"#),
    ("/api/v1/dead-letters/lease?limit=1&for=1m", "{}"),
    ("/api/v1/dead-letters/extend-lease?for=1m", r#"{"ids":[1]}"#),
    ("/api/v1/dead-letters/release", r#"{"ids":[1]}"#),
    ("/api/v1/dead-letters/1/edit", r#"{"revision":0,"event":{"body":"x"},"reason":"x"}"#),
    ("/api/v1/parked/try", r#"{"id":"aircraft/flights/0/0"}"#),
    ("/api/v1/parked/set-aside", r#"{"id":"aircraft/flights/0/0","reason":"x"}"#),
    ("/api/v1/circuits/aircraft/open", r#"{"reason":"x"}"#),
    ("/api/v1/circuits/aircraft/close", r#"{"reason":"x"}"#),
    ("/api/v1/circuits/aircraft/probe", r#"{"reason":"x"}"#),
    ("/api/v1/pauses/aircraft/pause", r#"{"reason":"x"}"#),
    ("/api/v1/pauses/aircraft/resume", r#"{"reason":"x"}"#),
    ("/api/v1/checkpoints/seek", r#"{"function":"aircraft","to":"earliest","reason":"x"}"#),
];

#[test]
fn whoever_may_only_read_or_publish_changes_nothing() {
    let place = processed();
    let keys = place.data().join("keys.json");
    let mut list: Value = serde_json::from_slice(&std::fs::read(&keys).unwrap()).unwrap();
    for (name, rights) in [("reader", r#"["listen"]"#), ("producer", r#"["send"]"#)] {
        let rights: Value = serde_json::from_str(rights).unwrap();
        let key = serde_json::json!({ "name": name, "key": format!("key-of-{name}"), "rights": rights });
        list["keys"].as_array_mut().unwrap().push(key);
    }
    let of_hub = r#"{"name":"hub","key":"key-of-hub","rights":["manage"],"hub":"flights"}"#;
    list["keys"].as_array_mut().unwrap().push(serde_json::from_str(of_hub).unwrap());
    std::fs::write(&keys, list.to_string()).unwrap();

    let server = place.serve();
    for (path, body) in CHANGES {
        for (key, status) in
            [("wrong", 401), ("key-of-reader", 403), ("key-of-producer", 403), ("key-of-hub", 403)]
        {
            let answer =
                server.client(key.to_owned()).request("POST", path, "application/json", body.as_bytes());
            let (answered, body) = answer.unwrap();
            assert_eq!(answered, status, "{path} with {key}: {}", text(&body));
        }
    }
    assert_eq!(place.json("trail"), Vec::<Value>::new(), "nothing was done");
    assert!(place.json("dead-letters list").iter().all(|letter| letter["status"] == "open"));

    // What reads needs the right to listen, and no more.
    for path in
        ["dead-letters", "dead-letter-ids", "dead-letter-groups", "parked", "circuits", "pauses", "trail"]
    {
        let path = format!("/api/v1/{path}");
        let status =
            |key: &str| server.client(key.to_owned()).request("GET", &path, "text/plain", b"").unwrap().0;
        assert_eq!((status("key-of-reader"), status("key-of-producer")), (200, 403), "{path}");
    }
    let header =
        server.client(place.key()).request("POST", "/api/v1/dead-letters/discard", "text/plain", b"{}");
    assert_eq!(header.unwrap().0, 400, "only JSON is taken");
    assert!(server.terminate().success());
}

#[test]
fn a_request_that_makes_no_sense_is_told_what_would() {
    let place = processed();
    let server = place.serve();
    let client = server.client(place.key());
    for (path, body, expected) in [
        ("/api/v1/dead-letters/discard", r#"{"ids":[],"reason":"x"}"#, "names 1 to 1000 dead letters"),
        ("/api/v1/dead-letters/discard", r#"{"ids":[1]}"#, "this needs a reason"),
        ("/api/v1/dead-letters/discard", r#"{"id":1,"reason":"x"}"#, "send {\\\"ids\\\":[1,2]"),
        ("/api/v1/dead-letters/x/edit", "{}", "Cannot parse"),
        (
            "/api/v1/dead-letters/1/edit",
            r#"{"revision":0,"event":{"body_base64":"%"},"reason":"x"}"#,
            "no base64",
        ),
        (
            "/api/v1/dead-letters/1/edit",
            r#"{"revision":0,"event":{"partition_key":"other"},"reason":"x"}"#,
            "the partition key cannot be changed",
        ),
        ("/api/v1/parked/try", r#"{"id":"aircraft/flights/0"}"#, "the name of no parked event"),
        ("/api/v1/parked/try", r#"{"id":"aircraft/flights/0/0"}"#, "no event aircraft/flights/0/0 is parked"),
        ("/api/v1/circuits/aircraft/melt", r#"{"reason":"x"}"#, "there is no act"),
        ("/api/v1/circuits/nobody/open", r#"{"reason":"x"}"#, "functions here: aircraft"),
        (
            "/api/v1/checkpoints/seek",
            r#"{"function":"aircraft","to":"soon","reason":"x"}"#,
            "there is no place",
        ),
    ] {
        let (status, answer) = client.request("POST", path, "application/json", body.as_bytes()).unwrap();
        let answer = text(&answer);
        assert!((400..500).contains(&status), "{path} {body}: {status} {answer}");
        assert!(answer.contains(expected), "{path} {body}: {answer}");
    }
    let large = format!(r#"{{"ids":[1],"reason":"{}"}}"#, "x".repeat(9 * 1024 * 1024));
    let answer = client.request("POST", "/api/v1/dead-letters/discard", "application/json", large.as_bytes());
    // The server may close before it has read everything.
    assert!(answer.is_err() || answer.is_ok_and(|(status, _)| status == 413));
    assert!(server.terminate().success());
}
