// Processors that share a hub through checkpoints and ownership in blobs.
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const { test } = require("node:test");
const { EventHubConsumerClient, earliestEventPosition } = require("@azure/event-hubs");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { ContainerClient } = require("@azure/storage-blob");
const { BLOBS, CONNECTION_STRING, PATIENCE, RETRIES, Told, producer, using } = require("./support.js");

const PARTITIONS = ["0", "1", "2", "3"];
const timeout = 180_000;

const sendToEach = (hub, body) =>
  using(producer(hub), async (client) => {
    for (const partitionId of PARTITIONS) await client.sendBatch([{ body }], { partitionId });
  });

/** A consumer that checkpoints everything. */
class Processor {
  constructor(hub, container, told) {
    this.partitions = new Set();
    this.events = [];
    this.client = new EventHubConsumerClient(
      "$Default", CONNECTION_STRING, hub, new BlobCheckpointStore(container), {
        retryOptions: RETRIES,
        loadBalancingOptions: {
          strategy: "greedy", updateIntervalInMs: 1000, partitionOwnershipExpirationIntervalInMs: 6000,
        },
      });
    this.subscription = this.client.subscribe({
      processInitialize: async ({ partitionId }) => {
        this.partitions.add(partitionId);
        told.tell();
      },
      processClose: async (reason, { partitionId }) => {
        this.partitions.delete(partitionId);
        told.tell();
      },
      processEvents: async (events, context) => {
        if (events.length === 0) return;
        await context.updateCheckpoint(events.at(-1));
        this.events.push(...events.map((event) => `${context.partitionId} ${event.body}`));
        told.tell();
      },
      processError: async () => {}, // Losing a partition to the other one is an error too.
    }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 0.2 });
  }

  async close() {
    await this.subscription.close();
    await this.client.close();
  }
}

test("two processors share the partitions and one takes over", { timeout }, async () => {
  const container = new ContainerClient(BLOBS, `checkpoints-${crypto.randomUUID()}`);
  await container.create();
  const told = new Told();
  const wait = (what, condition) => told.wait(what, condition, PATIENCE);

  await sendToEach("processors", "a");
  const first = new Processor("processors", container, told);
  await wait("owning and reading all", () => first.partitions.size === 4 && first.events.length === 4);
  const second = new Processor("processors", container, told);
  await wait("sharing", () => first.partitions.size === 2 && second.partitions.size === 2);
  await sendToEach("processors", "b");
  await wait("reading what is new", () => first.events.length + second.events.length >= 8);
  await first.close();
  await wait("taking over", () => second.partitions.size === 4);
  await sendToEach("processors", "c");
  await wait("reading the rest", () => second.events.filter((event) => event.endsWith("c")).length >= 4);
  await second.close();
  // Every event was seen, and nothing that was checkpointed a second time.
  const seen = [...first.events, ...second.events].sort();
  assert.deepEqual(seen, PARTITIONS.flatMap((id) => ["a", "b", "c"].map((body) => `${id} ${body}`)).sort());

  // One that starts later begins after the checkpoints.
  await sendToEach("processors", "d");
  const third = new Processor("processors", container, told);
  await wait("resuming", () => third.events.length >= 4);
  await third.close();
  assert.deepEqual(third.events.sort(), PARTITIONS.map((id) => `${id} d`));
});
