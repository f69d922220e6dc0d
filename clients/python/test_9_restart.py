"""The server ends in the middle of everything and comes back: the clients go on, and nothing acknowledged is lost."""

import threading

import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import EventHubError

from support import RESTARTED, Reader, producer, receive, running, tail, until

HUB = "restarts"
#: A client that tries again soon and long enough.
PATIENT = {"retry_total": 20, "retry_backoff_factor": 0.1, "retry_backoff_max": 1}


@pytest.mark.parametrize("ending, partition", [("kill", "0"), ("stop", "1")])
def test_nothing_acknowledged_is_lost_and_readers_go_on(server, ending, partition):
    start = tail(HUB, partition, RESTARTED)
    acknowledged = []
    enough = threading.Event()

    def keep_sending():
        number = 0
        with producer(HUB, RESTARTED, **PATIENT) as client:
            while not enough.is_set():
                try:
                    client.send_batch([EventData(str(number))], partition_id=partition)
                except EventHubError:
                    continue  # Not acknowledged: sent again, under the same number.
                acknowledged.append(number)
                number += 1

    with Reader(HUB, partition, start, RESTARTED, client_options=PATIENT) as reader:
        with running(keep_sending):
            try:
                for _ in range(3):
                    before = len(acknowledged)
                    until("sending goes on", lambda: len(acknowledged) >= before + 20)
                    getattr(server, ending)()
                    server.start()
                before = len(acknowledged)
                until("sending goes on", lambda: len(acknowledged) >= before + 20)
            finally:
                enough.set()
        stored = receive(HUB, tail(HUB, partition, RESTARTED) - start, partition, start, connection_string=RESTARTED)
        # The reader that was there all the time has seen each event once, in order.
        lived_through = reader.wait_for(len(stored))
    numbers = [int(event.body_as_str()) for event in stored]
    # Everything acknowledged is there, in its order. An event may be there twice: when the server ended between storing it
    # and saying so.
    assert sorted(set(numbers)) == list(range(len(acknowledged)))
    assert numbers == sorted(numbers)
    sequence_numbers = [event.sequence_number for event in stored]
    assert sequence_numbers == list(range(start + 1, start + 1 + len(stored)))
    assert [event.sequence_number for event in lived_through] == sequence_numbers


def test_a_buffered_producer_lives_through_a_restart(server):
    start = tail(HUB, "2", RESTARTED)
    lock = threading.Lock()
    sent, failed = [], []

    def on_success(events, partition):
        with lock:
            sent.extend(event.body_as_str() for event in events)

    def on_error(events, partition, error):
        with lock:
            failed.extend(event.body_as_str() for event in events)

    with producer(
        HUB, RESTARTED, buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=0.2, **PATIENT
    ) as client:
        for number in range(100):
            client.send_event(EventData(f"before {number}"), partition_id="2")
        until("the first are sent", lambda: len(sent) >= 1)
        server.kill()
        for number in range(100):
            client.send_event(EventData(f"after {number}"), partition_id="2")
        server.start()
        client.flush(timeout=90)
    assert not failed
    assert len(sent) == 200
    stored = {event.body_as_str() for event in receive(HUB, tail(HUB, "2", RESTARTED) - start, "2", start, connection_string=RESTARTED)}
    assert stored == set(sent)


def test_a_client_that_was_idle_over_the_restart_works_on(server):
    start = tail(HUB, "3", RESTARTED)
    with producer(HUB, RESTARTED, **PATIENT) as client:
        client.send_batch([EventData("before")], partition_id="3")
        server.kill()
        server.start()
        client.send_batch([EventData("after")], partition_id="3")
        assert client.get_partition_ids() == ["0", "1", "2", "3"]
    assert [event.body_as_str() for event in receive(HUB, 2, "3", start, connection_string=RESTARTED)] == ["before", "after"]
