"""Who is refused, and how the client tells it."""

import base64
import hashlib
import hmac
import time
import urllib.parse

import pytest
from azure.core.credentials import AzureSasCredential
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from support import KEYS, Reader, consumer, field, reading_fails, send, sending, tails, with_key, with_signature

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


def test_a_wrong_key():
    with pytest.raises(AuthenticationError):
        sending(HUB, with_key(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk="))
    assert isinstance(reading_fails(HUB, with_key(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk=")), AuthenticationError)
    with consumer(HUB, with_key(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk=")) as client:
        with pytest.raises(AuthenticationError):
            client.get_partition_ids()


def test_an_unknown_key_name():
    with pytest.raises(AuthenticationError):
        sending(HUB, with_key("nobody", field("SharedAccessKey")))


def test_a_key_that_may_not_send_and_one_that_may_not_listen():
    sends, listens = with_key("only-sends", KEYS["only-sends"]), with_key("only-listens", KEYS["only-listens"])
    sending(HUB, sends)
    with pytest.raises(EventHubError):
        sending(HUB, listens)
    start = send(HUB, ["readable"])
    with Reader(HUB, "0", start, connection_string=listens) as reader:
        reader.wait_for(1)
    assert "amqp:unauthorized-access" in str(reading_fails(HUB, sends))


def test_a_key_of_another_hub():
    only = with_key("only-one-hub", KEYS["only-one-hub"])
    sending(HUB, only)
    with pytest.raises(EventHubError):
        sending("positions", only)


def test_a_token_made_before():
    sending(HUB, with_signature(token(HUB)))
    endpoint = field("Endpoint").removeprefix("sb://").rstrip("/")
    client = EventHubProducerClient(
        endpoint, HUB, AzureSasCredential(token(HUB)), use_tls=False, custom_endpoint_address=None
    )
    with client:
        client.send_batch([EventData("with a credential")])


def test_a_token_that_has_ended():
    with pytest.raises(AuthenticationError):
        sending(HUB, with_signature(token(HUB, valid_for=-60)))


def test_a_token_of_another_hub():
    with pytest.raises(EventHubError):
        sending(HUB, with_signature(token("positions")))


def test_after_a_refusal_nothing_was_stored():
    before = tails(HUB, "0123")
    for connection_string in (with_key("nobody", "x"), with_key("only-listens", KEYS["only-listens"])):
        with pytest.raises(EventHubError):
            sending(HUB, connection_string)
    assert tails(HUB, "0123") == before
