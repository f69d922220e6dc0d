//! What the client's own sample does: one event to a partition and back, authorised by a connection string.

use azure_core::Uuid;
use azure_messaging_eventhubs::{
    ConsumerClient, OpenReceiverOptions, ProducerClient, SendEventOptions, StartLocation, StartPosition,
};
use futures::StreamExt as _;
use tidegate_client_rust::{connection_string, consumer, endpoint, run};

#[test]
fn the_sample_of_the_client_works() {
    run("sample", async {
        let connection_string = format!("{};EntityPath=sample", connection_string());
        let producer = ProducerClient::builder()
            .with_custom_endpoint(endpoint())
            .open_with_connection_string(&connection_string, None)
            .await
            .unwrap();

        let properties = producer.get_eventhub_properties().await.unwrap();
        let partition_id = properties.partition_ids[0].clone();
        let before = producer.get_partition_properties(&partition_id).await.unwrap();
        let start_sequence = before.last_enqueued_sequence_number;

        let marker = Uuid::new_v4().to_string();
        producer
            .send_event(marker.clone(), Some(SendEventOptions { partition_id: Some(partition_id.clone()) }))
            .await
            .unwrap();

        let consumer = ConsumerClient::builder()
            .with_custom_endpoint(endpoint())
            .open_with_connection_string(&connection_string, None)
            .await
            .unwrap();
        let receiver = consumer
            .open_receiver_on_partition(
                partition_id,
                Some(OpenReceiverOptions {
                    start_position: Some(StartPosition {
                        location: StartLocation::SequenceNumber(start_sequence),
                        inclusive: false,
                    }),
                    ..Default::default()
                }),
            )
            .await
            .unwrap();
        {
            let mut stream = receiver.stream_events();
            let event = stream.next().await.unwrap().unwrap();
            assert_eq!(event.event_data().body(), Some(marker.as_bytes()));
        }
        receiver.close().await.unwrap();
        consumer.close().await.unwrap();
        producer.close().await.unwrap();
    });
}

#[test]
fn the_hub_and_its_partitions_are_described() {
    run("empty", async {
        let client = consumer("telemetry").await;
        let hub = client.get_eventhub_properties().await.unwrap();
        assert_eq!(hub.name, "telemetry");
        assert_eq!(hub.partition_ids, ["0", "1", "2", "3"]);
        assert!(hub.created_on.is_some());
        client.close().await.unwrap();

        let client = consumer("empty").await;
        let partition = client.get_partition_properties("0").await.unwrap();
        assert_eq!((&*partition.eventhub, &*partition.id), ("empty", "0"));
        assert!(partition.is_empty);
        assert_eq!(partition.beginning_sequence_number, 0);
        assert_eq!(partition.last_enqueued_sequence_number, -1);
        assert_eq!(partition.last_enqueued_offset, "-1");
        client.close().await.unwrap();
    });
}
