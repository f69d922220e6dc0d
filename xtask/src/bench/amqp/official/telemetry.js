// Sends and receives 200-byte events as a program of the official JavaScript client does, and prints the rates.
"use strict";

const { EventHubConsumerClient, EventHubProducerClient } = require("@azure/event-hubs");

const CONNECTION = process.env.TIDEGATE_CONNECTION_STRING;
const HUB = process.env.TIDEGATE_HUB;
const PARTITION = "1";
const BATCH = 500;
const EVENTS = 50_000;
const BODY = { deviceId: "device-0000001", note: "x".repeat(160) };

const seconds = () => Number(process.hrtime.bigint()) / 1e9;

async function send() {
  const producer = new EventHubProducerClient(CONNECTION, HUB);
  const before = (await producer.getPartitionProperties(PARTITION)).lastEnqueuedSequenceNumber;
  let began;
  for (let number = 0; number <= EVENTS / BATCH; number += 1) {
    const batch = await producer.createBatch({ partitionId: PARTITION });
    for (let event = 0; event < BATCH; event += 1) batch.tryAdd({ body: BODY });
    await producer.sendBatch(batch);
    // The first one pays for the connection.
    began ??= seconds();
  }
  const rate = EVENTS / (seconds() - began);
  await producer.close();
  return [before, rate];
}

async function receive(before) {
  const consumer = new EventHubConsumerClient("$Default", CONNECTION, HUB);
  let received = 0;
  let first;
  const rate = await new Promise((resolve, reject) => {
    const startPosition = before >= 0 ? { sequenceNumber: before, isInclusive: false } : { offset: "-1" };
    const handlers = {
      processEvents: async (events) => {
        first ??= seconds();
        received += events.length;
        if (received >= EVENTS) resolve(received / (seconds() - first));
      },
      processError: async (error) => reject(error),
    };
    consumer.subscribe(PARTITION, handlers, { startPosition, maxBatchSize: 3000, prefetchCount: 3000 });
  });
  await consumer.close();
  return rate;
}

(async () => {
  const [before, sent] = await send();
  const received = await receive(before);
  console.log(JSON.stringify({ name: "JavaScript, one process", sent_per_s: sent, received_per_s: received }));
  process.exit(0);
})();
