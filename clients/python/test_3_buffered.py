"""The producer that gathers events and sends them in the background."""

import threading

from azure.eventhub import EventData

from support import producer, receive, tail, tails

PARTITIONS = ["0", "1", "2", "3"]


def test_every_buffered_event_is_sent_once_and_told():
    starts = tails("buffered", PARTITIONS)
    lock = threading.Lock()
    sent, failed = [], []

    def on_success(events, partition):
        with lock:
            sent.extend((event.body_as_str(), partition) for event in events)

    def on_error(events, partition, error):
        with lock:
            failed.append(error)

    with producer(
        "buffered", buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=1, max_buffer_length=200
    ) as client:
        for number in range(400):
            client.send_event(EventData(f"any {number}"))
        for number in range(100):
            client.send_event(EventData(f"keyed {number}"), partition_key="dev-1")
        client.send_batch([EventData("placed 0"), EventData("placed 1")], partition_id="3")
        client.flush(timeout=45)
        assert client.total_buffered_event_count == 0
    assert not failed
    assert len(sent) == len(set(sent)) == 502

    read = []
    for partition in PARTITIONS:
        count = sum(1 for _, where in sent if where == partition)
        events = receive("buffered", count, partition, starts[partition])
        assert tail("buffered", partition) == starts[partition] + count
        read += [(event.body_as_str(), partition) for event in events]
    assert sorted(read) == sorted(sent)
    # Those of one key are in one partition and in their order.
    keyed = [(text, partition) for text, partition in read if text.startswith("keyed")]
    assert [text for text, _ in keyed] == [f"keyed {number}" for number in range(100)]
    assert len({partition for _, partition in keyed}) == 1
    placed = [(text, partition) for text, partition in read if text.startswith("placed")]
    assert placed == [("placed 0", "3"), ("placed 1", "3")]
