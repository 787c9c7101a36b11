/**
 * The provider's claims: its fields are valid, and its features are true.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ProviderError, UnsupportedError } from "../errors.ts";
import { equal, ok, rejects } from "./assert.ts";
import { drain } from "./queues.ts";
import { type Cases, slow } from "./cases.ts";

/** The largest body in bytes that the kit tries. */
export const TRIED = 8_000_000;

/** Cases about claims. Other files have the cases about `counts`, `ordered`, `durable`, `capacity`, `exactSize` and `latency`. */
export const claims: Cases = {
  "a provider is plain data: a name, features, a worker, options that can be posted": (t) => {
    const { name, features, worker, options } = t.provider;
    ok(typeof name === "string" && name !== "", "it has a name");
    ok(worker instanceof URL, "its worker is a URL");
    structuredClone(options);
    for (const claim of ["counts", "ordered", "durable", "shared", "exactSize"] as const) {
      equal(typeof features[claim], "boolean", `features.${claim}`);
    }
    for (const claim of ["capacity", "maxBody", "maxDelay", "latency"] as const) {
      ok(features[claim] >= 0, `features.${claim} is ${features[claim]}`);
    }
    ok(features.capacity >= 1 && features.maxBody >= 1_024, "it holds at least one item, and one of 1 kB");
    return Promise.resolve();
  },

  "shared: buses of two provider values reach each other": {
    skip: ({ shared }) => shared ? undefined : "each provider value has topics, queues and functions of its own",
    run: async (t) => {
      const [one, two] = await t.buses(2) as [Bus, Bus];
      const seen = t.collect<string>();
      await two.subscribe("topic", seen.add).ready;
      await one.publish("x", "topic");
      await seen.are(["x"]);
    },
  },

  "maxBody: a body of this size is accepted everywhere, a larger one is refused everywhere": {
    skip: ({ maxBody }) => maxBody > TRIED ? `a body of more than ${TRIED} bytes is not tried` : undefined,
    run: async (t) => {
      const bus = await t.open();
      const client = await t.rawClient();
      const { maxBody } = t.features;
      const largest = JSON.stringify("x".repeat(maxBody - 2));
      const tooLarge = `${largest} `;
      const wide = JSON.stringify("é".repeat(Math.floor(maxBody / 2)));
      const seen = t.collect<string>();
      await bus.subscribe("topic", seen.add).ready;
      const queue = t.queue<string>(bus, "queue");
      await client.publish("topic", largest);
      equal((await seen.count(1))[0]!.length, maxBody - 2);
      await client.put("queue", largest);
      equal((await queue.get()).length, maxBody - 2);
      for (const body of [tooLarge, wide]) {
        await rejects(() => client.publish("topic", body), ProviderError, "too_large", "publish");
        await rejects(() => client.put("queue", body), ProviderError, "too_large", "put");
      }
    },
  },

  "maxBody: 5 MB are accepted everywhere if the limit allows it": {
    skip: ({ maxBody }) => maxBody > TRIED ? undefined : "its largest body is tried itself",
    deadline: 60_000,
    run: async (t) => {
      const bus = await t.open();
      const body = "é".repeat(2.5e6);
      const seen = t.collect<string>();
      bus.subscribe("topic", seen.add);
      await bus.publish(body, "topic");
      const queue = t.queue<string>(bus, "queue");
      await queue.put(body);
      await bus.expose("echo", (value: string) => value);
      ok((await seen.count(1))[0] === body, "the event");
      ok(await queue.get() === body, "the item");
      ok(await bus.stub("echo")(body) === body, "the result");
    },
  },

  "maxDelay: a delay of this length works, and a longer one is never shortened": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "queue");
    await queue.put("item");
    const lease = await queue.receive();
    const { maxDelay } = t.features;
    if (maxDelay < Infinity) {
      const beyond = maxDelay + 1;
      await rejects(() => lease.nack({ delay: beyond }), UnsupportedError, "unsupported");
      await rejects(() => queue.consume(() => {}, { backoff: beyond }), UnsupportedError, "unsupported");
    }
    await lease.nack({ delay: Math.min(maxDelay, 1e12) });
    await t.quiet();
    equal(await drain(t, queue), []);
  },

  "capacity: a queue without a limit accepts 2,000 items": {
    ...slow(60_000, async (t) => {
      const bus = await t.open();
      const queue = t.queue<number>(bus, "queue");
      await Promise.all(Array.from({ length: 2_000 }, (_, i) => queue.put(i)));
      await t.settle();
      if (t.features.exactSize) equal(await queue.qsize(), 2_000);
      const got = await Promise.all(Array.from({ length: 2_000 }, () => queue.get()));
      equal(new Set(got).size, 2_000, "the number of different items");
      equal(await drain(t, queue), []);
    }),
    skip: ({ capacity }) => capacity === Infinity ? undefined : "its queues can be full",
  },
};
