/** Cases about the life of a bus in which the transport makes no difference. */
import { Bus } from "../../src/bus.ts";
import { ClosedError, ProviderError, ValidationError } from "../../src/errors.ts";
import { each, equal, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

/** Cases about the life of a bus in which the transport makes no difference. */
export const life: Cases = {
  "Bus.open() rejects with the error of the provider": async (t) => {
    const refusal = new ProviderError("denied", "Cannot open: wrong password");
    const provider = { ...t.provider, open: () => Promise.reject(refusal) };
    equal(await rejects(() => Bus.open(provider, { namespace: t.namespace }), ProviderError, "denied"), refusal);
  },

  "new Bus() says what to use": async (t) => {
    const create = Bus as unknown as new (provider: unknown) => Bus;
    const error = await rejects(() => new create(t.provider), ValidationError, "invalid");
    equal(error.message, "Cannot create a bus: use await Bus.open(provider)");
  },

  "await using closes the bus": async (t) => {
    const bus = await t.open();
    {
      await using scoped = bus;
      equal(scoped.health().state, "up");
    }
    equal(bus.health().state, "closed");
    await bus.closed;
  },

  "every verb rejects with ClosedError when the bus is closed, and names the verb and its target": async (
    t,
  ) => {
    const bus = await t.open();
    const topic = bus.topic<string>("topic");
    const queue = bus.queue("queue");
    const stub = bus.stub("fn");
    const stream = bus.stream("fn");
    await queue.put("x");
    const lease = await queue.receive();
    await bus.close();
    const verbs: Record<string, readonly [use: () => unknown, doing: string]> = {
      publish: [() => bus.publish("x", "topic"), 'publish to "topic"'],
      subscribe: [() => bus.subscribe("topic", () => {}).ready, 'subscribe to "topic"'],
      "topic.publish": [() => topic.publish("x"), 'publish to "topic"'],
      "topic.subscribe": [() => topic.subscribe(() => {}).ready, 'subscribe to "topic"'],
      "for await over a topic": [() => topic[Symbol.asyncIterator]().next(), 'subscribe to "topic"'],
      queue: [() => bus.queue("queue"), 'use queue "queue"'],
      "queue.put": [() => queue.put("x"), 'put into queue "queue"'],
      "queue.putNowait": [() => queue.putNowait("x"), 'put into queue "queue"'],
      "queue.get": [() => queue.get(), 'get from queue "queue"'],
      "queue.getNowait": [() => queue.getNowait(), 'get from queue "queue"'],
      "queue.receive": [() => queue.receive(), 'receive from queue "queue"'],
      "queue.consume": [() => queue.consume(() => {}), 'consume queue "queue"'],
      "queue.qsize": [() => queue.qsize(), 'get the size of queue "queue"'],
      "queue.empty": [() => queue.empty(), 'get the size of queue "queue"'],
      "queue.peek": [() => queue.peek(), 'peek into queue "queue"'],
      "queue.stats": [() => queue.stats(), 'get the stats of queue "queue"'],
      "queue.purge": [() => queue.purge(), 'purge queue "queue"'],
      "queue.free": [() => queue.free(), 'free queue "queue"'],
      "queue.dead.retry": [() => queue.dead.retry(), 'retry the dead letters of queue "queue"'],
      "lease.ack": [() => lease.ack(), 'acknowledge an item of queue "queue"'],
      "lease.nack": [() => lease.nack(), 'give back an item of queue "queue"'],
      expose: [() => bus.expose("fn", () => {}), 'expose "fn"'],
      stub: [() => bus.stub("fn"), 'create a stub of "fn"'],
      "a stub's call": [() => stub(), 'call "fn"'],
      "a stub's rpc": [() => stub.rpc(), 'call "fn"'],
      stream: [() => bus.stream("fn"), 'read a stream of "fn"'],
      "a stream's values": [() => stream()[Symbol.asyncIterator]().next(), 'read the stream "fn"'],
    };
    await each(verbs, async ([use, doing], verb) => {
      const error = await rejects(use, ClosedError, "closed", verb);
      equal(error.message, `Cannot ${doing}: the bus is closed`);
    });
    await bus.unsubscribe("topic", () => {});
    await bus.unexpose("fn");
  },

  "each new state emits a state event": async (t) => {
    const bus = await t.open();
    const seen = t.collect<unknown>();
    bus.addEventListener("state", (event) => seen.add(event.detail));
    await bus.close();
    await seen.are(["closing", "closed"]);
  },

  "a value that is not a provider is refused": async (t) => {
    const { provider } = t;
    const unclonable = { ...provider, options: { password: () => "secret" } };
    const nonsense: Record<string, unknown> = {
      undefined: undefined,
      null: null,
      "a string": "redis://localhost",
      "an empty object": {},
      "the factory itself": () => provider,
      "options that cannot be posted": unclonable,
      "a worker that is not a URL": { ...provider, worker: "worker.ts" },
    };
    const open = (value: unknown) => Bus.open(value as typeof provider, { namespace: t.namespace });
    await each(nonsense, (value, what) => rejects(() => open(value), ValidationError, "invalid", what));
  },
};
