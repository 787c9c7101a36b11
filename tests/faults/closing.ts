/** Closing under load: every item is handled once, as the first attempt. */
import { Bus } from "../../mod.ts";
import { Peer } from "../support/peer.ts";
import { pause, until } from "../support/until.ts";
import type { Shared } from "./common.ts";
import type { Fault } from "./ground.ts";
import type { Part, Said } from "./peer.ts";
import { DEADLINES, leaseOf } from "./traffic.ts";

/** Opens and closes four buses while items arrive, and ends each consumer in another way. */
export const CLOSED_IN_TURN: Fault = {
  name: "consumers closed in turn",
  times: 4,
  pause: 20,
  once: true,
  inject: async ({ traffic, namespace, random }) => {
    const late = traffic.tallies.consume.wrong;
    const restart = async (how: "bus" | "consumer" | "queue" | "signal") => {
      const bus = await Bus.open(traffic.provider, { ...DEADLINES, namespace });
      const stop = new AbortController();
      const queue = bus.queue<number>("jobs");
      let closing = false;
      const consumer = queue.consume(async (n, { attempt }) => {
        if (closing) late.push(`${n} started after its ${how} was closed`);
        const handled = traffic.handle(n, attempt);
        await pause(random.int(0, 10));
        await handled;
      }, { concurrency: 8, lease: leaseOf(true), maxAttempts: 1, signal: stop.signal });
      await pause(random.int(20, 150));
      closing = true;
      if (how === "signal") stop.abort();
      if (how === "queue") queue.close();
      if (how === "consumer") await consumer.close();
      const { abandoned } = await bus.close({ timeout: 10_000 });
      if (abandoned > 0) late.push(`${abandoned} handlers were abandoned`);
      await consumer.closed;
    };
    await Promise.all([traffic.burst(40), ...(["bus", "consumer", "queue", "signal"] as const).map(restart)]);
    await until("the dead letters are counted", async () => {
      const dead = await traffic.sending.queue("jobs.dead").qsize();
      if (dead > 0) late.push(`${dead} items are dead letters`);
      return true;
    });
  },
};

/** Sends SIGTERM to a process that handles items; it closes its bus before it ends. */
export function peerEnded(times: number): Fault<Shared> {
  return {
    name: "peer ended by SIGTERM",
    times,
    pause: 20,
    once: true,
    inject: async ({ ground, traffic, namespace, random }) => {
      const place: Part = { ...ground.place, namespace, once: true };
      await using peer = Peer.start<Said>(new URL("peer.ts", import.meta.url), { args: [JSON.stringify(place)] });
      const ready = Promise.withResolvers<void>();
      const heard = (async () => {
        for (;;) {
          const said = await peer.next(30_000);
          if ("ready" in said) ready.resolve(); // it may hold items before
          if (!("held" in said)) continue;
          await traffic.handle(said.held, said.attempt);
          peer.tell(said.held);
        }
      })().catch(ready.reject);
      await ready.promise;
      traffic.hurry();
      const load = traffic.burst(40);
      await pause(random.int(20, 200));
      peer.signal("SIGTERM");
      const exit = await peer.wait(30_000);
      if (exit.code !== 0) traffic.tallies.consume.wrong.push(`the peer ended with ${JSON.stringify(exit)}`);
      await heard;
      await load;
    },
  };
}
