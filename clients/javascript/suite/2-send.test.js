// Every way to send.
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const { test } = require("node:test");
const { EventHubBufferedProducerClient } = require("@azure/event-hubs");
const {
  CONNECTION_STRING, PATIENCE, RETRIES, Told, after, producer, receive, roundTrip, tail, tails, using,
} = require("./support.js");

const HUB = "sends";
const PARTITIONS = ["0", "1", "2", "3"];
const timeout = 120_000;

// Keys and the partitions of four and of ten that Event Hubs' hash gives them.
const KEYS = [["7", 3, 3], ["131", 2, 2], ["dev-1", 2, 4], ["device-0001", 2, 4], ["FWfAT", 1, 1]];

/** How many events each partition has got since. */
async function grown(hub, before) {
  const now = await tails(hub, Object.keys(before));
  const grown = {};
  for (const id of Object.keys(before)) if (now[id] !== before[id]) grown[id] = now[id] - before[id];
  return grown;
}

test("a batch stays together and in order", { timeout }, async () => {
  const before = await tails(HUB, PARTITIONS);
  const bodies = Array.from({ length: 100 }, (_, number) => `event ${number}`);
  await using(producer(HUB), async (client) => {
    const batch = await client.createBatch();
    for (const body of bodies) assert.ok(batch.tryAdd({ body }));
    await client.sendBatch(batch);
  });
  const got = await grown(HUB, before);
  assert.deepEqual(Object.values(got), [100]);
  const [partition] = Object.keys(got);
  const events = await receive(HUB, 100, { partition, position: after(before[partition]) });
  assert.deepEqual(events.map((event) => event.body), bodies);
  assert.deepEqual(events.map((event) => event.sequenceNumber), bodies.map((_, n) => before[partition] + 1 + n));
  assert.ok(events.every((event) => event.enqueuedTimeUtc instanceof Date && typeof event.offset === "string"));
  assert.equal(new Set(events.map((event) => event.offset)).size, 100);
});

test("a batch for a partition goes there", { timeout }, async () => {
  for (const partition of PARTITIONS) {
    const events = await roundTrip(HUB, [{ body: `for ${partition}` }, { body: "another" }], partition);
    assert.deepEqual(events.map((event) => event.body), [`for ${partition}`, "another"]);
  }
});

for (const [key, ofFour, ofTen] of KEYS) {
  test(`a batch with the key ${key} goes where the hash says`, { timeout }, async () => {
    for (const [hub, partition, count] of [["keys-of-four", ofFour, 4], ["keys-of-ten", ofTen, 10]]) {
      const before = await tails(hub, Array.from({ length: count }, (_, id) => String(id)));
      await using(producer(hub), (client) => client.sendBatch([{ body: 1 }, { body: 2 }], { partitionKey: key }));
      assert.deepEqual(await grown(hub, before), { [partition]: 2 });
      const events = await receive(hub, 2, { partition: String(partition), position: after(before[partition]) });
      assert.deepEqual(events.map((event) => event.partitionKey), [key, key]);
    }
  });
}

test("a key beyond ASCII comes back", { timeout }, async () => {
  const before = await tails(HUB, PARTITIONS);
  await using(producer(HUB), (client) => client.sendBatch([{ body: "x" }], { partitionKey: "Gerät-Ω-機" }));
  const [[partition]] = Object.entries(await grown(HUB, before));
  const [event] = await receive(HUB, 1, { partition, position: after(before[partition]) });
  assert.equal(event.partitionKey, "Gerät-Ω-機");
});

test("batches without a partition go round", { timeout }, async () => {
  const before = await tails(HUB, PARTITIONS);
  await using(producer(HUB), async (client) => {
    for (let number = 0; number < 8; number++) await client.sendBatch([{ body: number }]);
  });
  const got = await grown(HUB, before);
  assert.deepEqual(Object.keys(got), PARTITIONS);
  assert.equal(Object.values(got).reduce((sum, count) => sum + count), 8);
});

test("each kind of body comes back", { timeout }, async () => {
  const object = { text: "a", list: [1, 2.5, true, null], deep: { x: "ü" } };
  const messages = [
    { body: object },
    { body: "text" },
    { body: 17 },
    { body: Buffer.from([0, 255, 1]) },
    { bodyType: "data", body: Buffer.from("raw") },
    { bodyType: "value", body: { text: "a", number: 7, list: [1, "b", true] } },
    { bodyType: "value", body: "only text" },
    { bodyType: "sequence", body: [[1, 2, 3], ["four", true]] },
  ];
  const events = await roundTrip(HUB, messages);
  assert.deepEqual(events[0].body, object);
  assert.equal(events[1].body, "text");
  assert.equal(events[2].body, 17);
  assert.deepEqual(Buffer.from(events[3].body), Buffer.from([0, 255, 1]));
  assert.deepEqual(Buffer.from(events[4].body), Buffer.from("raw"));
  assert.equal(events[5].getRawAmqpMessage().bodyType, "value");
  assert.deepEqual(events[5].body, { text: "a", number: 7, list: [1, "b", true] });
  assert.equal(events[6].body, "only text");
  assert.equal(events[7].getRawAmqpMessage().bodyType, "sequence");
  assert.deepEqual(events[7].body.flat(), [1, 2, 3, "four", true]);
});

test("a batch filled to the brim arrives whole", { timeout }, async () => {
  const start = await tail(HUB, "2");
  const sent = [];
  await using(producer(HUB), async (client) => {
    const batch = await client.createBatch({ partitionId: "2" });
    assert.equal(batch.maxSizeInBytes, 1024 * 1024);
    for (;;) {
      const body = crypto.randomBytes(1 + (sent.length * 37) % 5000);
      if (!batch.tryAdd({ body })) break;
      sent.push(body);
    }
    assert.ok(batch.sizeInBytes > 1_000_000);
    await client.sendBatch(batch);
  });
  const events = await receive(HUB, sent.length, {
    partition: "2", position: after(start), skipParsingBodyAsJson: true, maxBatchSize: 100,
  });
  assert.ok(events.every((event, index) => Buffer.compare(Buffer.from(event.body), sent[index]) === 0));
});

test("a large event comes back and a too large one is refused", { timeout }, async () => {
  const large = crypto.randomBytes(900_000);
  const start = await tail(HUB, "1");
  await using(producer(HUB), async (client) => {
    await client.sendBatch([{ body: large }], { partitionId: "1" });
    await assert.rejects(client.sendBatch([{ body: crypto.randomBytes(1_200_000) }], { partitionId: "1" }), (error) => {
      assert.equal(error.code, "MessageTooLargeError", String(error));
      return true;
    });
    await client.sendBatch([{ body: "small again" }], { partitionId: "1" });
  });
  const events = await receive(HUB, 2, { partition: "1", position: after(start) });
  assert.equal(Buffer.compare(Buffer.from(events[0].body), large), 0);
  assert.equal(events[1].body, "small again");
  assert.equal(await tail(HUB, "1"), start + 2);
});

test("many batches at once on one producer", { timeout }, async () => {
  const start = await tail(HUB, "3");
  await using(producer(HUB), (client) =>
    Promise.all(Array.from({ length: 50 }, (_, number) => client.sendBatch([{ body: number }], { partitionId: "3" }))));
  const events = await receive(HUB, 50, { partition: "3", position: after(start), maxBatchSize: 50 });
  assert.deepEqual(events.map((event) => event.body).sort((a, b) => a - b), Array.from({ length: 50 }, (_, n) => n));
});

test("the buffered producer sends every event once and tells it", { timeout }, async () => {
  const starts = await tails("buffered", PARTITIONS);
  const [sent, failed, told] = [[], [], new Told()];
  const client = new EventHubBufferedProducerClient(CONNECTION_STRING, "buffered", {
    retryOptions: RETRIES,
    maxWaitTimeInMs: 500,
    maxEventBufferLengthPerPartition: 200,
    onSendEventsSuccessHandler: ({ events, partitionId }) => {
      sent.push(...events.map((event) => [event.body, partitionId]));
      told.tell();
    },
    onSendEventsErrorHandler: ({ error }) => failed.push(error),
  });
  for (let number = 0; number < 400; number++) await client.enqueueEvent({ body: `any ${number}` });
  for (let number = 0; number < 100; number++) {
    await client.enqueueEvent({ body: `keyed ${number}` }, { partitionKey: "dev-1" });
  }
  await client.enqueueEvents([{ body: "placed 0" }, { body: "placed 1" }], { partitionId: "3" });
  await client.flush();
  await told.wait("sending all", () => sent.length >= 502, PATIENCE);
  await client.close();
  assert.deepEqual(failed, []);
  assert.equal(sent.length, 502);
  const read = [];
  for (const partition of PARTITIONS) {
    const count = sent.filter(([, where]) => where === partition).length;
    const events = await receive("buffered", count, { partition, position: after(starts[partition]), maxBatchSize: 200 });
    assert.equal(await tail("buffered", partition), starts[partition] + count);
    read.push(...events.map((event) => [event.body, partition]));
  }
  assert.deepEqual(new Set(read.map(String)), new Set(sent.map(String)));
  // Those of one key are in one partition, which is the server's choice too, and in their order.
  assert.deepEqual(
    read.filter(([body]) => body.startsWith("keyed")),
    Array.from({ length: 100 }, (_, number) => [`keyed ${number}`, "2"]));
  assert.deepEqual(
    read.filter(([body]) => body.startsWith("placed")), [["placed 0", "3"], ["placed 1", "3"]]);
});
