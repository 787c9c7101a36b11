/** A flood of requests in a separate process, because garbage of other tests would count as its memory. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { Redis } from "ioredis";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { fresh, onRedis } from "../bus/grounds.ts";
import { ALL } from "../support/share.ts";
import { until, within } from "../support/until.ts";
import { victim } from "./victim.ts";

/** The number of requests in a flood: several times the limit of 10,000. */
const FLOOD = ALL ? 100_000 : 50_000;
/** Bytes of memory that it may cost. */
const GROWTH = (ALL ? 512 : 400) * 2 ** 20;

/** The address of an inbox that nobody reads. */
const nobody = (namespace: string, j: number) => `__tsmq:inbox:__eventbus:${namespace}:${String(j).padStart(32, "0")}`;

onRedis("a hostile peer", ({ it, server, provider }) => {
  it(`that floods a server with ${FLOOD} requests: it stays up, its memory is bounded, and it reports the refused messages`, async () => {
    const namespace = fresh();
    await using all = await victim((name) => Bus.open(provider(), { namespace: name, timeout: 10_000 }), namespace);
    const { promise, resolve } = Promise.withResolvers<void>();
    await all.bus.expose("slow", () => promise);
    const redis = new Redis({ port: server().port, host: "127.0.0.1" });
    const before = process.memoryUsage().rss;
    let most = 0;
    const watch = setInterval(() => most = Math.max(most, process.memoryUsage().rss - before), 50);
    try {
      const [server] = await redis.zrange(`__tsmq:servers:__eventbus:${namespace}:slow`, 0, 0);
      for (let i = 0; i < FLOOD; i += 200) {
        const pipeline = redis.pipeline();
        for (let j = 0; j < 200; j++) {
          const call = { id: crypto.randomUUID(), inbox: nobody(namespace, j), deadline: Date.now() + 1e9 };
          const request = { __obj: ["slow", "", [i + j], {}, call], __type: "pymq.core.RpcRequest" };
          pipeline.publish(server!, JSON.stringify(request));
        }
        await pipeline.exec();
      }
      await until("the limit is reached", () => all.bus.health().pending.handlers >= 10_000, 60_000);
      assertEquals(await all.caller.publish("still", "news"), 2);
      assert(all.refused.get("busy")! > 0, "it says that it refuses");
      resolve();
      await until("the flood is over", () => all.bus.health().pending.handlers < 100, 60_000);
    } finally {
      clearInterval(watch);
      redis.disconnect();
    }
    await within("it works", all.works(), 60_000);
    assert(most < GROWTH, `it took ${Math.round(most / 2 ** 20)} MiB`);
    console.log(`A flood of ${FLOOD} requests took ${Math.round(most / 2 ** 20)} MiB`);
  });
});
