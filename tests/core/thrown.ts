/**
 * Whatever is thrown, it is an error with a text: nothing that a handler throws stops a bus, a subscription or a server.
 *
 * @module
 */
import type { Bus } from "../../src/bus.ts";
import { RemoteInvocationError, ValidationError } from "../../src/errors.ts";
import type { DeadLetter } from "../../src/queue/letter.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

function unreadable(key: string): Error {
  return Object.defineProperty(new Error("on purpose"), key, {
    get() {
      throw new Error(`"${key}" was read`);
    },
  });
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function cyclic(): Error {
  const error = new Error("round");
  return Object.assign(error, { cause: error });
}

/** Values that cannot be turned into a text, or not as one would think. */
const UNKIND: Readonly<Record<string, () => unknown>> = {
  "an object whose toString is not a function": () => ({ toString: 1 }),
  "an object without a prototype": () => Object.create(null),
  "an error whose message is a bigint": () => Object.assign(new Error(), { message: 5n }),
  "an error whose message throws": () => unreadable("message"),
  "an error whose name throws": () => unreadable("name"),
  "an error whose stack throws": () => unreadable("stack"),
  "a revoked proxy": revoked,
  "a proxy whose traps throw": () =>
    new Proxy(
      {},
      new Proxy({}, {
        get() {
          throw new Error("a trap");
        },
      }),
    ),
  "a symbol": () => Symbol("a symbol"),
  "a function": () => () => {},
  "an error that is its own cause": cyclic,
  "a long text": () => new Error("x".repeat(20_000)),
  "nothing": () => undefined,
};

/** Cases about what is thrown. */
export const thrown: Cases = {
  "for any value that a function throws, its caller receives an error, and the server continues": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
    await server.expose("throw", (what: string) => {
      throw UNKIND[what]!();
    });
    await server.expose("abort", (reason: unknown) => Promise.reject(reason));
    await each(UNKIND, async (_, what) => {
      const error = await rejects(() => caller.stub("throw")(what), RemoteInvocationError, "remote_failed", what);
      ok(typeof error.remoteArgs[0] === "string" && error.remoteType === "Error", `${what} arrives with a text`);
    });
    const error = await rejects(() => caller.stub("abort")({ toString: 1 }), RemoteInvocationError);
    equal(error.remoteArgs, ['{"toString":1}']);
  },

  "a class that extends Error without its own name arrives under the name of the class": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
    class OutOfStock extends Error {}
    class Named extends Error {
      override name = "shop.Named";
    }
    await server.expose("buy", (named: boolean) => Promise.reject(new (named ? Named : OutOfStock)("none left")));
    for (const [named, type] of [[false, "OutOfStock"], [true, "shop.Named"]] as const) {
      const error = await rejects(() => caller.stub("buy")(named), RemoteInvocationError);
      equal([error.remoteType, error.remoteArgs], [type, ["none left"]]);
    }
  },

  "any value that a subscriber throws is reported, and the next event arrives": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(bus);
    await bus.subscribe<string>("topic", (what) => {
      throw UNKIND[what]!();
    }).ready;
    await bus.subscribe<string>("returned", (what) => UNKIND[what]!()).ready;
    for (const [i, what] of Object.keys(UNKIND).entries()) {
      await publisher.publish(what, "topic");
      const event = (await errors.count(i + 1))[i]!;
      equal([typeof event.message, event.topic], ["string", "topic"], `the report of ${what}`);
    }
    const count = Object.keys(UNKIND).length;
    // returned by a handler: two of them cannot even be asked whether they are promises
    for (const what of Object.keys(UNKIND)) await publisher.publish(what, "returned");
    await errors.count(count + 2);
    await t.until(() => bus.health().pending.handlers === 0, "all handlers have ended");
  },

  "for any value that a consumer's handler throws, its item is retried and then dead-lettered": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const seen = t.collect<string>();
    queue.consume((what, { attempt }) => {
      seen.add(`${what}: ${attempt}`);
      throw UNKIND[what]!();
    }, { maxAttempts: 2, backoff: 0, concurrency: 20 });
    const all = Object.keys(UNKIND);
    await Promise.all(all.map((what) => queue.put(what)));
    equal(new Set(await seen.count(2 * all.length)), new Set(all.flatMap((what) => [`${what}: 1`, `${what}: 2`])));
    await errors.count(2 * all.length);
    const dead = bus.queue<DeadLetter<string>>("work.dead");
    for (const _ of all) {
      const { cause, item } = await dead.get({ timeout: 10_000 });
      ok(cause.name === "Error" && typeof cause.message === "string", `the cause of the letter of ${item}`);
      ok(cause.message.length <= 5_000, "a cause has a bound");
    }
  },

  "any value that a schema throws, or returns instead of a result, becomes a ValidationError": async (t) => {
    const bus = await t.open();
    await each(UNKIND, async (make, what) => {
      const failing: Record<string, () => never> = {
        throws: () => {
          throw make();
        },
        rejects: () => Promise.reject(make()) as never,
        "refuses with": () => ({ issues: [{ message: make() }] }) as never,
      };
      for (const [how, validate] of Object.entries(failing)) {
        const topic = bus.topic("topic", { schema: { "~standard": { version: 1, vendor: "kit", validate } } });
        await rejects(() => topic.publish("x" as never), ValidationError, "invalid", `a schema that ${how} ${what}`);
      }
    });
    const nothing = { "~standard": { version: 1, vendor: "kit", validate: () => undefined as never } } as const;
    await rejects(() => bus.topic("topic", { schema: nothing }).publish("x" as never), ValidationError);
  },
};
