//! Setting checkpoints back and forward.

use serde_json::{Value, json};
use tidegate_host::watchdog::WATCHDOG;
use tidegate_model::clock::{SystemClock, Timestamp};
use tidegate_model::ports::{RegisterChange, Registers as _};
use tidegate_model::register::{RegisterKey, Version};
use tidegate_store::{SqliteStore, StoreOptions};

use crate::dead_letters::{fails, processed};

fn sum(lines: &[Value], field: &str) -> u64 {
    lines.iter().map(|line| line[field].as_u64().unwrap()).sum()
}

#[test]
fn what_the_watchdog_did_is_shown_with_its_checkpoint() {
    let place = processed();
    assert!(place.json("checkpoints").iter().all(|one| one["watchdog"].is_null()));
    let did = json!({
        "action": "restarted",
        "since": "2026-11-22T10:00:00.000Z",
        "instance": "instance-7",
        "what": "it stands at event 25 for 60 s, with 3 events to do and 0 parked: its pump is replaced",
        "position": 25,
    });
    // As an instance leaves it behind that does not run any more.
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let path = place.data().join("store/state.db");
        let store = SqliteStore::open(&path, &StoreOptions::default(), SystemClock::shared()).unwrap();
        let change = RegisterChange {
            key: RegisterKey::new(WATCHDOG, "aircraft/flights/2"),
            from: Version::NONE,
            value: Some(did.clone()),
            at: Timestamp::default(),
            notices: Vec::new(),
            trail: Vec::new(),
        };
        store.change_register(change).await.unwrap();
        store.close().await.unwrap();
    });
    let shown: Vec<Value> = place.json("checkpoints").iter().map(|one| one["watchdog"].clone()).collect();
    assert_eq!(shown[2], did);
    assert_eq!(shown.iter().filter(|one| !one.is_null()).count(), 1);
    let table = place.ok("checkpoints");
    let line = "aircraft/flights/2 is stuck: it stands at event 25 for 60 s, with 3 events to do and 0 parked: its pump is \
                replaced (restarted at 2026-11-22T10:00:00.000Z by instance-7)";
    assert!(table.contains(line), "{table}");
}

#[test]
fn a_dry_run_says_what_would_be_and_a_seek_does_it() {
    let place = processed();
    let dry = place.json("checkpoints seek aircraft --to earliest --dry-run");
    assert_eq!(dry.len(), 8);
    assert_eq!(
        (sum(&dry, "repeated"), sum(&dry, "skipped"), sum(&dry, "dead_letters_replayed")),
        (203, 0, 3)
    );
    assert!(dry.iter().all(|line| line["done"] == false));
    assert_eq!(place.json("audit")[0]["pending"], 0);

    let done = place.json("checkpoints seek aircraft --to earliest --reason again");
    assert_eq!(sum(&done, "repeated"), 203);
    assert!(done.iter().all(|line| line["done"] == (line["repeated"] != 0)));
    let account = place.json("audit").remove(0);
    assert_eq!(
        (&account["pending"], &account["dead_lettered"], &account["ok"]),
        (&json!(203), &json!(0), &json!(true))
    );
    let replayed = place.json("dead-letters list --status replayed");
    assert_eq!(replayed.len(), 3);
    let trail = place.json("trail");
    assert!(trail.iter().any(|line| line["action"] == "checkpoint.seek" && line["reason"] == "again"));

    // The next start processes everything again, from the log.
    let server = place.serve();
    place.caught_up(203);
    let account = place.json("audit").remove(0);
    assert_eq!((&account["applied"], &account["dead_lettered"]), (&json!(200), &json!(3)));
    assert_eq!(place.json("dead-letters list --status open").len(), 3);
    assert!(server.terminate().success());
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
}

#[test]
fn a_seek_forward_skips() {
    let place = processed();
    place.ok("checkpoints seek aircraft --to earliest --reason again");
    let done = place.json("checkpoints seek aircraft --to latest --reason enough");
    assert_eq!((sum(&done, "repeated"), sum(&done, "skipped")), (0, 203));
    let account = place.json("audit").remove(0);
    assert_eq!(
        (&account["published"], &account["pending"], &account["ok"]),
        (&json!(0), &json!(0), &json!(true))
    );
    let one = place.json("checkpoints seek aircraft --partition 3 --to 1 --reason one");
    assert_eq!((one.len(), &one[0]["to"]), (1, &json!(1)));
}

#[test]
fn a_place_that_does_not_exist_is_named() {
    let place = processed();
    for (words, code, expected) in [
        ("--to 5", 1, "a sequence number is a place in one partition"),
        ("--partition 3 --to 99999", 1, "partition 3 has no event 99999 yet"),
        ("--partition 9 --to earliest", 1, "has no checkpoint in partition 9"),
        ("--to someday", 1, "there is no place \"someday\" in a hub"),
        ("--to -5", 1, "there is no place \"-5\" in a hub"),
    ] {
        let said = fails(&place, &format!("checkpoints seek aircraft {words} --reason x"), code);
        assert!(said.contains(expected), "{words}: {said}");
    }
    let said = fails(&place, "checkpoints seek nobody --to earliest --reason x", 1);
    assert!(said.contains("functions here: aircraft"), "{said}");
    let said = fails(&place, "checkpoints seek aircraft --to earliest", 2);
    assert!(said.contains("--reason"), "{said}");
    assert_eq!(place.json("trail"), Vec::<Value>::new());
}
