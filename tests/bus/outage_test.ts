// run: on deno, waiting
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Bus, BusError, type Gap, ProviderError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, timed, until, within } from "../support/until.ts";
import { fresh, onRedis } from "./grounds.ts";

const OPTIONS = { connectTimeout: 5_000, sendTimeout: 1_000, timeout: 10_000 };
/** Options of a server that stores acknowledged writes on disk, so that they survive a kill. */
const DURABLE = { args: ["--appendonly", "yes", "--appendfsync", "always"] };

/** The reports of a bus. */
function listen(bus: Bus): { states: string[]; gaps: Gap[]; errors: unknown[] } {
  const said = { states: [] as string[], gaps: [] as Gap[], errors: [] as unknown[] };
  bus.addEventListener("state", (event) => said.states.push(event.detail));
  bus.addEventListener("gap", (event) => said.gaps.push(event.detail));
  bus.addEventListener("error", (event) => said.errors.push(event.error));
  return said;
}

/** Calls a function with 0, 1, 2, … every few milliseconds, without waiting for its result, until it is stopped. */
class Traffic<T> implements Disposable {
  readonly done: number[] = [];
  readonly failed: { n: number; error: unknown }[] = [];
  readonly results: T[] = [];
  #pending = new Set<Promise<void>>();
  #timer: ReturnType<typeof setInterval>;
  #n = 0;

  constructor(ms: number, act: (n: number) => Promise<T>) {
    this.#timer = setInterval(() => {
      const n = this.#n++;
      const acting = act(n).then((result) => {
        this.done.push(n);
        this.results.push(result);
      }, (error) => void this.failed.push({ n, error })).finally(() => this.#pending.delete(acting));
      this.#pending.add(acting);
    }, ms);
  }

  /** Resolves when each of them has ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await within(`${this.#pending.size} of ${this.#n} end`, Promise.all(this.#pending));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Runs publishers, consumers, callers and gets while `disturb` disturbs the server. */
async function disturbed(url: string, disturb: (buses: Bus[]) => Promise<void>): Promise<void> {
  const namespace = fresh();
  const open = () => Bus.open(redis({ url }), { namespace, ...OPTIONS });
  await using sending = await open();
  await using handling = await open();
  await using waiting = await open();
  const said = [sending, handling, waiting].map(listen);

  const events: number[] = [];
  const globbed: number[] = [];
  const handled: number[] = [];
  await handling.subscribe<number>("events", (n) => events.push(n)).ready;
  await handling.subscribe<number>("e*s", (n) => globbed.push(n), { pattern: true }).ready;
  await handling.expose("echo", (n: number) => n);
  const consumer = handling.queue<number>("jobs").consume((n) => void handled.push(n), {
    concurrency: 4,
    lease: 2_000,
  });
  const got = waiting.queue("got").get();
  const received = waiting.queue("received").receive();
  const looped: unknown[] = [];
  for (const waits of [got, received]) waits.catch(() => {}); // awaited below, unless something else fails first
  const loop = (async () => {
    for await (const item of waiting.queue("looped")) looped.push(item);
  })();
  loop.catch(() => {});

  const echo = sending.stub<(n: number) => number>("echo");
  const jobs = sending.queue<number>("jobs");
  using publishing = new Traffic(5, (n) => sending.publish(n, "events"));
  using putting = new Traffic(5, (n) => jobs.put(n));
  using calling = new Traffic(5, (n) => echo(n));
  await until("all of it runs", () => events.length > 20 && handled.length > 20 && calling.done.length > 20);

  await disturb([sending, handling, waiting]);

  await until(
    "all buses are up",
    () => [sending, handling, waiting].every((bus) => bus.health().state === "up"),
    30_000,
  );
  const [event, job, call] = [Math.max(...events), Math.max(...handled), calling.done.length];
  await until("events are handled again", () => Math.max(...events) > event + 50);
  await until("jobs are handled again", () => Math.max(...handled) > job + 50);
  await until("calls are answered again", () => calling.done.length > call + 50);
  await Promise.all([publishing.stop(), putting.stop(), calling.stop()]);

  // all errors are errors of the outage, and no error says that the function or the queue does not exist
  // (a request or an answer that was lost with its connection ends the call by its deadline)
  for (
    const [traffic, codes] of [[publishing, ["unavailable"]], [putting, ["unavailable"]], [calling, [
      "unavailable",
      "timeout",
    ]]] as const
  ) {
    const others = traffic.failed.filter(({ error }) => {
      return !(error instanceof BusError) || !(codes as readonly string[]).includes(error.code);
    });
    assertEquals(others, []);
  }
  assertEquals(calling.results, calling.done, "each call got the answer to its own question");
  for (const seen of [events, globbed]) assertEquals(seen, [...new Set(seen)].sort((a, b) => a - b));
  await until("the last event is handled", () => events.includes(publishing.done.at(-1)!));
  await until("every job that was put is handled", () => putting.done.every((n) => handled.includes(n)));
  await until("nothing waits", async () => await jobs.qsize() === 0);
  const lost = publishing.done.filter((n) => !events.includes(n));
  assert(lost.length === 0 || said[1]!.gaps.length > 0, `${lost.length} events were lost without a gap`);

  await sending.queue("got").put("got");
  await sending.queue("received").put("received");
  await sending.queue("looped").put("looped");
  assertEquals(await within("the blocked get continues", got), "got");
  const lease = await within("the blocked receive continues", received);
  assertEquals(lease.item, "received");
  await lease.ack();
  await until("the loop continues", () => looped.length === 1);
  waiting.queue("looped").close();
  await consumer.close();
  await waiting.close();
  await within("the loop ends with its bus", loop);
  // an outage may outlast the lease of an item: then another consumer has it, and the acknowledgement is rejected
  const others = said[1]!.errors.filter((error) =>
    !(error instanceof ProviderError) && !(error instanceof BusError && error.code === "lease_lost")
  );
  assertEquals(others, []);
}

onRedis("a server", ({ it }) => {
  it("that is killed and started again: buses reconnect, waiting gets continue, calls end or answer, a gap is reported", async () => {
    await using server = await RedisServer.start(DURABLE);
    await disturbed(server.url, async (buses) => {
      const said = buses.map(listen);
      await server.kill();
      await until("it is noticed", () => buses.every((bus) => bus.health().state === "down"));
      await pause(1_000); // attempts to connect fail meanwhile
      await server.start();
      await until("all are up", () => buses.every((bus) => bus.health().state === "up"));
      // on a busy machine, one half of a bus may be up again before the other one notices the loss
      for (const { states } of said) assertMatch(states.join(" "), /^down up( down up)?$/);
      assert(said.every(({ gaps }) => gaps.length > 0), "each bus reports a gap");
    });
  });

  it("that is frozen for five seconds and thawed", async () => {
    await using server = await RedisServer.start(DURABLE);
    await disturbed(server.url, async ([sending]) => {
      server.freeze();
      const frozen = pause(5_000);
      const failure = await sending!.publish("frozen", "other").then(() => undefined, (error) => error);
      assert(failure instanceof ProviderError && failure.code === "unavailable", String(failure));
      await frozen;
      server.thaw();
    });
  });

  it("that cuts each connection in turn, by CLIENT KILL", async () => {
    await using server = await RedisServer.start(DURABLE);
    await disturbed(server.url, async (buses) => {
      const ids = (await server.clients()).map((line) => /\bid=(\d+)/.exec(line)![1]!);
      assert(ids.length >= 6 && ids.length <= 12, `${ids.length} connections`);
      for (const id of ids) {
        await server.run("client", "kill", "id", id);
        await pause(100);
      }
      const reconnected = () => buses.every((bus) => bus.health().state === "up" && bus.health().reconnects > 0);
      await until("all have noticed", reconnected);
    });
  });

  it("whose connections are half open: nothing arrives, and no error is reported", async () => {
    await using server = await RedisServer.start(DURABLE);
    await using proxy = await TcpProxy.to(server.port);
    await disturbed(`redis://127.0.0.1:${proxy.port}`, async (buses) => {
      proxy.dead = true;
      await until("it is noticed", () => buses.every((bus) => bus.health().state === "down"), 30_000);
      proxy.cut();
      proxy.dead = false;
    });
  });

  it("that returns at another address of the same name", async () => {
    await using server = await RedisServer.start(DURABLE);
    await using proxy = await TcpProxy.to(server.port);
    await disturbed(`redis://127.0.0.1:${proxy.port}`, async (buses) => {
      await proxy.refuse();
      await until("it is noticed", () => buses.every((bus) => bus.health().state === "down"));
      await pause(500);
      await proxy.accept();
    });
  });

  it("that is down when a bus is closed: the bus closes in time, and its waiting get rejects", async () => {
    await using server = await RedisServer.start();
    const bus = await Bus.open(redis({ url: server.url }), { namespace: fresh(), ...OPTIONS });
    listen(bus);
    await bus.subscribe("t", () => {}).ready;
    const got = bus.queue("q").get().catch((error) => error);
    await server.kill();
    await until("it is noticed", () => bus.health().state === "down");
    const took = await timed(() => bus.close({ timeout: 500 }));
    assert(took < 3_000, `it took ${took} ms`);
    const error = await within("the get ends", got);
    assert(error instanceof BusError && error.code === "closed", String(error));
  });

  it("that is frozen when a bus is closed", async () => {
    await using server = await RedisServer.start();
    const bus = await Bus.open(redis({ url: server.url }), { namespace: fresh(), ...OPTIONS });
    listen(bus);
    await bus.subscribe("t", () => {}).ready;
    const got = bus.queue("q").get().catch((error) => error);
    server.freeze();
    const took = await timed(async () => assertEquals((await bus.close({ timeout: 500 })).clean, false));
    assert(took < 3_000, `it took ${took} ms`);
    const error = await within("the get ends", got);
    assert(error instanceof BusError && error.code === "closed", String(error));
    server.thaw();
    await until("the server sees no connection of it", async () => (await server.clients()).length === 0);
  });

  it("that is down when the only attempt of an item ends: the item is acknowledged when the server is back", async () => {
    await using server = await RedisServer.start(DURABLE);
    await using bus = await Bus.open(redis({ url: server.url }), { namespace: fresh(), ...OPTIONS });
    const { errors } = listen(bus);
    const { promise: down, resolve: end } = Promise.withResolvers<void>();
    const jobs = bus.queue<string>("jobs");
    let handled = 0;
    const consumer = jobs.consume(async () => {
      handled++;
      await down;
    }, { maxAttempts: 1 });
    await jobs.put("item");
    await until("it is handled", () => handled === 1);
    await server.kill();
    await until("it is noticed", () => bus.health().state === "down");
    end();
    await pause(7_000); // the first acknowledgement fails after 5 s
    await server.start();
    await until("it is back", () => bus.health().state === "up", 30_000);
    await until("it is acknowledged", async () => {
      const { waiting, leased, delayed } = await jobs.stats();
      return [waiting, leased, delayed].every((count) => count === 0);
    });
    await consumer.close();
    assertEquals([handled, await jobs.dead.size(), errors], [1, 0, []]);
  });

  it("that is down when a bus subscribes and publishes: each promise settles", async () => {
    await using server = await RedisServer.start();
    await using bus = await Bus.open(redis({ url: server.url }), { namespace: fresh(), ...OPTIONS });
    listen(bus);
    await server.kill();
    await until("it is noticed", () => bus.health().state === "down");
    const got: unknown[] = [];
    const subscription = bus.subscribe("t", (event) => got.push(event));
    const failure = await within("publish ends", bus.publish(1, "t").then(() => undefined, (error) => error));
    assert(failure instanceof ProviderError && failure.code === "unavailable", String(failure));
    const put = await within("put ends", bus.queue("q").put(1).then(() => undefined, (error) => error));
    assert(put instanceof ProviderError && put.code === "unavailable", String(put));
    const call = await within("call ends", bus.stub("f", { timeout: 1_000 })().then(() => undefined, (e) => e));
    assert(call instanceof BusError && ["timeout", "unavailable"].includes(call.code), String(call));
    await server.start();
    await within("the subscription is made", subscription.ready);
    await until("the sender is back too", () => bus.health().state === "up");
    await bus.publish(2, "t");
    await until("an event is handled", () => got.includes(2));
  });
});
