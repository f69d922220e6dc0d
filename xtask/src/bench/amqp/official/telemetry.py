"""Sends and receives 200-byte events as a program of the official Python client does, and prints the rates."""

import json
import os
import threading
import time

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient

CONNECTION = os.environ["TIDEGATE_CONNECTION_STRING"]
HUB = os.environ["TIDEGATE_HUB"]
PARTITION = "0"
BATCH = 500
EVENTS = 50_000
BODY = json.dumps({"deviceId": "device-0000001", "note": "x" * 160}).encode()

with EventHubProducerClient.from_connection_string(CONNECTION, eventhub_name=HUB) as producer:
    before = producer.get_partition_properties(PARTITION)["last_enqueued_sequence_number"]
    began = None
    for number in range(1 + EVENTS // BATCH):
        batch = producer.create_batch(partition_id=PARTITION)
        for _ in range(BATCH):
            batch.add(EventData(BODY))
        producer.send_batch(batch)
        # The first one pays for the connection.
        began = began or time.monotonic()
    sent_per_s = EVENTS / (time.monotonic() - began)

received = 0
first = None
rate = 0.0
done = threading.Event()


def on_batch(_context, events):
    global received, first, rate
    first = first or time.monotonic()
    received += len(events)
    if received >= EVENTS and not done.is_set():
        rate = received / (time.monotonic() - first)
        done.set()


consumer = EventHubConsumerClient.from_connection_string(CONNECTION, "$Default", eventhub_name=HUB)
options = {"partition_id": PARTITION, "starting_position": str(before) if before >= 0 else "-1"}
receiving = {"on_event_batch": on_batch, "prefetch": 3000, "max_batch_size": 3000, **options}
thread = threading.Thread(target=lambda: consumer.receive_batch(**receiving), daemon=True)
thread.start()
done.wait(120)
consumer.close()
print(json.dumps({"name": "Python, one process", "sent_per_s": sent_per_s, "received_per_s": rate}))
