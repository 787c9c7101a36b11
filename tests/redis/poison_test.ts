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

  it("an item that waited for its handler in a process that was killed is redelivered, and has made no attempt", async () => {
    const server = await RedisServer.start();
    try {
      await using bus = await Bus.open(redis({ port: server.port }));
      const queue = bus.queue<number | string>("jobs");
      // the first ones teach the consumer that its handlers are fast
      const before = Array.from({ length: 150 }, (_, i) => i);
      const after = Array.from({ length: 50 }, (_, i) => 1_000 + i);
      for (const item of [...before, "poison", ...after]) await queue.put(item);
      const args = [JSON.stringify([server.port, bus.namespace])];
      await using peer = Peer.start(new URL("poison_peer.ts", import.meta.url), { args });
      await until("it dies", () => peer.exit !== undefined);
      const waiting = await queue.qsize();
      const attempts = new Map<number | string, number>();
      queue.consume((item, { attempt }) => void attempts.set(item, attempt));
      await until("all are handled", () => attempts.has("poison") && after.every((item) => attempts.has(item)));
      assertEquals(waiting < after.length, true, "some of the items waited in the peer");
      assertEquals(after.map((item) => attempts.get(item)), after.map(() => 1));
      const again = before.filter((item) => attempts.has(item)).length;
      assertEquals(again <= 64, true, `${again} handled items were handled again`);
    } finally {
      await server.stop();
    }
  });
});
