//! The circuit of something that a function needs, with a real server: it opens by itself, is told, and obeys people.

use serde_json::{Value, json};

use crate::alerts::{Mails, link_in, press};
use crate::downstream::{Downstream, Mode, rows, stored_rows};
use crate::support::{Client, Place, text, wait_until};

const KEYS: i64 = 12;

fn config(mails: &Mails) -> String {
    format!(
        "[hub.h]\npartitions = 2\n[function.f]\nhub = \"h\"\nkind = \"rust\"\norder = \"key\"\non_exhausted = \"hold\"\n\
         dependencies = [\"downstream\"]\nretry = {{ strategy = \"fixed\", max_attempts = 3, delay = \"20ms\" }}\n\
         [dependency.downstream]\ncircuit = {{ threshold = 5, minimum_volume = 5, probe = \"manual\", ramp = \"0s\", \
         poll_interval = \"50ms\" }}\n{}",
        mails.email()
    )
}

/// Each key gets its next number.
fn publish(client: &Client, n: i64) {
    let lines: String = (0..KEYS).map(|key| format!("{{\"id\":\"k{key}\",\"n\":{n}}}\n")).collect();
    assert!(client.publish("h", "?key=/id", lines.as_bytes()));
}

fn circuit(place: &Place, name: &str) -> Value {
    place.json(&format!("circuit status {name}")).remove(0)
}

fn state(place: &Place, name: &str) -> Value {
    circuit(place, name)["state"].clone()
}

fn applied(client: &Client) -> Value {
    client.objects("/api/v1/audit").remove(0)["applied"].clone()
}

#[test]
fn the_circuit_of_a_dependency_opens_is_told_and_is_moved_like_any_other() {
    let mut mails = Mails::catch();
    let place = Place::new(&config(&mails));
    let downstream = Downstream::start();
    let server = downstream.serve(&place);
    let client = server.client(place.key());
    publish(&client, 0);
    wait_until("all is applied", || applied(&client) == KEYS);

    downstream.becomes(Mode::Away);
    publish(&client, 1);
    wait_until("the circuit of the dependency opens", || state(&place, "downstream") == "open");
    assert_eq!(state(&place, "f"), "closed", "it is not the function's fault");
    let listed: Vec<Value> =
        place.json("circuit status").iter().map(|circuit| circuit["function"].clone()).collect();
    assert_eq!(listed, [json!("downstream"), json!("f")]);
    let mail = mails.next("downstream is stopped");
    assert!(mail.text().contains("threshold 5"), "{}", mail.text());

    // The mail's link closes it, and what was held goes on.
    let link = link_in(&mail, &server);
    let stranger = server.client("no key".to_owned());
    let (status, page) = stranger.request("GET", &link, "text/plain", b"").unwrap();
    assert_eq!(status, 200, "{}", text(&page));
    assert!(text(&page).contains("downstream"), "{}", text(&page));
    downstream.becomes(Mode::Takes);
    assert_eq!(press(&stranger, &link).0, 200);
    wait_until("all is applied", || applied(&client) == 2 * KEYS);
    assert_eq!(state(&place, "downstream"), "closed");
    assert!(mails.next("downstream is working again").text().contains("closed"));

    // By hand: while it is open the function gets nothing, and a probe closes it.
    place.ok("circuit open downstream --reason maintenance");
    assert_eq!(circuit(&place, "downstream")["reason"], "maintenance");
    wait_until("the function hears of it", || {
        let lanes = client.objects("/api/v1/checkpoints");
        lanes.iter().all(|lane| lane.to_string().contains("downstream: "))
    });
    let taken = downstream.taken();
    publish(&client, 2);
    mails.next("downstream is stopped");
    assert_eq!((applied(&client), downstream.taken()), (json!(2 * KEYS), taken), "nothing is invoked");
    place.ok("circuit probe downstream --reason look");
    wait_until("all is applied", || applied(&client) == 3 * KEYS);
    assert_eq!(state(&place, "downstream"), "closed");

    place.ok("circuit open downstream --reason again");
    place.ok("circuit close downstream --reason done");
    let trail = place.json("trail --subject downstream");
    let actions: Vec<&str> = trail.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let by_hand = ["circuit.open", "circuit.probe", "circuit.open", "circuit.close"];
    assert_eq!(actions.iter().rev().take(4).rev().copied().collect::<Vec<_>>(), by_hand, "{actions:?}");
    assert!(server.terminate().success());
    let names: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    let expected = rows(names.iter().flat_map(|name| (0..3).map(|n| (name.as_str(), n))));
    assert_eq!(stored_rows(&place), expected);
    place.ok("audit --deep");
}
