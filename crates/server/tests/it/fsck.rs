//! Damage on disk: it is found, named, contained and repaired.

use std::path::PathBuf;

use crate::support::{CONFIG, Place, text, wait_until};

/// A place with 2,000 lines in partition 3, none of them processed.
fn unprocessed() -> Place {
    let place = Place::new(CONFIG);
    let lines: String =
        (0..2000).map(|n| format!("{{\"icao24\":\"a{n}\",\"pad\":\"{n:0200}\"}}\n")).collect();
    let file = place.write("lines.ndjson", lines.as_bytes());
    place.ok(&format!("send flights --partition 3 --file {}", file.display()));
    place
}

/// Changes a byte of an event in the middle of partition 3.
fn damage(place: &Place) -> PathBuf {
    let dir = place.data().join("log/flights/3");
    let file = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(10).position(|window| window == b"\"icao24\":\"").unwrap() + 12;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn sound_files_are_in_order() {
    let place = unprocessed();
    let found = place.json("fsck");
    assert_eq!(found.len(), 9, "eight partitions and the store");
    assert!(found.iter().all(|one| one["ok"] == true));
    assert_eq!(found[3]["events"], 2000);
    let server = place.serve();
    let refused = place.run("fsck");
    assert!(text(&refused.stderr).contains("error[TG-201]"), "{}", text(&refused.stderr));
    assert!(server.terminate().success());
}

#[test]
fn damage_is_named_contained_and_repaired_and_stays_in_the_account() {
    let place = unprocessed();
    let file = damage(&place);
    let found = place.run("fsck");
    assert_eq!(found.status.code(), Some(1));
    let said = text(&found.stderr);
    assert!(said.contains("error[TG-301]: partition 3 of flights: "), "{said}");
    assert!(said.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(said.contains("tidegate fsck --repair --data-dir data"), "{said}");

    // The other partitions go on, and the damaged one takes nothing.
    let server = place.serve();
    let good = place.write("good.ndjson", b"{\"icao24\":\"b\"}\n");
    place.ok(&format!("send flights --partition 4 --file {}", good.display()));
    wait_until("partition 4 is processed", || {
        place.json("documents list aircraft").iter().any(|one| one["id"] == "b")
    });
    let refused = place.run(&format!("send flights --partition 3 --file {}", good.display()));
    assert!(text(&refused.stderr).contains("error[TG-301]"), "{}", text(&refused.stderr));
    let client = server.client(place.key());
    let (status, answer) = client.request("GET", "/health", "text/plain", b"").unwrap();
    assert_eq!(status, 503);
    assert!(text(&answer).contains("00000000000000000000.seg"), "{}", text(&answer));
    assert_eq!(place.run("audit").status.code(), Some(3));
    assert!(server.terminate().success());

    let repaired = place.json("fsck --repair");
    let aside = repaired[0]["set_aside"][0].as_str().unwrap();
    assert!(place.path().join(aside).exists());
    let lost = &repaired[0]["lost"][0];
    let lost = lost["to"].as_u64().unwrap() - lost["from"].as_u64().unwrap();
    assert!(lost > 0 && lost <= 2000);
    assert_eq!(place.run("fsck").status.code(), Some(0));

    let server = place.serve();
    place.ok(&format!("send flights --partition 3 --file {}", good.display()));
    assert_eq!(place.json("events read flights --partition 3").last().unwrap()["sequence_number"], 2000);
    wait_until("the lane has passed what was given up", || place.json("checkpoints")[3]["position"] == 2001);
    let audit = place.run("audit");
    assert_eq!(audit.status.code(), Some(3));
    let said = text(&audit.stderr);
    assert!(said.contains(&format!("{lost} events were given up by a repair of the log")), "{said}");
    assert_eq!(said.matches("error[TG-601]").count(), 1, "{said}");
    assert!(server.terminate().success());
}

#[test]
fn damage_to_events_that_were_processed_is_repaired_as_well() {
    let place = unprocessed();
    let server = place.serve();
    place.caught_up(2000);
    assert!(server.terminate().success());
    damage(&place);
    assert_eq!(place.run("audit").status.code(), Some(3));
    assert_eq!(place.run("fsck").status.code(), Some(1));

    // Until then, the others go on.
    let good = place.write("good.ndjson", b"{\"icao24\":\"new\"}\n");
    let server = place.serve();
    place.ok(&format!("send flights --partition 4 --file {}", good.display()));
    wait_until("partition 4 is processed", || place.json("checkpoints")[4]["position"] == 1);
    assert_eq!(place.json("checkpoints")[3]["state"], "stopped");
    let (status, health) = server.client(place.key()).request("GET", "/health", "text/plain", b"").unwrap();
    assert_eq!(status, 503);
    let health = text(&health);
    assert!(health.contains("the lane aircraft/flights/3 is stopped"), "{health}");
    assert!(health.contains("partition 3 of flights is out of service"), "{health}");
    assert!(server.terminate().success());
    place.ok("fsck --repair");

    // The numbers are not given again, so nothing new counts as processed.
    let server = place.serve();
    place.ok(&format!("send flights --partition 3 --file {}", good.display()));
    wait_until("the new event is processed", || place.json("checkpoints")[3]["position"] == 2001);
    assert_eq!(place.json("documents get aircraft new")[0]["sequence_number"], 2000);
    assert!(server.terminate().success());
    assert_eq!(place.run("audit").status.code(), Some(0), "they were given up after they were resolved");
}

#[test]
fn a_damaged_store_is_named() {
    let place = unprocessed();
    let server = place.serve();
    place.caught_up(2000);
    assert!(server.terminate().success());
    let path = place.data().join("store/state.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"pad\"").unwrap() + 20;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = place.run("fsck");
    assert_eq!(found.status.code(), Some(1));
    assert!(text(&found.stderr).contains("error[TG-305]"), "{}", text(&found.stderr));
}

#[test]
fn a_store_that_was_never_finished_is_no_damage_and_the_next_start_finishes_it() {
    let place = unprocessed();
    let store = place.data().join("store");
    // As it is when the program is killed before the tables are there.
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    place.write("data/store/state.db", b"");
    let said = place.ok("fsck");
    assert!(
        said.contains("store: was never finished") && said.contains("the next start finishes it"),
        "{said}"
    );
    let found = place.json("fsck").pop().unwrap();
    assert_eq!((&found["ok"], &found["unfinished"]), (&true.into(), &true.into()));

    let server = place.serve();
    place.caught_up(2000);
    assert!(server.terminate().success());
    let found = place.json("fsck").pop().unwrap();
    assert_eq!((&found["ok"], &found["unfinished"]), (&true.into(), &false.into()));

    // A database of somebody else is something else.
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    let other = rusqlite::Connection::open(store.join("state.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(other);
    assert_eq!(place.run("fsck").status.code(), Some(1));
}
