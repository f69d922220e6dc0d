//! Circuits and pauses by hand, with and without a server.

use serde_json::{Value, json};

use crate::dead_letters::{fails, processed};
use crate::support::{CONFIG, Place, text};

fn status(place: &Place) -> Value {
    let mut all = place.json("circuit status aircraft");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_circuit_is_moved_by_hand_and_stays_where_it_is() {
    let place = processed();
    let closed = status(&place);
    for (field, value) in [
        ("function", json!("aircraft")),
        ("state", json!("closed")),
        ("failures_in_window", json!(0)),
        ("threshold", Value::Null),
        ("window_s", json!(30)),
        ("since", Value::Null),
        ("reason", json!("")),
    ] {
        assert_eq!(closed[field], value, "{field}");
    }
    let said = place.ok("circuit probe aircraft --reason look");
    assert!(said.contains("the circuit of aircraft stays closed: nothing ever opened it"), "{said}");
    let opened = place.json("circuit open aircraft --reason maintenance").remove(0);
    assert_eq!((&opened["state"], &opened["unchanged"]), (&json!("open"), &json!(false)));
    let again = place.json("circuit open aircraft --reason maintenance").remove(0);
    assert_eq!(again["unchanged"], true);
    let open = status(&place);
    assert_eq!((&open["state"], &open["reason"]), (&json!("open"), &json!("maintenance")));
    assert!(open["since"].is_string());
    let table = place.ok("circuit status");
    assert!(table.contains("waits for a person"), "{table}");
    assert!(table.contains("the circuit of aircraft is open: maintenance"), "{table}");
    let next = text(&place.run("circuit status").stderr);
    assert!(next.contains("tidegate circuit close aircraft --reason TEXT"), "{next}");

    assert!(table.contains("threshold not known"), "{table}");
    place.write("other.toml", format!("{CONFIG}circuit = {{ threshold = 7 }}\n").as_bytes());
    let known = place.ok("circuit status --config other.toml");
    assert!(known.contains("0 of 7 in 30 s"), "{known}");
    assert_eq!(place.json("circuit status aircraft --config other.toml")[0]["threshold"], 7);

    let server = place.serve();
    assert_eq!(status(&place)["state"], "open", "a restart changes nothing");
    assert_eq!(status(&place)["threshold"], 100, "the server knows");
    let closed = place.json("circuit close aircraft --reason done").remove(0);
    assert_eq!(closed["state"], "closed");
    assert_eq!(status(&place)["state"], "closed");
    let probed = place.json("circuit probe aircraft --reason look").remove(0);
    assert_eq!((&probed["state"], &probed["unchanged"]), (&json!("closed"), &json!(true)));
    assert!(server.terminate().success());

    let actions: Vec<Value> =
        place.json("trail --subject aircraft").iter().map(|one| one["action"].clone()).collect();
    assert_eq!(actions, ["circuit.open", "circuit.close"]);
    let said = fails(&place, "circuit open nobody --reason x", 1);
    assert!(said.contains("error[TG-404]") && said.contains("functions here: aircraft"), "{said}");
    assert!(fails(&place, "circuit open aircraft", 2).contains("--reason"));
    assert!(fails(&place, "circuit status nobody", 1).contains("functions here: aircraft"));
}

#[test]
fn functions_and_partitions_are_paused_and_resumed() {
    let place = processed();
    place.ok("pause aircraft --reason later");
    place.ok("pause aircraft --partition 2 --reason later");
    let already = place.json("pause aircraft --reason later").remove(0);
    assert_eq!(already["unchanged"], true);
    let paused = place.json("resume");
    let names: Vec<&str> = paused.iter().map(|one| one["paused"].as_str().unwrap()).collect();
    assert_eq!(names, ["aircraft", "aircraft/flights/2"]);
    let seen = status(&place);
    assert_eq!(seen["paused"]["reason"], "later");
    assert!(seen["paused_lanes"]["aircraft/flights/2"].is_object());

    let resumed = place.json("resume aircraft").remove(0);
    assert_eq!((&resumed["result"], &resumed["unchanged"]), (&json!("resumed"), &json!(false)));
    assert_eq!(place.json("resume aircraft")[0]["unchanged"], true);
    place.ok("resume aircraft --partition 2");
    assert_eq!(place.json("resume"), Vec::<Value>::new());
    assert!(place.ok("resume").contains("nothing is paused"));

    for (words, expected) in [
        ("pause aircraft --partition 9 --reason x", "has no partition 9"),
        ("pause aircraft --partition 1 --hub other --reason x", "reads 0 such hubs"),
        ("pause nobody --reason x", "functions here: aircraft"),
    ] {
        let said = fails(&place, words, 1);
        assert!(said.contains(expected), "{words}: {said}");
    }
    assert!(fails(&place, "pause aircraft", 2).contains("--reason"));
}
