// run: on deno
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { itProxied, startEmulator } from "../aws/emulator.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";
import { faulty, watchWorkers } from "./faulty.ts";
import { fresh, onRedis } from "./grounds.ts";

/** Buses of one namespace, and the number of workers that they started. */
class Buses implements AsyncDisposable {
  readonly #namespace = fresh();
  readonly #said = new Map<Bus, string[]>();
  readonly #unwatch: () => void;
  workers = 0;

  constructor() {
    this.#unwatch = watchWorkers(() => this.workers++);
  }

  async open(...providers: Provider[]): Promise<Bus[]> {
    return await Promise.all(providers.map(async (provider) => {
      const bus = await Bus.open(provider, { namespace: this.#namespace });
      const said: string[] = [];
      this.#said.set(bus, said);
      bus.addEventListener("gap", (event) => said.push(`gap: ${event.detail.reason}`));
      bus.addEventListener("error", (event) => said.push(`error: ${event.message}`));
      return bus;
    }));
  }

  /** The gaps and errors that a bus has reported. */
  said(bus: Bus): string[] {
    return this.#said.get(bus)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch();
    await Promise.all([...this.#said.keys()].map((bus) => bus.close()));
  }
}

/** Checks that two buses reach each other in every style. */
async function work(bus: Bus, other: Bus, name: string): Promise<void> {
  const events: unknown[] = [];
  const subscription = bus.subscribe(name, (event) => events.push(event));
  await subscription.ready;
  await other.publish("event", name);
  await bus.expose(name, () => "answer");
  assertEquals(await other.stub(name)(), "answer");
  await bus.queue(name).put("item");
  assertEquals(await other.queue(name).get(), "item");
  await until("the event is handled", () => events.length === 1);
  await Promise.all([subscription.unsubscribe(), bus.unexpose(name), bus.queue(name).free()]);
}

onRedis("three buses of one worker", ({ it, server }) => {
  for (const how of ["throw", "hang"] as const) {
    it(`are restored in one new worker when it ends by "${how}"`, async () => {
      const { provider, fault } = faulty(undefined, redis({ port: server().port }));
      await using buses = new Buses();
      const all = await buses.open(provider, provider, provider);
      const events: unknown[] = [];
      for (const bus of all) await bus.subscribe("news", (event) => events.push(event)).ready;
      const lost = all.map((bus) => assertRejects(() => bus.queue("empty").get(), Error, "died"));
      await work(all[0]!, all[1]!, "before");
      assertEquals(buses.workers, 1);
      fault(how, 1);
      await Promise.all(lost);
      for (const bus of all) {
        await until("it is up again", () => bus.health().restarts === 1 && bus.health().state === "up");
        assertEquals(buses.said(bus), ["gap: the worker was replaced"]);
      }
      await all[2]!.publish("again", "news");
      await until("all have the event", () => events.length === 3);
      await work(all[1]!, all[2]!, "after");
      assertEquals(buses.workers, 2);
    });
  }
});

/** Closes one of three buses by force, while nothing passes the proxy between it and the server, and the two others work. */
async function closeByForce(provider: Provider, behind: Provider, proxy: TcpProxy): Promise<void> {
  await using buses = new Buses();
  const [bus, other, third] = await buses.open(behind, provider, provider) as [Bus, Bus, Bus];
  assertEquals(buses.workers, 1);
  await bus.subscribe("news", () => {}).ready;
  await bus.subscribe("n*s", () => {}, { pattern: true }).ready;
  await bus.expose("gone", () => {});
  await bus.queue("held").put("item");
  await bus.queue("held").receive({ lease: 1_000 });
  const waiting = [bus.queue("empty").get(), bus.queue("empty").receive()].map((wait) => assertRejects(() => wait));
  proxy.alter = () => new Uint8Array();
  waiting.push(assertRejects(() => bus.publish("lost", "news")));
  let busy = true;
  const working = (async () => {
    for (let i = 0; busy; i++) {
      await work(other, third, `work ${i}`);
      await pause(20);
    }
  })();
  const { clean } = await bus.close({ timeout: 200 });
  assertEquals(clean, false);
  await Promise.all(waiting);
  await until("its sockets are destroyed", () => proxy.connections === 0);
  assertEquals((await other.queue("held").receive({ timeout: 20_000 })).item, "item", "its leases expire");
  busy = false;
  await working;
  for (const one of [other, third]) {
    const { restarts, reconnects } = one.health();
    assertEquals({ said: buses.said(one), restarts, reconnects }, { said: [], restarts: 0, reconnects: 0 });
  }
  await other.queue("held").free();
  assertEquals(buses.workers, 1);
}

onRedis("a bus that is closed by force while its server does not answer", ({ it, server }) => {
  it("ends its own sockets, timers and leases; the other buses of its worker keep theirs", async () => {
    const { port } = server();
    await using proxy = await TcpProxy.to(port);
    await closeByForce(redis({ port }), redis({ port: proxy.port }), proxy);
  });
});

describe("a bus that is closed by force while its server does not answer, on AWS", () => {
  itProxied("ends its own sockets, timers and leases; the other buses of its worker keep theirs", async () => {
    await using emulator = await startEmulator();
    await using proxy = await TcpProxy.to(emulator.port);
    const quick = { lease: 10_000, poll: 1_000 };
    const behind = aws({ ...emulator.through(proxy.port), ...quick });
    await closeByForce(aws({ ...emulator.options, ...quick }), behind, proxy);
  });
});

describe("two memory() values", () => {
  it("share a worker, but not their topics, queues and functions, and end separately", async () => {
    const [one, two] = [memory(), memory({ capacity: 2 })];
    await using buses = new Buses();
    const [bus, other, stranger] = await buses.open(one, one, two) as [Bus, Bus, Bus];
    assertEquals(buses.workers, 1);
    for (const each of [bus, other, stranger]) await each.subscribe("topic", () => {}).ready;
    assertEquals([await bus.publish("x", "topic"), await stranger.publish("x", "topic")], [2, 1]);
    await other.expose("fn", () => "answer");
    assertEquals([await bus.stub("fn")(), await stranger.stub("fn", { multi: true })()], ["answer", []]);
    for (const each of [bus, stranger]) await each.queue("queue").put("item");
    assertEquals(await Promise.all([other, stranger].map((each) => each.queue("queue").qsize())), [1, 1]);
    await Promise.all([bus.close({ timeout: 0 }), other.close()]);
    assertEquals(await stranger.queue("queue").qsize(), 1);
    const [next] = await buses.open(one) as [Bus];
    assertEquals(await next.queue("queue").qsize(), 0);
    assertEquals(await next.publish("x", "topic"), 0);
    assertEquals(buses.workers, 1);
    assert(stranger.health().restarts === 0);
  });

  it("lose their items exactly when their last bus has closed, although a port may be slower than the worker", async () => {
    await using other = await Bus.open(memory());
    for (let round = 0; round < 30; round++) {
      const provider = memory();
      const bus = await Bus.open(provider);
      await bus.queue("queue").put("kept");
      const timeout = round % 2 === 0 ? 0 : 10_000;
      const [next] = await Promise.all([Bus.open(provider), bus.close({ timeout })]);
      assertEquals(await next.queue("queue").qsize(), 1, "the next bus opened before");
      const busy = Promise.all(Array.from({ length: 300 }, () => other.publish("x".repeat(1_000), "busy")));
      await next.close({ timeout });
      await using last = await Bus.open(provider);
      assertEquals(await last.queue("queue").qsize(), 0, "the last bus opened after");
      await busy;
    }
  });
});
