// Receiving from every position.
"use strict";

const assert = require("node:assert/strict");
const { before, test } = require("node:test");
const { earliestEventPosition, latestEventPosition } = require("@azure/event-hubs");
const { Reader, after, producer, receive, send, tail, using } = require("./support.js");

const HUB = "positions";
const timeout = 120_000;
const numbers = (events) => events.map((event) => event.sequenceNumber);

// The events of partition 0, in which at least two moments differ.
let events;
before(async () => {
  for (let number = 0; number < 5; number++) await send(HUB, [{ body: number }]);
  do {
    await send(HUB, [{ body: "another" }]);
    events = await receive(HUB, (await tail(HUB, "0")) + 1, { position: earliestEventPosition });
  } while (events.at(-1).enqueuedTimeUtc.getTime() === events[0].enqueuedTimeUtc.getTime());
  assert.deepEqual(numbers(events), events.map((_, index) => index));
}, { timeout });

test("from the start", { timeout }, async () => {
  assert.deepEqual(numbers(await receive(HUB, events.length, { position: earliestEventPosition })), numbers(events));
});

for (const isInclusive of [false, true]) {
  const how = isInclusive ? "itself" : "the next";
  test(`from an offset, ${how}`, { timeout }, async () => {
    const found = await receive(HUB, 2, { position: { offset: events[1].offset, isInclusive } });
    assert.deepEqual(numbers(found), isInclusive ? [1, 2] : [2, 3]);
  });

  test(`from a sequence number, ${how}`, { timeout }, async () => {
    const found = await receive(HUB, 2, { position: { sequenceNumber: 2, isInclusive } });
    assert.deepEqual(numbers(found), isInclusive ? [2, 3] : [3, 4]);
  });
}

test("from a time", { timeout }, async () => {
  // The client asks for what is after the time, whether inclusive or not.
  const time = events[0].enqueuedTimeUtc;
  const expected = events.filter((event) => event.enqueuedTimeUtc > time);
  assert.deepEqual(numbers(await receive(HUB, expected.length, { position: { enqueuedOn: time } })), numbers(expected));
  const all = await receive(HUB, events.length, { position: { enqueuedOn: new Date("2001-02-03") } });
  assert.deepEqual(numbers(all), numbers(events));
});

test("only what is new", { timeout }, async () => {
  await using(new Reader(HUB, { position: latestEventPosition }), async (reader) => {
    await using(producer(HUB), async (client) => {
      // When the reader is at its place cannot be seen from here: events are sent until it has seen some.
      while (reader.events.length < 5 && reader.errors.length === 0) {
        await client.sendBatch([{ body: "new" }], { partitionId: "0" });
      }
    });
    const found = numbers(await reader.waitFor(5));
    assert.ok(found[0] > events.at(-1).sequenceNumber);
    assert.deepEqual(found, found.map((_, index) => found[0] + index));
  });
});

test("from behind the end it waits for what comes", { timeout }, async () => {
  const last = await tail(HUB, "0");
  await using(new Reader(HUB, { position: after(last) }), async (reader) => {
    await send(HUB, [{ body: "just now" }]);
    const [found] = await reader.waitFor(1);
    assert.equal(found.sequenceNumber, last + 1);
  });
});

test("all partitions at once, each from its own position", { timeout }, async () => {
  const startPositions = {};
  for (const partition of ["0", "1", "2", "3"]) {
    startPositions[partition] = after(await send(HUB, [{ body: `a${partition}` }, { body: `b${partition}` }], partition));
  }
  const found = await receive(HUB, 8, { partition: null, position: startPositions });
  for (const partition of ["0", "1", "2", "3"]) {
    const own = found.map((event) => event.body).filter((body) => body.endsWith(partition));
    assert.deepEqual(own, [`a${partition}`, `b${partition}`]);
  }
});

test("in batches of two", { timeout }, async () => {
  await using(new Reader(HUB, { maxBatchSize: 2 }), async (reader) => {
    assert.deepEqual(numbers(await reader.waitFor(5)).slice(0, 5), [0, 1, 2, 3, 4]);
    assert.ok(Math.max(...reader.sizes) <= 2);
  });
});

test("silence is told", { timeout }, async () => {
  await using(new Reader("empty", {}), async (reader) => {
    await reader.wait("a call without events", () => reader.sizes.length > 0 || reader.errors.length > 0);
    assert.deepEqual([reader.sizes[0], reader.errors], [0, []]);
  });
});

test("the end of the partition comes with each event", { timeout }, async () => {
  const last = await tail(HUB, "0");
  const [end] = await receive(HUB, 1, { position: { sequenceNumber: last, isInclusive: true } });
  await using(new Reader(HUB, { trackLastEnqueuedEventProperties: true }), async (reader) => {
    await reader.waitFor(1);
    const known = reader.contexts[reader.sizes.findIndex((size) => size > 0)];
    assert.equal(known.sequenceNumber, last);
    assert.equal(known.offset, end.offset);
    assert.deepEqual(known.enqueuedOn, end.enqueuedTimeUtc);
    assert.ok(known.retrievedOn instanceof Date);
  });
});

test("another group reads the same, and its name has no case", { timeout }, async () => {
  for (const group of ["second", "SECOND", "$default"]) {
    assert.deepEqual(numbers(await receive(HUB, 2, { group })), [0, 1]);
  }
});

test("more events than the session's window", { timeout }, async () => {
  // The client opens a window of 2048 transfers, which has to be kept to and then goes on.
  const start = await tail(HUB, "1");
  await using(producer(HUB), async (client) => {
    for (let thousand = 0; thousand < 5; thousand++) {
      await client.sendBatch(Array.from({ length: 1000 }, (_, n) => ({ body: thousand * 1000 + n })), { partitionId: "1" });
    }
  });
  const found = await receive(HUB, 5000, { partition: "1", position: after(start), maxBatchSize: 1000, prefetchCount: 3000 });
  assert.deepEqual(found.map((event) => event.body), Array.from({ length: 5000 }, (_, n) => n));
});
