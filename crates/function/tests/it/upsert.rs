//! The upsert: what becomes of events, and what is said about those that cannot become anything.

use bytes::Bytes;
use tidegate_function::testing::{Ended, TestHost, block_on};
use tidegate_function::{Decode, FunctionDefinition, JsonPointer, Merge, Upsert, upsert};

fn function(key: &str, merge: Merge) -> FunctionDefinition {
    let key = JsonPointer::new(key).expect("a pointer");
    upsert("flights", Upsert { decode: Decode::Json, key, merge })
}

/// The reason for which an event with this body is rejected.
fn reason(key: &str, body: impl Into<Bytes>) -> String {
    let mut host = TestHost::new(function(key, Merge::Patch));
    let ended = block_on(host.send([body]));
    assert!(host.ids().is_empty(), "a rejected event changes nothing");
    match ended.as_slice() {
        [Ended::Rejected(reason)] => reason.clone(),
        other => panic!("the event was to be rejected, but ended as {other:?}"),
    }
}

#[test]
fn events_are_merged_into_the_document_they_name() {
    let mut host = TestHost::new(function("/icao24", Merge::Patch));
    let ended = block_on(host.send([
        r#"{"icao24":"398564","altitude":20250.0,"position":{"latitude":48.36,"longitude":1.41}}"#,
        r#"{"icao24":"39a415","altitude":2050.0}"#,
        r#"{"icao24":"398564","altitude":null,"position":{"latitude":48.37},"callsign":"AFR9455"}"#,
    ]));
    assert_eq!(ended, [Ended::Applied, Ended::Applied, Ended::Applied]);
    let expected =
        r#"{"icao24":"398564","position":{"latitude":48.37,"longitude":1.41},"callsign":"AFR9455"}"#;
    assert_eq!(host.document("398564").as_deref(), Some(expected));

    host.restart();
    block_on(host.send([r#"{"icao24":"398564","callsign":"AFR12"}"#]));
    assert_eq!(host.document("398564"), Some(expected.replace("AFR9455", "AFR12")));
    assert_eq!(host.document("39a415").as_deref(), Some(r#"{"icao24":"39a415","altitude":2050.0}"#));
}

#[test]
fn replacing_keeps_nothing_of_the_state_before() {
    let mut host = TestHost::new(function("/id", Merge::Replace));
    block_on(host.send([r#"{"id":1,"a":1}"#, r#"{ "id": 1, "b": null }"#]));
    assert_eq!(host.document("1").as_deref(), Some(r#"{"id":1,"b":null}"#));
}

#[test]
fn a_document_is_the_same_however_its_events_are_batched() {
    let events: Vec<_> = (0..60)
        .map(|number| match number % 4 {
            0 => format!(r#"{{"id":"d{}","a":{number},"n":{{"x":{number}}}}}"#, number % 3),
            1 => format!(r#"{{"id":"d{}","a":null,"b":[{number},null]}}"#, number % 3),
            2 => format!(r#"{{"n":{{"y":{number},"x":null}},"id":"d{}"}}"#, number % 3),
            _ => "not JSON".to_owned(),
        })
        .collect();
    let states = |size: usize, restarting: bool| {
        let mut host = TestHost::new(function("/id", Merge::Patch));
        let mut all = Vec::new();
        for batch in events.chunks(size) {
            all.extend(block_on(host.send(batch.iter().cloned())));
            if restarting {
                host.restart();
            }
        }
        (all, ["d0", "d1", "d2"].map(|id| host.document(id).expect("a document")))
    };
    let singly = states(1, false);
    assert_eq!(singly.0.iter().filter(|ended| **ended == Ended::Applied).count(), 45);
    for (size, restarting) in [(1, true), (7, false), (7, true), (60, false)] {
        assert_eq!(states(size, restarting), singly, "batches of {size}, restarting: {restarting}");
    }
}

#[test]
fn the_key_is_text_or_an_integer() {
    let mut host = TestHost::new(function("/device/ids/0", Merge::Patch));
    let event = |id: &str| format!(r#"{{"device":{{"ids":[{id}]}}}}"#);
    let ids = [r#""a b""#, r#""\u00e9""#, "7", "-7", "-0", "123456789012345678901234567890"];
    let ended = block_on(host.send(ids.map(event)));
    assert!(ended.iter().all(|ended| *ended == Ended::Applied), "{ended:?}");
    assert_eq!(host.ids(), ["-7", "0", "123456789012345678901234567890", "7", "a b", "é"]);
}

#[test]
fn a_key_that_is_nothing_of_the_kind_rejects_the_event() {
    for (value, problem) in [
        ("null", "is null"),
        ("true", "is true or false"),
        ("1.0", "is a number with a fraction or an exponent"),
        ("1e3", "is a number with a fraction or an exponent"),
        ("[1]", "is an array"),
        ("{}", "is an object"),
        (r#""""#, "is empty"),
        (r#""a\nb""#, "holds control characters"),
        (&format!("{:?}", "x".repeat(1024)), "is longer than 1023 bytes"),
    ] {
        let expected = format!("the value at /id cannot be a document id: it {problem}");
        assert_eq!(reason("/id", format!(r#"{{"id":{value}}}"#)), expected);
    }
    assert_eq!(reason("/id", r#"{"ID":1}"#), "the body has no value at /id");
    assert_eq!(reason("/device/id", r#"{"device":"x"}"#), "the body has no value at /device/id");
}

#[test]
fn a_body_that_is_no_json_object_rejects_the_event() {
    let deep = format!(r#"{{"id":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    for (body, expected) in [
        (&b""[..], "the body is empty"),
        (b"{\"id\":\"\xc3\x28\"}", "the body is not UTF-8 from byte 7 on"),
        (b"nonsense", "the body is not JSON: expected ident at line 1 column 2"),
        (b"{\"id\":1,}", "the body is not JSON: trailing comma at line 1 column 9"),
        (b"{\"id\":1}\n{\"id\":2}", "the body is not JSON: trailing characters at line 2 column 1"),
        (b"{\"id\":1,\n\"a\":\"\\u12\"}", "the body is not JSON: invalid escape at line 2 column 11"),
        (
            b"{\"id\":1,\n\"\\ud800\":2}",
            "the body is not JSON: unexpected end of hex escape at line 2 column 8",
        ),
        (b" [1]", "the body is not a JSON object but an array"),
        (b"\"x\"", "the body is not a JSON object but a string"),
        (b"null", "the body is not a JSON object but null"),
        (b"-1", "the body is not a JSON object but a number"),
        (b"false", "the body is not a JSON object but true or false"),
        (deep.as_bytes(), "the body is nested deeper than 127 arrays and objects from byte 132 on"),
    ] {
        assert_eq!(reason("/id", body.to_vec()), expected);
    }
}

#[test]
fn half_of_a_surrogate_pair_is_kept_where_it_is_not_looked_at() {
    let mut host = TestHost::new(function("/id", Merge::Patch));
    let event = r#"{"id":1,"a":"\ud800","b":[{"\udc00":"\u0061"}]}"#;
    assert_eq!(block_on(host.send([event, r#"{"id":1,"c":2}"#])), [Ended::Applied, Ended::Applied]);
    let document = event.replace("]}", r#"],"c":2}"#);
    assert_eq!(host.document("1"), Some(document.clone()));
    host.restart();
    let ended = block_on(host.send([r#"{"id":1,"n":{"\ud800":1}}"#, r#"{"id":1,"d":3}"#]));
    let problem = "an object within it is not JSON: unexpected end of hex escape at line 1 column 9";
    assert_eq!(ended, [Ended::Rejected(format!("the document cannot be stored: {problem}")), Ended::Applied]);
    assert_eq!(host.document("1"), Some(document.replace(r#""c":2"#, r#""c":2,"d":3"#)));
    assert_eq!(
        reason("/id", r#"{"id":"\ud800"}"#),
        "the value at /id cannot be a document id: it is not text: unexpected end of hex escape at line 1 column 8"
    );
}

#[test]
fn an_event_that_would_make_the_document_too_large_is_rejected_and_the_rest_goes_on() {
    let mut host = TestHost::new(function("/id", Merge::Patch));
    let half = |member: &str| format!(r#"{{"id":1,"{member}":"{}"}}"#, "x".repeat(1_048_500));
    let ended = block_on(host.send([half("a"), half("bbbb"), half("cccc"), r#"{"id":1,"a":0}"#.to_owned()]));
    assert_eq!(
        ended,
        [
            Ended::Applied,
            Ended::Applied,
            Ended::Rejected(
                "the document cannot be stored: it would be 3145535 bytes of JSON; the limit is 2097152"
                    .to_owned()
            ),
            Ended::Applied,
        ]
    );
    assert_eq!(host.document("1").map(|document| document.len()), Some(1_048_524));
}

#[test]
fn a_document_that_cannot_be_read_fails_the_event_and_is_left_alone() {
    let mut host = TestHost::new(function("/id", Merge::Patch));
    host.put("broken", "[1,2]");
    let ended = block_on(host.send([r#"{"id":"fine"}"#, r#"{"id":"broken","a":1}"#, r#"{"id":"later"}"#]));
    let Ended::Failed(failure) = &ended[1] else { panic!("{ended:?}") };
    assert_eq!(failure.error, "the document broken cannot be read: it is not a JSON object but an array");
    assert_eq!((&ended[0], &ended[2]), (&Ended::Applied, &Ended::Unresolved));
    assert_eq!(host.document("broken").as_deref(), Some("[1,2]"));
    assert_eq!(host.ids(), ["broken", "fine"]);
}

#[test]
fn settings_are_read_as_they_are_written_in_a_configuration() {
    let read = serde_json::from_str::<Upsert>;
    let settings = read(r#"{"key":"/icao24","merge":"patch"}"#).expect("settings");
    assert_eq!(
        (settings.decode, settings.key.as_str(), settings.merge),
        (Decode::Json, "/icao24", Merge::Patch)
    );
    for wrong in [
        r#"{"key":"icao24","merge":"patch"}"#,
        r#"{"key":"/icao24","merge":"append"}"#,
        r#"{"key":"/icao24","merge":"patch","mode":1}"#,
        r#"{"key":"/icao24"}"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
