// run: on bun, waiting
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { Python } from "./harness.ts";
import { onRedis } from "./on_redis.ts";
import { suite } from "./suite.ts";

const lacking = missing("redis-server", "python");

describe("PyMQ and tsmq on one Redis", () => {
  let server: RedisServer;
  if (lacking === undefined) {
    beforeAll(async () => {
      server = await RedisServer.start();
    });
    afterAll(() => server.stop());
  }
  for (const [name, run] of suite(onRedis(() => server))) itNeeds(lacking)(name, run);

  itNeeds(lacking)(
    "subscribers of a PyMQ function are counted for one call a second, and calls leave no records",
    async () => {
      const namespace = crypto.randomUUID();
      await using python = await Python.start(server.url, namespace);
      await python.do({ do: "expose", fn: "add" });
      await using bus = await Bus.open(redis({ url: server.url }), { namespace });
      const asked = async () => {
        const stats = [
          ...String(await server.run("info", "commandstats")).matchAll(/^cmdstat_pubsub[^:]*:calls=(\d+)/gm),
        ];
        return stats.reduce((sum, [, calls]) => sum + Number(calls), 0);
      };
      const before = await asked();
      const start = performance.now();
      for (let i = 0; i < 100; i++) assertEquals(await bus.stub("add")(i, 1), i + 1);
      const seconds = (performance.now() - start) / 1_000;
      const looks = await asked() - before;
      assert(looks >= 1 && looks <= 3 * (1 + seconds), `${looks} looks in ${seconds} s`);
      // the record of a take is removed a few milliseconds after its reply
      const kept = (await server.keys()).filter((key) => key.includes(namespace) && key.includes("record:"));
      assert(kept.length <= 50, `${kept.length} records are left of 100 calls`);
    },
  );
});
