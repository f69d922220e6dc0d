// The other ways in: TLS, and AMQP through WebSockets, which this client speaks over TLS only.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const WebSocket = require("ws");
const { CONNECTION_STRING, Reader, after, consumer, producer, using } = require("./support.js");

const HUB = "doors";

async function sendAndReceive(options) {
  const start = await using(consumer(HUB, options), (client) => client.getPartitionProperties("0"));
  await using(producer(HUB, options), async (client) => {
    assert.deepEqual(await client.getPartitionIds(), ["0", "1", "2", "3"]);
    await client.sendBatch([{ body: "small" }, { body: "x".repeat(900_000) }], { partitionId: "0" });
  });
  const position = after(start.lastEnqueuedSequenceNumber);
  await using(new Reader(HUB, { ...options, position }), async (reader) => {
    const [small, large] = await reader.waitFor(2);
    assert.equal(small.body, "small");
    assert.equal(large.body.length, 900_000);
  });
}

const at = (address) => CONNECTION_STRING.replace(/Endpoint=[^;]*/, `Endpoint=sb://${address}`);

// The certificate is trusted by NODE_EXTRA_CA_CERTS.
const encrypted = at(process.env.TIDEGATE_TLS).replace(/;UseDevelopmentEmulator=true/, "");

test("TLS", { timeout: 120_000 }, async () => {
  await sendAndReceive({ connectionString: encrypted });
});

test("WebSockets", { timeout: 120_000 }, async () => {
  await sendAndReceive({ connectionString: encrypted, webSocketOptions: { webSocket: WebSocket } });
});
