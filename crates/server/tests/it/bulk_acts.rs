//! Acts on all dead letters that match: the server does them by itself, and goes on with them after a restart.

use serde_json::{Value, json};
use tidegate_model::clock::SystemClock;
use tidegate_model::dead_letter::DeadLetterId;
use tidegate_model::ports::{DeadLetters as _, RegisterChange, Registers as _};
use tidegate_model::register::{RegisterKey, Version};
use tidegate_model::trail::Act;
use tidegate_store::{SqliteStore, StoreOptions};

use crate::dead_letters::processed;
use crate::support::{Client, Place, wait_until};

fn ended(client: &Client, id: &str) -> Value {
    let path = format!("/api/v1/dead-letter-acts/{id}");
    wait_until("the act ended", || !client.json(&path)["ended_at"].is_null());
    client.json(&path)
}

fn statuses(place: &Place) -> Vec<String> {
    let letters = place.json("dead-letters list");
    letters.iter().map(|letter| letter["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_that_match_are_acted_on_and_everybody_sees_it_at_once() {
    let place = processed();
    let server = place.serve();
    let client = server.client(place.key());
    for (wrong, said) in [
        (json!({ "act": "discard" }), "this needs a reason"),
        (json!({ "act": "discard", "reason": "r", "filter": { "colour": "red" } }), "colour"),
        (json!({ "act": "discard", "reason": "r", "filter": { "partition": "x" } }), "partition"),
        (json!({ "act": "burn", "reason": "r" }), "burn"),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = client.ask("POST", "/api/v1/dead-letter-acts", &headers, wrong.to_string().as_bytes());
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{wrong}: {}", answer.json());
    }
    let waiting = |client: &Client| client.json("/api/v1/overview")["functions"][0]["dead_letters"].clone();
    assert_eq!(waiting(&client), json!(3));
    let ask = json!({ "act": "discard", "filter": { "function": "aircraft" }, "reason": "of no use" });
    let begun = client.post_json("/api/v1/dead-letter-acts", &ask);
    assert_eq!((&begun["expected"], &begun["state"]), (&json!(3), &json!("running")));
    let over = ended(&client, begun["id"].as_str().unwrap());
    assert_eq!((&over["state"], &over["done"], &over["refused"]), (&json!("ended"), &json!(3), &json!({})));
    // The overview was asked for less than a second ago.
    assert_eq!(waiting(&client), json!(0));
    let trail = client.objects("/api/v1/trail?order=newest&limit=3");
    assert!(
        trail.iter().all(|line| line["action"] == "dead-letter.discard" && line["reason"] == "of no use")
    );
    let listed = client.objects("/api/v1/dead-letter-acts");
    assert_eq!(listed, [over]);
    let stopped = client
        .post_json(&format!("/api/v1/dead-letter-acts/{}/stop", begun["id"].as_str().unwrap()), &json!({}));
    assert_eq!(stopped["state"], "ended", "what is over stays as it ended");
    assert_eq!(client.ask("GET", "/api/v1/dead-letter-acts/none", &[], b"").status, 404);
    assert!(server.terminate().success());
    assert_eq!(statuses(&place), ["discarded"; 3]);
}

/// Leaves the act `0a` in the store as a server does that ended while it discarded what matches: after the first step was
/// noted, and after the second where `not_noted`, which was not.
async fn left_undone(place: &Place, filter: Value, not_noted: bool) {
    let clock = SystemClock::shared();
    let file = place.data().join("store").join("state.db");
    let store = SqliteStore::open(&file, &StoreOptions::default(), clock.clone()).unwrap();
    let by_mia = Act { by: "mia".to_owned(), reason: "of no use".to_owned(), at: clock.now() };
    if not_noted {
        store.discard(&[DeadLetterId(1)], &by_mia).await.unwrap();
    }
    let counted_to = store.trail(None, 0, 100).await.unwrap().last().map_or(0, |line| line.number);
    let act = json!({ "id": "0a", "act": "discard", "filter": filter, "force": false, "reason": "of no use",
        "by": "mia", "started_at": clock.now(), "state": "running", "ended_at": null, "expected": 3, "done": 1, "refused": {},
        "resumed": 0, "after": 1, "counted_to": counted_to });
    let key = RegisterKey::new("bulk-act", "0a");
    let (from, value, at) = (Version::NONE, Some(act), clock.now());
    store
        .change_register(RegisterChange { key, from, value, at, notices: Vec::new(), trail: Vec::new() })
        .await
        .unwrap();
    if not_noted {
        store.discard(&[DeadLetterId(2)], &by_mia).await.unwrap();
    }
    store.close().await.unwrap();
}

/// The first step was done and noted when the program ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_left_undone_the_next_one_does() {
    let place = processed();
    left_undone(&place, json!({ "until": SystemClock::shared().now() }), false).await;
    let server = place.serve();
    let client = server.client(place.key());
    let over = ended(&client, "0a");
    assert_eq!((&over["done"], &over["resumed"], &over["state"]), (&json!(3), &json!(1), &json!("ended")));
    let trail = client.objects("/api/v1/trail?order=newest&limit=2");
    assert!(trail.iter().all(|line| line["by"] == "mia"), "{trail:?}");
    assert!(server.terminate().success());
    assert_eq!(statuses(&place), ["open", "discarded", "discarded"]);
}

/// The second step was done when the program ended, and not noted.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_not_noted_is_counted_once() {
    let until = SystemClock::shared().now();
    for filter in [json!({}), json!({ "status": "open,discarded" })] {
        let place = processed();
        left_undone(&place, filter, true).await;
        let server = place.serve();
        let client = server.client(place.key());
        let over = ended(&client, "0a");
        assert_eq!((&over["done"], &over["refused"]), (&json!(3), &json!({})), "{over}");
        assert!(server.terminate().success());
        assert_eq!(statuses(&place), ["discarded"; 3]);
    }
    let place = processed();
    left_undone(&place, json!({ "colour": "red", "until": until }), true).await;
    let server = place.serve();
    let stopped = server.client(place.key()).post_json("/api/v1/dead-letter-acts/0a/stop", &json!({}));
    assert_eq!((&stopped["done"], &stopped["state"]), (&json!(2), &json!("stopped")));
    assert!(server.terminate().success());
}

/// Its conditions are of a version that is not this one.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_does_can_be_stopped() {
    let place = processed();
    left_undone(&place, json!({ "colour": "red" }), false).await;
    let server = place.serve();
    let client = server.client(place.key());
    assert_eq!(client.json("/api/v1/dead-letter-acts/0a")["state"], "running");
    let stopped = client.post_json("/api/v1/dead-letter-acts/0a/stop", &json!({}));
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(client.json("/api/v1/dead-letter-acts/0a"), stopped);
    assert!(server.terminate().success());
    assert_eq!(statuses(&place), ["open"; 3]);
}
