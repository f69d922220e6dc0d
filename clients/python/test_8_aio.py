"""The same with the asynchronous client."""

import asyncio

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError

from support import CONNECTION_STRING, PATIENCE, RETRIES, field, with_key

HUB = "asynchronous"


def producer(hub=HUB, connection_string=CONNECTION_STRING, **options):
    return EventHubProducerClient.from_connection_string(
        connection_string, eventhub_name=hub, **{**RETRIES, **options}
    )


def consumer(hub=HUB, connection_string=CONNECTION_STRING):
    return EventHubConsumerClient.from_connection_string(
        connection_string, "$Default", eventhub_name=hub, load_balancing_interval=600, **RETRIES
    )


async def tail(partition, hub=HUB):
    async with consumer(hub) as client:
        return (await client.get_partition_properties(partition))["last_enqueued_sequence_number"]


class Reader:
    """A consumer at work in a task."""

    def __init__(self, partition, position, hub=HUB, connection_string=CONNECTION_STRING, **options):
        self.events, self.errors = [], []
        self._told = asyncio.Condition()
        self._client = consumer(hub, connection_string)
        self._options = {"partition_id": partition, "starting_position": position, **options}

    async def _tell(self, where, what):
        async with self._told:
            where.append(what)
            self._told.notify_all()

    async def wait(self, condition):
        async with self._told:
            await asyncio.wait_for(self._told.wait_for(condition), PATIENCE)

    async def wait_for(self, count):
        await self.wait(lambda: len(self.events) >= count or self.errors)
        assert not self.errors, self.errors
        return self.events[:count]

    async def __aenter__(self):
        self._task = asyncio.create_task(
            self._client.receive(
                on_event=lambda context, event: self._tell(self.events, event),
                on_error=lambda context, error: self._tell(self.errors, error),
                **self._options,
            )
        )
        return self

    async def __aexit__(self, *exception):
        await self._client.close()
        # It would sleep until the next balancing.
        self._task.cancel()
        await asyncio.wait([self._task], timeout=PATIENCE)


def test_send_each_way_and_receive():
    async def work():
        start = await tail("1")
        async with producer() as client:
            batch = await client.create_batch(partition_id="1")
            batch.add(EventData("in a batch"))
            batch.add(EventData("beside it"))
            await client.send_batch(batch)
            await client.send_event(EventData("alone"), partition_id="1")
            await client.send_batch([EventData("keyed")], partition_key="FWfAT")
            await client.send_event(EventData("keyed alone"), partition_key="FWfAT")
        async with Reader("1", start) as reader:
            events = await reader.wait_for(5)
        texts = [event.body_as_str() for event in events]
        assert texts == ["in a batch", "beside it", "alone", "keyed", "keyed alone"]
        assert [event.sequence_number for event in events] == list(range(start + 1, start + 6))
        assert [event.partition_key for event in events] == [None, None, None, b"FWfAT", b"FWfAT"]

    asyncio.run(work())


def test_many_producers_at_once():
    async def work():
        start = await tail("2")

        async def send(name):
            async with producer() as client:
                for number in range(20):
                    await client.send_batch([EventData(f"{name} {number}")], partition_id="2")

        await asyncio.gather(*(send(name) for name in "abcde"))
        async with Reader("2", start) as reader:
            events = await reader.wait_for(100)
        for name in "abcde":
            own = [event.body_as_str() for event in events if event.body_as_str().startswith(name)]
            assert own == [f"{name} {number}" for number in range(20)]

    asyncio.run(work())


def test_buffered():
    async def work():
        sent, failed = [], []
        hub = "asynchronous-buffered"
        starts = {partition: await tail(partition, hub) for partition in "0123"}

        async def on_success(events, partition):
            sent.extend((event.body_as_str(), partition) for event in events)

        async def on_error(events, partition, error):
            failed.append(error)

        client = producer(hub, buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=1)
        async with client:
            for number in range(200):
                await client.send_event(EventData(f"async {number}"))
            await client.flush(timeout=PATIENCE)
        assert not failed
        assert len(set(sent)) == len(sent) == 200
        for partition in "0123":
            expected = [text for text, where in sent if where == partition]
            async with Reader(partition, starts[partition], hub) as reader:
                events = await reader.wait_for(len(expected)) if expected else []
            assert [event.body_as_str() for event in events] == expected

    asyncio.run(work())


def test_a_stolen_partition():
    async def work():
        start = await tail("3")
        async with producer() as client:
            await client.send_batch([EventData("x")], partition_id="3")
        async with Reader("3", start, owner_level=1) as first:
            await first.wait_for(1)
            async with Reader("3", start, owner_level=2) as second:
                await second.wait_for(1)
                await first.wait(lambda: first.errors)
                assert "amqp:link:stolen" in str(first.errors[0]) + repr(first.errors[0])

    asyncio.run(work())


def test_what_is_refused():
    async def work():
        async with producer(connection_string=with_key(field("SharedAccessKeyName"), "wrong")) as client:
            with pytest.raises(AuthenticationError):
                await client.send_batch([EventData("x")])
        async with producer("nowhere") as client:
            with pytest.raises(ConnectError):
                await client.send_batch([EventData("x")])
        async with Reader("99", "-1") as reader:
            await reader.wait(lambda: reader.errors)

    asyncio.run(work())
