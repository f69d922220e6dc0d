"""What is sent, from nothing to the largest that is taken."""

import random

import pytest
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.eventhub.exceptions import EventDataSendError

from support import body, producer, receive, round_trip, tail

HUB = "bodies"


@pytest.mark.parametrize("way", ["alone", "in a batch"])
def test_each_kind_of_body_comes_back(way):
    value = {b"text": b"a", b"number": 7, b"list": [1, 2.5, True, None]}
    messages = [
        AmqpAnnotatedMessage(data_body=[b"one section", b"and another"]),
        AmqpAnnotatedMessage(value_body=value),
        AmqpAnnotatedMessage(value_body="only text"),
        AmqpAnnotatedMessage(sequence_body=[[1, 2, 3], [b"four", True]]),
    ]
    start = tail(HUB, "0")
    with producer(HUB) as client:
        if way == "alone":
            for message in messages:
                client.send_event(message, partition_id="0")
        else:
            client.send_batch(messages, partition_id="0")
    data, mapped, text, sequence = receive(HUB, 4, "0", start)
    assert data.body_type == AmqpMessageBodyType.DATA
    assert list(data.body) == [b"one section", b"and another"]
    assert mapped.body_type == AmqpMessageBodyType.VALUE
    assert mapped.body == value
    assert text.body == b"only text"
    assert sequence.body_type == AmqpMessageBodyType.SEQUENCE
    assert [list(section) for section in sequence.body] == [[1, 2, 3], [b"four", True]]


def test_any_bytes_come_back_and_none_too():
    bytes_of_all_values = bytes(range(256)) * 5
    events = round_trip(HUB, [EventData(b""), EventData(bytes_of_all_values), EventData("ümläut")])
    assert body(events[0]) == b""
    assert body(events[1]) == bytes_of_all_values
    assert events[2].body_as_str() == "ümläut"


def test_a_batch_filled_to_the_brim_arrives_whole():
    chance = random.Random(7)
    start = tail(HUB, "2")
    sent = []
    with producer(HUB) as client:
        batch = client.create_batch(partition_id="2")
        while True:
            content = chance.randbytes(chance.randrange(1, 5000))
            try:
                batch.add(EventData(content))
            except ValueError:
                break
            sent.append(content)
        assert batch.size_in_bytes > 1_000_000
        client.send_batch(batch)
    assert [body(event) for event in receive(HUB, len(sent), "2", start)] == sent


def test_a_large_event_comes_back_and_a_too_large_one_is_refused():
    chance = random.Random(8)
    large = chance.randbytes(900_000)
    start = tail(HUB, "1")
    with producer(HUB) as client:
        client.send_event(EventData(large), partition_id="1")
        with pytest.raises(EventDataSendError) as refused:
            client.send_event(EventData(chance.randbytes(1_200_000)), partition_id="1")
        assert "LinkMessageSizeExceeded" in str(refused.value)
        # The producer works on.
        client.send_event(EventData("small again"), partition_id="1")
    events = receive(HUB, 2, "1", start)
    assert body(events[0]) == large
    assert body(events[1]) == b"small again"
    assert tail(HUB, "1") == start + 2
