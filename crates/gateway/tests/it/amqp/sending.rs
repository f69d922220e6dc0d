//! Events from clients: stored as they came, acknowledged when they are durable, refused by what is wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_amqp::codec::names::{MESSAGE_FORMAT_BATCH, MESSAGE_FORMAT_PLAIN, condition};
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::connection::{Ending, Outgoing, Part};
use tidegate_gateway::admission::Limits;
use tidegate_model::clock::Clock;
use tidegate_model::ports::AppendError;
use tidegate_model::position::PartitionId;

use super::client::batch;
use super::rights::with_root;
use crate::doubles::{Gated, Scripted, Step};
use crate::harness::{Harness, harness, harness_with};

/// A hub whose appends wait until they are let through.
fn gated() -> (Harness, Arc<Gated>) {
    let mut gate = None;
    let harness = harness_with(Limits::default(), |log| {
        let gated = Arc::new(Gated::new(log));
        gate = Some(gated.clone());
        gated
    });
    (harness, gate.unwrap())
}

fn condition_of(state: DeliveryState) -> String {
    match state {
        DeliveryState::Rejected { error: Some(error) } => error.condition.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_to_one_partition_and_keys_decide_which() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights").await.unwrap();
    assert_eq!(client.send_batch(sender, Some("dev-1"), &["a", "b"]).await, DeliveryState::Accepted);
    assert_eq!(client.send_batch(sender, Some("dev-1"), &["c"]).await, DeliveryState::Accepted);
    let all = harness.read_all().await;
    // Where the key belongs was measured with the official clients' hash.
    assert!(all.iter().all(|(partition, event)| *partition == 2 && event.data.partition_key.as_deref() == Some("dev-1")));
    assert_eq!(harness.bodies().await.len(), 3);

    let direct = client.sender("flights/Partitions/3").await.unwrap();
    assert_eq!(client.send_one(direct, "here").await, DeliveryState::Accepted);
    assert_eq!(harness.read(3).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn acceptance_comes_after_durability_and_sends_do_not_wait_for_each_other() {
    let (harness, gate) = gated();
    let (_door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights").await.unwrap();
    client.credit(sender).await;
    let outgoing = Outgoing { message_format: MESSAGE_FORMAT_BATCH, ..Outgoing::default() };
    let ids: Vec<u32> = (0..3)
        .map(|number| {
            let message = batch(Some("k"), &[&number.to_string()]);
            client.engine.send(sender, &outgoing, &[Part::Share(&message)]).unwrap()
        })
        .collect();
    // Nothing comes until the log says so: a request is answered, the events are not.
    assert!(client.sender("flights/Partitions/0").await.is_ok());
    assert_eq!(gate.waiting(), 3);
    assert!(harness.read_all().await.is_empty());
    gate.open(3);
    for id in ids {
        assert_eq!(client.outcome(id).await, DeliveryState::Accepted);
    }
    let bodies: Vec<_> =
        harness.read_all().await.into_iter().map(|(_, event)| event.data.body[0] - b'0').collect();
    assert_eq!(bodies, [0, 1, 2], "in the order in which they were sent");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_refused_by_the_condition_that_clients_know() {
    let script = |number: usize, _: PartitionId| match number {
        0 => Step::Refuse(AppendError::Throttled { partition: PartitionId(0) }),
        1 => Step::Refuse(AppendError::DiskFull { detail: "no space".to_owned() }),
        2 => Step::Hang,
        _ => Step::Store,
    };
    let harness = harness_with(Limits::default(), |log| Arc::new(Scripted::new(log, script)));
    let (_door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights").await.unwrap();
    assert_eq!(condition_of(client.send_one(sender, "x").await), "com.microsoft:server-busy");
    assert_eq!(condition_of(client.send_one(sender, "x").await), "amqp:resource-limit-exceeded");
    assert_eq!(condition_of(client.send_one(sender, "x").await), "com.microsoft:timeout");
    let state = client.send(sender, MESSAGE_FORMAT_PLAIN, Bytes::from_static(b"garbage")).await;
    assert_eq!(condition_of(state), "amqp:decode-error");
    assert_eq!(client.send_one(sender, "the link is still there").await, DeliveryState::Accepted);
    assert_eq!(harness.read_all().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_almost_a_mebibyte_is_taken_in_many_frames() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights").await.unwrap();
    let body = "x".repeat(900_000);
    assert_eq!(client.send_one(sender, &body).await, DeliveryState::Accepted);
    assert_eq!(harness.bodies().await, [body]);
}

#[tokio::test(start_paused = true)]
async fn links_to_what_is_not_there_are_refused() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let sas = crate::authorization::token(
        "RootManageSharedAccessKey",
        crate::harness::ROOT_KEY,
        "sb://h/",
        1_900_000_000,
    );
    assert_eq!(client.put_token("sb://h/", &sas).await, 202);
    for (address, expected) in [
        ("nowhere", condition::NOT_FOUND),
        ("flights/Partitions/9", condition::ARGUMENT_OUT_OF_RANGE),
        ("flights/Partitions/00", condition::ARGUMENT_OUT_OF_RANGE),
        ("flights/x/y/z", condition::NOT_FOUND),
        ("flights/ConsumerGroups/$Default/Partitions/0", condition::NOT_ALLOWED),
    ] {
        assert_eq!(client.sender(address).await.unwrap_err().condition, expected, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_acknowledges_what_is_under_way_and_sends_its_clients_away() {
    let (harness, gate) = gated();
    let (door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights").await.unwrap();
    client.credit(sender).await;
    let outgoing = Outgoing { message_format: MESSAGE_FORMAT_BATCH, ..Outgoing::default() };
    let id = client.engine.send(sender, &outgoing, &[Part::Share(&batch(None, &["a"]))]).unwrap();
    assert!(client.sender("flights/Partitions/0").await.is_ok(), "what was sent before has come");
    door.stop.send(true).unwrap();
    harness.clock.sleep(Duration::from_secs(1)).await;
    gate.open(1);
    assert_eq!(client.outcome(id).await, DeliveryState::Accepted);
    match client.wait(|_| None::<()>).await.unwrap_err() {
        Ending::Peer(Some(error)) => assert_eq!(error.condition, condition::CONNECTION_FORCED),
        other => panic!("{other:?}"),
    }
}
