//! What the door counts while clients come, send, receive and go.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tidegate_amqp::codec::names::MESSAGE_FORMAT_PLAIN;
use tidegate_amqp::codec::performative::DeliveryState;

use super::client::Door;
use super::rights::with_root;
use crate::harness::harness;

/// The value of a sample; it is an error when there is none.
fn value(door: &Door, sample: &str) -> f64 {
    let mut registry = Registry::default();
    door.metrics().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_clients_have_open_send_and_receive_is_counted() {
    let harness = harness();
    let (door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights/Partitions/1").await.unwrap();
    assert_eq!(client.send_batch(sender, None, &["a", "b", "c"]).await, DeliveryState::Accepted);
    let receiver = client.consumer(1, "amqp.annotation.x-opt-offset > '-1'").await.unwrap();
    assert_eq!(client.bodies(receiver, 3).await, ["a", "b", "c"]);
    assert!(client.sender("no-such-hub").await.is_err());
    let refused = client.send(sender, MESSAGE_FORMAT_PLAIN, "no message".into()).await;
    assert!(matches!(refused, DeliveryState::Rejected { .. }), "{refused:?}");

    let of = |sample: &str| value(&door, sample);
    assert_eq!(of("tidegate_amqp_connections{transport=\"tcp\"}"), 1.0);
    assert_eq!(of("tidegate_amqp_opened_connections_total{transport=\"tcp\"}"), 1.0);
    assert_eq!(of("tidegate_amqp_sessions"), 1.0);
    assert_eq!(of("tidegate_amqp_links{kind=\"producer\"}"), 1.0);
    assert_eq!(of("tidegate_amqp_links{kind=\"receiver\"}"), 1.0);
    assert_eq!(of("tidegate_amqp_messages_total{direction=\"in\"}"), 2.0, "a batch is one message");
    assert_eq!(of("tidegate_amqp_messages_total{direction=\"out\"}"), 3.0);
    assert_eq!(of("tidegate_amqp_refused_links_total{condition=\"amqp:unauthorized-access\"}"), 1.0);
    assert_eq!(of("tidegate_amqp_refused_messages_total{condition=\"amqp:decode-error\"}"), 1.0);
    let (received, sent) = (
        of("tidegate_amqp_transferred_bytes_total{direction=\"in\"}"),
        of("tidegate_amqp_transferred_bytes_total{direction=\"out\"}"),
    );
    assert!(received > 100.0 && sent > 100.0, "{received} {sent}");

    drop(client);
    while of("tidegate_amqp_connections{transport=\"tcp\"}") > 0.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(of("tidegate_amqp_sessions"), 0.0);
    assert_eq!(of("tidegate_amqp_links{kind=\"producer\"}"), 0.0);
    assert_eq!(of("tidegate_amqp_links{kind=\"receiver\"}"), 0.0);
}
