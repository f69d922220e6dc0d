// What the client's own page shows, as it stands there: send a batch, subscribe with the default group.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } = require("@azure/event-hubs");
const { CONNECTION_STRING, HTTP, PATIENCE, Told, consumer, using } = require("./support.js");

test("the sample of the client works", { timeout: 120_000 }, async () => {
  const producerClient = new EventHubProducerClient(CONNECTION_STRING, "sample");
  const eventDataBatch = await producerClient.createBatch();
  for (const body of ["First event", "Second event", "Third event"]) {
    assert.ok(eventDataBatch.tryAdd({ body }));
  }
  await producerClient.sendBatch(eventDataBatch);
  await producerClient.close();

  const told = new Told();
  const received = [];
  const consumerClient = new EventHubConsumerClient(
    EventHubConsumerClient.defaultConsumerGroupName, `${CONNECTION_STRING};EntityPath=sample`);
  const subscription = consumerClient.subscribe(
    {
      processEvents: async (events, context) => {
        for (const event of events) received.push(event.body);
        told.tell();
      },
      processError: async (error) => {
        received.push(error);
        told.tell();
      },
    },
    { startPosition: earliestEventPosition },
  );
  await told.wait("receiving", () => received.length >= 3, PATIENCE);
  await subscription.close();
  await consumerClient.close();
  assert.deepEqual(received, ["First event", "Second event", "Third event"]);
});

test("the hub and its partitions are described", { timeout: 120_000 }, async () => {
  await using(consumer("telemetry"), async (client) => {
    const hub = await client.getEventHubProperties();
    assert.equal(hub.name, "telemetry");
    assert.deepEqual(hub.partitionIds, ["0", "1", "2", "3"]);
    assert.deepEqual(await client.getPartitionIds(), ["0", "1", "2", "3"]);
    assert.ok(hub.createdOn.getUTCFullYear() >= 2024);
  });
  await using(consumer("empty"), async (client) => {
    const partition = await client.getPartitionProperties("0");
    assert.equal(partition.eventHubName, "empty");
    assert.equal(partition.partitionId, "0");
    assert.equal(partition.isEmpty, true);
    assert.equal(partition.beginningSequenceNumber, 0);
    assert.equal(partition.lastEnqueuedSequenceNumber, -1);
    assert.equal(partition.lastEnqueuedOffset, "-1");
  });
});

test("the server says that it is well", { timeout: 120_000 }, async () => {
  assert.equal((await fetch(`${HTTP}/health`)).status, 200);
});
