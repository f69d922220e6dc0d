//! Who is let in, where, and until when.

use std::time::Duration;

use tidegate_amqp::codec::message::MessageBuilder;
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::codec::value::Value;
use tidegate_amqp::connection::{Ending, Login};

use super::client::{Client, Door};
use crate::authorization::token;
use crate::harness::{FLIGHTS_SEND_KEY, Harness, LISTEN_KEY, NOW, ROOT_KEY, harness};

const HUB: &str = "sb://127.0.0.1:5672/flights";

/// A token for the hub that lasts this long.
fn lasting(name: &str, key: &str, duration: Duration) -> String {
    token(name, key, HUB, NOW.plus(duration).as_millis() / 1000)
}

pub(super) async fn with_root(harness: &Harness) -> (Door, Client) {
    let door = Door::new(&harness.gateway);
    let mut client = door.client().await;
    let token = lasting("RootManageSharedAccessKey", ROOT_KEY, Duration::from_secs(3600));
    assert_eq!(client.put_token(HUB, &token).await, 202);
    (door, client)
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nothing_can_be_attached() {
    let harness = harness();
    let door = Door::new(&harness.gateway);
    let mut client = door.client().await;
    for refused in [
        client.sender("flights").await.unwrap_err(),
        client.consumer(0, "amqp.annotation.x-opt-offset > '-1'").await.unwrap_err(),
        client.sender("no-such-hub").await.unwrap_err(),
    ] {
        assert_eq!(refused.condition, condition::UNAUTHORIZED_ACCESS, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_what_its_rule_allows() {
    let harness = harness();
    let door = Door::new(&harness.gateway);
    let mut client = door.client().await;
    let hour = Duration::from_secs(3600);
    assert_eq!(client.put_token(HUB, &lasting("flights-send", FLIGHTS_SEND_KEY, hour)).await, 202);
    let sender = client.sender("amqps://127.0.0.1/flights/Partitions/1").await.unwrap();
    assert_eq!(client.send_one(sender, "x").await, DeliveryState::Accepted);
    let refused = client.consumer(0, "amqp.annotation.x-opt-offset > '-1'").await.unwrap_err();
    assert_eq!(refused.condition, condition::UNAUTHORIZED_ACCESS);

    let mut other = door.client().await;
    assert_eq!(other.put_token(HUB, &lasting("listen", LISTEN_KEY, hour)).await, 202);
    assert!(other.consumer(1, "amqp.annotation.x-opt-offset > '-1'").await.is_ok());
    assert_eq!(other.sender("flights").await.unwrap_err().condition, condition::UNAUTHORIZED_ACCESS);
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_answered_by_what_is_wrong() {
    let harness = harness();
    let door = Door::new(&harness.gateway);
    let mut client = door.client().await;
    let hour = Duration::from_secs(3600);
    let root = "RootManageSharedAccessKey";
    assert_eq!(client.put_token(HUB, &lasting(root, "another key", hour)).await, 401);
    assert_eq!(client.put_token(HUB, &lasting("no-such-rule", ROOT_KEY, hour)).await, 401);
    assert_eq!(client.put_token(HUB, &lasting(root, ROOT_KEY, Duration::ZERO)).await, 401);
    assert_eq!(client.put_token("sb://127.0.0.1/other", &lasting(root, ROOT_KEY, hour)).await, 401);
    assert_eq!(client.put_token(HUB, "no token").await, 400);
    let elsewhere = token(root, ROOT_KEY, "sb://h/nowhere", 1_900_000_000);
    assert_eq!(client.put_token("sb://h/nowhere", &elsewhere).await, 404);
    // With a condition in the reply, the Python client would not see the status.
    let reply = client.request("$cbs", MessageBuilder::new().value(Value::Null)).await;
    assert_eq!(reply.application_property("status-code").unwrap(), Some(Value::Int(400)));
    assert!(reply.application_property("status-description").unwrap().is_some());
    assert_eq!(reply.application_property("error-condition").unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_with_the_token_it_stands_on_and_not_with_one_that_was_renewed() {
    let harness = harness();
    let door = Door::new(&harness.gateway);
    let root = "RootManageSharedAccessKey";
    let mut client = door.client().await;
    assert_eq!(client.put_token(HUB, &lasting(root, ROOT_KEY, Duration::from_secs(60))).await, 202);
    let sender = client.sender("flights").await.unwrap();
    let mut renewing = door.client().await;
    assert_eq!(renewing.put_token(HUB, &lasting(root, ROOT_KEY, Duration::from_secs(60))).await, 202);
    let renewed = renewing.sender("flights").await.unwrap();
    assert_eq!(renewing.put_token(HUB, &lasting(root, ROOT_KEY, Duration::from_secs(600))).await, 202);

    let error = client.detached(sender).await;
    assert_eq!(error.condition, condition::UNAUTHORIZED_ACCESS);
    assert_eq!(renewing.send_one(renewed, "still there").await, DeliveryState::Accepted);
}

#[tokio::test(start_paused = true)]
async fn libraries_without_cbs_come_in_by_name_and_key() {
    let harness = harness();
    let door = Door::new(&harness.gateway);
    let plain =
        |password: &str| Login::Plain { user: "flights-send".to_owned(), password: password.to_owned() };
    let mut client = door.client_as(plain(FLIGHTS_SEND_KEY)).await.unwrap();
    let sender = client.sender("flights").await.unwrap();
    assert_eq!(client.send_one(sender, "x").await, DeliveryState::Accepted);
    assert!(matches!(door.client_as(plain("wrong")).await, Err(Ending::NotAuthenticated(_))));
    for login in [Login::Skip, Login::External, Login::MsSbCbs] {
        door.client_as(login).await.expect("claims come later");
    }
}

#[tokio::test(start_paused = true)]
async fn management_tells_about_hubs_and_partitions_to_who_may_know() {
    let harness = harness();
    let (door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights/Partitions/2").await.unwrap();
    client.send_batch(sender, None, &["a", "b"]).await;
    let read = |kind: &str, name: &str, partition: Option<&str>| {
        let request = MessageBuilder::new()
            .application_property("operation", Value::String("READ".into()))
            .application_property("type", Value::String(kind.into()))
            .application_property("name", Value::String(name.into()));
        match partition {
            Some(id) => request.application_property("partition", Value::String(id.into())),
            None => request,
        }
    };
    let status = |reply: &tidegate_amqp::codec::message::Message| {
        reply.application_property("status-code").unwrap().unwrap().as_i64().unwrap()
    };
    let map = |reply: tidegate_amqp::codec::message::Message| match reply.body().unwrap() {
        tidegate_amqp::codec::message::Body::Value(Value::Map(map)) => map,
        other => panic!("{other:?}"),
    };

    let hub = map(client.request("$management", read("com.microsoft:eventhub", "flights", None)).await);
    assert_eq!(hub.get("partition_count"), Some(&Value::Int(4)));
    assert!(matches!(hub.get("partition_ids"), Some(Value::Array(ids)) if ids.items().len() == 4));
    assert_eq!(hub.get("created_at"), Some(&Value::Timestamp(NOW.as_millis())));

    let full =
        map(client.request("$management", read("com.microsoft:partition", "flights", Some("2"))).await);
    assert_eq!(full.get("last_enqueued_sequence_number"), Some(&Value::Long(1)));
    assert_eq!(full.get("last_enqueued_offset"), Some(&Value::String("1".into())));
    assert_eq!(full.get("is_partition_empty"), Some(&Value::Boolean(false)));
    let empty =
        map(client.request("$management", read("com.microsoft:partition", "flights", Some("0"))).await);
    assert_eq!(empty.get("last_enqueued_sequence_number"), Some(&Value::Long(-1)));
    assert_eq!(empty.get("is_partition_empty"), Some(&Value::Boolean(true)));

    let missing = client.request("$management", read("com.microsoft:partition", "flights", Some("9"))).await;
    let text = |name: &str| missing.application_property(name).unwrap().unwrap().as_str().unwrap().to_owned();
    assert_eq!(status(&missing), 400);
    assert_eq!(text("error-condition"), "com.microsoft:argument-out-of-range");
    assert!(text("status-description").ends_with("It should be between 0 and 3."));
    let mut stranger = door.client().await;
    let refused = stranger.request("$management", read("com.microsoft:eventhub", "flights", None)).await;
    assert_eq!(status(&refused), 401);
}
