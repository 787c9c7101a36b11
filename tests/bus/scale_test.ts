// run: on bun
import { assert, assertEquals } from "@std/assert";
import { Bus } from "../../mod.ts";
import { until } from "../support/until.ts";
import { fresh, onEach, onRedis } from "./grounds.ts";

onRedis("many calls", ({ it, server, provider }) => {
  it("use at most four connections of a bus, 1,000 of them in flight with 100 gets and 100 leases", async () => {
    const namespace = fresh();
    await using serving = await Bus.open(provider(), { namespace });
    await using calling = await Bus.open(provider(), { namespace });

    const release = Promise.withResolvers<void>();
    let running = 0;
    await serving.expose("wait", async (n: number) => {
      running++;
      await release.promise;
      return n;
    });
    const wait = calling.stub<(n: number) => number>("wait");
    const calls = Array.from({ length: 1_000 }, (_, n) => wait(n));
    const gets = Array.from({ length: 100 }, (_, n) => calling.queue(`get ${n % 10}`).get());
    const leases = Array.from({ length: 100 }, (_, n) => calling.queue(`receive ${n % 10}`).receive());
    await until("all calls are being served", () => running === 1_000);
    const clients = await server().clients();
    assert(clients.length <= 3 + 4, clients.join("\n")); // one of the buses makes no calls

    release.resolve();
    assertEquals(await Promise.all(calls), Array.from({ length: 1_000 }, (_, n) => n));
    for (let n = 0; n < 100; n++) {
      await serving.queue(`get ${n % 10}`).put(n);
      await serving.queue(`receive ${n % 10}`).put(n);
    }
    assertEquals(new Set(await Promise.all(gets)).size, 100);
    await Promise.all((await Promise.all(leases)).map((lease) => lease.ack()));
    assert((await server().clients()).length <= 3 + 4);
  });
});

onEach("ten thousand topics", ({ it, provider }) => {
  it("are subscribed, and each event finds its handlers and no others", async () => {
    const [namespace, shared] = [fresh(), provider()];
    await using bus = await Bus.open(shared, { namespace });
    await using other = await Bus.open(shared, { namespace });
    const got: string[] = [];
    const subscriptions = Array.from(
      { length: 10_000 },
      (_, n) => bus.subscribe(`topic/${n}`, (event, { topic }) => got.push(`${topic} ${event}`)),
    );
    await Promise.all(subscriptions.map(({ ready }) => ready));
    assertEquals(bus.health().subscriptions, 10_000);
    const picked = Array.from({ length: 500 }, (_, n) => n * 20 + 7);
    assertEquals(new Set(await Promise.all(picked.map((n) => other.publish(n, `topic/${n}`)))), new Set([1]));
    await until("each event is handled", () => got.length === picked.length);
    assertEquals(got.sort(), picked.map((n) => `topic/${n} ${n}`).sort());
    await Promise.all(subscriptions.map((subscription) => subscription.unsubscribe()));
    assertEquals(bus.health().subscriptions, 0);
    assertEquals(await other.publish(0, "topic/7"), 0);
  });
});

onEach("30 buses at once", ({ it, provider }) => {
  it("each get an event", async () => {
    const [namespace, shared] = [fresh(), provider()];
    const buses = await Promise.all(
      Array.from({ length: 30 }, () => Bus.open(shared, { namespace, connectTimeout: 60_000 })),
    );
    const seen = new Set<number>();
    await Promise.all(buses.map((bus, i) => bus.subscribe("all", () => seen.add(i)).ready));
    await buses[7]!.publish("x", "all");
    await until("all have it", () => seen.size === buses.length);
    await Promise.all(buses.map((bus) => bus.close()));
  });
});
