"""What the tests share: where the server is, how it is ended and started, and how events are read to a certain count."""

import concurrent.futures
import contextlib
import json
import os
import socket
import threading
import time

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient

CONNECTION_STRING = os.environ["TIDEGATE_CONNECTION_STRING"]
RESTARTED = os.environ["TIDEGATE_RESTARTED"]
HTTP = os.environ["TIDEGATE_HTTP"]
BLOBS = os.environ["TIDEGATE_BLOBS"]
KEYS = json.loads(os.environ["TIDEGATE_KEYS"])

#: How long anything may take before it counts as not happening. Never waited for in full when all is well.
PATIENCE = 45

#: The client's own patience, so that a test that fails does so quickly.
RETRIES = {"retry_total": 4, "retry_backoff_factor": 0.2, "retry_backoff_max": 2}


def field(name, connection_string=CONNECTION_STRING):
    """A part of a connection string."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    return parts[name]


def with_key(name, value):
    """The connection string with another key."""
    return f"Endpoint={field('Endpoint')};SharedAccessKeyName={name};SharedAccessKey={value};UseDevelopmentEmulator=true"


def with_signature(token):
    """The connection string with a token instead of a key."""
    return f"Endpoint={field('Endpoint')};SharedAccessSignature={token};UseDevelopmentEmulator=true"


def producer(hub, connection_string=CONNECTION_STRING, **options):
    return EventHubProducerClient.from_connection_string(
        connection_string, eventhub_name=hub, **{**RETRIES, **options}
    )


def consumer(hub, connection_string=CONNECTION_STRING, group="$Default", **options):
    return EventHubConsumerClient.from_connection_string(
        connection_string, group, eventhub_name=hub, **{**RETRIES, **options}
    )


def body(event):
    """The body of an event whose body is bytes."""
    return b"".join(event.body)


def tail(hub, partition, connection_string=CONNECTION_STRING):
    """The sequence number of the last event of a partition, -1 if there is none."""
    with consumer(hub, connection_string) as client:
        return client.get_partition_properties(partition)["last_enqueued_sequence_number"]


def tails(hub, partitions="0123"):
    """The same of several partitions."""
    # This client takes half a second for each, most of which it sleeps.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return dict(zip(partitions, pool.map(lambda partition: tail(hub, partition), partitions)))


def grown(hub, before):
    """How many events each partition has got since."""
    after = tails(hub, list(before))
    return {id: after[id] - before[id] for id in before if after[id] != before[id]}


def send(hub, bodies, partition="0", **options):
    """Sends events in one batch, and tells where they begin: the position to read exactly them from."""
    start = tail(hub, partition)
    with producer(hub, **options) as client:
        batch = client.create_batch(partition_id=partition)
        for content in bodies:
            batch.add(content if isinstance(content, EventData) else EventData(content))
        client.send_batch(batch)
    return start


class Reader:
    """A consumer at work on a thread. Everything it is told is kept in order."""

    def __init__(self, hub, partition="0", position="-1", connection_string=CONNECTION_STRING, group="$Default",
                 client_options=None, **options):
        self.events, self.places, self.errors, self.closed = [], [], [], []
        self._told = threading.Condition()
        # One that lost its partition does not come back for it while the test looks.
        client_options = {"load_balancing_interval": 600, **(client_options or {})}
        self._client = consumer(hub, connection_string, group, **client_options)
        arguments = {
            "on_event": self._on_event,
            "on_error": lambda context, error: self._tell(self.errors, error),
            "on_partition_close": lambda context, reason: self._tell(self.closed, (context.partition_id, reason)),
            "starting_position": position,
            **options,
        }
        if partition is not None:
            arguments["partition_id"] = partition
        self._thread = threading.Thread(target=self._client.receive, kwargs=arguments, daemon=True)

    def _on_event(self, context, event):
        self.places.append(context.partition_id)
        self._tell(self.events, event)

    def _tell(self, where, what):
        with self._told:
            where.append(what)
            self._told.notify_all()

    def wait(self, what, condition, patience=PATIENCE):
        """Waits until `condition()` holds."""
        with self._told:
            held = self._told.wait_for(condition, patience)
        assert held, f"{what} did not happen; {len(self.events)} events, errors {self.errors}, closed {self.closed}"

    def wait_for(self, count):
        self.wait(f"receiving {count} events", lambda: len(self.events) >= count or self.errors)
        assert not self.errors, self.errors
        return self.events

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._client.close()
        self._thread.join(PATIENCE)


def receive(hub, count, partition="0", position="-1", **options):
    """Exactly the next `count` events from a position on."""
    with Reader(hub, partition, position, **options) as reader:
        return reader.wait_for(count)[:count]


def round_trip(hub, events, partition="0", **options):
    """Sends events in one batch and receives them."""
    start = send(hub, events, partition, **options)
    return receive(hub, len(events), partition, start)


def sending(hub, connection_string=CONNECTION_STRING):
    """Sends an event, or fails."""
    with producer(hub, connection_string) as client:
        client.send_batch([EventData("x")])


def reading_fails(hub, connection_string=CONNECTION_STRING, partition="0", group="$Default"):
    """The error with which reading is refused."""
    # With tries left this client tries for ever (it says so itself, beside its `EventHubConsumer.receive`).
    options = {"retry_total": 0}
    with Reader(hub, partition, connection_string=connection_string, group=group, client_options=options) as reader:
        reader.wait("a refusal", lambda: reader.errors or reader.events)
        assert not reader.events
        return reader.errors[0]


class Server:
    """Ends and starts the server that `RESTARTED` leads to."""

    def __init__(self):
        host, port = os.environ["TIDEGATE_CONTROL"].rsplit(":", 1)
        self._address = (host, int(port))

    def _do(self, command):
        with socket.create_connection(self._address) as connection, connection.makefile("rw") as lines:
            lines.write(command + "\n")
            lines.flush()
            answer = lines.readline().strip()
        assert answer == "ok", f"{command}: {answer}"

    def kill(self):
        """As a power cut ends it."""
        self._do("kill")

    def stop(self):
        """As an operator ends it."""
        self._do("stop")

    def start(self):
        self._do("start")


def until(what, condition, patience=PATIENCE):
    """Asks again and again, for what cannot be waited for otherwise."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


@contextlib.contextmanager
def running(target):
    """Runs something on a thread while the block runs; its exception is raised at the end."""
    failures = []

    def run():
        try:
            target()
        except BaseException as failure:  # shown by the assertion below
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the thread did not end"
    assert not failures, failures
