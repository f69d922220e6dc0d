//! The same over TLS, and through WebSockets in it, with a certificate that `SSL_CERT_FILE` says is to be trusted.

use azure_messaging_eventhubs::models::AmqpTransport;
use azure_messaging_eventhubs::{ConsumerClient, ProducerClient, SendEventOptions};
use tidegate_client_rust::{after, connection_string, from, receive_with, retries, run, texts, tls_endpoint};

#[test]
fn send_and_receive_over_tls() {
    run("doors", send_and_receive(AmqpTransport::Tcp));
}

#[test]
fn send_and_receive_through_web_sockets() {
    run("doors", send_and_receive(AmqpTransport::WebSocket));
}

async fn send_and_receive(transport: AmqpTransport) {
    let producer = ProducerClient::builder()
        .with_transport(transport)
        .with_custom_endpoint(tls_endpoint())
        .with_retry_options(retries())
        .open_with_connection_string(&connection_string(), Some("doors"))
        .await
        .unwrap();
    let start = producer.get_partition_properties("0").await.unwrap().last_enqueued_sequence_number;
    let to_zero = SendEventOptions { partition_id: Some("0".to_owned()) };
    producer.send_event("sealed", Some(to_zero)).await.unwrap();
    producer.close().await.unwrap();
    let consumer = ConsumerClient::builder()
        .with_transport(transport)
        .with_custom_endpoint(tls_endpoint())
        .with_retry_options(retries())
        .open_with_connection_string(&connection_string(), Some("doors"))
        .await
        .unwrap();
    assert_eq!(texts(&receive_with(consumer, "0", from(after(start)), 1).await), ["sealed"]);
}
