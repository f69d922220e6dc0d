"""What is not there, and how the client tells it."""

import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from support import consumer, producer, reading_fails, sending

HUB = "telemetry"


def test_an_unknown_hub():
    # The client says so of every token that is not taken; the status and the text tell it from a wrong key.
    with pytest.raises(AuthenticationError) as refused:
        sending("nowhere")
    assert "404" in str(refused.value) and "'nowhere' could not be found" in str(refused.value)
    with consumer("nowhere") as client, pytest.raises(EventHubError):
        client.get_eventhub_properties()
    assert isinstance(reading_fails("nowhere"), EventHubError)


def test_an_unknown_partition():
    # Where it sends and reads, this client looks at the list of partitions by itself.
    with producer(HUB) as client, pytest.raises(EventHubError):
        client.send_batch([EventData("x")], partition_id="99")
    with consumer(HUB) as client, pytest.raises(EventHubError) as refused:
        client.get_partition_properties("99")
    # The description it does not find where it looks for it.
    assert "Status code: 400" in str(refused.value)
    assert isinstance(reading_fails(HUB, partition="99"), ValueError)


def test_an_unknown_consumer_group():
    error = reading_fails(HUB, group="nobodys")
    assert "not-found" in str(error) + repr(error)
