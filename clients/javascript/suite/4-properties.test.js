// Properties of all types come back as they were sent.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { types } = require("rhea");
const { after, receive, producer, roundTrip, tail, using } = require("./support.js");

const HUB = "properties";
const timeout = 120_000;
const MOMENT = new Date("2026-02-03T04:05:06.789Z");

test("application properties of all types", { timeout }, async () => {
  const properties = {
    text: "some text", empty: "", "beyond ascii": "Ω 機 😀", long: "x".repeat(70_000),
    true: true, false: false, zero: 0, small: -7, int: 2 ** 31 - 1, beyond: 2 ** 40, double: 2.5, tiny: 5e-324,
    nothing: null, "": "no name",
  };
  const [event] = await roundTrip(HUB, [{ body: "x", properties }]);
  assert.deepEqual({ ...event.properties }, properties);
});

test("binary and time properties", { timeout }, async () => {
  const properties = { bytes: types.wrap_binary(Buffer.from([0, 255])), moment: types.wrap_timestamp(MOMENT.getTime()) };
  const [event] = await roundTrip(HUB, [{ body: "x", properties }]);
  // In `properties` the client makes a plain object of the bytes.
  const raw = event.getRawAmqpMessage().applicationProperties;
  assert.deepEqual(Buffer.from(raw.bytes), Buffer.from([0, 255]));
  assert.equal(new Date(event.properties.moment).getTime(), MOMENT.getTime());
});

test("each numeric type of AMQP keeps its value", { timeout }, async () => {
  const typed = {
    ubyte: [types.wrap_ubyte(200), 200], byte: [types.wrap_byte(-100), -100],
    ushort: [types.wrap_ushort(60_000), 60_000], short: [types.wrap_short(-30_000), -30_000],
    uint: [types.wrap_uint(4_000_000_000), 4_000_000_000], int: [types.wrap_int(-2_000_000_000), -2_000_000_000],
    ulong: [types.wrap_ulong(2 ** 52), 2 ** 52], long: [types.wrap_long(-(2 ** 52)), -(2 ** 52)],
    float: [types.wrap_float(0.5), 0.5], double: [types.wrap_double(0.1), 0.1],
    symbol: [types.wrap_symbol("sym"), "sym"],
  };
  const properties = Object.fromEntries(Object.entries(typed).map(([name, [value]]) => [name, value]));
  const [event] = await roundTrip(HUB, [{ body: "x", properties }]);
  for (const [name, [, expected]] of Object.entries(typed)) {
    const got = event.properties[name];
    assert.equal(got?.valueOf?.() ?? got, expected, name);
  }
});

test("the properties of the event itself", { timeout }, async () => {
  const [event] = await roundTrip(HUB, [
    { body: "x", messageId: "the id", correlationId: "the cause", contentType: "application/json" },
  ]);
  assert.equal(event.messageId, "the id");
  assert.equal(event.correlationId, "the cause");
  assert.equal(event.contentType, "application/json");
});

test("every section of a message", { timeout }, async () => {
  const message = {
    bodyType: "value",
    body: "body",
    header: { durable: true, priority: 7, timeToLive: 60_000 },
    properties: {
      // The client sends every property of a message but its user. The end it reckons from its beginning and the header.
      messageId: "id", to: "somewhere", subject: "about", replyTo: "there", correlationId: "cause",
      contentType: "text/plain", contentEncoding: "gzip", absoluteExpiryTime: MOMENT.getTime() + 60_001,
      creationTime: MOMENT.getTime() + 1, groupId: "group", groupSequence: 17, replyToGroupId: "reply group",
    },
    applicationProperties: { p: 1 },
    messageAnnotations: { "x-own": "kept", "x-number": 5 },
    footer: { checksum: 99 },
  };
  const start = await tail(HUB, "0");
  await using(producer(HUB), (client) => client.sendBatch([message], { partitionId: "0" }));
  const [event] = await receive(HUB, 1, { position: after(start) });
  const got = event.getRawAmqpMessage();
  assert.equal(got.body, "body");
  for (const [name, value] of Object.entries(message.properties)) {
    const found = got.properties[name];
    const plain = found instanceof Date ? found.getTime() : Buffer.isBuffer(found) ? found.toString() : found;
    assert.equal(plain, value, name);
  }
  assert.deepEqual({ ...got.applicationProperties }, { p: 1 });
  assert.equal(got.messageAnnotations["x-own"], "kept");
  assert.equal(got.messageAnnotations["x-number"], 5);
  assert.equal(got.messageAnnotations["x-opt-sequence-number"], start + 1);
  assert.equal(got.footer.checksum, 99);
});
