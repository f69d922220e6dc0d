// What the tests share: where the server is, how it is ended and started, and how events are read to a certain count.
"use strict";

const net = require("node:net");
const { EventHubConsumerClient, EventHubProducerClient } = require("@azure/event-hubs");

const CONNECTION_STRING = process.env.TIDEGATE_CONNECTION_STRING;
const RESTARTED = process.env.TIDEGATE_RESTARTED;
const HTTP = process.env.TIDEGATE_HTTP;
const BLOBS = process.env.TIDEGATE_BLOBS;
const KEYS = JSON.parse(process.env.TIDEGATE_KEYS);

// How long anything may take before it counts as not happening, in milliseconds. Never waited for in full when all is well.
const PATIENCE = 45_000;

// The client's own patience, so that a test that fails does so quickly.
const RETRIES = { maxRetries: 4, retryDelayInMs: 200, timeoutInMs: 20_000 };
// A client that tries again soon and long enough.
const PATIENT = { maxRetries: 100, retryDelayInMs: 200, timeoutInMs: 3_000 };

/** A part of the connection string. */
function field(name) {
  const part = CONNECTION_STRING.split(";").find((part) => part.startsWith(`${name}=`));
  return part.slice(name.length + 1);
}

/** The connection string with another key. */
function withKey(name, value) {
  return `Endpoint=${field("Endpoint")};SharedAccessKeyName=${name};SharedAccessKey=${value};UseDevelopmentEmulator=true`;
}

function producer(hub, { connectionString = CONNECTION_STRING, retryOptions = RETRIES, ...options } = {}) {
  return new EventHubProducerClient(connectionString, hub, { retryOptions, ...options });
}

function consumer(hub, { connectionString = CONNECTION_STRING, group = "$Default", retryOptions = RETRIES, ...options } = {}) {
  // One that lost its partition does not come back for it while the test looks.
  const loadBalancingOptions = { updateIntervalInMs: 600_000 };
  return new EventHubConsumerClient(group, connectionString, hub, { retryOptions, loadBalancingOptions, ...options });
}

/** Uses a client and closes it. */
async function using(client, use) {
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

/** The sequence number of the last event of a partition, -1 if there is none. */
async function tail(hub, partition, options) {
  return using(consumer(hub, options), async (client) => (await client.getPartitionProperties(partition)).lastEnqueuedSequenceNumber);
}

/** The same of several partitions. */
async function tails(hub, partitions) {
  return using(consumer(hub), async (client) => {
    const found = {};
    for (const partition of partitions) {
      found[partition] = (await client.getPartitionProperties(partition)).lastEnqueuedSequenceNumber;
    }
    return found;
  });
}

/** Sends events in one batch, and tells where they begin: the sequence number to read exactly them from. */
async function send(hub, events, partition = "0") {
  const start = await tail(hub, partition);
  await using(producer(hub), async (client) => {
    const batch = await client.createBatch({ partitionId: partition });
    for (const event of events) {
      if (!batch.tryAdd(event)) throw new Error("the batch is full");
    }
    await client.sendBatch(batch);
  });
  return start;
}

const after = (sequenceNumber) => ({ sequenceNumber, isInclusive: false });

/** Waits until a condition holds that somebody tells about. */
class Told {
  #waiting = new Set();

  tell() {
    for (const look of [...this.#waiting]) look();
  }

  async wait(what, condition, patience = PATIENCE) {
    if (condition()) return;
    await new Promise((resolve, reject) => {
      const look = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`${typeof what === "function" ? what() : what} did not happen`));
      }, patience);
      this.#waiting.add(look);
    });
  }
}

/** A consumer at work. Everything it is told is kept in order. */
class Reader {
  constructor(hub, { partition = "0", position = { offset: "-1" }, ...options } = {}) {
    const { connectionString, group, retryOptions, webSocketOptions, ...subscription } = options;
    const given = { connectionString, group, retryOptions, webSocketOptions };
    for (const name of Object.keys(given)) if (given[name] === undefined) delete given[name];
    this.events = [];
    this.errors = [];
    this.closed = [];
    this.contexts = [];
    this.sizes = [];
    this.told = new Told();
    this.client = consumer(hub, given);
    const handlers = {
      processEvents: async (events, context) => {
        this.events.push(...events);
        this.sizes.push(events.length);
        this.contexts.push({ ...context.lastEnqueuedEventProperties });
        this.told.tell();
      },
      processError: async (error) => {
        this.errors.push(error);
        this.told.tell();
      },
      processClose: async (reason) => {
        this.closed.push(reason);
        this.told.tell();
      },
    };
    const what = { startPosition: position, maxWaitTimeInSeconds: 0.2, ...subscription };
    this.subscription =
      partition === null ? this.client.subscribe(handlers, what) : this.client.subscribe(partition, handlers, what);
  }

  wait(what, condition) {
    return this.told.wait(
      () => `${what} (${this.events.length} events, errors ${this.errors}, closed ${this.closed})`,
      condition,
    );
  }

  async waitFor(count) {
    await this.wait(`receiving ${count} events`, () => this.events.length >= count || this.errors.length > 0);
    if (this.errors.length > 0) throw this.errors[0];
    return this.events;
  }

  async close() {
    await this.subscription.close();
    await this.client.close();
  }
}

/** Exactly the next events from a position on. */
async function receive(hub, count, options) {
  return using(new Reader(hub, options), async (reader) => (await reader.waitFor(count)).slice(0, count));
}

/** Sends events in one batch and receives them. */
async function roundTrip(hub, events, partition = "0", options = {}) {
  const start = await send(hub, events, partition);
  return receive(hub, events.length, { partition, position: after(start), ...options });
}

/** Ends and starts the server that `RESTARTED` leads to: `kill` as a power cut ends it, `stop` as an operator does, `start`. */
async function server(command) {
  const [host, port] = process.env.TIDEGATE_CONTROL.split(":");
  const answer = await new Promise((resolve, reject) => {
    let said = "";
    const socket = net.connect(Number(port), host, () => socket.write(`${command}\n`));
    socket.on("data", (data) => {
      said += data;
      if (said.includes("\n")) {
        socket.destroy();
        resolve(said.trim());
      }
    });
    socket.on("error", reject);
  });
  if (answer !== "ok") throw new Error(`${command}: ${answer}`);
}

module.exports = {
  BLOBS, CONNECTION_STRING, HTTP, KEYS, PATIENCE, PATIENT, RESTARTED, RETRIES, Reader, Told,
  after, consumer, field, producer, receive, roundTrip, send, server, tail, tails, using, withKey,
};
