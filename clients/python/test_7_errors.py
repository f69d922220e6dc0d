"""What is refused, and how the client tells it."""

import base64
import hashlib
import hmac
import time
import urllib.parse

import pytest
from azure.core.credentials import AzureSasCredential
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from support import (
    CONNECTION_STRING,
    KEYS,
    Reader,
    consumer,
    field,
    producer,
    send,
    tails,
    with_key,
    with_signature,
)

HUB = "telemetry"


def token(hub, key_name=None, key=None, valid_for=600):
    """A shared access signature, as the client makes it."""
    key_name = key_name or field("SharedAccessKeyName")
    key = key or field("SharedAccessKey")
    resource = urllib.parse.quote_plus(f"{field('Endpoint').rstrip('/')}/{hub}")
    expiry = int(time.time()) + valid_for
    digest = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote_plus(base64.b64encode(digest))
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={key_name}"


def sending(connection_string, hub=HUB, **options):
    with producer(hub, connection_string, **options) as client:
        client.send_batch([EventData("x")])


def reading_fails(connection_string=CONNECTION_STRING, hub=HUB, partition="0", group="$Default"):
    # With tries left this client tries for ever (it says so itself, beside its `EventHubConsumer.receive`).
    options = {"retry_total": 0}
    with Reader(
        hub, partition, connection_string=connection_string, group=group, client_options=options
    ) as reader:
        reader.wait("a refusal", lambda: reader.errors or reader.events)
        assert not reader.events
        return reader.errors[0]


def test_a_wrong_key():
    with pytest.raises(AuthenticationError):
        sending(with_key(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk="))
    assert isinstance(reading_fails(with_key(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk=")), AuthenticationError)
    with consumer(HUB, with_key(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk=")) as client:
        with pytest.raises(AuthenticationError):
            client.get_partition_ids()


def test_an_unknown_key_name():
    with pytest.raises(AuthenticationError):
        sending(with_key("nobody", field("SharedAccessKey")))


def test_a_key_that_may_not_send_and_one_that_may_not_listen():
    sends, listens = with_key("only-sends", KEYS["only-sends"]), with_key("only-listens", KEYS["only-listens"])
    sending(sends)
    with pytest.raises(EventHubError):
        sending(listens)
    start = send(HUB, ["readable"])
    with Reader(HUB, "0", start, connection_string=listens) as reader:
        reader.wait_for(1)
    assert "amqp:unauthorized-access" in str(reading_fails(sends))


def test_a_key_of_another_hub():
    only = with_key("only-one-hub", KEYS["only-one-hub"])
    sending(only)
    with pytest.raises(EventHubError):
        sending(only, hub="positions")


def test_a_token_made_before():
    sending(with_signature(token(HUB)))
    endpoint = field("Endpoint").removeprefix("sb://").rstrip("/")
    client = EventHubProducerClient(
        endpoint, HUB, AzureSasCredential(token(HUB)), use_tls=False, custom_endpoint_address=None
    )
    with client:
        client.send_batch([EventData("with a credential")])


def test_a_token_that_has_ended():
    with pytest.raises(AuthenticationError):
        sending(with_signature(token(HUB, valid_for=-60)))


def test_a_token_of_another_hub():
    with pytest.raises(EventHubError):
        sending(with_signature(token("positions")))


def test_an_unknown_hub():
    # The client says so of every token that is not taken; the status and the text tell it from a wrong key.
    with pytest.raises(AuthenticationError) as refused:
        sending(CONNECTION_STRING, hub="nowhere")
    assert "404" in str(refused.value) and "'nowhere' could not be found" in str(refused.value)
    with consumer("nowhere") as client, pytest.raises(EventHubError):
        client.get_eventhub_properties()
    assert isinstance(reading_fails(hub="nowhere"), EventHubError)


def test_an_unknown_partition():
    # Where it sends and reads, this client looks at the list of partitions by itself.
    with producer(HUB) as client, pytest.raises(EventHubError):
        client.send_batch([EventData("x")], partition_id="99")
    with consumer(HUB) as client, pytest.raises(EventHubError) as refused:
        client.get_partition_properties("99")
    # The description it does not find where it looks for it.
    assert "Status code: 400" in str(refused.value)
    assert isinstance(reading_fails(partition="99"), ValueError)


def test_an_unknown_consumer_group():
    error = reading_fails(group="nobodys")
    assert "not-found" in str(error) + repr(error)


def test_after_a_refusal_nothing_was_stored():
    before = tails(HUB, "0123")
    for connection_string in (with_key("nobody", "x"), with_key("only-listens", KEYS["only-listens"])):
        with pytest.raises(EventHubError):
            sending(connection_string)
    assert tails(HUB, "0123") == before
