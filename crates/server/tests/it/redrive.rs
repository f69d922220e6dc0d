//! Redriving: what was set aside goes to its function once more.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::dead_letters::{fails, processed};
use crate::support::{CONFIG, Place, succeeded, text, wait_until};

fn account(place: &Place) -> Value {
    place.json("audit").remove(0)
}

/// Each dead letter gets a body that its function can take.
fn mend_all(place: &Place) {
    for letter in place.json("dead-letters list") {
        let id = letter["id"].as_u64().unwrap();
        let body = format!("{{\"icao24\":\"late-{id}\"}}");
        let words = format!("dead-letters edit {id} --reason mended");
        succeeded(place.command(&words).args(["--body", &body]).output().unwrap(), "an edit");
    }
}

#[test]
fn without_a_server_they_are_parked_until_one_runs() {
    let place = processed();
    mend_all(&place);
    let dry = place.ok("dead-letters redrive --all --reason mended --dry-run");
    assert!(dry.contains("3 dead letters would be redriven; nothing was changed"), "{dry}");
    place.ok("dead-letters redrive 2 --reason mended");
    let said = place.ok("dead-letters redrive --all --reason mended");
    assert!(said.contains("2 dead letters redriven"), "{said}");
    let again = place.ok("dead-letters redrive 1 2 3 --reason mended");
    assert!(again.contains("0 dead letters redriven; 3 were already"), "{again}");
    let seen = account(&place);
    assert_eq!(
        [&seen["parked"], &seen["redriving"], &seen["dead_lettered"], &seen["ok"]],
        [&json!(3), &json!(3), &json!(0), &json!(true)]
    );
    let parked = place.json("parked list");
    assert_eq!(parked.len(), 3);
    let mut of: Vec<u64> = parked.iter().map(|one| one["redrive_of"].as_u64().unwrap()).collect();
    of.sort_unstable();
    assert_eq!(of, [1, 2, 3]);
    assert!(parked.iter().all(|one| one["body"].as_str().unwrap().starts_with("{\"icao24\":\"late-")));
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
    let said = fails(&place, "dead-letters discard 1 --reason x", 1);
    assert!(said.contains("redriving, and so nothing to act on: 1"), "{said}");

    // A redrive that a person takes back is the dead letter it was.
    let id = parked[0]["id"].as_str().unwrap();
    let back = parked[0]["redrive_of"].as_u64().unwrap();
    place.ok(&format!("parked try {id}"));
    place.ok(&format!("parked set-aside {id} --reason changed-my-mind"));
    assert_eq!(place.json(&format!("dead-letters show {back}"))[0]["status"], "open");
    assert_eq!(place.json("parked list").len(), 2);
    assert_eq!(account(&place)["ok"], true);
    let said = fails(&place, &format!("parked try {id}"), 1);
    assert!(said.contains(&format!("error[TG-404]: no event {id} is parked")), "{said}");
    for bad in ["parked try aircraft", "parked try aircraft/flights/0", "parked try aircraft/flights/0/1 2"] {
        assert!(fails(&place, bad, 2).contains("the name of no parked event"), "{bad}");
    }
    let (lane, number) = parked[1]["id"].as_str().unwrap().rsplit_once('/').unwrap();
    place.ok(&format!("parked try {lane} {number}"));
}

#[test]
fn a_list_of_parked_events_takes_conditions() {
    let place = processed();
    place.ok("dead-letters redrive --all --reason x");
    let all = place.json("parked list");
    let partition = all[0]["partition"].as_u64().unwrap();
    let of_partition = all.iter().filter(|one| one["partition"] == partition).count();
    for (words, count) in [
        ("--function aircraft".to_owned(), 3),
        ("--hub flights".to_owned(), 3),
        (format!("--partition {partition}"), of_partition),
        ("--key none".to_owned(), 0),
        ("--limit 2".to_owned(), 2),
    ] {
        assert_eq!(place.json(&format!("parked list {words}")).len(), count, "{words}");
    }
    let table = place.ok("parked list");
    assert!(table.contains("3 parked events"), "{table}");
}

#[test]
fn the_parked_events_of_a_key_are_listed_in_order_over_several_pages() {
    let place = Place::new(CONFIG);
    // More of one key than a page has, and events of another between them; none has what the function needs.
    let lines: String = (0..1200)
        .map(|n| format!("{{\"k\":\"{}\",\"n\":{n}}}\n", if n % 12 == 0 { "b" } else { "a" }))
        .collect();
    place.write("lines.ndjson", lines.as_bytes());
    let server = place.serve();
    place.ok("send flights --key /k --file lines.ndjson");
    place.caught_up(1200);
    assert!(server.terminate().success());
    place.ok("dead-letters redrive --all --reason x");

    let of_a = place.json("parked list --key a");
    let numbers: Vec<u64> = of_a.iter().map(|one| one["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), 1100);
    assert!(numbers.is_sorted_by(|one, next| one < next), "in order, and none twice");
    assert!(of_a.iter().all(|one| one["partition_key"] == "a"));
    assert_eq!(of_a[0]["behind"], Value::Null);
    assert!(of_a[1..].iter().all(|one| one["behind"] == of_a[0]["sequence_number"]));
    assert_eq!(place.json("parked list --key b").len(), 100);
    assert_eq!(place.json("parked list --key c").len(), 0);
    assert_eq!(place.json("parked list --key a --limit 3"), of_a[..3]);
    assert_eq!(place.json("parked list").len(), 1200);
}

#[test]
fn after_the_next_start_they_are_resolved_and_closed() {
    let place = processed();
    mend_all(&place);
    place.ok("dead-letters redrive --all --reason mended");
    let server = place.serve();
    wait_until("every redrive is resolved", || place.json("dead-letters list --status redriving").is_empty());
    assert_eq!(place.json("dead-letters list --status redriven").len(), 3);
    let seen = account(&place);
    assert_eq!(
        [&seen["applied"], &seen["parked"], &seen["dead_lettered"], &seen["ok"]],
        [&json!(203), &json!(0), &json!(0), &json!(true)]
    );
    for id in 1..=3 {
        assert_eq!(place.json(&format!("documents get aircraft late-{id}"))[0]["id"], format!("late-{id}"));
    }
    assert!(server.terminate().success());
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
}

#[test]
fn what_fails_again_comes_back_and_is_quarantined_in_the_end() {
    let place = processed();
    let server = place.serve();
    for round in 1..=3 {
        let status = if round == 3 { "quarantined" } else { "open" };
        let output = place.run("dead-letters redrive 2 --reason again --wait --json");
        assert_eq!(output.status.code(), Some(1), "what came back is a failure");
        let letter = place.json("dead-letters show 2").remove(0);
        assert_eq!(
            [&letter["status"], &letter["returns"], &letter["redrives"]],
            [&json!(status), &json!(round), &json!(round)]
        );
    }
    let said = fails(&place, "dead-letters redrive 2 --reason again", 1);
    assert!(said.contains("came back too often: 2") && said.contains("--force"), "{said}");
    let none = place.ok("dead-letters redrive --status quarantined --reason again --dry-run --json");
    assert_eq!(none, "{\"id\":2}\n");
    let seen = account(&place);
    assert_eq!(
        [&seen["quarantined"], &seen["dead_lettered"], &seen["ok"]],
        [&json!(1), &json!(3), &json!(true)]
    );
    let stopped =
        place.run("dead-letters redrive --all --force --reason again --stop-at-first-failure --json");
    assert_eq!(stopped.status.code(), Some(1));
    assert_eq!(place.json("dead-letters show 3")[0]["redrives"], 0, "the first failure stopped it");
    assert!(server.terminate().success());
}

/// How many dead letters the crash goes through.
const MANY: usize = 3000;

#[test]
fn a_redrive_that_is_killed_in_the_middle_is_resumed_by_the_same_command() {
    let place = Place::new(CONFIG);
    let lines: String = (0..MANY).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    place.write("lines.ndjson", lines.as_bytes());
    let server = place.serve();
    place.ok("send flights --file lines.ndjson");
    place.caught_up(MANY as u64);
    place.ok("dead-letters export --file letters.ndjson");
    let exported = std::fs::read_to_string(place.path().join("letters.ndjson")).unwrap();
    let mended = exported.lines().map(|line| {
        let mut letter: Value = serde_json::from_str(line).unwrap();
        let body = format!("{{\"icao24\":\"late-{}\"}}", letter["id"]);
        letter["event"]["body"] = body.into();
        format!("{letter}\n")
    });
    place.write("mended.ndjson", mended.collect::<String>().as_bytes());
    place.ok("dead-letters import mended.ndjson --reason mended");

    let redrive = "dead-letters redrive --cause CAUSE --reason mended";
    let cause = place.json("dead-letters groups").remove(0)["fingerprint"].as_str().unwrap().to_owned();
    let redrive = redrive.replace("CAUSE", &cause);
    // Slowly enough to be caught in the middle of it.
    let mut command = place.command(&format!("{redrive} --rate 1000"));
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_open = |place: &Place| place.json("dead-letters list --status open").len();
    wait_until("some are redriven", || is_open(&place) < MANY);
    server.kill();
    let killed = running.wait_with_output().unwrap();
    assert_eq!(killed.status.code(), Some(1));
    let said = text(&killed.stderr);
    assert!(said.contains("are left") && said.contains("type the same command again to go on"), "{said}");
    let left = is_open(&place);
    assert!(left > 0 && left < MANY, "{left} are left");

    place.ok(&redrive);
    assert_eq!(is_open(&place), 0);
    let server = place.serve();
    wait_until("every redrive is resolved", || place.json("dead-letters list --status redriving").is_empty());
    let seen = account(&place);
    assert_eq!([&seen["applied"], &seen["parked"], &seen["ok"]], [&json!(MANY), &json!(0), &json!(true)]);
    assert!(place.json("dead-letters list").iter().all(|one| one["redrives"] == 1), "each went once");
    assert_eq!(place.json("documents list aircraft").len(), MANY);
    assert!(server.terminate().success());
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
}
