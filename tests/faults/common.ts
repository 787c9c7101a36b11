/** Faults that need no server: of handlers, of users, of this very process. */
import { Bus } from "../../mod.ts";
import { pause, until } from "../support/until.ts";
import type { Faulty } from "../bus/faulty.ts";
import type { Fault, Ground } from "./ground.ts";
import type { Style } from "./tally.ts";
import { DEADLINES, LEASE } from "./traffic.ts";

/** Those of every transport. */
export const COMMON: readonly Fault[] = [
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
    times: 5,
    pause: 100,
    inject: ({ random }) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, random.int(50, 600));
      return Promise.resolve();
    },
  },
  {
    name: "clock step",
    times: 15,
    pause: 50,
    inject: async ({ random }) => {
      const now = Date.now;
      const step = random.int(-3_600_000, 3_600_000);
      Date.now = () => now() + step;
      await pause(random.int(10, 100));
      Date.now = now;
    },
  },
  {
    name: "bus closed at work",
    times: 4,
    pause: 50,
    inject: async ({ traffic, namespace, random }) => {
      const bus = await Bus.open(traffic.provider, { ...DEADLINES, namespace });
      bus.addEventListener("error", () => {});
      bus.queue<number>("jobs").consume(async (n, { attempt }) => {
        await pause(random.int(0, 20));
        await traffic.handle(n, attempt);
      }, { concurrency: 4, lease: LEASE });
      const got = (async () => {
        for await (const n of bus.queue<number>("got")) traffic.tallies.get.see(n);
      })();
      await pause(random.int(50, 200));
      await bus.close({ timeout: 1_000 });
      await got;
    },
  },
];

/** A ground whose provider's workers can be broken. */
export interface Breakable extends Ground {
  /** Breaks the worker that was started last. */
  breakWorker(how: Parameters<Faulty["fault"]>[0]): void;
}

/** The worker of one bus, or of all that share it, dies in different ways. */
export function workerDies(times: number, misses: readonly Style[]): Fault<Breakable> {
  return {
    name: "worker dies",
    times,
    pause: 100,
    misses,
    inject: async ({ ground, traffic, random }) => {
      const restarts = () => traffic.buses.reduce((sum, bus) => sum + bus.health().restarts, 0);
      const before = restarts();
      ground.breakWorker(random.pick(["throw", "reject", "throw", "reject", "exit"]));
      await until("the worker is replaced", () => restarts() > before);
      await until("all are up", () => traffic.buses.every((bus) => bus.health().state === "up"));
    },
  };
}
