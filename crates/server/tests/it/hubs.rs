//! Hubs that are made, changed and deleted by command: at once, over restarts, and whatever moment the program is killed at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::dead_letters::fails;
use crate::ledger::Random;
use crate::support::{Client, Place, text, wait_until};

const DECLARED: &str =
    "[hub.declared]\npartitions = 2\nretention = \"3d\"\nconsumer_groups = [\"billing\"]\n";

fn names(place: &Place) -> Vec<String> {
    place.json("hubs list").iter().map(|hub| hub["hub"].as_str().unwrap().to_owned()).collect()
}

fn shown(place: &Place, name: &str) -> Value {
    place.json(&format!("hubs show {name}")).remove(0)
}

fn actions(place: &Place, subject: &str) -> Vec<String> {
    let lines = place.json(&format!("trail --subject {subject}"));
    lines.iter().map(|line| line["action"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_hub_is_made_used_kept_and_deleted() {
    let place = Place::new(DECLARED);
    let server = place.serve();
    let client = server.client(place.key());
    assert!(!client.publish("made", "", b"{}\n"), "it is not there yet");
    let made = place
        .json("hubs create made --partitions 3 --retention 12h --retention-bytes 1GiB --consumer-group Audit")
        .remove(0);
    assert_eq!(made["partitions"].as_array().unwrap().len(), 3);
    assert!(client.publish("MADE", "", b"{\"n\":1}\n{\"n\":2}\n"), "it is open at once");
    for (again, why) in
        [("made", "there already, with 3 partitions"), ("Made", "differ in more than the case")]
    {
        let said = fails(&place, &format!("hubs create {again}"), 1);
        assert!(said.contains("TG-409") && said.contains(why), "{said}");
    }
    for (bad, why) in [
        ("restart", "taken by the links in mails"),
        ("x --partitions 0", "1 to 1024 partitions"),
        ("x --retention soon", "no time to keep events"),
        ("x --consumer-group a/b", "may hold only letters"),
        ("x --consumer-group one --consumer-group ONE", "case makes no difference"),
    ] {
        let said = fails(&place, &format!("hubs create {bad}"), 1);
        assert!(said.contains("TG-400") && said.contains(why), "{bad}: {said}");
    }
    place.ok("hubs groups made add reports");
    assert!(place.ok("hubs groups made add REPORTS").contains("there already"));
    place.ok("hubs groups declared add Extra");
    place.ok("hubs groups made remove audit");
    for (groups, code) in [
        ("made remove audit", "TG-404"),
        ("made remove $default", "TG-400"),
        ("declared remove billing", "TG-409"),
        ("nowhere add x", "TG-404"),
    ] {
        let said = fails(&place, &format!("hubs groups {groups}"), 1);
        assert!(said.contains(code), "{groups}: {said}");
    }

    let check = |place: &Place| {
        assert_eq!(names(place), ["declared", "made"]);
        let made = shown(place, "made");
        assert_eq!((&made["declared"], &made["retention"]), (&json!(false), &json!("12h")));
        assert_eq!(made["retention_bytes"], json!(1 << 30));
        assert_eq!(made["consumer_groups"], json!(["$Default", "reports"]));
        let declared = shown(place, "declared");
        assert_eq!((&declared["declared"], &declared["retention"]), (&json!(true), &json!("3d")));
        assert_eq!(declared["consumer_groups"], json!(["$Default", "billing", "Extra"]));
        assert_eq!(place.json("events read made").len(), 2);
        assert_eq!(actions(place, "made"), ["hub.create", "hub.group-add", "hub.group-remove"]);
    };
    check(&place);
    server.kill();
    check(&place);
    let server = place.serve();
    check(&place);

    let said = fails(&place, "hubs delete declared --yes", 1);
    assert!(said.contains("TG-409") && said.contains("take [hub.declared] out"), "{said}");
    let said = fails(&place, "hubs delete made", 2);
    assert!(said.contains("--yes"), "nobody is asked where no terminal is: {said}");
    let gone = place.json("hubs delete made --yes --reason moved").remove(0);
    assert_eq!((&gone["events"], &gone["partitions"]), (&json!(2), &json!(3)));
    let client = server.client(place.key());
    assert!(!client.publish("made", "", b"{}\n"));
    assert_eq!(names(&place), ["declared"]);
    assert!(server.terminate().success());
    assert_eq!(names(&place), ["declared"]);
    assert!(!place.data().join("log/made").exists());
    let last = place.json("trail --subject made").pop().unwrap();
    assert_eq!((&last["action"], &last["reason"]), (&json!("hub.delete"), &json!("moved")));
}

#[test]
fn without_a_server_it_is_the_same() {
    let place = Place::new(DECLARED);
    assert!(place.serve().terminate().success());
    place.ok("hubs create made --partitions 1");
    place.ok("hubs groups made add g");
    place.ok("hubs groups declared add g");
    let said = fails(&place, "hubs delete declared --yes", 1);
    assert!(said.contains("TG-409"), "the last configuration declared it: {said}");
    let server = place.serve();
    assert_eq!(names(&place), ["declared", "made"]);
    assert_eq!(shown(&place, "declared")["consumer_groups"], json!(["$Default", "billing", "g"]));
    assert!(server.client(place.key()).publish("made", "", b"{}\n"));
    assert!(server.terminate().success());
    place.ok("hubs delete made --yes");
    assert_eq!(names(&place), ["declared"]);

    // A hub that is declared no more keeps its retention, and can be deleted.
    place.write("tidegate.toml", b"[hub.other]\n");
    assert!(place.serve().terminate().success());
    assert_eq!(shown(&place, "declared")["retention"], "3d");
    place.ok("hubs delete declared --yes");
    assert_eq!(names(&place), ["other"]);
}

#[test]
fn a_key_that_may_only_listen_changes_nothing() {
    let place = Place::new("[hub.h]\n[access.reader]\nrights = [\"listen\"]\nprimary_key = \"reader-key\"\n");
    let server = place.serve();
    let reader = server.client("reader-key".to_owned());
    let create = br#"{"hub":"made"}"#;
    for path in ["/api/v1/hubs", "/api/v1/hubs/h/delete", "/api/v1/hubs/h/consumer-groups/add"] {
        let (status, answer) = reader.request("POST", path, "application/json", create).unwrap();
        assert!(status == 401 || status == 403, "{path}: {status} {}", text(&answer));
    }
    assert_eq!(reader.request("GET", "/api/v1/hubs/h", "text/plain", b"").unwrap().0, 200);
    assert_eq!(names(&place), ["h"]);
}

const READ: &str = "[hub.h]\npartitions = 2\n\
                    [function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\norder = \"key\"\non_exhausted = \"hold\"\n";

#[test]
fn what_functions_had_of_a_deleted_hub_ends_with_it_and_its_name_begins_anew() {
    let place = Place::new(READ);
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("h", "?key=/id", b"{\"id\":\"a\"}\n{\"x\":1}\n{\"id\":\"b\"}\n[1]\n"));
    place.caught_up(4);
    let said = fails(&place, "hubs delete h --yes", 1);
    assert!(said.contains("read by f") && said.contains("take [function.f] out"), "{said}");
    assert!(server.terminate().success());

    place.write("tidegate.toml", b"[hub.other]\n");
    assert!(place.serve().terminate().success());
    let before = place.json("dead-letters list");
    assert_eq!(before.len(), 2);
    let gone = place.json("hubs delete h --yes").remove(0);
    assert_eq!((&gone["checkpoints"], &gone["dead_letters"]), (&json!(2), &json!(2)));
    assert_eq!(place.json("checkpoints").len(), 0);
    let letters = place.json("dead-letters list --status discarded");
    assert_eq!(letters.len(), 2, "their events are kept, and nobody is asked about them any more");
    assert_eq!(letters[0]["body_base64"], before[0]["body_base64"]);

    place.write("tidegate.toml", READ.as_bytes());
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("h", "?key=/id", b"{\"id\":\"a\",\"again\":true}\n{\"x\":2}\n"));
    place.caught_up(2);
    assert_eq!(place.run("audit").status.code(), Some(0), "nothing of the old life is counted");
    assert!(server.terminate().success());
    assert_eq!(place.run("fsck").status.code(), Some(0));
}

/// What commands were told about a hub.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    There,
    Gone,
    /// No answer came: it may be either.
    Nothing,
}

const ROUNDS: u64 = 8;

#[test]
fn killed_at_any_moment_a_hub_is_there_whole_or_not_at_all() {
    let place = Place::new("[hub.h]\npartitions = 1\n");
    let seed = std::env::var("TIDEGATE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut random = Random(seed);
    let told: Arc<Mutex<BTreeMap<String, Told>>> = Arc::default();
    for round in 0..ROUNDS {
        let server = place.serve();
        check(&place, &told.lock().unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let worker = std::thread::spawn({
            let (client, told, done) = (server.client(place.key()), told.clone(), done.clone());
            let mut random = Random(seed ^ round << 32);
            move || {
                while change(&client, &told, &mut random) {
                    done.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let enough = 1 + random.below(12) as usize;
        wait_until("enough changes are made", || done.load(Ordering::SeqCst) >= enough);
        server.kill();
        worker.join().unwrap();
        if random.below(2) == 0 {
            // A command finishes what was begun as a server does.
            check(&place, &told.lock().unwrap());
        }
    }
    check(&place, &told.lock().unwrap());
    assert_eq!(place.run("fsck").status.code(), Some(0));
    let left = std::fs::read_dir(place.data().join("log")).unwrap();
    let left: Vec<String> = left.map(|entry| text(entry.unwrap().file_name().as_encoded_bytes())).collect();
    assert!(
        !left.iter().any(|name| name.starts_with(".creating") || name.starts_with(".deleting")),
        "{left:?}"
    );
}

/// Makes or deletes one of a few hubs; false when the server is gone.
fn change(client: &Client, told: &Mutex<BTreeMap<String, Told>>, random: &mut Random) -> bool {
    let name = format!("hub-{}", random.below(6));
    let before = told.lock().unwrap().get(&name).copied().unwrap_or(Told::Gone);
    told.lock().unwrap().insert(name.clone(), Told::Nothing);
    let (path, body) = match before {
        Told::There => (format!("/api/v1/hubs/{name}/delete"), "{}".to_owned()),
        _ => {
            let request =
                json!({ "hub": name, "partitions": 3, "consumer_groups": ["g"], "retention": "1d" });
            ("/api/v1/hubs".to_owned(), request.to_string())
        }
    };
    match client.request("POST", &path, "application/json", body.as_bytes()) {
        Ok((201, _)) => told.lock().unwrap().insert(name.clone(), Told::There),
        Ok((200, _)) => told.lock().unwrap().insert(name.clone(), Told::Gone),
        // It was there after all.
        Ok((409, answer)) if before == Told::Nothing && text(&answer).contains("there already") => {
            told.lock().unwrap().insert(name.clone(), Told::There)
        }
        Ok((status, answer)) => panic!("{name}: {status} {}", text(&answer)),
        Err(_) => return false,
    };
    // A hub that is there takes events; not to be able to ask means that the server is gone.
    if told.lock().unwrap()[&name] == Told::There {
        client.publish(&name, "", b"{\"n\":1}\n");
    }
    true
}

/// Every hub is as the last answer said, whole, and the audit trail tells the same.
fn check(place: &Place, told: &BTreeMap<String, Told>) {
    let hubs = place.json("hubs list");
    let there: BTreeSet<&str> = hubs.iter().map(|hub| hub["hub"].as_str().unwrap()).collect();
    for (name, told) in told {
        let is_there = there.contains(name.as_str());
        match told {
            Told::There => assert!(is_there, "{name} was made and is not there"),
            Told::Gone => assert!(!is_there, "{name} was deleted and is there"),
            Told::Nothing => {}
        }
        let last = actions(place, name).pop();
        let expected = is_there.then_some("hub.create");
        assert!(
            last.as_deref() == expected || (!is_there && last.as_deref() == Some("hub.delete")),
            "{name}: {last:?}"
        );
    }
    for hub in hubs.iter().filter(|hub| hub["hub"] != "h") {
        assert_eq!(hub["partitions"].as_array().unwrap().len(), 3);
        assert_eq!((&hub["consumer_groups"], &hub["retention"]), (&json!(["$Default", "g"]), &json!("1d")));
    }
}
