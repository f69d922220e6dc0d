//! What is refused, and how the client tells it.

use azure_messaging_eventhubs::{EventHubsError, SendEventOptions};
use futures::StreamExt as _;
use tidegate_client_rust::{
    PATIENCE, after, connection_string, field, from, key, run, said, send, tail, tails, try_consumer,
    try_producer, with_key,
};
use tokio::time::timeout;

const HUB: &str = "telemetry";

async fn sending(hub: &str, connection_string: &str, partition: Option<&str>) -> Result<(), EventHubsError> {
    let client = try_producer(hub, connection_string).await?;
    let options = SendEventOptions { partition_id: partition.map(str::to_owned) };
    client.send_event("x", Some(options)).await
}

async fn reading(
    hub: &str,
    connection_string: &str,
    partition: &str,
    group: &str,
) -> Result<(), EventHubsError> {
    let client = try_consumer(hub, connection_string, group).await?;
    let options = from(after(-1));
    let receiver = client.open_receiver_on_partition(partition.to_owned(), Some(options)).await?;
    let mut stream = receiver.stream_events();
    timeout(PATIENCE, stream.next())
        .await
        .expect("an event or an error")
        .expect("the stream goes on")
        .map(drop)
}

fn refused(outcome: Result<(), EventHubsError>, words: &[&str]) {
    let said = said(&outcome.expect_err("it is refused")).to_lowercase();
    assert!(words.iter().any(|word| said.contains(word)), "{said}");
}

const UNAUTHORIZED: [&str; 3] = ["401", "unauthorized", "unauthorized-access"];
const NOT_FOUND: [&str; 3] = ["404", "not-found", "notfound"];
const OUT_OF_RANGE: [&str; 2] = ["it should be between 0 and 3.", "400"];

#[test]
fn a_wrong_key_and_an_unknown_key_name() {
    run(HUB, async {
        let wrong = with_key(&field("SharedAccessKeyName"), "bm90IHRoZSBrZXk=");
        refused(sending(HUB, &wrong, None).await, &UNAUTHORIZED);
        refused(reading(HUB, &wrong, "0", "$Default").await, &UNAUTHORIZED);
        refused(sending(HUB, &with_key("nobody", &field("SharedAccessKey")), None).await, &UNAUTHORIZED);
    });
}

#[test]
fn a_key_that_may_not_send_and_one_that_may_not_listen() {
    run(HUB, async {
        let [sends, listens] = ["only-sends", "only-listens"].map(|name| with_key(name, &key(name)));
        send(HUB, "0", vec!["readable"]).await;
        sending(HUB, &sends, None).await.unwrap();
        reading(HUB, &listens, "0", "$Default").await.unwrap();
        let before = tails(HUB, 4).await;
        refused(sending(HUB, &listens, None).await, &UNAUTHORIZED);
        refused(reading(HUB, &sends, "0", "$Default").await, &UNAUTHORIZED);
        assert_eq!(tails(HUB, 4).await, before);
    });
}

#[test]
fn a_key_of_another_hub() {
    run(HUB, async {
        let only = with_key("only-one-hub", &key("only-one-hub"));
        sending(HUB, &only, None).await.unwrap();
        refused(sending("positions", &only, None).await, &UNAUTHORIZED);
    });
}

#[test]
fn an_unknown_hub_partition_and_group() {
    run(HUB, async {
        let root = connection_string();
        refused(sending("nowhere", &root, None).await, &NOT_FOUND);
        refused(reading("nowhere", &root, "0", "$Default").await, &NOT_FOUND);
        refused(sending(HUB, &root, Some("99")).await, &OUT_OF_RANGE);
        refused(reading(HUB, &root, "99", "$Default").await, &OUT_OF_RANGE);
        refused(reading(HUB, &root, "0", "nobodys").await, &NOT_FOUND);
        let client = try_consumer(HUB, &root, "$Default").await.unwrap();
        refused(client.get_partition_properties("99").await.map(drop), &OUT_OF_RANGE);
        // Here the client says no more than that it was not let in.
        let client = try_consumer("nowhere", &root, "$Default").await.unwrap();
        refused(client.get_eventhub_properties().await.map(drop), &["authorizing"]);
    });
}

#[test]
fn after_a_refusal_the_server_goes_on() {
    run(HUB, async {
        let before = tail(HUB, "0").await;
        refused(sending(HUB, &with_key("nobody", "x"), Some("0")).await, &UNAUTHORIZED);
        assert_eq!(send(HUB, "0", vec!["fine"]).await, before);
        assert_eq!(tail(HUB, "0").await, before + 1);
    });
}
