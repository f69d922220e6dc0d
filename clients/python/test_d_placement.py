"""Where a key places its events."""

import pytest
from azure.eventhub import EventData

from support import Reader, producer

#: Keys and the partitions of four and of ten that Event Hubs' hash gives them.
KEYS = [("7", 3, 3), ("131", 2, 2), ("dev-1", 2, 4), ("device-0001", 2, 4), ("FWfAT", 1, 1)]


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
