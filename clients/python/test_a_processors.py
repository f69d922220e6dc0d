"""Processors that share a hub through checkpoints and ownership in blobs."""

import asyncio
import threading
import uuid

import pytest
from azure.eventhub import EventData, EventHubConsumerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumerClient
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from azure.eventhub.extensions.checkpointstoreblob._vendor.storage.blob import ContainerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore as AsyncBlobCheckpointStore

from support import BLOBS, CONNECTION_STRING, PATIENCE, RETRIES, producer

PARTITIONS = ["0", "1", "2", "3"]


@pytest.fixture
def container():
    """A container for this test alone."""
    name = f"checkpoints-{uuid.uuid4()}"
    ContainerClient.from_connection_string(BLOBS, name).create_container()
    return name


def send_to_each(hub, texts):
    with producer(hub) as client:
        for partition in PARTITIONS:
            client.send_batch([EventData(text) for text in texts], partition_id=partition)


class Processor:
    """An asynchronous consumer that checkpoints every event."""

    def __init__(self, hub, container, told):
        self.partitions, self.events = set(), []
        self._told = told
        store = AsyncBlobCheckpointStore.from_connection_string(BLOBS, container)
        self._client = AsyncConsumerClient.from_connection_string(
            CONNECTION_STRING,
            "$Default",
            eventhub_name=hub,
            checkpoint_store=store,
            load_balancing_interval=1,
            partition_ownership_expiration_interval=6,
            **RETRIES,
        )
        self._task = asyncio.create_task(
            self._client.receive(
                on_event=self._on_event,
                on_partition_initialize=self._on_initialize,
                on_partition_close=self._on_close,
                starting_position="-1",
            )
        )

    async def _on_event(self, context, event):
        await context.update_checkpoint(event)
        self.events.append((context.partition_id, event.sequence_number, event.body_as_str()))
        await self._tell()

    async def _on_initialize(self, context):
        self.partitions.add(context.partition_id)
        await self._tell()

    async def _on_close(self, context, reason):
        self.partitions.discard(context.partition_id)
        await self._tell()

    async def _tell(self):
        async with self._told:
            self._told.notify_all()

    async def close(self):
        await self._client.close()
        await asyncio.wait([self._task], timeout=PATIENCE)


def test_two_processors_share_the_partitions_and_one_takes_over(container):
    async def work():
        told = asyncio.Condition()

        async def wait(what, condition):
            async with told:
                try:
                    await asyncio.wait_for(told.wait_for(condition), PATIENCE)
                except asyncio.TimeoutError:
                    raise AssertionError(f"{what} did not happen: {first.partitions} {second and second.partitions}")

        second = None
        send_to_each("processors", ["a"])
        first = Processor("processors", container, told)
        await wait("owning all", lambda: first.partitions == set(PARTITIONS))
        await wait("reading all", lambda: len(first.events) == 4)
        second = Processor("processors", container, told)
        await wait(
            "sharing", lambda: len(first.partitions) == len(second.partitions) == 2 and not first.partitions & second.partitions
        )
        send_to_each("processors", ["b"])
        await wait("reading what is new", lambda: len(first.events) + len(second.events) >= 8)
        await first.close()
        await wait("taking over", lambda: second.partitions == set(PARTITIONS))
        send_to_each("processors", ["c"])
        await wait("reading the rest", lambda: sum(text == "c" for _, _, text in second.events) >= 4)
        await second.close()
        # Every event was seen, and nothing that was checkpointed a second time.
        seen = first.events + second.events
        assert {(partition, text) for partition, _, text in seen} == {(p, t) for p in PARTITIONS for t in "abc"}
        assert len(seen) == len(set(seen))

    asyncio.run(work())


def test_the_synchronous_store_resumes_after_the_checkpoint(container):
    hub = "resumed"
    send_to_each(hub, ["one", "two", "three"])

    def read(count):
        """Reads so many events of each partition, and checkpoints the last of them."""
        counts, seen, enough = dict.fromkeys(PARTITIONS, 0), [], threading.Event()

        def on_event(context, event):
            id = context.partition_id
            if counts[id] == count:
                return
            counts[id] += 1
            seen.append((id, event.body_as_str()))
            if counts[id] == count:
                context.update_checkpoint(event)
            if all(got == count for got in counts.values()):
                enough.set()

        store = BlobCheckpointStore.from_connection_string(BLOBS, container)
        client = EventHubConsumerClient.from_connection_string(
            CONNECTION_STRING,
            "$Default",
            eventhub_name=hub,
            checkpoint_store=store,
            load_balancing_interval=1,
            **RETRIES,
        )
        thread = threading.Thread(
            target=client.receive,
            kwargs={"on_event": on_event, "starting_position": "-1"},
            daemon=True,
        )
        thread.start()
        came = enough.wait(PATIENCE)
        client.close()
        thread.join(PATIENCE)
        assert came, seen
        return sorted(seen)

    assert read(2) == sorted((id, text) for id in PARTITIONS for text in ("one", "two"))
    assert read(1) == [(id, "three") for id in PARTITIONS]
