//! Events to clients: from every position, as they were sent, to one receiver or to several.

use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::codec::value::Map;
use tidegate_gateway::namespace::ConsumerGroupName;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventLog;

use super::client::{Client, consumer_group};
use super::rights::with_root;
use crate::harness::{Harness, NOW, harness};

const FIRST: &str = "amqp.annotation.x-opt-offset > '-1'";

async fn send_five(client: &mut Client) {
    let sender = client.sender("flights/Partitions/0").await.unwrap();
    client.send_batch(sender, Some("k"), &["0", "1", "2", "3", "4"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_begins_where_it_asks_to() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    send_five(&mut client).await;
    let later = NOW.as_millis() + 100_000;
    for (selector, expected) in [
        (FIRST, vec!["0", "1", "2", "3", "4"]),
        ("amqp.annotation.x-opt-offset > '2'", vec!["3", "4"]),
        ("amqp.annotation.x-opt-offset >= '2'", vec!["2", "3", "4"]),
        ("amqp.annotation.x-opt-sequence-number > '3'", vec!["4"]),
        ("amqp.annotation.x-opt-sequence-number >='3'", vec!["3", "4"]),
        ("amqp.annotation.x-opt-enqueued-time > '0'", vec!["0", "1", "2", "3", "4"]),
        ("amqp.annotation.x-opt-offset > '@latest'", vec![]),
        (&format!("amqp.annotation.x-opt-enqueued-time > '{later}'"), vec![]),
    ] {
        let link = client.consumer(0, selector).await.unwrap();
        assert_eq!(client.bodies(link, expected.len()).await, expected, "{selector}");
        client.engine.detach(link, true, None).unwrap();
    }
    // Without a filter: from the start.
    let link = client.receiver(consumer_group(0), Map::new(), 10).await.unwrap();
    assert_eq!(client.bodies(link, 5).await.len(), 5);
    for wrong in ["nonsense", "amqp.annotation.x-opt-offset > '99'"] {
        client.consumer(0, wrong).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn events_carry_the_brokers_stamp_and_new_ones_come_by_themselves() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let link = client.consumer(0, "amqp.annotation.x-opt-offset > '@latest'").await.unwrap();
    send_five(&mut client).await;
    let stamp = client.receive(link).await.event_stamp().unwrap();
    assert_eq!(stamp.sequence_number, Some(0));
    assert_eq!(stamp.offset.as_deref(), Some("0"));
    assert_eq!(stamp.partition_key.as_deref(), Some("k"));
    assert!(stamp.enqueued_time.unwrap() >= NOW.as_millis());
    assert_eq!(client.bodies(link, 4).await, ["1", "2", "3", "4"]);
    send_five(&mut client).await;
    assert_eq!(client.bodies(link, 5).await.len(), 5, "credit is used and renewed");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_without_credit() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    send_five(&mut client).await;
    let source = consumer_group(0).with_selector(FIRST);
    let link = client.receiver(source, Map::new(), 2).await.unwrap();
    assert_eq!(client.bodies(link, 5).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_higher_epoch_takes_over_and_a_lower_one_is_kept_out() {
    let harness = harness();
    let (door, mut client) = with_root(&harness).await;
    send_five(&mut client).await;
    let first = client.epoch_consumer(0, 1).await.unwrap();
    assert_eq!(client.bodies(first, 5).await.len(), 5);

    let mut other = door.client().await;
    let token = crate::authorization::token(
        "RootManageSharedAccessKey",
        crate::harness::ROOT_KEY,
        "sb://127.0.0.1/flights",
        1_900_000_000,
    );
    assert_eq!(other.put_token("sb://127.0.0.1/flights", &token).await, 202);
    assert_eq!(other.epoch_consumer(0, 0).await.unwrap_err().condition, condition::LINK_STOLEN);
    assert_eq!(other.consumer(0, FIRST).await.unwrap_err().condition, condition::LINK_STOLEN);
    let second = other.epoch_consumer(0, 2).await.unwrap();
    assert_eq!(client.detached(first).await.condition, condition::LINK_STOLEN);
    assert_eq!(other.bodies(second, 5).await.len(), 5);

    // Who leaves makes room.
    drop(other);
    loop {
        match client.consumer(0, FIRST).await {
            Ok(link) => break assert_eq!(client.bodies(link, 5).await.len(), 5),
            Err(error) => assert_eq!(error.condition, condition::LINK_STOLEN),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn five_receive_beside_each_other() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    send_five(&mut client).await;
    for _ in 0..5 {
        let link = client.consumer(0, FIRST).await.unwrap();
        assert_eq!(client.bodies(link, 5).await.len(), 5);
    }
    let refused = client.consumer(0, FIRST).await.unwrap_err();
    assert_eq!(refused.condition, condition::RESOURCE_LIMIT_EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn groups_and_partitions_that_are_not_there_are_refused() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let refused = client.consumer(9, FIRST).await.unwrap_err();
    assert_eq!(refused.condition, condition::ARGUMENT_OUT_OF_RANGE);
    assert!(refused.to_string().contains("It should be between 0 and 3."), "{refused}");
    let group = tidegate_amqp::codec::performative::Source::at("flights/ConsumerGroups/mine/Partitions/0");
    let refused = client.receiver(group, Map::new(), 1).await.unwrap_err();
    assert_eq!(refused.condition, condition::NOT_FOUND);
    let hub = tidegate_amqp::codec::performative::Source::at("flights");
    assert_eq!(client.receiver(hub, Map::new(), 1).await.unwrap_err().condition, condition::NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_deleted_ends_its_receivers() {
    let harness: Harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let link = client.consumer(0, FIRST).await.unwrap();
    harness.gateway.close_hub(&HubName::new("flights").unwrap());
    harness.log.delete();
    assert_eq!(client.detached(link).await.condition, condition::NOT_FOUND);
    assert!(EventLog::tail(&*harness.log, tidegate_model::position::PartitionId(0)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_closed_ends_producers_and_receivers_that_wait_for_nothing() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let producer = client.sender("flights").await.unwrap();
    let without_credit = client.receiver(consumer_group(0), Map::new(), 0).await.unwrap();
    assert!(harness.gateway.close_hub(&HubName::new("flights").unwrap()));
    assert_eq!(client.detached(producer).await.condition, condition::NOT_FOUND);
    assert_eq!(client.detached(without_credit).await.condition, condition::NOT_FOUND);
    assert_eq!(client.sender("flights").await.unwrap_err().condition, condition::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_group_that_is_removed_ends_its_receivers_and_nobody_else() {
    let harness = harness();
    let (_door, mut client) = with_root(&harness).await;
    let hub = harness.gateway.hub("flights").unwrap();
    let group = ConsumerGroupName::new("Billing").unwrap();
    hub.consumer_groups().add(group.clone()).unwrap();
    let billing =
        tidegate_amqp::codec::performative::Source::at("flights/ConsumerGroups/billing/Partitions/0");
    let ours = client.receiver(billing.clone(), Map::new(), 1).await.unwrap();
    let other = client.consumer(0, FIRST).await.unwrap();
    assert!(harness.gateway.remove_consumer_group(&hub, &group));
    assert_eq!(client.detached(ours).await.condition, condition::NOT_FOUND);
    assert_eq!(client.receiver(billing, Map::new(), 1).await.unwrap_err().condition, condition::NOT_FOUND);
    let producer = client.sender("flights/Partitions/0").await.unwrap();
    assert_eq!(client.send_one(producer, "still here").await, DeliveryState::Accepted);
    assert_eq!(client.bodies(other, 1).await, ["still here"]);
    assert!(!harness.gateway.remove_consumer_group(&hub, &ConsumerGroupName::default()));
}
