/** A server that is down: the same message in rejections, in the "state" event, in the health and in its JSON. */
// run: on deno
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, BusError, type BusState, memory, ProviderError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { pause, until } from "../support/until.ts";
import { fresh } from "./grounds.ts";

describe("an outage of Redis", () => {
  it("has the same message in rejections, in events and in the health, which is cleared at its end", async () => {
    await using server = await RedisServer.start();
    const at = `127.0.0.1:${server.port}`;
    const url = `redis://:secret@${at}`;
    await server.run("config", "set", "requirepass", "secret");
    await using bus = await Bus.open(redis({ url, retry: { max: 100 } }), { namespace: fresh(), sendTimeout: 300 });
    const states: [BusState, string | undefined][] = [];
    bus.addEventListener("state", ({ detail, error }) => states.push([detail, error?.message]));
    await using consuming = await Bus.open(redis({ url }), { namespace: fresh(), sendTimeout: 300 });
    const errors: string[] = [];
    consuming.addEventListener("error", ({ message }) => errors.push(message));
    const handled = Promise.withResolvers<void>();
    const failing = consuming.queue("failing");
    await failing.put(1);
    failing.consume(() => handled.promise, { maxAttempts: 1 });
    await until("its handler runs", () => consuming.health().pending.handlers === 1);
    await server.kill();
    const refused = `Redis at ${at} refused the connection (ECONNREFUSED)`;
    const down = () => (bus.health().lastError as Error | undefined)?.message === `Cannot reach Redis: ${refused}`;
    await until("an attempt to connect has failed", down);
    assertEquals(states.map(([state]) => state), ["down"]);
    assertMatch(
      states[0]![1]!,
      new RegExp(`^Cannot reach Redis: Redis at ${at} (closed|broke|refused) the connection`),
    );
    const message = async (work: () => Promise<unknown>) => (await assertRejects(work, BusError)).message;
    assertEquals(await message(() => bus.queue("thumbs").put(1)), `Cannot put into queue "thumbs": ${refused}`);
    assertEquals(await message(() => bus.publish(1, "news")), `Cannot publish to "news": ${refused}`);
    // later events wait for a command of the first one, which fails before their own
    const topics = Array.from({ length: 10 }, (_, i) => `news "${i}"`);
    const publishing: Promise<string>[] = [];
    for (const topic of topics) {
      publishing.push(message(() => bus.publish(1, topic)));
      await pause(20);
    }
    assertEquals(await Promise.all(publishing), topics.map((topic) => `Cannot publish to "${topic}": ${refused}`));
    // a queue that cannot be reached may have items
    const queue = bus.queue("thumbs");
    assertEquals(await message(() => queue.get({ timeout: 20 })), `Cannot get from queue "thumbs": ${refused}`);
    assertEquals(await message(() => queue.receive({ timeout: 20 })), `Cannot receive from queue "thumbs": ${refused}`);
    const call = () => bus.stub("thumb", { timeout: 50 })();
    assertEquals(
      await message(call),
      `Cannot call "thumb": no answer within 50 ms (Cannot reach Redis: ${refused})`,
    );
    const abort = new AbortController();
    const endless = [bus.subscribe("late", () => {}), bus.subscribe("late", () => {}, { signal: abort.signal })];
    abort.abort("no more");
    assertEquals(await endless[1]!.ready.catch((reason) => reason), "no more");
    await message(() => endless[0]!.unsubscribe());
    assertEquals(
      await message(() => endless[0]!.ready),
      'Cannot subscribe to "late": the subscription was ended',
    );
    handled.reject(new Error("on purpose"));
    const { lastError } = JSON.parse(JSON.stringify(bus.health()));
    assertEquals(lastError, {
      name: "ProviderError",
      code: "unavailable",
      message: `Cannot reach Redis: ${refused}`,
      retryable: true,
    });
    await server.start();
    await until("it is up", () => bus.health().state === "up");
    assertEquals(bus.health().lastError, undefined);
    assertEquals(states.at(-1), ["up", undefined]);
    assertEquals(await message(() => queue.get({ timeout: 20 })), 'Cannot get from queue "thumbs": it is empty');
    await until("the error of its handler is reported", () => errors.length > 0);
    assertEquals(errors, ["on purpose"]);
    assertEquals(await bus.queue("failing.dead").qsize(), 0, "the server has lost the item and its lease");
  });
});

describe("put() with a timeout or a signal", () => {
  it("ends at that time in an outage, and says that the item may still arrive", async () => {
    await using server = await RedisServer.start();
    await using bus = await Bus.open(redis({ url: server.url, retry: { max: 100 } }), {
      namespace: fresh(),
      sendTimeout: 60_000,
    });
    const queue = bus.queue<number>("thumbs");
    const abort = new AbortController();
    await queue.put(1, { timeout: 60_000, signal: abort.signal });
    assertEquals(await queue.get(), 1);
    await server.kill();
    await until("the bus is down", () => bus.health().state === "down");
    const since = performance.now();
    const late = await assertRejects(() => queue.put(2, { timeout: 100 }), ProviderError);
    assertEquals(late.code, "unavailable");
    assertMatch(
      late.message,
      /^Cannot put into queue "thumbs": the transport did not confirm the item within 100 ms, and it may still arrive \(Cannot reach Redis: /,
    );
    assertMatch((late.cause as Error).message, /^Cannot reach Redis: /);
    const aborted = queue.put(3, { signal: abort.signal }).catch((error) => error);
    abort.abort("no more");
    assertEquals(await aborted, "no more");
    assert(performance.now() - since < 30_000, "the put of an outage lasts as long as sendTimeout");
  });

  it("sends nothing that its schema accepts later", async () => {
    await using bus = await Bus.open(memory());
    const gate = Promise.withResolvers<void>();
    const validate = async (value: unknown) => {
      await gate.promise;
      return { value };
    };
    const queue = bus.queue("slow", { schema: { "~standard": { version: 1, vendor: "test", validate } } });
    const abort = new AbortController();
    const ended = [queue.put(1, { timeout: 10 }), queue.put(2, { signal: abort.signal })]
      .map((put) => put.catch((error) => error));
    abort.abort("no more");
    const [late, aborted] = await Promise.all(ended);
    assertEquals([(late as BusError).code, aborted], ["unavailable", "no more"]);
    gate.resolve();
    await queue.put(3);
    assertEquals([await queue.get(), await queue.qsize()], [3, 0]);
  });
});

describe("health().lastError", () => {
  it("survives JSON, whatever was thrown", async () => {
    await using bus = await Bus.open(memory());
    bus.addEventListener("error", () => {});
    for (const [thrown, json] of [[new RangeError("far"), { name: "RangeError", message: "far" }], ["text", "text"]]) {
      await bus.subscribe("topic", () => Promise.reject(thrown)).ready;
      await bus.publish(1, "topic");
      await until("it is reported", () => bus.health().lastError === thrown);
      assertEquals(JSON.parse(JSON.stringify({ health: bus.health() })).health.lastError, json);
    }
  });
});
