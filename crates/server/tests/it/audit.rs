//! The audit finds what somebody did to the files, and says so with its exit code.

use crate::support::{CONFIG, Place, text};

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
    let changed = store(&place).execute("DELETE FROM dead_letters WHERE id = 1", []).unwrap();
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
