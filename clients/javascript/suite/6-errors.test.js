// What is refused, and how the client tells it.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { KEYS, Reader, consumer, field, producer, send, tails, after, using, withKey } = require("./support.js");

const HUB = "telemetry";
const timeout = 120_000;
const retryOptions = { maxRetries: 0 };

const sending = (connectionString, hub = HUB, options = {}) =>
  using(producer(hub, { connectionString, retryOptions }), (client) => client.sendBatch([{ body: "x" }], options));

async function readingFails(options, hub = HUB) {
  return using(new Reader(hub, { retryOptions, ...options }), async (reader) => {
    await reader.wait("a refusal", () => reader.errors.length > 0 || reader.events.length > 0);
    assert.equal(reader.events.length, 0);
    return reader.errors[0];
  });
}

const code = (expected) => (error) => {
  assert.equal(error.code, expected, String(error));
  return true;
};

test("a wrong key", { timeout }, async () => {
  const wrong = withKey(field("SharedAccessKeyName"), "bm90IHRoZSBrZXk=");
  await assert.rejects(sending(wrong), code("UnauthorizedError"));
  assert.equal((await readingFails({ connectionString: wrong })).code, "UnauthorizedError");
  await using(consumer(HUB, { connectionString: wrong, retryOptions }), (client) =>
    assert.rejects(client.getPartitionIds(), code("UnauthorizedError")));
});

test("an unknown key name", { timeout }, async () => {
  await assert.rejects(sending(withKey("nobody", field("SharedAccessKey"))), code("UnauthorizedError"));
});

test("a key that may not send and one that may not listen", { timeout }, async () => {
  const [sends, listens] = ["only-sends", "only-listens"].map((name) => withKey(name, KEYS[name]));
  await sending(sends);
  await assert.rejects(sending(listens), code("UnauthorizedError"));
  const position = after(await send(HUB, [{ body: "readable" }]));
  await using(new Reader(HUB, { connectionString: listens, position }), (reader) => reader.waitFor(1));
  assert.equal((await readingFails({ connectionString: sends })).code, "UnauthorizedError");
});

test("a key of another hub", { timeout }, async () => {
  const only = withKey("only-one-hub", KEYS["only-one-hub"]);
  await sending(only);
  await assert.rejects(sending(only, "positions"), code("UnauthorizedError"));
});

test("an unknown hub", { timeout }, async () => {
  await assert.rejects(sending(undefined, "nowhere"), code("MessagingEntityNotFoundError"));
  await using(consumer("nowhere", { retryOptions }), (client) =>
    assert.rejects(client.getEventHubProperties(), code("MessagingEntityNotFoundError")));
  assert.equal((await readingFails({}, "nowhere")).code, "MessagingEntityNotFoundError");
});

test("an unknown partition", { timeout }, async () => {
  const says = (error) => {
    assert.match(error.message, /partition is invalid.* It should be between 0 and 3\./);
    assert.equal(error.code, "ArgumentOutOfRangeError");
    return true;
  };
  await assert.rejects(sending(undefined, HUB, { partitionId: "99" }), says);
  await using(consumer(HUB, { retryOptions }), (client) => assert.rejects(client.getPartitionProperties("99"), says));
  says(await readingFails({ partition: "99" }));
});

test("an unknown consumer group", { timeout }, async () => {
  assert.equal((await readingFails({ group: "nobodys" })).code, "MessagingEntityNotFoundError");
});

test("after a refusal nothing was stored", { timeout }, async () => {
  const before = await tails(HUB, ["0", "1", "2", "3"]);
  await assert.rejects(sending(withKey("only-listens", KEYS["only-listens"])));
  await assert.rejects(sending(withKey("nobody", "x")));
  assert.deepEqual(await tails(HUB, ["0", "1", "2", "3"]), before);
});
