"""Properties and annotations of all types come back as they were sent."""

import datetime
import json
import urllib.request
import uuid

import pytest
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpAnnotatedMessage

from support import HTTP, field, producer, receive, round_trip, tail

HUB = "properties"
MOMENT = datetime.datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=datetime.timezone.utc)
IN_MILLISECONDS = 1770091506789
UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")

# The client encodes text as strings and reads strings as bytes; times come back as milliseconds. Decimals are not here: the
# client cannot read what it wrote.
VALUES = {
    "text": ("some text", b"some text"),
    "beyond ascii": ("Ω 機 😀", "Ω 機 😀".encode()),
    "empty": ("", b""),
    "long text": ("x" * 70_000, b"x" * 70_000),
    "binary": (b"\x00\xff\x01", b"\x00\xff\x01"),
    "true": (True, True),
    "false": (False, False),
    "zero": (0, 0),
    "small": (-7, -7),
    "big": (2**31 - 1, 2**31 - 1),
    "low": (-(2**31), -(2**31)),
    "float": (2.5, 2.5),
    "tiny": (5e-324, 5e-324),
    "infinite": (float("inf"), float("inf")),
    "uuid": (UUID, UUID),
    "moment": (MOMENT, IN_MILLISECONDS),
    "nothing": (None, None),
}


@pytest.mark.parametrize("way", ["alone", "in a batch"])
def test_application_properties_of_all_types(way):
    sent = EventData("with properties")
    sent.properties = {name: value for name, (value, _) in VALUES.items()}
    if way == "alone":
        start = tail(HUB, "0")
        with producer(HUB) as client:
            client.send_event(sent, partition_id="0")
        [event] = receive(HUB, 1, "0", start)
    else:
        [event] = round_trip(HUB, [sent])
    got = dict(event.properties)
    for name, (_, expected) in VALUES.items():
        assert got.pop(name.encode()) == expected, name
    assert not got


def test_names_of_any_kind():
    sent = EventData("x")
    sent.properties = {"Ω": 1, "": 2, "with blank": 3, "n" * 1000: 4}
    [event] = round_trip(HUB, [sent])
    assert event.properties == {"Ω".encode(): 1, b"": 2, b"with blank": 3, b"n" * 1000: 4}


def test_the_properties_of_the_event_itself():
    sent = EventData("x")
    sent.message_id = "the id"
    sent.correlation_id = "the cause"
    sent.content_type = "application/json"
    [event] = round_trip(HUB, [sent])
    assert (event.message_id, event.correlation_id, event.content_type) in (
        ("the id", "the cause", "application/json"),
        (b"the id", b"the cause", b"application/json"),
    )
    assert event.system_properties[b"message-id"] in (b"the id", "the id")
    assert event.system_properties[b"x-opt-sequence-number"] == event.sequence_number


@pytest.mark.parametrize("way", ["alone", "in a batch"])
def test_every_section_of_a_message(way):
    properties = {
        "message_id": UUID,
        "user_id": b"somebody",
        "to": b"somewhere",
        "subject": b"about",
        "reply_to": b"there",
        "correlation_id": 12345678901234,
        "content_type": b"text/plain",
        "content_encoding": b"gzip",
        "absolute_expiry_time": IN_MILLISECONDS,
        "creation_time": IN_MILLISECONDS + 1,
        "group_id": b"group",
        "group_sequence": 17,
        "reply_to_group_id": b"reply group",
    }
    message = AmqpAnnotatedMessage(
        data_body=b"body",
        header={"durable": True, "priority": 7, "time_to_live": 60_000},
        properties=properties,
        application_properties={"p": 1},
        annotations={"x-own": "kept", "x-number": 5},
        footer={"checksum": 99},
    )
    start = tail(HUB, "0")
    with producer(HUB) as client:
        if way == "alone":
            client.send_event(message, partition_id="0")
        else:
            client.send_batch([message], partition_id="0")
    [event] = receive(HUB, 1, "0", start)
    got = event.raw_amqp_message
    for name, value in properties.items():
        assert getattr(got.properties, name) == value, name
    assert got.application_properties == {b"p": 1}
    assert got.annotations[b"x-own"] == b"kept"
    assert got.annotations[b"x-number"] == 5
    assert got.footer == {b"checksum": 99}


def test_an_event_may_not_take_the_server_s_annotations():
    """What a sender writes where the server writes is not believed."""
    message = AmqpAnnotatedMessage(
        data_body=b"liar", annotations={"x-opt-sequence-number": 123456, "x-opt-offset": "77", "x-opt-enqueued-time": 5}
    )
    start = tail(HUB, "0")
    with producer(HUB) as client:
        client.send_event(message, partition_id="0")
    [event] = receive(HUB, 1, "0", start)
    assert event.sequence_number == start + 1
    assert event.offset != "77"
    assert event.enqueued_time.year >= 2024


def test_an_event_of_the_http_door_reads_the_same():
    start = tail(HUB, "2")
    request = urllib.request.Request(
        f"{HTTP}/{HUB}/messages",
        data=b'{"altitude": 7}',
        headers={
            "Authorization": f"Bearer {field('SharedAccessKey')}",
            "Content-Type": "application/json",
            "BrokerProperties": json.dumps({"PartitionKey": "dev-1", "MessageId": "m1"}),
            "Priority": "\"high\"",
        },
        method="POST",
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
    [event] = receive(HUB, 1, "2", start)
    assert event.body_as_json() == {"altitude": 7}
    assert event.partition_key == b"dev-1"
    assert event.content_type in ("application/json", b"application/json")


def test_the_server_says_that_it_is_well():
    with urllib.request.urlopen(f"{HTTP}/health") as answer:
        assert answer.status == 200
