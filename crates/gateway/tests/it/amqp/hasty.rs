//! A client that breaks when answers come too soon: the Rust one, told by the product that it names.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::frame::Frame;
use tidegate_amqp::codec::message::MessageBuilder;
use tidegate_amqp::codec::performative::{DeliveryState, Performative};
use tidegate_amqp::codec::value::{Map, Value};
use tidegate_amqp::connection::{Event, LinkId, Login, Options, Outgoing, Part};
use tidegate_model::clock::{Clock, timeout};
use tokio::io::AsyncReadExt;

use super::client::{Client, Door};
use crate::harness::{Harness, ROOT_KEY, harness};

/// More than any answer is held back for.
const LONG: Duration = Duration::from_secs(10);

async fn client_of(harness: &Harness, product: &str) -> (Door, Client) {
    let door = Door::new(&harness.gateway);
    let mut options = Options::new("test");
    options.properties = Map::new().with("product", Value::String(product.into()));
    let mut client = door.client_with(options, Login::Anonymous).await.unwrap();
    let token =
        crate::authorization::token("RootManageSharedAccessKey", ROOT_KEY, "sb://h/flights", 1_900_000_000);
    assert_eq!(client.put_token("sb://h/flights", &token).await, 202);
    (door, client)
}

async fn hasty(harness: &Harness) -> (Door, Client) {
    client_of(harness, "azure_messaging_eventhubs").await
}

/// How long a link that is detached waits for the answer.
async fn detaching(harness: &Harness, client: &mut Client, link: LinkId) -> Duration {
    let began = harness.clock.monotonic();
    client.engine.detach(link, true, None).unwrap();
    client.detached(link).await;
    harness.clock.monotonic() - began
}

/// The frames that come until nothing has come for long.
async fn heard(harness: &Harness, client: &mut Client) -> Vec<Performative> {
    let mut bytes = BytesMut::new();
    while let Some(read) = timeout(&*harness.clock, LONG, client.pipe.read_buf(&mut bytes)).await {
        assert_ne!(read.unwrap(), 0, "the connection goes on");
    }
    let mut performatives = Vec::new();
    while let Some(mut frame) = Frame::take(&mut bytes, u32::MAX).unwrap() {
        performatives.push(Performative::decode(&mut frame.body).unwrap());
    }
    performatives
}

#[tokio::test(start_paused = true)]
async fn a_detach_is_answered_a_little_later() {
    let harness = harness();
    let (_door, mut client) = hasty(&harness).await;
    let link = client.sender("flights").await.unwrap();
    assert_eq!(client.send_one(link, "x").await, DeliveryState::Accepted);
    let took = detaching(&harness, &mut client, link).await;
    assert!(took >= Duration::from_millis(10), "{took:?}");

    let (_door, mut other) = client_of(&harness, "azsdk-python-eventhubs").await;
    let link = other.sender("flights").await.unwrap();
    assert_eq!(detaching(&harness, &mut other, link).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_told_first_and_settled_later() {
    let harness = harness();
    let (_door, mut client) = hasty(&harness).await;
    let link = client.sender("flights").await.unwrap();
    client.credit(link).await;
    let message = MessageBuilder::new().data(Bytes::from_static(b"x")).encode();
    client.engine.send(link, &Outgoing::default(), &[Part::Share(&message)]).unwrap();
    client.flush().await;
    let heard = heard(&harness, &mut client).await;
    let told: Vec<_> = heard
        .iter()
        .filter_map(|performative| match performative {
            Performative::Disposition(disposition) => Some((disposition.settled, disposition.state.clone()?)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(false, DeliveryState::Accepted), (true, DeliveryState::Accepted)]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_goes_is_told_first_what_became_of_its_deliveries() {
    let harness = harness();
    let (_door, mut client) = hasty(&harness).await;
    let link = client.sender("flights").await.unwrap();
    client.credit(link).await;
    let message = MessageBuilder::new().data(Bytes::from_static(b"x")).encode();
    client.engine.send(link, &Outgoing::default(), &[Part::Share(&message)]).unwrap();
    client.flush().await;
    // It is stored now, and its settlement is held back.
    while harness.bodies().await.is_empty() {
        tokio::task::yield_now().await;
    }
    client.engine.detach(link, true, None).unwrap();
    client.flush().await;
    let heard = heard(&harness, &mut client).await;
    let [.., Performative::Disposition(settled), Performative::Detach(_)] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert!(settled.settled && settled.state == Some(DeliveryState::Accepted));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_is_the_only_answer_to_it_and_to_its_detaches() {
    let harness = harness();
    let (_door, mut client) = hasty(&harness).await;
    for node in ["flights", "$cbs", "$management"] {
        let link = client.sender(node).await.unwrap();
        client.engine.detach(link, true, None).unwrap();
    }
    let session = client.session();
    client.engine.end(session, None).unwrap();
    client.flush().await;
    let heard = heard(&harness, &mut client).await;
    assert!(matches!(heard[..], [Performative::End(_)]), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_link_hears_of_the_old_one_first() {
    let harness = harness();
    let (_door, mut client) = hasty(&harness).await;
    let link = client.sender("$cbs").await.unwrap();
    let began = harness.clock.monotonic();
    client.engine.detach(link, true, None).unwrap();
    let next = client.sender("flights").await.unwrap();
    assert_eq!(harness.clock.monotonic(), began, "nothing is waited for");
    let order =
        [client.wait(|event| matches!(event, Event::Detached { .. }).then_some(link)).await.unwrap(), next];
    assert_eq!(order, [link, next]);
    assert_eq!(client.send_one(next, "x").await, DeliveryState::Accepted);
}
