/** Items that kill the process that handles them. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, type DeadLetter } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";

describe("Redis: poison", () => {
  it("an item that kills each process that handles it is counted from the second time on", async () => {
    const server = await RedisServer.start();
    try {
      await using bus = await Bus.open(redis({ port: server.port }));
      await bus.queue("jobs").put("poison");
      let deaths = 0;
      while (await bus.queue("jobs.dead").qsize() === 0) {
        const args = [JSON.stringify([server.port, bus.namespace])];
        await using peer = Peer.start(new URL("poison_peer.ts", import.meta.url), { args });
        const dead = async () => await bus.queue("jobs.dead").qsize() > 0;
        await until("it dies or buries", async () => peer.exit !== undefined || await dead());
        if (peer.exit) deaths++;
      }
      assertEquals(deaths, 3, "two attempts, and the first of which nobody could know");
      const { item, attempts } = await bus.queue<DeadLetter>("jobs.dead").get();
      assertEquals({ item, attempts }, { item: "poison", attempts: 2 });
    } finally {
      await server.stop();
    }
  });
});
