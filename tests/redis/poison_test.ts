/** Items that kill the process that handles them. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, type DeadLetter } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";

/** Milliseconds of a lease that has not ended when a busy machine notices that its holder has died. */
const LEASE = 4_000;

describe("Redis: poison", () => {
  const cases: Record<string, { deaths: number; letter: unknown }> = {
    handled: { deaths: 3, letter: { item: "poison", attempts: 2, unreadable: undefined } },
    // one more: it is read for its dead letter
    read: { deaths: 4, letter: { item: '"poison"', attempts: 3, unreadable: true } },
  };
  for (const [where, expected] of Object.entries(cases)) {
    it(`an item that kills each process that ${where === "read" ? "reads" : "handles"} it becomes a dead letter`, async () => {
      const server = await RedisServer.start();
      try {
        await using bus = await Bus.open(redis({ port: server.port }));
        await bus.queue("jobs").put("poison");
        let deaths = 0;
        const dead = async () => await bus.queue("jobs.dead").qsize() > 0;
        while (!await dead()) {
          const args = [JSON.stringify([server.port, bus.namespace, where, 1])];
          await using peer = Peer.start(new URL("poison_peer.ts", import.meta.url), { args });
          await until("it dies or buries", async () => peer.exit !== undefined || await dead());
          if (peer.exit) deaths++;
          assert(deaths <= expected.deaths, "the item goes round");
        }
        const { item, attempts, unreadable } = await bus.queue<DeadLetter>("jobs.dead").get();
        // the start of the first attempt was not recorded
        assertEquals({ deaths, letter: { item, attempts, unreadable } }, expected);
      } finally {
        await server.stop();
      }
    });
  }

  it("an item that kills each process does not count attempts of the items beside it, whose handlers never began", async () => {
    const server = await RedisServer.start();
    try {
      await using bus = await Bus.open(redis({ port: server.port }));
      const items = ["poison", "a", "b", "c"];
      for (const item of items) await bus.queue("jobs").put(item);
      const args = [JSON.stringify([server.port, bus.namespace, "handled", items.length])];
      // the attempt of the first handler; a handled item comes again if the process dies before its acknowledgement has left
      const handled = new Map<string, number>();
      for (let deaths = 0; handled.size < 3 && deaths < 5; deaths++) {
        await using peer = Peer.start(new URL("poison_peer.ts", import.meta.url), { args });
        await peer.next();
        const hear = async () => {
          while (handled.size < 3) {
            const [item, attempt] = await peer.next() as [string, number];
            if (!handled.has(item)) handled.set(item, attempt);
          }
        };
        const heard = hear().catch(() => {}); // it has died
        await until("it dies or handles the others", () => peer.exit !== undefined || handled.size === 3);
        await peer.kill();
        await heard;
      }
      assertEquals([...handled].toSorted(), [["a", 1], ["b", 1], ["c", 1]]);
      const letters = await bus.queue("jobs").dead.peek();
      assertEquals(letters.map(({ item }) => item?.item), ["poison"]);
    } finally {
      await server.stop();
    }
  });

  it("an item that waited for its handler in a process that was killed is redelivered, and has made no attempt", async () => {
    const server = await RedisServer.start();
    /** Returns whether items waited in the process: on a busy machine, handlers may take too long for that. */
    const play = async (): Promise<boolean> => {
      await using bus = await Bus.open(redis({ port: server.port }), { namespace: crypto.randomUUID() });
      const queue = bus.queue<number | string>("jobs");
      // the first ones teach the consumer that its handlers are fast
      const before = Array.from({ length: 150 }, (_, i) => i);
      const after = Array.from({ length: 50 }, (_, i) => 1_000 + i);
      for (const item of [...before, "poison", ...after]) await queue.put(item);
      const args = [JSON.stringify([server.port, bus.namespace, "handled", 1, LEASE])];
      await using peer = Peer.start(new URL("poison_peer.ts", import.meta.url), { args });
      await until("it dies", () => peer.exit !== undefined);
      const waiting = await queue.qsize(); // without the items whose leases have not ended
      const attempts = new Map<number | string, number>();
      queue.consume((item, { attempt }) => void attempts.set(item, attempt));
      await until("all are handled", () => attempts.has("poison") && after.every((item) => attempts.has(item)));
      assertEquals(after.map((item) => attempts.get(item)), after.map(() => 1));
      const again = before.filter((item) => attempts.has(item)).length;
      assertEquals(again <= 64, true, `${again} handled items were handled again`);
      return waiting < after.length;
    };
    try {
      let rounds = 1;
      while (!await play()) assertEquals(rounds++ < 5, true, "items waited in the process");
    } finally {
      await server.stop();
    }
  });
});
