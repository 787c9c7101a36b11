/**
 * The global API of `mod.ts` over one default bus.
 *
 * @module
 */
import * as tsmq from "../../mod.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases, Conditional } from "../../src/conformance/cases.ts";
import type { CaseContext } from "../../src/conformance/case_context.ts";

/** There is one default bus: the cases that use it take turns, however they are run. */
let turn: Promise<unknown> = Promise.resolve();

/** Creates a case that has the default bus for itself. */
export function alone(
  body: (t: CaseContext, init: (options?: tsmq.BusOptions) => Promise<tsmq.Bus>) => Promise<void>,
): Conditional {
  const run = async (t: CaseContext) => {
    const init = async (options: tsmq.BusOptions = {}) => {
      const bus = await tsmq.init(t.provider, { namespace: t.namespace, ...options });
      t.adopt(bus);
      return bus;
    };
    try {
      await body(t, init);
    } finally {
      await tsmq.shutdown({ timeout: 2_000 });
    }
  };
  return {
    run: (t) => {
      const played = turn.then(() => run(t));
      turn = played.catch(() => {});
      return played;
    },
  };
}

class News {
  static readonly topic = "kit.news";
  constructor(readonly text: string) {}
}

/** Cases about `init`, `shutdown` and the verbs around them. */
export const global: Cases = {
  "init() opens the default bus, shutdown() closes it, and init() may follow again": alone(async (t, init) => {
    for (let i = 0; i < 3; i++) {
      const bus = await init();
      const seen = t.collect<string>();
      tsmq.subscribe("greetings", seen.add);
      tsmq.subscribe(News, (news) => seen.add(news.text));
      await tsmq.publish("hello", "greetings");
      await seen.are(["hello"]);
      await tsmq.publish(new News("bye"));
      await seen.are(["hello", "bye"]);
      await tsmq.expose("add", (a: number, b: number) => a + b);
      equal(await tsmq.stub("add")(1, 2), 3);
      equal(await tsmq.stub("add", { multi: true })(3, 4), [{ status: "fulfilled", value: 7 }]);
      await tsmq.unexpose("add");
      const queue = tsmq.queue<string>("queue");
      await queue.put("item");
      equal(await queue.get(), "item");
      await queue.free();
      await tsmq.shutdown();
      equal(await bus.closed, undefined);
    }
  }),

  "init() rejects while the default bus is open, or opening": alone(async (t, init) => {
    const first = init();
    await rejects(() => tsmq.init(t.provider), tsmq.BusError, "already_open", "init() while the first is opening");
    await first;
    await rejects(() => tsmq.init(t.provider), tsmq.BusError, "already_open", "init() while the bus is open");
    await tsmq.publish("still well", "topic");
  }),

  "a failed init() leaves nothing behind, so another init() can follow": alone(async (t, init) => {
    const denied = new tsmq.ProviderError("denied", "Cannot open: wrong password");
    const seen = t.collect<string>();
    tsmq.subscribe("topic", seen.add);
    await rejects(() => tsmq.init({ ...t.provider, open: () => Promise.reject(denied) }), tsmq.ProviderError, "denied");
    await rejects(() => tsmq.publish("x", "topic"), tsmq.NotInitializedError, "not_initialized");
    await init();
    await tsmq.publish("remembered still", "topic");
    await seen.are(["remembered still"]);
  }),

  "shutdown() with nothing to shut down does nothing": alone(async (_, init) => {
    await tsmq.shutdown();
    await tsmq.shutdown();
    await init();
    await Promise.all([tsmq.shutdown(), tsmq.shutdown()]);
    await tsmq.shutdown();
  }),

  "publish, queue and stub before init() reject with NotInitializedError": alone(async (_, init) => {
    const verbs: Record<string, () => unknown> = {
      publish: () => tsmq.publish("x", "topic"),
      "publish(event)": () => tsmq.publish(new News("x")),
      "topic.publish": () => tsmq.topic<string>("topic").publish("x"),
      queue: () => tsmq.queue("queue"),
      stub: () => tsmq.stub("fn"),
    };
    await each(verbs, (use, verb) => rejects(use, tsmq.NotInitializedError, "not_initialized", `${verb} before init`));
    await init();
    await tsmq.shutdown();
    await each(
      verbs,
      (use, verb) => rejects(use, tsmq.NotInitializedError, "not_initialized", `${verb} after shutdown`),
    );
  }),

  "init() applies earlier subscriptions and exposures": alone(async (t, init) => {
    const seen = t.collect<string>();
    const topic = tsmq.topic<string>("typed");
    await tsmq.subscribe("name", (text) => seen.add(`name ${text}`)).ready;
    await tsmq.subscribe("p*n", (text) => seen.add(`pattern ${text}`), { pattern: true }).ready;
    await tsmq.subscribe(News, ({ text }) => seen.add(`class ${text}`)).ready;
    topic.subscribe((text) => seen.add(`topic ${text}`));
    tsmq.subscriber("wrapped")((text: string) => seen.add(`wrapped ${text}`));
    tsmq.remote("shout")((text: string) => text.toUpperCase());
    await tsmq.expose("add", (a: number, b: number) => a + b);
    await tsmq.expose(
      new (class Service {
        ping(): string {
          return "pong";
        }
      })(),
    );
    await init();
    // init has awaited them: others' events arrive, others' calls are served
    const other = await t.open();
    equal(await other.stub("add")(1, 2), 3);
    equal(await other.stub("Service.ping")(), "pong");
    equal(await other.stub("shout")("hey"), "HEY");
    await other.publish("a", "name");
    await other.publish("b", "pattern");
    await other.publish(new News("c"));
    await other.publish("d", "typed");
    await other.publish("e", "wrapped");
    equal((await seen.count(5)).toSorted(), ["class c", "name a", "pattern b", "topic d", "wrapped e"]);
    await topic.publish("f");
    equal((await seen.count(6))[5], "topic f", "a topic made before init() works after it");
  }),

  "a call waits for a function that is wrapped after init(), and finds one that was wrapped before": alone(
    async (_, init) => {
      tsmq.remote("before")(() => "before");
      await init();
      equal(await tsmq.stub("before")(), "before");
      tsmq.remote("after")(() => "after");
      equal(await tsmq.stub("after")(), "after");
    },
  ),

  "init() does not apply subscriptions and exposures that were removed before": alone(async (t, init) => {
    const seen = t.collect<string>();
    const handler = (text: string) => seen.add(`unsubscribed ${text}`);
    const abort = new AbortController();
    const fn = () => "exposed";
    tsmq.subscribe("topic", handler);
    tsmq.subscribe("t*", handler, { pattern: true });
    const subscription = tsmq.subscribe("topic", () => seen.add("ended"));
    tsmq.subscribe("topic", () => seen.add("aborted"), { signal: abort.signal });
    tsmq.subscribe("topic", (text: string) => seen.add(`stays ${text}`));
    await tsmq.expose("fn", fn);
    await tsmq.unsubscribe("topic", handler);
    await tsmq.unsubscribe("t*", handler);
    await tsmq.unsubscribe("never", handler);
    await subscription.unsubscribe();
    abort.abort();
    await tsmq.unexpose("fn");
    await init();
    await tsmq.publish("x", "topic");
    await seen.count(1);
    await t.quiet();
    equal(seen.values, ["stays x"]);
    await rejects(() => tsmq.stub("fn", { timeout: 5_000 })(), tsmq.NoSuchRemoteError);
  }),

  "a handler that was subscribed twice before init() is unsubscribed once at a time": alone(async (t, init) => {
    const seen = t.collect<string>();
    const handler = (text: string) => seen.add(text);
    for (let i = 0; i < 3; i++) tsmq.subscribe("topic", handler);
    await tsmq.unsubscribe("topic", handler);
    await init();
    await tsmq.publish("x", "topic");
    await seen.are(["x", "x"]);
    await tsmq.unsubscribe("topic", handler);
    await tsmq.publish("y", "topic");
    await seen.are(["x", "x", "y"]);
  }),

  "subscriptions and exposures from before init() can be removed after it": alone(async (t, init) => {
    const seen = t.collect<string>();
    const handler = () => seen.add("unsubscribed");
    tsmq.subscribe("topic", handler);
    const subscription = tsmq.subscribe("topic", () => seen.add("ended"));
    const abort = new AbortController();
    tsmq.subscribe("topic", () => seen.add("aborted"), { signal: abort.signal });
    await tsmq.expose("fn", () => "exposed");
    await init();
    await tsmq.publish("x", "topic");
    equal(new Set(await seen.count(3)), new Set(["unsubscribed", "ended", "aborted"]));
    await tsmq.unsubscribe("topic", handler);
    await subscription.unsubscribe();
    abort.abort();
    await tsmq.unexpose("fn");
    await tsmq.publish("x", "topic");
    await t.quiet();
    equal(seen.values.length, 3);
    await rejects(() => tsmq.stub("fn", { timeout: 5_000 })(), tsmq.NoSuchRemoteError);
  }),

  "subscribing, exposing and removing take effect while init() applies the rest": alone(async (t, init) => {
    const seen = t.collect<string>();
    const late = t.collect<Promise<void>>();
    const gone = () => seen.add("gone");
    tsmq.subscribe("topic", gone);
    await tsmq.expose("gone", () => "gone");
    const applying = async () => {
      for (let i = 0; i < 50; i++) await undefined; // it has begun, and no answer of a worker can have come
      tsmq.subscribe("topic", (text: string) => seen.add(text));
      late.add(tsmq.unsubscribe("topic", gone));
      late.add(tsmq.expose("fn", () => "late"));
      late.add(tsmq.unexpose("gone"));
    };
    await init({ log: ({ event }) => event === "open" && void applying() });
    await Promise.all(await late.count(3));
    await tsmq.publish("x", "topic");
    await seen.count(1);
    await t.quiet();
    equal(seen.values, ["x"]);
    equal(await tsmq.stub("fn")(), "late");
    await rejects(() => tsmq.stub("gone", { timeout: 5_000 })(), tsmq.NoSuchRemoteError);
  }),

  "shutdown() with an invalid option does not change the bus": alone(async (t, init) => {
    const seen = t.collect<string>();
    tsmq.subscribe("topic", seen.add);
    await init();
    await rejects(() => tsmq.shutdown({ timeout: NaN }), tsmq.ValidationError, "invalid");
    await tsmq.publish("still there", "topic");
    await seen.are(["still there"]);
  }),

  "shutdown() and close() reject a number, and do not change the bus": alone(async (_, init) => {
    const bus = await init();
    const message = "Cannot close the bus: options must be an object, not a number";
    await Promise.all(
      [tsmq.shutdown(1_000 as never), bus.close(1_000 as never)].map(async (end) =>
        equal((await rejects(end, tsmq.ValidationError, "invalid")).message, message)
      ),
    );
    equal(bus.health().state, "up");
  }),

  "shutdown and close() can be listeners, which get other arguments": alone(async (_, init) => {
    const bus = await init();
    const close: (...args: never[]) => Promise<unknown> = bus.close.bind(bus);
    const shutdown: (...args: never[]) => Promise<unknown> = tsmq.shutdown;
    const args = ["SIGTERM", 15] as unknown as never[];
    await shutdown(...args);
    await shutdown(new Event("abort") as never);
    await close(new Event("abort") as never);
    await close(null as never);
    equal(bus.health().state, "closed");
  }),

  "each shutdown() resolves when the bus is closed": alone(async (t, init) => {
    const bus = await init();
    const { passed, open } = t.gate();
    const started = t.collect<string>();
    tsmq.subscribe<string>("topic", async (text) => {
      started.add(text);
      await passed;
    });
    await tsmq.publish("x", "topic");
    await started.count(1);
    const ends = [tsmq.shutdown(), tsmq.shutdown()].map((end) => end.then(() => bus.health().state));
    await t.quiet();
    open();
    equal(await Promise.all(ends), ["closed", "closed"]);
  }),

  "shutdown() removes all subscriptions and exposures, applied or not": alone(async (t, init) => {
    const seen = t.collect<string>();
    tsmq.subscribe("topic", () => seen.add("applied"));
    await tsmq.expose("fn", () => "applied");
    await init();
    await tsmq.shutdown();
    tsmq.subscribe("topic", () => seen.add("never applied"));
    await tsmq.expose("fn", () => "never applied");
    await tsmq.shutdown();
    await init();
    await tsmq.publish("x", "topic");
    await t.quiet();
    equal(seen.values, []);
    await rejects(() => tsmq.stub("fn", { timeout: 5_000 })(), tsmq.NoSuchRemoteError);
  }),

  "a name exposed twice before init() is refused": alone(async () => {
    await tsmq.expose("fn", () => 1);
    await rejects(() => tsmq.expose("fn", () => 2), tsmq.BusError, "invalid");
  }),

  "if the name of one method is taken, no method of the object is exposed": alone(async (_, init) => {
    class Service {
      first(): void {}
      taken(): void {}
    }
    await tsmq.expose("Service.taken", () => {});
    await rejects(() => tsmq.expose(new Service()), tsmq.BusError, "invalid");
    await init();
    await rejects(() => tsmq.stub(Service, { timeout: 5_000 }).first(), tsmq.NoSuchRemoteError);
  }),

  "invalid arguments are refused before init(), as after it": alone(async (_, init) => {
    const verbs: Record<string, () => unknown> = {
      "subscribe to no name": () => tsmq.subscribe("", () => {}),
      "subscribe without a handler": () => tsmq.subscribe("topic", undefined as never),
      "subscribe({ concurrency: 0 })": () => tsmq.subscribe("topic", () => {}, { concurrency: 0 }),
      "topic without a name": () => tsmq.topic(""),
      "expose without a function": () => tsmq.expose("fn", undefined as never),
      "expose with no name": () => tsmq.expose("", () => {}),
    };
    await each(verbs, (use, verb) => rejects(use, tsmq.ValidationError, "invalid", `${verb} before init`));
    await init();
    await each(verbs, (use, verb) => rejects(use, tsmq.ValidationError, "invalid", `${verb} after init`));
  }),

  "for await over a topic can begin before init()": alone(async (t, init) => {
    const topic = tsmq.topic<number>("numbers");
    const seen = t.collect<number>();
    const loop = (async () => {
      for await (const i of topic) seen.add(i);
    })();
    await init();
    await tsmq.publish(1, "numbers");
    await seen.are([1]);
    await tsmq.shutdown();
    await loop;
  }),

  "decorators before init() take effect with it": alone(async (t, init) => {
    const seen = t.collect<string>();
    class Service {
      @tsmq.subscriber("topic")
      read(text: string): void {
        seen.add(text);
      }
      @tsmq.remote()
      ping(): string {
        return "pong";
      }
    }
    new Service();
    await init();
    await tsmq.publish("x", "topic");
    await seen.are(["x"]);
    equal(await tsmq.stub(Service).ping(), "pong");
  }),

  "the default bus and other buses exist at the same time": alone(async (t, init) => {
    const own = await t.open();
    const bus = await init();
    ok(bus !== own, "they are two");
    await own.expose("fn", () => "own");
    equal(await tsmq.stub("fn")(), "own");
    await tsmq.shutdown();
    equal(await own.stub("fn")(), "own");
  }),
};
