//! The audit finds what somebody did to the files, and says so with its exit code.

use crate::support::{CONFIG, Place, objects, text};

/// A place where 200 lines were processed, 3 of them corrupt.
fn processed() -> Place {
    let place = Place::new(CONFIG);
    let mut lines: String = (0..197).map(|n| format!("{{\"icao24\":\"a{n}\"}}\n")).collect();
    lines.push_str("{\n{}\n[]\n");
    let file = place.write("lines.ndjson", lines.as_bytes());
    let server = place.serve();
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    place.caught_up(200);
    assert!(server.terminate().success());
    place
}

fn store(place: &Place) -> rusqlite::Connection {
    rusqlite::Connection::open(place.data().join("store/state.db")).unwrap()
}

fn gap(place: &Place, expected: &str) {
    let audit = place.run("audit");
    assert_eq!(audit.status.code(), Some(3), "{}", text(&audit.stderr));
    let said = text(&audit.stderr);
    assert!(said.contains("error[TG-601]") && said.contains(expected), "{said}");
    let json = place.run("audit --json");
    assert_eq!(json.status.code(), Some(3));
    assert!(text(&json.stdout).contains("\"ok\":false"));
}

#[test]
fn a_dead_letter_that_is_gone_is_missed() {
    let place = processed();
    assert_eq!(place.run("audit").status.code(), Some(0));
    let changed = store(&place).execute("DELETE FROM dead_letter_states WHERE id = 1", []).unwrap();
    assert_eq!(changed, 1);
    gap(&place, "dead letters, but there are ");
}

#[test]
fn a_log_that_is_gone_is_missed_and_the_server_does_not_begin_anew() {
    let place = processed();
    std::fs::rename(place.data().join("log"), place.path().join("log-elsewhere")).unwrap();
    gap(&place, "the log has no hub flights");
    let refused = place.run("run --http 127.0.0.1:0");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("error[TG-204]: the log has no hub flights"), "{said}");

    // The log of another life of the hub is no better.
    let other = Place::new(CONFIG);
    assert!(other.serve().terminate().success());
    std::fs::remove_dir_all(place.data().join("log")).unwrap();
    std::fs::rename(other.data().join("log"), place.data().join("log")).unwrap();
    gap(&place, "belongs to incarnation");
    let refused = place.run("run --http 127.0.0.1:0");
    assert!(text(&refused.stderr).contains("error[TG-203]"), "{}", text(&refused.stderr));
}

#[test]
fn a_configured_function_that_has_not_begun_has_everything_pending() {
    let place = processed();
    let functions =
        r#"{"functions":[{"function":"aircraft","hub":"flights"},{"function":"later","hub":"flights"}]}"#;
    std::fs::write(place.data().join("functions.json"), functions).unwrap();
    let accounts = place.json("audit flights");
    assert_eq!(accounts[1]["function"], "later");
    assert_eq!((accounts[1]["pending"].as_u64(), accounts[1]["ok"].as_bool()), (Some(200), Some(true)));
}

/// What the deep audit finds.
fn deep_gap(place: &Place, expected: &str) {
    let audit = place.run("audit --deep");
    let said = text(&audit.stderr);
    assert_eq!(audit.status.code(), Some(3), "{said}");
    assert!(said.contains("error[TG-601]") && said.contains(expected), "{said}");
    let lanes = objects(&text(&place.run("audit --deep --json").stdout));
    assert!(lanes.iter().any(|line| line["deep"] == true && line["ok"] == false));
}

#[test]
fn each_event_is_held_against_the_log() {
    let place = processed();
    let sound = place.ok("audit --deep");
    assert!(sound.contains("200 events compared one by one with the log"), "{sound}");
    let lanes = place.json("audit --deep");
    let lanes: Vec<_> = lanes.iter().filter(|line| line["deep"] == true).collect();
    assert_eq!(lanes.len(), 8);
    assert_eq!(lanes.iter().map(|lane| lane["compared"].as_u64().unwrap()).sum::<u64>(), 200);
    assert!(lanes.iter().all(|lane| lane["ok"] == true));

    // A redrive that is on its way nowhere.
    place.ok("dead-letters redrive 2 --reason x");
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
    assert_eq!(store(&place).execute("DELETE FROM parked", []).unwrap(), 1);
    gap(&place, "the checkpoint counts 1 parked events, but there are 0");
    deep_gap(&place, "is being redriven, but the event is not parked as its redrive");
}

#[test]
fn a_log_that_says_other_things_is_found_by_the_deep_audit_only() {
    let place = Place::new(CONFIG);
    assert!(place.serve().terminate().success());
    let process = |content: &str| {
        let file = place.write("lines.ndjson", format!("{{\"icao24\":\"a\"}}\n{content}\n").as_bytes());
        let server = place.serve();
        place.ok(&format!("send flights --partition 0 --file {}", file.display()));
        place.caught_up(2);
        assert!(server.terminate().success());
    };
    // Two lives of one hub that part after its beginning: as many events in each, and other ones.
    let copy = |from: &str, to: &str| {
        let status =
            std::process::Command::new("cp").args(["-r", from, to]).current_dir(place.path()).status();
        assert!(status.unwrap().success());
    };
    copy("data", "begun");
    process("[1]");
    let other = place.path().join("other");
    std::fs::rename(place.data().join("log"), &other).unwrap();
    std::fs::remove_dir_all(place.data()).unwrap();
    copy("begun", "data");
    process("[2]");
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
    std::fs::remove_dir_all(place.data().join("log")).unwrap();
    std::fs::rename(&other, place.data().join("log")).unwrap();
    assert_eq!(place.run("audit").status.code(), Some(0), "the numbers agree");
    deep_gap(&place, "the dead letter 1 of event 1 holds another event than the log");
}
