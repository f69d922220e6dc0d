// The server ends in the middle of everything and comes back: the clients go on, and nothing acknowledged is lost.
"use strict";

const assert = require("node:assert/strict");
const { afterEach, test } = require("node:test");
const { EventHubBufferedProducerClient } = require("@azure/event-hubs");
const {
  PATIENCE, PATIENT, RESTARTED, Reader, Told, after, producer, receive, server, tail, using,
} = require("./support.js");

const HUB = "restarts";
const connectionString = RESTARTED;
const timeout = 180_000;

afterEach(() => server("start"));

for (const [ending, partition] of [["kill", "0"], ["stop", "1"]]) {
  test(`nothing acknowledged is lost and readers go on: ${ending}`, { timeout }, async () => {
    const start = await tail(HUB, partition, { connectionString });
    const told = new Told();
    let [acknowledged, enough] = [0, false];

    const sending = using(producer(HUB, { connectionString, retryOptions: PATIENT }), async (client) => {
      while (!enough) {
        try {
          await client.sendBatch([{ body: acknowledged }], { partitionId: partition });
        } catch {
          continue; // Not acknowledged: sent again, under the same number.
        }
        acknowledged += 1;
        told.tell();
      }
    });
    const reader = new Reader(HUB, { connectionString, partition, position: after(start), retryOptions: PATIENT });
    try {
      const goesOn = () => {
        const before = acknowledged;
        return told.wait("sending goes on", () => acknowledged >= before + 20, PATIENCE);
      };
      for (let time = 0; time < 3; time++) {
        await goesOn();
        await server(ending);
        await server("start");
      }
      await goesOn();
    } finally {
      enough = true;
      await sending;
    }
    const count = (await tail(HUB, partition, { connectionString })) - start;
    const stored = await receive(HUB, count, { connectionString, partition, position: after(start), maxBatchSize: 200 });
    const numbers = stored.map((event) => event.body);
    // Everything acknowledged is there, in its order. An event may be there twice: when the server ended between storing
    // it and saying so.
    assert.deepEqual([...new Set(numbers)], Array.from({ length: acknowledged }, (_, number) => number));
    assert.deepEqual(stored.map((event) => event.sequenceNumber), stored.map((_, index) => start + 1 + index));
    // The reader that was there all the time has seen each event once, in order.
    await reader.wait("seeing all", () => reader.events.length >= count);
    assert.deepEqual(
      reader.events.map((event) => event.sequenceNumber), stored.map((event) => event.sequenceNumber));
    await reader.close();
  });
}

test("a buffered producer lives through a restart", { timeout }, async () => {
  const start = await tail(HUB, "2", { connectionString });
  const [sent, failed, told] = [[], [], new Told()];
  const client = new EventHubBufferedProducerClient(RESTARTED, HUB, {
    retryOptions: PATIENT,
    maxWaitTimeInMs: 100,
    onSendEventsSuccessHandler: ({ events }) => {
      sent.push(...events.map((event) => event.body));
      told.tell();
    },
    onSendEventsErrorHandler: ({ events, error }) => failed.push([events.length, error]),
  });
  for (let number = 0; number < 100; number++) await client.enqueueEvent({ body: number }, { partitionId: "2" });
  await told.wait("sending the first", () => sent.length > 0, PATIENCE);
  await server("kill");
  for (let number = 100; number < 200; number++) await client.enqueueEvent({ body: number }, { partitionId: "2" });
  await server("start");
  await client.flush();
  await told.wait("sending all", () => sent.length >= 200, PATIENCE);
  await client.close();
  assert.deepEqual(failed, []);
  const count = (await tail(HUB, "2", { connectionString })) - start;
  const stored = await receive(HUB, count, { connectionString, partition: "2", position: after(start), maxBatchSize: 200 });
  assert.deepEqual(new Set(stored.map((event) => event.body)), new Set(sent));
});

test("a client that was idle over the restart works on", { timeout }, async () => {
  const start = await tail(HUB, "3", { connectionString });
  await using(producer(HUB, { connectionString, retryOptions: PATIENT }), async (client) => {
    await client.sendBatch([{ body: "before" }], { partitionId: "3" });
    await server("kill");
    await server("start");
    await client.sendBatch([{ body: "after" }], { partitionId: "3" });
    assert.deepEqual(await client.getPartitionIds(), ["0", "1", "2", "3"]);
  });
  const stored = await receive(HUB, 2, { connectionString, partition: "3", position: after(start) });
  assert.deepEqual(stored.map((event) => event.body), ["before", "after"]);
});
