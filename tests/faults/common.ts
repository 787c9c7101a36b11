/** Faults that need no server: those of handlers, of users and of this process. */
import { Bus } from "../../mod.ts";
import { Peer } from "../support/peer.ts";
import { pause, until } from "../support/until.ts";
import type { Faulty } from "../bus/faulty.ts";
import type { Fault, Ground } from "./ground.ts";
import { CLOSED_IN_TURN } from "./closing.ts";
import { type Style, STYLES } from "./tally.ts";
import type { Part, Said } from "./peer.ts";
import type { Place } from "./places.ts";
import { DEADLINES, HANG, leaseOf, PEER } from "./traffic.ts";

/** The faults of every transport. */
export const COMMON: readonly Fault[] = [
  CLOSED_IN_TURN,
  {
    name: "handler throws",
    times: 30,
    pause: 60,
    inject: ({ traffic }) => Promise.resolve(void traffic.flaws++),
  },
  {
    name: "get cancelled",
    times: 30,
    pause: 60,
    inject: ({ traffic }) => {
      traffic.cancelGets.abort(new Error("cancelled on purpose"));
      traffic.cancelGets = new AbortController();
      return Promise.resolve();
    },
  },
  {
    name: "slow consumer",
    times: 5,
    pause: 50,
    inject: async ({ traffic, random }) => {
      traffic.slow = random.int(20, 100);
      await pause(random.int(100, 400));
      traffic.slow = 0;
    },
  },
  {
    name: "busy main thread",
    ofProcess: true,
    times: 5,
    pause: 100,
    inject: ({ random }) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, random.int(50, 600));
      return Promise.resolve();
    },
  },
  {
    name: "servers expose at once",
    times: 10,
    pause: 60,
    long: true,
    inject: async ({ traffic, random }) => {
      await Promise.all(traffic.serving.map((bus) => bus.unexpose("echo")));
      await pause(random.int(0, 50));
      await traffic.expose();
    },
  },
  {
    name: "bus closed at work",
    times: 4,
    pause: 50,
    once: true,
    inject: async ({ traffic, namespace, random }) => {
      const bus = await Bus.open(traffic.provider, { ...DEADLINES, namespace });
      bus.addEventListener("error", () => {});
      bus.queue<number>("jobs").consume(async (n, { attempt }) => {
        await pause(random.int(0, 20));
        await traffic.handle(n, attempt);
      }, { concurrency: 4, lease: leaseOf(true) });
      const got = (async () => {
        for await (const n of bus.queue<number>("got")) traffic.tallies.get.see(n);
      })();
      await pause(random.int(50, 200));
      const { abandoned } = await bus.close({ timeout: 10_000 });
      if (abandoned > 0) traffic.tallies.consume.wrong.push(`${abandoned} handlers were abandoned`);
      await got;
    },
  },
];

/** Sets the clock of this machine for a moment, by at most this many milliseconds. */
export function clockStep(most: number): Fault {
  return {
    name: "clock step",
    ofProcess: true,
    times: 15,
    pause: 50,
    inject: async ({ random }) => {
      const now = Date.now;
      const step = random.int(-most, most);
      Date.now = () => now() + step;
      await pause(random.int(10, 100));
      Date.now = now;
    },
  };
}

/** A transport whose workers the test can break. */
export interface Breakable extends Ground {
  /** Breaks the worker of one of the buses. */
  breakWorker(...how: Parameters<Faulty["fault"]>): void;
}

/** Breaks the worker of one bus, or of all buses that share it, in different ways. */
export function workerDies(times: number, misses: readonly Style[]): Fault<Breakable> {
  return {
    name: "worker dies",
    times,
    pause: 100,
    misses,
    // the worker may die after it has recorded the start of an item whose lease ran out, and before the handler knows of it
    unheard: 1,
    breaksWorkers: true,
    ownWorkers: misses !== STYLES, // so that the other server continues; tests/bus/shared_worker_test.ts breaks a shared worker
    inject: async ({ ground, traffic, random }) => {
      const restarts = () => traffic.buses.reduce((sum, bus) => sum + bus.health().restarts, 0);
      const before = restarts();
      ground.breakWorker(random.pick(["throw", "reject", "throw", "reject", "exit"]), random.int(0, 2));
      await until("the worker is replaced", () => restarts() > before, HANG);
      await until("all are up", () => traffic.buses.every((bus) => bus.health().state === "up"), HANG);
    },
  };
}

/** Returns the faults of every transport, with `factor` times the number of each. The core mends them alike, so most are where messages cost least. */
export function common(factor: number): readonly Fault[] {
  return COMMON.map((fault) => ({ ...fault, times: factor * fault.times }));
}

/** A transport that other processes can reach. */
export interface Shared extends Ground {
  /** The URL for other processes. */
  readonly place: Place;
}

/** Kills a process that holds leases, waits for items, serves calls, and is about to publish. */
export function peerKilled(times: number): Fault<Shared> {
  let first = 0;
  return {
    name: "peer killed at work",
    times,
    pause: 20,
    unheard: Infinity,
    inject: async ({ ground, traffic, namespace, random }) => {
      const place: Part = { ...ground.place, namespace, first: first += PEER };
      await using peer = Peer.start<Said>(new URL("peer.ts", import.meta.url), { args: [JSON.stringify(place)] });
      await peer.next(30_000);
      traffic.hurry();
      const heard = (async () => {
        for (;;) {
          const said = await peer.next();
          if ("published" in said) traffic.peers.promise(said.published);
          if (!("held" in said)) continue;
          // it is killed while it holds some items
          if (random.chance(0.5)) continue;
          await traffic.handle(said.held, said.attempt);
          peer.tell(said.held);
        }
      })().catch(() => {});
      await pause(random.int(100, 500));
      void traffic.burst(2); // items are on their way to its waiting consumer
      await pause(random.int(0, 2));
      await peer.kill();
      await heard;
    },
  };
}

/** A consumer kills its process in a handler, while items wait that it has fetched ahead. */
export function prefetcherKilled(times: number): Fault<Shared> {
  return {
    name: "peer killed with prefetched items",
    times,
    pause: 20,
    // it may die between the confirmed record of a start and that start
    unheard: Infinity,
    inject: async ({ ground, traffic, namespace, random }) => {
      const place: Part = { ...ground.place, namespace, kills: random.int(20, 60) };
      await using peer = Peer.start<Said>(new URL("peer.ts", import.meta.url), { args: [JSON.stringify(place)] });
      let killed = false;
      const put = async () => {
        while (!killed) {
          if (await traffic.sending.queue("jobs").qsize() < 200) await traffic.burst(100);
          await pause(10);
        }
      };
      let putting: Promise<void> | undefined;
      try {
        while (!killed) {
          const said = await peer.next(30_000);
          // the peer is not the only consumer, so it needs many items; while it starts, the others would handle them
          if ("ready" in said) putting = put();
          if (!("started" in said)) continue;
          traffic.started(said.started, said.attempt);
          killed = said.kills;
          if (!killed) traffic.tallies.consume.see(said.started);
        }
      } finally {
        killed = true;
        await putting;
      }
    },
  };
}
