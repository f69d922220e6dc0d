"""The other ways in: TLS, and AMQP through WebSockets."""

import asyncio
import os
import urllib.parse

import pytest
from azure.eventhub import EventData, TransportType
from azure.eventhub.aio import EventHubProducerClient as AsyncProducerClient

from support import CONNECTION_STRING, HTTP, RETRIES, body, consumer, field, producer, receive, tail, Reader

HUB = "doors"


def send_and_receive(connection_string, options, texts):
    with consumer(HUB, connection_string, **options) as client:
        start = client.get_partition_properties("0")["last_enqueued_sequence_number"]
    with producer(HUB, connection_string, **options) as client:
        assert client.get_partition_ids() == ["0", "1", "2", "3"]
        client.send_batch([EventData(text) for text in texts], partition_id="0")
    with Reader(HUB, "0", start, connection_string, client_options=options) as reader:
        assert [event.body_as_str() for event in reader.wait_for(len(texts))] == texts


def test_tls():
    # Without a custom endpoint this client takes no other port than 5671.
    options = {
        "custom_endpoint_address": f"sb://{os.environ['TIDEGATE_TLS']}",
        "transport_type": TransportType.Amqp,
        "connection_verify": os.environ["TIDEGATE_CERTIFICATE"],
    }
    connection_string = CONNECTION_STRING.replace("UseDevelopmentEmulator=true", "UseDevelopmentEmulator=false")
    send_and_receive(connection_string, options, ["sealed", "x" * 300_000])


@pytest.mark.parametrize("door", ["AMQP", "HTTP"])
def test_web_sockets(door):
    address = f"sb://{urllib.parse.urlparse(HTTP).netloc}" if door == "HTTP" else field("Endpoint")
    # Without a custom endpoint it takes no other port than those of the web.
    options = {"transport_type": TransportType.AmqpOverWebsocket, "custom_endpoint_address": address}
    send_and_receive(CONNECTION_STRING, options, ["small", "x" * 900_000])


def test_web_sockets_of_the_asynchronous_client():
    async def work():
        client = AsyncProducerClient.from_connection_string(
            CONNECTION_STRING,
            eventhub_name=HUB,
            transport_type=TransportType.AmqpOverWebsocket,
            custom_endpoint_address=field("Endpoint"),
            **RETRIES,
        )
        async with client:
            await client.send_batch([EventData("asynchronous")], partition_id="0")

    start = tail(HUB, "0")
    asyncio.run(work())
    [event] = receive(HUB, 1, "0", start)
    assert body(event) == b"asynchronous"
