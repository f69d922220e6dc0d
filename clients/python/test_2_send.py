"""Every way to send."""

from azure.eventhub import EventData

from support import Reader, consumer, grown, producer, receive, round_trip, send, tail, tails

HUB = "sends"
PARTITIONS = ["0", "1", "2", "3"]


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
