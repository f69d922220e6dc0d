"""Every way to send."""

import random

import pytest
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.eventhub.exceptions import EventDataSendError

from support import Reader, body, consumer, grown, producer, receive, round_trip, send, tail, tails

HUB = "sends"
PARTITIONS = ["0", "1", "2", "3"]

#: Keys and the partitions of four and of ten that Event Hubs' hash gives them.
KEYS = [("7", 3, 3), ("131", 2, 2), ("dev-1", 2, 4), ("device-0001", 2, 4), ("FWfAT", 1, 1)]


def test_a_batch_stays_together_and_in_order():
    before = tails(HUB)
    with producer(HUB) as client:
        batch = client.create_batch()
        for number in range(100):
            batch.add(EventData(f"event {number}"))
        client.send_batch(batch)
    [(partition, count)] = grown(HUB, before).items()
    assert count == 100
    events = receive(HUB, 100, partition, before[partition])
    assert [event.body_as_str() for event in events] == [f"event {number}" for number in range(100)]
    first = before[partition] + 1
    assert [event.sequence_number for event in events] == list(range(first, first + 100))
    offsets = [int(event.offset) for event in events]
    assert offsets == sorted(set(offsets))
    assert all(event.enqueued_time is not None for event in events)
    assert all(event.partition_key is None for event in events)


def test_a_batch_for_a_partition_goes_there():
    for partition in PARTITIONS:
        events = round_trip(HUB, [f"for {partition}", "another"], partition)
        assert [event.body_as_str() for event in events] == [f"for {partition}", "another"]


@pytest.mark.parametrize("hub, column", [("keys-of-four", 1), ("keys-of-ten", 2)])
def test_a_batch_with_a_key_goes_where_the_hash_says(hub, column):
    with producer(hub) as client:
        for key, *_ in KEYS:
            batch = client.create_batch(partition_key=key)
            batch.add(EventData("keyed"))
            batch.add(EventData("keyed too"))
            client.send_batch(batch)
    # These hubs are for this test alone.
    with Reader(hub, None) as reader:
        reader.wait_for(2 * len(KEYS))
    placed = {(event.partition_key.decode(), int(place)) for event, place in zip(reader.events, reader.places)}
    assert placed == {(key[0], key[column]) for key in KEYS}


def test_a_key_beyond_ascii_comes_back():
    before = tails(HUB)
    with producer(HUB) as client:
        client.send_batch([EventData("x")], partition_key="Gerät-Ω-機")
    [(partition, count)] = grown(HUB, before).items()
    assert count == 1
    [event] = receive(HUB, 1, partition, before[partition])
    assert event.partition_key.decode() == "Gerät-Ω-機"


def test_batches_without_a_partition_go_round():
    before = tails(HUB)
    with producer(HUB) as client:
        for number in range(8):
            client.send_batch([EventData(str(number))])
    got = grown(HUB, before)
    assert sum(got.values()) == 8
    assert set(got) == set(PARTITIONS), got


def test_a_list_of_events_is_sent_as_one_batch():
    before = tails(HUB)
    with producer(HUB) as client:
        client.send_batch([EventData(b"a"), EventData(b"b")], partition_id="1")
    assert grown(HUB, before) == {"1": 2}


def test_single_events_are_sent_each_way():
    before = tails(HUB)
    with producer(HUB) as client:
        client.send_event(EventData("to any"))
        client.send_event(EventData("to 3"), partition_id="3")
        client.send_event(EventData("with a key"), partition_key="FWfAT")
    got = grown(HUB, before)
    assert sum(got.values()) == 3
    read = {}
    for partition, count in got.items():
        for event in receive(HUB, count, partition, before[partition]):
            read[event.body_as_str()] = (partition, event.partition_key)
    assert read["to 3"] == ("3", None)
    assert read["with a key"] == ("1", b"FWfAT")
    assert read["to any"][1] is None


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


def test_many_events_come_to_one_reader_while_they_are_sent():
    start = tail(HUB, "0")
    with Reader(HUB, "0", start, prefetch=1000) as reader, producer(HUB) as client:
        for hundred in range(50):
            client.send_batch([EventData(f"{hundred}/{number}") for number in range(100)], partition_id="0")
        events = reader.wait_for(5000)
    assert [event.body_as_str() for event in events] == [f"{h}/{n}" for h in range(50) for n in range(100)]
    assert [event.sequence_number for event in events] == list(range(start + 1, start + 5001))


def test_what_was_sent_is_what_the_partition_says():
    start = send(HUB, ["one", "two"], "3")
    [_, last] = receive(HUB, 2, "3", start)
    with consumer(HUB) as client:
        partition = client.get_partition_properties("3")
    assert partition["is_empty"] is False
    assert partition["last_enqueued_sequence_number"] == last.sequence_number
    assert partition["last_enqueued_offset"] == last.offset
    assert partition["last_enqueued_time_utc"] == last.enqueued_time
