/** Groups on Redis while members, publishers and the server are killed and restarted. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { Random, SEED } from "../support/random.ts";
import { RedisServer } from "../support/redis_server.ts";
import { pause, until } from "../support/until.ts";
import type { Part, Report } from "./group_peer.ts";

/** The topic of the events, of which one group has the name and the other one a pattern. */
const TOPIC = "shop.orders";
/** Milliseconds of faults. `TSMQ_FAULTS_SCALE=10` makes it a minute. */
const TIME = 6_000 * Number(process.env.TSMQ_FAULTS_SCALE || 1);
/** The numbers of one publisher process: the first is a multiple of this. */
const RANGE = 1_000_000;
/** Milliseconds within which the rest is handled, after the last fault. */
const PATIENCE = 60_000;

/** One run of a handler: its process, and how often the server had been killed before. */
interface Handled {
  readonly peer: Peer<Report>;
  readonly kills: number;
}

describe(`groups on Redis, while processes die (seed ${SEED})`, () => {
  it("each accepted event is handled, and twice only where a kill explains it; an absent group has each one, in order", async () => {
    await using server = await RedisServer.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
    const random = new Random(SEED);
    const namespace = crypto.randomUUID();
    const accepted = new Set<number>();
    const handled = new Map<number, Handled[]>();
    const killed = new Set<Peer<Report>>();
    let kills = 0;
    let publishers = 0;
    const { port } = server;

    // both groups are bound before the first event
    const bus = await Bus.open(redis({ port }), { namespace, waitOnFirstConnect: true });
    bus.addEventListener("error", () => {});
    const absent = bus.subscribe(TOPIC, () => {}, { group: "absent" });
    const first = bus.subscribe("shop.*", () => {}, { group: "members", pattern: true });
    await Promise.all([absent.ready, first.ready]);
    await Promise.all([absent.unsubscribe(), first.unsubscribe()]);

    const start = (kind: "member" | "publisher"): Peer<Report> => {
      const part: Part = { port, namespace, topic: TOPIC, ...kind === "publisher" && { first: RANGE * publishers++ } };
      const args = [JSON.stringify(part)];
      const peer = Peer.start<Report>(new URL("group_peer.ts", import.meta.url), { args });
      void (async () => {
        for (;;) {
          const said = await peer.next(2 ** 30);
          if ("published" in said) accepted.add(said.published);
          if (!("handled" in said)) continue;
          const before = handled.get(said.handled);
          if (before) before.push({ peer, kills });
          else handled.set(said.handled, [{ peer, kills }]);
        }
      })().catch(() => {}); // it was killed
      return peer;
    };
    const peers = (["member", "member", "member", "publisher", "publisher"] as const).map((kind) => (
      { kind, peer: start(kind) }
    ));
    try {
      await until("events are handled", () => handled.size > 20, PATIENCE);
      for (const end = performance.now() + TIME; performance.now() < end;) {
        await pause(random.int(100, 800));
        if (random.chance(0.2)) {
          kills++;
          await server.kill();
          await pause(random.int(0, 500));
          await server.start();
          continue;
        }
        const place = random.pick(peers);
        killed.add(place.peer);
        await place.peer.kill();
        place.peer = start(place.kind);
      }
      for (const { kind, peer } of peers) if (kind === "publisher") await peer.kill();
      const missing = () => [...accepted].filter((n) => !handled.has(n));
      await until("each accepted event is handled", () => missing().length === 0, PATIENCE).catch(() => {});
      assertEquals(missing(), [], "accepted, but never handled");
      // no server was killed after the last run, whose acknowledgement was accepted
      const unexplained = [...handled].filter(([, runs]) =>
        runs.slice(0, -1).some((run) => !killed.has(run.peer) && run.kills === kills)
      );
      assertEquals(
        unexplained.map(([n]) => n),
        [],
        "handled twice, though neither its process nor the server was killed",
      );
      const again = [...handled.values()].filter((runs) => runs.length > 1).length;
      console.log(
        `${accepted.size} accepted, ${handled.size} handled, ${again} of them again, ${killed.size} processes killed`,
      );
      console.log(`the server was killed ${kills} times`);

      await until("the bus is up", () => bus.health().state === "up", PATIENCE);
      const order: number[] = [];
      const late = bus.subscribe<number>(TOPIC, (n) => void order.push(n), { group: "absent" });
      const seen = () => new Set(order);
      await until("the absent group has each event", () => {
        const all = seen();
        return [...accepted].every((n) => all.has(n));
      }, PATIENCE).catch(() => {});
      const all = seen();
      assertEquals([...accepted].filter((n) => !all.has(n)), [], "accepted, but not stored for the absent group");
      assertEquals(order.length, all.size, "the absent group has each event once");
      for (let publisher = 0; publisher < publishers; publisher++) {
        const own = order.filter((n) => Math.floor(n / RANGE) === publisher);
        assertEquals(own, own.toSorted((a, b) => a - b), "the order of a publisher");
      }
      await late.free();
    } finally {
      for (const { peer } of peers) await peer.kill();
      await bus.close();
    }
  });
});
