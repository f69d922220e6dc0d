//! The configuration of the reference, from lines to documents, dead letters and the account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{CONFIG, Place};

#[test]
fn lines_become_documents_and_corrupt_ones_dead_letters() {
    let place = Place::new(CONFIG);
    let mut lines = Vec::new();
    for round in 0..50 {
        for aircraft in 0..20 {
            lines.extend(
                format!("{{\"icao24\":\"a{aircraft}\",\"round\":{round},\"r{round}\":null}}\n").bytes(),
            );
        }
    }
    lines.extend(
        b"{\"icao24\":\"a1\",\"altitude\"\n{\"callsign\":\"AF1\"}\n{\"icao24\":[1]}\n{\"icao24\":\"\xff\"}\n",
    );
    let file = place.write("lines.ndjson", &lines);

    let server = place.serve();
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    place.caught_up(1004);

    let documents = place.json("documents list aircraft");
    assert_eq!(documents.len(), 20);
    for document in &documents {
        let id = document["id"].as_str().unwrap();
        assert_eq!(document["document"], json!({"icao24": id, "round": 49}));
        for field in ["partition", "sequence_number"] {
            assert!(document[field].is_u64(), "{field} of {document}");
        }
        for field in ["etag", "updated_at"] {
            assert!(document[field].is_string(), "{field} of {document}");
        }
        assert_eq!(place.json(&format!("documents get aircraft {id}"))[0], *document);
    }

    let letters = place.json("dead-letters list");
    let mut bodies: Vec<Vec<u8>> = letters
        .iter()
        .map(|letter| STANDARD.decode(letter["body_base64"].as_str().unwrap()).unwrap())
        .collect();
    bodies.sort();
    let mut expected: Vec<Vec<u8>> =
        lines.split(|byte| *byte == b'\n').rev().skip(1).take(4).map(<[u8]>::to_vec).collect();
    expected.sort();
    assert_eq!(bodies, expected);
    for letter in &letters {
        assert_eq!(letter["class"], "permanent");
        assert_eq!((&letter["function"], &letter["hub"]), (&json!("aircraft"), &json!("flights")));
        assert_eq!(letter["offset"], json!(letter["sequence_number"].to_string()));
        assert_eq!(letter["attempts"].as_array().unwrap().len(), 1);
        assert!(!letter["reason"].as_str().unwrap().is_empty());
        let shown = place.json(&format!("dead-letters show {}", letter["id"])).remove(0);
        for (field, value) in letter.as_object().unwrap() {
            assert_eq!(&shown[field], value, "{field}");
        }
    }
    // A key that cannot be found is no key; whether the line is corrupt is for the function to say.
    for letter in letters.iter().filter(|letter| !letter["reason"].as_str().unwrap().contains("is not JSON"))
    {
        assert!(letter["partition_key"].is_null(), "{letter}");
    }

    let account = &place.json("audit flights")[0];
    assert_eq!(account["ok"], true);
    assert_eq!((&account["applied"], &account["dead_lettered"]), (&json!(1000), &json!(4)));
    assert_eq!(account["partitions"].as_array().unwrap().len(), 8);
    assert!(server.terminate().success());

    // The same without a server.
    assert_eq!(place.json("documents list aircraft"), documents);
    assert_eq!(place.json("dead-letters list"), letters);
    assert_eq!(place.json("audit")[0]["pending"], 0);
}

#[test]
fn documents_answer_questions() {
    let place = Place::new(CONFIG);
    let lines =
        b"{\"icao24\":\"a\",\"altitude\":300}\n{\"icao24\":\"b\",\"altitude\":100}\n{\"icao24\":\"c\"}\n";
    let file = place.write("lines.ndjson", lines);
    let server = place.serve();
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    place.caught_up(3);
    let ask = |sql: &str, json: bool| {
        let mut command = place.command("documents query");
        command.args(json.then_some("--json")).arg(sql).output().unwrap()
    };
    let check = || {
        let rows = ask("SELECT id, altitude FROM aircraft WHERE altitude >= 100 ORDER BY altitude", true);
        let rows = crate::support::objects(&crate::support::succeeded(rows, "query"));
        assert_eq!(rows, [json!({"id": "b", "altitude": 100}), json!({"id": "a", "altitude": 300})]);
        let table = crate::support::succeeded(ask("SELECT count(*) AS n FROM aircraft", false), "query");
        assert_eq!(table, "  n\n  3\n");
        for (sql, expected) in [
            ("DELETE FROM aircraft", "read-only"),
            ("SELECT * FROM planes", "there are: aircraft"),
            ("SELECT 1; SELECT 2", "one statement"),
        ] {
            let refused = ask(sql, true);
            assert_eq!(refused.status.code(), Some(1));
            let said = crate::support::text(&refused.stderr);
            assert!(said.contains("error[TG-505]") && said.contains(expected), "{sql}: {said}");
        }
    };
    check();
    assert!(server.terminate().success());
    check();
}

#[test]
fn several_functions_on_one_hub_have_their_own_accounts() {
    let config = format!(
        "{CONFIG}\n[function.calls]\nhub = \"flights\"\nkind = \"upsert\"\nkey = \"/callsign\"\nmerge = \"replace\"\n"
    );
    let place = Place::new(&config);
    let file = place.write(
        "lines.ndjson",
        b"{\"icao24\":\"a\",\"callsign\":\"X1\"}\n{\"icao24\":\"b\"}\n{\"callsign\":\"X2\"}\n",
    );
    let _server = place.serve();
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    place.caught_up(3);
    let accounts = place.json("audit");
    let summary: Vec<_> = accounts
        .iter()
        .map(|one| {
            (one["function"].as_str().unwrap(), one["applied"].as_u64(), one["dead_lettered"].as_u64())
        })
        .collect();
    assert_eq!(summary, [("aircraft", Some(2), Some(1)), ("calls", Some(2), Some(1))]);
    assert_eq!(place.json("dead-letters list --function calls").len(), 1);
    assert_eq!(place.json("documents list calls").len(), 2);
    let collections = place.json("documents collections");
    assert_eq!(
        collections,
        [json!({"collection": "aircraft", "documents": 2}), json!({"collection": "calls", "documents": 2})]
    );
}
