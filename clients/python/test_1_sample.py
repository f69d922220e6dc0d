"""What the client's own page shows, as it stands there: send a batch, receive with the default group."""

import threading

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient

from support import CONNECTION_STRING, PATIENCE


def test_the_sample_of_the_client_works():
    # As the client's page has it: the hub is in the connection string.
    connection_str = f"{CONNECTION_STRING};EntityPath=sample"

    producer = EventHubProducerClient.from_connection_string(connection_str)
    with producer:
        event_data_batch = producer.create_batch()
        event_data_batch.add(EventData("First event"))
        event_data_batch.add(EventData("Second event"))
        event_data_batch.add(EventData("Third event"))
        producer.send_batch(event_data_batch)

    received = []
    enough = threading.Event()

    def on_event(partition_context, event):
        received.append(event.body_as_str())
        partition_context.update_checkpoint(event)
        if len(received) == 3:
            enough.set()

    client = EventHubConsumerClient.from_connection_string(connection_str, consumer_group="$Default")
    with client:
        worker = threading.Thread(
            target=client.receive, kwargs={"on_event": on_event, "starting_position": "-1"}, daemon=True
        )
        worker.start()
        assert enough.wait(PATIENCE), received
    worker.join(PATIENCE)
    assert received == ["First event", "Second event", "Third event"]


def test_the_hub_and_its_partitions_are_described():
    connection_str = f"{CONNECTION_STRING};EntityPath=telemetry"
    with EventHubConsumerClient.from_connection_string(connection_str, consumer_group="$Default") as client:
        hub = client.get_eventhub_properties()
        assert hub["eventhub_name"] == "telemetry"
        assert hub["partition_ids"] == ["0", "1", "2", "3"] == client.get_partition_ids()
        assert hub["created_at"].year >= 2024
    with EventHubConsumerClient.from_connection_string(
        CONNECTION_STRING, consumer_group="$Default", eventhub_name="empty"
    ) as client:
        partition = client.get_partition_properties("0")
        assert partition["eventhub_name"] == "empty"
        assert partition["id"] == "0"
        assert partition["is_empty"] is True
        assert partition["beginning_sequence_number"] == 0
        assert partition["last_enqueued_sequence_number"] == -1
        assert partition["last_enqueued_offset"] == "-1"
