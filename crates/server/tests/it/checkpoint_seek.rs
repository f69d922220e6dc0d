//! Setting checkpoints back and forward.

use serde_json::{Value, json};

use crate::dead_letters::{fails, processed};

fn sum(lines: &[Value], field: &str) -> u64 {
    lines.iter().map(|line| line[field].as_u64().unwrap()).sum()
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
        ("--to someday", 1, "cannot begin to read at \"someday\""),
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
