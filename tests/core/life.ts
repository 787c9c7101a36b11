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

  "await using closes the bus": async (t) => {
    const bus = await t.open();
    {
      await using scoped = bus;
      equal(scoped.health().state, "up");
    }
    equal(bus.health().state, "closed");
    await bus.closed;
  },

  "every verb rejects with ClosedError when the bus is closed": async (t) => {
    const bus = await t.open();
    const topic = bus.topic<string>("topic");
    const queue = bus.queue("queue");
    const stub = bus.stub("fn");
    await bus.close();
    const verbs: Record<string, () => unknown> = {
      publish: () => bus.publish("x", "topic"),
      subscribe: () => bus.subscribe("topic", () => {}).ready,
      "topic.publish": () => topic.publish("x"),
      "topic.subscribe": () => topic.subscribe(() => {}).ready,
      "for await over a topic": () => topic[Symbol.asyncIterator]().next(),
      queue: () => bus.queue("queue"),
      "queue.put": () => queue.put("x"),
      "queue.putNowait": () => queue.putNowait("x"),
      "queue.get": () => queue.get(),
      "queue.getNowait": () => queue.getNowait(),
      "queue.receive": () => queue.receive(),
      "queue.consume": () => queue.consume(() => {}),
      "queue.qsize": () => queue.qsize(),
      "queue.empty": () => queue.empty(),
      "queue.free": () => queue.free(),
      expose: () => bus.expose("fn", () => {}),
      stub: () => bus.stub("fn"),
      "a stub's call": () => stub(),
      "a stub's rpc": () => stub.rpc(),
    };
    await each(verbs, (use, verb) => rejects(use, ClosedError, "closed", verb));
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

  "what is not a provider is refused": async (t) => {
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
