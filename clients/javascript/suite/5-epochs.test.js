// Who may read a partition: owners by their level, and readers without one.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Reader, after, send, using } = require("./support.js");

const HUB = "epochs";
const timeout = 120_000;
// The client takes the level 0 for none.

async function stolen(reader) {
  await reader.wait("losing the partition", () => reader.errors.length > 0);
  assert.equal(reader.errors[0].code, "ReceiverDisconnectedError", String(reader.errors[0]));
}

test("a higher owner takes the partition and a lower one does not", { timeout }, async () => {
  const position = after(await send(HUB, [{ body: "first" }]));
  await using(new Reader(HUB, { position, ownerLevel: 5 }), async (owner) => {
    await owner.waitFor(1);
    await using(new Reader(HUB, { position, ownerLevel: 4 }), async (lower) => {
      await stolen(lower);
      assert.equal(lower.events.length, 0);
    });
    await send(HUB, [{ body: "second" }]);
    await owner.waitFor(2);
    await using(new Reader(HUB, { position, ownerLevel: 6 }), async (higher) => {
      await higher.waitFor(2);
      await stolen(owner);
      await owner.wait("closing", () => owner.closed.length > 0);
      assert.equal(owner.closed[0], "OwnershipLost");
      await send(HUB, [{ body: "third" }]);
      assert.deepEqual((await higher.waitFor(3)).map((event) => event.body), ["first", "second", "third"]);
    });
    assert.equal(owner.events.length, 2);
  });
});

test("an owner of the same level takes the partition", { timeout }, async () => {
  const position = after(await send(HUB, [{ body: "x" }], "1"));
  await using(new Reader(HUB, { partition: "1", position, ownerLevel: 1 }), async (first) => {
    await first.waitFor(1);
    await using(new Reader(HUB, { partition: "1", position, ownerLevel: 1 }), async (second) => {
      await second.waitFor(1);
      await stolen(first);
    });
  });
});

test("an owner ends readers without a level and keeps them out", { timeout }, async () => {
  const position = after(await send(HUB, [{ body: "x" }], "2"));
  await using(new Reader(HUB, { partition: "2", position }), async (plain) => {
    await plain.waitFor(1);
    await using(new Reader(HUB, { partition: "2", position, ownerLevel: 1 }), async (owner) => {
      await owner.waitFor(1);
      await stolen(plain);
      await using(new Reader(HUB, { partition: "2", position }), async (late) => {
        await stolen(late);
        assert.equal(late.events.length, 0);
      });
    });
  });
  await receive1("2", position);
});

async function receive1(partition, position) {
  // When the owner is gone, everybody may read again.
  await using(new Reader(HUB, { partition, position }), (reader) => reader.waitFor(1));
}

test("five readers without a level and no more", { timeout }, async () => {
  const position = after(await send(HUB, [{ body: "x" }], "3"));
  const readers = Array.from({ length: 5 }, () => new Reader(HUB, { partition: "3", position }));
  try {
    await Promise.all(readers.map((reader) => reader.waitFor(1)));
    await using(new Reader(HUB, { partition: "3", position, retryOptions: { maxRetries: 0 } }), async (sixth) => {
      await sixth.wait("a refusal", () => sixth.errors.length > 0);
      assert.equal(sixth.errors[0].code, "QuotaExceededError", String(sixth.errors[0]));
    });
  } finally {
    await Promise.all(readers.map((reader) => reader.close()));
  }
});
