"""Receiving from every position."""

import datetime
import threading

import pytest
from azure.eventhub import EventData

from support import PATIENCE, Reader, consumer, producer, receive, running, send, tail

HUB = "positions"


@pytest.fixture(scope="module")
def events():
    """The events of partition 0, in which at least two moments differ."""
    for number in range(5):
        send(HUB, [f"event {number}"])
    found = receive(HUB, tail(HUB, "0") + 1)
    while found[-1].enqueued_time == found[0].enqueued_time:
        send(HUB, ["another"])
        found = receive(HUB, tail(HUB, "0") + 1)
    assert [event.sequence_number for event in found] == list(range(len(found)))
    return found


def numbers(events):
    return [event.sequence_number for event in events]


def test_from_the_start(events):
    assert numbers(receive(HUB, len(events), position="-1")) == numbers(events)


@pytest.mark.parametrize("inclusive", [False, True])
def test_from_an_offset(events, inclusive):
    found = receive(HUB, 2, position=events[1].offset, starting_position_inclusive=inclusive)
    assert numbers(found) == ([1, 2] if inclusive else [2, 3])


@pytest.mark.parametrize("inclusive", [False, True])
def test_from_a_sequence_number(events, inclusive):
    found = receive(HUB, 2, position=2, starting_position_inclusive=inclusive)
    assert numbers(found) == ([2, 3] if inclusive else [3, 4])


@pytest.mark.parametrize("inclusive", [False, True])
def test_from_a_time(events, inclusive):
    time = events[0].enqueued_time
    after = [event for event in events if (event.enqueued_time >= time if inclusive else event.enqueued_time > time)]
    found = receive(HUB, len(after), position=time, starting_position_inclusive=inclusive)
    assert numbers(found) == numbers(after)


def test_from_a_time_long_ago(events):
    time = datetime.datetime(2001, 2, 3, tzinfo=datetime.timezone.utc)
    assert numbers(receive(HUB, len(events), position=time)) == numbers(events)


def test_only_what_is_new(events):
    with Reader(HUB, position="@latest") as reader:
        stop = threading.Event()

        def keep_sending():
            with producer(HUB) as client:
                # Not more often: this client hands nothing on while events keep coming one by one.
                while not stop.wait(0.5):
                    client.send_batch([EventData("new")], partition_id="0")

        with running(keep_sending):
            try:
                found = reader.wait_for(2)[:2]
            finally:
                stop.set()
    first = found[0].sequence_number
    assert first > events[-1].sequence_number
    assert numbers(found) == [first, first + 1]


def test_from_behind_the_end_it_waits_for_what_comes(events):
    last = tail(HUB, "0")
    with Reader(HUB, position=last) as reader:
        send(HUB, ["just now"])
        [found] = reader.wait_for(1)
    assert found.sequence_number == last + 1


def test_all_partitions_at_once_each_from_its_own_position():
    starts = {partition: send(HUB, [f"a{partition}", f"b{partition}"], partition) for partition in "0123"}
    inclusive = {partition: False for partition in "0123"}
    with Reader(HUB, None, starts, starting_position_inclusive=inclusive) as reader:
        found = reader.wait_for(8)
    for partition in "0123":
        own = [event.body_as_str() for event in found if event.body_as_str().endswith(partition)]
        assert own == [f"a{partition}", f"b{partition}"]


def test_in_batches(events):
    found, sizes = [], []
    enough = threading.Event()

    def on_batch(context, batch):
        found.extend(numbers(batch))
        sizes.append(len(batch))
        if len(found) >= 5:
            enough.set()

    client = consumer(HUB)
    with running(
        lambda: client.receive_batch(on_batch, partition_id="0", starting_position="-1", max_batch_size=2)
    ):
        assert enough.wait(PATIENCE), found
        client.close()
    assert found[:5] == [0, 1, 2, 3, 4]
    assert max(sizes) <= 2


def test_silence_is_told():
    """With a wait time, a client is called without an event when there is none."""
    with Reader("empty", "0", "-1", max_wait_time=1) as reader:
        reader.wait("a call without an event", lambda: reader.events or reader.errors)
    assert set(reader.events) == {None}


def test_one_event_of_credit_at_a_time(events):
    assert numbers(receive(HUB, 5, prefetch=1)) == [0, 1, 2, 3, 4]


def test_the_end_of_the_partition_comes_with_each_event(events):
    last = tail(HUB, "0")
    seen = []
    enough = threading.Event()

    def on_event(context, event):
        seen.append((event.sequence_number, context.last_enqueued_event_properties))
        enough.set()

    client = consumer(HUB)
    with running(
        lambda: client.receive(
            on_event, partition_id="0", starting_position="-1", track_last_enqueued_event_properties=True
        )
    ):
        assert enough.wait(PATIENCE)
        client.close()
    properties = seen[0][1]
    [end] = receive(HUB, 1, position=last, starting_position_inclusive=True)
    assert properties["sequence_number"] == last
    assert properties["offset"] in (end.offset, end.offset.encode())
    assert properties["enqueued_time"] == end.enqueued_time
    assert properties["retrieval_time"] is not None


def test_readers_of_one_partition_do_not_disturb_each_other(events):
    with Reader(HUB) as first, Reader(HUB) as second, Reader(HUB) as third:
        for reader in (first, second, third):
            assert numbers(reader.wait_for(5)[:5]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("group", ["second", "SECOND", "$default"])
def test_another_group_reads_the_same_and_its_name_has_no_case(events, group):
    assert numbers(receive(HUB, 2, group=group)) == [0, 1]
