/** Runs the faults of a transport, some kinds side by side, under traffic of every style. */
import { assertEquals } from "@std/assert";
import { afterAll, describe } from "@std/testing/bdd";
import { appendFileSync } from "node:fs";
import process from "node:process";
import { Semaphore } from "../../src/internal/semaphore.ts";
import { here } from "../support/peer.ts";
import { Random, SEED } from "../support/random.ts";
import { itNeeds } from "../support/skip.ts";
import { ALL, runsHere } from "../support/share.ts";
import { sideBySide } from "../support/side_by_side.ts";
import { pause, within } from "../support/until.ts";
import type { Fault, Ground } from "./ground.ts";
import { type Row, rowsOf, table } from "./report.ts";
import { HANG, Traffic } from "./traffic.ts";

/** The filter for faults: `deno task test:faults --only=closed`. */
const ONLY = process.env.TSMQ_FAULTS_ONLY ?? "";
/** The factor for the number of faults. `deno task test:faults --long` sets it to 10. */
const SCALE = Number(process.env.TSMQ_FAULTS_SCALE || 1);
/** Kinds of faults that run at the same time, each on its own server. */
const LANES = 3;

/** Messages of each style that meet a fault at the full pace. A fault that lasts for seconds meets the further ones no differently. */
const NEAR = ALL ? Infinity : 16;

/** Returns how many faults of a kind a runtime injects: over 1,000 of all kinds, although only one runtime injects each kind. */
function count(times: number): number {
  return Math.ceil(times * SCALE * (ALL ? 1 : 4 / 3));
}

/** Options of {@linkcode faultsOf}. */
export interface FaultsOptions {
  /** The kinds that send traffic at the same time, at most; beside them, others wait for what they have sent. Default: all that run. */
  readonly injecting?: number;
  /** Milliseconds between messages, as a multiple of the usual. Default 1. */
  readonly pace?: number;
}

/** Registers one test for each fault, and prints a table at the end. */
export function faultsOf<G extends Ground>(
  name: string,
  missing: string | undefined,
  faults: readonly Fault<G>[],
  open: () => Promise<G>,
  { injecting = LANES, pace }: FaultsOptions = {},
): void {
  describe(`faults of ${name} (seed ${SEED})`, () => {
    const rows: Row[] = [];
    const grounds: G[] = [];
    if (missing === undefined) {
      afterAll(async () => {
        for (const ground of grounds) await ground[Symbol.asyncDispose]();
        console.log(`Seed ${SEED}\n${table(rows)}`);
        const file = process.env.TSMQ_FAULTS_ROWS;
        if (file) appendFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
      });
    }
    const turns = new Semaphore(injecting);
    const play = async (fault: Fault<G>) => {
      const ground = grounds.pop() ?? await open();
      rows.push(...await run(ground, fault, turns, pace).finally(() => grounds.push(ground)));
    };
    // a kind runs under one runtime on this transport, and perhaps under the other one on the next
    const chosen = faults.filter((fault) => runsHere(`${name} ${fault.name}`) && new RegExp(ONLY).test(fault.name));
    for (const ofProcess of [false, true]) {
      const it = missing === undefined ? sideBySide(ofProcess ? 1 : LANES) : itNeeds(missing);
      for (const fault of chosen.filter((fault) => (fault.ofProcess ?? false) === ofProcess)) {
        it(`${fault.name}: nothing is lost, nothing hangs`, () => play(fault));
      }
    }
  });
}

async function run<G extends Ground>(ground: G, fault: Fault<G>, turns: Semaphore, pace?: number): Promise<Row[]> {
  const random = new Random(SEED);
  const namespace = `faults-${crypto.randomUUID()}`;
  const provider = ground.provider(fault.breaksWorkers || ALL);
  const own = fault.ownWorkers ? { ...provider, sharedWorker: false } : provider;
  using turn = await turnOf(turns);
  const traffic = await Traffic.start({ provider: own, namespace, pace, near: NEAR, once: fault.once });
  if (fault.long) traffic.tallies.call.allowed.add("no_such_remote");
  traffic.unheard = fault.unheard ?? 0;
  const injected = count(fault.times);
  try {
    for (let i = 0; i < injected; i++) {
      await pause(random.int(1, fault.pause));
      traffic.hurry();
      await within(`${fault.name} is mended`, fault.inject({ ground, traffic, namespace, random }), HANG);
    }
    turn[Symbol.dispose]();
    const { misses = ["events"] } = fault;
    await traffic.settle(misses);
    const about = { provider: ground.name, runtime: here, fault: fault.name, injected };
    const rows = rowsOf(about, traffic.tallies, (style) => traffic.forgives(style, misses));
    for (const { style, lost, hung } of rows) {
      const { wrong, failed } = traffic.tallies[style];
      const what = `${style}, failed: ${JSON.stringify([...failed])}`;
      assertEquals({ what, lost, hung, wrong }, { what, lost: 0, hung: 0, wrong: [] });
    }
    if (traffic.gaps === 0) assertEquals(traffic.peers.missing, 0, "events of peers that were lost");
    assertEquals(traffic.faults, []);
    return rows;
  } finally {
    await within("the buses close", traffic.close(), HANG);
  }
}

/** Waits for a turn. It may be disposed of twice. */
async function turnOf(turns: Semaphore): Promise<Disposable> {
  await turns.acquire();
  let held = true;
  return {
    [Symbol.dispose]: () => {
      if (held) turns.release();
      held = false;
    },
  };
}
